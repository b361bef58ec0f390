"""What is forged, replayed or not from where it should be, between Home Agents."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import ReplayProtectionMode
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.ipv6 import parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRevocationIndication,
    BindingUpdate,
)
from tests.unit.conftest import ACCESS, HOA, World, home_agent_config, peer
from tests.unit.mobility_messages import acknowledgements, message_of, update_to
from tests.unit.proxying import Hold, attach_at, hop_update, kinds, relayed_update, reseal


@pytest.mark.requirement("S-2", "S-4")
@pytest.mark.parametrize("first", [True, False])
def test_what_a_mobile_router_said_to_one_home_agent_another_does_not_take(three_sites, first):
    """Captured on its way and brought to another site at once, before or after its own has heard it."""
    world = three_sites
    attach_at(world, 2)
    world.pass_time(10)
    captured: list[bytes] = []
    world.drop = lambda packet: packet[24:40] == peer(2).outer and (captured.append(packet) or first)
    attach_at(world, 2, Address.parse("3fff:f02::77"))
    world.drop = lambda packet: False
    before = world.snapshot()
    for site in (1, 3):
        world.inject(reseal(captured[0][:24] + peer(site).outer + captured[0][40:]))
        assert world.agents[site].counters["dropped_not_for_us"] == 1
    assert world.snapshot() == before
    world.pass_time(10)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert world.agents[2].bindings.get(HOA).care_of_address == Address.parse("3fff:f02::77")


@pytest.mark.requirement("S-1", "S-8")
def test_a_relayed_update_binds_only_under_the_mesh_key(world):
    before = world.snapshot()
    world.inject(hop_update(world, relayed_update(world, 1), key=bytes(16)))
    assert world.snapshot() == before
    assert world.agents[1].counters["dropped_bad_authenticator"] == 1
    world.inject(hop_update(world, relayed_update(world, 1)))
    assert kinds(world) == {1: BindingKind.PROXIED}


@pytest.mark.requirement("S-4", "S-6", "M-CODE-129")
def test_a_proxy_cannot_speak_for_a_mobile_router(world):
    before = world.snapshot()
    world.inject(hop_update(world, relayed_update(world, 1, key=bytes(16))))
    assert world.snapshot() == before
    assert [one.status for one in acknowledgements(world, peer(2).haha)] == [129]


@pytest.mark.requirement("S-8")
def test_a_replay_between_home_agents_does_nothing(world):
    packet = hop_update(world, relayed_update(world, 1))
    world.inject(packet)
    world.inject(update_to(world, 1, ACCESS[1], 2))
    before = world.snapshot()
    world.inject(packet)
    assert world.snapshot() == before
    assert world.agents[1].counters["dropped_replayed"] == 1


@pytest.mark.requirement("S-4", "S-6")
def test_a_proxy_cannot_keep_a_mobile_router_that_says_nothing(world):
    """The same relayed update, signed anew by the proxy, is good for repetitions and no longer."""
    relayed = relayed_update(world, 1)
    world.inject(hop_update(world, relayed))
    expires = world.agents[1].bindings.get(HOA).expires
    world.pass_time(3)
    world.inject(hop_update(world, relayed))
    assert world.agents[1].bindings.get(HOA).expires <= expires
    expires = world.agents[1].bindings.get(HOA).expires
    world.pass_time(300)
    world.inject(hop_update(world, relayed))
    assert world.agents[1].bindings.get(HOA).expires == expires
    assert [one.status for one in acknowledgements(world, peer(2).haha)] == [0, 0, 144]


@pytest.mark.requirement("S-4", "S-6", "M-REPLAY-SEQ")
def test_without_timestamps_too_a_proxy_cannot_keep_a_mobile_router_that_says_nothing():
    """A repetition gets its answer while the binding lives, and prolongs nothing."""

    def by_sequence(config):
        policy = replace(config.mobile_routers[HOA], replay=ReplayProtectionMode.SEQUENCE)
        return replace(config, mobile_routers={HOA: policy})

    world = World(adapt=by_sequence)
    relayed = relayed_update(world, 1)
    world.inject(hop_update(world, relayed))
    expires = world.agents[1].bindings.get(HOA).expires
    for _ in range(2):
        world.pass_time(250)
        world.inject(hop_update(world, relayed))
        assert world.agents[1].bindings.get(HOA).expires <= expires
    world.pass_time(250)
    world.inject(hop_update(world, relayed))
    assert kinds(world) == {}
    assert [one.status for one in acknowledgements(world, peer(2).haha)] == [0, 0, 0, 135]


@pytest.mark.requirement("S-4", "H-6")
def test_an_update_cannot_be_moved_to_another_proxy(three_sites):
    world = three_sites
    relayed = relayed_update(world, 1)
    world.inject(hop_update(world, relayed))
    before = world.snapshot()
    world.inject(hop_update(world, relayed, via=3))
    assert world.snapshot() == before
    assert [one.status for one in acknowledgements(world, peer(3).haha)] == [135]


@pytest.mark.parametrize("forge", [lambda p: p[:-13] + bytes(13), lambda p: p], ids=["forged", "replayed"])
@pytest.mark.requirement("S-8", "M-BRI")
def test_a_revocation_that_is_not_authentic_or_not_new_does_nothing(three_sites, forge):
    world = three_sites
    attach_at(world, 2)
    captured = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha, limit=1)
    world.drop = captured
    attach_at(world, 1)
    world.pass_time(2)
    assert kinds(world) == {1: BindingKind.DIRECT}
    attach_at(world, 2)
    before = world.snapshot_of(2)
    world.inject(reseal(forge(captured.packets[0])))
    assert world.snapshot_of(2) == before
    counters = world.agents[2].counters
    assert counters["dropped_bad_authenticator"] + counters["dropped_replayed"] == 1


def test_an_old_acknowledgement_with_the_right_number_is_not_believed(world):
    """Numbers have 16 bits and start anywhere after a restart: the timestamp has to come back as well."""
    captured = Hold(BindingAcknowledgement, peer(1).haha, peer(2).haha)
    world.drop = captured
    world.inject(update_to(world, 2, ACCESS[2], 1))
    world.pass_time(10)
    number = message_of(captured.packets[0]).sequence
    agent = HomeAgent(home_agent_config(2), _Numbers(number - 1))
    agent.start((), world.now)
    world.agents[2] = agent
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha)
    world.inject(update_to(world, 2, ACCESS[2], 2))
    assert message_of(world.drop.packets[0]).sequence == number
    world.inject(captured.packets[0])
    assert agent.bindings.get(HOA) is None
    assert agent.counters["dropped_not_outstanding"] == 1


class _Numbers(Random):
    """Draws one number only."""

    def __init__(self, number: int) -> None:
        super().__init__(0)
        self._number = number

    def randrange(self, *limits: int) -> int:
        return self._number % 65536


@pytest.mark.parametrize("kind", [BindingUpdate, BindingAcknowledgement, BindingRevocationIndication])
def test_between_home_agents_only_the_haha_addresses_count(world, kind):
    """The same message from a stranger's address, or to the outer address, is not heard."""
    seen: list[bytes] = []
    world.drop = lambda packet: seen.append(packet) or False
    attach_at(world, 2)
    attach_at(world, 1)
    haha = {peer(1).haha, peer(2).haha}
    packet = next(p for p in seen if isinstance(message_of(p), kind) and {p[8:24], p[24:40]} <= haha)
    before = world.snapshot()
    site = 1 if packet[24:40] == peer(1).haha else 2
    world.inject(reseal(packet[:24] + peer(site).outer + packet[40:]))
    stranger = Address.parse("3fff:f02::bad")
    world.inject(reseal(packet[:8] + stranger + packet[24:]))
    assert world.snapshot() == before


@pytest.mark.requirement("M-BE", "M-TYPES", "M-RECEIVE")
def test_a_message_of_an_unknown_type_is_answered_with_a_binding_error(world):
    packet = bytearray(update_to(world, 1, ACCESS[1], 1))
    parsed = parse_packet(bytes(packet))
    packet[len(packet) - len(parsed.header) + 2] = 99
    answers: list[BindingError] = []
    world.drop = lambda sent: answers.append(message_of(sent)) or True
    for source in (ACCESS[1], Address.parse("ff02::1")):
        packet[8:24] = source
        world.agents[1].receive_mobility(parse_packet(reseal(bytes(packet))), world.now)
        world.settle()
    assert answers == [BindingError(2, HOA)]
    assert world.agents[1].counters["dropped_unknown_mobility_type"] == 2
