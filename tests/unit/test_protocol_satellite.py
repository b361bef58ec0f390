"""A satellite: all of Home from its parent, the care-of address that the parent lends, secondary bindings,
and what happens when a parent is lost and comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import BindingKind, Ending
from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.protocol.home import LeakPolicy
from haha_exabgp.protocol.mobility import State
from haha_exabgp.protocol.parents import PATIENCE, RETURN_AFTER
from haha_exabgp.protocol.routes import Announcement, Audience, LearnedRoute, Metric, RouteKind
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.messages import BindingAcknowledgement, BindingUpdate
from tests.unit.conftest import HOA, HOME, MNP, World, peer
from tests.unit.mobility_messages import message_of
from tests.unit.proxying import ACCESS3, attach_at, kinds
from tests.unit.satellite_world import SATELLITE, SatelliteWorld, lent_address, lent_prefix


def home_route(world: World) -> Address | None:
    route = world.agents[SATELLITE].wanted.route(HOME, Metric.HOME)
    return route and route.tunnel_exit


def announced(world: World, index: int, kind: RouteKind) -> set[tuple[Audience, Prefix]]:
    told = world.agents[index].wanted.announcements()
    return {(one.audience, one.prefix) for one in told if one.kind is kind}


def exits(world: World, index: int, prefix: Prefix = MNP) -> list[tuple[int, Address]]:
    """The routes that a Home Agent wants for a prefix: metric and tunnel exit, best first."""
    routes = (one for one in world.agents[index].wanted.routes() if one.prefix == prefix)
    return sorted((one.metric, one.tunnel_exit) for one in routes)


@pytest.mark.requirement("E-5", "I-5", "I-6")
def test_a_satellite_has_home_from_its_parent_and_lends_its_prefix_back():
    world = SatelliteWorld(2, 4)
    assert home_route(world) == peer(2).outer
    assert announced(world, SATELLITE, RouteKind.HOME) == {(Audience.SITE, HOME)}
    lent = {(Audience.PARENT, lent_prefix(2)), (Audience.PARENT, lent_prefix(4))}
    assert announced(world, SATELLITE, RouteKind.SATELLITE) == lent
    for parent in (2, 4):
        assert exits(world, parent, lent_prefix(parent)) == [(Metric.SATELLITE, peer(SATELLITE).outer)]
        # Into its own site, and no further.
        assert announced(world, parent, RouteKind.SATELLITE) == {(Audience.SITE, lent_prefix(parent))}
    # The satellite is in nobody's exchange between primaries.
    assert announced(world, SATELLITE, RouteKind.SITE) == announced(world, SATELLITE, RouteKind.LEAK) == set()
    assert {route.kind for route, _, _ in world.agents[SATELLITE].routes.learned()} == {RouteKind.HOME}
    hosts = {one.prefix for one in world.agents[1].wanted.routes() if one.metric == Metric.HAHA}
    assert Prefix.host(peer(SATELLITE).haha) not in hosts
    # To the primary that is no parent it goes by the parent.
    assert exits(world, SATELLITE, Prefix.host(peer(1).haha)) == [(Metric.HAHA, peer(2).outer)]


@pytest.mark.requirement("I-6", "I-5")
@pytest.mark.parametrize(
    ("at", "by", "kind", "prefix", "refusal"),
    [
        (2, 3, RouteKind.SITE, Prefix.parse("2001:db8:3::/48"), "kind_not_expected"),
        (2, 3, RouteKind.LEAK, MNP, "kind_not_expected"),
        (2, 3, RouteKind.HOME, HOME, "kind_not_expected"),
        (2, 3, RouteKind.SATELLITE, lent_prefix(4), None),
        (2, 3, RouteKind.SATELLITE, Prefix.parse("2001:db8:2::/48"), "not_lent_by_us"),
        (2, 4, RouteKind.SATELLITE, lent_prefix(2), "kind_not_expected"),
        (1, 3, RouteKind.SATELLITE, lent_prefix(2), "unknown_next_hop"),
        (3, 2, RouteKind.SITE, Prefix.parse("2001:db8:2::/48"), "kind_not_expected"),
        (3, 2, RouteKind.LEAK, MNP, "kind_not_expected"),
        (3, 2, RouteKind.HOME, Prefix.parse("::/0"), "not_home"),
        (3, 1, RouteKind.HOME, HOME, "unknown_next_hop"),
    ],
)
def test_satellite_and_parent_tell_each_other_that_much_and_no_more(at, by, kind, prefix, refusal):
    agent = SatelliteWorld(2, 4).agents[at]
    before = agent.wanted.routes()
    assert agent.routes.learn(LearnedRoute(peer(by).haha, kind, prefix, peer(by).haha, 5)) == refusal
    assert agent.wanted.routes() == before


@pytest.mark.requirement("B-3", "B-8", "K-1", "K-2", "S-1")
def test_a_mobile_router_of_another_primary_site_is_leaked_by_the_parent():
    world = SatelliteWorld(2, 4)
    world.bind_at_satellite()
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.SECONDARY, 3: BindingKind.PROXY}
    primary, parent = (world.agents[index].bindings.get(HOA) for index in (1, 2))
    assert (primary.care_of_address, primary.peer) == (lent_address(2), peer(3).haha)
    assert parent.mobility_sequence == primary.mobility_sequence
    assert parent.expires <= world.agents[3].bindings.get(HOA).expires + 1
    # The detour: a tunnel to the satellite's address, inside the one to its parent's site.
    assert exits(world, 1) == [(Metric.LEAK, peer(2).outer), (Metric.PROXIED, lent_address(2))]
    assert exits(world, 2) == [(Metric.SECONDARY, peer(3).outer)]
    assert exits(world, 4) == [(Metric.LEAK, peer(2).outer)]
    assert announced(world, 2, RouteKind.MNP) == {(Audience.SITE, MNP), (Audience.SITE, Prefix.host(HOA))}
    leak = Announcement(Audience.MESH, RouteKind.LEAK, MNP, peer(2).haha, primary.mobility_sequence)
    assert leak in world.agents[2].wanted.announcements()
    assert announced(world, 3, RouteKind.LEAK) == set()


@pytest.mark.requirement("K-1")
def test_a_primary_that_cannot_nest_tunnels_leaves_the_second_to_the_parent():
    world = SatelliteWorld(2, 4, adapt=lambda config: replace(config, nests_tunnels=False))
    world.bind_at_satellite()
    assert exits(world, 1, Prefix.host(HOA)) == [(Metric.PROXIED, peer(2).outer)]
    assert exits(world, 2, Prefix.host(HOA)) == [(Metric.SECONDARY, peer(3).outer)]


@pytest.mark.requirement("B-3", "K-1")
def test_where_the_parent_is_the_primary_one_tunnel_leads_to_the_satellite():
    world = SatelliteWorld(1, 2)
    world.bind_at_satellite()
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    assert world.agents[1].bindings.get(HOA).care_of_address == lent_address(1)
    assert exits(world, 1) == [(Metric.PROXIED, peer(3).outer)]
    assert exits(world, 2) == []


@pytest.mark.requirement("B-9", "K-1")
def test_without_secondary_bindings_the_detour_stays():
    world = SatelliteWorld(2, 4, adapt=lambda config: replace(config, secondary_bindings=False))
    world.bind_at_satellite()
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    assert exits(world, 1) == [(Metric.PROXIED, lent_address(2))]


@pytest.mark.requirement("B-9")
@pytest.mark.parametrize("answer", ["none", "refused"])
def test_a_secondary_binding_that_fails_harms_nothing(answer):
    def refuse(config):
        if config.name != "ha2" or answer != "refused":
            return config
        return replace(config, max_bindings=0)

    world = SatelliteWorld(2, 4, adapt=refuse)
    if answer == "none":
        world.drop = lambda packet: packet[8:24] == lent_address(2) and packet[24:40] == peer(2).haha
    world.bind_at_satellite()
    world.pass_time(60)
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    assert world.mobile_router.state is State.BOUND
    if answer == "refused":
        assert world.agents[3].counters["secondary_refused_130"] == 1
    else:
        world.drop = lambda packet: False
        world.pass_time(60)
        assert kinds(world)[2] is BindingKind.SECONDARY


@pytest.mark.requirement("K-3")
def test_where_only_the_satellite_may_bind_its_parent_may_leak_for_it():
    def only(*names: str):
        def adapt(config):
            policy = replace(config.mobile_routers[HOA], proxies=frozenset(names))
            return replace(config, mobile_routers={HOA: policy})

        return adapt

    world = SatelliteWorld(2, 4, adapt=only("ha3"))
    world.bind_at_satellite()
    assert exits(world, 1)[0] == exits(world, 4)[0] == (Metric.LEAK, peer(2).outer)
    # Of a Home Agent that lends to nobody who may, it is not believed.
    leak = LearnedRoute(peer(4).haha, RouteKind.LEAK, MNP, peer(4).haha, (1 << 32) - 1)
    assert SatelliteWorld(2, adapt=only("ha3")).agents[1].routes.learn(leak) == "not_entitled"


@pytest.mark.requirement("K-6")
@pytest.mark.parametrize(("leak", "told"), [("never", False), ("on-traffic", True), ("always", True)])
def test_the_parents_leak_follows_the_policy(leak, told):
    def adapt(config):
        policy = replace(config.mobile_routers[HOA], leak=LeakPolicy(leak))
        return replace(config, mobile_routers={HOA: policy})

    world = SatelliteWorld(2, 4, adapt=adapt)
    world.bind_at_satellite()
    assert kinds(world)[2] is BindingKind.SECONDARY
    assert bool(announced(world, 2, RouteKind.LEAK)) is told
    assert (Metric.PROXIED, lent_address(2)) in exits(world, 1)


@pytest.mark.requirement("H-9")
def test_a_mobile_router_that_moves_too_often_is_not_leaked_by_the_parent_either():
    world = SatelliteWorld(2, 4, adapt=lambda config: replace(config, flap_moves=2))
    for _ in range(3):
        attach_at(world, 1)
        world.pass_time(3)
        world.bind_at_satellite()
    assert kinds(world)[2] is BindingKind.SECONDARY
    assert announced(world, 2, RouteKind.LEAK) == set()


@pytest.mark.requirement("K-5", "L-7")
@pytest.mark.parametrize("how", ["goes home", "de-registers", "expires", "to another site", "to the parent"])
def test_the_leak_of_the_parent_ends_with_the_binding(how):
    world = SatelliteWorld(2, 4)
    world.bind_at_satellite()
    match how:
        case "goes home":
            attach_at(world, 1)
            expected = {1: BindingKind.DIRECT}
        case "de-registers":
            world.mobile_router.stop(world.now)
            expected = {}
        case "expires":
            world.mobile_router.detached()
            world.pass_time(700)
            expected = {}
        case "to another site":
            attach_at(world, 4, Address.parse("3fff:f04::aa"))
            expected = {1: BindingKind.PROXIED, 4: BindingKind.PROXY}
        case _:
            attach_at(world, 2)
            expected = {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    world.settle()
    world.pass_time(3)
    assert kinds(world) == expected
    told = [one for index in (2, 3) for one in world.agents[index].wanted.announcements()]
    at_parent = how == "to the parent"
    assert any(one.kind is RouteKind.LEAK for one in told) is at_parent
    assert [one for one in exits(world, 2) if one[0] == Metric.SECONDARY] == []


@pytest.mark.requirement("F-3", "K-5", "H-9")
def test_a_lost_parent_is_replaced_and_the_mobile_router_notices_nothing():
    world = SatelliteWorld(2, 4)
    world.bind_at_satellite()
    before = world.agents[1].bindings.get(HOA)
    told = sum(packet.destination == ACCESS3 for packet in world.wire)
    world.lose(2)
    world.pass_time(PATIENCE - 0.5)
    assert home_route(world) == peer(2).outer
    assert announced(world, SATELLITE, RouteKind.HOME)
    world.pass_time(3)
    assert home_route(world) == peer(4).outer
    assert announced(world, SATELLITE, RouteKind.HOME)
    after = world.agents[1].bindings.get(HOA)
    assert after.care_of_address == lent_address(4)
    assert after.mobility_sequence > before.mobility_sequence
    assert after.expires == before.expires
    assert world.agents[4].bindings.get(HOA).kind is BindingKind.SECONDARY
    # The leak of the lost parent is stale, and outranked.
    assert exits(world, 1)[0] == (Metric.LEAK, peer(4).outer)
    assert world.mobile_router.state is State.BOUND
    assert sum(packet.destination == ACCESS3 for packet in world.wire) == told


@pytest.mark.requirement("F-3")
def test_the_better_parent_is_used_again_after_a_while_and_the_old_one_is_told():
    world = SatelliteWorld(2, 4)
    world.bind_at_satellite()
    world.lose(2)
    world.pass_time(10)
    world.regain(2)
    world.pass_time(RETURN_AFTER - 2)
    assert home_route(world) == peer(4).outer
    world.pass_time(4)
    assert home_route(world) == peer(2).outer
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.SECONDARY, 3: BindingKind.PROXY}
    assert world.agents[1].bindings.get(HOA).care_of_address == lent_address(2)
    assert announced(world, 4, RouteKind.LEAK) == set()


@pytest.mark.requirement("E-5", "F-3", "M-CODE-130")
def test_without_any_parent_home_is_withdrawn_and_nobody_is_bound():
    world = SatelliteWorld(2, 4)
    world.lose(2)
    world.lose(4)
    world.pass_time(PATIENCE + 1)
    assert announced(world, SATELLITE, RouteKind.HOME) == set()
    attach_at(world, SATELLITE)
    refused = [message_of(packet) for packet in sent_by(world, SATELLITE)]
    statuses = [one.status for one in refused if isinstance(one, BindingAcknowledgement)]
    assert set(statuses) == {130}
    assert not kinds(world)
    world.regain(4)
    world.pass_time(PATIENCE + 1)
    assert announced(world, SATELLITE, RouteKind.HOME)
    assert home_route(world) == peer(4).outer


@pytest.mark.requirement("K-5", "L-7")
def test_what_a_lost_satellite_had_told_ends():
    world = SatelliteWorld(2, 4)
    world.bind_at_satellite()
    world.mobile_router.detached()
    world.lose(SATELLITE)
    world.pass_time(31)
    assert 2 not in kinds(world)
    assert world.agents[2].endings[HOA] is Ending.UNREACHED
    assert announced(world, 2, RouteKind.LEAK) == set()


def test_a_satellite_that_is_started_again_goes_on():
    world = SatelliteWorld(2, 4)
    world.bind_at_satellite()
    world.restart(SATELLITE)
    world.reconnect(SATELLITE)
    world.pass_time(5)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.SECONDARY, 3: BindingKind.PROXY}
    assert world.agents[1].bindings.get(HOA).care_of_address == lent_address(2)
    # Ended now, the parent is told although it was told before the restart.
    attach_at(world, 1)
    world.pass_time(3)
    assert kinds(world) == {1: BindingKind.DIRECT}


@pytest.mark.requirement("S-1", "S-8")
@pytest.mark.parametrize("source", [peer(3).haha, lent_address(4), peer(4).haha])
def test_a_secondary_binding_comes_from_the_address_that_the_parent_lends(source):
    world = SatelliteWorld(2, 4)
    world.bind_at_satellite()
    captured = [
        packet
        for packet in sent_by(world, SATELLITE)
        if packet[24:40] == peer(2).haha and isinstance(message_of(packet), BindingUpdate)
    ]
    assert captured
    world.agents[2].counters.clear()
    before = world.snapshot_of(2)
    world.inject(captured[0][:8] + source + captured[0][24:])
    assert world.snapshot_of(2) == before
    assert any(name.startswith("dropped_") for name in world.agents[2].counters)
    world.inject(captured[0])
    assert world.agents[2].counters["dropped_replayed"] == 1


def sent_by(world: World, index: int) -> list[bytes]:
    """The packets of a Home Agent so far."""
    addresses = {world.configs[index].outer, *world.configs[index].addresses}
    packets = [one.packet for one in world.log if isinstance(one, Transmit)]
    return [packet for packet in packets if packet[8:24] in addresses]


@pytest.mark.requirement("H-4", "F-7")
def test_a_satellite_that_missed_its_revocation_is_told_by_a_primary_that_has_forgotten() -> None:
    """Its parent's leak, which is older than the last binding, tells the primary."""
    world = SatelliteWorld(2)
    world.bind_at_satellite()
    world.lose(SATELLITE)
    attach_at(world, 1)
    world.pass_time(1)
    world.restart(1)
    world.regain(SATELLITE)
    assert world.agents[SATELLITE].bindings.get(HOA) is not None
    for parent in (2, 4):
        world.join(1, parent)
        world.join(parent, 1)
    world.settle()
    world.pass_time(2)
    assert world.agents[SATELLITE].bindings.get(HOA) is None
    assert world.agents[1].bindings.get(HOA).kind is BindingKind.DIRECT
