"""Tunnels by ip6tnl in rtnetlink messages: the encapsulation of a route, and the questions to the kernel."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ..wire.address import UNSPECIFIED, Address
from .netlink import CREATE, EXCLUSIVE, Message, attribute, nested, pull_attributes

LWTUNNEL_IP6: Final = 4

_IP6_DST = 2
_IP6_SRC = 3
_IP6_HOPLIMIT = 4
_HOP_LIMIT = attribute(_IP6_HOPLIMIT, bytes((64,)))
"""Without one the kernel copies the inner packet's, which would make the tunnel as long as its path."""

_RTM_NEWLINK = 16
_RTM_SETLINK = 19
_IFINFOMSG = struct.Struct("=BxHiII")
_IFLA_IFNAME = 3
_IFLA_LINKINFO = 18
_IFLA_IFALIAS = 20
_INFO_KIND = 1
_INFO_DATA = 2
_IPTUN_PROTO = 9
_NO_TUNNEL_PROTOCOL = 99


@dataclass(frozen=True, slots=True)
class Ip6Encapsulate:
    """Into IPv6-in-IPv6 (RFC 2473) by a collect-metadata ip6tnl device: `encap ip6 src SOURCE dst EXIT
    hoplimit 64 dev DEVICE`. Without a source the kernel takes an address of the device that the packet leaves
    by."""

    tunnel_exit: Address
    source: Address | None
    device: int


def push_ip6_encapsulation(action: Ip6Encapsulate) -> bytes:
    """What stands inside RTA_ENCAP. The tunnel is one hop to what is in it (RFC 2473 s.6.3)."""
    source = UNSPECIFIED if action.source is None else action.source
    return attribute(_IP6_SRC, source) + attribute(_IP6_DST, action.tunnel_exit) + _HOP_LIMIT


def pull_ip6_encapsulation(device: int, encapsulation: bytes) -> Ip6Encapsulate:
    """The reverse of `push_ip6_encapsulation`."""
    found = pull_attributes(encapsulation)
    source = Address(found.get(_IP6_SRC, UNSPECIFIED))
    exit_ = Address(found.get(_IP6_DST, UNSPECIFIED))
    return Ip6Encapsulate(exit_, None if source == UNSPECIFIED else source, device)


def push_impossible_ip6tnl(name: str) -> Message:
    """Ask for an ip6tnl device that cannot be: of a protocol that ip6tnl does not tunnel. A kernel that has
    ip6tnl (it loads the module for the question) refuses it with EINVAL, one that has not with EOPNOTSUPP; no
    device comes of it."""
    data = nested(_INFO_DATA, attribute(_IPTUN_PROTO, bytes((_NO_TUNNEL_PROTOCOL,))))
    kind = attribute(_INFO_KIND, b"ip6tnl")
    body = attribute(_IFLA_IFNAME, name.encode() + b"\0") + nested(_IFLA_LINKINFO, kind, data)
    return Message(_RTM_NEWLINK, CREATE | EXCLUSIVE, _IFINFOMSG.pack(0, 0, 0, 0, 0) + body)


def push_alias(device: int, text: str) -> Message:
    """Set a device's alias, the remark that `ip link` shows; none where the text is empty."""
    header = _IFINFOMSG.pack(0, 0, device, 0, 0)
    return Message(_RTM_SETLINK, 0, header + attribute(_IFLA_IFALIAS, text.encode()))
