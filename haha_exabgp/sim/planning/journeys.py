"""Journeys: great circles between two cities, there and back for ever, and which site is closest where.

Where a mobile router is on its journey is told in kilometres from the first city, of the way there and the
way back together. Of each route the site boundaries are found once, however many mobile routers are on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geography import Floats, Ints, along, distance

_STEP_KM = 10.0
"""Between two looks at which site is closest. Between them a boundary is interpolated; a site that is closest
for less than this may be missed."""
_SPAN_KM = 50_000.0
"""More than the longest way there and back: keeps the boundaries of one route apart from the next one's."""


@dataclass(frozen=True, slots=True, eq=False)
class Journeys:
    """All routes, by number."""

    start: Floats
    end: Floats
    """Places of the two cities, shape (routes, 3)."""
    length: Floats
    """Kilometres one way."""
    boundaries: Floats
    """Of all routes in one row, rising: number of the route * _SPAN_KM + kilometres there and back. An
    infinite one stands behind the last."""
    beyond: Ints
    """The site that is closest behind each of these."""
    first: Ints
    """Where the boundaries of each route begin, and at the end how many there are."""
    site_at_start: Ints

    def places(self, route: Ints, km: Floats) -> Floats:
        """The positions on these routes, shape (n, 3)."""
        length = self.length[route]
        return along(self.start[route], self.end[route], np.where(km <= length, km, 2 * length - km))

    def site(self, route: Ints, km: Floats) -> Ints:
        """Which site is closest there."""
        before = np.searchsorted(self.boundaries, route * _SPAN_KM + km, side="right") - 1
        crossed = before >= self.first[route]
        closest: Ints = np.where(crossed, self.beyond[before], self.site_at_start[route])
        return closest

    def next_boundary(self, route: Ints, km: Floats) -> tuple[Floats, Floats, Ints]:
        """Kilometres to the next site boundary, where it stands, and the site behind it; infinitely far where
        a route has none."""
        after = np.searchsorted(self.boundaries, route * _SPAN_KM + km, side="right")
        wraps = after >= self.first[route + 1]
        after = np.where(wraps, self.first[route], after)
        none = self.first[route] == self.first[route + 1]
        at = self.boundaries[after] - route * _SPAN_KM
        ahead = at - km + np.where(wraps, 2 * self.length[route], 0.0)
        return np.where(none, np.inf, ahead), at, self.beyond[after]


def build_journeys(start: Floats, end: Floats, sites: Floats) -> Journeys:
    """The journeys between cities at `start` and `end`, among sites at `sites`; shapes (routes, 3), (sites,
    3)."""
    length = distance(start, end)
    boundaries: list[Floats] = []
    beyond: list[Ints] = []
    first = [0]
    site_at_start = np.zeros(len(length), dtype=np.int64)
    for route, km in enumerate(length):
        at, sequence = _crossings(start[route], end[route], float(km), sites)
        site_at_start[route] = sequence[0]
        # The way back crosses the same boundaries the other way round.
        boundaries.append(np.concatenate([at, 2 * km - at[::-1]]) + route * _SPAN_KM)
        beyond.append(np.concatenate([sequence[1:], sequence[:-1][::-1]]))
        first.append(first[-1] + 2 * len(at))
    return Journeys(
        start=start,
        end=end,
        length=length,
        boundaries=np.concatenate([*boundaries, [np.inf]]),
        beyond=np.concatenate([*beyond, [0]]),
        first=np.array(first),
        site_at_start=site_at_start,
    )


def _crossings(start: Floats, end: Floats, length: float, sites: Floats) -> tuple[Floats, Ints]:
    """Kilometres at which another site becomes closest, and the sites in a row, one more than these."""
    looks = np.linspace(0, length, max(int(np.ceil(length / _STEP_KM)) + 1, 2))
    shape = (len(looks), 3)
    places = along(np.broadcast_to(start, shape), np.broadcast_to(end, shape), looks)
    closeness = places @ sites.T
    closest = np.argmax(closeness, axis=1)
    changes = np.flatnonzero(np.diff(closest))
    before, after = closest[changes], closest[changes + 1]
    lead = closeness[changes, before] - closeness[changes, after]
    lag = closeness[changes + 1, after] - closeness[changes + 1, before]
    whole = lead + lag
    part = np.where(whole > 0, lead / np.where(whole > 0, whole, 1), 0.5)
    at = looks[changes] + part * (looks[changes + 1] - looks[changes])
    return at, np.concatenate([closest[:1], after])
