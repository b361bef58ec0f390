"""Which of several parents, in their order of preference, a satellite hangs under."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import HomeAgentConfig
from haha_exabgp.protocol.parents import PATIENCE, RETURN_AFTER, START_PATIENCE, Parents
from haha_exabgp.protocol.routes import Metric, RouteKind
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.messages import BindingUpdate
from haha_exabgp.wire.mobility import decode_mobility
from tests.unit.conftest import HOA, HOME, MNP, World, peer
from tests.unit.proxying import attach_at, kinds
from tests.unit.satellite_world import SATELLITE, SatelliteWorld, lent_address

pytestmark = pytest.mark.requirement("E-5", "F-3")


@pytest.fixture
def parents() -> Parents:
    """Three, all of them good since 0 s; the first is in use."""
    made = Parents(["best", "second", "third"])
    made.start(None, 0.0)
    for site in ("third", "second", "best"):
        made.good(site, 0.0)
    made.choose(0.0)
    assert (made.in_use, made.is_reached) == ("best", True)
    return made


def test_at_the_start_the_best_one_is_waited_for():
    parents = Parents(["best", "second", "third"])
    parents.start(None, 0.0)
    parents.good("third", 1.0)
    assert not parents.choose(START_PATIENCE - 0.1) and not parents.is_reached
    parents.good("second", 2.0)
    assert parents.choose(START_PATIENCE) and parents.in_use == "second"


def test_the_next_in_order_takes_the_place_of_one_that_is_lost(parents):
    parents.lost("best", 100.0)
    assert not parents.choose(100.0 + PATIENCE - 0.1)
    assert parents.is_reached, "ExaBGP may just be restarted there"
    assert parents.choose(100.0 + PATIENCE) and parents.in_use == "second"
    parents.lost("second", 200.0)
    assert parents.choose(200.0 + PATIENCE) and parents.in_use == "third"
    parents.lost("third", 300.0)
    assert not parents.choose(300.0 + PATIENCE)
    assert (parents.in_use, parents.is_reached) == ("third", False)


def test_one_that_takes_home_back_is_left_at_once(parents):
    parents.lost("best", 100.0, patience=0.0)
    assert parents.choose(100.0) and parents.in_use == "second"


def test_a_better_one_is_used_again_when_it_has_been_good_for_a_while_the_best_of_those(parents):
    for site in ("best", "second"):
        parents.lost(site, 100.0, patience=0.0)
    parents.choose(100.0)
    assert parents.in_use == "third"
    parents.good("second", 200.0)
    parents.good("best", 210.0)
    assert parents.next_timer() == 200.0 + RETURN_AFTER
    assert parents.choose(200.0 + RETURN_AFTER) and parents.in_use == "second"
    # One that comes and goes is not worth it.
    parents.lost("best", 235.0)
    parents.good("best", 236.0)
    assert not parents.choose(210.0 + RETURN_AFTER) and parents.in_use == "second"
    assert parents.choose(236.0 + RETURN_AFTER) and parents.in_use == "best"


def test_the_loss_of_one_that_is_not_in_use_changes_nothing(parents):
    parents.lost("second", 100.0)
    assert not parents.choose(200.0) and parents.in_use == "best"


@pytest.mark.requirement("K-1", "K-5")
def test_of_three_parents_the_last_one_leaks_when_the_others_are_gone():
    world = SatelliteWorld(2, 4, 1)
    world.bind_at_satellite()
    assert kinds(world)[2] is BindingKind.SECONDARY
    for lost, following in ((2, 4), (4, 1)):
        world.lose(lost)
        world.pass_time(PATIENCE + 3)
        route = world.agents[SATELLITE].wanted.route(HOME, Metric.HOME)
        assert route.tunnel_exit == peer(following).outer
        assert world.agents[1].bindings.get(HOA).care_of_address == lent_address(following)
    # The last one is its primary site: the primary binding leads there by itself.
    assert kinds(world)[1] is BindingKind.PROXIED
    proxied = [one for one in world.agents[1].wanted.routes() if one.metric == Metric.PROXIED]
    assert {(one.prefix, one.tunnel_exit) for one in proxied} == {
        (prefix, peer(SATELLITE).outer) for prefix in (MNP, Prefix.host(HOA))
    }


@pytest.mark.requirement("K-6", "K-1")
@pytest.mark.parametrize("most", [0, 1])
def test_what_a_parent_leaks_for_its_satellite_counts_against_its_cap(most):
    def capped(config: HomeAgentConfig) -> HomeAgentConfig:
        return replace(config, max_leaks=most) if config.name == "ha2" else config

    world = SatelliteWorld(2, 4, adapt=capped)
    world.bind_at_satellite()
    assert kinds(world)[2] is BindingKind.SECONDARY
    assert len(leaks(world, 2)) == most
    exits = [route.tunnel_exit for route in world.agents[1].wanted.routes() if route.prefix == MNP]
    # Without the leak the detour is left.
    assert lent_address(2) in exits and (peer(2).outer in exits) is bool(most)


@pytest.mark.requirement("K-1", "B-8", "B-9")
def test_a_secondary_site_is_its_own_parent_and_leaks_for_itself():
    """Primary for others, it tells nobody but the primary, by a Binding Update with the H flag."""
    world = World(3)
    attach_at(world, 2)
    world.pass_time(2)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert leaks(world, 2) == {peer(2).haha} and leaks(world, 1) == leaks(world, 3) == set()
    updates = [
        decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
        for packet in world.wire
        if packet.source == peer(2).haha
    ]
    flags = [one.flags for one in updates if isinstance(one, BindingUpdate)]
    assert flags and all(BindingUpdateFlag.HOME_REGISTRATION in one for one in flags)
    assert {packet.destination for packet in world.wire if packet.source == peer(2).haha} == {peer(1).haha}


def leaks(world: World, index: int) -> set[Address]:
    """The next hops of what a Home Agent leaks."""
    told = world.agents[index].wanted.announcements()
    return {one.next_hop for one in told if one.kind is RouteKind.LEAK}
