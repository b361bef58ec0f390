"""What mobile routers are told unasked: to refresh a binding that is about to end or has been ended, to
switch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.effects import Note
from haha_exabgp.protocol.home import HomeAgentConfig, SecurityAssociation
from haha_exabgp.protocol.messages import authenticate
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import MobilityPacket
from haha_exabgp.wire.messages import BindingRefreshRequest, HomeAgentSwitch
from haha_exabgp.wire.mobility import decode_mobility
from haha_exabgp.wire.options import BindingRefreshAdvice, ReplayProtection, first_option
from haha_exabgp.wire.timestamp import to_unix
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, World, peer
from tests.unit.mobility_messages import acknowledgements, update_to

OTHER_PREFIX = Prefix.parse("2001:db8:1:999::/64")
OTHER_KEY = SecurityAssociation(4097, bytes(16))


def told(world: World, kind: type) -> list[tuple[MobilityPacket, object]]:
    """The messages of a kind that went to the mobile router's care-of addresses, in order."""
    found = []
    for packet in world.wire:
        if isinstance(packet, MobilityPacket) and packet.destination in ACCESS.values():
            message = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
            if isinstance(message, kind):
                found.append((packet, message))
    return found


def times_of(world: World, kind: type, seconds: int) -> list[int]:
    """When messages of a kind are sent in the next `seconds`, to a second."""
    times = []
    for second in range(seconds):
        before = len(told(world, kind))
        world.pass_time(1.0)
        times += [second + 1] * (len(told(world, kind)) - before)
    return times


# Refresh requests


@pytest.mark.requirement("M-BRR")
@pytest.mark.parametrize(("lifetime", "expected"), [(600, [540, 543, 546]), (20, [16, 19]), (8, [4, 7])])
def test_a_binding_about_to_end_is_asked_about_three_times(world, lifetime, expected):
    world.inject(update_to(world, 1, ACCESS[1], 1, lifetime=lifetime))
    assert times_of(world, BindingRefreshRequest, lifetime + 60) == expected
    assert world.agents[1].bindings.get(HOA) is None


@pytest.mark.requirement("M-BRR", "M-RH2")
def test_a_refresh_request_is_signed_and_goes_to_the_home_address_by_way_of_the_care_of_address(world):
    """RFC 6275 s.9.5.5: always sent to the home address."""
    world.inject(update_to(world, 2, ACCESS[2], 1, lifetime=60))
    world.pass_time(52)
    packet, message = told(world, BindingRefreshRequest)[0]
    assert (packet.source, packet.routing_home_address) == (peer(2).outer, HOA)
    assert authenticate(packet.header, ACCESS[2], HOA, (ASSOCIATION,)) == (ASSOCIATION, None)
    stamp = first_option(message.options, ReplayProtection)
    assert abs(to_unix(stamp.timestamp) - world.now.wall) < 10


@pytest.mark.requirement("M-BRR")
def test_nobody_who_refreshes_is_asked(world):
    for sequence in range(1, 40):
        world.inject(update_to(world, 1, ACCESS[1], sequence, lifetime=600))
        world.pass_time(300)
    assert told(world, BindingRefreshRequest) == []


@pytest.mark.requirement("M-BRR")
def test_an_answer_stops_the_requests_until_the_next_end(world):
    """RFC 6275 s.9.5.5: it stops when a Binding Update comes."""
    world.inject(update_to(world, 1, ACCESS[1], 1, lifetime=600))
    world.pass_time(541)
    assert len(told(world, BindingRefreshRequest)) == 1
    world.inject(update_to(world, 1, ACCESS[1], 2, lifetime=600))
    assert times_of(world, BindingRefreshRequest, 700) == [541, 544, 547]


def test_who_has_de_registered_or_moved_to_a_proxy_is_not_asked(world):
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.inject(update_to(world, 2, ACCESS[2], 2))
    world.pass_time(700)
    assert {packet.source for packet, _ in told(world, BindingRefreshRequest)} == {peer(2).outer}
    world.wire.clear()
    world.inject(update_to(world, 1, ACCESS[1], 3))
    world.inject(update_to(world, 1, ACCESS[1], 4, lifetime=0))
    world.pass_time(700)
    assert told(world, BindingRefreshRequest) == []


def test_bindings_taken_up_after_a_restart_are_asked_about(world):
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.pass_time(100)
    world.restart(1)
    assert times_of(world, BindingRefreshRequest, 600) == [450, 453, 456]


def test_refresh_requests_can_be_switched_off():
    world = World(adapt=lambda config: replace(config, refresh_requests=False))
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.pass_time(700)
    assert told(world, BindingRefreshRequest) == []


# Home Agent Switch


