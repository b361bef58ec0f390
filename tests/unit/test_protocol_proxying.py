"""Primary and proxy when packets are lost, late, overtaken, repeated or forged, and when one fails."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from haha_exabgp.protocol.binding import Binding, BindingKind, Order
from haha_exabgp.protocol.binding_cache import BindingCache
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.messages import acknowledgement_packet
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import State
from haha_exabgp.protocol.routes import LearnedRoute, Metric, RouteKind
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import sign
from haha_exabgp.wire.codes import BindingAcknowledgementFlag
from haha_exabgp.wire.haha_options import (
    AddressRole,
    HahaAddress,
    MobilitySequence,
    RelayedBindingUpdate,
    split_relayed,
)
from haha_exabgp.wire.ipv6 import MobilityPacket, build_mobility, parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRevocationIndication,
    BindingUpdate,
    seal,
)
from haha_exabgp.wire.options import MobileNetworkPrefix, ReplayProtection, first_option
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MESH, MNP, World, home_agent_config, peer
from tests.unit.mobility_messages import UPDATE_FLAGS, acknowledgements, message_of, update_to

ACCESS3 = Address.parse("3fff:f03::aa")


class Hold:
    """Keeps the packets from one Home Agent to another that carry a kind of message, instead of losing
    them; `limit` of them."""

    def __init__(self, kind: type, source: bytes, destination: bytes, limit: int = 1000) -> None:
        self.kind, self.source, self.destination, self.limit = kind, source, destination, limit
        self.packets: list[bytes] = []

    def __call__(self, packet: bytes) -> bool:
        fits = packet[8:24] == self.source and packet[24:40] == self.destination
        if not fits or len(self.packets) == self.limit or not isinstance(message_of(packet), self.kind):
            return False
        self.packets.append(packet)
        return True


def attach_at(world: World, site: int, care_of_address: Address | None = None) -> None:
    world.closest = site
    world.mobile_router.attached(care_of_address or {**ACCESS, 3: ACCESS3}[site], world.now)
    world.settle()


def kinds(world: World) -> dict[int, BindingKind]:
    return {index: one.kind for index, agent in world.agents.items() for one in agent.bindings}


# Late, lost, repeated


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


# Forged and replayed between Home Agents


def hop_update(world: World, relayed: RelayedBindingUpdate, *, via: int = 2, key: bytes = MESH.key) -> bytes:
    options = (ReplayProtection(from_unix(world.now.wall)), *split_relayed(relayed))
    header = sign(
        BindingUpdate(9, UPDATE_FLAGS, 600, options),
        HOA,
        peer(1).haha,
        key=key,
        spi=MESH.spi,
        care_of_address=peer(via).haha,
        home_address=HOA,
    )
    return build_mobility(peer(via).haha, peer(1).haha, header, home_address=HOA)


def relayed_update(world: World, sequence: int, *, key: bytes = ASSOCIATION.key) -> RelayedBindingUpdate:
    message = BindingUpdate(
        sequence,
        UPDATE_FLAGS,
        600,
        (MobileNetworkPrefix(MNP), ReplayProtection(from_unix(world.now.wall))),
    )
    header = sign(
        message,
        HOA,
        peer(2).outer,
        key=key,
        spi=ASSOCIATION.spi,
        care_of_address=ACCESS[2],
        home_address=HOA,
    )
    return RelayedBindingUpdate(ACCESS[2], header)


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
    world.pass_time(3)
    world.inject(hop_update(world, relayed))
    expires = world.agents[1].bindings.get(HOA).expires
    world.pass_time(300)
    world.inject(hop_update(world, relayed))
    assert world.agents[1].bindings.get(HOA).expires == expires
    assert [one.status for one in acknowledgements(world, peer(2).haha)] == [0, 0, 144]


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


def reseal(packet: bytes) -> bytes:
    """With its checksum made right again."""
    parsed = parse_packet(packet)
    header = bytearray(parsed.header)
    header[4:6] = bytes(2)
    return packet[: -len(header)] + seal(header, parsed.checksum_source, parsed.checksum_destination)


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


# Failures


@pytest.mark.requirement("F-5", "B-5")
def test_a_primary_that_is_gone_for_long(world):
    attach_at(world, 2)
    cut = True
    world.drop = lambda packet: cut and packet[24:40] in (peer(1).haha, peer(1).outer)
    world.pass_time(310)
    # It has been refreshed by the proxy alone, or refused with 130; either way packets flow.
    assert kinds(world)[2] is BindingKind.PROXY
    world.pass_time(600)
    assert kinds(world) == {} and world.mobile_router.registration is None
    assert [one for one in world.agents[2].wanted.routes() if one.metric == Metric.BINDING] == []
    cut = False
    world.pass_time(60)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert world.mobile_router.state is State.BOUND


def test_a_primary_that_refuses_for_a_while_keeps_what_both_hold(world):
    """A refusal that says nothing about the binding there is leaves it (RFC 3963 s.6.2)."""
    attach_at(world, 2)
    before = world.snapshot()
    policy = world.configs[1].mobile_routers[HOA]
    world.configs[1].mobile_routers[HOA] = replace(policy, prefixes=())
    world.pass_time(300)
    assert world.agents[1].counters["refused_143"] > 0
    assert world.snapshot() == before


@pytest.mark.parametrize("index", [1, 2])
@pytest.mark.requirement("F-7")
def test_a_home_agent_without_memory_is_bound_to_again(world, index):
    attach_at(world, 2)
    sequence = world.agents[2].bindings.get(HOA).mobility_sequence
    world.stored[index].clear()
    world.restart(index)
    world.reconnect(index)
    world.pass_time(610)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    (now,) = {agent.bindings.get(HOA).mobility_sequence for agent in world.agents.values()}
    assert now >= sequence


def test_the_mobility_sequence_rises_with_every_attachment_and_past_lost_memory(world):
    seen = []
    for round_ in range(3):
        for site in (1, 2):
            attach_at(world, site)
            world.pass_time(1)
            seen.append(world.agents[1].bindings.get(HOA).mobility_sequence)
        if round_ == 1:
            world.stored[1].clear()
            world.restart(1)
            world.reconnect(1)
            world.pass_time(5)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("who_sees_it", [1, 3])
@pytest.mark.parametrize("lead", [3600, 1 << 40])
def test_a_new_binding_outranks_what_was_leaked_before_memory_was_lost(three_sites, who_sees_it, lead):
    """The primary's clock was an hour ahead once, and it has forgotten that; the old proxy is cut off."""
    world = three_sites
    highest = (1 << 32) - 1
    sequence = min(int(world.now.wall) + lead, highest)
    old = LearnedRoute(peer(2).haha, RouteKind.LEAK, MNP, peer(2).haha, sequence)
    world.agents[who_sees_it].routes.learn(old)
    attach_at(world, 3)
    world.pass_time(1)
    new = world.agents[3].bindings.get(HOA)
    assert new is not None and new.mobility_sequence == min(sequence + 1, highest)
    assert world.mobile_router.state is State.BOUND


