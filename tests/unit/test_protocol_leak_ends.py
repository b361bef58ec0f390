"""A leak ends with what it stands for, whatever that end is, and the partition's route is there all the time
(behaviour K-5, L-7). Site 1 is primary, site 2 holds and leaks, site 3 looks on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from haha_exabgp.protocol.effects import DeleteRoute
from haha_exabgp.protocol.home import LeakPolicy
from haha_exabgp.protocol.home_subnets import HomeSubnet
from haha_exabgp.protocol.route_exchange import STALE_TIME
from haha_exabgp.protocol.routes import KernelRoute, LearnedRoute, Metric, RouteKind
from haha_exabgp.wire.address import Address, Prefix
from tests.unit.conftest import ACCESS, HOA, MNP, World, peer
from tests.unit.proxying import attach_at


def follows(world: World, site: int) -> Address | None:
    """Where the leak leads to in that site's kernel."""
    route = world.agents[site].wanted.route(MNP, Metric.LEAK)
    return route.tunnel_exit if route is not None else None


@pytest.fixture
def world() -> World:
    world = World(sites=3)
    world.pass_time(20)
    world.attach(2)
    assert follows(world, 1) == follows(world, 3) == peer(2).outer
    world.log.clear()
    return world


def change(world: World, site: int, **policy: object) -> None:
    policies = world.configs[site].mobile_routers
    assert isinstance(policies, dict)
    policies[HOA] = replace(policies[HOA], **policy)  # type: ignore[arg-type]
    world.agents[site].policies_changed([HOA], world.now)
    world.settle()


def remove(world: World, site: int) -> None:
    policies = world.configs[site].mobile_routers
    assert isinstance(policies, dict)
    del policies[HOA]
    world.agents[site].policies_changed([HOA], world.now)
    world.settle()


def de_registers(world: World) -> None:
    world.mobile_router.stop(world.now)
    world.settle()


def expires(world: World) -> None:
    world.drop = lambda packet: packet[8:24] == ACCESS[2]
    world.pass_time(620)


def expires_while_the_primary_is_away(world: World) -> None:
    world.drop = lambda packet: packet[24:40] == peer(1).haha
    world.pass_time(1300)


def moves_home(world: World) -> None:
    attach_at(world, 1)


def moves_home_and_the_revocation_is_lost(world: World) -> None:
    world.drop = lambda packet: packet[24:40] == peer(2).haha
    attach_at(world, 1)
    world.pass_time(10)
    assert follows(world, 3) == peer(2).outer
    world.drop = lambda packet: False
    world.pass_time(40)


def is_leaked_elsewhere(world: World) -> None:
    """Site 2 hears over BGP of a place that is newer."""
    (binding,) = world.agents[2].bindings
    newer = LearnedRoute(peer(3).haha, RouteKind.LEAK, MNP, peer(3).haha, binding.mobility_sequence + 1)
    world.agents[2].routes.learn(newer)
    world.settle()


def is_removed_at_the_primary(world: World) -> None:
    remove(world, 1)


def is_removed_at_the_proxy(world: World) -> None:
    remove(world, 2)


def the_proxy_may_no_longer(world: World) -> None:
    change(world, 1, proxies=frozenset({"ha3"}))


def is_leaked_no_longer(world: World) -> None:
    change(world, 2, leak=LeakPolicy.NEVER)


def is_believed_no_longer(world: World) -> None:
    change(world, 1, leak=LeakPolicy.NEVER)
    change(world, 3, leak=LeakPolicy.NEVER)


def its_subnet_ends(world: World) -> None:
    end = world.now.wall
    world.agents[2].renumber([HomeSubnet(Prefix.of(HOA, 64), end, end)], world.now)
    world.settle()
    world.pass_time(10)


def the_session_is_lost(world: World) -> None:
    for site in (1, 3):
        world.agents[site].routes.session_changed(peer(2).haha, False, world.now.monotonic)
    world.settle()
    assert follows(world, 3) == peer(2).outer, "graceful restart: its kernel still works"
    world.pass_time(STALE_TIME + 1)


def the_holder_restarts_without_memory(world: World) -> None:
    world.stored[2].clear()
    world.restart(2)
    world.reconnect(2)


ENDS = [
    de_registers,
    expires,
    expires_while_the_primary_is_away,
    moves_home,
    moves_home_and_the_revocation_is_lost,
    is_leaked_elsewhere,
    is_removed_at_the_primary,
    is_removed_at_the_proxy,
    the_proxy_may_no_longer,
    is_leaked_no_longer,
    is_believed_no_longer,
    its_subnet_ends,
    the_session_is_lost,
    the_holder_restarts_without_memory,
]


@pytest.mark.requirement("K-5", "L-7", "H-5", "F-6")
@pytest.mark.parametrize("end", ENDS, ids=[one.__name__ for one in ENDS])
def test_the_leak_ends_and_the_partitions_route_has_been_there_all_the_time(
    world: World, end: Callable[[World], None]
) -> None:
    end(world)
    assert follows(world, 1) is None and follows(world, 3) is None
    partition = KernelRoute(peer(1).partition, Metric.SITE, peer(1).outer)
    assert partition in world.agents[3].wanted.routes()
    deleted = {one.route.prefix for one in world.log if isinstance(one, DeleteRoute)}
    assert partition.prefix not in deleted


@pytest.mark.requirement("K-5", "H-9")
def test_a_move_between_proxies_leaves_no_moment_without_a_leak(world: World) -> None:
    world.log.clear()
    attach_at(world, 3)
    assert follows(world, 1) == peer(3).outer and follows(world, 3) is None
    assert follows(world, 2) == peer(3).outer


def test_what_stays_bound_but_is_leaked_no_longer_is_reached_through_its_primary(world: World) -> None:
    is_leaked_no_longer(world)
    proxied = KernelRoute(MNP, Metric.PROXIED, peer(2).outer)
    assert proxied in world.agents[1].wanted.routes()
    assert len(world.agents[2].bindings) == 1
