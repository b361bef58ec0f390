"""The kernel of a Home Agent's host: routes, the guard, tunnel ends. It goes on without the agent.

What is modelled is what packets see: the longest prefix, then the lowest metric (`protocol.routes.Metric`);
the guard's rules about tunnelled packets, as `kernel/guard_tunnels.py` has them; what is in no table leaves
by the default route.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cache

from ..kernel.guard_sets import in_whole_octets
from ..protocol.effects import Admit, Dismiss, Permit, Revoke
from ..protocol.home import HomeAgentConfig
from ..protocol.routes import KernelRoute
from ..wire.address import Address, Prefix
from .packets import Packet

_GUARD_LENGTHS = (64, 128, 56)
"""Of what is in the guard's sets; those that Homes are drawn with."""


@cache
def pieces(prefix: Prefix) -> tuple[Prefix, ...]:
    """What stands for a prefix in the guard's sets; the same few again and again."""
    return tuple(in_whole_octets(prefix))


class Fate(StrEnum):
    """What becomes of a packet that has come to the host, or was made there."""

    LOCAL = "local"
    SENT = "sent"
    SPOOFED = "spoofed"
    MISDIRECTED = "misdirected"
    NO_TUNNEL_END = "no tunnel end"
    UNREACHABLE = "unreachable"
    HOP_LIMIT = "hop limit exceeded"