def stored_binding(kind: BindingKind, **changes: object) -> Binding:
    binding = Binding(
        home_address=HOA,
        care_of_address=ACCESS[1],
        prefixes=(MNP,),
        mobile_router=True,
        kind=kind,
        order=Order(1, 1),
        mobility_sequence=7,
        peer=None,
        registered=0.0,
        expires=1500.0,
    )
    if kind is BindingKind.PROXIED:
        binding = binding._replace(care_of_address=peer(2).haha, peer=peer(2).haha)
    return binding._replace(**changes)


@pytest.mark.parametrize(
    "binding",
    [
        stored_binding(BindingKind.PROXIED, care_of_address=peer(3).haha, peer=peer(3).haha),
        stored_binding(BindingKind.DIRECT, home_address=Address.parse("2001:db8:1:1::99")),
        stored_binding(BindingKind.DIRECT, prefixes=(Prefix.parse("2001:db8:1:300::/64"),)),
        stored_binding(BindingKind.PROXY, peer=peer(2).haha),
    ],
    ids=["site removed", "mobile router removed", "prefix removed", "partition moved here"],
)
@pytest.mark.requirement("S-3")
def test_a_stored_binding_that_the_configuration_no_longer_allows_has_ended(binding):
    agent = HomeAgent(home_agent_config(1), Random(1))
    agent.start((binding,), Now(1000.0, 2000.0))
    assert len(agent.bindings) == 0
    assert agent.bindings.last(binding.home_address).order == binding.order
    assert all(route.metric >= Metric.SITE for route in agent.wanted.routes())
    assert agent.wanted.permits() == frozenset()


