"""The uplink of a mobile router: made ready to attach fast, and cleared of the place that it has left.

Privilege: CAP_NET_ADMIN; `solicit_routers` CAP_NET_RAW.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import ifaddrmsg

from ..wire.address import UNSPECIFIED, Address
from ..wire.checksum import ICMPV6, internet_checksum
from ..wire.ipv6 import build_ipv6
from .links import InterfaceAddress, read_address
from .route_messages import MAIN_TABLE
from .rtnetlink import open_in_loop
from .sysctl import set_device_setting, set_neighbour_setting

_RETRANSMISSION_MS: Final = 100
_REACHABLE_MS: Final = 5000
_FIRST_PROBE_SECONDS: Final = 1
_ALL_ROUTERS = Address.parse("ff02::2")
_ALL_NODES = Address.parse("ff02::1")
_ROUTER_SOLICITATION = struct.pack("!BBHI", 133, 0, 0, 0)
_ROUTERS_ADVERTISEMENT = struct.pack("!BBHI", 136, 0, 0, 1 << 31)
"""A Neighbour Advertisement of a router: neither solicited nor overriding."""
_TARGET_LINK_LAYER_ADDRESS = bytes((2, 1))
_MULTICAST = b"\x33\x33"
_ETHERNET = 6
"""Octets of a link-layer address."""
_ETH_P_IPV6 = 0x86DD

_DONE_ALREADY = frozenset({errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.EEXIST, errno.ENODEV})

_RTPROT_KERNEL = 2
_RTPROT_RA = 9
_UNRESOLVED = frozenset({errno.ENOENT, errno.EINVAL})
"""The kernel knows no such neighbour, or not its link-layer address."""
_ECHO_REQUEST = struct.pack("!BBHHH", 128, 0, 0, 0, 0)
_NUD_PROBE = 0x10
_NUD_FAILED = 0x20
_NUD_HEARD = 0x02 | 0x04 | 0x08 | 0x80
"""Reachable, stale, delay, permanent. Not probe: that is what it is asked in, after a failure too."""


def prepare_uplink(device: str) -> None:
    """Take addresses and default routes from Router Advertisements though this host forwards, and soon.

    Measured from the carrier to a usable address, with a router that answers at once: 2.1-2.7 s with the
    kernel's defaults, 0.23 s so; `use_optimistically` takes the rest. Raises OSError.
    """
    for name, value in (
        ("disable_ipv6", 0),
        ("autoconf", 1),
        ("accept_ra", 2),
        ("accept_ra_defrtr", 1),
        ("use_tempaddr", 0),
        ("router_solicitation_delay", 0),
        # Back where it was: the router may have asked for the address meanwhile, and asks again after 1 s.
        ("ndisc_notify", 1),
    ):
        set_device_setting(device, name, value)
    for name in ("optimistic_dad", "use_optimistic"):
        # A kernel without RFC 4429 has no such settings, and makes no address optimistic.
        with suppress(FileNotFoundError):
            set_device_setting(device, name, 1)
    set_neighbour_setting(device, "retrans_time_ms", _RETRANSMISSION_MS)
    # A router that has stopped answering is noticed within 4 to 9 s of traffic, not 20 to 50.
    set_neighbour_setting(device, "base_reachable_time_ms", _REACHABLE_MS)
    set_neighbour_setting(device, "delay_first_probe_time", _FIRST_PROBE_SECONDS)


def solicit_routers(device: str) -> None:
    """Ask the routers of this link for an advertisement (RFC 4861 s.6.3.7).

    The kernel asks only when a device comes up, not when its carrier returns, and only when duplicate
    address detection has passed its link-local address. From the unspecified address nobody has to wait
    for that; a packet socket, since the others want an address to send from. Raises OSError.
    """
    with _open_link(device) as link:
        _send_to_all(link, device, UNSPECIFIED, _ALL_ROUTERS, _ROUTER_SOLICITATION)


def advertise_address(device: str, address: Address) -> None:
    """Tell the neighbours where an address is, without overriding what they know (RFC 4429 s.3.3).

    The kernel does so for addresses that duplicate address detection has passed (`ndisc_notify`), not for
    optimistic ones; a router that has asked for it in vain asks again only after 1 s. Raises OSError.
    """
    with _open_link(device) as link:
        link_layer_address = link.getsockname()[4]
        if len(link_layer_address) == _ETHERNET:
            option = _TARGET_LINK_LAYER_ADDRESS + link_layer_address
            message = _ROUTERS_ADVERTISEMENT + address + option
            _send_to_all(link, device, address, _ALL_NODES, message)


def _open_link(device: str) -> socket.socket:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    # Of protocol 0: it receives nothing.
    link.bind((device, 0))
    return link


def _send_to_all(
    link: socket.socket, device: str, source: Address, destination: Address, message: bytes
) -> None:
    """Send an ICMPv6 message of Neighbour Discovery, its checksum still zero, to a multicast address."""
    checksum = internet_checksum(source, destination, ICMPV6, message)
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    packet = build_ipv6(source, destination, ICMPV6, message, hop_limit=255)
    link.sendto(packet, (device, _ETH_P_IPV6, 0, 0, _MULTICAST + destination[12:]))


async def use_optimistically(entry: InterfaceAddress) -> None:
    """Make an address that is being looked at by duplicate address detection an optimistic one (RFC 4429):
    used at once, given up if another node has it.

    The kernel itself makes none while `net.ipv6.conf.all.forwarding` is on, but takes them. So the address is
    deleted and added again, with the lifetimes that it had; Router Advertisements go on renewing it. Does
    nothing where the kernel has no optimistic addresses or the address is gone. Raises OSError.
    """
    async with open_in_loop() as ipr:
        with _done_already():
            await ipr.addr("del", index=entry.device, address=str(entry.address), prefixlen=entry.length)
            await ipr.addr(
                "add",
                index=entry.device,
                address=str(entry.address),
                prefixlen=entry.length,
                flags=ifaddrmsg.IFA_F_OPTIMISTIC | ifaddrmsg.IFA_F_NOPREFIXROUTE,
                preferred=entry.preferred_lifetime,
                valid=entry.valid_lifetime,
            )


async def probe_router(device: int, router: Address) -> None:
    """Have the kernel find out whether a router is still there: three Neighbour Solicitations, 0.1 s apart.
    Raises OSError."""
    async with open_in_loop() as ipr:
        try:
            await ipr.neigh(
                "change", family=socket.AF_INET6, ifindex=device, dst=str(router), state=_NUD_PROBE
            )
        except NetlinkError as error:
            if error.code not in _UNRESOLVED:
                raise
            _resolve(device, router)


def _resolve(device: int, router: Address) -> None:
    """Where a router's link-layer address is not known, anything that is sent to it makes the kernel ask."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6) as raw:
        try:
            raw.sendto(_ECHO_REQUEST, (str(router), 0, 0, device))
        except OSError as error:
            # Gone, or no address to send from yet: then its router is in use by nobody.
            if error.errno not in {errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENETUNREACH}:
                raise


async def heard_and_failed(ipr: AsyncIPRoute, device: int) -> tuple[frozenset[Address], frozenset[Address]]:
    """The neighbours on a device that have been heard, and those that do not answer."""
    heard, failed = set(), set()
    async for entry in await ipr.get_neighbours(family=socket.AF_INET6, ifindex=device):
        address = Address.parse(entry.get_attr("NDA_DST"))
        if entry["state"] & _NUD_HEARD:
            heard.add(address)
        elif entry["state"] & _NUD_FAILED:
            failed.add(address)
    return frozenset(heard), frozenset(failed)


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
                with _done_already():
                    await ipr.addr("del", index=device, address=str(found.address), prefixlen=found.length)
        for route in await _routes(ipr, device):
            if route["proto"] == _RTPROT_RA or (route["proto"] == _RTPROT_KERNEL and _expires(route)):
                with _done_already():
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
def _done_already() -> Iterator[None]:
    """What the kernel has deleted or added itself in the meantime is as it should be, or told by an event."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in _DONE_ALREADY:
            raise
