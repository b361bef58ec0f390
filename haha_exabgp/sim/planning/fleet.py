"""The mobile routers: where each travels, whose it is, whom it talks to. All of it is drawn from one seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .cities import cities
from .city_pairs import city_pairs
from .geography import Floats, Ints, Truths, distances
from .journeys import Journeys, build_journeys
from .schema import HomeChoice, Topology
from .world import World


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Arrays with one row a mobile router, but for `journeys` and the pairs."""

    journeys: Journeys
    group: Ints
    """In the order of the topology."""
    route: Ints
    km: Floats
    """Where it is when the clock starts (see `Journeys`)."""
    cell_km: Floats
    """How far it is then to its next access cell; infinite where there are none."""
    home: Floats
    """From 0 to 1: stands for its primary site (see `primary_sites`)."""
    home_is_close: Truths
    """Its primary site is the one closest to an end of its route."""
    talker: Ints
    correspondent: Ints
    """Who talks to whom: pairs of a mobile router and a city, by mobile router."""
    speed: Floats
    """Kilometres a second."""
    cell: Floats
    lifetime: Floats
    prefixes: Ints

    def __len__(self) -> int:
        return len(self.group)


def build_fleet(topology: Topology, world: World, count: int, random: np.random.Generator) -> Fleet:
    """`count` mobile routers of the groups of a topology."""
    groups = list(topology.mobiles.values())
    pairs = [city_pairs(group) for group in groups]
    number = {name: index for index, name in enumerate(cities())}
    ends = np.array([(number[one], number[other]) for group in pairs for one, other in group])
    begin = np.cumsum([0, *map(len, pairs)])
    group = random.choice(len(groups), size=count, p=_parts(one.share for one in groups))
    sizes = np.array([len(one) for one in pairs])
    drawn = begin[group] + (random.random(count) * sizes[group]).astype(np.int64)
    used, route = np.unique(drawn, return_inverse=True)
    start, end = world.city_places[ends[used].T]
    journeys = build_journeys(start, end, world.places)
    km = random.random(count) * 2 * journeys.length[route]
    cell = np.array([one.cell or np.inf for one in groups])[group]
    cell_km = (1 - random.random(count)) * np.where(np.isinf(cell), 1, cell)
    talks = np.array([one.correspondents for one in groups])[group]
    return Fleet(
        journeys=journeys,
        group=group,
        route=route,
        km=km,
        cell_km=np.where(np.isinf(cell), np.inf, cell_km),
        home=random.random(count),
        home_is_close=np.array([one.home is HomeChoice.CLOSEST for one in groups])[group],
        talker=np.repeat(np.arange(count), talks),
        correspondent=random.choice(len(number), size=int(talks.sum()), p=_weights(topology)),
        speed=np.array([one.speed / 3600 for one in groups])[group],
        cell=cell,
        lifetime=np.array([float(one.lifetime) for one in groups])[group],
        prefixes=np.array([one.prefixes for one in groups])[group],
    )


def primary_sites(world: World, fleet: Fleet) -> Ints:
    """The primary site of each mobile router, among the sites of a world."""
    primary = np.flatnonzero(world.is_primary)
    ends = np.where(fleet.home < 0.5, 0, 1)
    closest = np.stack(
        [
            primary[np.argmin(distances(places, world.places[primary]), axis=1)]
            for places in (fleet.journeys.start, fleet.journeys.end)
        ]
    )
    return np.where(fleet.home_is_close, closest[ends, fleet.route], _by_share(world, fleet.home))


def _by_share(world: World, home: Floats) -> Ints:
    edges = np.cumsum(world.share)
    last = int(np.flatnonzero(world.share)[-1])
    sites: Ints = np.minimum(np.searchsorted(edges, home * edges[-1], side="right"), last)
    return sites


def _weights(topology: Topology) -> Floats:
    """How likely each city has the correspondent: all alike where the topology says nothing."""
    if not topology.correspondents:
        return _parts(1.0 for _ in cities())
    return _parts(topology.correspondents.get(name, 0.0) for name in cities())


def _parts(weights: Iterable[float]) -> Floats:
    values = np.array(list(weights))
    parts: Floats = values / values.sum()
    return parts
