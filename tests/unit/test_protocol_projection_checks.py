"""Answers about routes on demand that are late, wrong, or of somebody who may not give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from haha_exabgp.protocol.messages import haha_packet
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import HahaFlag, HahaOperation
from haha_exabgp.wire.haha_options import (
    BindingCacheInformation,
    Egress,
    HahaAddress,
    MobilitySequence,
    RoutedPrefix,
)
from haha_exabgp.wire.messages import HahaMessage
from haha_exabgp.wire.options import MobilityOption, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import HOA, MESH, MNP, World, peer
from tests.unit.mobility_messages import message_of
from tests.unit.projecting import HOST, OUTER, PROJECTED, notice, projected, unleaked_world
from tests.unit.proxying import Hold, attach_at

Change = Callable[[list[MobilityOption]], list[MobilityOption]]


@pytest.fixture
def elsewhere() -> World:
    return unleaked_world()


def _with(kind: type, **fields: object) -> Change:
    return lambda options: [replace(one, **fields) if isinstance(one, kind) else one for one in options]


def _more(option: MobilityOption) -> Change:
    return lambda options: [*options, option]


def _without(kind: type) -> Change:
    return lambda options: [one for one in options if not isinstance(one, kind)]


def answer_otherwise(world: World, by: int, change: Change, argument: int | None = None) -> None:
    """A Home Agent that has the mesh key says something else, when traffic is noticed at the third."""
    world.drop = held = Hold(HahaMessage, peer(by).haha, peer(3).haha, limit=1)
    notice(world, 3)
    world.drop = lambda packet: False
    (packet,) = held.packets
    message = message_of(packet)
    assert isinstance(message, HahaMessage)
    options = change([one for one in message.options if type(one).__name__ in _SAID])
    changed = replace(
        message,
        argument=message.argument if argument is None else argument,
        options=(ReplayProtection(from_unix(world.now.wall)), *options),
    )
    world.inject(haha_packet(peer(by).haha, peer(3).haha, changed, MESH))


_SAID = {
    one.__name__ for one in (HahaAddress, Egress, RoutedPrefix, BindingCacheInformation, MobilitySequence)
}
FOREIGN = Prefix.parse("2001:db8:3:100::/64")
UNLISTED = Prefix.parse("2001:db8:1:200::/64")


def test_said_as_it_was_it_makes_a_route(elsewhere):
    """So that what the next tests change is what they refuse."""
    for by in (1, 2):
        world = unleaked_world()
        answer_otherwise(world, by, lambda options: options)
        assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])


@pytest.mark.requirement("O-6")
@pytest.mark.parametrize(
    ("by", "change", "why"),
    [
        (1, _more(RoutedPrefix(FOREIGN)), "outside_partition"),
        (1, _more(RoutedPrefix(Prefix.parse("::/0"))), "outside_partition"),
        (1, _without(RoutedPrefix), "not_what_was_asked"),
        (1, _with(RoutedPrefix, prefix=UNLISTED), "not_what_was_asked"),
        (1, _with(Egress, locator=Address.parse("3fff:bad::1")), "unknown_egress"),
        (1, _with(BindingCacheInformation, care_of_address=Address.parse("3fff:bad::1")), "unknown_egress"),
        (1, _with(BindingCacheInformation, care_of_address=peer(3).haha), "unknown_egress"),
        (2, _more(RoutedPrefix(UNLISTED)), "not_authorised"),
        (2, _more(RoutedPrefix(FOREIGN)), "not_authorised"),
        (2, _with(Egress, locator=OUTER[1]), "not_authorised"),
        (2, _with(BindingCacheInformation, home_address=Address.parse("2001:db8:1:1::99")), "denied"),
        (2, _with(MobilitySequence, sequence=1), "denied"),
        (2, _with(MobilitySequence, sequence=2**32 - 1), "denied"),
        (2, _without(Egress), "denied"),
    ],
)
def test_what_does_not_fit_what_the_primary_may_say_and_has_said_makes_no_route(elsewhere, by, change, why):
    world = elsewhere
    before = world.agents[3].wanted.routes()
    answer_otherwise(world, by, change)
    assert world.agents[3].wanted.routes() == before
    assert world.agents[3].counters[f"projection_refused_{why}"] == 1


@pytest.mark.requirement("O-6")
def test_a_prefix_that_the_egress_does_not_list_gets_no_route(elsewhere):
    world = elsewhere
    answer_otherwise(world, 2, lambda options: [one for one in options if one != RoutedPrefix(MNP)])
    assert projected(world, 3) == {Prefix.host(HOA): OUTER[2]}


@pytest.mark.requirement("O-9")
def test_no_answer_is_believed_for_longer_than_was_asked(elsewhere):
    world = elsewhere
    answer_otherwise(world, 2, lambda options: options, argument=65535)
    world.pass_time(95)
    assert projected(world, 3) == {}


@pytest.mark.requirement("O-9", "H-5")
def test_an_answer_that_comes_after_its_purge_makes_no_route(elsewhere):
    world = elsewhere
    world.drop = held = Hold(HahaMessage, peer(2).haha, peer(3).haha, limit=1)
    notice(world, 3)
    attach_at(world, 1)
    world.pass_time(0.1)
    world.drop = lambda packet: False
    for packet in held.packets:
        world.inject(packet)
    world.pass_time(2)
    assert projected(world, 3) == {}


@pytest.mark.requirement("S-8", "O-6")
def test_a_purge_of_another_home_agent_ends_nothing(elsewhere):
    world = elsewhere
    notice(world, 3)
    purge_by(world, 1, HOA, 2**32 - 1)
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])
    purge_by(world, 2, HOA, 5)
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2]), "of an attachment before"
    purge_by(world, 2, HOA, world.agents[2].bindings.get(HOA).mobility_sequence)
    assert projected(world, 3) == {}


def purge_by(world: World, by: int, home_address: Address, sequence: int) -> None:
    world.pass_time(0.01)
    options = (
        ReplayProtection(from_unix(world.now.wall)),
        HahaAddress(1, home_address),
        MobilitySequence(sequence),
    )
    message = HahaMessage(HahaOperation.RESOLUTION_PURGE, HahaFlag.ACKNOWLEDGE, 77, 0, options)
    packet = haha_packet(peer(by).haha, peer(3).haha, message, MESH)
    world.inject(packet)


@pytest.mark.requirement("S-8")
@pytest.mark.parametrize("operation", [5, 7])
def test_a_question_or_a_purge_that_says_nothing_is_dropped(elsewhere, operation):
    world = elsewhere
    options = (ReplayProtection(from_unix(world.now.wall)),)
    message = HahaMessage(HahaOperation(operation), HahaFlag.ACKNOWLEDGE, 9, 60, options)
    world.inject(haha_packet(peer(3).haha, peer(2).haha, message, MESH))
    assert world.agents[2].counters["dropped_unexpected_message"] == 1


def test_the_destination_counts_not_the_question(elsewhere):
    """Another host behind the same mobile router needs no question of its own."""
    world = elsewhere
    notice(world, 3)
    count = world.agents[3].counters["resolution_started"]
    notice(world, 3, Address(HOST[:15] + b"\x77"))
    notice(world, 3, HOA)
    assert world.agents[3].counters["resolution_started"] == count == 1
