"""Network devices and their IPv6 addresses over rtnetlink.

Privilege: reading needs none, changing needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import Final

from ..wire.address import Address, Prefix
from .netlink import (
    ACK,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Message,
    NetlinkSocket,
    attribute,
    attribute_u32,
    nested,
    pull_attributes,
    u32,
)
from .route_messages import PROTOCOL

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
_RTM_GETLINK = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
_RTM_GETADDR = 22

_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINKINFO = 18
_IFLA_CARRIER_DOWN_COUNT = 48
_IFLA_INFO_KIND = 1
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000

_IFA_ADDRESS = 1
_IFA_FLAGS = 8
_IFA_PROTO = 11
_IFA_F_NODAD = 0x02
_IFA_F_OPTIMISTIC = 0x04
_IFA_F_DADFAILED = 0x08
_IFA_F_DEPRECATED = 0x20
_IFA_F_TENTATIVE = 0x40
_IFA_F_PERMANENT = 0x80
_IFA_F_NOPREFIXROUTE = 0x200

_SCOPE_GLOBAL = 0

_IFINFOMSG = struct.Struct("=BxHiII")
_IFADDRMSG = struct.Struct("=BBBBI")
_AF_INET6 = 10


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
    `dynamic`: it came with a lifetime, by autoconfiguration or DHCP. `ours`: this program put it there.
    """

    device: int
    address: Address
    length: int
    is_global: bool
    usable: bool
    dynamic: bool
    ours: bool


def pull_link(body: bytes) -> Link:
    """Read the body of an RTM_NEWLINK or RTM_DELLINK."""
    _, _, index, flags, _ = _IFINFOMSG.unpack_from(body)
    found = pull_attributes(body, _IFINFOMSG.size)
    kind = pull_attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"")
    return Link(
        index=index,
        name=found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(),
        kind=kind.rstrip(b"\0").decode(),
        up=bool(flags & _IFF_UP),
        carrier=flags & (_IFF_UP | _IFF_LOWER_UP) == _IFF_UP | _IFF_LOWER_UP,
        carrier_losses=u32(found.get(_IFLA_CARRIER_DOWN_COUNT, b"")),
        mtu=u32(found.get(_IFLA_MTU, b"")),
    )


def find_link(netlink: NetlinkSocket, name: str) -> Link | None:
    """The device of this name, None where there is none. Raises OSError."""
    request = _IFINFOMSG.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + b"\0")
    try:
        return pull_link(netlink.ask(Message(_RTM_GETLINK, 0, request)))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def add_bridge(netlink: NetlinkSocket, name: str) -> None:
    """Make an empty bridge, down. Raises OSError."""
    body = (
        _IFINFOMSG.pack(0, 0, 0, 0, 0)
        + attribute(_IFLA_IFNAME, name.encode() + b"\0")
        + nested(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, b"bridge"))
    )
    netlink.request(Message(RTM_NEWLINK, ACK | CREATE | EXCLUSIVE, body))


def set_link_up(netlink: NetlinkSocket, link: Link, mtu: int | None = None) -> None:
    """Bring a device up, with this MTU if one is given; nothing is sent when it is so. Raises OSError."""
    if link.up and mtu in (None, link.mtu):
        return
    body = _IFINFOMSG.pack(0, 0, link.index, _IFF_UP, _IFF_UP)
    if mtu is not None:
        body += attribute_u32(_IFLA_MTU, mtu)
    netlink.request(Message(RTM_NEWLINK, ACK, body))


def delete_link(netlink: NetlinkSocket, index: int) -> None:
    """Raises OSError."""
    netlink.request(Message(RTM_DELLINK, ACK, _IFINFOMSG.pack(0, 0, index, 0, 0)))


def pull_address(body: bytes) -> InterfaceAddress:
    """Read the body of an RTM_NEWADDR or RTM_DELADDR of the IPv6 family."""
    _, length, flags, scope, device = _IFADDRMSG.unpack_from(body)
    found = pull_attributes(body, _IFADDRMSG.size)
    if _IFA_FLAGS in found:
        flags = u32(found[_IFA_FLAGS])
    unverified = flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC
    return InterfaceAddress(
        device=device,
        address=Address(found[_IFA_ADDRESS]),
        length=length,
        is_global=scope == _SCOPE_GLOBAL,
        usable=not unverified and not flags & (_IFA_F_DADFAILED | _IFA_F_DEPRECATED),
        dynamic=not flags & _IFA_F_PERMANENT,
        ours=found.get(_IFA_PROTO) == bytes([PROTOCOL]),
    )


def addresses(netlink: NetlinkSocket, device: int = 0) -> list[InterfaceAddress]:
    """The IPv6 addresses of one device, or of all (0). Raises OSError."""
    request = Message(_RTM_GETADDR, 0, _IFADDRMSG.pack(_AF_INET6, 0, 0, 0, device))
    return [pull_address(body) for body in netlink.dump(request)]


def add_address(netlink: NetlinkSocket, device: int, prefix: Prefix) -> None:
    """Put an address on a device under our mark, usable at once (no duplicate address detection) and
    without a route for its prefix. No change where it is there already. Raises OSError."""
    body = _push_address(device, prefix)
    body += attribute_u32(_IFA_FLAGS, _IFA_F_NODAD | _IFA_F_NOPREFIXROUTE)
    body += attribute(_IFA_PROTO, bytes([PROTOCOL]))
    netlink.request(Message(RTM_NEWADDR, ACK | CREATE | REPLACE, body))


def delete_address(netlink: NetlinkSocket, device: int, prefix: Prefix) -> None:
    """Take an address off a device. Raises OSError."""
    netlink.request(Message(RTM_DELADDR, ACK, _push_address(device, prefix)))


def _push_address(device: int, prefix: Prefix) -> bytes:
    header = _IFADDRMSG.pack(_AF_INET6, prefix.length, 0, _SCOPE_GLOBAL, device)
    return header + attribute(_IFA_ADDRESS, prefix.address)
