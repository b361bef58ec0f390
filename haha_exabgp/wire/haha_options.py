"""What Home Agents tell each other, inside the Experimental mobility option (type 18, RFC 5096 s.4).

The first octet of the option's data is the kind. A kind that is not known is skipped, as an unknown
mobility option is. None of them needs alignment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Any, NamedTuple

from .address import Address, Prefix
from .codes import BindingUpdateFlag
from .errors import DropReason, MalformedPacket

MAX_PART = 250
"""Octets of a relayed Binding Update in one option, the care-of address counted."""


class PrefixRole(IntEnum):
    """What a Home Agent is for a prefix of Home."""

    AGGREGATE = 1
    PRIMARY_PARTITION = 2
    PROXY_ONLY = 3


class AddressRole(IntEnum):
    """What the address of a `HahaAddress` is to the question asked."""

    HOME_ADDRESS = 1
    DESTINATION = 2
    HOME_AGENT = 3
    """In a Binding Update: the Home Agent that it is meant for. In a refusal: the one to ask instead. Beside
    a binding: the one that holds the mobile router."""


class HelloFlag(IntFlag):
    """What `HelloInformation.flags` says."""

    READY = 1
    """It has caught up with the Home Agents that share its partition."""
    NAMES_ALL = 2
    """It names each Home Agent that it hears (`HeardHomeAgent`)."""


@dataclass(frozen=True, slots=True)
class HelloInformation:
    """Kind 1. `interval` between HELLOs in milliseconds; `flags` are of `HelloFlag`, the others 16-bit
    numbers."""

    preference: int
    interval: int
    group: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class HomePrefix:
    """Kind 2: a prefix of Home, and what the sender is for it (`PrefixRole`)."""

    prefix: Prefix
    role: int


@dataclass(frozen=True, slots=True)
class HahaAddress:
    """Kind 3: the address a question is about (`AddressRole`)."""

    role: int
    address: Address


@dataclass(frozen=True, slots=True)
class BindingCacheInformation:
    """Kind 4: one binding. `lifetime` in seconds, a multiple of 4 up to 262140."""

    flags: BindingUpdateFlag
    sequence: int
    lifetime: int
    home_address: Address
    care_of_address: Address


@dataclass(frozen=True, slots=True)
class Egress:
    """Kind 5: where a projected route ends; `locator` is routable outside the HAHA tunnels."""

    tunnel_type: int
    locator: Address


@dataclass(frozen=True, slots=True)
class RoutedPrefix:
    """Kind 6: a prefix reached through the answerer."""

    prefix: Prefix


@dataclass(frozen=True, slots=True)
class MobilitySequence:
    """Kind 7: the 32-bit order of attachments of one home address; the highest wins."""

    sequence: int


@dataclass(frozen=True, slots=True)
class RelayedPart:
    """Kind 8: part `part` (from 1) of `parts` of a Binding Update relayed whole.

    The contents of all parts in a row are the care-of address (16 octets), then the Mobility Header.
    """

    part: int
    parts: int
    content: bytes


@dataclass(frozen=True, slots=True)
class RelayedAcknowledgement:
    """Kind 17: the Mobility Header of a Binding Acknowledgement that the primary has signed for a mobile
    router, to be sent from the outer address of the proxy. At most `MAX_PART` octets."""

    header: bytes


@dataclass(frozen=True, slots=True)
class UpdateTimestamp:
    """Kind 9, beside kind 4: the MESG-ID timestamp of the Binding Update that made the binding (RFC 4285 s.6;
    64 bits, 0 where it had none)."""

    timestamp: int


@dataclass(frozen=True, slots=True)
class LeakDamping:
    """Kind 16: in a primary's acknowledgement to a proxy, the seconds (32 bits) for which it is not to leak
    the mobile router, because that moves too often."""

    seconds: int


@dataclass(frozen=True, slots=True)
class HeardHomeAgent:
    """Kind 20, in a HELLO: another Home Agent that its sender hears itself, by the outer address.
    `preference` and `flags` (8 bits, of `HelloFlag`) are what that one says of itself."""

    address: Address
    preference: int
    flags: int = 0


HahaOption = (
    HelloInformation
    | HomePrefix
    | HahaAddress
    | BindingCacheInformation
    | Egress
    | RoutedPrefix
    | MobilitySequence
    | RelayedPart
    | RelayedAcknowledgement
    | UpdateTimestamp
    | LeakDamping
    | HeardHomeAgent
)


@dataclass(frozen=True, slots=True)
class RelayedBindingUpdate:
    """A mobile router's Binding Update as a proxy got it: IPv6 source and whole Mobility Header."""

    care_of_address: Address
    header: bytes


