"""What one border Home Agent knows of its Home before any packet: itself, its peers, its mobile routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..wire.address import Address, Prefix
from ..wire.authentication import Algorithm
from .home_subnets import HomeSubnet


@dataclass(frozen=True, slots=True)
class Peer:
    """The border Home Agent of another site."""

    name: str
    site: str
    outer: Address
    haha: Address
    partition: Prefix

    def may_bind(self, policy: MobileRouterPolicy) -> bool:
        """Whether it grants this mobile router a binding, as its primary or as a proxy."""
        allowed = policy.proxies
        return allowed is None or self.name in allowed or self.partition.contains(policy.home_address)


class ReplayProtectionMode(StrEnum):
    """What keeps an old Binding Update from being taken for a new one."""

    TIMESTAMP = "timestamp"
    """The MESG-ID option (RFC 4285 s.6), in every Binding Update."""
    SEQUENCE = "sequence"
    """The sequence number alone (RFC 6275 s.9.5.1): for a mobile router that has no clock."""


@dataclass(frozen=True, slots=True)
class SecurityAssociation:
    """A mobility security association (RFC 4285 s.3): index, key (16 octets as RFC 4285 has it) and what
    the key is used with."""

    spi: int
    key: bytes
    algorithm: Algorithm = Algorithm.HMAC_SHA1

    def __repr__(self) -> str:
        return f"SecurityAssociation(spi={self.spi}, key=…)"


@dataclass(frozen=True, slots=True)
class MobileRouterPolicy:
    """What one mobile router may do."""

    name: str
    home_address: Address
    prefixes: tuple[Prefix, ...]
    associations: tuple[SecurityAssociation, ...]
    """Each valid by its SPI: two while a key is being changed. Empty where this Home Agent has
    none of it."""
    replay: ReplayProtectionMode = ReplayProtectionMode.TIMESTAMP
    proxies: frozenset[str] | None = None
    """Names of the Home Agents that may bind it as proxies; None: every one of the Home."""
    aaa: SecurityAssociation | None = None
    """That of its MN-AAA authenticator (RFC 4285 s.5.2), for Binding Updates that came by a Home Agent which
    has no key of it."""


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
    max_bindings: int = 200_000
    """Live ones, direct and proxied; above that new ones are refused with status 130."""
    max_prefixes: int = 40
    """Of one mobile router; above that status 130. What is relayed with 40 of them, and what is answered,
    fits into 1280 octets."""
    refresh_advice: int | None = None
    """Seconds: what the Binding Refresh Advice of an acknowledgement says, where that is less than the
    lifetime. RFC 6275 s.10.3.1 has none of it where bindings are on disk, so None: none."""
    refresh_requests: bool = True
    """Whether a mobile router whose binding is about to end is asked to refresh it."""
    home_subnets: tuple[HomeSubnet, ...] = ()
    """Those subnets of Home of which an end is known."""

    def primary_for(self, home_address: Address) -> tuple[Peer, ...]:
        """The other Home Agents that are primary for a home address: by its place in the partitions,
        the *predictive* method of the draft (s.10.2), which costs no message."""
        return tuple(peer for peer in self.peers if peer.partition.contains(home_address))

    def outer_of(self, haha: Address) -> Address:
        """The outer address of another Home Agent by its HAHA address. Raises KeyError."""
        for peer in self.peers:
            if peer.haha == haha:
                return peer.outer
        raise KeyError(haha)

    def is_primary_for(self, home_address: Address) -> bool:
        """True when this Home Agent accepts the binding by itself."""
        return self.partition.contains(home_address)
