"""Tunnels by one ip6tnl device: the datapath for kernels that have ip6_tunnel.

Privilege: CAP_NET_ADMIN; `setup` also writes network settings (see `sysctl`).
"""

from __future__ import annotations

import errno
from collections.abc import Set as AbstractSet
from typing import Any

from ..protocol.routes import KernelRoute
from ..wire.address import Address
from ..wire.ipv6 import IPV6_IN_IPV6
from .datapath import DEVICE
from .inner_addresses import set_inner_addresses
from .ip6_tunnel_messages import Ip6Encapsulate, push_alias, push_impossible_ip6tnl
from .links import delete_link, find_link, read_link, set_link_up
from .netlink import NetlinkSocket
from .route_messages import ALL_TABLES, MAIN_TABLE, Route, Unreachable, push_replace
from .routes import present_routes, set_table
from .rtnetlink import open_blocking
from .rules import flush_rules
from .sysctl import enable_forwarding, set_device_setting
from .tunnel_ends import drop_all_but_ends, set_ends

_KIND = "ip6tnl"

_DEVICE_MTU = 1500 - 40
"""Where a path carries less the kernel says so to the sender (RFC 2473 s.7.1)."""

_ALIAS = "tunnels leave from "
_NO_LINK_LOCAL_ADDRESS = 1


class Ip6tnlDatapath:
    """Tunnels by one collect-metadata device: a route says by `encap ip6` where a packet on it goes, and the
    device takes out of every tunnel that ends at this host. Filters on it leave the tunnel ends that are
    wanted (see `tunnel_ends`).

    What comes out of a tunnel arrives on `haha0` as any packet: it passes prerouting once more.

    The tunnel source stands in every route, so changing it writes all of them anew, 20 us each. As the
    device's alias it outlives this process: whoever comes next writes the same routes at once.

    Limits: a tunnel whose exit is reached through another tunnel of the same host is refused by the kernel
    (it sees a loop). The traffic class's DSCP is not copied to the outer header.
    """

    translates_errors = True
    nests_tunnels = False

    def __init__(self, netlink: NetlinkSocket) -> None:
        self._netlink = netlink
        self._device = 0
        self._source: Address | None = None

    def close(self) -> None:
        """See `Datapath`."""

    def setup(self) -> None:
        """See `Datapath.setup`. Blocks some 10 ms and is safe in a thread while an event loop changes routes.
        Raises OSError, EEXIST where `haha0` is another kind of device."""
        with open_blocking() as ipr:
            link = _find_or_make(ipr)
            known = bool(self._device)
            self._device = link["index"]
            if not known:
                self._source = _read_source(link.get_attr("IFLA_IFALIAS"))
            # Not the datapath's own socket: an event loop may be using that.
            with NetlinkSocket() as netlink:
                drop_all_but_ends(netlink, self._device)
            _set_up_device(ipr, link)
            enable_forwarding()

    def set_inner_addresses(self, inner: AbstractSet[Address]) -> None:
        """See `Datapath`. They stand on lo. Blocks and is safe in a thread, as `setup`."""
        set_inner_addresses(inner)

    def set_tunnel_ends(self, ends: AbstractSet[Address], source: Address | None) -> None:
        """See `Datapath`; a mobile router calls it on every move. About 0.1 ms, and 40 us a tunnel route when
        the source changes."""
        set_ends(self._netlink, self._device, ends)
        if source == self._source:
            return
        self._source = source
        self._netlink.request(push_alias(self._device, "" if source is None else f"{_ALIAS}{source}"))
        changed = [
            push_replace(
                Route(route.prefix, self._into(action.tunnel_exit), route.metric, route.table, route.source)
            )
            for route in present_routes(self._netlink, ALL_TABLES)
            if isinstance(action := route.action, Ip6Encapsulate)
        ]
        for refusal in self._netlink.send(changed):
            raise OSError(refusal.errno, f"cannot change the source of a tunnel: {refusal}")

    def encapsulation(self, route: KernelRoute, table: int = MAIN_TABLE) -> Route:
        """See `Datapath`."""
        exit_ = route.tunnel_exit
        action = Unreachable() if exit_ is None else self._into(exit_)
        return Route(route.prefix, action, route.metric, table, route.source)

    def kernel_route(self, route: Route) -> KernelRoute | None:
        """See `Datapath`."""
        match route.action:
            case Ip6Encapsulate(tunnel_exit, self._source, self._device):
                return KernelRoute(route.prefix, route.metric, tunnel_exit, route.source)
            case Unreachable():
                return KernelRoute(route.prefix, route.metric, None, route.source)
            case _:
                return None

    def flush(self) -> None:
        """Take away every rule and route of ours in every table, inner addresses and `haha0` with its
        filters.

        Forwarding stays on: it is not ours alone. Safe to run twice, and without a `setup` before it. Blocks,
        and uses the netlink socket that this was made with: not while an event loop uses that.
        """
        with open_blocking() as ipr:
            flush_rules(ipr)
        set_table(self._netlink, ALL_TABLES, frozenset())
        set_inner_addresses(frozenset())
        with open_blocking() as ipr:
            delete_link(ipr, DEVICE, _KIND)
        self._device, self._source = 0, None

    def _into(self, tunnel_exit: Address) -> Ip6Encapsulate:
        return Ip6Encapsulate(tunnel_exit, self._source, self._device)


def kernel_has_ip6tnl(netlink: NetlinkSocket) -> bool:
    """True where the kernel can make ip6tnl devices. Asking makes none, but loads the module ip6_tunnel where
    there is one, which brings the kernel's own idle device ip6tnl0. Needs CAP_NET_ADMIN."""
    (refusal,) = netlink.send([push_impossible_ip6tnl(DEVICE + "?")])
    return refusal.errno == errno.EINVAL


def _find_or_make(ipr: Any) -> Any:
    """`haha0` as pyroute2 gives it. A new one is down."""
    if find_link(ipr, DEVICE) is None:
        ipr.link("add", ifname=DEVICE, kind=_KIND, ip6tnl_collect_metadata=True, ip6tnl_proto=IPV6_IN_IPV6)
    (message,) = ipr.link("get", ifname=DEVICE)
    external = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_IP6TNL_COLLECT_METADATA")
    if read_link(message).kind != _KIND or external is None:
        raise OSError(
            errno.EEXIST,
            f"device {DEVICE} exists and is not one of `ip6tnl external`; rename it, or take it away"
            " by `haha flush`",
        )
    return message


def _set_up_device(ipr: Any, message: Any) -> None:
    for name, value in (
        ("disable_ipv6", 0),
        ("addr_gen_mode", _NO_LINK_LOCAL_ADDRESS),
        # Out of a tunnel nobody is a router of ours.
        ("accept_ra", 0),
    ):
        set_device_setting(DEVICE, name, value)
    set_link_up(ipr, read_link(message), _DEVICE_MTU)


def _read_source(alias: str | None) -> Address | None:
    return Address.parse(alias.removeprefix(_ALIAS)) if alias and alias.startswith(_ALIAS) else None
