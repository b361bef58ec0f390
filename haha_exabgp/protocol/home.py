"""What one border Home Agent knows of its Home before any packet: itself, its peers, its mobile routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..wire.address import Address, Prefix


@dataclass(frozen=True, slots=True)
class Peer:
    """The border Home Agent of another site."""

    name: str
    site: str
    outer: Address
    haha: Address
    partition: Prefix


@dataclass(frozen=True, slots=True)
class SecurityAssociation:
    """A mobility security association (RFC 4285 s.3): index and 16-octet key."""

    spi: int
    key: bytes

    def __repr__(self) -> str:
        return f"SecurityAssociation(spi={self.spi}, key=…)"


@dataclass(frozen=True, slots=True)
class MobileRouterPolicy:
    """What one mobile router may do."""

    name: str
    home_address: Address
    prefixes: tuple[Prefix, ...]
    association: SecurityAssociation


@dataclass(frozen=True, slots=True)
class HomeAgentConfig:
    """One border Home Agent's view of its Home. Durations in seconds."""

    name: str
    site: str
    outer: Address
    haha: Address
    home: Prefix
    partition: Prefix
    site_router: Address
    asn: int
    peers: tuple[Peer, ...]
    mesh: SecurityAssociation
    mobile_routers: Mapping[Address, MobileRouterPolicy]
    max_binding_lifetime: int
    min_sites_reached: int

    def primary_for(self, home_address: Address) -> tuple[Peer, ...]:
        """The other Home Agents that are primary for a home address: by its place in the partitions,
        the *predictive* method of the draft (s.10.2), which costs no message."""
        return tuple(peer for peer in self.peers if peer.partition.contains(home_address))

    def is_primary_for(self, home_address: Address) -> bool:
        """True when this Home Agent accepts the binding by itself."""
        return self.partition.contains(home_address)
