"""What one border Home Agent knows of its Home before any packet: itself, its peers, its mobile routers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ..wire.address import Address, Prefix
from ..wire.authentication import Algorithm
from .home_subnets import HomeSubnet


@dataclass(frozen=True, slots=True)
class Peer:
    """Another Home Agent of the Home, of another site or of the same."""

    name: str
    site: str
    outer: Address
    haha: Address
    partition: Prefix

    def may_bind(self, policy: MobileRouterPolicy) -> bool:
        """Whether it grants this mobile router a binding, as its primary or as a proxy."""
        return policy.admits(self.name, is_primary=self.partition.contains(policy.home_address))


@dataclass(frozen=True, slots=True)
class Reflector:
    """A route reflector between the Home Agents (RFC 4456)."""

    name: str
    site: str
    address: Address


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


class LeakPolicy(StrEnum):
    """Whether the other sites are told where a mobile router is that is away from its primary site (draft
    s.5.3.1). Where they are not, packets for it take the partition's route."""

    ALWAYS = "always"
    ON_TRAFFIC = "on-traffic"
    """While packets for it come in from other sites."""
    NEVER = "never"


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
    leak: LeakPolicy | None = None
    """None: as the site of the Home Agent that holds it has it."""
    aaa: SecurityAssociation | None = None
    """That of its MN-AAA authenticator (RFC 4285 s.5.2), for Binding Updates that came by a Home Agent which
    has no key of it."""

    def admits(self, home_agent: str, *, is_primary: bool) -> bool:
        """Whether it may be bound at this Home Agent; `is_primary`: its home address is in the partition."""
        return is_primary or self.proxies is None or home_agent in self.proxies


@dataclass(frozen=True, slots=True)
class OnDemand:
    """How a Home Agent makes routes on demand. Times in seconds."""

    threshold: int = 10
    """Packets a second towards one /64 above which a shorter way is asked for."""
    holding_time: int = 300
    """How long an answer is good, unless it is asked for again."""
    max_routes: int = 10_000
    """Mobile routers to whom there is a projected route."""


@dataclass(frozen=True, slots=True)
class HomeAgentConfig:
    """One Home Agent's view of its Home. Durations in seconds."""

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
    on_demand: OnDemand | None = None
    """How routes are made on demand; None: they are neither asked for nor given."""
    home_subnets: tuple[HomeSubnet, ...] = ()
    """Those subnets of Home of which an end is known."""
    preference: int = 0
    """Among the Home Agents of its site, 0 to 65535: the highest is the border Home Agent, and stands first
    in what discovery answers (RFC 6275 s.10.5.1)."""
    hello_interval: float = 0.0
    """Seconds between two HELLOs to the other Home Agents; 0: none."""

    restricted: Callable[[], Iterable[MobileRouterPolicy]] | None = None
    """Gives those of `mobile_routers` that not every Home Agent may leak, and perhaps more; None: all are
    looked at for that."""
    max_learned: int = 250_000
    """Prefixes that one BGP session may bring; more are passed over."""
    reflectors: tuple[Reflector, ...] = ()
    """With any, the BGP sessions are with these, not with the peers."""
    leak: LeakPolicy = LeakPolicy.ALWAYS
    """Of mobile routers whose policy says nothing about it."""
    max_leaks: int | None = None
    """Prefixes that are leaked at the same time; None: any number."""
    leak_traffic: int = 10
    """Packets a second from other sites that make a leak worth its while, of policy ON_TRAFFIC."""
    leak_idle: int = 60
    """Seconds without so much traffic after which such a leak is withdrawn."""
    flap_moves: int = 0
    """A mobile router that changes its attachment more often than that within `flap_window` seconds is not
    leaked until it has stayed for as long (RFC 7432 s.15.1). 0: any number is fine."""
    flap_window: int = 180

    neighbours: frozenset[Address] = field(init=False, repr=False, compare=False)
    """HAHA addresses of the other Home Agents of the site."""

    def __post_init__(self) -> None:
        neighbours = frozenset(peer.haha for peer in self.peers if peer.site == self.site)
        object.__setattr__(self, "neighbours", neighbours)

    @property
    def mesh_sessions(self) -> tuple[Address, ...]:
        """Whom the other sites' routes come from, by the addresses of the BGP sessions: the reflectors, or
        where there are none each peer."""
        if self.reflectors:
            return tuple(one.address for one in self.reflectors)
        return tuple(peer.haha for peer in self.peers)

    @property
    def other_sites_sessions(self) -> tuple[Address, ...]:
        """The same without the other Home Agents of our site."""
        if self.reflectors:
            return self.mesh_sessions
        return tuple(peer.haha for peer in self.peers if peer.site != self.site)

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
