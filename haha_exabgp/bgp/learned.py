"""What the peers have announced, as the hook remembers it for an agent that comes back.

It is soft state. A session that comes up begins with nothing; a new hook process, which finds sessions up
and knows nothing of their routes, asks each such peer for a route refresh (RFC 2918). A peer is *complete*
once it has sent End-of-RIB, or the end-of-refresh marker of RFC 7313.

A peer may announce so many prefixes and no more: a limit, as other BGP speakers have it, with a warning at
three quarters. The session stays: one that is torn down comes up again and sends as many. What is beyond the
limit is passed over; when the peer has withdrawn so much that it is below the warning again, it is asked to
tell all.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

from ..wire.address import Address
from .events import ReceivedRoute, RoutesReceived

WARNED_AT = 0.75
"""Share of the limit."""


class Fill(StrEnum):
    """How much of what it may announce a peer has announced."""

    FINE = "fine"
    WARNING = "warning"
    """Three quarters or more."""
    EXCEEDED = "exceeded"
    """More: some is passed over."""


class LimitState(NamedTuple):
    """`passed_over` counts announcements since the limit was exceeded."""

    fill: Fill = Fill.FINE
    passed_over: int = 0


class LearnedRoutes:
    """The routes of each peer whose session is up."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """Prefixes of one peer; None for any number."""
        self._routes: dict[Address, dict[str, ReceivedRoute]] = {}
        self._complete: set[Address] = set()
        self._states: dict[Address, LimitState] = {}

    def clear(self, peer: Address) -> None:
        """The session to this peer is new, or gone."""
        self._routes.pop(peer, None)
        self._states.pop(peer, None)
        self._complete.discard(peer)

    def receive(self, update: RoutesReceived) -> tuple[ReceivedRoute, ...]:
        """Take in one UPDATE. Gives what it announces, but for what is passed over."""
        routes = self._routes.setdefault(update.peer, {})
        for prefix in update.withdrawn:
            routes.pop(prefix, None)
        limit = self.limit
        if limit is None or len(routes) + len(update.announced) <= limit:
            taken = update.announced
            routes.update([(route.prefix, route) for route in taken])
        else:
            accepted = []
            for route in update.announced:
                if route.prefix in routes or len(routes) < limit:
                    routes[route.prefix] = route
                    accepted.append(route)
            taken = tuple(accepted)
        self._judge(update.peer, len(update.announced) - len(taken))
        return taken

    def limit_state(self, peer: Address) -> LimitState:
        """How far a peer is from its limit."""
        return self._states.get(peer, LimitState())

    def has_room_again(self, peer: Address) -> bool:
        """True where something of this peer was passed over and there would be room for it now. The next time
        it is False, until something is passed over again."""
        state = self._states.get(peer)
        if state is None or state.fill is not Fill.EXCEEDED or self._is_nearly_full(peer):
            return False
        del self._states[peer]
        return True

    def set_complete(self, peer: Address) -> None:
        """The peer has told all it has."""
        self._complete.add(peer)

    def is_complete(self, peer: Address) -> bool:
        """True when the peer has told all it has."""
        return peer in self._complete

    def routes(self, peer: Address) -> Collection[ReceivedRoute]:
        """What the peer has announced."""
        return self._routes.get(peer, {}).values()

    def _judge(self, peer: Address, passed_over: int) -> None:
        before = self._states.get(peer)
        if passed_over:
            so_far = before.passed_over if before is not None else 0
            self._states[peer] = LimitState(Fill.EXCEEDED, so_far + passed_over)
        elif before is not None and before.fill is Fill.EXCEEDED:
            return
        elif self._is_nearly_full(peer):
            self._states[peer] = LimitState(Fill.WARNING)
        elif before is not None:
            del self._states[peer]

    def _is_nearly_full(self, peer: Address) -> bool:
        return self.limit is not None and len(self._routes.get(peer, ())) >= WARNED_AT * self.limit
