"""Whole IPv6 packets around mobility messages and the ICMPv6 messages that go with them.

A mobile router away from home puts its home address into a Home Address destination option; towards
it, the home address travels in a type 2 routing header (RFC 6275 s.6.3, s.6.4).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from .address import Address
from .checksum import ICMPV6, MOBILITY_HEADER
from .errors import DropReason, MalformedPacket
from .mobility import cut_to_length

HOP_BY_HOP = 0
IPV6_IN_IPV6 = 41
ROUTING = 43
FRAGMENT = 44
DESTINATION_OPTIONS = 60

HEADER_OCTETS = 40
MINIMUM_MTU = 1280
"""Octets of a packet that every IPv6 link carries (RFC 8200 s.5)."""

_HEADER = Struct("!IHBB16s16s")
_VERSION = 6 << 28
_NO_HEADER = bytes(HEADER_OCTETS)
_HOME_ADDRESS = 0xC9
_HOME_ADDRESS_HEAD = bytes((2, 1, 2, 0, 0, _HOME_ADDRESS, 16))
"""Hdr Ext Len 2, then PadN of 4 so that the option stands at 8n+6 (RFC 6275 s.6.3)."""
_HOME_ADDRESS_THEN_MOBILITY = bytes((MOBILITY_HEADER,)) + _HOME_ADDRESS_HEAD
_ROUTING_HEAD = bytes((2, 2, 1, 0, 0, 0, 0))
"""Hdr Ext Len 2, type 2, one segment left, reserved (RFC 6275 s.6.4.1)."""


class MobilityPacket(NamedTuple):
    """A received Mobility Header, not looked into yet, and the addresses it came with."""

    source: Address
    destination: Address
    home_address: Address | None
    """From the Home Address option."""
    routing_home_address: Address | None
    """From the type 2 routing header."""
    offset: int
    """Of the upper layer, in octets from the start of the IPv6 packet: add it to the `offset` of a
    MalformedPacket to get the pointer of a Parameter Problem."""
    header: bytes

    @property
    def checksum_source(self) -> Address:
        """Source of the checksum's pseudo-header (RFC 6275 s.6.1.1)."""
        return self.source if self.home_address is None else self.home_address

    @property
    def checksum_destination(self) -> Address:
        """Destination of the checksum's pseudo-header (RFC 6275 s.6.1.1)."""
        return self.destination if self.routing_home_address is None else self.routing_home_address


class IcmpPacket(NamedTuple):
    """A received ICMPv6 message, not looked into yet; its other fields are those of `MobilityPacket`."""

    source: Address
    destination: Address
    home_address: Address | None
    routing_home_address: Address | None
    offset: int
    message: bytes

    @property
    def checksum_source(self) -> Address:
        """As of a `MobilityPacket`."""
        return self.source if self.home_address is None else self.home_address

    @property
    def checksum_destination(self) -> Address:
        """As of a `MobilityPacket`."""
        return self.destination if self.routing_home_address is None else self.routing_home_address


def build_ipv6(
    source: bytes, destination: bytes, next_header: int, payload: bytes, *, hop_limit: int = 64
) -> bytes:
    """An IPv6 header in front of `payload`. Raises ValueError when that is over 65535 octets."""
    if len(payload) > 0xFFFF:
        raise ValueError(f"{len(payload)} octets do not fit into an IPv6 packet")
    return _HEADER.pack(_VERSION, len(payload), next_header, hop_limit, source, destination) + payload


def build_mobility(
    source: bytes,
    destination: bytes,
    header: bytes,
    *,
    home_address: bytes | None = None,
    routing_home_address: bytes | None = None,
    hop_limit: int = 64,
) -> bytes:
    """The packet IPv6 / [type 2 routing header] / [Home Address option] / Mobility Header.

    `header` comes from `encode_mobility` or `authentication.sign`, called with the home address in
    place of the source when `home_address` is given, of the destination with `routing_home_address`.
    """
    chain = _push_chain(MOBILITY_HEADER, header, home_address, routing_home_address)
    return build_ipv6(source, destination, *chain, hop_limit=hop_limit)


