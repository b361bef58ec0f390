"""The uplink of a mobile router: made ready to attach fast, and cleared of the place that it has left.

Privilege: CAP_NET_ADMIN; `solicit_routers` CAP_NET_RAW.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ..wire.address import Address
from .links import read_address
from .route_messages import MAIN_TABLE
from .rtnetlink import open_in_loop
from .sysctl import set_device_setting, set_neighbour_setting

_RETRANSMISSION_MS: Final = 100
_ALL_ROUTERS = "ff02::2"
_ROUTER_SOLICITATION = struct.pack("!BBHI", 133, 0, 0, 0)

_RTPROT_KERNEL = 2
_RTPROT_RA = 9


def prepare_uplink(device: str) -> None:
    """Take addresses and default routes from Router Advertisements though this host forwards, and soon.

    Measured from the carrier to a usable address, with a router that answers at once: 2.1-2.7 s with the
    kernel's defaults, 0.23 s so. Duplicate address detection still runs, with 0.1 s to object. Optimistic
    addresses (RFC 4429) are no way out: the kernel makes none while `net.ipv6.conf.all.forwarding` is on.
    Raises OSError.
    """
    for name, value in (
        ("disable_ipv6", 0),
        ("autoconf", 1),
        ("accept_ra", 2),
        ("accept_ra_defrtr", 1),
        ("use_tempaddr", 0),
        ("router_solicitation_delay", 0),
    ):
        set_device_setting(device, name, value)
    set_neighbour_setting(device, "retrans_time_ms", _RETRANSMISSION_MS)


def solicit_routers(device: str) -> None:
    """Ask the routers of this link for an advertisement (RFC 4861 s.6.3.7).

    The kernel asks only when a device comes up, not when its carrier returns. Raises OSError,
    EADDRNOTAVAIL while the device has no link-local address to ask from; then the kernel asks itself.
    """
    index = socket.if_nametoindex(device)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.sendto(_ROUTER_SOLICITATION, (_ALL_ROUTERS, 0, 0, index))


async def default_routers(ipr: AsyncIPRoute, device: int) -> list[Address]:
    """The routers that advertise themselves as default on a device."""
    return [
        Address.parse(route.get_attr("RTA_GATEWAY"))
        for route in await _routes(ipr, device)
        if route["proto"] == _RTPROT_RA and route["dst_len"] == 0 and route.get_attr("RTA_GATEWAY")
    ]


async def forget_attachment(device: int) -> None:
    """Delete what Router Advertisements have brought to a device: global addresses, default and other
    routes, on-link prefixes.

    The kernel keeps them when the carrier is lost, and would go on using them at the next place. Does nothing
    for index 0, the device that is gone: to netlink it would mean every device. Raises OSError.
    """
    if device == 0:
        return
    async with open_in_loop() as ipr:
        for entry in [entry async for entry in await ipr.get_addr(family=socket.AF_INET6, index=device)]:
            found = read_address(entry)
            if found.dynamic and found.is_global:
                with _gone_already():
                    await ipr.addr("del", index=device, address=str(found.address), prefixlen=found.length)
        for route in await _routes(ipr, device):
            if route["proto"] == _RTPROT_RA or (route["proto"] == _RTPROT_KERNEL and _expires(route)):
                with _gone_already():
                    await ipr.route("del", **_route_arguments(route))


async def _routes(ipr: AsyncIPRoute, device: int) -> list[Any]:
    """Main table routes by one device."""
    found = await ipr.get_routes(family=socket.AF_INET6, table=MAIN_TABLE, oif=device)
    return [route async for route in found]


def _route_arguments(route: Any) -> dict[str, Any]:
    arguments = {
        "family": socket.AF_INET6,
        "table": MAIN_TABLE,
        "proto": route["proto"],
        "dst": route.get_attr("RTA_DST") or "::",
        "dst_len": route["dst_len"],
    }
    kept = {name: route.get_attr(f"RTA_{name.upper()}") for name in ("oif", "gateway", "priority")}
    return arguments | {name: value for name, value in kept.items() if value is not None}


def _expires(route: Any) -> bool:
    """Routes with an end are those to prefixes that a router said are on the link (RFC 4861 s.6.3.4)."""
    return bool(route.get_attr("RTA_CACHEINFO")["rta_expires"])


@contextmanager
def _gone_already() -> Iterator[None]:
    """What the kernel has deleted itself in the meantime needs no deleting."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in {errno.ESRCH, errno.EADDRNOTAVAIL}:
            raise
