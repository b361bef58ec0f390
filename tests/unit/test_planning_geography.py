"""Distances, against what atlases say, and where things are closest."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from haha_exabgp.sim.planning.cities import cities
from haha_exabgp.sim.planning.geography import Delay, along, degrees, distance, distances, positions
from haha_exabgp.sim.planning.journeys import build_journeys
from tests.unit.planning_world import QUARTER_KM, km

PLACES = st.tuples(st.floats(-89, 89), st.floats(-180, 180))


def between(one: str, other: str) -> float:
    a, b = cities()[one], cities()[other]
    places = positions([a.latitude, b.latitude], [a.longitude, b.longitude])
    return float(distance(places[0], places[1]))


@pytest.mark.parametrize(
    ("one", "other", "published"),
    [
        ("London", "New York", 5570),
        ("Paris", "London", 344),
        ("Los Angeles", "New York", 3936),
        ("Sydney", "Auckland", 2156),
        ("Tokyo", "Sydney", 7823),
        ("Singapore", "London", 10852),
        ("Moscow", "Dubai", 3687),
        ("Buenos Aires", "Auckland", 10340),
    ],
)
def test_distances_between_cities_are_those_of_an_atlas(one: str, other: str, published: float) -> None:
    """Published great-circle distances; city centres differ by a few kilometres from list to list."""
    assert between(one, other) == pytest.approx(published, rel=0.01)


def test_every_pair_of_cities_agrees_with_the_haversine_formula() -> None:
    places = positions(
        [one.latitude for one in cities().values()], [one.longitude for one in cities().values()]
    )
    computed = distances(places, places)
    for row, one in enumerate(cities()):
        for column, other in enumerate(cities()):
            assert computed[row, column] == pytest.approx(km(one, other), abs=1e-6)


def test_cities_are_spread_evenly_over_the_continents() -> None:
    assert set(Counter(one.continent for one in cities().values()).values()) == {14}
    assert len({one[1:] for one in cities().values()}) == 84


def test_light_in_fibre_needs_a_millisecond_for_200_km() -> None:
    delay = Delay(path_factor=1.5, last_mile_ms=5)
    assert delay.one_way(np.array([1000.0]))[0] == pytest.approx(7.505, abs=0.001)


@given(PLACES, PLACES, st.floats(0, 1))
def test_a_place_on_the_way_is_as_far_along_as_was_asked(
    one: tuple[float, float], other: tuple[float, float], part: float
) -> None:
    start, end = positions(*one), positions(*other)
    whole = float(distance(start, end))
    assume(0.001 < whole < 20_000)  # between opposite places there is no one way
    place = along(start, end, np.array(whole * part))
    assert float(distance(start, place)) == pytest.approx(whole * part, abs=0.01)
    assert float(distance(place, end)) == pytest.approx(whole * (1 - part), abs=0.01)


@given(PLACES)
def test_degrees_come_back(place: tuple[float, float]) -> None:
    latitude, longitude = degrees(positions(*place))
    assert float(latitude) == pytest.approx(place[0], abs=1e-6)
    assert float(np.cos(np.radians(longitude - place[1]))) == pytest.approx(1)


def test_the_boundary_between_two_sites_on_the_equator_is_half_way() -> None:
    """There and back it is crossed twice; beyond the last one the journey begins anew."""
    ends = positions([0, 0], [0, 90])
    journeys = build_journeys(ends[:1], ends[1:], ends)
    route = np.zeros(5, dtype=int)
    at = np.array([0.0, 0.49, 0.51, 1.49, 1.51]) * QUARTER_KM
    assert journeys.site(route, at).tolist() == [0, 0, 1, 1, 0]
    ahead, where, beyond = journeys.next_boundary(route, at)
    assert (ahead / QUARTER_KM).tolist() == pytest.approx([0.5, 0.01, 0.99, 0.01, 0.99], abs=1e-4)
    assert (where / QUARTER_KM).tolist() == pytest.approx([0.5, 0.5, 1.5, 1.5, 0.5], abs=1e-4)
    assert beyond.tolist() == [1, 1, 0, 0, 1]


def test_a_route_in_the_region_of_one_site_has_no_boundary() -> None:
    ends = positions([0, 0], [0, 20])
    journeys = build_journeys(ends[:1], ends[1:], positions([0, 0], [10, 120]))
    ahead, _, _ = journeys.next_boundary(np.zeros(1, dtype=int), np.zeros(1))
    assert ahead[0] == np.inf


@given(st.integers(1, 10_000), st.lists(st.floats(0, 0.999), min_size=3, max_size=3))
def test_the_closest_site_of_a_journey_is_the_closest_on_the_map(seed: int, parts: list[float]) -> None:
    random = np.random.default_rng(seed)
    places = random.normal(size=(9, 3))
    places /= np.linalg.norm(places, axis=1)[:, None]
    starts, ends, sites = places[:3], places[3:6], places[6:]
    journeys = build_journeys(starts, ends, sites)
    route = np.arange(3)
    at = np.array(parts) * 2 * journeys.length
    apart = distances(journeys.places(route, at), sites)
    chosen = apart[route, journeys.site(route, at)]
    # Boundaries are interpolated between looks 10 km apart.
    assert np.all(chosen <= apart.min(axis=1) + 10)
