"""Small topologies, and distances by another formula than the one under test."""

from __future__ import annotations

from itertools import pairwise
from math import asin, cos, radians, sin, sqrt
from pathlib import Path

import numpy as np

from haha_exabgp.sim.planning.cities import cities
from haha_exabgp.sim.planning.fleet import Fleet
from haha_exabgp.sim.planning.journeys import Journeys, build_journeys
from haha_exabgp.sim.planning.paths import Pairs
from haha_exabgp.sim.planning.topology import LoadedTopology, load_topology
from haha_exabgp.sim.planning.world import World, build_world

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "examples" / "world-topology.yaml"

THREE_SITES = """\
sites:
  london: {city: London}
  tokyo: {city: Tokyo}
  sydney: {city: Sydney}
  singapore: {city: Singapore, role: satellite, parent: sydney}
mobiles:
  aircraft: {speed: 900, cell: 300}
latency: {path_factor: 1.5, last_mile: 4}
"""
"""Three primary sites, and a satellite of one."""
SITES = ("london", "tokyo", "sydney", "singapore")
LAST_MILE = 4.0
QUARTER_KM = 6371.0088 * np.pi / 2
"""From the pole to the equator."""


def km(one: str, other: str) -> float:
    """Between two cities, by the haversine formula."""
    a, b = cities()[one], cities()[other]
    height, width = radians(b.latitude - a.latitude), radians(b.longitude - a.longitude)
    half = sin(height / 2) ** 2 + cos(radians(a.latitude)) * cos(radians(b.latitude)) * sin(width / 2) ** 2
    return 2 * 6371.0088 * asin(sqrt(half))


def ms(*stops: str) -> float:
    """One way over these cities in the three-site world, without last miles: 1.5 times the way, 200 km/ms."""
    return sum(km(one, other) for one, other in pairwise(stops)) * 1.5 / (299.792458 * 2 / 3)


def loaded(directory: Path, text: str = THREE_SITES) -> LoadedTopology:
    file = directory / "topology.yaml"
    file.write_text(text)
    return load_topology(file)


def world_of(directory: Path, text: str = THREE_SITES) -> World:
    return build_world(loaded(directory, text))


def city(name: str) -> int:
    return list(cities()).index(name)


def pair(world: World, mobile: str, correspondent: str, primary: str) -> Pairs:
    """A mobile router above one city, a correspondent in another."""
    return Pairs(
        world.city_places[[city(mobile)]],
        np.array([city(correspondent)]),
        np.array([world.names.index(primary)]),
    )


def one_mobile(
    journeys: Journeys,
    *,
    speed: float,
    lifetime: float = 600.0,
    cell: float = np.inf,
    correspondents: tuple[str, ...] = (),
) -> Fleet:
    """One mobile router, with a prefix, at the start of the first route. `speed` in kilometres a second."""
    return Fleet(
        journeys=journeys,
        group=np.zeros(1, dtype=int),
        route=np.zeros(1, dtype=int),
        km=np.zeros(1),
        cell_km=np.array([cell]),
        home=np.zeros(1),
        home_is_close=np.zeros(1, dtype=bool),
        talker=np.zeros(len(correspondents), dtype=int),
        correspondent=np.array([city(one) for one in correspondents], dtype=int),
        speed=np.array([speed]),
        cell=np.array([cell]),
        lifetime=np.array([lifetime]),
        prefixes=np.ones(1, dtype=int),
    )


def journey(world: World, start: str, end: str) -> Journeys:
    """One route between two cities, among the sites of a world."""
    places = world.city_places
    return build_journeys(places[[city(start)]], places[[city(end)]], world.places)
