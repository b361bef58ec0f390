"""A Home Agent is taken out of service: everybody is sent away, nobody is let in, nobody is left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.discovery import answer_discovery
from haha_exabgp.protocol.drain import Standing
from haha_exabgp.protocol.effects import Announce, Transmit
from haha_exabgp.protocol.home import HomeAgentConfig
from haha_exabgp.protocol.routes import Audience, RouteKind
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.codes import Status
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryRequest, decode_icmpv6, encode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, build_icmpv6, parse_packet
from haha_exabgp.wire.messages import HomeAgentSwitch
from haha_exabgp.wire.mobility import decode_mobility
from haha_exabgp.wire.options import BindingRefreshAdvice, first_option
from tests.unit.conftest import ACCESS, HOA, HOME, World, peer
from tests.unit.mobility_messages import acknowledgements, message_of, update_to
from tests.unit.proxying import attach_at, kinds
from tests.unit.site_world import SiteWorld

pytestmark = pytest.mark.requirement("F-8")

OTHERS = [Address.parse(f"2001:db8:1:1::{last}") for last in range(20, 25)]


def switches(world: World) -> list[tuple[MobilityPacket, HomeAgentSwitch]]:
    found = []
    for packet in world.wire:
        if isinstance(packet, MobilityPacket):
            message = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
            if isinstance(message, HomeAgentSwitch):
                found.append((packet, message))
    return found


def limited_to(*proxies: str) -> Callable[[HomeAgentConfig], HomeAgentConfig]:
    def adapt(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = replace(config.mobile_routers[HOA], proxies=frozenset(proxies))
        return replace(config, mobile_routers={HOA: policy})

    return adapt


def announces_home(world: World, index: int) -> bool:
    return any(told.kind is RouteKind.HOME for told in world.agents[index].wanted.announcements())


def drain(world: World, index: int, interval: float = 1.0) -> None:
    world.agents[index].drain(world.now, interval)
    world.settle()


def standings(world: World, index: int) -> list[Standing]:
    return [one.standing for one in world.agents[index].remaining()]


def crowd(seconds: float = 600.0) -> World:
    """The first Home Agent has bindings that nobody answers for."""

    def many(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = config.mobile_routers[HOA]
        more = {one: replace(policy, home_address=one, prefixes=()) for one in OTHERS}
        return replace(config, mobile_routers={HOA: policy, **more})

    world = World(adapt=many)
    world.inject(update_to(world, 1, ACCESS[1], 1))
    like = world.agents[1].bindings.get(HOA)
    assert like is not None
    like = like._replace(prefixes=(), mobile_router=False, expires=world.now.monotonic + seconds)
    world.stored[1] = {one: like._replace(home_address=one) for one in OTHERS}
    world.restart(1)
    world.reconnect(1)
    return world


@pytest.mark.parametrize("here", [1, 2])
def test_who_is_bound_there_leaves_and_home_before_that(three_sites: World, here: int) -> None:
    world = three_sites
    attach_at(world, here)
    world.log.clear()
    drain(world, here)
    world.pass_time(3)
    assert not announces_home(world, here)
    assert standings(world, here) == []
    bound = kinds(world)
    assert bound.get(here) is not BindingKind.DIRECT
    assert BindingKind.PROXY in bound.values() or bound == {1: BindingKind.DIRECT}
    gone = next(i for i, one in enumerate(world.log) if isinstance(one, Announce))
    sent = next(
        i
        for i, one in enumerate(world.log)
        if isinstance(one, Transmit) and isinstance(message_of(one.packet), HomeAgentSwitch)
    )
    assert gone < sent
    assert world.log[gone].announcement.kind is RouteKind.HOME_LEAVING


@pytest.mark.requirement("H-11", "M-CONST-SWITCH")
@pytest.mark.parametrize(("interval", "expected"), [(1.0, [0, 0, 1, 2, 3]), (0.2, [0, 0, 0, 0, 0])])
def test_they_are_told_at_the_pace_that_was_asked_for(interval: float, expected: list[int]) -> None:
    world = crowd()
    drain(world, 1, interval)
    seconds = []
    for second in range(5):
        before = len(switches(world))
        world.pass_time(1.0)
        seconds += [second] * len({one.routing_home_address for one, _ in switches(world)[before:]})
    assert seconds[:5] == expected
    assert {one.routing_home_address for one, _ in switches(world)} == set(OTHERS)


@pytest.mark.requirement("H-11")
def test_the_message_says_where_to_and_how_long_it_is_served() -> None:
    """RFC 5142 s.5.1."""
    world = crowd(seconds=333.0)
    drain(world, 1)
    world.pass_time(0.5)
    ((_, message),) = switches(world)
    assert message.addresses == (peer(2).outer,)
    advice = first_option(message.options, BindingRefreshAdvice)
    assert advice is not None and advice.interval == 332


def test_a_refresh_before_its_turn_is_granted_and_one_after_it_is_not(three_sites: World) -> None:
    world = three_sites
    world.inject(update_to(world, 1, ACCESS[1], 1))
    drain(world, 1)
    world.inject(update_to(world, 1, ACCESS[1], 2))
    world.pass_time(1.5)
    world.inject(update_to(world, 1, ACCESS[1], 3))
    assert [one.status for one in acknowledgements(world, ACCESS[1])] == [
        Status.ACCEPTED,
        Status.ACCEPTED,
        Status.ADMINISTRATIVELY_PROHIBITED,
    ]


def test_who_may_be_bound_by_no_other_stays_and_is_served() -> None:
    world = World(sites=3, adapt=limited_to())
    world.attach(1)
    drain(world, 1)
    world.pass_time(700)
    assert switches(world) == []
    assert standings(world, 1) == [Standing.ALONE]
    assert world.agents[1].bindings.get(HOA) is not None


def test_it_is_told_of_those_only_that_may_bind_it() -> None:
    world = World(sites=3, adapt=limited_to("ha3"))
    world.inject(update_to(world, 1, ACCESS[1], 1))
    drain(world, 1)
    world.pass_time(0.5)
    ((_, message),) = switches(world)
    assert message.addresses == (peer(3).outer,)


def test_when_the_others_are_lost_it_may_stay_and_when_they_are_back_it_goes(world: World) -> None:
    world.pass_time(15)
    world.inject(update_to(world, 1, ACCESS[1], 1))
    drain(world, 1)
    world.pass_time(0.5)
    assert standings(world, 1) == [Standing.TOLD]
    world.agents[1].routes.session_changed(peer(2).haha, False, world.now.monotonic)
    world.pass_time(1.5)
    assert standings(world, 1) == [Standing.ALONE]
    assert announces_home(world, 1)
    world.inject(update_to(world, 1, ACCESS[1], 2))
    assert acknowledgements(world, ACCESS[1])[-1].status == Status.ACCEPTED
    world.agents[1].routes.session_changed(peer(2).haha, True, world.now.monotonic)
    world.pass_time(1.5)
    assert standings(world, 1) == [Standing.TOLD]
    assert not announces_home(world, 1)


@pytest.mark.parametrize("here", [1, 2])
def test_a_newcomer_asks_the_next_one(world: World, here: int) -> None:
    drain(world, here)
    world.inject(update_to(world, here, ACCESS[1], 1))
    assert [one.status for one in acknowledgements(world, ACCESS[1])] == [Status.ADMINISTRATIVELY_PROHIBITED]
    assert world.agents[here].bindings.get(HOA) is None


@pytest.mark.requirement("L-4")
def test_a_de_registration_is_never_refused(world: World) -> None:
    world.inject(update_to(world, 1, ACCESS[1], 1))
    drain(world, 1)
    world.pass_time(0.5)
    world.inject(update_to(world, 1, ACCESS[1], 2, lifetime=0))
    assert acknowledgements(world, ACCESS[1])[-1].status == Status.ACCEPTED
    assert standings(world, 1) == []


def test_a_newcomer_that_has_nobody_else_is_let_in() -> None:
    world = World(adapt=limited_to())
    drain(world, 1)
    world.inject(update_to(world, 1, ACCESS[1], 1))
    world.pass_time(1)
    assert [one.status for one in acknowledgements(world, ACCESS[1])] == [Status.ACCEPTED]
    assert standings(world, 1) == [Standing.ALONE]


def test_a_proxy_may_still_register_with_its_primary(world: World) -> None:
    drain(world, 1)
    world.inject(update_to(world, 2, ACCESS[2], 1))
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert standings(world, 1) == []
    world.pass_time(20)
    assert switches(world) == []


@pytest.mark.requirement("D-3")
def test_discovery_names_the_others(world: World) -> None:
    def answer(index: int) -> tuple[Address, ...]:
        anycast = home_agents_anycast(Prefix.of(HOA, 64))
        message = encode_icmpv6(HomeAgentDiscoveryRequest(7, True), ACCESS[1], anycast)
        asked = parse_packet(build_icmpv6(ACCESS[1], anycast, message))
        assert isinstance(asked, IcmpPacket)
        world.agents[index].receive_discovery(asked, world.now)
        (sent,) = [one for one in world.agents[index].take_effects() if isinstance(one, Transmit)]
        packet = parse_packet(sent.packet)
        assert isinstance(packet, IcmpPacket)
        reply = decode_icmpv6(packet.message, packet.source, packet.destination)
        return reply.addresses

    assert answer(1) == (peer(1).outer, peer(2).outer)
    drain(world, 1)
    assert answer(1) == (peer(2).outer,)
    world.agents[1].routes.session_changed(peer(2).haha, False, world.now.monotonic)
    world.settle()
    assert answer(1) == (peer(1).outer,)


def test_discovery_of_one_alone_names_itself(world: World) -> None:
    anycast = home_agents_anycast(Prefix.of(HOA, 64))
    message = encode_icmpv6(HomeAgentDiscoveryRequest(7, True), ACCESS[1], anycast)
    asked = parse_packet(build_icmpv6(ACCESS[1], anycast, message))
    assert isinstance(asked, IcmpPacket)
    reply = answer_discovery(asked, world.configs[1], (), Random(1), is_leaving=True)
    assert isinstance(reply, bytes) and bytes(peer(1).outer) in reply[40:]
    assert HOME.contains(anycast)


def test_called_off_everything_is_as_before(three_sites: World) -> None:
    world = three_sites
    world.inject(update_to(world, 1, ACCESS[1], 1))
    before = world.snapshot()
    drain(world, 1)
    world.pass_time(0.5)
    world.agents[1].cancel_drain(world.now)
    world.settle()
    assert world.snapshot() == before
    sent = len(switches(world))
    world.inject(update_to(world, 1, ACCESS[1], 2))
    assert acknowledgements(world, ACCESS[1])[-1].status == Status.ACCEPTED
    world.pass_time(60)
    assert len(switches(world)) == sent
    assert not world.agents[1].is_draining


def test_who_comes_back_is_sent_away_again() -> None:
    """It was let in because there was nobody else; then there is."""
    world = World()
    drain(world, 1)
    world.agents[1].routes.session_changed(peer(2).haha, False, world.now.monotonic)
    world.pass_time(1.5)
    world.inject(update_to(world, 1, ACCESS[1], 1))
    assert standings(world, 1) == [Standing.WAITING]
    world.pass_time(1)
    assert standings(world, 1) == [Standing.ALONE]
    world.agents[1].routes.session_changed(peer(2).haha, True, world.now.monotonic)
    world.pass_time(2)
    assert standings(world, 1) == [Standing.TOLD]


def test_who_does_not_listen_is_told_again_and_gone_with_its_binding(world: World) -> None:
    world.inject(update_to(world, 1, ACCESS[1], 1, lifetime=100))
    drain(world, 1)
    world.pass_time(60)
    (one,) = world.agents[1].remaining()
    assert (one.standing, one.messages) == (Standing.TOLD, 5)
    world.pass_time(60)
    assert standings(world, 1) == []


# With other Home Agents at the site


@pytest.fixture
def site() -> SiteWorld:
    return SiteWorld()


def kinds_at(site: SiteWorld) -> dict[int, BindingKind]:
    return {index: one.kind for index in site.agents if (one := site.binding(index)) is not None}


@pytest.mark.requirement("F-8", "F-2")
def test_who_is_bound_elsewhere_gets_another_primary_and_renews_with_it(site: SiteWorld) -> None:
    site.attach_to(3)
    site.pass_time(1)
    before = site.binding(3)
    drain(site, site.owner)
    site.pass_time(3)
    assert kinds_at(site) == {
        site.owner: BindingKind.REPLICA,
        site.other: BindingKind.PROXIED,
        3: BindingKind.PROXY,
    }
    site.kill(site.owner)
    site.pass_time(700)
    after = site.binding(3)
    assert before is not None and after is not None and after.mobility_sequence == before.mobility_sequence
    assert kinds_at(site) == {site.other: BindingKind.PROXIED, 3: BindingKind.PROXY}


@pytest.mark.requirement("F-8", "D-4")
def test_the_other_one_of_the_site_comes_first_and_is_the_border_home_agent(site: SiteWorld) -> None:
    site.attach_to(site.owner)
    site.pass_time(1)
    site.wire.clear()
    drain(site, site.owner)
    site.pass_time(3)
    (_, message), *_ = switches(site)
    assert message.addresses == (peer(site.other).outer, peer(3).outer)
    assert kinds_at(site) == {site.owner: BindingKind.REPLICA, site.other: BindingKind.DIRECT}
    home = {index: site.agents[index].wanted.announcement(Audience.SITE, HOME) for index in (1, 2)}
    gone, there = home[site.owner], home[site.other]
    assert gone is not None and gone.kind is RouteKind.HOME_LEAVING
    assert there is not None and there.kind is RouteKind.HOME and there.sequence > 0
    partition = {
        index: site.agents[index].wanted.announcement(Audience.OTHER_SITES, peer(1).partition)
        for index in (1, 2)
    }
    assert [index for index, one in partition.items() if one is not None and one.sequence] == [site.other]


@pytest.mark.requirement("F-8")
def test_back_in_service_it_owns_again_what_it_did(site: SiteWorld) -> None:
    site.attach_to(3)
    site.pass_time(1)
    before = kinds_at(site)
    drain(site, site.owner)
    site.pass_time(3)
    site.agents[site.owner].cancel_drain(site.now)
    site.pass_time(3)
    assert kinds_at(site) == before


@pytest.mark.requirement("F-8")
def test_two_at_a_time_do_not_send_each_other_their_mobile_routers(site: SiteWorld) -> None:
    site.attach_to(site.owner)
    site.pass_time(1)
    drain(site, site.other)
    drain(site, 3)
    site.pass_time(2)
    site.wire.clear()
    drain(site, site.owner)
    site.pass_time(5)
    assert switches(site) == []
    assert standings(site, site.owner) == [Standing.ALONE]
    assert announces_home(site, site.owner)
