"""The uplink of a mobile router: made ready to attach fast, and cleared of the place that it has left.

Privilege: CAP_NET_ADMIN; `solicit_routers` CAP_NET_RAW.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from ..wire.address import UNSPECIFIED, Address, Prefix
from .links import addresses, delete_address
from .netlink import ACK, Message, NetlinkSocket, attribute, attribute_u32, pull_attributes, u32
from .route_messages import MAIN_TABLE, RTM_DELROUTE, RTM_GETROUTE
from .sysctl import set_device_setting, set_neighbour_setting

_RETRANSMISSION_MS: Final = 100
_ALL_ROUTERS = "ff02::2"
_ROUTER_SOLICITATION = struct.pack("!BBHI", 133, 0, 0, 0)

_RTMSG = struct.Struct("=BBBBBBBBI")
_AF_INET6 = 10
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_CACHEINFO = 12
_CACHEINFO_EXPIRES = 8
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


def default_routers(netlink: NetlinkSocket, device: int) -> list[Address]:
    """The routers that advertise themselves as default on a device. Raises OSError."""
    return [
        Address(found[_RTA_GATEWAY])
        for header, found in _dump_routes(netlink, device, _RTPROT_RA)
        if header[1] == 0 and _RTA_GATEWAY in found
    ]


def forget_attachment(netlink: NetlinkSocket, device: int) -> None:
    """Delete what Router Advertisements have brought to a device: global addresses, default and other
    routes, on-link prefixes.

    The kernel keeps them when the carrier is lost, and would go on using them at the next place. Does nothing
    for index 0, the device that is gone: to netlink it would mean every device. Raises OSError.
    """
    if device == 0:
        return
    for entry in addresses(netlink, device):
        if entry.dynamic and entry.is_global:
            delete_address(netlink, device, Prefix(entry.address, entry.length))
    stale = [
        _push_delete(header, found)
        for protocol in (_RTPROT_RA, _RTPROT_KERNEL)
        for header, found in _dump_routes(netlink, device, protocol)
        if protocol == _RTPROT_RA or _expires(found)
    ]
    for refusal in netlink.send(stale):
        if refusal.errno != errno.ESRCH:
            raise OSError(refusal.errno, str(refusal))


_Header = tuple[int, ...]
"""rtmsg: family, lengths of destination and source prefix, TOS, table, protocol, scope, type, flags."""


def _dump_routes(
    netlink: NetlinkSocket, device: int, protocol: int
) -> list[tuple[_Header, dict[int, bytes]]]:
    """Main table routes of one protocol by one device, each as header and attributes."""
    request = _RTMSG.pack(_AF_INET6, 0, 0, 0, MAIN_TABLE, protocol, 0, 0, 0)
    request += attribute_u32(_RTA_OIF, device)
    found = []
    for body in netlink.dump(Message(RTM_GETROUTE, 0, request)):
        found.append((_RTMSG.unpack_from(body), pull_attributes(body, _RTMSG.size)))
    return found


def _push_delete(header: _Header, found: dict[int, bytes]) -> Message:
    kept = (_RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY)
    body = _RTMSG.pack(*header[:8], 0) + attribute(_RTA_DST, found.get(_RTA_DST, UNSPECIFIED))
    body += b"".join(attribute(kind, found[kind]) for kind in kept if kind in found)
    return Message(RTM_DELROUTE, ACK, body)


def _expires(found: dict[int, bytes]) -> bool:
    """Routes with an end are those to prefixes that a router said are on the link (RFC 4861 s.6.3.4)."""
    lifetimes = found.get(_RTA_CACHEINFO, b"")
    return u32(lifetimes[_CACHEINFO_EXPIRES : _CACHEINFO_EXPIRES + 4]) != 0
