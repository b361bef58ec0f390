"""Into which tunnel the kernel puts a packet now: what `ip route get` tells."""

from __future__ import annotations

from ..wire.address import Address
from .netlink import NetlinkSocket
from .route_messages import Encapsulate, pull_route, push_lookup


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
        try:
            route = pull_route(self._netlink.ask(push_lookup(source, destination)))
        except OSError:
            # No route, or one that discards.
            return None
        return route.action.tunnel_exit if route and isinstance(route.action, Encapsulate) else None
