"""Policies change while Home Agents run: what they no longer allow ends at once, everywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import MobileRouterPolicy, SecurityAssociation
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import MobilityPacket, parse_packet
from tests.unit.conftest import ASSOCIATION, HOA, MNP, World, peer

OTHER = Prefix.parse("2001:db8:1:999::/64")


def change(world: World, index: int, **fields: object) -> None:
    """Change the policy of the mobile router at a Home Agent; with nothing given, remove it."""
    policies = world.configs[index].mobile_routers
    assert isinstance(policies, dict)
    if fields:
        policies[HOA] = replace(policies[HOA], **fields)
    else:
        del policies[HOA]
    world.agents[index].policies_changed([HOA, Address.parse("2001:db8:1:1::77")], world.now)
    world.settle()


def kinds(world: World) -> dict[int, BindingKind]:
    return {index: one.kind for index, agent in world.agents.items() for one in agent.bindings}


def traces(world: World, index: int) -> list[str]:
    """Everything in a Home Agent that is of the mobile router."""
    wanted = world.agents[index].wanted
    found = [*wanted.routes(), *wanted.announcements(), *(inner for _, inner in wanted.permits())]
    return [str(one) for one in found if str(MNP) in str(one) or str(Prefix.host(HOA)) in str(one)]


@pytest.mark.requirement("L-7", "P-5")
def test_a_removed_mobile_router_loses_its_binding_and_all_that_follows_from_it(world: World) -> None:
    world.attach(1)
    assert kinds(world) == {1: BindingKind.DIRECT} and traces(world, 1)
    change(world, 1)
    assert kinds(world) == {}
    assert traces(world, 1) == []
    assert world.stored[1][HOA].expires == 0.0
    before = world.agents[1].counters["dropped_unknown_home_address"]
    world.pass_time(700)
    assert world.agents[1].counters["dropped_unknown_home_address"] > before
    assert kinds(world) == {}


@pytest.mark.requirement("H-4", "S-3")
def test_removed_at_the_primary_it_is_revoked_at_the_proxy(world: World) -> None:
    world.attach(2)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    change(world, 1)
    assert kinds(world) == {}
    assert traces(world, 1) == [] and traces(world, 2) == []


def test_removed_at_the_proxy_it_ends_there_and_does_not_revoke_the_primary(world: World) -> None:
    world.attach(2)
    change(world, 2)
    assert kinds(world) == {1: BindingKind.PROXIED}
    assert traces(world, 2) == []
    change(world, 1)
    assert kinds(world) == {}


@pytest.mark.requirement("P-5")
def test_a_prefix_that_is_taken_away_ends_the_binding_that_has_it(world: World) -> None:
    world.attach(2)
    change(world, 1, prefixes=(MNP, OTHER))
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    change(world, 1, prefixes=(OTHER,))
    assert kinds(world) == {}
    assert traces(world, 1) == [] and traces(world, 2) == []


@pytest.mark.requirement("S-3")
def test_a_proxy_that_is_no_longer_allowed_loses_it_at_once(world: World) -> None:
    world.attach(2)
    change(world, 1, proxies=frozenset({"ha2"}))
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    change(world, 1, proxies=frozenset())
    assert kinds(world) == {} and traces(world, 2) == []
    world.pass_time(700)
    assert world.agents[1].counters["refused_129"]
    # It is told, and goes to the next Home Agent of its list.
    assert kinds(world) == {1: BindingKind.DIRECT}


@pytest.mark.requirement("S-3")
def test_a_proxy_that_is_told_so_itself_gives_it_up(world: World) -> None:
    world.attach(2)
    change(world, 2, proxies=frozenset({"ha1"}))
    assert kinds(world) == {1: BindingKind.PROXIED} and traces(world, 2) == []


def test_a_binding_that_the_policy_does_not_allow_is_not_taken_up_after_a_restart(world: World) -> None:
    world.attach(2)
    policies = world.configs[1].mobile_routers
    assert isinstance(policies, dict)
    policies[HOA] = replace(policies[HOA], proxies=frozenset({"ha1"}))
    world.restart(1)
    assert traces(world, 1) == []


def test_a_new_mobile_router_binds_at_once(world: World) -> None:
    policies = world.configs[1].mobile_routers
    assert isinstance(policies, dict)
    policy: MobileRouterPolicy = policies.pop(HOA)
    world.attach(1)
    assert kinds(world) == {}
    policies[HOA] = policy
    world.agents[1].policies_changed([HOA], world.now)
    world.pass_time(40)
    assert kinds(world) == {1: BindingKind.DIRECT}


@pytest.mark.requirement("S-2")
def test_a_key_that_is_taken_away_no_longer_authenticates(world: World) -> None:
    world.attach(1)
    (binding,) = world.agents[1].bindings
    new = SecurityAssociation(4097, bytes(range(40, 56)))
    change(world, 1, associations=(ASSOCIATION, new))
    world.pass_time(500)
    (refreshed,) = world.agents[1].bindings
    assert refreshed.expires > binding.expires
    change(world, 1, associations=(new,))
    until = refreshed.expires - world.now.monotonic
    world.pass_time(until - 1)
    assert list(world.agents[1].bindings) == [refreshed]
    assert world.agents[1].counters["dropped_unknown_spi"]


@pytest.mark.parametrize("gone", [True, False])
def test_a_registration_that_is_under_way_at_a_proxy_is_given_up(world: World, gone: bool) -> None:
    held: list[bytes] = []

    def to_primary(packet: bytes) -> bool:
        relayed = parse_packet(packet).destination == peer(1).haha
        if relayed:
            held.append(packet)
        return relayed

    world.drop = to_primary
    world.attach(2)
    assert len(held) == 1 and kinds(world) == {}
    if gone:
        change(world, 2)
    else:
        change(world, 2, prefixes=(OTHER,))
    world.drop = lambda packet: False
    world.inject(held[0])
    assert kinds(world) == {1: BindingKind.PROXIED}
    assert world.agents[2].counters["dropped_not_outstanding"] == 1
    world.pass_time(5)
    assert 2 not in kinds(world) and len(held) == 1


def test_others_are_not_touched(world: World) -> None:
    world.attach(2)
    before = world.snapshot()
    world.wire.clear()
    for agent in world.agents.values():
        agent.policies_changed([HOA, Address.parse("2001:db8:1:1::5")], world.now)
    world.settle()
    assert world.snapshot() == before
    assert not any(isinstance(one, MobilityPacket) for one in world.wire)
