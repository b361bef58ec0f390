"""Work the topology of a lab out from a Home configuration. Pure.

Site number i (from 1, in the file's order) gets an Internet router `inet<i>` with a correspondent host
`cn<i>` and an access network `access<i>` behind it; a mobile router's network can be one too, of its name.
Two Internet routers are one link apart, three or more form a ring. Everything that the configuration does not
number itself is numbered out of `lab.internet_prefix`, of length L: inet<i> owns the i-th prefix of length
L + 8, its *region*, and takes /64s from that by the fixed numbers below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, IPv6Network
from itertools import islice, pairwise

from ..config.schema import HomeConfig, MobileRouter, Site
from ..rollout.frr import (
    AccessNetwork,
    AreaRouter,
    InternetRouter,
    Neighbour,
    ReflectorRouter,
    SiteRouter,
)
from .topology import UPLINKS, Access, Interface, LabError, Link, Node, Role, StaticRoute, Topology

MAX_SITES = 255
_REGION_BITS = 8
_LAN_LENGTH = 64
_SITE_LINK, _PEER_LINK, _ACCESS, _CORRESPONDENT = 0x1, 0x2, 0xA, 0xC
_ROUTER, _OTHER_ROUTER, _HOST = 0x1, 0x2, 0x10
_FIRST_REFLECTOR = 3
"""Last octet of the BGP identifier of a site's first one; behind those of the two routers."""
_DEFAULT = IPv6Network("::/0")
_HOST_PORT = "lfn"
"""Of the bridge in a mobile router that others can be plugged in behind."""


@dataclass(frozen=True, slots=True)
class _Region:
    """The numbers of one site's corner of the Internet."""

    index: int
    prefix: IPv6Network

    @property
    def router(self) -> str:
        return f"inet{self.index}"

    @property
    def access(self) -> str:
        return f"access{self.index}"

    def lan(self, number: int) -> IPv6Network:
        return IPv6Network((int(self.prefix.network_address) + (number << _LAN_LENGTH), _LAN_LENGTH))


def allocate(config: HomeConfig) -> Topology:
    """Work the lab out. Raises LabError where the configuration leaves no room for it."""
    _check_room(config)
    regions = tuple(_region(config, number) for number in range(1, len(config.sites) + 1))
    sites = tuple(zip(regions, config.sites.items(), strict=True))
    starts = {name: regions[_first_site(config, one)] for name, one in config.mobile_routers.items()}
    pairs = _neighbours(regions)
    topology = Topology(
        nodes=(
            *(_internet_router(region, pairs, starts) for region in regions),
            *(_correspondent(region) for region in regions),
            *(node for region, (name, site) in sites for node in _site(config, region, name, site)),
            *(node for name in config.mobile_routers for node in _mobile(config, name)),
        ),
        links=(
            *(Link(((a.router, f"to-{b.router}"), (b.router, f"to-{a.router}"))) for a, b in pairs),
            *(link for region, (name, site) in sites for link in _site_links(config, region, name, site)),
            *(link for name, start in starts.items() for link in _mobile_links(config, name, start)),
        ),
        accesses=(
            *(Access(one.access, one.router, one.access, one.lan(_ACCESS)) for one in regions),
            *(Access(name, name, "lan0", _mobile_lan(config, name)) for name in config.lab.access_routers),
        ),
        attachments={name: region.access for name, region in starts.items()},
        internet_routers=tuple(_internet_bgp(config, region, name, pairs) for region, (name, _) in sites),
        site_routers=tuple(_site_bgp(config, region, name, site) for region, (name, site) in sites),
        area_routers=tuple(
            router for region, (name, _) in sites for router in _site_area(config, region, name)
        ),
        reflectors=tuple(
            _reflector_bgp(config, _router_id(region, number), name)
            for region, (_, site) in sites
            for number, name in enumerate(site.reflectors, _FIRST_REFLECTOR)
        ),
        mobile_access={
            name: AccessNetwork("lan0", _mobile_lan(config, name)) for name in config.lab.access_routers
        },
    )
    _check_names(topology)
    return topology


