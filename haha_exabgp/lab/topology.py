"""The shape of a lab: nodes, links, addresses, BGP routers. Pure; `allocation` works it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from ..rollout.frr import AccessNetwork, AreaRouter, InternetRouter, ReflectorRouter, SiteRouter

DISCARD_METRIC = 254 << 24
"""Metric of discard routes. zebra reads the top octet of a kernel metric as administrative distance;
254 is the worst that it still uses."""

UPLINKS = ("wan0", "lte0")
"""Of a mobile router, the most preferred first. The second one is there once it has been plugged in."""


class LabError(Exception):
    """The lab cannot be made or used as asked; the text says why and what to do."""


class Role(StrEnum):
    """What a node is in the lab."""

    INTERNET_ROUTER = "internet router"
    CORRESPONDENT = "correspondent"
    SITE_ROUTER = "site router"
    INNER_ROUTER = "inner router"
    """Of a site, behind its router."""
    ROUTE_REFLECTOR = "route reflector"
    HOME_AGENT = "home agent"
    SITE_HOST = "site host"
    MOBILE_ROUTER = "mobile router"
    LOCAL_FIXED_NODE = "local fixed node"
    """A host in a mobile network that does not move against it (RFC 4885)."""

    @property
    def forwards(self) -> bool:
        """True for nodes that are routers to the kernel."""
        return self in _FORWARDING


_FORWARDING = {
    Role.INTERNET_ROUTER,
    Role.SITE_ROUTER,
    Role.INNER_ROUTER,
    Role.HOME_AGENT,
    Role.MOBILE_ROUTER,
}


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a node. `bridge` names the bridge it is a port of.

    `listens_to_routers`: it takes its address and default route from router advertisements, with
    duplicate address detection, as on a real access link (RFC 4862).
    """

    name: str
    address: IPv6Interface | None = None
    bridge: str | None = None
    is_bridge: bool = False
    listens_to_routers: bool = False


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A route of the node; `via` None means unreachable, at the worst metric."""

    prefix: IPv6Network
    via: IPv6Address | None


@dataclass(frozen=True, slots=True)
class Node:
    """One network namespace."""

    name: str
    role: Role
    interfaces: tuple[Interface, ...]
    routes: tuple[StaticRoute, ...] = ()

    @property
    def address(self) -> IPv6Address:
        """The first configured address; of a mobile router, the one in its mobile network."""
        return next(one.address.ip for one in self.interfaces if one.address is not None)


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair: (node, interface) at both ends."""

    ends: tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Access:
    """An access network: a bridge in node `router`."""

    name: str
    router: str
    bridge: str
    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab. `attachments` says for each mobile router on which access network it starts."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    accesses: tuple[Access, ...]
    attachments: dict[str, str]
    internet_routers: tuple[InternetRouter, ...]
    site_routers: tuple[SiteRouter, ...]
    area_routers: tuple[AreaRouter, ...] = ()
    reflectors: tuple[ReflectorRouter, ...] = ()
    mobile_access: dict[str, AccessNetwork] = field(default_factory=dict)
    """The networks of mobile routers that others can be plugged into."""

    def node(self, name: str) -> Node:
        """The node of this name. Raises LabError that names all nodes."""
        found = next((node for node in self.nodes if node.name == name), None)
        if found is None:
            raise LabError(
                f"no node {name!r} in this lab; its nodes: {', '.join(n.name for n in self.nodes)}"
            )
        return found

    def address(self, name: str) -> IPv6Address:
        """Where to reach a node. Raises LabError for an unknown one."""
        return self.node(name).address

    def access(self, name: str) -> Access:
        """The access network of this name. Raises LabError that names all of them."""
        found = next((access for access in self.accesses if access.name == name), None)
        if found is None:
            known = ", ".join(access.name for access in self.accesses)
            raise LabError(f"no access network {name!r} in this lab; there are: {known}")
        return found

    @property
    def bgp_routers(self) -> tuple[str, ...]:
        """The nodes that speak BGP by FRR."""
        return (
            *(one.hostname for one in self.internet_routers),
            *(one.hostname for one in self.site_routers),
            *(one.hostname for one in self.reflectors),
        )

    @property
    def frr_nodes(self) -> tuple[str, ...]:
        """The nodes that FRR runs in."""
        area_routers = (one.hostname for one in self.area_routers)
        return tuple(dict.fromkeys((*self.bgp_routers, *area_routers, *self.mobile_access)))

    def with_role(self, role: Role) -> tuple[Node, ...]:
        """The nodes of one role, in the order of the configuration."""
        return tuple(node for node in self.nodes if node.role is role)
