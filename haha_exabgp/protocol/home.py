"""What one border Home Agent knows of its Home before any packet: itself, its peers, its mobile routers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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


class Locate(StrEnum):
    """How two Home Agents that are primary for the same home addresses know which of them is the one that
    holds a binding (draft s.10.2)."""

    PREDICTIVE = "predictive"
    """Computed: of all of a *group* one owns it. Those of one site are a group."""
    PROACTIVE = "proactive"
    """They tell each other of each binding."""
    REACTIVE = "reactive"
    """They ask each other when one of them gets a Binding Update that it knows no binding for."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another Home Agent of the Home, of another site or of the same."""

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
    locate: Locate = Locate.PREDICTIVE
    """Between it and us, where we are primary for the same."""
    predictive_group: str = ""
    """A name that those have in common that are predictive to each other; "": the Home Agents of its site."""

    @property
    def group(self) -> str:
        """Those with the same are predictive to each other, where they are primary for the same."""
        return self.predictive_group or self.site

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

    def covers(self, prefixes: Iterable[Prefix]) -> bool:
        """Whether all these lie in its partition."""
        return self.partition is not None and all(map(self.partition.covers, prefixes))

    def may_bind(self, policy: MobileRouterPolicy) -> bool:
        """Whether it grants this mobile router a binding, as its primary or as a proxy."""
        return policy.admits(self.name, is_primary=self.is_primary_for(policy.home_address))


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

    lent: tuple[LentPrefix, ...] = ()
    """To us, a satellite; best parent first."""
    nests_tunnels: bool = True
    """Whether this host can send a tunnel through another one of its own."""
    secondary_bindings: bool = True
    """Of a satellite: whether its parent is told which mobile routers of other sites are bound here."""
    asked_for: tuple[Prefix, ...] = ()
    """Partitions of sites that are reactive to each other, anywhere in the Home. What is bound in these is
    leaked wherever it is bound, for nothing else says to all that share one where packets go."""

    neighbours: frozenset[Address] = field(init=False, repr=False, compare=False)
    """HAHA addresses of the other Home Agents of the site."""

    def __post_init__(self) -> None:
        neighbours = frozenset(peer.haha for peer in self.peers if peer.site == self.site)
        object.__setattr__(self, "neighbours", neighbours)

    @property
    def mesh_sessions(self) -> tuple[Address, ...]:
        """Whom the other sites' routes come from, by the addresses of the BGP sessions: the reflectors, or
        where there are none each peer."""
        if self.is_satellite:
            return ()
        if self.reflectors:
            return tuple(one.address for one in self.reflectors)
        return tuple(peer.haha for peer in self.adjacent if not peer.is_satellite)

    @property
    def other_sites_sessions(self) -> tuple[Address, ...]:
        """The same without the other Home Agents of our site."""
        if self.reflectors:
            return self.mesh_sessions
        return tuple(one for one in self.mesh_sessions if one not in self.neighbours)

    @property
    def home_agent_sessions(self) -> tuple[Address, ...]:
        """All BGP sessions of ours but that with the site's router."""
        return (*self.mesh_sessions, *self.lending_sessions)

    @property
    def lending_sessions(self) -> tuple[Address, ...]:
        """BGP sessions with the satellites of our site; of a satellite, with its parents."""
        return tuple(peer.haha for peer in self.adjacent if peer.is_satellite or self.is_satellite)

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

    def is_asked_for(self, home_address: Address) -> bool:
        """Whether primaries of this home address ask each other who holds its binding."""
        return any([partition.contains(home_address) for partition in self.asked_for])

    def is_lent_by_primary_for(self, home_address: Address, address: Address) -> bool:
        """Whether an address is a satellite's, lent by a site that is primary for this home address."""
        parents = {one.parent for peer in self.peers for one in peer.lent if one.address == address}
        sites = [self.site] if self.is_primary_for(home_address) else []
        return not parents.isdisjoint((*sites, *[peer.site for peer in self.primary_for(home_address)]))

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

    def holder_exit(self, holder: Address, care_of_address: Address) -> Address:
        """Where packets for what another Home Agent holds go, by its HAHA address: a satellite is reached by
        the care-of address. Raises KeyError for nobody's address."""
        is_its_own = any(care_of_address in peer.addresses for peer in self.peers if peer.haha == holder)
        return self.tunnel_exit(care_of_address if is_its_own else holder)

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