def _check_room(config: HomeConfig) -> None:
    internet = config.lab.internet_prefix
    if internet.prefixlen > _LAN_LENGTH - 2 * _REGION_BITS:
        raise LabError(f"lab.internet_prefix {internet} is too small for the lab: write a /48 or shorter")
    if len(config.sites) > MAX_SITES:
        raise LabError(f"a lab has at most {MAX_SITES} sites, the configuration has {len(config.sites)}")
    for name, site in config.sites.items():
        if site.provider_prefix.prefixlen >= _LAN_LENGTH:
            raise LabError(
                f"sites.{name}.provider_prefix {site.provider_prefix} has no second /64 for the lab's host:"
                " write a /63 or shorter"
            )
        if name in config.lab.ospf6_sites and site.provider_prefix.prefixlen >= _LAN_LENGTH - 1:
            raise LabError(
                f"sites.{name}.provider_prefix {site.provider_prefix} has no third /64 for the inner router:"
                " write a /62 or shorter"
            )
    for name, mobile_router in config.mobile_routers.items():
        if not mobile_router.prefixes:
            raise LabError(f"mobile_routers.{name} has no prefixes: the lab builds a network behind each")
        if mobile_router.prefixes[0].prefixlen > _LAN_LENGTH:
            raise LabError(
                f"mobile_routers.{name}.prefixes[0] {mobile_router.prefixes[0]} is too long for a link:"
                " write a /64 or shorter"
            )


def _check_names(topology: Topology) -> None:
    for node, count in Counter(node.name for node in topology.nodes).items():
        if count > 1:
            raise LabError(
                f"two nodes of the lab would be called {node!r}: rename the one in the configuration"
            )
    for access, count in Counter(one.name for one in topology.accesses).items():
        if count > 1:
            raise LabError(f"two access networks would be called {access!r}: rename the mobile router")
    for (node, interface), count in Counter(_interface_names(topology)).items():
        if count > 1 or interface == "lo":
            raise LabError(
                f"the name {interface!r} is one that the lab gives to an interface of {node}: choose another"
            )


def _interface_names(topology: Topology) -> Iterator[tuple[str, str]]:
    for node in topology.nodes:
        yield from ((node.name, interface.name) for interface in node.interfaces)
    for mobile_router, start in topology.attachments.items():
        elsewhere = (access.router for access in topology.accesses if access.name != start)
        yield from ((router, mobile_router) for router in elsewhere)


def _region(config: HomeConfig, index: int) -> _Region:
    internet = config.lab.internet_prefix
    length = internet.prefixlen + _REGION_BITS
    return _Region(index, IPv6Network((int(internet.network_address) + (index << (128 - length)), length)))


def _neighbours(regions: tuple[_Region, ...]) -> tuple[tuple[_Region, _Region], ...]:
    """Neighbouring pairs; the link between them is numbered by the first of the pair."""
    closing = ((regions[-1], regions[0]),) if len(regions) > 2 else ()
    return (*pairwise(regions), *closing)


def _first_site(config: HomeConfig, mobile_router: MobileRouter) -> int:
    """Index of the site that owns its home address, else 0: it starts next to that."""
    for index, site in enumerate(config.sites.values()):
        if site.partition is not None and mobile_router.home_address in site.partition:
            return index
    return 0


def _at(prefix: IPv6Network, host: int) -> IPv6Interface:
    return IPv6Interface((int(prefix.network_address) + host, prefix.prefixlen))


def _default_via(router: IPv6Address) -> tuple[StaticRoute, ...]:
    return (StaticRoute(_DEFAULT, router),)


def _home_agent_lan(site: Site) -> IPv6Network:
    return IPv6Network((site.router.address, _LAN_LENGTH), strict=False)


def _host_lan(site: Site) -> IPv6Network:
    """The first /64 of the provider prefix that the Home Agents are not on."""
    return next(_free_lans(site))


def _inner_lan(site: Site) -> IPv6Network:
    """The next one: between the site's router and the one behind it."""
    return next(islice(_free_lans(site), 1, None))


