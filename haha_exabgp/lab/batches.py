"""What a topology is made of, as input for iproute2 and sysctl. Pure.

A lab comes up in four steps: namespaces, the defaults of the interfaces to come, veth pairs, addresses and
routes. Steps that touch one namespace each run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator

from .topology import DISCARD_METRIC, Interface, Link, Node, StaticRoute, Topology


def namespace(lab: str, node: str) -> str:
    """The network namespace of a node: `two-sites.cn1`."""
    return f"{lab}.{node}"


def namespace_batch(lab: str, topology: Topology) -> str:
    """`ip -batch` that makes the namespaces."""
    return _batch(f"netns add {namespace(lab, node.name)}" for node in topology.nodes)


def node_settings(node: Node) -> tuple[str, ...]:
    """sysctl assignments that interfaces made afterwards inherit.

    Addresses are configured, so that duplicate address detection and router advertisements would only
    cost time; they outlive a link that goes down, so that a test can bring it up again.
    """
    forwarding = int(node.role.forwards)
    return (
        "net.ipv6.conf.default.accept_dad=0",
        "net.ipv6.conf.default.accept_ra=0",
        "net.ipv6.conf.default.autoconf=0",
        "net.ipv6.conf.default.keep_addr_on_down=1",
        f"net.ipv6.conf.all.forwarding={forwarding}",
        f"net.ipv6.conf.default.forwarding={forwarding}",
    )


def interface_settings(node: Node) -> tuple[str, ...]:
    """sysctl assignments of the interfaces that differ from the node's defaults, before they come up."""
    return tuple(
        setting
        for interface in node.interfaces
        if interface.listens_to_routers
        for setting in uplink_settings(interface.name)
    )


def uplink_settings(device: str) -> tuple[str, ...]:
    """The same of one uplink of a mobile router. accept_ra 2: take router advertisements though forwarding is
    on."""
    return tuple(
        f"net.ipv6.conf.{device}.{setting}" for setting in ("accept_dad=1", "accept_ra=2", "autoconf=1")
    )


def link_batch(lab: str, topology: Topology) -> str:
    """`ip -batch` that makes every veth pair, both ends at once where they belong."""
    return _batch(_veth(lab, link) for link in topology.links)


def node_batch(node: Node) -> str:
    """`ip -batch`, inside the node's namespace: bridges, addresses, links up, routes."""
    return _batch(
        [
            "link set lo up",
            *(_bridge(one) for one in node.interfaces if one.is_bridge),
            *(f"link set {one.name} master {one.bridge}" for one in node.interfaces if one.bridge),
            *(f"address add {one.address} dev {one.name} nodad" for one in node.interfaces if one.address),
            *(f"link set {one.name} up" for one in node.interfaces),
            *(_route(route) for route in node.routes),
        ]
    )


def _batch(lines: Iterator[str] | list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _veth(lab: str, link: Link) -> str:
    (one, one_name), (two, two_name) = link.ends
    return (
        f"link add {one_name} netns {namespace(lab, one)} type veth"
        f" peer name {two_name} netns {namespace(lab, two)}"
    )


def _bridge(interface: Interface) -> str:
    """Ports forward at once; without snooping, neighbour discovery needs no multicast querier."""
    return f"link add {interface.name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"


def _route(route: StaticRoute) -> str:
    if route.via is None:
        return f"route add unreachable {route.prefix} metric {DISCARD_METRIC}"
    return f"route add {route.prefix} via {route.via}"
