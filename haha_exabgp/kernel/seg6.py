"""Tunnels by segment routing: the datapath for kernels that have no ip6tnl.

Privilege: CAP_NET_ADMIN; `setup` also writes network settings (see `sysctl`).
"""

from __future__ import annotations

import errno
from collections.abc import Set as AbstractSet
from typing import Final

from pyroute2 import IPRoute

from ..protocol.routes import KernelRoute
from ..wire.address import Address, Prefix
from ..wire.ipv6 import IPV6_IN_IPV6
from .datapath import DEVICE
from .inner_addresses import set_inner_addresses
from .links import delete_link, find_link, set_link_up
from .netlink import NetlinkSocket
from .route_messages import (
    ALL_TABLES,
    LOCAL_TABLE,
    MAIN_TABLE,
    Decapsulate,
    Encapsulate,
    Route,
    Unreachable,
)
from .routes import set_table
from .rtnetlink import open_blocking
from .rules import (
    KERNELS_LOCAL_RULE,
    Rule,
    delete_rule,
    flush_rules,
    reconcile_rules,
    rules,
)
from .sysctl import enable_forwarding, set_device_setting
from .tunnel_source import TunnelSource

TUNNEL_END_TABLE: Final = 200

_KIND = "bridge"
_DEVICE_MTU = 1420 + 64
"""This host's own packets into a tunnel shall have at most 1420 octets, so that two tunnel headers fit on a
1500-octet path. The kernel takes 64 off the device's MTU by itself on an encapsulating route, as if it pushed
a routing header too."""

_RULES: Final = frozenset(
    {
        Rule(5, TUNNEL_END_TABLE, ip_protocol=IPV6_IN_IPV6),
        Rule(10, LOCAL_TABLE),
    }
)
_PRIORITIES: Final = frozenset(rule.priority for rule in _RULES)
_TUNNEL_END_METRIC = 1


class Seg6Datapath:
    """Tunnels by segment routing with one segment, which is plain IPv6-in-IPv6 on the wire: it needs
    neither ip6tnl nor a device a tunnel.

    Tunnel ends are End.DT6 routes in a table of their own, which a rule consults for packets of next header
    41, also behind a Tunnel Encapsulation Limit (RFC 2473 s.4.1.1), before the table of local addresses;
    so the kernel's rule 0 moves behind it. End.DT6 looks inner packets up by the rules (table 0): local
    addresses and tunnels in tunnels need nothing more.

    Encapsulating routes hang on `haha0`, an empty bridge. They die with their device's `up` state for good,
    so it must be one that nobody takes down; packets still leave by the uplink.

    Limits: the outer hop limit is a copy of the inner one; errors about tunnelled packets come to the tunnel
    source and no further (see `agent.icmp_relay`); tunnel packets are never fragmented.
    """

    translates_errors = False
    nests_tunnels = True

    def __init__(self, netlink: NetlinkSocket) -> None:
        self._netlink = netlink
        self._tunnel_source = TunnelSource()
        self._device = 0

    def close(self) -> None:
        """Give file descriptors back; the kernel's state stays."""
        self._tunnel_source.close()

    def setup(self) -> None:
        """See `Datapath.setup`. Blocks some 10 ms and is safe in a thread while an event loop changes routes.
        Raises OSError, EEXIST where `haha0` is another kind of device."""
        with open_blocking() as ipr:
            self._device = _setup_device(ipr)
            enable_forwarding()
            reconcile_rules(ipr, _RULES, _PRIORITIES)
            # Last: at no moment are local addresses without a rule.
            for rule in rules(ipr):
                if rule.priority == KERNELS_LOCAL_RULE.priority and rule.table == LOCAL_TABLE:
                    delete_rule(ipr, rule)

    def set_inner_addresses(self, inner: AbstractSet[Address]) -> None:
        """See `Datapath`. They stand on lo. Blocks and is safe in a thread, as `setup`."""
        set_inner_addresses(inner)

    def set_tunnel_ends(self, ends: AbstractSet[Address], source: Address | None) -> None:
        """See `Datapath`; a mobile router calls it on every move. About 0.1 ms; some 10-20 ms more when the
        source changes, as the kernel then waits until nobody reads the old one. The new source counts at
        once, which is why it comes last."""
        routes = {
            Route(Prefix.host(end), Decapsulate(self._device), _TUNNEL_END_METRIC, TUNNEL_END_TABLE)
            for end in ends
        }
        set_table(self._netlink, TUNNEL_END_TABLE, routes)
        if self._tunnel_source.get() != source:
            self._tunnel_source.set(source)

    def encapsulation(self, route: KernelRoute, table: int = MAIN_TABLE) -> Route:
        """See `Datapath`."""
        exit_ = route.tunnel_exit
        action = Unreachable() if exit_ is None else Encapsulate(exit_, self._device)
        return Route(route.prefix, action, route.metric, table, route.source)

    def kernel_route(self, route: Route) -> KernelRoute | None:
        """See `Datapath`."""
        match route.action:
            case Encapsulate(tunnel_exit, self._device):
                return KernelRoute(route.prefix, route.metric, tunnel_exit, route.source)
            case Unreachable():
                return KernelRoute(route.prefix, route.metric, None, route.source)
            case _:
                return None

    def flush(self) -> None:
        """Put the kernel's rule 0 back, then take away every rule and route of ours in every table, tunnel
        source, inner addresses and `haha0`.

        Forwarding stays on: it is not ours alone. Safe to run twice, and without a `setup` before it. Blocks,
        and uses the netlink socket that this was made with: not while an event loop uses that.
        """
        with open_blocking() as ipr:
            flush_rules(ipr)
        set_table(self._netlink, ALL_TABLES, frozenset())
        self._tunnel_source.set(None)
        set_inner_addresses(frozenset())
        with open_blocking() as ipr:
            delete_link(ipr, DEVICE, _KIND)


def _setup_device(ipr: IPRoute) -> int:
    """The index of `haha0`, up and as it has to be."""
    link = find_link(ipr, DEVICE)
    if link is None:
        ipr.link("add", ifname=DEVICE, kind=_KIND)
        without_address = 1
        set_device_setting(DEVICE, "addr_gen_mode", without_address)
        link = find_link(ipr, DEVICE)
    if link is None or link.kind != _KIND:
        raise OSError(
            errno.EEXIST,
            f"device {DEVICE} exists and is not a bridge; rename it, or take it away by `haha flush`",
        )
    set_device_setting(DEVICE, "disable_ipv6", 0)
    # It has no port, so no carrier ever: routes on it must count nevertheless.
    set_device_setting(DEVICE, "ignore_routes_with_linkdown", 0)
    set_link_up(ipr, link, _DEVICE_MTU)
    return link.index