class HomeAgentKernel:
    """What is in it outlives the agent, and ends with the host."""

    def __init__(self, config: HomeAgentConfig) -> None:
        self._config = config
        self._peers = frozenset(peer.outer for peer in config.adjacent)
        self._primaries = frozenset(peer.outer for peer in config.peers if not peer.is_satellite)
        self._satellites = frozenset(peer.outer for peer in config.adjacent if peer.is_satellite)
        self._lent = frozenset(one.address for one in config.lent)
        self.routes: dict[Prefix, dict[int, KernelRoute]] = {}
        self.permits: dict[Prefix, dict[Address, None]] = {}
        """Inner source -> outer sources that may send from there. Prefixes of whole octets, as in the guard's
        sets (`kernel/guard_sets.py`)."""
        self.admitted: dict[Prefix, None] = {}
        self.tunnel_is_open = False
        """Packets are taken out of tunnels that end here; then the guard stands."""
        self.has_haha = False
        """The HAHA address is on this host."""
        self._lengths: list[int] = []

    def clear(self) -> None:
        """The host has gone down."""
        self.__init__(self._config)  # type: ignore[misc]

    # The agent's side

    def present(self) -> list[KernelRoute]:
        """Every route of ours."""
        return [route for by_metric in self.routes.values() for route in by_metric.values()]

    def replace(self, routes: Iterable[KernelRoute]) -> None:
        """Add them, or put them in the place of those of the same prefix and metric."""
        for route in routes:
            by_metric = self.routes.get(route.prefix)
            if by_metric is None:
                by_metric = self.routes[route.prefix] = {}
                if route.prefix.length not in self._lengths:
                    self._lengths = sorted({*self._lengths, route.prefix.length}, reverse=True)
            by_metric[route.metric] = route

    def delete(self, routes: Iterable[KernelRoute]) -> None:
        """Take them away, by prefix and metric."""
        for route in routes:
            by_metric = self.routes.get(route.prefix)
            if by_metric is not None:
                by_metric.pop(route.metric, None)
                if not by_metric:
                    del self.routes[route.prefix]

    def let_in(self, effects: Iterable[Permit | Admit]) -> None:
        """Add to the guard's sets."""
        for effect in effects:
            for inner in pieces(effect.inner):
                if isinstance(effect, Admit):
                    self.admitted[inner] = None
                else:
                    self.permits.setdefault(inner, {})[effect.outer] = None

    def keep_out(self, effects: Iterable[Revoke | Dismiss]) -> None:
        """Take away from the guard's sets."""
        for effect in effects:
            for inner in pieces(effect.inner):
                if isinstance(effect, Dismiss):
                    self.admitted.pop(inner, None)
                elif inner in self.permits:
                    self.permits[inner].pop(effect.outer, None)

    def set_guard(self, permits: Iterable[tuple[Address, Prefix]], admitted: Iterable[Prefix]) -> None:
        """Make the whole guard this."""
        self.permits, self.admitted = {}, {}
        self.let_in([Permit(outer, inner) for outer, inner in permits])
        self.let_in([Admit(inner) for inner in admitted])

    def permits_all(self, outer: Address, inner: Prefix) -> bool:
        """Whether packets from any address of `inner` may come in from `outer`."""
        return all(outer in self.permits.get(piece, ()) for piece in pieces(inner))

    # The packets' side

    def receive(self, packet: Packet) -> Fate:
        """A packet comes from outside; it is changed in place to what is local, or what leaves."""
        if not packet.tunnels:
            return self.forward(packet)
        (outer_source, outer_destination), inside = packet.tunnels[-1], packet.tunnels[:-1]
        if outer_destination != self._config.outer or not self.tunnel_is_open:
            return Fate.NO_TUNNEL_END
        source, destination = inside[-1] if inside else (packet.source, packet.destination)
        if outer_source in self._peers:
            if not self._takes_from_peer(outer_source, destination):
                return Fate.MISDIRECTED
        elif inside or not self._is_permitted(outer_source, source):
            return Fate.SPOOFED
        if inside and destination in self._lent:
            # The tunnel of a primary inside that of our parent: both layers are judged at once.
            inside = inside[:-1]
            if source not in self._primaries or inside or not self._is_admitted(packet.destination):
                return Fate.MISDIRECTED
        packet.tunnels = inside
        return self.forward(packet)

    def forward(self, packet: Packet) -> Fate:
        """A packet that does not end in a tunnel here, from outside, out of a tunnel or made here. What has
        been put into a tunnel is routed again, as the kernel does it: that tunnel may be inside another."""
        tunnels = packet.tunnels
        destination = tunnels[-1][1] if tunnels else packet.destination
        if not tunnels and self._is_ours(destination):
            return Fate.LOCAL
        packet.hop_limit -= 1
        packet.path += (self._config.name,)
        if packet.hop_limit <= 0:
            return Fate.HOP_LIMIT
        while (route := self.lookup(destination)) is not None:
            if route.tunnel_exit is None:
                return Fate.UNREACHABLE
            destination = route.tunnel_exit
            tunnels = (*tunnels, (self._config.outer, destination))
        packet.tunnels = tunnels
        return Fate.SENT

    def lookup(self, destination: Address) -> KernelRoute | None:
        """The route to an address; None: the default route."""
        if not self._config.home.contains(destination):
            return None
        routes = self.routes
        for length in self._lengths:
            by_metric = routes.get(Prefix.of(destination, length))
            if by_metric:
                return by_metric[min(by_metric)]
        return None

    def _is_ours(self, destination: Address) -> bool:
        config = self._config
        if destination == config.outer:
            return True
        return self.has_haha and (destination == config.haha or destination in self._lent)

    def _takes_from_peer(self, peer: Address, destination: Address) -> bool:
        if peer in self._satellites:
            return True  # it has all of Home by us, and every other Home Agent
        if destination == self._config.haha or destination in self._lent:
            return True
        return self._config.is_primary_for(destination) or self._is_admitted(destination)

    def _is_admitted(self, destination: Address) -> bool:
        return any([Prefix.of(destination, length) in self.admitted for length in _GUARD_LENGTHS])

    def _is_permitted(self, outer: Address, inner: Address) -> bool:
        permits = self.permits
        return any([outer in permits.get(Prefix.of(inner, length), ()) for length in _GUARD_LENGTHS])


def changes(
    wanted: Iterable[KernelRoute], present: Sequence[KernelRoute]
) -> tuple[list[KernelRoute], list[KernelRoute]]:
    """What to replace and what to delete, in an order that does not depend on how sets are laid out."""
    ordered = sorted(wanted, key=lambda route: (route.prefix, route.metric))
    keys = {(route.prefix, route.metric) for route in ordered}
    there = set(present)
    replace = [route for route in ordered if route not in there]
    return replace, [route for route in present if (route.prefix, route.metric) not in keys]
