"""Home Agents that share a partition: what one says comes late, or after both have been primary."""

from __future__ import annotations

import pytest

from haha_exabgp.protocol.binding import Binding, BindingKind
from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.protocol.haha_messages import HahaMessages
from haha_exabgp.protocol.node import Node
from haha_exabgp.protocol.routes import LearnedRoute, Metric, RouteKind
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.codes import BindingUpdateFlag, HahaOperation, MobilityType
from haha_exabgp.wire.haha_options import (
    AddressRole,
    BindingCacheInformation,
    HahaAddress,
    MobilitySequence,
    UpdateTimestamp,
)
from haha_exabgp.wire.ipv6 import MobilityPacket
from haha_exabgp.wire.options import MobileNetworkPrefix
from tests.unit.conftest import HOA, MNP, peer
from tests.unit.site_world import ACCESS, SiteWorld

FLAGS = BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER


@pytest.fixture
def site() -> SiteWorld:
    return SiteWorld()


def tell(site: SiteWorld, by: int, to: int, binding: Binding, holder: int, *, lifetime: int = 600) -> None:
    """One Home Agent of the site tells the other of a binding at a third, or at itself."""
    site.pass_time(0.05)  # no two of its messages have the same timestamp
    node = Node(site.configs[by])
    messages = HahaMessages(node, 999)
    record = (
        BindingCacheInformation(FLAGS, binding.order.sequence, lifetime, HOA, binding.care_of_address),
        HahaAddress(AddressRole.HOME_AGENT, peer(holder).haha),
        MobilitySequence(binding.mobility_sequence),
        UpdateTimestamp(binding.order.timestamp & ((1 << 64) - 1)),
        *[MobileNetworkPrefix(prefix) for prefix in binding.prefixes],
    )
    receiver = next(one for one in site.configs[by].peers if one.haha == peer(to).haha)
    messages.ask(
        receiver,
        HahaOperation.BINDING_INFORMATION_UPDATE,
        [record],
        site.now,
        argument=1,
        answered=lambda message, now: None,
        unanswered=lambda now: None,
    )
    for effect in node.take_effects():
        if isinstance(effect, Transmit):
            site.inject(effect.packet)


def later(binding: Binding, by: int = 1) -> Binding:
    """The same after one more Binding Update of the mobile router."""
    timestamp = binding.order.timestamp + (by << 32)
    return binding._replace(order=binding.order._replace(timestamp=timestamp))


def held(site: SiteWorld, index: int) -> Binding:
    binding = site.binding(index)
    assert binding is not None
    return binding


def of_type(site: SiteWorld, kind: MobilityType) -> list[MobilityPacket]:
    return [one for one in site.wire if isinstance(one, MobilityPacket) and one.header[2] == kind]


def late_answer(site: SiteWorld, *, to_stop: bool = False) -> bytes:
    """The mobile router is bound through one Home Agent; what the owner answers to a refresh, or to its end,
    is held back."""
    site.attach_to(site.other)
    site.pass_time(1)
    answers: list[bytes] = []

    def hold_back(packet: bytes) -> bool:
        between = (packet[8:24], packet[24:40]) == (peer(site.owner).haha, peer(site.other).haha)
        is_answer = between and packet[6] == 43
        answers.extend([packet] if is_answer else [])
        return is_answer

    site.drop = hold_back
    if to_stop:
        site.mobile_router.stop(site.now)
    while not answers:
        site.pass_time(0.1)
    return answers[-1]


def test_a_holder_that_is_behind_its_primary_is_told_once(site: SiteWorld) -> None:
    """The primary has granted what the holder has no acknowledgement of yet."""
    site.attach_to(site.other)
    site.pass_time(1)
    before = held(site, site.other)
    site.wire.clear()
    tell(site, site.owner, site.other, later(before), site.other)
    site.pass_time(3)
    assert held(site, site.other) == before
    haha = [packet.header[6] for packet in of_type(site, MobilityType.EXPERIMENTAL)]
    assert haha.count(HahaOperation.BINDING_INFORMATION_UPDATE) == 1


def test_what_comes_late_does_not_take_a_mobility_sequence_back(site: SiteWorld) -> None:
    site.attach_to(site.other)
    site.pass_time(1)
    before = held(site, site.other)
    for sequence in (before.mobility_sequence + 5, before.mobility_sequence + 3):
        told = later(before)._replace(mobility_sequence=sequence)
        tell(site, site.owner, site.other, told, site.other)
        assert held(site, site.other).mobility_sequence >= before.mobility_sequence + 5


@pytest.mark.requirement("Q-5")
def test_the_later_place_gets_the_higher_sequence_when_two_have_been_primary(site: SiteWorld) -> None:
    """While they did not see each other one has bound the mobile router through a proxy, the other afterwards
    at itself, with a lower sequence: the proxy has to lose it."""
    site.attach_to(3)
    site.pass_time(1)
    before = held(site, site.owner)
    now_there = later(before)._replace(
        care_of_address=ACCESS[site.other], mobility_sequence=before.mobility_sequence - 20
    )
    tell(site, site.other, site.owner, now_there, site.other)
    site.pass_time(1)
    assert held(site, site.owner).mobility_sequence > before.mobility_sequence
    assert site.binding(3) is None