@pytest.mark.requirement("H-11", "M-SWITCH", "M-CONST-SWITCH")
def test_a_switch_message_is_repeated_after_5_10_20_seconds_until_the_binding_ends(world):
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.pass_time(1)
    world.agents[1].switch([HOA], [peer(2).outer])
    assert times_of(world, HomeAgentSwitch, 80) == [1, 5, 15, 35, 55, 75]
    world.inject(update_to(world, 1, ACCESS[1], 2, lifetime=0))
    assert times_of(world, HomeAgentSwitch, 80) == []


@pytest.mark.requirement("H-11", "M-SWITCH")
def test_a_switch_message_names_the_others_and_says_how_long_it_is_served(world):
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.agents[1].switch([HOA], [peer(2).outer])
    world.pass_time(1)
    packet, message = told(world, HomeAgentSwitch)[0]
    assert (packet.source, packet.routing_home_address) == (peer(1).outer, HOA)
    assert message.addresses == (peer(2).outer,)
    left = world.agents[1].bindings.get(HOA).expires - world.now.monotonic
    assert 0 <= left - first_option(message.options, BindingRefreshAdvice).interval < 5
    assert authenticate(packet.header, ACCESS[1], HOA, (ASSOCIATION,)) == (ASSOCIATION, None)


@pytest.mark.requirement("H-11")
@pytest.mark.parametrize("where", [1, 2])
def test_who_has_switched_is_told_no_more_and_may_come_back(world, where):
    """Primary or proxy: it leaves for the other one."""
    there = 3 - where
    world.inject(update_to(world, where, ACCESS[where], 1))
    world.agents[where].switch([HOA], [peer(there).outer])
    world.pass_time(1)
    world.inject(update_to(world, there, ACCESS[there], 2))
    assert acknowledgements(world, ACCESS[there])[-1].status == 0
    world.wire.clear()
    world.pass_time(60)
    assert told(world, HomeAgentSwitch) == []
    world.inject(update_to(world, where, ACCESS[where], 4))
    assert [one.status for one in acknowledgements(world, ACCESS[where])] == [0]


@pytest.mark.requirement("H-11")
def test_who_comes_back_at_once_stays(world):
    """It has been elsewhere, which is what was asked."""
    world.inject(update_to(world, 1, ACCESS[1], 1))
    assert world.agents[1].switch([HOA], [peer(2).outer]) == [HOA]
    world.pass_time(1)
    for sequence, site in enumerate((2, 1, 1), 2):
        world.inject(update_to(world, site, ACCESS[site], sequence))
        world.pass_time(0.5)
    assert [one.status for one in acknowledgements(world, ACCESS[1])] == [0, 0, 0]
    assert times_of(world, HomeAgentSwitch, 30) == []


@pytest.mark.requirement("H-11", "M-CODE-129")
def test_who_has_been_told_is_not_extended_and_keeps_what_was_granted(world):
    world.inject(update_to(world, 1, ACCESS[1], 1))
    expires = world.agents[1].bindings.get(HOA).expires
    world.agents[1].switch([HOA], [])
    world.inject(update_to(world, 1, ACCESS[1], 2))
    assert [one.status for one in acknowledgements(world, ACCESS[1])] == [0, 129]
    assert world.agents[1].bindings.get(HOA).expires == expires
    world.agents[1].stay([HOA])
    world.inject(update_to(world, 1, ACCESS[1], 3))
    assert [one.status for one in acknowledgements(world, ACCESS[1])] == [0, 129, 0]


def test_who_is_not_bound_here_is_not_told(world):
    world.inject(update_to(world, 2, ACCESS[2], 1))
    assert world.agents[1].switch([HOA], [peer(2).outer]) == []
    world.pass_time(30)
    assert told(world, HomeAgentSwitch) == []
    world.inject(update_to(world, 1, ACCESS[1], 3))
    assert acknowledgements(world, ACCESS[1])[-1].status == 0


def test_called_off_and_ordered_again_is_told_at_one_rhythm(world):
    world.inject(update_to(world, 1, ACCESS[1], 1))
    agent = world.agents[1]
    for _ in range(2):
        agent.switch([HOA], [])
        agent.stay([HOA])
    agent.switch([HOA], [])
    world.pass_time(2)
    assert len(told(world, HomeAgentSwitch)) == 1
    agent.stay([HOA])
    agent.switch([HOA], [peer(2).outer])
    assert times_of(world, HomeAgentSwitch, 30) == [1, 5, 15]


