"""Every Binding Update that the mobile routers send within some hours, and why.

Each is due half a lifetime after the one before, or at a change of attachment: at the boundary of a site's
region, where another one becomes closest, or of an access cell inside it. A proxy acknowledges by itself as
long as half of what the primary granted is left, as `protocol/proxy.py` does; the one after that goes up to
the primary.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from .fleet import Fleet
from .geography import Floats, Ints, Truths

MAX_UPDATES = 20_000_000
"""More of them are not simulated: they take 4 GB of memory."""
_ROUNDING = 1e-6
"""Seconds."""


class Cause(IntEnum):
    """What a Binding Update is sent for."""

    REFRESH = 0
    LOCAL_MOVE = 1
    """Another care-of address under the same site."""
    SITE_MOVE = 2
    """Another site."""


@dataclass(frozen=True, slots=True, eq=False)
class Updates:
    """Arrays with one row a Binding Update, in no order."""

    mobile: Ints
    cause: Ints
    site: Ints
    """The closest site, which gets it."""
    former: Ints
    """The closest site before."""
    upstream: Truths
    """The site is a proxy and registers with the primary."""
    km: Floats
    """Where on its journey the mobile router is then."""
    final_site: Ints
    """The closest site of each mobile router when the clock stops: one row a mobile router."""
    final_km: Floats

    def pick(self, wanted: Truths | Ints) -> Updates:
        """Some of them, by truth or by number."""
        return Updates(
            self.mobile[wanted],
            self.cause[wanted],
            self.site[wanted],
            self.former[wanted],
            self.upstream[wanted],
            self.km[wanted],
            self.final_site,
            self.final_km,
        )


def expected_updates(fleet: Fleet, seconds: float) -> float:
    """About how many there will be, to know before they fill the memory."""
    often = 2 / fleet.lifetime + fleet.speed / fleet.cell
    return float(often.sum() * seconds)


def send_updates(fleet: Fleet, primary: Ints, seconds: float, random: np.random.Generator) -> Updates:
    """Let `seconds` pass. All mobile routers are bound when the clock starts. `primary`: the primary site of
    each."""
    clock = _Clock(fleet, primary, random)
    rows: list[tuple[Ints, Ints, Ints, Ints, Truths, Floats]] = []
    while len(clock.running):
        row = clock.step(seconds)
        rows.append(row)
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    mobile, cause, site, former, upstream, km = columns
    return Updates(mobile, cause, site, former, upstream, km, clock.site, clock.km)


class _Clock:
    """Where all mobile routers are. Every step takes each to its next Binding Update."""

    def __init__(self, fleet: Fleet, primary: Ints, random: np.random.Generator) -> None:
        self._fleet = fleet
        self._primary = primary
        count = len(fleet)
        self._time = np.zeros(count)
        self.km = fleet.km.copy()
        self._cell_km = fleet.cell_km.copy()
        self.site = fleet.journeys.site(fleet.route, fleet.km)
        half = fleet.lifetime / 2
        age = random.random(count) * half
        cells = np.isfinite(fleet.cell)
        since_cell = (fleet.cell[cells] - fleet.cell_km[cells]) / fleet.speed[cells]
        age[cells] = np.mod(since_cell, half[cells])
        self._refresh_at = half - age
        self._granted = -age
        """When the primary granted what the proxy has: at first, with the last Binding Update of all."""
        self.running = np.arange(count)

    def step(self, seconds: float) -> tuple[Ints, Ints, Ints, Ints, Truths, Floats]:
        """The next Binding Update of everybody who sends one before `seconds`; the others stop there."""
        fleet, who = self._fleet, self.running
        route, speed = fleet.route[who], fleet.speed[who]
        ahead, boundary, beyond = fleet.journeys.next_boundary(route, self.km[who])
        cell_km, now = self._cell_km[who], self._time[who]
        waits = np.stack([self._refresh_at[who] - now, cell_km / speed, ahead / speed])
        cause = np.argmin(waits, axis=0)
        wait = np.minimum(waits[cause, np.arange(len(who))], seconds - now)
        ends = now + wait >= seconds
        crosses = (cause == Cause.SITE_MOVE) & ~ends
        moved = self.km[who] + wait * speed
        # Exactly on the boundary, else rounding would have it crossed twice.
        self.km[who] = np.where(crosses, boundary, np.mod(moved, 2 * fleet.journeys.length[route]))
        changes_cell = (cause == Cause.LOCAL_MOVE) & ~ends
        self._cell_km[who] = np.where(changes_cell, fleet.cell[who], cell_km - wait * speed)
        self._time[who] = now + wait
        former = self.site[who]
        self.site[who] = np.where(crosses, beyond, former)
        sends = ~ends
        self.running = who[sends]
        return self._send(who[sends], cause[sends], former[sends])

    def _send(self, who: Ints, cause: Ints, former: Ints) -> tuple[Ints, Ints, Ints, Ints, Truths, Floats]:
        now, half = self._time[who], self._fleet.lifetime[who] / 2
        self._refresh_at[who] = now + half
        site = self.site[who]
        direct = site == self._primary[who]
        used_up = now - self._granted[who] >= half - _ROUNDING
        upstream = ~direct & ((cause == Cause.SITE_MOVE) | used_up)
        self._granted[who] = np.where(direct | upstream, now, self._granted[who])
        return who, cause, site, former, upstream, self.km[who]
