"""FRR configurations: the router of a site and, in the lab, the routers of the Internet around it.

Pure: values in, text out. zebra and bgpd get a file each, because each complains about commands of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from ..protocol.routes import RouteKind
from .rendering import render

RA_INTERVAL_MS = 70
"""The smallest interval FRR takes; RFC 6275 s.7.5 allows mobile access links 30-70 ms."""
ROUTER_LIFETIME = 3
PREFERRED_LIFETIME = 5
VALID_LIFETIME = 30
"""Seconds: what a mobile router got at the place it left soon stops to be preferred, then vanishes."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A BGP neighbour. `name` becomes its description.

    `passive`: it opens the session. When both do at once, one connection is reset again, and with graceful
    restart its routes count as stale.
    """

    name: str
    address: IPv6Address
    asn: int
    passive: bool


@dataclass(frozen=True, slots=True)
class Timers:
    """Of a BGP session, in seconds: between keepalives, hold time, between attempts to connect."""

    keepalive: int
    hold: int
    connect: int


LAB_TIMERS = Timers(keepalive=3, hold=9, connect=1)
"""A lost neighbour shows within seconds."""


@dataclass(frozen=True, slots=True)
class AccessNetwork:
    """A link on which router advertisements offer `prefix` (a /64) to mobile routers."""

    interface: str
    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class InternetRouter:
    """A router of the Internet, next to one site.

    `region` is what it announces itself; `customer` is the site's router, which is told the default
    route only; `peers` are the Internet routers beside it.
    """

    hostname: str
    asn: int
    router_id: IPv4Address
    region: IPv6Network
    customer: Neighbour
    peers: tuple[Neighbour, ...]
    access_networks: tuple[AccessNetwork, ...]

    @property
    def neighbours(self) -> tuple[Neighbour, ...]:
        return (self.customer, *self.peers)


@dataclass(frozen=True, slots=True)
class SiteRouter:
    """The router of a site. `address` is its own on the link to `upstream`, its provider's router."""

    hostname: str
    asn: int
    router_id: IPv4Address
    address: IPv6Address
    home: IPv6Network
    provider_prefix: IPv6Network
    upstream: Neighbour
    home_agents: tuple[Neighbour, ...]

    @property
    def neighbours(self) -> tuple[Neighbour, ...]:
        return (self.upstream, *self.home_agents)


@dataclass(frozen=True, slots=True)
class AreaRouter:
    """A router of a site in the area of its interior gateway protocol, OSPFv3, on the link to the other one.

    The one that speaks BGP to the Home Agents `tells_of_home`: what it has of them, as external routes.
    """

    hostname: str
    router_id: IPv4Address
    interface: str
    home: IPv6Network
    tells_of_home: bool


@dataclass(frozen=True, slots=True)
class AreaTimers:
    """Of OSPFv3, in seconds: between hellos, until a silent neighbour is gone."""

    hello: int
    dead: int


LAB_AREA_TIMERS = AreaTimers(hello=1, dead=4)


@dataclass(frozen=True, slots=True)
class ReflectorRouter:
    """A route reflector between the Home Agents of a Home."""

    hostname: str
    asn: int
    router_id: IPv4Address
    home: IPv6Network
    home_agents: tuple[Neighbour, ...]
    max_learned: int
    """Prefixes of one Home Agent above which FRR complains in its log."""

    @property
    def neighbours(self) -> tuple[Neighbour, ...]:
        return self.home_agents


def render_ospf6d(router: AreaRouter, timers: AreaTimers = LAB_AREA_TIMERS) -> str:
    """ospf6d.conf of a site's router: Home and what is bound in the site are external routes in its area
    (draft s.5.2.1), and nothing is told outside."""
    return render("frr-ospf6d.conf.j2", router=router, timers=timers)


def render_zebra(hostname: str, access_networks: tuple[AccessNetwork, ...] = ()) -> str:
    """zebra.conf: router advertisements on the access networks, nothing else."""
    return render(
        "frr-zebra.conf.j2",
        hostname=hostname,
        access_networks=access_networks,
        ra_interval_ms=RA_INTERVAL_MS,
        router_lifetime=ROUTER_LIFETIME,
        valid_lifetime=VALID_LIFETIME,
        preferred_lifetime=PREFERRED_LIFETIME,
    )


def render_internet_bgpd(router: InternetRouter, timers: Timers = LAB_TIMERS) -> str:
    """bgpd.conf of an Internet router. It filters nothing that comes in: a leak would be seen there."""
    return render("frr-internet-bgpd.conf.j2", router=router, timers=timers)


def render_site_bgpd(router: SiteRouter, password: str, timers: Timers = LAB_TIMERS) -> str:
    """bgpd.conf of a site's router.

    It tells the Internet its provider prefix and, once a Home Agent announces it, Home: nothing longer
    (draft s.5.2.1). It believes its Home Agents for Home and for prefixes inside Home that are marked as
    bound mobile network prefixes or as lent to a satellite, and tells them nothing. Home Agents open the
    sessions, with TCP MD5 (RFC 2385) and `password`.
    """
    kinds = {kind.name.lower(): f"{router.asn}:1:{kind.value}" for kind in RouteKind}
    return render("frr-site-bgpd.conf.j2", router=router, password=password, timers=timers, kinds=kinds)


def render_reflector_bgpd(router: ReflectorRouter, password: str, timers: Timers = LAB_TIMERS) -> str:
    """bgpd.conf of a route reflector (RFC 4456).

    It passes partitions and leaked prefixes of Home on, and nothing else. Of a prefix it passes on the best
    path only: LOCAL_PREF is the mobility sequence, so that is the newest place. The next hop stays the HAHA
    address of the Home Agent; bgpd uses no path to a next hop that it has no route to, so the host needs one,
    to the prefix of the HAHA addresses. Home Agents open the sessions, with TCP MD5 and `password`.
    """
    kinds = {kind.name.lower(): f"{router.asn}:1:{kind.value}" for kind in (RouteKind.SITE, RouteKind.LEAK)}
    return render("frr-reflector-bgpd.conf.j2", router=router, password=password, timers=timers, kinds=kinds)
