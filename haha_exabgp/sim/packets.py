"""Packets on their way: signalling as octets, data as what is known of it."""

from __future__ import annotations

from ..wire.address import Address

HOP_LIMIT = 64
"""Of every packet as it is sent."""


class Flow:
    """One data packet of a correspondent or of a mobile network, whatever tunnels it is in."""

    __slots__ = ("arrived", "home_address", "inbound", "number", "sent_at")

    def __init__(self, number: int, home_address: Address, inbound: bool, sent_at: float) -> None:
        """`inbound`: from a correspondent to the mobile router of `home_address`."""
        self.number = number
        self.home_address = home_address
        self.inbound = inbound
        self.sent_at = sent_at
        self.arrived = False


class Packet:
    """An IPv6 packet. `tunnels`: (source, destination) of the headers around it, the outermost last."""

    __slots__ = ("destination", "flow", "hop_limit", "octets", "path", "source", "tunnels")

    def __init__(
        self, source: Address, destination: Address, octets: bytes | None = None, flow: Flow | None = None
    ) -> None:
        """`octets` of signalling, whole; `flow` of data."""
        self.source = source
        self.destination = destination
        self.octets = octets
        self.flow = flow
        self.hop_limit = HOP_LIMIT
        self.tunnels: tuple[tuple[Address, Address], ...] = ()
        self.path: tuple[str, ...] = ()
        """The hosts that have forwarded it."""

    def copy(self) -> Packet:
        """The same once more, as networks do."""
        twin = Packet(self.source, self.destination, self.octets, self.flow)
        twin.hop_limit, twin.tunnels, twin.path = self.hop_limit, self.tunnels, self.path
        return twin


def signalling(octets: bytes) -> Packet:
    """A packet as the core transmits it."""
    return Packet(Address(octets[8:24]), Address(octets[24:40]), octets)
