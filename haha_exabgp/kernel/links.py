"""Network devices and their IPv6 addresses.

Functions take an `IPRoute` of pyroute2 and block; `read_link` and `read_address` read what either kind of
pyroute2 socket gave. Privilege: reading needs none, changing needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_LOWER_UP, IFF_UP

from ..wire.address import Address, Prefix
from .route_messages import PROTOCOL

_SCOPE_GLOBAL = 0
FOREVER: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. `carrier`: it is up and the other end is there; `carrier_losses` counts how often
    that ended."""

    index: int
    name: str
    kind: str
    up: bool
    carrier: bool
    carrier_losses: int
    mtu: int


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An IPv6 address on a device.

    `usable`: new traffic may have it as source, optimistic (RFC 4429) included, deprecated not.
    `tentative`: duplicate address detection is not through with it. `dynamic`: it came with a lifetime, by
    autoconfiguration or DHCP. `ours`: this program put it there. `created`: in 1/100 s since some moment.
    Lifetimes in seconds, 32 bits, all ones for ever.
    """

    device: int
    address: Address
    length: int
    is_global: bool
    usable: bool
    tentative: bool
    dynamic: bool
    ours: bool
    created: int = 0
    valid_lifetime: int = FOREVER
    preferred_lifetime: int = FOREVER


def read_link(message: Any) -> Link:
    """Read a device as pyroute2 gives it."""
    flags = message["flags"]
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_UP and flags & IFF_LOWER_UP),
        carrier_losses=message.get_attr("IFLA_CARRIER_DOWN_COUNT"),
        mtu=message.get_attr("IFLA_MTU"),
    )


def find_link(ipr: IPRoute, name: str) -> Link | None:
    """The device of this name, None where there is none."""
    try:
        (message,) = ipr.link("get", ifname=name)
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise
    return read_link(message)


def delete_link(ipr: IPRoute, name: str, kind: str) -> None:
    """Take a device away; one of another kind is somebody else's and stays."""
    link = find_link(ipr, name)
    if link is not None and link.kind == kind:
        ipr.link("del", index=link.index)


def set_link_up(ipr: IPRoute, link: Link, mtu: int | None = None) -> None:
    """Bring a device up, with this MTU if one is given; nothing is sent when it is so."""
    mtu = mtu or link.mtu
    if not link.up or mtu != link.mtu:
        ipr.link("set", index=link.index, state="up", mtu=mtu)


def read_address(message: Any) -> InterfaceAddress:
    """Read an IPv6 address as pyroute2 gives it."""
    flags = message.get_attr("IFA_FLAGS")
    failed = bool(flags & ifaddrmsg.IFA_F_DADFAILED)
    unverified = bool(flags & ifaddrmsg.IFA_F_TENTATIVE) and not flags & ifaddrmsg.IFA_F_OPTIMISTIC
    times = message.get_attr("IFA_CACHEINFO") or {}
    return InterfaceAddress(
        device=message["index"],
        address=Address.parse(message.get_attr("IFA_ADDRESS")),
        length=message["prefixlen"],
        is_global=message["scope"] == _SCOPE_GLOBAL,
        usable=not unverified and not failed and not flags & ifaddrmsg.IFA_F_DEPRECATED,
        tentative=unverified and not failed,
        dynamic=not flags & ifaddrmsg.IFA_F_PERMANENT,
        ours=message.get_attr("IFA_PROTO") == PROTOCOL,
        created=times.get("cstamp", 0),
        valid_lifetime=times.get("ifa_valid", FOREVER),
        preferred_lifetime=times.get("ifa_preferred", FOREVER),
    )


def addresses(ipr: IPRoute, device: int) -> list[InterfaceAddress]:
    """The IPv6 addresses of one device."""
    return [read_address(message) for message in ipr.get_addr(family=socket.AF_INET6, index=device)]


def add_address(ipr: IPRoute, device: int, prefix: Prefix) -> None:
    """Put an address on a device under our mark, usable at once (no duplicate address detection) and
    without a route for its prefix. No change where it is there already."""
    ipr.addr(
        "replace",
        index=device,
        address=str(prefix.address),
        prefixlen=prefix.length,
        flags=ifaddrmsg.IFA_F_NODAD | ifaddrmsg.IFA_F_NOPREFIXROUTE,
        proto=PROTOCOL,
    )


def delete_address(ipr: IPRoute, device: int, prefix: Prefix) -> None:
    """Take an address off a device."""
    ipr.addr("del", index=device, address=str(prefix.address), prefixlen=prefix.length)