@pytest.mark.parametrize("kind", [BindingKind.DIRECT, BindingKind.PROXIED])
def test_a_stored_binding_that_is_allowed_goes_on(kind):
    agent = HomeAgent(home_agent_config(1), Random(1))
    agent.start((stored_binding(kind),), Now(1000.0, 2000.0))
    assert agent.bindings.get(HOA) == stored_binding(kind)


def test_an_update_too_long_to_be_relayed_is_refused():
    """Both the proxy's own options and the relayed update carry every prefix; 2048 octets are the most."""
    prefixes = tuple(Prefix.of(Address.parse(f"2001:db8:1:{i:x}00::"), 64) for i in range(1, 60))

    def many(config):
        policy = replace(config.mobile_routers[HOA], prefixes=prefixes)
        return replace(config, mobile_routers={HOA: policy})

    world = World(adapt=many)
    options = (*map(MobileNetworkPrefix, prefixes), ReplayProtection(from_unix(world.now.wall)))
    header = sign(
        BindingUpdate(1, UPDATE_FLAGS, 600, options),
        HOA,
        peer(2).outer,
        key=ASSOCIATION.key,
        spi=ASSOCIATION.spi,
        care_of_address=ACCESS[2],
        home_address=HOA,
    )
    world.inject(build_mobility(ACCESS[2], peer(2).outer, header, home_address=HOA))
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [130]
    assert kinds(world) == {} and world.agents[2].next_timer() == world.agents[1].next_timer()


@pytest.mark.requirement("H-4")
@pytest.mark.parametrize("left_first", [False, True])
def test_a_primary_that_was_restarted_revokes_whoever_still_leaks_an_older_place(three_sites, left_first):
    """Whom it was still telling is not on its disk: what the other leaks gives it away."""
    world = three_sites
    attach_at(world, 2)
    cut = True
    world.drop = lambda packet: cut and peer(2).haha in (packet[8:24], packet[24:40])
    if left_first:
        world.inject(update_to(world, 1, ACCESS[2], 100, lifetime=0))
        world.pass_time(1)
    else:
        world.inject(update_to(world, 1, ACCESS[1], 100))
    world.restart(1)
    assert kinds(world)[2] is BindingKind.PROXY
    cut = False
    world.reconnect(1)
    if left_first:
        world.inject(update_to(world, 1, ACCESS[1], 102))
    world.pass_time(1)
    assert kinds(world) == {1: BindingKind.DIRECT}
    leaks = [one for one in world.agents[2].wanted.announcements() if one.kind is RouteKind.LEAK]
    assert leaks == []


@pytest.mark.requirement("B-5", "P-6", "M-CODE-128")
@pytest.mark.parametrize(
    "options",
    [
        lambda prefixes, sequence: (*prefixes,),
        lambda prefixes, sequence: (MobileNetworkPrefix(Prefix.parse("2001:dead::/64")), sequence),
    ],
    ids=["no mobility sequence", "a prefix outside Home"],
)
def test_an_acceptance_that_no_primary_of_this_home_gives_binds_nothing(world, options):
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha)
    world.inject(update_to(world, 2, ACCESS[2], 1))
    asked = message_of(world.drop.packets[0])
    stamp = first_option(asked.options, ReplayProtection)
    found = options((MobileNetworkPrefix(MNP),), MobilitySequence(int(world.now.wall)))
    message = BindingAcknowledgement(
        0, BindingAcknowledgementFlag.MOBILE_ROUTER, asked.sequence, 600, (*found, stamp)
    )
    world.inject(
        acknowledgement_packet(peer(1).haha, peer(2).haha, HOA, message, MESH, care_of_address=peer(2).haha)
    )
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [128]
    assert kinds(world) == {} and world.agents[2].refusals[HOA].why == 128