@pytest.mark.requirement("M-AUTH-ROLLOVER")
def test_while_a_key_is_being_changed_a_repetition_takes_the_other():
    def two_keys(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = replace(config.mobile_routers[HOA], associations=(ASSOCIATION, OTHER_KEY))
        return replace(config, mobile_routers={HOA: policy})

    world = World(adapt=two_keys)
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.agents[1].switch([HOA], [])
    world.pass_time(7)
    keys = [
        authenticate(p.header, ACCESS[1], HOA, (ASSOCIATION, OTHER_KEY))
        for p, _ in told(world, HomeAgentSwitch)
    ]
    assert keys == [(ASSOCIATION, None), (OTHER_KEY, None)]


@pytest.mark.requirement("H-11", "M-CONST-SWITCH")
def test_one_mobile_router_a_second_is_told_first():
    others = [Address.parse(f"2001:db8:1:1::{number:x}") for number in range(0x20, 0x25)]

    def many(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = config.mobile_routers[HOA]
        more = {one: replace(policy, home_address=one, prefixes=()) for one in others}
        return replace(config, mobile_routers={HOA: policy, **more})

    world = World(adapt=many)
    agent = world.agents[1]
    world.inject(update_to(world, 1, ACCESS[1], 1))
    like = agent.bindings.get(HOA)._replace(prefixes=(), mobile_router=False)
    world.stored[1] = {one: like._replace(home_address=one) for one in others}
    world.restart(1)
    world.agents[1].switch(others, [])
    assert times_of(world, HomeAgentSwitch, 4) == [1, 1, 2, 3, 4]
    assert [packet.routing_home_address for packet, _ in told(world, HomeAgentSwitch)] == others


# A binding that has ended for its policy


def take_prefix_away(world: World, *indices: int) -> None:
    """As an operator does, in favour of another one."""
    for index in indices:
        policies = world.configs[index].mobile_routers
        assert isinstance(policies, dict)
        policies[HOA] = replace(policies[HOA], prefixes=(OTHER_PREFIX,))
        world.agents[index].policies_changed([HOA], world.now)
        world.settle()


@pytest.fixture
def implicit() -> World:
    """A world whose mobile router takes the prefixes that there are."""
    world = World()
    config = MobileRouterConfig("mr1", HOA, (), ASSOCIATION, lifetime=600)
    world.mobile_router = MobileRouter(config, first_sequence=1)
    return world


@pytest.mark.requirement("P-5", "M-BRR")
def test_whose_prefix_has_changed_is_bound_anew_within_a_round_trip(implicit: World) -> None:
    implicit.attach(1)
    take_prefix_away(implicit, 2, 1)
    binding = implicit.agents[1].bindings.get(HOA)
    assert binding is not None and binding.prefixes == (OTHER_PREFIX,)
    assert implicit.now.wall - binding.registered < 0.1
    implicit.pass_time(30)
    assert len(told(implicit, BindingRefreshRequest)) == 1


@pytest.mark.requirement("P-5", "M-BRR", "H-4")
def test_behind_a_proxy_it_is_bound_anew_as_well(implicit: World) -> None:
    """The proxy asks, when the primary has revoked the binding there."""
    implicit.attach(2)
    take_prefix_away(implicit, 2, 1)
    for index in (1, 2):
        binding = implicit.agents[index].bindings.get(HOA)
        assert binding is not None and binding.prefixes == (OTHER_PREFIX,)


@pytest.mark.requirement("P-5", "M-BRR")
def test_who_does_not_hear_that_its_binding_has_ended_is_asked_three_times(world: World) -> None:
    world.inject(update_to(world, 1, ACCESS[1], 1))
    take_prefix_away(world, 1)
    assert len(told(world, BindingRefreshRequest)) == 1
    assert times_of(world, BindingRefreshRequest, 60) == [3, 6]


def test_who_hears_why_not_is_told_the_status(world: World) -> None:
    """It insists on its prefix."""
    world.attach(1)
    take_prefix_away(world, 2, 1)
    assert world.mobile_router.last_refusal is not None
    assert world.mobile_router.last_refusal.status == 142


def test_who_was_removed_is_not_asked(world: World) -> None:
    world.attach(1)
    policies = world.configs[1].mobile_routers
    assert isinstance(policies, dict)
    del policies[HOA]
    world.agents[1].policies_changed([HOA], world.now)
    world.pass_time(20)
    assert told(world, BindingRefreshRequest) == []


def test_whoever_has_refresh_requests_switched_off_sends_none_here_either() -> None:
    world = World(adapt=lambda config: replace(config, refresh_requests=False))
    world.inject(update_to(world, 1, ACCESS[1], 1))
    take_prefix_away(world, 1)
    world.pass_time(10)
    assert told(world, BindingRefreshRequest) == []


@pytest.mark.requirement("P-5", "H-4")
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("policy", "its policy there no longer allows it"),
        ("move", "it is bound elsewhere"),
        ("leave", "it has de-registered"),
    ],
)
def test_a_proxy_says_why_a_binding_was_revoked(world: World, what: str, expected: str) -> None:
    world.inject(update_to(world, 2, ACCESS[2], 1))
    world.deaf.add(2)  # or BGP would be first
    if what == "policy":
        take_prefix_away(world, 1)
    else:
        world.inject(update_to(world, 1, ACCESS[1], 2, lifetime=600 if what == "move" else 0))
    lines = [one.text for one in world.log if isinstance(one, Note)]
    assert [one for one in lines if "revokes" in one] == [f"ha1 revokes the binding of {HOA}: {expected}"]