def split_relayed(relayed: RelayedBindingUpdate) -> tuple[RelayedPart, ...]:
    """Cut a relayed Binding Update into options of at most `MAX_PART` octets of content."""
    content = relayed.care_of_address + relayed.header
    cuts = range(0, len(content), MAX_PART)
    return tuple(
        RelayedPart(number, len(cuts), content[cut : cut + MAX_PART]) for number, cut in enumerate(cuts, 1)
    )


def join_relayed(options: Sequence[object]) -> RelayedBindingUpdate | None:
    """Put the parts among `options` together; None when there is none.

    Raises MalformedPacket unless the parts are 1 to n in order, agree on n, and hold a care-of address
    and exactly one Mobility Header.
    """
    parts = [option for option in options if isinstance(option, RelayedPart)]
    if not parts:
        return None
    expected = [(number, len(parts)) for number in range(1, len(parts) + 1)]
    content = b"".join(part.content for part in parts)
    header = content[16:]
    if [(part.part, part.parts) for part in parts] != expected or len(header) < 8:
        raise MalformedPacket(DropReason.BAD_RELAYED_PARTS)
    if len(header) != (header[1] + 1) * 8:
        raise MalformedPacket(DropReason.BAD_RELAYED_PARTS)
    return RelayedBindingUpdate(Address(content[:16]), header)


def pull_prefix(header: bytes, start: int, length: int) -> Prefix:
    """Read the 16 octets at `start` as a prefix; bits past `length` are cleared.

    Raises MalformedPacket when `length` is over 128.
    """
    if length > 128:
        raise MalformedPacket(DropReason.BAD_OPTION, start)
    return Prefix.of(Address(header[start : start + 16]), length)


_HELLO = Struct("!BxHIHH")
_PREFIX = Struct("!BB16s")
_HOME_PREFIX = Struct("!BBB16s")
_ADDRESS = Struct("!BB16s")
_BINDING = Struct("!BHxxHH16s16s")
_SEQUENCE = Struct("!BI")
_TIMESTAMP = Struct("!BQ")
_HEARD = Struct("!BBH16s")


def _pull_hello(header: bytes, start: int, length: int) -> HelloInformation:
    _, preference, interval, group, flags = _HELLO.unpack_from(header, start)
    return HelloInformation(preference, interval, group, flags)


def _push_hello(option: HelloInformation) -> bytes:
    return _HELLO.pack(1, option.preference, option.interval, option.group, option.flags)


def _pull_home_prefix(header: bytes, start: int, length: int) -> HomePrefix:
    return HomePrefix(pull_prefix(header, start + 3, header[start + 1]), header[start + 2])


def _push_home_prefix(option: HomePrefix) -> bytes:
    return _HOME_PREFIX.pack(2, option.prefix.length, option.role, option.prefix.address)


def _pull_address(header: bytes, start: int, length: int) -> HahaAddress:
    _, role, address = _ADDRESS.unpack_from(header, start)
    return HahaAddress(role, Address(address))


def _push_address(option: HahaAddress) -> bytes:
    return _ADDRESS.pack(3, option.role, option.address)


_FLAGS = sum(BindingUpdateFlag)


def _pull_binding(header: bytes, start: int, length: int) -> BindingCacheInformation:
    _, flags, sequence, lifetime, home_address, care_of_address = _BINDING.unpack_from(header, start)
    return BindingCacheInformation(
        BindingUpdateFlag(flags & _FLAGS),
        sequence,
        lifetime * 4,
        Address(home_address),
        Address(care_of_address),
    )


def _push_binding(option: BindingCacheInformation) -> bytes:
    if option.lifetime % 4:
        raise ValueError(f"lifetime {option.lifetime} s is not a multiple of 4 s")
    return _BINDING.pack(
        4, option.flags, option.sequence, option.lifetime // 4, option.home_address, option.care_of_address
    )


def _pull_egress(header: bytes, start: int, length: int) -> Egress:
    _, tunnel_type, locator = _ADDRESS.unpack_from(header, start)
    return Egress(tunnel_type, Address(locator))


def _push_egress(option: Egress) -> bytes:
    return _ADDRESS.pack(5, option.tunnel_type, option.locator)


def _pull_routed_prefix(header: bytes, start: int, length: int) -> RoutedPrefix:
    return RoutedPrefix(pull_prefix(header, start + 2, header[start + 1]))


def _push_routed_prefix(option: RoutedPrefix) -> bytes:
    return _PREFIX.pack(6, option.prefix.length, option.prefix.address)


