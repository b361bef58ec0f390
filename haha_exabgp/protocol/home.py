"""What one border Home Agent knows of its Home before any packet: itself, its peers, its mobile routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ..wire.address import Address, Prefix
from ..wire.authentication import Algorithm
from .home_subnets import HomeSubnet


class LentPrefix(NamedTuple):
    """A part of a parent's partition for the addresses of a satellite (draft s.5.1.2)."""

    parent: str
    """The site that lends it."""
    prefix: Prefix
    address: Address
    """Of the satellite's Home Agent: its care-of address at primaries while it hangs under this parent."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The border Home Agent of another site."""

    name: str
    site: str
    outer: Address
    haha: Address
    partition: Prefix | None
    """None: its site is a satellite."""
    lent: tuple[LentPrefix, ...] = ()
    """To it, a satellite; best parent first."""
    is_adjacent: bool = True
    """Whether a tunnel and a BGP session join us. Satellites have those with their parents only."""

    @property
    def is_satellite(self) -> bool:
        """True when it is primary for nobody."""
        return self.partition is None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Inside tunnels it speaks by these and no others."""
        return (self.haha, *[one.address for one in self.lent])

    def is_primary_for(self, home_address: Address) -> bool:
        """True when it accepts the binding by itself."""
        return self.partition is not None and self.partition.contains(home_address)


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
    """Each valid by its SPI: two while a key is being changed."""
    replay: ReplayProtectionMode = ReplayProtectionMode.TIMESTAMP
    proxies: frozenset[str] | None = None
    """Names of the Home Agents that may bind it as proxies; None: every one of the Home."""


@dataclass(frozen=True, slots=True)
class HomeAgentConfig:
    """One border Home Agent's view of its Home. Durations in seconds."""

    name: str
    site: str
    outer: Address
    haha: Address
    home: Prefix
    partition: Prefix | None
    """None: its site is a satellite."""
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

    lent: tuple[LentPrefix, ...] = ()
    """To us, a satellite; best parent first."""
    nests_tunnels: bool = True
    """Whether this host can send a tunnel through another one of its own."""
    secondary_bindings: bool = True
    """Of a satellite: whether its parent is told which mobile routers of other sites are bound here."""

    @property
    def is_satellite(self) -> bool:
        """True when this Home Agent is primary for nobody."""
        return self.partition is None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Other Home Agents speak to us by these, inside tunnels."""
        return (self.haha, *[one.address for one in self.lent])

    @property
    def tunnel_ends(self) -> tuple[Address, ...]:
        """Tunnels to us end there: from adjacent Home Agents and mobile routers, and inside those of parents
        from other primaries."""
        return (self.outer, *[one.address for one in self.lent])

    @property
    def adjacent(self) -> tuple[Peer, ...]:
        """The Home Agents that a tunnel and a BGP session join us to."""
        return tuple([peer for peer in self.peers if peer.is_adjacent])

    def primary_for(self, home_address: Address) -> tuple[Peer, ...]:
        """The other Home Agents that are primary for a home address: by its place in the partitions,
        the *predictive* method of the draft (s.10.2), which costs no message."""
        return tuple(peer for peer in self.peers if peer.is_primary_for(home_address))

    def tunnel_exit(self, care_of_address: Address) -> Address:
        """Where packets for a proxy by its address inside tunnels go: the proxy's outer address when a tunnel
        of ours leads there; of a satellite under another parent the address itself, for that tunnel is
        inside the one to the parent's site. A host that cannot nest them leaves the second to the parent,
        which knows the mobile router by its secondary binding. Raises KeyError for nobody's address."""
        for peer in self.peers:
            if peer.haha == care_of_address:
                return peer.outer
            for lent in peer.lent:
                if lent.address == care_of_address:
                    return peer.outer if lent.parent == self.site else self._into(lent)
        raise KeyError(care_of_address)

    def _into(self, lent: LentPrefix) -> Address:
        outer = (peer.outer for peer in self.adjacent if peer.site == lent.parent)
        return lent.address if self.nests_tunnels else next(outer, lent.address)

    def outer_of(self, haha: Address) -> Address:
        """The outer address of another Home Agent by its HAHA address. Raises KeyError."""
        for peer in self.peers:
            if peer.haha == haha:
                return peer.outer
        raise KeyError(haha)

    def is_primary_for(self, home_address: Address) -> bool:
        """True when this Home Agent accepts the binding by itself."""
        return self.partition is not None and self.partition.contains(home_address)
