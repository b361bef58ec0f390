"""Mobility options: what follows the fixed part of every mobility message (RFC 6275 s.6.2).

Types that are not known are skipped without a word. Padding is made when a message is encoded and
dropped when it is decoded, so it has no class.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple, TypeVar

from .address import Address, Prefix
from .errors import DropReason, MalformedPacket
from .haha_options import HAHA_OPTIONS, HahaOption, pull_haha_option, pull_prefix, push_haha_option


@dataclass(frozen=True, slots=True)
class BindingRefreshAdvice:
    """Type 2 (RFC 6275 s.6.2.4). `interval` in seconds, a multiple of 4 up to 262140."""

    interval: int


@dataclass(frozen=True, slots=True)
class AlternateCareOfAddress:
    """Type 3 (RFC 6275 s.6.2.5)."""

    address: Address


@dataclass(frozen=True, slots=True)
class NonceIndices:
    """Type 4 (RFC 6275 s.6.2.6); must not appear in a home registration."""

    home: int
    care_of: int


@dataclass(frozen=True, slots=True)
class BindingAuthorizationData:
    """Type 5 (RFC 6275 s.6.2.7): the last option, with no padding behind it."""

    authenticator: bytes


@dataclass(frozen=True, slots=True)
class MobileNetworkPrefix:
    """Type 6 (RFC 3963 s.4.3). Host bits that a peer left set are cleared."""

    prefix: Prefix


@dataclass(frozen=True, slots=True)
class MobileNodeIdentifier:
    """Type 8 (RFC 4283 s.3). `subtype` 1 is a network access identifier."""

    subtype: int
    identifier: bytes


class AuthenticationSubtype(IntEnum):
    """Who checks an `Authentication` option (RFC 4285 s.5)."""

    MN_HA = 1
    MN_AAA = 2


@dataclass(frozen=True, slots=True)
class Authentication:
    """Type 9 (RFC 4285 s.5): `authentication.sign` makes it, `authentication.verify` checks it.

    `spi` is the 32-bit mobility security parameter index, `data` the authenticator.
    """

    subtype: int
    spi: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ReplayProtection:
    """Type 10 (RFC 4285 s.6), also MESG-ID: a 64-bit NTP timestamp (see `timestamp`)."""

    timestamp: int


@dataclass(frozen=True, slots=True)
class VendorSpecific:
    """Type 19 (RFC 5094). `vendor` is an SMI enterprise number."""

    vendor: int
    subtype: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ProxyTimestamp:
    """Type 27 (RFC 5213 s.8.8): units of 1/65536 s since the Unix epoch, 64 bits."""

    timestamp: int


@dataclass(frozen=True, slots=True)
class RestartCounter:
    """Type 28 (RFC 5847 s.3.4), in a Heartbeat response."""

    counter: int


@dataclass(frozen=True, slots=True)
class BindingIdentifier:
    """Type 35 (RFC 5648 s.4.3). `care_of_address` is empty, 4 octets (IPv4) or 16 (IPv6)."""

    identifier: int
    status: int = 0
    simultaneous_home: bool = False
    care_of_address: bytes = b""


MobilityOption = (
    BindingRefreshAdvice
    | AlternateCareOfAddress
    | NonceIndices
    | BindingAuthorizationData
    | MobileNetworkPrefix
    | MobileNodeIdentifier
    | Authentication
    | ReplayProtection
    | VendorSpecific
    | ProxyTimestamp
    | RestartCounter
    | BindingIdentifier
    | HahaOption
)

_Option = TypeVar("_Option")


def first_option(options: Iterable[object], kind: type[_Option]) -> _Option | None:
    """The first option of this class, or None."""
    for option in options:
        if type(option) is kind:
            return option
    return None


def every_option(options: Iterable[object], kind: type[_Option]) -> list[_Option]:
    """All options of this class, in their order."""
    return [option for option in options if type(option) is kind]


_U16 = Struct("!H")
_U16_PAIR = Struct("!HH")
_U32 = Struct("!I")
_U64 = Struct("!Q")
_PREFIX = Struct("!xB16s")
_SPI = Struct("!BI")
_VENDOR = Struct("!IB")
_BINDING_IDENTIFIER = Struct("!HBB")


def _pull_refresh_advice(header: bytes, start: int, length: int) -> BindingRefreshAdvice:
    return BindingRefreshAdvice(_U16.unpack_from(header, start)[0] * 4)


def _push_refresh_advice(option: BindingRefreshAdvice) -> bytes:
    if option.interval % 4:
        raise ValueError(f"refresh interval {option.interval} s is not a multiple of 4 s")
    return _U16.pack(option.interval // 4)


def _pull_alternate_care_of(header: bytes, start: int, length: int) -> AlternateCareOfAddress:
    return AlternateCareOfAddress(Address(header[start : start + 16]))


def _push_alternate_care_of(option: AlternateCareOfAddress) -> bytes:
    return option.address


def _pull_nonce_indices(header: bytes, start: int, length: int) -> NonceIndices:
    return NonceIndices(*_U16_PAIR.unpack_from(header, start))


def _push_nonce_indices(option: NonceIndices) -> bytes:
    return _U16_PAIR.pack(option.home, option.care_of)


def _pull_authorization_data(header: bytes, start: int, length: int) -> BindingAuthorizationData:
    return BindingAuthorizationData(header[start : start + length])


def _push_authorization_data(option: BindingAuthorizationData) -> bytes:
    return option.authenticator


def _pull_mobile_network_prefix(header: bytes, start: int, length: int) -> MobileNetworkPrefix:
    return MobileNetworkPrefix(pull_prefix(header, start + 2, header[start + 1]))


def _push_mobile_network_prefix(option: MobileNetworkPrefix) -> bytes:
    return _PREFIX.pack(option.prefix.length, option.prefix.address)


def _pull_node_identifier(header: bytes, start: int, length: int) -> MobileNodeIdentifier:
    return MobileNodeIdentifier(header[start], header[start + 1 : start + length])


def _push_node_identifier(option: MobileNodeIdentifier) -> bytes:
    return bytes((option.subtype,)) + option.identifier


def _pull_authentication(header: bytes, start: int, length: int) -> Authentication:
    subtype, spi = _SPI.unpack_from(header, start)
    return Authentication(subtype, spi, header[start + 5 : start + length])


def _push_authentication(option: Authentication) -> bytes:
    return _SPI.pack(option.subtype, option.spi) + option.data


def _pull_replay_protection(header: bytes, start: int, length: int) -> ReplayProtection:
    return ReplayProtection(_U64.unpack_from(header, start)[0])


def _push_timestamp(option: ReplayProtection | ProxyTimestamp) -> bytes:
    return _U64.pack(option.timestamp)


def _pull_vendor_specific(header: bytes, start: int, length: int) -> VendorSpecific:
    vendor, subtype = _VENDOR.unpack_from(header, start)
    return VendorSpecific(vendor, subtype, header[start + 5 : start + length])


def _push_vendor_specific(option: VendorSpecific) -> bytes:
    return _VENDOR.pack(option.vendor, option.subtype) + option.data


def _pull_proxy_timestamp(header: bytes, start: int, length: int) -> ProxyTimestamp:
    return ProxyTimestamp(_U64.unpack_from(header, start)[0])


def _pull_restart_counter(header: bytes, start: int, length: int) -> RestartCounter:
    return RestartCounter(_U32.unpack_from(header, start)[0])


def _push_restart_counter(option: RestartCounter) -> bytes:
    return _U32.pack(option.counter)


def _pull_binding_identifier(header: bytes, start: int, length: int) -> BindingIdentifier:
    if length not in (4, 8, 20):
        raise MalformedPacket(DropReason.BAD_OPTION, start - 1)
    identifier, status, flags = _BINDING_IDENTIFIER.unpack_from(header, start)
    return BindingIdentifier(identifier, status, flags >= 0x80, header[start + 4 : start + length])


def _push_binding_identifier(option: BindingIdentifier) -> bytes:
    if len(option.care_of_address) not in (0, 4, 16):
        raise ValueError("the care-of address of a Binding Identifier has 0, 4 or 16 octets")
    flags = 0x80 if option.simultaneous_home else 0
    return _BINDING_IDENTIFIER.pack(option.identifier, option.status, flags) + option.care_of_address


class _Codec(NamedTuple):
    code: int
    option: type
    length: int | None
    """Octets of data; None when they vary."""
    least: int
    """Octets of data at least."""
    alignment: tuple[int, int]
    """(x, y): the option starts at xn+y octets from the start of the Mobility Header."""
    pull: Callable[[bytes, int, int], MobilityOption | None]
    push: Callable[[Any], bytes]


_EXPERIMENTAL = 18
_CODECS = (
    _Codec(2, BindingRefreshAdvice, 2, 2, (2, 0), _pull_refresh_advice, _push_refresh_advice),
    _Codec(3, AlternateCareOfAddress, 16, 16, (8, 6), _pull_alternate_care_of, _push_alternate_care_of),
    _Codec(4, NonceIndices, 4, 4, (2, 0), _pull_nonce_indices, _push_nonce_indices),
    _Codec(5, BindingAuthorizationData, None, 0, (8, 2), _pull_authorization_data, _push_authorization_data),
    _Codec(6, MobileNetworkPrefix, 18, 18, (8, 4), _pull_mobile_network_prefix, _push_mobile_network_prefix),
    _Codec(8, MobileNodeIdentifier, None, 1, (1, 0), _pull_node_identifier, _push_node_identifier),
    _Codec(9, Authentication, None, 5, (4, 1), _pull_authentication, _push_authentication),
    _Codec(10, ReplayProtection, 8, 8, (8, 2), _pull_replay_protection, _push_timestamp),
    _Codec(19, VendorSpecific, None, 5, (4, 2), _pull_vendor_specific, _push_vendor_specific),
    _Codec(27, ProxyTimestamp, 8, 8, (8, 2), _pull_proxy_timestamp, _push_timestamp),
    _Codec(28, RestartCounter, 4, 4, (4, 2), _pull_restart_counter, _push_restart_counter),
    _Codec(35, BindingIdentifier, None, 4, (2, 0), _pull_binding_identifier, _push_binding_identifier),
    *(
        _Codec(_EXPERIMENTAL, option, None, 0, (1, 0), pull_haha_option, push_haha_option)
        for option in HAHA_OPTIONS
    ),
)
_BY_OPTION = {codec.option: codec for codec in _CODECS}
_PULL = {codec.code: (codec.length, codec.least, codec.pull) for codec in _CODECS}
_PADDING = (b"", b"\0", *(bytes((1, count - 2)) + bytes(count - 2) for count in range(2, 8)))
"""Pad1 for one octet, one PadN for more (RFC 6275 s.6.2.2)."""


def pull_options(header: bytes, position: int) -> tuple[MobilityOption, ...]:
    """Read the options from `position` to the end of the Mobility Header `header`.

    Raises MalformedPacket when an option runs past the end or a known one is not as specified.
    """
    options: list[MobilityOption] = []
    end = len(header)
    while position < end:
        code = header[position]
        if code == 0:
            position += 1
            continue
        start = position + 2
        if start > end or (length := header[start - 1]) > end - start:
            raise MalformedPacket(DropReason.TRUNCATED_OPTION, position)
        position = start + length
        if code not in _PULL:
            continue
        exact, least, pull = _PULL[code]
        if length != exact and (exact is not None or length < least):
            raise MalformedPacket(DropReason.BAD_OPTION, start - 1)
        option = pull(header, start, length)
        if option is not None:
            options.append(option)
    return tuple(options)


def push_padding(header: bytearray, step: int, rest: int = 0) -> None:
    """Pad `header` until its length is `rest` modulo `step` (at most 8)."""
    header += _PADDING[(rest - len(header)) % step]


def push_options(header: bytearray, options: Iterable[MobilityOption]) -> None:
    """Append `options`, each with the padding in front that its alignment asks for.

    Raises ValueError when a field is out of range, or when Binding Authorization Data is not last
    or would need padding behind it (RFC 6275 s.6.2.7).
    """
    closed = False
    for option in options:
        if closed:
            raise ValueError("Binding Authorization Data must be the last option (RFC 6275 s.6.2.7)")
        codec = _BY_OPTION[type(option)]
        try:
            data = codec.push(option)
        except struct.error as error:
            raise ValueError(f"{option}: {error}") from error
        if codec.length is not None and len(data) != codec.length:
            raise ValueError(f"{option}: {len(data)} octets of data, not {codec.length}")
        # RFC 5648 s.4.3: a Binding Identifier with a care-of address is aligned more strictly.
        with_address = codec.option is BindingIdentifier and len(data) > 4
        push_padding(header, *((8, 2) if with_address else codec.alignment))
        header += bytes((codec.code, len(data)))
        header += data
        closed = codec.option is BindingAuthorizationData
    if closed and len(header) % 8:
        raise ValueError("Binding Authorization Data must have no padding behind it (RFC 6275 s.6.2.7)")
