"""ICMPv6 messages of mobility: Home Agent address discovery (144, 145), mobile prefixes (146, 147), and
the error messages (RFC 4443 s.3) that answer or concern tunnelled and mobility packets.

`source` and `destination` are those of the checksum's pseudo-header, as in `mobility`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

from .address import Address
from .checksum import ICMPV6, checksum_is_right, internet_checksum
from .errors import DropReason, MalformedPacket

MAX_QUOTED = 1232
"""Octets of the packet at fault that an error message quotes: 1280 less both headers (RFC 4443 s.2.4)."""


class IcmpErrorType(IntEnum):
    """Types below 128: errors (RFC 4443 s.3)."""

    DESTINATION_UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4


@dataclass(frozen=True, slots=True)
class HomeAgentDiscoveryRequest:
    """Type 144 (RFC 6275 s.6.5). `mobile_router`: wants Home Agents that serve them (RFC 3963 s.7.1)."""

    identifier: int
    mobile_router: bool = False


@dataclass(frozen=True, slots=True)
class HomeAgentDiscoveryReply:
    """Type 145 (RFC 6275 s.6.6), most preferred first.

    `mobile_router`: at least one of them serves mobile routers (RFC 3963 s.7.2).
    """

    identifier: int
    mobile_router: bool
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class MobilePrefixSolicitation:
    """Type 146 (RFC 6275 s.6.7)."""

    identifier: int


@dataclass(frozen=True, slots=True)
class PrefixInformation:
    """Prefix Information option (RFC 4861 s.4.6.2, RFC 6275 s.7.2). Lifetimes in seconds, 32 bits.

    With `router_address`, `address` is a whole address of the router; only its first `length` bits are
    the prefix.
    """

    address: Address
    length: int
    valid_lifetime: int
    preferred_lifetime: int
    on_link: bool = False
    autonomous: bool = False
    router_address: bool = False


@dataclass(frozen=True, slots=True)
class MobilePrefixAdvertisement:
    """Type 147 (RFC 6275 s.6.8). Options other than Prefix Information are skipped."""

    identifier: int
    managed: bool
    other: bool
    prefixes: tuple[PrefixInformation, ...]


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An ICMPv6 error. `argument` is the pointer of a Parameter Problem in octets, the MTU of a Packet
    Too Big, else 0. Of `quoted`, `MAX_QUOTED` octets are sent at most."""

    type: IcmpErrorType
    code: int
    argument: int
    quoted: bytes


IcmpMessage = (
    HomeAgentDiscoveryRequest
    | HomeAgentDiscoveryReply
    | MobilePrefixSolicitation
    | MobilePrefixAdvertisement
    | IcmpError
)

_HEAD = Struct("!BBH")
_IDENTIFIED = Struct("!4xHH")
_ARGUMENT = Struct("!4xI")
_PREFIX_INFORMATION = Struct("!BBBBIIxxxx16s")
_FIRST_BIT = 0x8000
_SECOND_BIT = 0x4000


def parameter_problem(code: int, pointer: int, packet: bytes) -> IcmpError:
    """The Parameter Problem about octet `pointer` of the IPv6 packet `packet` (RFC 4443 s.3.4)."""
    return IcmpError(IcmpErrorType.PARAMETER_PROBLEM, code, pointer, packet[:MAX_QUOTED])


def _pull_request(message: bytes) -> HomeAgentDiscoveryRequest:
    identifier, word = _IDENTIFIED.unpack_from(message)
    return HomeAgentDiscoveryRequest(identifier, word >= _FIRST_BIT)


def _push_request(message: HomeAgentDiscoveryRequest) -> bytes:
    return _IDENTIFIED.pack(message.identifier, _FIRST_BIT if message.mobile_router else 0)


def _pull_reply(message: bytes) -> HomeAgentDiscoveryReply:
    if len(message) % 16 != 8:
        raise MalformedPacket(DropReason.BAD_ICMPV6, len(message))
    identifier, word = _IDENTIFIED.unpack_from(message)
    addresses = tuple(Address(message[at : at + 16]) for at in range(8, len(message), 16))
    return HomeAgentDiscoveryReply(identifier, word >= _FIRST_BIT, addresses)


def _push_reply(message: HomeAgentDiscoveryReply) -> bytes:
    head = _IDENTIFIED.pack(message.identifier, _FIRST_BIT if message.mobile_router else 0)
    return head + b"".join(message.addresses)


def _pull_solicitation(message: bytes) -> MobilePrefixSolicitation:
    return MobilePrefixSolicitation(_IDENTIFIED.unpack_from(message)[0])


