"""The state that the core wants in the world: kernel routes, announcements, guard entries.

Truth is the whole set, which a shell compares with what it finds after a start or a failure; the effects
only carry single changes there fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..wire.address import Address, Prefix
from .binding import Binding
from .effects import (
    Admit,
    Announce,
    DeleteRoute,
    Dismiss,
    Effect,
    Rebind,
    SetRoute,
    Unwatch,
    Watch,
    Withdraw,
)
from .footprint import Footprint, footprint
from .home import HomeAgentConfig
from .routes import Announcement, Audience, KernelRoute


class Snapshot(NamedTuple):
    """All that was wanted at one moment, cheap to take; the sets are worked out when they are asked for,
    20 us a binding, in whatever thread asks."""

    config: HomeAgentConfig
    bindings: Sequence[Binding]
    own_routes: Sequence[KernelRoute]
    own_announcements: Sequence[Announcement]
    watched: frozenset[Prefix] = frozenset()
    """Prefixes whose packets from other Home Agents are counted."""
    own_admitted: frozenset[Prefix] = frozenset()

    def in_kernel(self) -> tuple[set[KernelRoute], set[tuple[Address, Prefix]], set[Prefix]]:
        """Every kernel route; (outer source, inner source prefix) that may come in through a tunnel; prefix
        that other Home Agents may send here, though it is not of our partition."""
        routes = set(self.own_routes)
        permits: set[tuple[Address, Prefix]] = set()
        admitted = set(self.own_admitted)
        for one in self._footprints():
            routes.update(one.routes)
            permits.update(one.permits)
            admitted.update(one.admitted)
        return routes, permits, admitted

    def announcements(self) -> frozenset[Announcement]:
        """Every announcement."""
        derived = [told for one in self._footprints() for told in one.announcements]
        return frozenset(derived).union(self.own_announcements)

    def _footprints(self) -> Iterable[Footprint]:
        return (footprint(binding, self.config) for binding in self.bindings)


class WantedState:
    """Sets with a memory: setting what is already there emits nothing.

    What follows from bindings is not kept here but derived anew when the whole is asked for. Leaks are
    kept: which of them are told is for `leaks.py` to decide.
    """

    def __init__(
        self,
        config: HomeAgentConfig,
        emit: Callable[[Effect], None],
        bindings: Callable[[], Sequence[Binding]] = tuple,
    ) -> None:
        """`bindings()` gives all live ones."""
        self._config = config
        self._emit = emit
        self._bindings = bindings
        self._routes: dict[tuple[Prefix, int], KernelRoute] = {}
        self._announcements: dict[tuple[Audience, Prefix], Announcement] = {}
        self._watched: set[Prefix] = set()
        self._admitted: set[Prefix] = set()

    def snapshot(self) -> Snapshot:
        """All that is wanted now."""
        told = tuple(self._announcements.values())
        routes = tuple(self._routes.values())
        watched, admitted = frozenset(self._watched), frozenset(self._admitted)
        return Snapshot(self._config, self._bindings(), routes, told, watched, admitted)

    def routes(self) -> frozenset[KernelRoute]:
        """Every kernel route wanted now."""
        return frozenset(self.snapshot().in_kernel()[0])

    def announcements(self) -> frozenset[Announcement]:
        """Every announcement wanted now."""
        return self.snapshot().announcements()

    def permits(self) -> frozenset[tuple[Address, Prefix]]:
        """Every (outer source, inner source prefix) that may come in through a tunnel."""
        return frozenset(self.snapshot().in_kernel()[1])

    def admitted(self) -> frozenset[Prefix]:
        """Every prefix that other Home Agents may send here, though it is not of our partition."""
        return frozenset(self.snapshot().in_kernel()[2])

    def route(self, prefix: Prefix, metric: int) -> KernelRoute | None:
        """The route wanted for this prefix and metric, if it does not follow from a binding."""
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
        """What this audience is told about the prefix, if it is not that it is bound here."""
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

    def admit(self, prefix: Prefix) -> None:
        """Let in what other Home Agents send here to a prefix, whether it is bound here or not."""
        if prefix not in self._admitted:
            self._admitted.add(prefix)
            self._emit(Admit(prefix))

    def dismiss(self, prefix: Prefix) -> None:
        """Let it in no more, unless by a binding: that is for the caller to say again."""
        if prefix in self._admitted:
            self._admitted.remove(prefix)
            self._emit(Dismiss(prefix))

    def watch(self, prefix: Prefix) -> None:
        """Have the packets counted that other Home Agents send here to a prefix."""
        if prefix not in self._watched:
            self._watched.add(prefix)
            self._emit(Watch(prefix))

    def unwatch(self, prefix: Prefix) -> None:
        """Have them counted no more."""
        if prefix in self._watched:
            self._watched.remove(prefix)
            self._emit(Unwatch(prefix))

    def rebind(self, before: Binding | None, after: Binding | None) -> None:
        """A binding has been made, changed or ended."""
        self._emit(Rebind(before, after))
