"""What each further site is worth: path stretch against the number of sites.

Sites are added one at a time, each time the one that brings mobile routers and correspondents together
closest to their sites; a satellite comes after its parent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .fleet import Fleet, primary_sites
from .geography import Floats
from .paths import Pairs, pairs_of, paths
from .variants import Variant
from .world import World

_SAMPLE = 20_000
"""Pairs that are looked at: enough for a mean to three digits."""


@dataclass(frozen=True, slots=True)
class StretchBySites:
    """Mean stretch of the round trip."""

    order: tuple[str, ...]
    """The sites as they were added."""
    means: dict[Variant, tuple[float, ...]]
    """With the first site, with the first two, and so on."""

    def rows(self) -> Iterator[tuple[tuple[str, ...], dict[Variant, float]]]:
        """For each number of sites, which these are and the mean stretch of each variant."""
        for count in range(1, len(self.order) + 1):
            yield self.order[:count], {one: means[count - 1] for one, means in self.means.items()}


def stretch_by_sites(fleet: Fleet, world: World, km: Floats) -> StretchBySites:
    """For every number of sites of this world. Basic NEMO keeps its Home Agent at the first of them."""
    every = pairs_of(fleet, world, km)
    step = max(len(every.city) // _SAMPLE, 1)
    talker = fleet.talker[::step]
    place, city = every.place[::step], every.city[::step]
    chosen: list[int] = []
    means: dict[Variant, list[float]] = {variant: [] for variant in Variant}
    near = np.full((2, len(city)), np.inf)
    reach = np.stack([world.to_sites(place), world.from_city[city]])
    while len(chosen) < len(world.names):
        best = _most_useful(world, chosen, near, reach)
        chosen.append(best)
        near = np.minimum(near, reach[:, :, best])
        some = world.only(np.array(chosen))
        pairs = Pairs(place, city, primary_sites(some, fleet)[talker])
        for variant, found in means.items():
            found.append(float(paths(variant, some, pairs, 0).stretch.mean()))
    order = tuple(world.names[site] for site in chosen)
    return StretchBySites(order, {variant: tuple(found) for variant, found in means.items()})


def _most_useful(world: World, chosen: list[int], near: Floats, reach: Floats) -> int:
    ready = [
        site
        for site in range(len(world.names))
        if site not in chosen and (world.parent[site] == site or world.parent[site] in chosen)
    ]
    return min(ready, key=lambda site: float(np.minimum(near, reach[:, :, site]).sum()))