def _pull_sequence(header: bytes, start: int, length: int) -> MobilitySequence:
    return MobilitySequence(_SEQUENCE.unpack_from(header, start)[1])


def _push_sequence(option: MobilitySequence) -> bytes:
    return _SEQUENCE.pack(7, option.sequence)


def _pull_relayed(header: bytes, start: int, length: int) -> RelayedPart:
    if not 3 < length <= 3 + MAX_PART:
        raise MalformedPacket(DropReason.BAD_OPTION, start - 1)
    return RelayedPart(header[start + 1], header[start + 2], header[start + 3 : start + length])


def _push_relayed(option: RelayedPart) -> bytes:
    if not 0 < len(option.content) <= MAX_PART:
        raise ValueError(f"a relayed part holds 1 to {MAX_PART} octets, not {len(option.content)}")
    return bytes((8, option.part, option.parts)) + option.content


def _pull_acknowledgement(header: bytes, start: int, length: int) -> RelayedAcknowledgement:
    content = header[start + 1 : start + length]
    if not 8 <= len(content) <= MAX_PART or len(content) != (content[1] + 1) * 8:
        raise MalformedPacket(DropReason.BAD_OPTION, start - 1)
    return RelayedAcknowledgement(content)


def _push_acknowledgement(option: RelayedAcknowledgement) -> bytes:
    if len(option.header) > MAX_PART:
        raise ValueError(f"a relayed acknowledgement of {len(option.header)} octets; {MAX_PART} is the most")
    return bytes((17,)) + option.header


def _pull_timestamp(header: bytes, start: int, length: int) -> UpdateTimestamp:
    return UpdateTimestamp(_TIMESTAMP.unpack_from(header, start)[1])


def _push_timestamp(option: UpdateTimestamp) -> bytes:
    return _TIMESTAMP.pack(9, option.timestamp)


def _pull_damping(header: bytes, start: int, length: int) -> LeakDamping:
    return LeakDamping(_SEQUENCE.unpack_from(header, start)[1])


def _push_damping(option: LeakDamping) -> bytes:
    return _SEQUENCE.pack(16, option.seconds)


def _pull_heard(header: bytes, start: int, length: int) -> HeardHomeAgent:
    _, flags, preference, address = _HEARD.unpack_from(header, start)
    return HeardHomeAgent(Address(address), preference, flags)


def _push_heard(option: HeardHomeAgent) -> bytes:
    return _HEARD.pack(20, option.flags, option.preference, option.address)


class _Codec(NamedTuple):
    kind: int
    option: type
    length: int | None
    """Octets of data, the kind counted; None when they vary."""
    pull: Callable[[bytes, int, int], HahaOption]
    push: Callable[[Any], bytes]


_CODECS = (
    _Codec(1, HelloInformation, 12, _pull_hello, _push_hello),
    _Codec(2, HomePrefix, 19, _pull_home_prefix, _push_home_prefix),
    _Codec(3, HahaAddress, 18, _pull_address, _push_address),
    _Codec(4, BindingCacheInformation, 41, _pull_binding, _push_binding),
    _Codec(5, Egress, 18, _pull_egress, _push_egress),
    _Codec(6, RoutedPrefix, 18, _pull_routed_prefix, _push_routed_prefix),
    _Codec(7, MobilitySequence, 5, _pull_sequence, _push_sequence),
    _Codec(8, RelayedPart, None, _pull_relayed, _push_relayed),
    _Codec(17, RelayedAcknowledgement, None, _pull_acknowledgement, _push_acknowledgement),
    _Codec(9, UpdateTimestamp, 9, _pull_timestamp, _push_timestamp),
    _Codec(16, LeakDamping, 5, _pull_damping, _push_damping),
    _Codec(20, HeardHomeAgent, 20, _pull_heard, _push_heard),
)
_BY_KIND = {codec.kind: codec for codec in _CODECS}
_BY_OPTION = {codec.option: codec for codec in _CODECS}
HAHA_OPTIONS = tuple(_BY_OPTION)


def pull_haha_option(header: bytes, start: int, length: int) -> HahaOption | None:
    """Read the data of an option 18, `length` octets at `start`; None for a kind not known here.

    Raises MalformedPacket when a known kind has a wrong length or an impossible value.
    """
    codec = _BY_KIND.get(header[start]) if length else None
    if codec is None:
        return None
    if codec.length is not None and length != codec.length:
        raise MalformedPacket(DropReason.BAD_OPTION, start - 1)
    return codec.pull(header, start, length)


def push_haha_option(option: HahaOption) -> bytes:
    """Data of an option 18. Raises ValueError or struct.error when a field is out of range."""
    return _BY_OPTION[type(option)].push(option)
