"""Mobile routers that move too often: who is damped, for how long, and who is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.damping import Damping
from haha_exabgp.protocol.leaks import RIVAL_PATIENCE, Hold
from haha_exabgp.protocol.routes import RouteKind
from tests.unit.conftest import HOA, MNP, World
from tests.unit.proxying import attach_at

MOVES, WINDOW = 5, 180


def test_five_moves_in_180_s_are_fine_and_a_sixth_is_not():
    damping = Damping(MOVES, WINDOW)
    assert [damping.moved(HOA, 30.0 * n) for n in range(6)] == [False] * 5 + [True]
    assert damping.left(HOA, 150.0) == WINDOW
    assert damping.left(HOA, 150.0 + WINDOW) == 0


def test_moves_that_are_spread_out_are_fine():
    damping = Damping(MOVES, WINDOW)
    assert not any(damping.moved(HOA, 36.1 * n) for n in range(100))


def test_who_is_damped_stays_so_until_it_stays():
    damping = Damping(MOVES, WINDOW)
    for n in range(6):
        damping.moved(HOA, float(n))
    assert not damping.moved(HOA, 170.0), "it was damped already"
    assert damping.left(HOA, 180.0) == 170.0
    assert not damping.moved(HOA, 400.0) and damping.left(HOA, 400.0) == 0


def test_none_is_damped_where_that_is_switched_off():
    damping = Damping(0, WINDOW)
    assert not any(damping.moved(HOA, n / 10) for n in range(100))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40))
def test_damping_ends_a_window_after_the_last_move(gaps: list[float]) -> None:
    damping, now = Damping(MOVES, WINDOW), 0.0
    times: list[float] = []
    for gap in gaps:
        now += gap
        damping.moved(HOA, now)
        times.append(now)
        if sum(now - one <= WINDOW for one in times) > MOVES:
            assert damping.left(HOA, now) == pytest.approx(WINDOW)
    assert damping.left(HOA, now + WINDOW) == 0


# In a Home


def moving_world() -> World:
    """Three sites; the mobile router has moved as often as it may, and is at the second."""
    world = World(sites=3, adapt=lambda config: replace(config, flap_moves=MOVES, flap_window=WINDOW))
    for site in (1, 2, 3, 2, 3, 2):
        attach_at(world, site)
        world.pass_time(1)
    assert leaked(world, 2)
    return world


@pytest.fixture
def flapping() -> World:
    """It moves once more."""
    world = moving_world()
    attach_at(world, 3)
    world.pass_time(1)
    return world


def leaked(world: World, site: int) -> bool:
    told = world.agents[site].wanted.announcements()
    return any(one.kind is RouteKind.LEAK and one.prefix == MNP for one in told)


@pytest.mark.requirement("H-9-FLAP")
def test_a_damped_mobile_router_is_bound_and_not_leaked(flapping: World) -> None:
    """The primary has seen all moves; the holder is another one each time."""
    kinds = {index: one.kind for index, agent in flapping.agents.items() for one in agent.bindings}
    assert kinds == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    assert not leaked(flapping, 2) and not leaked(flapping, 3)
    assert flapping.agents[3].leaks.state(HOA) is Hold.FLAPPING
    assert flapping.agents[1].counters["mobile_routers_damped"] == 1
    assert WINDOW - 5 < flapping.agents[1].damped(HOA, flapping.now) <= WINDOW


@pytest.mark.requirement("H-9-FLAP")
def test_it_is_leaked_again_when_it_has_stayed(flapping: World) -> None:
    flapping.pass_time(WINDOW - 10)
    assert not leaked(flapping, 3)
    flapping.pass_time(15)
    assert leaked(flapping, 3) and flapping.agents[3].leaks.state(HOA) is None
    assert flapping.agents[1].damped(HOA, flapping.now) == 0


@pytest.mark.requirement("H-9-FLAP")
def test_moving_on_goes_on_damping_it(flapping: World) -> None:
    flapping.pass_time(100)
    attach_at(flapping, 2)
    flapping.pass_time(100)
    assert not leaked(flapping, 2)
    flapping.pass_time(WINDOW - 95)
    assert leaked(flapping, 2)


@pytest.mark.requirement("H-9-FLAP", "K-5")
def test_it_is_leaked_all_the_same_against_a_leak_of_before_that_stays() -> None:
    """The site before is dead: nobody withdraws what it has told, and packets would go there."""
    world = moving_world()
    world.drop = lambda packet: packet[24:40] == world.configs[2].haha
    attach_at(world, 3)
    world.pass_time(RIVAL_PATIENCE - 0.5)
    assert leaked(world, 2) and not leaked(world, 3)
    world.pass_time(1)
    assert leaked(world, 3)
    assert not leaked(world, 2), "it has heard of that over BGP"
