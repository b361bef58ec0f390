"""Errors about packets in a tunnel, told to who sent the packets (RFC 2473 s.8, RFC 6275 s.9.3.4).

A router inside a tunnel sees only the tunnel packet, so its ICMPv6 error comes to the tunnel's entry-point.
What the sender of the original packet is told:

| the entry-point hears | the sender is told |
|---|---|
| Packet Too Big | Packet Too Big, the MTU less the tunnel headers, at least 1280 |
| Destination Unreachable, any code | Destination Unreachable, address unreachable |
| Time Exceeded, hop limit | Time Exceeded, hop limit |

In the last row RFC 2473 s.8.2 has unreachable, for the outer hop limit says nothing about the inner one.
Where this is used the outer one is a copy (see `kernel.seg6`), so it was the packet's own that ran out, and
a traceroute that is told unreachable would end there.

Nothing protects an ICMPv6 error. So it must quote a packet that a tunnel of ours would carry, it changes no
state here, and it is limited how many are looked into, and how many are passed on to each sender. There may
be a Tunnel Encapsulation Limit between the headers, and a tunnel of ours inside a tunnel of ours: then all
of them are taken off at once (RFC 2473 s.8.4). Of the original packet only what the error quotes is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from ..wire.address import Address
from ..wire.checksum import ICMPV6
from ..wire.icmpv6 import IcmpError, IcmpErrorType, encode_icmpv6
from ..wire.ipv6 import (
    DESTINATION_OPTIONS,
    FRAGMENT,
    HEADER_OCTETS,
    HOP_BY_HOP,
    IPV6_IN_IPV6,
    MINIMUM_MTU,
    ROUTING,
    build_icmpv6,
)
from .rate_limit import RateLimit

EXAMINED_A_SECOND: Final = 2000.0
"""Errors looked into, which takes some 50 us: anybody may send them."""
RELAYED_TO_ONE_A_SECOND: Final = 50.0
"""Errors passed on to one sender. It may have many packets in many tunnels."""
_SENDERS: Final = 1024
"""Senders are told apart by a hash of their address into so many: strangers' addresses fill no memory."""

_ADDRESS_UNREACHABLE = 3
_REASSEMBLY_TIME = 1
_REDIRECT = 137
_FIRST_INFORMATIONAL = 128


class RelayDrop(StrEnum):
    """Why an error about a tunnelled packet is not passed on."""

    TOO_LITTLE_QUOTED = "too_little_quoted"
    """The original packet's header is not in it."""
    NOT_TUNNELLED = "not_tunnelled"
    """The packet at fault is no tunnel packet."""
    NO_SUCH_TUNNEL = "no_such_tunnel"
    """No tunnel of ours would carry it: invented, or about a tunnel that has ended."""
    NOT_RELAYED = "not_relayed"
    """The error concerns the tunnel alone (RFC 2473 s.8.1)."""
    FITS = "fits"
    """Packet Too Big for a packet that is not larger than the MTU it tells."""
    AT_MINIMUM = "at_minimum"
    """The original packet has the size that every path must take (RFC 2473 s.7.1)."""
    ABOUT_ERROR = "about_error"
    """No error is sent about an error (RFC 4443 s.2.4 e.1, e.2)."""
    MULTICAST = "multicast"
    """Nor about a packet to many (RFC 4443 s.2.4 e.3), unless it is too big."""
    NO_ONE_TO_TELL = "no_one_to_tell"
    """Its source is no one node that can be reached (RFC 4443 s.2.4 e.6)."""
    TOO_MANY = "too_many"
    """More than are looked into."""
    TOO_MANY_TO_ONE = "too_many_to_one"


class Tunnelled(NamedTuple):
    """A tunnel packet: its entry-point and exit-point, and the addresses of what is in it."""

    entry: Address
    exit: Address
    source: Address
    destination: Address