def _free_lans(site: Site) -> Iterator[IPv6Network]:
    candidates = site.provider_prefix.subnets(new_prefix=_LAN_LENGTH)
    return (lan for lan in candidates if lan != _home_agent_lan(site))


def _internet_router(
    region: _Region, pairs: tuple[tuple[_Region, _Region], ...], starts: dict[str, _Region]
) -> Node:
    return Node(
        region.router,
        Role.INTERNET_ROUTER,
        (
            Interface("to-cn", _at(region.lan(_CORRESPONDENT), _ROUTER)),
            Interface("to-site", _at(region.lan(_SITE_LINK), _ROUTER)),
            *(Interface(f"to-{b.router}", _at(a.lan(_PEER_LINK), _ROUTER)) for a, b in pairs if a is region),
            *(
                Interface(f"to-{a.router}", _at(a.lan(_PEER_LINK), _OTHER_ROUTER))
                for a, b in pairs
                if b is region
            ),
            Interface(region.access, _at(region.lan(_ACCESS), _ROUTER), is_bridge=True),
            *(Interface(name, bridge=region.access) for name, start in starts.items() if start is region),
        ),
        (StaticRoute(region.prefix, None),),
    )


def _correspondent(region: _Region) -> Node:
    lan = region.lan(_CORRESPONDENT)
    interface = Interface("eth0", _at(lan, _HOST))
    return Node(f"cn{region.index}", Role.CORRESPONDENT, (interface,), _default_via(_at(lan, _ROUTER).ip))


def _site(config: HomeConfig, region: _Region, name: str, site: Site) -> Iterator[Node]:
    host_lan = _host_lan(site)
    has_area = name in config.lab.ospf6_sites
    router_address = IPv6Interface((site.router.address, _LAN_LENGTH))
    yield Node(
        f"{name}-router",
        Role.SITE_ROUTER,
        (
            Interface("lan0", router_address, is_bridge=True),
            Interface("lan1", _at(host_lan, _ROUTER)),
            *([Interface("lan2", _at(_inner_lan(site), _ROUTER))] if has_area else []),
            Interface(f"to-{region.router}", _at(region.lan(_SITE_LINK), _OTHER_ROUTER)),
            *(Interface(one, bridge="lan0") for one in (*site.reflectors, *site.home_agents)),
        ),
        (StaticRoute(config.home.prefix, None), StaticRoute(site.provider_prefix, None)),
    )
    for reflector, one in site.reflectors.items():
        interface = Interface("lan0", IPv6Interface((one.address, _LAN_LENGTH)))
        # No packet goes there: bgpd wants to know that the next hops can be reached.
        next_hops = StaticRoute(config.home.mesh_prefix, site.router.address)
        routes = (*_default_via(site.router.address), next_hops)
        yield Node(reflector, Role.ROUTE_REFLECTOR, (interface,), routes)
    for home_agent, addresses in site.home_agents.items():
        interface = Interface("lan0", IPv6Interface((addresses.outer, _LAN_LENGTH)))
        yield Node(home_agent, Role.HOME_AGENT, (interface,), _default_via(site.router.address))
    if has_area:
        inner = _inner_lan(site)
        uplink = Interface("lan0", _at(inner, _OTHER_ROUTER))
        yield Node(f"{name}-inner", Role.INNER_ROUTER, (uplink,), _default_via(_at(inner, _ROUTER).ip))
    host = Interface("eth0", _at(host_lan, _HOST))
    yield Node(f"{name}-host", Role.SITE_HOST, (host,), _default_via(_at(host_lan, _ROUTER).ip))


def _mobile_lan(config: HomeConfig, name: str) -> IPv6Network:
    return IPv6Network((config.mobile_routers[name].prefixes[0].network_address, _LAN_LENGTH))


def _mobile(config: HomeConfig, name: str) -> Iterator[Node]:
    lan, has_ports = _mobile_lan(config, name), name in config.lab.access_routers
    interfaces = (
        Interface(UPLINKS[0], listens_to_routers=True),
        Interface("lan0", _at(lan, _ROUTER), is_bridge=has_ports),
        *([Interface(_HOST_PORT, bridge="lan0")] if has_ports else []),
    )
    yield Node(name, Role.MOBILE_ROUTER, interfaces)
    host = Interface("eth0", _at(lan, _HOST))
    yield Node(f"{name}-lfn", Role.LOCAL_FIXED_NODE, (host,), _default_via(_at(lan, _ROUTER).ip))


