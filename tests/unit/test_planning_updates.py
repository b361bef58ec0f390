"""When mobile routers send Binding Updates, where to, what follows: counted by hand for one of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from haha_exabgp.sim.planning.fleet import Fleet, build_fleet, primary_sites
from haha_exabgp.sim.planning.hand_over import gaps
from haha_exabgp.sim.planning.kinds import Kind, Scenario
from haha_exabgp.sim.planning.rehearsal import rehearse
from haha_exabgp.sim.planning.routes_held import routes_held
from haha_exabgp.sim.planning.run import Run
from haha_exabgp.sim.planning.schema import HandOver
from haha_exabgp.sim.planning.signalling import Load, signalling
from haha_exabgp.sim.planning.topology import load_topology
from haha_exabgp.sim.planning.updates import Cause, Updates, expected_updates, send_updates
from haha_exabgp.sim.planning.variants import Variant
from haha_exabgp.sim.planning.world import World, build_world
from tests.unit.planning_world import (
    LAST_MILE,
    SHIPPED,
    SITES,
    THREE_SITES,
    city,
    journey,
    km,
    ms,
    one_mobile,
    world_of,
)

BASIC, PARTITIONED, LEAKS, PROJECTION = Variant
HOUR = 3600.0
LONDON, TOKYO, SYDNEY, SINGAPORE = range(4)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_of(tmp_path)


def run(world: World, fleet: Fleet, primary: int, seconds: float = HOUR) -> Run:
    home = np.array([primary])
    updates = send_updates(fleet, home, seconds, np.random.default_rng(1))
    return Run(world, fleet, home, updates, seconds, home_agent=TOKYO)


def causes(updates: Updates) -> dict[Cause, int]:
    return {Cause(cause): count for cause, count in Counter(updates.cause.tolist()).items()}


def counts(load: Load) -> dict[Kind, int]:
    """Messages in the whole time."""
    rates = {kind: load.rate((kind,)) * load.seconds for kind in Kind}
    return {kind: round(rate) for kind, rate in rates.items() if rate}


def test_who_hardly_moves_refreshes_every_half_lifetime(world: World) -> None:
    fleet = one_mobile(journey(world, "Paris", "Rome"), speed=0.001, lifetime=600)
    away = run(world, fleet, TOKYO).updates
    assert causes(away) == {Cause.REFRESH: 12}
    assert away.upstream.all() and set(away.site) == {LONDON}
    assert not run(world, fleet, LONDON).updates.upstream.any()


def test_every_move_puts_the_refresh_off_and_every_third_one_goes_up_to_the_primary(world: World) -> None:
    """A cell of 10 km each 100 s, half a lifetime of 300 s."""
    fleet = one_mobile(journey(world, "Paris", "Rome"), speed=0.1, cell=10, lifetime=600)
    updates = run(world, fleet, TOKYO, HOUR + 1).updates
    assert causes(updates) == {Cause.LOCAL_MOVE: 36}
    assert updates.upstream.sum() == 12
    assert np.flatnonzero(updates.upstream).tolist() == list(range(2, 36, 3))


def test_there_and_back_every_boundary_is_crossed_twice(world: World) -> None:
    """London to Tokyo and back in an hour less a bit: away from home, and home again."""
    journeys = journey(world, "London", "Tokyo")
    fleet = one_mobile(journeys, speed=2 * km("London", "Tokyo") / 3590, lifetime=262_140)
    updates = run(world, fleet, LONDON).updates
    assert causes(updates) == {Cause.SITE_MOVE: 2}
    assert updates.former.tolist() == [LONDON, TOKYO]
    assert updates.site.tolist() == [TOKYO, LONDON]
    assert updates.upstream.tolist() == [True, False]
    # Where it changes, both are equally far.
    places = fleet.journeys.places(fleet.route[updates.mobile], updates.km)
    access = world.to_sites(places)
    assert access[:, LONDON] == pytest.approx(access[:, TOKYO], abs=0.01)


def test_binding_updates_are_as_many_as_was_expected() -> None:
    loaded = load_topology(SHIPPED)
    world = build_world(loaded)
    random = np.random.default_rng(3)
    fleet = build_fleet(loaded.topology, world, 5000, random)
    updates = send_updates(fleet, primary_sites(world, fleet), HOUR, random)
    assert 0.6 < len(updates.mobile) / expected_updates(fleet, HOUR) <= 1.05
    # And who is said to be the closest when the clock stops, is.
    access = world.to_sites(fleet.journeys.places(fleet.route, updates.final_km))
    rows = np.arange(len(fleet))
    assert np.all(access[rows, updates.final_site] <= access.min(axis=1) + 0.1)


def test_shares_are_those_of_the_topology() -> None:
    loaded = load_topology(SHIPPED)
    world = build_world(loaded)
    fleet = build_fleet(loaded.topology, world, 40_000, np.random.default_rng(4))
    aircraft = list(loaded.topology.mobiles).index("aircraft")
    drawn = primary_sites(world, fleet)[fleet.group == aircraft]
    shares = [one / 17 for one in (3, 3, 2, 1, 1, 2, 2, 2, 1, 0, 0, 0)]
    assert (np.bincount(drawn, minlength=12) / len(drawn)).tolist() == pytest.approx(shares, abs=0.012)
    assert (np.bincount(fleet.group) / len(fleet)).tolist() == pytest.approx([0.7, 0.2, 0.1], abs=0.01)


@pytest.mark.parametrize(
    ("start", "primary"), [("Dublin", LONDON), ("Seoul", TOKYO), ("Perth", SYDNEY), ("Jakarta", SYDNEY)]
)
def test_a_home_may_be_where_the_route_begins_or_ends(world: World, start: str, primary: int) -> None:
    """Jakarta is closest to a satellite, which has no partition."""
    fleet = one_mobile(journey(world, start, "Lima"), speed=1)
    assert primary_sites(world, fleet).tolist() == [LONDON]
    fleet.home_is_close[:] = True
    assert primary_sites(world, fleet).tolist() == [primary]
    fleet.home[:] = 0.75
    fleet.journeys.end[:] = world.city_places[city("Seoul")]
    assert primary_sites(world, fleet).tolist() == [TOKYO]


def test_messages_of_one_that_refreshes_through_a_proxy(world: World) -> None:
    fleet = one_mobile(
        journey(world, "Paris", "Rome"), speed=0.001, correspondents=("Sydney", "Suva", "Oslo")
    )
    simulated = run(world, fleet, TOKYO)
    basic = signalling(BASIC, simulated, 600)
    assert counts(basic) == {Kind.UPDATE: 12, Kind.ACKNOWLEDGEMENT: 12}
    assert basic.site_rates().tolist() == [0, 24 / HOUR, 0, 0]
    both = {Kind.UPDATE: 12, Kind.ACKNOWLEDGEMENT: 12, Kind.PROXY_UPDATE: 12, Kind.PROXY_ACKNOWLEDGEMENT: 12}
    partitioned = signalling(PARTITIONED, simulated, 600)
    assert counts(partitioned) == both == counts(signalling(LEAKS, simulated, 600))
    assert (partitioned.site_rates() * HOUR).tolist() == pytest.approx([48, 24, 0, 0])
    refresh = rehearse(1, 4).sent[Scenario.REFRESH_PROXY]
    assert partitioned.octet_rate() * HOUR == pytest.approx(12 * sum(one.octets for one in refresh))
    # Sydney alone is another site with correspondents, and asks London three times in 600 s.
    asked = both | {Kind.RESOLUTION_REQUEST: 18, Kind.RESOLUTION_REPLY: 18}
    projection = signalling(PROJECTION, simulated, 600)
    assert counts(projection) == asked
    assert (projection.site_rates((Kind.RESOLUTION_REQUEST,)) * HOUR).tolist() == pytest.approx(
        [18, 0, 18, 0]
    )
    # A longer holding time than its lifetime is of no use.
    assert counts(signalling(PROJECTION, simulated, 6000)) == asked
    assert counts(signalling(PROJECTION, simulated, 300))[Kind.RESOLUTION_REPLY] == 36


def test_who_asks_for_one_at_its_primary_is_told_so_every_half_minute(world: World) -> None:
    fleet = one_mobile(journey(world, "Paris", "Rome"), speed=0.001, correspondents=("Sydney", "Oslo"))
    found = counts(signalling(PROJECTION, run(world, fleet, LONDON), 600))
    assert found[Kind.RESOLUTION_REQUEST] == found[Kind.RESOLUTION_DENIED] == 120
    assert Kind.RESOLUTION_REPLY not in found


def test_a_primary_needs_no_on_demand_route(world: World) -> None:
    fleet = one_mobile(journey(world, "Paris", "Rome"), speed=0.001, correspondents=("Sydney",))
    assert Kind.RESOLUTION_REQUEST not in counts(signalling(PROJECTION, run(world, fleet, SYDNEY), 600))


def test_messages_of_a_move_away_and_back(world: World) -> None:
    """London is home; at Tokyo a leak is announced to both other primary sites, later withdrawn."""
    fleet = one_mobile(
        journey(world, "London", "Tokyo"),
        speed=2 * km("London", "Tokyo") / 3590,
        lifetime=262_140,
        correspondents=("Sydney", "Oslo"),
    )
    simulated = run(world, fleet, LONDON)
    moves = {
        # The Home Agent that it had is told first, then the closer one.
        Kind.UPDATE: 4,
        Kind.ACKNOWLEDGEMENT: 4,
        Kind.DISCOVERY_REQUEST: 2,
        Kind.DISCOVERY_REPLY: 2,
        Kind.PROXY_UPDATE: 1,
        Kind.PROXY_ACKNOWLEDGEMENT: 1,
        Kind.REVOCATION: 1,
        Kind.REVOCATION_ACKNOWLEDGEMENT: 1,
        Kind.SITE_ROUTE: 2,
        Kind.SITE_ROUTE_WITHDRAWN: 2,
    }
    assert counts(signalling(PARTITIONED, simulated, 262_140)) == moves
    leaks = signalling(LEAKS, simulated, 262_140)
    assert counts(leaks) == moves | {Kind.LEAK: 2, Kind.LEAK_WITHDRAWN: 2}
    assert (leaks.site_rates((Kind.LEAK,)) * HOUR).tolist() == pytest.approx([1, 2, 1, 0])
    # Sydney resolves when it is at Tokyo: asks London, then Tokyo, which takes it back at the end.
    projected = counts(signalling(PROJECTION, simulated, 262_140))
    assert projected[Kind.PURGE] == projected[Kind.PURGE_ACKNOWLEDGEMENT] == 1
    assert projected[Kind.RESOLUTION_REPLY] == 2


def test_a_parent_leaks_for_its_satellite_and_is_asked_to(world: World) -> None:
    fleet = one_mobile(journey(world, "Singapore", "Jakarta"), speed=0.001)
    partitioned = counts(signalling(PARTITIONED, run(world, fleet, TOKYO), 600))
    leaks = counts(signalling(LEAKS, run(world, fleet, TOKYO), 600))
    assert leaks[Kind.PROXY_UPDATE] == 2 * partitioned[Kind.PROXY_UPDATE] == 24
    # Home at Sydney, the parent: packets find it by its partition.
    assert counts(signalling(LEAKS, run(world, fleet, SYDNEY), 600))[Kind.PROXY_UPDATE] == 12


@pytest.mark.parametrize(
    ("place", "primary", "held"),
    [
        # A home address and a prefix where it is bound and at its primary, the prefix in a leak elsewhere.
        ("Dublin", LONDON, {BASIC: (0, 2, 0, 0), PARTITIONED: (2, 0, 0, 0), LEAKS: (2, 0, 0, 0)}),
        ("Dublin", TOKYO, {PARTITIONED: (2, 2, 0, 0), LEAKS: (2, 3, 1, 0), PROJECTION: (2, 2, 0, 2)}),
        ("Jakarta", TOKYO, {PARTITIONED: (0, 2, 0, 2), LEAKS: (1, 3, 2, 2), PROJECTION: (2, 2, 0, 2)}),
        ("Jakarta", SYDNEY, {PARTITIONED: (0, 0, 2, 2), LEAKS: (0, 0, 2, 2), PROJECTION: (2, 0, 2, 2)}),
    ],
)
def test_routes_held_for_one(
    world: World, place: str, primary: int, held: dict[Variant, tuple[int, ...]]
) -> None:
    """Its correspondents come in at London and Singapore."""
    fleet = one_mobile(
        journey(world, place, "Rome"), speed=0.0001, correspondents=("Bangkok", "Oslo", "Oslo")
    )
    simulated = run(world, fleet, primary)
    for variant, expected in held.items():
        assert tuple(routes_held(variant, simulated)) == expected, variant


def test_gaps_are_those_of_the_formula(world: World) -> None:
    """One move between sites, half way from London to Tokyo: home is Sydney."""
    fleet = one_mobile(
        journey(world, "London", "Tokyo"), speed=km("London", "Tokyo") / 3590, lifetime=262_140
    )
    simulated = run(world, fleet, SYDNEY)
    half_way = ms("London", "Tokyo") / 2
    access = 2 * (half_way + LAST_MILE)
    costs = HandOver(movement_detection=60, processing=2)
    found = gaps(PARTITIONED, simulated, costs)
    assert (found.local.count, found.between_sites.count) == (0, 1)
    # The way is not cut exactly in the middle: boundaries are interpolated within 10 km.
    assert found.between_sites.p50 == pytest.approx(60 + access + 2 + 2 * ms("Tokyo", "Sydney") + 2, abs=0.1)
    assert found.former_first.p50 == pytest.approx(60 + access + 2, abs=0.1)
    assert gaps(BASIC, simulated, costs).all_moves.p50 == pytest.approx(60 + access + 2, abs=0.1)
    slow = HandOver(movement_detection=60, processing=2, optimistic=False)
    assert gaps(PARTITIONED, simulated, slow).between_sites.p50 == found.between_sites.p50 + 1000
    # The leak leaves Tokyo for London and Sydney; London is further.
    assert gaps(LEAKS, simulated, costs).shortcut.p50 == pytest.approx(ms("Tokyo", "London"))


def test_a_local_move_takes_one_round_trip_to_the_closest_site(world: World) -> None:
    fleet = one_mobile(journey(world, "London", "Dublin"), speed=0.1, cell=100, lifetime=262_140)
    simulated = run(world, fleet, TOKYO, 1001)
    found = gaps(LEAKS, simulated, HandOver(movement_detection=0, processing=0))
    assert (found.local.count, found.between_sites.count) == (1, 0)
    assert found.all_moves == found.local
    assert found.local.mean == pytest.approx(
        2 * (ms("London", "Dublin") * 100 / km("London", "Dublin") + LAST_MILE)
    )


def test_an_on_demand_route_takes_two_round_trips(world: World) -> None:
    fleet = one_mobile(journey(world, "London", "Dublin"), speed=0.001, correspondents=("Suva",))
    found = gaps(PROJECTION, run(world, fleet, TOKYO), HandOver())
    assert found.shortcut.count == 1
    expected = 2 * (ms("Sydney", "Tokyo") + ms("Sydney", "London"))
    assert found.shortcut.p50 == pytest.approx(expected)


def test_the_rehearsal_is_the_protocol() -> None:
    """Lengths of whole packets as RFC 6275, RFC 3963 and RFC 4285 have them: 40 octets IPv6 and 24 of home
    address option or routing header, then the mobility header."""
    one, three = rehearse(1, 4), rehearse(3, 4)
    assert three.octets[Kind.UPDATE] - one.octets[Kind.UPDATE] == 2 * 24
    assert three.octets[Kind.PROXY_ACKNOWLEDGEMENT] - one.octets[Kind.PROXY_ACKNOWLEDGEMENT] == 2 * 24
    # 12 fixed, 4 pad to 8n+2, 10 timestamp, 4n+1: 3 pad, 19 authenticator: 48.
    assert one.octets[Kind.ACKNOWLEDGEMENT] == 40 + 24 + 48
    assert one.octets[Kind.DISCOVERY_REQUEST] == 40 + 8
    assert one.octets[Kind.DISCOVERY_REPLY] == 40 + 8 + 4 * 16
    assert rehearse(1, 12).octets[Kind.DISCOVERY_REPLY] == 40 + 8 + 12 * 16
    sent = {
        scenario: Counter(one.kind for one in counted.elements()) for scenario, counted in one.sent.items()
    }
    assert sent.keys() == set(Scenario)
    assert sent[Scenario.REFRESH_DIRECT] == {Kind.UPDATE: 1, Kind.ACKNOWLEDGEMENT: 1}
    assert sent[Scenario.LOCAL_PROXY][Kind.PROXY_UPDATE] == 0
    assert sent[Scenario.LOCAL_PROXY_RENEWED][Kind.PROXY_UPDATE] == 1
    assert sent[Scenario.ON][Kind.REVOCATION] == 1
    assert (one.bound_routes, one.proxied_routes, one.leaked_routes) == (2, 2, 1)


def test_names_of_this_file_are_those_of_the_topology(world: World) -> None:
    assert world.names == SITES and "singapore" in THREE_SITES