class ErrorRelay:
    """The tunnel entry-point's duty to pass errors on."""

    def __init__(self, source: Address, matches: Callable[[Tunnelled], bool], counters: Counter[str]) -> None:
        """Errors come from `source`, an address of this host. `matches` tells whether a tunnel of ours
        carries such a packet now."""
        self._source = source
        self._matches = matches
        self._counters = counters
        self._total = RateLimit(EXAMINED_A_SECOND, EXAMINED_A_SECOND)
        self._to_one: dict[int, RateLimit] = {}

    def receive(self, error: IcmpError, now: float) -> bytes | None:
        """The packet that passes an error on, None when it stays here. `now` on the monotonic clock."""
        answer = self._translate(error) if self._total.allows(now) else RelayDrop.TOO_MANY
        if not isinstance(answer, RelayDrop):
            to = Address(answer.quoted[8:24])
            if self._may_tell(to, now):
                self._counters[f"icmp_relayed_{answer.type.name.lower()}"] += 1
                return build_icmpv6(self._source, to, encode_icmpv6(answer, self._source, to))
            answer = RelayDrop.TOO_MANY_TO_ONE
        self._counters[f"icmp_relay_dropped_{answer}"] += 1
        return None

    def _translate(self, error: IcmpError) -> IcmpError | RelayDrop:
        headers = self._tunnel_headers(error.quoted)
        if isinstance(headers, RelayDrop):
            return headers
        original = error.quoted[headers:]
        too_big = error.type is IcmpErrorType.PACKET_TOO_BIG
        objection = _objection(original, too_big) or (_size_objection(error, original) if too_big else None)
        if objection is not None:
            return objection
        if too_big:
            mtu = max(error.argument - headers, MINIMUM_MTU)
            return IcmpError(IcmpErrorType.PACKET_TOO_BIG, 0, mtu, original)
        if error.type is IcmpErrorType.PARAMETER_PROBLEM or (
            error.type is IcmpErrorType.TIME_EXCEEDED and error.code == _REASSEMBLY_TIME
        ):
            return RelayDrop.NOT_RELAYED
        if error.type is IcmpErrorType.TIME_EXCEEDED:
            return IcmpError(IcmpErrorType.TIME_EXCEEDED, error.code, 0, original)
        return IcmpError(IcmpErrorType.DESTINATION_UNREACHABLE, _ADDRESS_UNREACHABLE, 0, original)

    def _tunnel_headers(self, quoted: bytes) -> int | RelayDrop:
        """Octets of all headers that we have put in front of the original packet."""
        end = _end_of_tunnel_headers(quoted, 0)
        if isinstance(end, RelayDrop):
            return end
        if not self._matches(_tunnelled(quoted, 0, end)):
            return RelayDrop.NO_SUCH_TUNNEL
        while True:
            inner_end = _end_of_tunnel_headers(quoted, end)
            if isinstance(inner_end, RelayDrop) or not self._matches(_tunnelled(quoted, end, inner_end)):
                return end
            end = inner_end

    def _may_tell(self, to: Address, now: float) -> bool:
        # Those who share a place in the table share its rate; nobody can choose who they are.
        limit = self._to_one.setdefault(
            hash(to) % _SENDERS, RateLimit(RELAYED_TO_ONE_A_SECOND, 2 * RELAYED_TO_ONE_A_SECOND)
        )
        return limit.allows(now)


def _end_of_tunnel_headers(packet: bytes, start: int) -> int | RelayDrop:
    """Where the packet begins that the tunnel packet at `start` carries, with its header there."""
    end = start + HEADER_OCTETS
    if len(packet) < end + HEADER_OCTETS:
        return RelayDrop.TOO_LITTLE_QUOTED
    next_header = packet[start + 6]
    if next_header == DESTINATION_OPTIONS:
        # The Tunnel Encapsulation Limit (RFC 2473 s.4.1.1).
        next_header, end = packet[end], end + (packet[end + 1] + 1) * 8
    if next_header != IPV6_IN_IPV6:
        return RelayDrop.NOT_TUNNELLED
    return end if len(packet) >= end + HEADER_OCTETS else RelayDrop.TOO_LITTLE_QUOTED


def _tunnelled(packet: bytes, outer: int, inner: int) -> Tunnelled:
    return Tunnelled(
        Address(packet[outer + 8 : outer + 24]),
        Address(packet[outer + 24 : outer + 40]),
        Address(packet[inner + 8 : inner + 24]),
        Address(packet[inner + 24 : inner + 40]),
    )


def _size(packet: bytes) -> int:
    """Octets that the packet had, of which less may be quoted."""
    return HEADER_OCTETS + int.from_bytes(packet[4:6], "big")


def _objection(original: bytes, too_big: bool) -> RelayDrop | None:
    """Why nobody is to be told about this packet (RFC 4443 s.2.4 e)."""
    if not Address(original[8:24]).is_routable_unicast:
        return RelayDrop.NO_ONE_TO_TELL
    if _is_error(original):
        return RelayDrop.ABOUT_ERROR
    if Address(original[24:40]).is_multicast and not too_big:
        return RelayDrop.MULTICAST
    return None


def _size_objection(error: IcmpError, original: bytes) -> RelayDrop | None:
    if _size(error.quoted) <= error.argument:
        return RelayDrop.FITS
    return RelayDrop.AT_MINIMUM if _size(original) <= MINIMUM_MTU else None


def _is_error(packet: bytes) -> bool:
    """True for an ICMPv6 error or Redirect. What is behind the quoted octets, or in the other fragments of
    a packet, counts as none."""
    next_header, position = packet[6], HEADER_OCTETS
    while next_header in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, FRAGMENT):
        if len(packet) < position + 8:
            return False
        octets = (packet[position + 1] + 1) * 8
        if next_header == FRAGMENT:
            octets = 8
            if int.from_bytes(packet[position + 2 : position + 4], "big") >> 3:
                return False
        next_header, position = packet[position], position + octets
    if next_header != ICMPV6 or len(packet) <= position:
        return False
    return packet[position] < _FIRST_INFORMATIONAL or packet[position] == _REDIRECT
