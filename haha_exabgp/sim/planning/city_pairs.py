"""Between which cities a group of mobile routers goes."""

from __future__ import annotations

from itertools import combinations

from .cities import cities
from .geography import distances, positions
from .schema import Group


def city_pairs(group: Group) -> list[tuple[str, str]]:
    """The ends of every route of the group: those it names, else all pairs of its cities (of all cities
    where it names none) that are as far apart as it says."""
    if group.routes is not None:
        return [(route.start, route.end) for route in group.routes]
    names = group.cities if group.cities is not None else list(cities())
    places = positions(
        [cities()[name].latitude for name in names], [cities()[name].longitude for name in names]
    )
    apart = distances(places, places)
    return [
        (names[one], names[other])
        for one, other in combinations(range(len(names)), 2)
        if group.min_distance <= apart[one, other] <= group.max_distance
    ]