def _push_solicitation(message: MobilePrefixSolicitation) -> bytes:
    return _IDENTIFIED.pack(message.identifier, 0)


def _pull_advertisement(message: bytes) -> MobilePrefixAdvertisement:
    identifier, word = _IDENTIFIED.unpack_from(message)
    prefixes = []
    position = 8
    while position < len(message):
        # RFC 4861 s.4.6: type, then the length in units of 8 octets, which cannot be 0.
        units = message[position + 1] if position + 1 < len(message) else 0
        end = position + units * 8
        if units == 0 or end > len(message):
            raise MalformedPacket(DropReason.BAD_ICMPV6, position)
        if message[position] == 3:
            prefixes.append(_pull_prefix_information(message, position))
        position = end
    managed, other = bool(word & _FIRST_BIT), bool(word & _SECOND_BIT)
    return MobilePrefixAdvertisement(identifier, managed, other, tuple(prefixes))


def _pull_prefix_information(message: bytes, position: int) -> PrefixInformation:
    if message[position + 1] != 4 or message[position + 2] > 128:
        raise MalformedPacket(DropReason.BAD_ICMPV6, position)
    _, _, length, flags, valid, preferred, address = _PREFIX_INFORMATION.unpack_from(message, position)
    return PrefixInformation(
        Address(address), length, valid, preferred, bool(flags & 0x80), bool(flags & 0x40), bool(flags & 0x20)
    )


def _push_advertisement(message: MobilePrefixAdvertisement) -> bytes:
    word = message.managed * _FIRST_BIT | message.other * _SECOND_BIT
    options = [
        _PREFIX_INFORMATION.pack(
            3,
            4,
            prefix.length,
            prefix.on_link << 7 | prefix.autonomous << 6 | prefix.router_address << 5,
            prefix.valid_lifetime,
            prefix.preferred_lifetime,
            prefix.address,
        )
        for prefix in message.prefixes
    ]
    return _IDENTIFIED.pack(message.identifier, word) + b"".join(options)


def _pull_error(message: bytes) -> IcmpError:
    return IcmpError(IcmpErrorType(message[0]), message[1], _ARGUMENT.unpack_from(message)[0], message[8:])


def _push_error(message: IcmpError) -> bytes:
    return _ARGUMENT.pack(message.argument) + message.quoted[:MAX_QUOTED]


class _Codec(NamedTuple):
    pull: Callable[[bytes], IcmpMessage]
    push: Callable[[Any], bytes]
    """Gives the message with four zero octets in place of type, code and checksum."""


_ERROR = _Codec(_pull_error, _push_error)
_BY_TYPE: dict[int, _Codec] = {
    **dict.fromkeys(IcmpErrorType, _ERROR),
    144: _Codec(_pull_request, _push_request),
    145: _Codec(_pull_reply, _push_reply),
    146: _Codec(_pull_solicitation, _push_solicitation),
    147: _Codec(_pull_advertisement, _push_advertisement),
}
_TYPES = {
    HomeAgentDiscoveryRequest: 144,
    HomeAgentDiscoveryReply: 145,
    MobilePrefixSolicitation: 146,
    MobilePrefixAdvertisement: 147,
}


def decode_icmpv6(message: bytes, source: bytes, destination: bytes) -> IcmpMessage:
    """Check and read an ICMPv6 message. Raises MalformedPacket, also for a type not listed here."""
    if len(message) < 8:
        raise MalformedPacket(DropReason.TRUNCATED, len(message))
    if not checksum_is_right(source, destination, ICMPV6, message):
        raise MalformedPacket(DropReason.BAD_CHECKSUM, 2)
    codec = _BY_TYPE.get(message[0])
    if codec is None:
        raise MalformedPacket(DropReason.UNKNOWN_ICMPV6_TYPE)
    if message[0] >= 128 and message[1]:
        raise MalformedPacket(DropReason.BAD_ICMPV6, 1)
    return codec.pull(message)


def encode_icmpv6(message: IcmpMessage, source: bytes, destination: bytes) -> bytes:
    """The whole ICMPv6 message, checksum set. Raises ValueError when a field is out of range."""
    if isinstance(message, IcmpError):
        kind, code = int(message.type), message.code
    else:
        kind, code = _TYPES[type(message)], 0
    try:
        octets = bytearray(_BY_TYPE[kind].push(message))
        _HEAD.pack_into(octets, 0, kind, code, 0)
    except struct.error as error:
        raise ValueError(f"{message}: {error}") from error
    octets[2:4] = internet_checksum(source, destination, ICMPV6, octets).to_bytes(2, "big")
    return bytes(octets)
