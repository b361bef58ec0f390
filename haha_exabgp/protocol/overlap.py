"""The way that packets took before a mobile router went to a proxy stays open a moment longer.

The primary answers the proxy, and only then the proxy makes its tunnel (draft s.5.2.2): what the primary sent
there at once would come too early. While the mobile router's own care-of address has not changed, as when it
was told to switch or has told us of its move first, the tunnel from here to it is as good as before. So its
routes stay until the proxy has had time; being preferred to those by the proxy they need only be there.
Not so behind another mobile router: who is behind whom is judged by bindings (`nesting.py`), and these routes
have none.
"""

from __future__ import annotations

from ..wire.address import Address, Prefix
from .binding import Binding
from .deadlines import Deadlines
from .routes import KernelRoute, Metric
from .wanted import WantedState

OVERLAP = 0.5
"""Seconds: twice around the world, and some for the proxy."""


class Overlaps:
    """Those of one Home Agent, by home address. Times are on the monotonic clock."""

    def __init__(self, home: Prefix, wanted: WantedState) -> None:
        self._home = home
        self._wanted = wanted
        self._routes: dict[Address, list[KernelRoute]] = {}
        self._ends: Deadlines[Address] = Deadlines()

    def begin(self, before: Binding, now: float) -> None:
        """To be called in the same turn, and after what takes the routes of the former binding away."""
        home_address, exit_ = before.home_address, before.care_of_address
        if self._home.contains(exit_):
            return
        routes = [KernelRoute(prefix, Metric.BINDING, exit_) for prefix in before.routes()]
        for route in routes:
            self._wanted.set_route(route)
        self._routes[home_address] = routes
        self._ends.set(home_address, now + OVERLAP)

    def end(self, home_address: Address) -> None:
        """At once, if there is one."""
        routes = self._routes.pop(home_address, None)
        if routes is not None:
            self._ends.cancel(home_address)
            for route in routes:
                self._wanted.clear_route(route.prefix, route.metric)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next."""
        return self._ends.next()

    def handle_timer(self, now: float) -> None:
        """End those that are over."""
        for home_address in self._ends.due(now):
            self.end(home_address)