def build_icmpv6(
    source: bytes,
    destination: bytes,
    message: bytes,
    *,
    home_address: bytes | None = None,
    routing_home_address: bytes | None = None,
    hop_limit: int = 64,
) -> bytes:
    """As `build_mobility`, around an ICMPv6 message from `icmpv6.encode_icmpv6`."""
    chain = _push_chain(ICMPV6, message, home_address, routing_home_address)
    return build_ipv6(source, destination, *chain, hop_limit=hop_limit)


def _push_chain(
    next_header: int, payload: bytes, home_address: bytes | None, routing_home_address: bytes | None
) -> tuple[int, bytes]:
    # RFC 6275 s.6.3: the Home Address option stands behind the routing header.
    if home_address is not None:
        payload = b"".join((bytes((next_header,)), _HOME_ADDRESS_HEAD, home_address, payload))
        next_header = DESTINATION_OPTIONS
    if routing_home_address is not None:
        payload = b"".join((bytes((next_header,)), _ROUTING_HEAD, routing_home_address, payload))
        next_header = ROUTING
    return next_header, payload


def parse_packet(packet: bytes) -> MobilityPacket | IcmpPacket:
    """Read a whole IPv6 packet, link-layer padding behind it allowed. Raises MalformedPacket."""
    if len(packet) < HEADER_OCTETS:
        raise MalformedPacket(DropReason.TRUNCATED, len(packet))
    first, length, next_header, _, source, destination = _HEADER.unpack_from(packet)
    if first >> 28 != 6:
        raise MalformedPacket(DropReason.NOT_IPV6)
    end = HEADER_OCTETS + length
    if end > len(packet):
        raise MalformedPacket(DropReason.TRUNCATED, len(packet))
    return _parse(next_header, packet[:end], HEADER_OCTETS, Address(source), Address(destination))


class TunnelHeader(NamedTuple):
    """Entry-point and exit-point of a tunnel that a packet is in."""

    source: Address
    destination: Address


def parse_tunnelled(packet: bytes) -> tuple[tuple[TunnelHeader, ...], MobilityPacket | IcmpPacket]:
    """Read a whole IPv6 packet that may be in tunnels, which come outermost first; in front of the outermost
    one's contents there may be destination options (RFC 2473 s.4.1.1). Raises MalformedPacket."""
    tunnels: list[TunnelHeader] = []
    start = 0
    while True:
        behind = start + HEADER_OCTETS
        next_header = packet[start + 6] if len(packet) > behind else None
        if next_header == DESTINATION_OPTIONS and not tunnels and packet[behind] == IPV6_IN_IPV6:
            next_header, behind = IPV6_IN_IPV6, _extension_end(DESTINATION_OPTIONS, packet, behind)
        if next_header != IPV6_IN_IPV6:
            return tuple(tunnels), parse_packet(packet[start:])
        source, destination = packet[start + 8 : start + 24], packet[start + 24 : start + 40]
        tunnels.append(TunnelHeader(Address(source), Address(destination)))
        start = behind


def parse_from(
    next_header: int, data: bytes, source: Address, destination: Address
) -> MobilityPacket | IcmpPacket:
    """Read what a raw socket of protocol `next_header` gives: the packet from that header on.

    60: from the destination options, 43: from the routing header, 135: from the Mobility Header, 58:
    from the ICMPv6 header. Raises MalformedPacket; offsets count a plain IPv6 header in front, and
    `build_ipv6(source, destination, next_header, data)` makes the packet that an error can quote.
    """
    # Nearly every packet of a busy Home Agent has the Home Address option where RFC 6275 s.6.3 puts it.
    if next_header == DESTINATION_OPTIONS and data[:8] == _HOME_ADDRESS_THEN_MOBILITY:
        home_address = Address(data[8:24])
        end = 32 + data[25] * 8 if len(data) >= 32 else 0
        if 32 <= end <= len(data) and home_address.is_routable_unicast:
            return MobilityPacket(source, destination, home_address, None, 64, data[24:end])
    return _parse(next_header, _NO_HEADER + data, HEADER_OCTETS, source, destination)


