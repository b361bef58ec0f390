"""Routes on demand: made, kept, ended, and what never happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import LeakPolicy, MobileRouterPolicy
from haha_exabgp.protocol.routes import LearnedRoute, Metric, RouteKind
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import HahaOperation, MobilityType
from haha_exabgp.wire.haha_options import BindingCacheInformation, Egress
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket
from haha_exabgp.wire.messages import HahaMessage
from haha_exabgp.wire.options import first_option
from tests.unit.conftest import ASSOCIATION, HOA, MNP, World, peer
from tests.unit.mobility_messages import message_of, update_to
from tests.unit.projecting import (
    HOLDING_TIME,
    HOST,
    OUTER,
    PROJECTED,
    announced,
    keep_traffic,
    notice,
    on_demand,
    projected,
    said,
    unleaked_world,
    way,
)
from tests.unit.proxying import ACCESS3, attach_at, kinds
from tests.unit.site_world import of_two_sites

REQUEST = HahaOperation.RESOLUTION_REQUEST
REPLY = HahaOperation.RESOLUTION_REPLY
PURGE = HahaOperation.RESOLUTION_PURGE


def _is_haha(packet: MobilityPacket | IcmpPacket) -> bool:
    return isinstance(packet, MobilityPacket) and packet.header[2] == MobilityType.EXPERIMENTAL


@pytest.fixture
def elsewhere() -> World:
    return unleaked_world()


@pytest.mark.requirement("O-1", "O-2", "O-3", "O-4", "O-5")
def test_traffic_at_the_ingress_makes_routes_to_the_egress_for_all_of_the_mobile_router(elsewhere):
    world = elsewhere
    assert way(world, 3, HOST)[1:3] == (Metric.SITE, OUTER[1])
    notice(world, 3)
    assert way(world, 3, HOST)[1:3] == (Metric.PROJECTED, OUTER[2])
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])
    asked = [(source, destination) for source, destination, _ in said(world, REQUEST)]
    assert asked == [(peer(3).haha, peer(1).haha), (peer(3).haha, peer(2).haha)]
    by_primary, by_egress = (message for _, _, message in said(world, REPLY))
    for message in (by_primary, by_egress):
        assert first_option(message.options, Egress).locator == OUTER[2]
    assert first_option(by_primary.options, BindingCacheInformation).care_of_address == peer(2).haha
    assert first_option(by_egress.options, BindingCacheInformation).care_of_address == OUTER[2]


@pytest.mark.requirement("O-2")
def test_while_nobody_answers_the_normal_path_stays(elsewhere):
    world = elsewhere
    world.drop = lambda packet: isinstance(message_of(packet), HahaMessage)
    before = world.agents[3].wanted.routes()
    keep_traffic(world, 3, 60)
    assert world.agents[3].wanted.routes() == before
    assert len(said(world)) <= 3 * 3, "asked for again after half a minute, three times each"


@pytest.mark.requirement("O-2")
@pytest.mark.parametrize(
    ("at", "destination"),
    [
        (3, Address.parse("3fff:f01::aa")),
        (3, Address.parse("2001:db8:3:100::1")),
        (3, peer(2).haha),
        (2, HOST),
        (1, HOST),
    ],
)
def test_what_has_no_shorter_way_is_not_asked_for(elsewhere, at, destination):
    """Outside Home; of the own partition; a Home Agent; bound here; reached straight by the primary."""
    notice(elsewhere, at, destination)
    assert said(elsewhere) == []


@pytest.mark.requirement("O-2")
def test_a_leak_is_the_shorter_way_already(three_sites):
    world = World(3, adapt=on_demand)
    attach_at(world, 2)
    assert way(world, 3, HOST).metric == Metric.LEAK
    notice(world, 3)
    assert said(world) == []


@pytest.mark.requirement("O-2")
@pytest.mark.parametrize("at_primary", [True, False])
def test_a_negative_answer_is_good_for_a_while(elsewhere, at_primary):
    world = elsewhere
    if at_primary:
        attach_at(world, 1)
    destination = HOST if at_primary else Address.parse("2001:db8:1:eeee::1")
    keep_traffic(world, 3, 25, destination)
    assert len(said(world, REQUEST)) == 1
    assert projected(world, 3) == {}
    keep_traffic(world, 3, 30, destination)
    assert len(said(world, REQUEST)) == 2


@pytest.mark.requirement("O-2")
def test_strangers_make_it_ask_no_more_than_so_much(elsewhere):
    world = elsewhere
    for number in range(1000):
        notice(world, 3, Address(HOST[:8] + number.to_bytes(8, "big")))
        notice(
            world, 3, Address(peer(1).partition.address[:6] + (0x7000 + number).to_bytes(2, "big") + bytes(8))
        )
    asked = said(world, REQUEST)
    assert len(asked) <= 250
    assert world.agents[3].counters["dropped_too_many_resolutions"] > 700
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2]), "the one prefix was asked for once"


def test_not_more_mobile_routers_than_are_allowed():
    def full(config):
        return replace(config, on_demand=replace(on_demand(config).on_demand, max_routes=0))

    world = World(3, adapt=full)
    world.deaf = {1, 2, 3}
    attach_at(world, 2)
    notice(world, 3)
    assert (projected(world, 3), said(world)) == ({}, [])


def test_who_has_it_turned_off_neither_asks_nor_answers():
    world = World(3, adapt=lambda config: on_demand(config) if config.name == "ha3" else config)
    world.deaf = {1, 2, 3}
    attach_at(world, 2)
    notice(world, 3)
    world.pass_time(20)
    assert projected(world, 3) == {}
    assert {source for source, _, _ in said(world)} == {peer(3).haha}
    notice(world, 2, Address.parse("2001:db8:3:100::1"))
    assert {source for source, _, _ in said(world)} == {peer(3).haha}


@pytest.mark.requirement("O-7")
def test_only_the_two_ends_have_state_and_no_announcement_tells(elsewhere):
    world = elsewhere
    told = [agent.wanted.announcements() for agent in world.agents.values()]
    primary = world.snapshot_of(1)
    before = len(announced(world))
    notice(world, 3)
    assert len(announced(world)) == before
    assert [agent.wanted.announcements() for agent in world.agents.values()] == told
    assert world.snapshot_of(1) == primary
    assert [one for index in (1, 3) for one in world.agents[index].projected_here()] == []
    ((home_address, ingress, _),) = world.agents[2].projected_here()
    assert (home_address, ingress.name) == (HOA, "ha3")
    assert [one.authorised.egress.name for one in world.agents[3].projections()] == ["ha2"]


@pytest.mark.requirement("O-8")
def test_mobile_router_and_correspondents_hear_nothing(elsewhere):
    world = elsewhere
    seen = len(world.wire)
    notice(world, 3)
    keep_traffic(world, 3, 60)
    attach_at(world, 2)
    between = {peer(index).haha for index in (1, 2, 3)}
    told = [(packet.source, packet.destination) for packet in world.wire[seen:] if _is_haha(packet)]
    assert told
    assert {address for ends in told for address in ends} <= between


@pytest.mark.requirement("O-9")
def test_it_is_asked_for_again_at_a_third_while_there_is_traffic(elsewhere):
    world = elsewhere
    notice(world, 3)
    keep_traffic(world, 3, 10 * HOLDING_TIME)
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])
    renewals = [d for _, d, _ in said(world, REQUEST)][2:]
    assert set(renewals) == {peer(2).haha}, "the egress alone"
    assert 28 <= len(renewals) <= 31


@pytest.mark.requirement("O-9")
def test_without_traffic_it_lapses(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.pass_time(HOLDING_TIME - 1)
    assert projected(world, 3) != {}
    assert len(said(world, REQUEST)) == 2
    world.pass_time(1.1)
    assert projected(world, 3) == {}
    assert list(world.agents[2].projected_here()) == []


@pytest.mark.requirement("O-9")
def test_traffic_that_begins_again_late_renews_it(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.pass_time(HOLDING_TIME - 5)
    notice(world, 3)
    world.pass_time(HOLDING_TIME - 10)
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])


@pytest.mark.requirement("O-9", "L-7")
def test_it_does_not_outlive_the_binding_that_it_comes_from(elsewhere):
    world = elsewhere
    world.pass_time(1)
    lifetime = world.agents[2].bindings.get(HOA).expires - world.now.monotonic
    world.drop = lambda packet: True
    world.pass_time(lifetime - 20)
    world.drop = lambda packet: not isinstance(message_of(packet), HahaMessage)
    notice(world, 3)
    assert projected(world, 3) != {}
    world.drop = lambda packet: True
    world.pass_time(20.1)
    assert projected(world, 3) == {}


@pytest.mark.requirement("O-9", "H-5", "O-10")
@pytest.mark.parametrize("to", [1, 3])
def test_a_move_takes_the_route_away_at_once(elsewhere, to):
    world = elsewhere
    notice(world, 3)
    attach_at(world, to)
    world.pass_time(0.1)
    assert projected(world, 3) == {}
    assert way(world, 3, HOST).metric == (Metric.SITE if to == 1 else Metric.BINDING)
    assert [(s, d) for s, d, _ in said(world, PURGE)] == [(peer(2).haha, peer(3).haha)]
    assert (
        world.agents[3].counters["projection_ended_purged"]
        + world.agents[3].counters["projection_ended_bound_here"]
        == 1
    )
    world.pass_time(60)
    assert len(said(world, PURGE)) == 1, "it was acknowledged"


@pytest.mark.requirement("O-9")
def test_a_purge_is_repeated_until_it_is_acknowledged(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.drop = lambda packet: peer(3).haha in (packet[8:24], packet[24:40])
    attach_at(world, 1)
    world.pass_time(20)
    assert projected(world, 3) != {}
    assert len(said(world, PURGE)) == 6
    world.drop = lambda packet: False
    world.pass_time(20)
    assert projected(world, 3) == {}
    count = len(said(world, PURGE))
    world.pass_time(60)
    assert len(said(world, PURGE)) == count


@pytest.mark.requirement("O-9")
def test_a_purge_is_repeated_no_longer_than_the_holding_time(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.drop = lambda packet: peer(3).haha in (packet[8:24], packet[24:40])
    attach_at(world, 1)
    world.pass_time(HOLDING_TIME + 1)
    assert projected(world, 3) == {}
    count = len(said(world, PURGE))
    world.pass_time(300)
    assert len(said(world, PURGE)) == count


@pytest.mark.requirement("O-9")
def test_a_move_under_the_same_egress_is_nobodys_business(elsewhere):
    world = elsewhere
    notice(world, 3)
    seen = len(said(world))
    attach_at(world, 2, Address.parse("3fff:f02::bb"))
    world.pass_time(1)
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])
    assert len(said(world)) == seen


@pytest.mark.requirement("O-9", "H-5")
def test_after_a_move_the_next_traffic_finds_the_new_egress():
    world = unleaked_world(4)
    notice(world, 4)
    assert projected(world, 4) == dict.fromkeys(PROJECTED, OUTER[2])
    attach_at(world, 3)
    world.pass_time(0.1)
    notice(world, 4)
    assert projected(world, 4) == dict.fromkeys(PROJECTED, OUTER[3])
    attach_at(world, 2)
    world.pass_time(0.1)
    notice(world, 4)
    assert projected(world, 4) == dict.fromkeys(PROJECTED, OUTER[2])
    assert len(list(world.agents[2].projected_here())) == 1


@pytest.mark.requirement("O-10")
def test_a_lost_session_to_the_egress_is_the_end_of_it(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.agents[3].routes.session_changed(peer(1).haha, False, world.now.monotonic)
    assert projected(world, 3) != {}, "the primary is not needed"
    world.agents[3].routes.session_changed(peer(2).haha, False, world.now.monotonic)
    world.settle()
    assert projected(world, 3) == {}
    assert world.agents[3].counters["projection_ended_unreachable"] == 1


@pytest.mark.requirement("O-10")
def test_an_egress_that_does_not_answer_is_the_end_of_it(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.drop = lambda packet: packet[8:24] == peer(2).haha
    keep_traffic(world, 3, HOLDING_TIME // 3 + 5)
    assert projected(world, 3) == {}


@pytest.mark.requirement("F-5", "O-9")
def test_without_its_primary_a_projected_route_goes_on(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.drop = lambda packet: peer(1).haha in (packet[8:24], packet[24:40])
    keep_traffic(world, 3, 2 * HOLDING_TIME)
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])


@pytest.mark.requirement("O-10")
@pytest.mark.parametrize("later", [True, False])
def test_of_leak_and_projected_route_the_later_attachment_counts(elsewhere, later):
    world = elsewhere
    notice(world, 3)
    sequence = world.agents[2].bindings.get(HOA).mobility_sequence + (0 if later else -1)
    leak = LearnedRoute(peer(1).haha, RouteKind.LEAK, MNP, peer(1).haha, sequence)
    world.agents[3].routes.learn(leak)
    assert (projected(world, 3) == {}) is later


@pytest.mark.requirement("O-11")
def test_two_mobile_routers_at_two_proxies_are_bound_crosswise():
    other, network = Address.parse("2001:db8:1:2::10"), Prefix.parse("2001:db8:1:200::/64")

    def both(config):
        policy = MobileRouterPolicy("mr2", other, (network,), (ASSOCIATION,))
        return replace(on_demand(config), mobile_routers={**config.mobile_routers, other: policy})

    world = World(3, adapt=both)
    world.deaf = {1, 2, 3}
    attach_at(world, 2)
    world.inject(update_to(world, 3, ACCESS3, 1, home_address=other, prefix=network))
    notice(world, 3, HOST)
    notice(world, 2, Address(network.address[:8] + bytes(7) + b"\x42"))
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])
    assert projected(world, 2) == dict.fromkeys((Prefix.host(other), network), OUTER[3])
    assert list(world.agents[1].projections()) == []


@pytest.mark.requirement("B-9")
def test_whatever_becomes_of_it_no_binding_changes(elsewhere):
    world = elsewhere
    bindings = {index: frozenset(agent.bindings) for index, agent in world.agents.items()}
    stored = {index: dict(kept) for index, kept in world.stored.items()}
    notice(world, 3)
    world.drop = lambda packet: isinstance(message_of(packet), HahaMessage)
    keep_traffic(world, 3, HOLDING_TIME)
    world.drop = lambda packet: False
    keep_traffic(world, 3, 30)
    world.agents[3].routes.session_changed(peer(2).haha, False, world.now.monotonic)
    world.settle()
    assert {index: frozenset(agent.bindings) for index, agent in world.agents.items()} == bindings
    assert world.stored == stored
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}


# Processes that are killed


@pytest.mark.requirement("O-10", "L-7")
def test_an_ingress_that_is_started_anew_begins_on_the_normal_path(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.restart(3)
    assert projected(world, 3) == {}
    notice(world, 3)
    assert projected(world, 3) == dict.fromkeys(PROJECTED, OUTER[2])
    attach_at(world, 1)
    world.pass_time(0.1)
    assert projected(world, 3) == {}


@pytest.mark.requirement("O-9", "L-7")
def test_an_egress_that_is_started_anew_takes_back_what_it_said_before(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.restart(2)
    attach_at(world, 1)
    world.pass_time(0.1)
    assert projected(world, 3) == {}


@pytest.mark.requirement("O-9", "L-7")
def test_an_egress_that_was_down_while_the_mobile_router_moved_takes_it_back_then(elsewhere):
    world = elsewhere
    notice(world, 3)
    world.drop = lambda packet: peer(2).haha in (packet[8:24], packet[24:40])
    attach_at(world, 1)
    world.pass_time(5)
    assert projected(world, 3) != {}
    world.restart(2)
    world.drop = lambda packet: False
    world.pass_time(10)
    assert projected(world, 3) == {}


def test_long_after_a_start_nobody_is_told_who_was_not(elsewhere):
    world = elsewhere
    world.restart(2)
    world.pass_time(HOLDING_TIME + 1)
    attach_at(world, 1)
    world.pass_time(1)
    assert said(world, PURGE) == []


# A primary site with two Home Agents


@pytest.fixture
def of_two() -> World:
    """The first two Home Agents are of one site, the mobile router is bound at the third."""
    world = World(4, adapt=lambda config: replace(on_demand(of_two_sites(config)), leak=LeakPolicy.NEVER))
    world.pass_time(5)
    attach_at(world, 3)
    world.pass_time(2)
    assert world.agents[3].bindings.get(HOA) is not None
    return world


@pytest.mark.requirement("O-3")
@pytest.mark.parametrize("gone", [1, 2])
def test_each_home_agent_of_the_primary_site_can_answer(of_two, gone):
    world = of_two
    world.drop = lambda packet: peer(gone).haha in (packet[8:24], packet[24:40])
    world.pass_time(5)
    notice(world, 4)
    assert projected(world, 4) == dict.fromkeys(PROJECTED, OUTER[3])
    notice(world, 3 - gone)
    assert projected(world, 3 - gone) == {}, "it knows the way already"


@pytest.mark.requirement("O-10")
def test_an_egress_that_says_no_hello_is_lost(of_two):
    world = of_two
    notice(world, 4)
    world.drop = lambda packet: packet[8:24] == peer(3).haha
    world.pass_time(4)
    assert projected(world, 4) == {}
    assert world.agents[4].counters["projection_ended_unreachable"] == 1


@pytest.mark.requirement("O-2")
def test_what_is_bound_inside_the_primary_site_has_no_shorter_way(of_two):
    world = of_two
    for index in (1, 2):
        attach_at(world, index)
        world.pass_time(40)
        notice(world, 4)
        assert projected(world, 4) == {}