def test_a_proxy_that_was_primary_meanwhile_has_granted_more(site: SiteWorld) -> None:
    site.attach_to(site.other)
    site.pass_time(1)
    before = held(site, site.owner)
    tell(site, site.other, site.owner, later(before), site.other, lifetime=2000)
    after = held(site, site.owner)
    assert (after.kind, after.order) == (BindingKind.PROXIED, later(before).order)
    assert after.expires > before.expires + 1000


def test_a_refusal_of_what_a_former_proxy_has_asked_ends_nothing(site: SiteWorld) -> None:
    """It has been told meanwhile that the mobile router is at the owner."""
    site.attach_to(site.other)
    site.pass_time(1)
    asked: list[bytes] = []

    def lose_updates(packet: bytes) -> bool:
        is_update = packet[8:24] == peer(site.other).haha and packet[6] == 60
        asked.extend([packet] if is_update else [])
        return is_update

    site.drop = lose_updates
    while not asked:
        site.pass_time(0.1)
    site.attach_to(site.owner)
    assert held(site, site.other).kind is BindingKind.REPLICA
    site.drop = lambda packet: False
    site.wire.clear()
    site.inject(asked[-1])
    answers = [one for one in of_type(site, MobilityType.BINDING_ACKNOWLEDGEMENT) if one.header[6] >= 128]
    assert peer(site.other).haha in [one.destination for one in answers]
    assert held(site, site.other).kind is BindingKind.REPLICA


def test_a_late_acknowledgement_replaces_nothing_newer(site: SiteWorld) -> None:
    """The owner has told meanwhile that the mobile router has come to it."""
    late = late_answer(site)
    there = later(held(site, site.owner))
    there = there._replace(care_of_address=ACCESS[site.owner], mobility_sequence=there.mobility_sequence + 1)
    tell(site, site.owner, site.other, there, site.owner)
    told = held(site, site.other)
    assert told.kind is BindingKind.REPLICA
    site.drop = lambda packet: False
    site.inject(late)
    assert held(site, site.other) == told


def test_a_late_acknowledgement_takes_no_mobility_sequence_back(site: SiteWorld) -> None:
    """The owner has granted the repetition once more meanwhile, with a higher one, and has told of that."""
    late = late_answer(site)
    granted = held(site, site.owner)
    higher = granted._replace(mobility_sequence=granted.mobility_sequence + 5)
    tell(site, site.owner, site.other, higher, site.other)
    site.drop = lambda packet: False
    site.inject(late)
    after = held(site, site.other)
    assert (after.kind, after.order) == (BindingKind.PROXY, granted.order)
    assert after.mobility_sequence == higher.mobility_sequence


@pytest.mark.parametrize("to_stop", [False, True])
def test_a_late_acknowledgement_ends_nothing_newer_at_who_is_primary_by_now(
    site: SiteWorld, to_stop: bool
) -> None:
    """The owner has gone since it answered; the mobile router has spoken to its successor again."""
    late = late_answer(site, to_stop=to_stop)
    answered = site.agents[site.owner].bindings.last(HOA)
    assert answered is not None
    direct = answered._replace(
        care_of_address=ACCESS[site.other],
        order=later(answered).order,
        kind=BindingKind.DIRECT,
        peer=None,
        expires=site.now.monotonic + 300,
    )
    site.agents[site.other]._bindings.replace(site.binding(site.other), direct, site.now)
    site.drop = lambda packet: False
    site.inject(late)
    assert held(site, site.other) == direct


def test_no_mobile_router_is_told_of_a_revocation(site: SiteWorld) -> None:
    """A binding that another of the site held ends there by what they tell each other."""
    site.attach_to(site.owner)
    site.pass_time(1)
    site.kill(site.owner)
    site.pass_time(5)
    assert held(site, site.other).kind is BindingKind.DIRECT
    site.revive(site.owner)
    site.pass_time(15)
    revoked: list[Address] = [one.destination for one in of_type(site, MobilityType.BINDING_REVOCATION)]
    assert not set(revoked) & set(ACCESS.values())


@pytest.mark.requirement("H-9")
def test_who_could_be_primary_follows_no_leak_of_before_the_last_binding(site: SiteWorld) -> None:
    """The mobile router has de-registered by it, as its proxy."""
    site.attach_to(site.other)
    site.pass_time(1)
    sequence = held(site, site.other).mobility_sequence
    site.mobile_router.stop(site.now)
    site.settle()
    assert site.binding(site.other) is None
    third = peer(3).haha
    for index in (1, 2):
        routes = site.agents[index].routes
        routes.learn(LearnedRoute(third, RouteKind.LEAK, MNP, third, sequence - 1))
        assert site.agents[index].wanted.route(MNP, Metric.LEAK) is None
        routes.learn(LearnedRoute(third, RouteKind.LEAK, MNP, third, sequence + 1))
        assert site.agents[index].wanted.route(MNP, Metric.LEAK) is not None
