"""Primary and proxy when packets are lost, late, overtaken or repeated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import State
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import MobilityPacket, parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
)
from tests.unit.conftest import ACCESS, HOA, World, peer
from tests.unit.mobility_messages import acknowledgements, update_to
from tests.unit.proxying import Hold, attach_at, hop_update, kinds, relayed_update


def test_an_older_update_does_not_take_the_place_of_one_under_way(world):
    """Captured or delayed, it comes while the primary is being asked about a newer one."""
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha, limit=1)
    old = update_to(world, 2, Address.parse("3fff:f02::bad"), 50, ago=3)
    world.inject(update_to(world, 2, ACCESS[2], 51))
    world.inject(old)
    assert world.agents[2].counters["dropped_replayed"] == 1
    world.pass_time(1)
    assert world.agents[2].bindings.get(HOA).care_of_address == ACCESS[2]


def test_the_answer_goes_where_the_update_came_from_and_not_to_who_repeats_it(world):
    thief = Address.parse("3fff:f02::bad")
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha, limit=1)
    packet = update_to(world, 2, ACCESS[2], 51)
    world.inject(packet)
    world.inject(packet[:8] + thief + packet[24:])
    world.pass_time(1)
    assert acknowledgements(world, thief) == []
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [0]


@pytest.mark.requirement("B-7")
def test_a_repetition_while_the_primary_is_asked_starts_nothing_and_is_what_gets_acknowledged(world):
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha, limit=2)
    world.inject(update_to(world, 2, ACCESS[2], 51))
    world.pass_time(0.1)
    world.inject(update_to(world, 2, ACCESS[2], 52))
    world.pass_time(2)
    assert world.agents[2].counters["upstream_started"] == 1
    assert [one.sequence for one in acknowledgements(world, ACCESS[2])] == [52]


@pytest.mark.parametrize("refused", [False, True])
def test_a_repetition_gets_the_answer_when_nothing_comes_of_it(world, refused):
    """A mobile router takes no answer to what it sent before."""
    if refused:
        world.configs[1].mobile_routers[HOA] = replace(
            world.configs[1].mobile_routers[HOA], prefixes=(Prefix.parse("2001:db8:1:999::/64"),)
        )
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha, limit=1 if refused else 3)
    world.inject(update_to(world, 2, ACCESS[2], 51))
    world.pass_time(0.1)
    world.inject(update_to(world, 2, ACCESS[2], 52))
    world.pass_time(5)
    answer = 142 if refused else 130
    assert [(one.status, one.sequence) for one in acknowledgements(world, ACCESS[2])] == [(answer, 52)]


def test_back_while_the_primary_is_still_being_asked(three_sites):
    """What it said here first is older than what it said elsewhere; what it said here last is not."""
    world = three_sites
    cut = True
    world.drop = lambda packet: cut and peer(1).haha in (packet[8:24], packet[24:40])
    attach_at(world, 2)
    attach_at(world, 3)
    attach_at(world, 2)
    cut = False
    world.pass_time(2)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert world.mobile_router.registration.home_agent == peer(2).outer
    assert world.agents[1].bindings.get(HOA).peer == peer(2).haha


def test_a_lost_answer_of_the_primary_is_given_again(world):
    world.drop = Hold(BindingAcknowledgement, peer(1).haha, peer(2).haha, limit=2)
    attach_at(world, 2)
    assert kinds(world) == {1: BindingKind.PROXIED}
    sequence = world.agents[1].bindings.get(HOA).mobility_sequence
    world.pass_time(1.6)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert {agent.bindings.get(HOA).mobility_sequence for agent in world.agents.values()} == {sequence}


def test_a_lost_answer_to_a_deregistration_is_given_again(world):
    attach_at(world, 2)
    world.drop = Hold(BindingAcknowledgement, peer(1).haha, peer(2).haha, limit=2)
    world.mobile_router.stop(world.now)
    world.settle()
    world.pass_time(1.6)
    assert kinds(world) == {}
    assert world.mobile_router.state is State.STOPPED
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [0, 0]


@pytest.mark.requirement("B-6", "L-1")
def test_the_lifetime_granted_by_a_proxy_does_not_exceed_the_primarys(world):
    """Behaviour B-6, RFC 6275 s.10.3.1: what has elapsed meanwhile is taken off."""
    world.drop = Hold(BindingAcknowledgement, peer(1).haha, peer(2).haha, limit=2)
    attach_at(world, 2)
    world.pass_time(1.6)
    primary, proxy = (world.agents[index].bindings.get(HOA) for index in (1, 2))
    assert proxy.expires <= primary.expires
    assert acknowledgements(world, ACCESS[2])[-1].lifetime <= proxy.expires - world.now.monotonic + 0.1


@pytest.mark.requirement("B-6")
def test_a_repetition_does_not_shorten_what_was_acknowledged_before(world):
    """The first answer is late, and the proxy asks again: each answer counts in whole units of 4 s, and any
    of them may be the one that arrives first."""
    late = world.drop = Hold(BindingAcknowledgement, peer(1).haha, peer(2).haha, limit=2)
    attach_at(world, 2)
    ends = world.agents[1].bindings.get(HOA).expires
    world.pass_time(1.0)
    assert len(late.packets) == 2
    assert world.agents[1].bindings.get(HOA).expires == ends
    world.inject(late.packets[0])
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert world.agents[2].bindings.get(HOA).expires <= ends


@pytest.mark.requirement("L-6", "L-7")
def test_local_refreshes_never_outlive_the_primarys_binding(world):
    attach_at(world, 2)
    for step in range(20):
        world.pass_time(37)
        attach_at(world, 2, Address.parse(f"3fff:f02::{step + 1:x}"))
        primary, proxy = (world.agents[index].bindings.get(HOA) for index in (1, 2))
        assert proxy.expires <= primary.expires
    assert world.agents[2].counters["upstream_started"] < 6


@pytest.mark.parametrize("news", ["revocation", "leak"])
def test_an_acknowledgement_overtaken_by_newer_news_binds_nothing(three_sites, news):
    """The primary accepted site 2, then site 3; site 2 hears of it in the other order."""
    world = three_sites
    late = Hold(BindingAcknowledgement, peer(1).haha, peer(2).haha, limit=1)
    lost = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha)
    if news == "revocation":
        world.deaf.add(2)
        lost.limit = 0
    world.drop = lambda packet: late(packet) or lost(packet)
    attach_at(world, 2)
    attach_at(world, 3)
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    world.inject(late.packets[0])
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    world.pass_time(10)
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    assert world.agents[1].bindings.get(HOA).peer == peer(3).haha


def lose_touch(world: World) -> Hold:
    """The mobile router has moved from site 2 to site 3, and no news of that reaches site 2."""
    attach_at(world, 2)
    lost = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha)
    world.drop = lost
    world.deaf.add(2)
    world.pass_time(1)
    attach_at(world, 3)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY, 3: BindingKind.PROXY}
    return lost


@pytest.mark.requirement("H-6")
def test_a_refresh_that_the_primary_refuses_as_late_is_a_revocation(three_sites):
    """Behaviour H-6: what the mobile router said before it moved arrives at the old proxy."""
    world = three_sites
    attach_at(world, 2)
    before = world.agents[2].bindings.get(HOA).order.sequence
    world.pass_time(2)
    late = update_to(world, 2, ACCESS[2], (before + 2) % 65536)
    world.pass_time(0.1)
    world.deaf.add(2)
    world.drop = lambda packet: {packet[8:24], packet[24:40]} & {peer(2).haha, peer(2).outer} != set()
    attach_at(world, 3)
    world.drop = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha)
    assert kinds(world)[2] is BindingKind.PROXY
    world.inject(late)
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    assert acknowledgements(world, ACCESS[2])[-1].status == 135


def test_a_deregistration_through_an_old_proxy_reaches_the_new_one(three_sites):
    world = three_sites
    lose_touch(world)
    sequence = (world.agents[3].bindings.get(HOA).order.sequence + 1) % 65536
    world.inject(update_to(world, 2, ACCESS[2], sequence, lifetime=0))
    assert kinds(world) == {}


def test_a_revocation_ends_when_the_holder_has_it_again(three_sites):
    world = three_sites
    lost = lose_touch(world)
    attach_at(world, 2)
    count = len(lost.packets)
    world.pass_time(100)
    assert len(lost.packets) == count
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}


def test_back_at_the_proxy_before_its_revocation_arrives(three_sites):
    """A proxy that went by its own binding would acknowledge what the primary is about to take away."""
    world = three_sites
    attach_at(world, 2)
    late = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha, limit=1)
    world.drop = late
    world.deaf.add(2)
    attach_at(world, 3)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY, 3: BindingKind.PROXY}
    attach_at(world, 2)
    assert world.mobile_router.registration.home_agent == peer(2).outer
    world.inject(late.packets[0])
    world.pass_time(5)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert world.agents[1].bindings.get(HOA).peer == peer(2).haha


def test_back_at_the_proxy_with_another_count(three_sites):
    """As before, but started anew meanwhile: a number that the proxy has corrected is not a refresh."""
    world = three_sites
    lost = lose_touch(world)
    expected = world.agents[2].bindings.get(HOA).order.sequence
    config = world.mobile_router._config
    world.mobile_router = MobileRouter(config, first_sequence=(expected - 5) % 65536)
    attach_at(world, 2)
    assert world.agents[2].counters["refused_135"] == 1
    world.inject(lost.packets[0])
    world.pass_time(5)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}


def test_a_late_revocation_does_not_end_a_newer_binding(three_sites):
    world = three_sites
    attach_at(world, 2)
    late = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha, limit=1)
    world.drop = late
    attach_at(world, 3)
    world.pass_time(2)
    attach_at(world, 2)
    world.pass_time(1)
    assert kinds(world)[2] is BindingKind.PROXY
    world.inject(late.packets[0])
    world.pass_time(1)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}


@pytest.mark.requirement("H-4")
def test_a_revocation_is_repeated_until_the_holder_can_be_reached(world):
    attach_at(world, 2)
    cut = True
    world.drop = lambda packet: cut and peer(2).haha in (packet[8:24], packet[24:40])
    attach_at(world, 1)
    world.pass_time(120)
    assert kinds(world)[2] is BindingKind.PROXY
    cut = False
    world.pass_time(33)
    assert kinds(world) == {1: BindingKind.DIRECT}


@pytest.mark.requirement("H-4")
def test_a_revocation_ends_with_the_binding_it_is_about(world):
    attach_at(world, 2)
    sent = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha)
    world.drop = sent
    attach_at(world, 1)
    world.pass_time(700)
    count = len(sent.packets)
    assert 10 < count < 30
    world.pass_time(700)
    assert len(sent.packets) == count


def test_a_deregistration_reaches_whoever_holds_the_binding(three_sites):
    world = three_sites
    before = {index: one[:3] for index, one in world.snapshot().items()}
    attach_at(world, 2)
    world.inject(update_to(world, 1, ACCESS[2], 100, lifetime=0))
    assert {index: one[:3] for index, one in world.snapshot().items()} == before


def test_two_updates_of_one_moment_both_count(world):
    """A daemon reads its clocks once for all that it has received."""
    now = world.now
    for sequence, care_of in ((10, ACCESS[2]), (11, Address.parse("3fff:f02::bb"))):
        packet = parse_packet(update_to(world, 2, care_of, sequence, ago=12.0 - sequence))
        world.agents[2].receive_mobility(packet, now)
    world.settle()
    assert world.agents[2].bindings.get(HOA).care_of_address == Address.parse("3fff:f02::bb")
    assert world.agents[1].counters["dropped_replayed"] == 0


@pytest.mark.parametrize("jump", [-3.0, 3.0, -6.0])
def test_a_clock_that_is_set_does_not_silence_a_home_agent(world, jump):
    attach_at(world, 2)
    world.now = Now(world.now.monotonic, world.now.wall + jump)
    world.pass_time(0.5)
    world.mobile_router.stop(world.now)
    world.settle()
    world.pass_time(0.4)
    assert kinds(world) == {}


@pytest.mark.parametrize("site", [1, 2])
@pytest.mark.parametrize("restarted", [False, True])
def test_clocks_that_were_an_hour_ahead_lock_nobody_out(world, site, restarted):
    """What was accepted then bears timestamps that nothing can outdo for an hour: numbers have to do."""
    world.now = Now(world.now.monotonic, world.now.wall + 3600)
    attach_at(world, site)
    captured = [one for one in world.wire if isinstance(one, MobilityPacket)]
    world.now = Now(world.now.monotonic, world.now.wall - 3600)
    if restarted:
        config = world.mobile_router._config
        world.mobile_router = MobileRouter(config, first_sequence=40000)
        attach_at(world, site)
    world.pass_time(620)
    assert set(kinds(world)) == {1, site} and world.mobile_router.state is State.BOUND
    before = world.snapshot()
    for packet in captured:
        for agent in world.agents.values():
            agent.receive_mobility(packet, world.now)
    assert world.snapshot() == before


@pytest.mark.parametrize("relayed", [False, True])
def test_a_moment_that_comes_again_does_not_bring_its_updates_back(world, relayed):
    """The clock was an hour ahead for a while: what was captured just before is close to it once more."""
    if relayed:
        captured = relayed_update(world, 10)
        world.inject(hop_update(world, captured))
    else:
        packet = update_to(world, 1, ACCESS[1], 10)
        world.inject(packet)
    assert set(kinds(world)) == {1}
    world.now = Now(world.now.monotonic + 3, world.now.wall + 3600)
    world.inject(update_to(world, 1, ACCESS[1], 11))
    world.inject(update_to(world, 1, ACCESS[1], 12, lifetime=0))
    assert kinds(world) == {}
    world.now = Now(world.now.monotonic + 1, world.now.wall - 3600 + 1)
    world.inject(hop_update(world, captured) if relayed else packet)
    assert kinds(world) == {}
    site = 2 if relayed else 1
    world.inject(update_to(world, site, ACCESS[site], 13))
    assert set(kinds(world)) == {1, site}


def test_a_clock_that_cannot_be_right_binds_nobody(world):
    """A Home Agent without a battery-backed clock may start anywhere, also past what 32 bits can count."""
    world.now = Now(1000.0, float(1 << 33))
    before = world.snapshot()
    for site in (1, 2):
        world.inject(update_to(world, site, ACCESS[site], site))
        assert [one.status for one in acknowledgements(world, ACCESS[site])] == [144]
    assert world.snapshot() == before
