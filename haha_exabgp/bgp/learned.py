"""What the peers have announced, as the hook remembers it for an agent that comes back.

It is soft state. A session that comes up begins with nothing; a new hook process, which finds sessions up
and knows nothing of their routes, asks each such peer for a route refresh (RFC 2918). A peer is *complete*
once it has sent End-of-RIB, or the end-of-refresh marker of RFC 7313.
"""

from __future__ import annotations

from collections.abc import Collection

from ..wire.address import Address
from .events import ReceivedRoute, RoutesReceived


class LearnedRoutes:
    """The routes of each peer whose session is up."""

    def __init__(self) -> None:
        self._routes: dict[Address, dict[str, ReceivedRoute]] = {}
        self._complete: set[Address] = set()

    def clear(self, peer: Address) -> None:
        """The session to this peer is new, or gone."""
        self._routes.pop(peer, None)
        self._complete.discard(peer)

    def receive(self, update: RoutesReceived) -> None:
        """Take in one UPDATE."""
        routes = self._routes.setdefault(update.peer, {})
        for prefix in update.withdrawn:
            routes.pop(prefix, None)
        for route in update.announced:
            routes[route.prefix] = route

    def set_complete(self, peer: Address) -> None:
        """The peer has told all it has."""
        self._complete.add(peer)

    def is_complete(self, peer: Address) -> bool:
        """True when the peer has told all it has."""
        return peer in self._complete

    def routes(self, peer: Address) -> Collection[ReceivedRoute]:
        """What the peer has announced."""
        return self._routes.get(peer, {}).values()
