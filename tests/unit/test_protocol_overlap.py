"""A mobile router goes to a proxy and stays where it is: until the proxy is ready the old way leads to it."""

from __future__ import annotations

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.overlap import OVERLAP
from haha_exabgp.wire.address import Address
from tests.unit.conftest import ACCESS, HOA, MNP, World, peer
from tests.unit.mobility_messages import update_to
from tests.unit.proxying import kinds

pytestmark = pytest.mark.requirement("H-12")


def exits(world: World) -> list[Address]:
    """At the primary, best first."""
    routes = [one for one in world.agents[1].wanted.routes() if one.prefix == MNP]
    return [one.tunnel_exit for one in sorted(routes, key=lambda one: one.metric) if one.tunnel_exit]


def test_the_old_way_stays_until_the_proxy_has_had_time(world: World) -> None:
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.inject(update_to(world, 2, ACCESS[1], 2))
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert exits(world) == [ACCESS[1], peer(2).outer, peer(2).outer]
    world.pass_time(OVERLAP)
    assert exits(world) == [peer(2).outer, peer(2).outer]


def test_a_way_that_leads_nowhere_any_more_does_not(world: World) -> None:
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.inject(update_to(world, 2, ACCESS[2], 2))
    assert exits(world) == [peer(2).outer, peer(2).outer]


@pytest.mark.requirement("L-7")
def test_it_is_closed_when_the_binding_ends(world: World) -> None:
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.inject(update_to(world, 2, ACCESS[1], 2))
    world.inject(update_to(world, 2, ACCESS[1], 3, lifetime=0))
    assert world.agents[1].bindings.get(HOA) is None
    assert exits(world) == []


def test_who_comes_back_meanwhile_is_where_it_says(world: World) -> None:
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.inject(update_to(world, 2, ACCESS[1], 2))
    world.inject(update_to(world, 1, ACCESS[2], 3))
    assert exits(world) == [ACCESS[2]]
    world.pass_time(OVERLAP)
    assert exits(world) == [ACCESS[2]]


def test_who_goes_on_to_another_proxy_leaves_nothing_behind(three_sites: World) -> None:
    world = three_sites
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.inject(update_to(world, 2, ACCESS[1], 2))
    world.inject(update_to(world, 3, ACCESS[1], 3))
    assert ACCESS[1] not in exits(world)