def _parse(
    next_header: int, packet: bytes, position: int, source: Address, destination: Address
) -> MobilityPacket | IcmpPacket:
    """Follow the extension headers from `position`; the octets in front of it are not looked at."""
    home_address: Address | None = None
    routing_home_address: Address | None = None
    while next_header not in (MOBILITY_HEADER, ICMPV6):
        end = _extension_end(next_header, packet, position)
        if next_header == DESTINATION_OPTIONS:
            home_address = _pull_home_address(packet, position + 2, end, home_address)
        elif next_header == ROUTING and packet[position + 2] == 2:
            if routing_home_address is not None:
                raise MalformedPacket(DropReason.BAD_ROUTING_HEADER, position)
            routing_home_address = _pull_routing(packet, position)
        elif next_header == ROUTING and packet[position + 3]:
            raise MalformedPacket(DropReason.UNKNOWN_ROUTING_TYPE, position + 2)
        next_header = packet[position]
        position = end
    if next_header == MOBILITY_HEADER:
        return MobilityPacket(
            source,
            destination,
            home_address,
            routing_home_address,
            position,
            cut_to_length(packet, position),
        )
    return IcmpPacket(source, destination, home_address, routing_home_address, position, packet[position:])


def _extension_end(next_header: int, data: bytes, position: int) -> int:
    """Octet past the extension header at `position`, which has the general form of RFC 8200 s.4."""
    if next_header == FRAGMENT:
        raise MalformedPacket(DropReason.FRAGMENTED, position)
    if next_header not in (DESTINATION_OPTIONS, ROUTING, HOP_BY_HOP):
        raise MalformedPacket(DropReason.NOT_MOBILITY, position)
    if position + 8 > len(data):
        raise MalformedPacket(DropReason.TRUNCATED, len(data))
    end = position + (data[position + 1] + 1) * 8
    if end > len(data):
        raise MalformedPacket(DropReason.TRUNCATED, len(data))
    return end


def _pull_home_address(data: bytes, position: int, end: int, found: Address | None) -> Address | None:
    """The home address among the destination options in `position` to `end`, else `found`."""
    while position < end:
        kind = data[position]
        if kind == 0:
            position += 1
            continue
        start = position + 2
        if start > end or start + data[position + 1] > end:
            raise MalformedPacket(DropReason.BAD_DESTINATION_OPTION, position)
        length = data[position + 1]
        if kind == _HOME_ADDRESS:
            if found is not None or length != 16:
                raise MalformedPacket(DropReason.BAD_DESTINATION_OPTION, position)
            found = Address(data[start : start + 16])
            if not found.is_routable_unicast:
                raise MalformedPacket(DropReason.BAD_HOME_ADDRESS, start)
        elif kind >= 0x40:
            # RFC 8200 s.4.2: only types whose two first bits are 00 may be skipped.
            raise MalformedPacket(DropReason.UNKNOWN_DESTINATION_OPTION, position)
        position = start + length
    return found


def _pull_routing(data: bytes, position: int) -> Address:
    """The home address in the type 2 routing header at `position` (RFC 6275 s.6.4.1, s.11.3.3)."""
    if data[position + 1] != 2 or data[position + 3] != 1:
        raise MalformedPacket(DropReason.BAD_ROUTING_HEADER, position)
    address = Address(data[position + 8 : position + 24])
    if not address.is_routable_unicast:
        raise MalformedPacket(DropReason.BAD_ROUTING_HEADER, position + 8)
    return address
