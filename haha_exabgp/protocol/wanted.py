"""The state that the core wants in the world: kernel routes, announcements, guard entries.

Truth is the whole set, which a shell compares with what it finds after a start or a failure; the effects
only carry single changes there fast.
"""

from __future__ import annotations

from collections.abc import Callable

from ..wire.address import Address, Prefix
from .effects import Announce, DeleteRoute, Effect, Permit, Revoke, SetRoute, Withdraw
from .routes import Announcement, Audience, KernelRoute


class WantedState:
    """Sets with a memory: setting what is already there emits nothing."""

    def __init__(self, emit: Callable[[Effect], None]) -> None:
        self._emit = emit
        self._routes: dict[tuple[Prefix, int], KernelRoute] = {}
        self._announcements: dict[tuple[Audience, Prefix], Announcement] = {}
        self._permits: set[tuple[Address, Prefix]] = set()

    def routes(self) -> frozenset[KernelRoute]:
        """Every kernel route wanted now."""
        return frozenset(self._routes.values())

    def announcements(self) -> frozenset[Announcement]:
        """Every announcement wanted now."""
        return frozenset(self._announcements.values())

    def permits(self) -> frozenset[tuple[Address, Prefix]]:
        """Every (outer source, inner source prefix) that may come in through a tunnel."""
        return frozenset(self._permits)

    def route(self, prefix: Prefix, metric: int) -> KernelRoute | None:
        """The route wanted for this prefix and metric."""
        return self._routes.get((prefix, metric))

    def set_route(self, route: KernelRoute) -> None:
        """Want a route, in place of the one of the same prefix and metric."""
        key = (route.prefix, route.metric)
        if self._routes.get(key) != route:
            self._routes[key] = route
            self._emit(SetRoute(route))

    def clear_route(self, prefix: Prefix, metric: int) -> None:
        """Want no route of this prefix and metric."""
        route = self._routes.pop((prefix, metric), None)
        if route is not None:
            self._emit(DeleteRoute(route))

    def announcement(self, audience: Audience, prefix: Prefix) -> Announcement | None:
        """What this audience is told about the prefix."""
        return self._announcements.get((audience, prefix))

    def announce(self, announcement: Announcement) -> None:
        """Tell an audience about a prefix, in place of what it was told before."""
        key = (announcement.audience, announcement.prefix)
        if self._announcements.get(key) != announcement:
            self._announcements[key] = announcement
            self._emit(Announce(announcement))

    def withdraw(self, audience: Audience, prefix: Prefix) -> None:
        """Tell an audience nothing more about a prefix."""
        announcement = self._announcements.pop((audience, prefix), None)
        if announcement is not None:
            self._emit(Withdraw(announcement))

    def permit(self, outer: Address, inner: Prefix) -> None:
        """Accept tunnelled packets from `outer` with inner sources in `inner`."""
        if (outer, inner) not in self._permits:
            self._permits.add((outer, inner))
            self._emit(Permit(outer, inner))

    def revoke(self, outer: Address, inner: Prefix) -> None:
        """Accept them no more."""
        if (outer, inner) in self._permits:
            self._permits.discard((outer, inner))
            self._emit(Revoke(outer, inner))