def _site_links(config: HomeConfig, region: _Region, name: str, site: Site) -> Iterator[Link]:
    router = f"{name}-router"
    if name in config.lab.ospf6_sites:
        yield Link(((router, "lan2"), (f"{name}-inner", "lan0")))
    yield Link(((region.router, "to-cn"), (f"cn{region.index}", "eth0")))
    yield Link(((region.router, "to-site"), (router, f"to-{region.router}")))
    yield Link(((router, "lan1"), (f"{name}-host", "eth0")))
    for host in (*site.reflectors, *site.home_agents):
        yield Link(((router, host), (host, "lan0")))


def _mobile_links(config: HomeConfig, name: str, start: _Region) -> Iterator[Link]:
    yield Link(((start.router, name), (name, UPLINKS[0])))
    port = _HOST_PORT if name in config.lab.access_routers else "lan0"
    yield Link(((name, port), (f"{name}-lfn", "eth0")))


def _router_id(region: _Region, number: int) -> IPv4Address:
    """Unique in the lab; Home Agents number theirs otherwise."""
    return IPv4Address(f"10.255.{region.index}.{number}")


def _internet_bgp(
    config: HomeConfig, region: _Region, name: str, pairs: tuple[tuple[_Region, _Region], ...]
) -> InternetRouter:
    def peer(other: _Region, address: IPv6Interface, passive: bool) -> Neighbour:
        return Neighbour(other.router, address.ip, config.lab.first_asn + other.index - 1, passive)

    router = _at(region.lan(_SITE_LINK), _OTHER_ROUTER).ip
    return InternetRouter(
        hostname=region.router,
        asn=config.lab.first_asn + region.index - 1,
        router_id=_router_id(region, 1),
        region=region.prefix,
        customer=Neighbour(f"{name}-router", router, config.home.asn, passive=True),
        peers=(
            *(peer(b, _at(a.lan(_PEER_LINK), _OTHER_ROUTER), False) for a, b in pairs if a is region),
            *(peer(a, _at(a.lan(_PEER_LINK), _ROUTER), True) for a, b in pairs if b is region),
        ),
        access_networks=(AccessNetwork(region.access, region.lan(_ACCESS)),),
    )


def _site_area(config: HomeConfig, region: _Region, name: str) -> Iterator[AreaRouter]:
    if name in config.lab.ospf6_sites:
        home = config.home.prefix
        yield AreaRouter(f"{name}-router", _router_id(region, 2), "lan2", home, tells_of_home=True)
        yield AreaRouter(f"{name}-inner", _router_id(region, 3), "lan0", home, tells_of_home=False)


def _site_bgp(config: HomeConfig, region: _Region, name: str, site: Site) -> SiteRouter:
    link = region.lan(_SITE_LINK)
    return SiteRouter(
        hostname=f"{name}-router",
        asn=config.home.asn,
        router_id=_router_id(region, 2),
        address=_at(link, _OTHER_ROUTER).ip,
        home=config.home.prefix,
        provider_prefix=site.provider_prefix,
        upstream=Neighbour(
            region.router, _at(link, _ROUTER).ip, config.lab.first_asn + region.index - 1, passive=False
        ),
        home_agents=tuple(
            Neighbour(home_agent, one.outer, config.home.asn, passive=True)
            for home_agent, one in site.home_agents.items()
        ),
    )


def _reflector_bgp(config: HomeConfig, router_id: IPv4Address, name: str) -> ReflectorRouter:
    return ReflectorRouter(
        hostname=name,
        asn=config.home.asn,
        router_id=router_id,
        home=config.home.prefix,
        home_agents=tuple(
            Neighbour(home_agent, one.outer, config.home.asn, passive=True)
            for _, _, home_agent, one in config.home_agents()
        ),
        max_learned=config.home.max_learned,
    )
