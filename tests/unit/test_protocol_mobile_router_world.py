"""The mobile router and the Home Agents of this project together, where they speak of more than bindings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.home import HomeAgentConfig, ReplayProtectionMode, SecurityAssociation
from haha_exabgp.protocol.home_subnets import HomeSubnet
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig, State, UseHomeLink
from haha_exabgp.wire.address import Prefix
from haha_exabgp.wire.authentication import Algorithm
from haha_exabgp.wire.codes import Status
from haha_exabgp.wire.ipv6 import MobilityPacket
from haha_exabgp.wire.messages import BindingAcknowledgement, BindingUpdate
from haha_exabgp.wire.mobility import decode_mobility
from haha_exabgp.wire.options import ReplayProtection, first_option
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MNP, WALL, World, peer

SUBNET = Prefix.parse("2001:db8:1:1::/64")
NEW_KEY = SecurityAssociation(4097, bytes(range(32)), Algorithm.HMAC_SHA256)


def home_agent(world: World) -> object:
    registration = world.mobile_router.registration
    return None if registration is None else registration.home_agent


def messages(world: World) -> list[tuple[MobilityPacket, object]]:
    return [
        (packet, decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination))
        for packet in world.wire
        if isinstance(packet, MobilityPacket)
    ]


def updates(world: World) -> list[tuple[MobilityPacket, BindingUpdate]]:
    """Binding Updates of the mobile router itself."""
    return [
        (packet, message)
        for packet, message in messages(world)
        if isinstance(message, BindingUpdate) and (packet.source in ACCESS.values() or packet.source == HOA)
    ]


@pytest.mark.requirement("H-11")
@pytest.mark.parametrize("named", [True, False], ids=["named", "by discovery"])
def test_a_home_agent_that_sends_it_away_is_left_without_a_gap(named):
    world = World()
    world.attach(1)
    assert home_agent(world) == peer(1).outer
    world.closest = 2
    world.agents[1].switch([HOA], [peer(2).outer] if named else [])
    world.pass_time(2)
    assert home_agent(world) == peer(2).outer and world.mobile_router.state is State.BOUND
    assert all(message.lifetime for _, message in updates(world)), "nothing is deleted on the way"
    world.wire.clear()
    world.pass_time(120)
    assert world.agents[1].counters["switch_sent"] == 1, "the new binding acknowledges it"


def test_a_lost_switch_is_repeated_and_followed():
    world = World()
    world.attach(1)
    world.drop = lambda packet: True
    world.agents[1].switch([HOA], [peer(2).outer])
    world.pass_time(4)
    world.drop = lambda packet: False
    world.pass_time(4)
    assert home_agent(world) == peer(2).outer


@pytest.mark.parametrize("shorter", [False, True])
def test_a_home_agent_whose_binding_ends_sooner_than_thought_asks_for_a_refresh(shorter):
    """The mobile router believes in a longer binding than there is."""
    world = World()
    world.attach(1)
    if shorter:
        registration = world.mobile_router.registration
        world.mobile_router._home.registration = replace(registration, refresh_at=9000.0, expires=9000.0)
    world.wire.clear()
    world.pass_time(590)
    assert world.agents[1].counters["refresh_requested"] == (1 if shorter else 0)
    assert len(updates(world)) == 1 and world.mobile_router.state is State.BOUND
    assert world.agents[1].bindings.get(HOA).expires - world.now.monotonic > 300


def numbered(valid: float):
    def adapt(config: HomeAgentConfig) -> HomeAgentConfig:
        return replace(config, home_subnets=(HomeSubnet(SUBNET, WALL + valid, WALL),))

    return adapt


@pytest.mark.requirement("L-1", "L-2", "M-MPS")
def test_a_home_prefix_that_ends_bounds_what_is_asked_for():
    """Status 1, a solicitation, an advertisement, and from then on no Binding Update beyond the end."""
    world = World(adapt=numbered(1000))
    world.attach(1)
    world.pass_time(1)
    assert world.mobile_router.counters["prefixes_valid"] == 1
    world.pass_time(800)
    asked = [message.lifetime for _, message in updates(world)]
    assert asked[0] == 600 and len(asked) > 1 and all(one <= 700 for one in asked[1:])
    assert world.mobile_router.registration.expires <= 2000
    accepted = [m.status for _, m in messages(world) if isinstance(m, BindingAcknowledgement)]
    assert set(accepted) == {Status.ACCEPTED_PREFIX_DISCOVERY_NECESSARY}


def restart_with(world: World, config: MobileRouterConfig, first_sequence: int = 7) -> None:
    world.mobile_router = MobileRouter(config, first_sequence)


@pytest.mark.parametrize("access", [1, 2], ids=["primary", "proxy"])
def test_a_new_key_is_used_while_the_home_agents_have_both(access):
    def adapt(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = replace(config.mobile_routers[HOA], associations=(ASSOCIATION, NEW_KEY))
        return replace(config, mobile_routers={HOA: policy})

    world = World(adapt=adapt)
    world.attach(access)
    world.pass_time(1)
    restart_with(world, MobileRouterConfig("mr1", HOA, (MNP,), (NEW_KEY, ASSOCIATION), lifetime=600))
    world.attach(access)
    world.pass_time(1)
    assert world.mobile_router.state is State.BOUND and home_agent(world) == peer(access).outer
    world.pass_time(310)
    assert world.mobile_router.registration.expires - world.now.monotonic > 500


@pytest.mark.parametrize("access", [1, 2], ids=["primary", "proxy"])
def test_a_router_without_a_clock_binds_by_its_sequence_numbers(access):
    def adapt(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = replace(config.mobile_routers[HOA], replay=ReplayProtectionMode.SEQUENCE)
        return replace(config, mobile_routers={HOA: policy})

    world = World(adapt=adapt)
    config = MobileRouterConfig(
        "mr1", HOA, (MNP,), ASSOCIATION, lifetime=600, replay=ReplayProtectionMode.SEQUENCE
    )
    restart_with(world, config)
    world.attach(access)
    world.pass_time(320)
    assert world.mobile_router.state is State.BOUND and home_agent(world) == peer(access).outer
    assert all(first_option(message.options, ReplayProtection) is None for _, message in updates(world))
    # Started again it does not know its numbers, and is told.
    restart_with(world, config, first_sequence=60000)
    world.attach(access)
    world.pass_time(5)
    assert world.mobile_router.state is State.BOUND


def test_a_router_without_a_clock_at_a_home_that_wants_timestamps_sends_them():
    world = World()
    restart_with(
        world,
        MobileRouterConfig(
            "mr1", HOA, (MNP,), ASSOCIATION, lifetime=600, replay=ReplayProtectionMode.SEQUENCE
        ),
    )
    world.attach(1)
    world.pass_time(1)
    assert world.mobile_router.state is State.BOUND
    assert world.mobile_router.counters["refused_145"] == 1


@pytest.mark.requirement("L-4")
def test_at_home_the_home_agent_forgets_the_binding():
    world = World()
    world.attach(1)
    world.mobile_router.attached(HOA, world.now)
    world.settle()
    assert world.agents[1].bindings.get(HOA) is None
    assert world.mobile_router.registration is None and world.mobile_router.state is State.AT_HOME
    assert any(isinstance(effect, UseHomeLink) for effect in world.log)
    world.attach(1)
    world.pass_time(5)
    assert world.mobile_router.state is State.BOUND and world.agents[1].bindings.get(HOA) is not None


def test_what_the_home_agent_refuses_for_good_is_told_and_not_repeated():
    def adapt(config: HomeAgentConfig) -> HomeAgentConfig:
        other = Prefix.parse("2001:db8:1:200::/64")
        policy = replace(config.mobile_routers[HOA], prefixes=(other,))
        return replace(config, mobile_routers={HOA: policy})

    world = World(sites=1, adapt=adapt)
    world.attach(1)
    world.pass_time(250)
    refusal = world.mobile_router.last_refusal
    assert (refusal.home_agent, refusal.status) == (peer(1).outer, Status.NOT_AUTHORIZED_FOR_PREFIX)
    assert len(updates(world)) == 1
