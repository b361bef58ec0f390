"""Into which tunnel the kernel puts a packet now: what `ip route get` tells."""

from __future__ import annotations

import socket
import struct
from typing import Final

from ..wire.address import Address
from .netlink import Message, NetlinkSocket, attribute
from .route_messages import RTM_GETROUTE, Encapsulate, pull_route

_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_RTA_DST = 1
_RTA_SRC = 2


class TunnelLookup:
    """Asks by a netlink socket of its own, in the namespace in which it is made; of the routes of `seg6`."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket()

    def close(self) -> None:
        """Give the file descriptor back."""
        self._netlink.close()

    def exit_point(self, source: Address, destination: Address) -> Address | None:
        """The exit-point of the tunnel that a packet with these addresses goes into, None when into none of
        ours. Some 15 us."""
        header = _RTMSG.pack(socket.AF_INET6, 128, 128, 0, 0, 0, 0, 0, 0)
        body = header + attribute(_RTA_DST, destination) + attribute(_RTA_SRC, source)
        try:
            route = pull_route(self._netlink.ask(Message(RTM_GETROUTE, 0, body)))
        except OSError:
            # No route, or one that discards.
            return None
        return route.action.tunnel_exit if route and isinstance(route.action, Encapsulate) else None
