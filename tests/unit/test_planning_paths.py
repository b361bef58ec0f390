"""Which way packets go in each variant, against sums of distances written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.sim.planning.fleet import build_fleet
from haha_exabgp.sim.planning.paths import pairs_of, paths
from haha_exabgp.sim.planning.site_count import stretch_by_sites
from haha_exabgp.sim.planning.topology import load_topology
from haha_exabgp.sim.planning.variants import Variant
from haha_exabgp.sim.planning.world import World, build_world
from tests.unit.planning_world import LAST_MILE, SHIPPED, THREE_SITES, km, loaded, ms, pair, world_of

BASIC, PARTITIONED, LEAKS, PROJECTION = Variant
_TOPOLOGY = load_topology(SHIPPED).topology


def ways(world: World, mobile: str, correspondent: str, primary: str) -> dict[Variant, tuple[float, float]]:
    """Towards the mobile router and back, without the two last miles."""
    found = {}
    for variant in Variant:
        one = paths(variant, world, pair(world, mobile, correspondent, primary), world.names.index("tokyo"))
        found[variant] = (one.towards_mobile[0] - 2 * LAST_MILE, one.from_mobile[0] - 2 * LAST_MILE)
    return found


def expect(found: dict[Variant, tuple[float, float]], **towards: float) -> None:
    assert {one.name.lower(): way[0] for one, way in found.items()} == pytest.approx(towards)


def test_away_from_home_with_a_correspondent_elsewhere(tmp_path: Path) -> None:
    """Home Tokyo, bound at Sydney while above Auckland; the correspondent in Paris comes in at London."""
    found = ways(world_of(tmp_path), "Auckland", "Paris", "tokyo")
    expect(
        found,
        basic_nemo=ms("Paris", "Tokyo", "Auckland"),
        partitioned=ms("Paris", "London", "Tokyo", "Sydney", "Auckland"),
        leaks=ms("Paris", "London", "Sydney", "Auckland"),
        projection=ms("Paris", "London", "Sydney", "Auckland"),
    )
    back = {variant: way[1] for variant, way in found.items()}
    assert back[BASIC] == pytest.approx(ms("Paris", "Tokyo", "Auckland"))
    for variant in (PARTITIONED, LEAKS, PROJECTION):
        assert back[variant] == pytest.approx(ms("Auckland", "Sydney", "Paris"))


def test_bound_at_a_satellite(tmp_path: Path) -> None:
    """Inside the Home the way to Singapore leads over its parent, without leaks over the primary first."""
    found = ways(world_of(tmp_path), "Jakarta", "Paris", "tokyo")
    expect(
        found,
        basic_nemo=ms("Paris", "Tokyo", "Jakarta"),
        partitioned=ms("Paris", "London", "Tokyo", "Sydney", "Singapore", "Jakarta"),
        leaks=ms("Paris", "London", "Sydney", "Singapore", "Jakarta"),
        projection=ms("Paris", "London", "Singapore", "Jakarta"),
    )


def test_a_correspondent_near_a_satellite(tmp_path: Path) -> None:
    """What comes in at Singapore goes up to its parent first, unless an on-demand route leads straight on."""
    found = ways(world_of(tmp_path), "Dublin", "Bangkok", "tokyo")
    expect(
        found,
        basic_nemo=ms("Bangkok", "Tokyo", "Dublin"),
        partitioned=ms("Bangkok", "Singapore", "Sydney", "Tokyo", "London", "Dublin"),
        leaks=ms("Bangkok", "Singapore", "Sydney", "London", "Dublin"),
        projection=ms("Bangkok", "Singapore", "London", "Dublin"),
    )


def test_a_parent_on_the_way_delivers_what_is_bound_there(tmp_path: Path) -> None:
    """Bound at Sydney, Home Tokyo: from Singapore all goes through Sydney anyway."""
    found = ways(world_of(tmp_path), "Auckland", "Bangkok", "tokyo")
    straight = ms("Bangkok", "Singapore", "Sydney", "Auckland")
    assert found[PARTITIONED][0] == found[LEAKS][0] == found[PROJECTION][0] == pytest.approx(straight)


def test_there_is_no_on_demand_route_to_a_primary(tmp_path: Path) -> None:
    """Bound at London, its primary: from Singapore the parent stays in the way."""
    found = ways(world_of(tmp_path), "Dublin", "Bangkok", "london")
    way = ms("Bangkok", "Singapore", "Sydney", "London", "Dublin")
    assert found[PARTITIONED][0] == found[LEAKS][0] == found[PROJECTION][0] == pytest.approx(way)


@pytest.mark.parametrize("primary", ["london", "tokyo"])
def test_both_at_one_site_stay_there(tmp_path: Path, primary: str) -> None:
    found = ways(world_of(tmp_path), "Dublin", "Paris", primary)
    for variant in (PARTITIONED, LEAKS, PROJECTION):
        assert found[variant] == pytest.approx(
            (ms("Paris", "London", "Dublin"), ms("Dublin", "London", "Paris"))
        )


def test_stretch_is_of_the_delay_with_last_miles(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    one = paths(LEAKS, world, pair(world, "Auckland", "Paris", "tokyo"), 0)
    straight = ms("Paris", "Auckland") + 2 * LAST_MILE
    there = ms("Paris", "London", "Sydney", "Auckland") + 2 * LAST_MILE
    back = ms("Auckland", "Sydney", "Paris") + 2 * LAST_MILE
    assert one.stretch[0] == pytest.approx((there + back) / (2 * straight))
    assert one.stretch_towards_mobile[0] == pytest.approx(there / straight)
    assert one.extra[0] == pytest.approx(there + back - 2 * straight)


def test_measured_round_trips_take_the_place_of_the_map(tmp_path: Path) -> None:
    (tmp_path / "rtt.csv").write_text(",london,Paris\ntokyo,222,\nlondon,,9\n")
    world = build_world(
        loaded(tmp_path, THREE_SITES.replace("last_mile: 4", "last_mile: 4, matrix: rtt.csv"))
    )
    london, tokyo, sydney = 0, 1, 2
    assert world.direct[london, tokyo] == world.direct[tokyo, london] == 111
    assert world.direct[london, sydney] == pytest.approx(ms("London", "Sydney"))
    found = ways(world, "Auckland", "Paris", "tokyo")
    assert found[PARTITIONED][0] == pytest.approx(4.5 + 111 + ms("Tokyo", "Sydney", "Auckland"))


@pytest.fixture(scope="module")
def shipped() -> World:
    return build_world(load_topology(SHIPPED))


@pytest.mark.parametrize("seed", range(4))
def test_no_variant_beats_the_great_circle_and_each_shortens_the_one_before(
    shipped: World, seed: int
) -> None:
    fleet = build_fleet(_TOPOLOGY, shipped, 3000, np.random.default_rng(seed))
    pairs = pairs_of(fleet, shipped, fleet.km)
    found = {variant: paths(variant, shipped, pairs, 3) for variant in Variant}
    rounding = 1e-9
    for one in found.values():
        assert np.all(one.towards_mobile >= one.straight - rounding)
        assert np.all(one.from_mobile >= one.straight - rounding)
    assert np.all(found[LEAKS].towards_mobile <= found[PARTITIONED].towards_mobile + rounding)
    assert np.all(found[PROJECTION].towards_mobile <= found[LEAKS].towards_mobile + rounding)


@given(st.sets(st.integers(0, 8), min_size=1), st.integers(0, 8))
def test_a_further_site_is_never_a_longer_way_to_the_closest(
    shipped: World, some: set[int], further: int
) -> None:
    places = shipped.city_places
    few = shipped.only(np.array(sorted(some)))
    more = shipped.only(np.array(sorted(some | {further})))
    assert np.all(more.to_sites(places).min(axis=1) <= few.to_sites(places).min(axis=1) + 1e-12)
    assert np.all(more.from_city.min(axis=1) <= few.from_city.min(axis=1) + 1e-12)


def test_some_sites_of_a_world_keep_their_distances(shipped: World) -> None:
    """Satellites of a smaller world still hang under their parents."""
    numbers = np.array([shipped.names.index(name) for name in ("honolulu", "tokyo", "los-angeles")])
    some = shipped.only(numbers)
    assert some.names == ("honolulu", "tokyo", "los-angeles")
    assert some.parent.tolist() == [2, 1, 2]
    assert some.share.tolist() == pytest.approx([0, 0.5, 0.5])
    assert some.haha[0, 1] == pytest.approx(shipped.haha[numbers[0], numbers[1]])


def test_sites_are_added_by_use_and_satellites_after_their_parents(shipped: World) -> None:
    fleet = build_fleet(_TOPOLOGY, shipped, 2000, np.random.default_rng(1))
    found = stretch_by_sites(fleet, shipped, fleet.km)
    assert sorted(found.order) == sorted(shipped.names)
    for name, parent in (
        ("reykjavik", "frankfurt"),
        ("nairobi", "johannesburg"),
        ("honolulu", "los-angeles"),
    ):
        assert found.order.index(parent) < found.order.index(name)
    # One site is one Home Agent, however it is called; with all of them it is what the whole world gives.
    assert len({round(means[0], 9) for means in found.means.values()}) == 1
    assert len({round(mean, 9) for mean in found.means[BASIC]}) == 1
    pairs = pairs_of(fleet, shipped, fleet.km)
    assert found.means[LEAKS][-1] == pytest.approx(paths(LEAKS, shipped, pairs, 0).stretch.mean())


def test_the_distances_of_this_file_are_not_those_under_test() -> None:
    assert km("London", "Tokyo") == pytest.approx(9560, rel=0.01)