@pytest.mark.requirement("P-6", "M-CAPACITY", "M-HAHA-RELAY")
@pytest.mark.parametrize("explicit", [True, False])
def test_as_many_prefixes_as_are_allowed_fit_into_1280_octets_between_home_agents(explicit):
    prefixes = tuple(Prefix.of(Address.parse(f"2001:db8:1:{i:x}00::"), 64) for i in range(1, 42))

    def many(config):
        policy = replace(config.mobile_routers[HOA], prefixes=prefixes[:40])
        return replace(config, mobile_routers={HOA: policy})

    world = World(adapt=many)
    sizes: list[int] = []
    world.drop = lambda packet: sizes.append(len(packet)) or False
    options = (
        *(map(MobileNetworkPrefix, prefixes[:40]) if explicit else ()),
        ReplayProtection(from_unix(world.now.wall)),
        HahaAddress(AddressRole.HOME_AGENT, peer(2).outer),
    )
    header = sign(
        BindingUpdate(1, UPDATE_FLAGS, 600, options),
        HOA,
        peer(2).outer,
        key=ASSOCIATION.key,
        spi=ASSOCIATION.spi,
        care_of_address=ACCESS[2],
        home_address=HOA,
    )
    world.inject(build_mobility(ACCESS[2], peer(2).outer, header, home_address=HOA))
    assert world.agents[2].bindings.get(HOA).prefixes == prefixes[:40]
    assert max(sizes) <= 1280


# Bounded state


def test_refreshes_do_not_add_up_in_the_cache():
    cache = BindingCache()
    for second in range(5000):
        cache.put(stored_binding(BindingKind.DIRECT, expires=1000.0 + second))
    assert len(cache._expiry) == 1
    assert cache.next_expiry() == 1000.0
    assert list(cache.pop_expired(3000.0)) == []
    assert cache.next_expiry() == 5999.0
    assert [one.home_address for one in cache.pop_expired(5999.0)] == [HOA]


def test_a_shorter_lifetime_is_kept_to():
    cache = BindingCache()
    for expires in (5000.0, 1200.0):
        cache.put(stored_binding(BindingKind.DIRECT, expires=expires))
    assert [one.expires for one in cache.pop_expired(1200.0)] == [1200.0]


def test_strangers_leave_no_memory_behind(world):
    """Ten thousand of them, each with a source and home address of its own."""
    packet = update_to(world, 1, ACCESS[1], 1)
    sizes = _size(world.agents[1])
    for number in range(2000):
        stranger = Address.parse(f"3fff:f01::1:{number:x}")
        forged = packet[:8] + stranger + packet[24:]
        parsed = parse_packet(forged)
        world.agents[1].receive_mobility(
            parsed._replace(home_address=Address.parse(f"2001:db8:1:2::{number:x}")), world.now
        )
        world.agents[1].take_effects()
    assert _size(world.agents[1]) <= sizes + 5


def _size(agent: HomeAgent) -> int:
    """Entries in every container that hangs below the Home Agent."""
    seen: set[int] = set()

    def count(value: object) -> int:
        if id(value) in seen or isinstance(value, bytes | str | int | float | type):
            return 0
        seen.add(id(value))
        if isinstance(value, dict):
            return len(value) + sum(map(count, value.values()))
        if isinstance(value, list | tuple | set | frozenset):
            return len(value) + sum(map(count, value))
        return count(vars(value)) if hasattr(value, "__dict__") else 0

    return count(agent)


def test_leaks_are_for_prefixes_or_for_the_home_address_of_a_host(world):
    attach_at(world, 2)
    leaks = {one.prefix for one in world.agents[2].wanted.announcements() if one.kind is RouteKind.LEAK}
    assert leaks == {MNP}
