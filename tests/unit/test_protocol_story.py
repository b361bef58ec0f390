"""The path of one mobile router through its Home, packet for packet, without a socket."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.effects import DeleteRoute, SetRoute
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import State
from haha_exabgp.protocol.overlap import OVERLAP
from haha_exabgp.protocol.routes import Audience, KernelRoute, Metric, RouteKind
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import MobilityPacket

HOA = Address.parse("2001:db8:1:1::10")
MNP = Prefix.parse("2001:db8:1:100::/64")
ACCESS1 = Address.parse("3fff:f01::aa")
ACCESS2 = Address.parse("3fff:f02::aa")
OUTER = {i: Address.parse(f"3fff:10{i}::a") for i in (1, 2, 3)}
HAHA = {i: Address.parse(f"2001:db8:ffff::{i}") for i in (1, 2, 3)}


def exits(world, index, prefix=MNP):
    """Tunnel exits that the Home Agent's kernel has for a prefix, best metric first."""
    routes = [route for route in world.agents[index].wanted.routes() if route.prefix == prefix]
    return [route.tunnel_exit for route in sorted(routes, key=lambda route: route.metric)]


def announced(world, index):
    return {(a.audience, a.kind, str(a.prefix)) for a in world.agents[index].wanted.announcements()}


@pytest.mark.requirement("E-1", "I-2")
def test_a_site_starts_with_discards_its_partition_and_home(world):
    assert KernelRoute(Prefix.parse("2001:db8::/32"), Metric.DISCARD, None) in world.agents[1].wanted.routes()
    assert (
        KernelRoute(Prefix.parse("2001:db8:1::/48"), Metric.DISCARD, None) in world.agents[1].wanted.routes()
    )
    assert exits(world, 1, Prefix.parse("2001:db8:2::/48")) == [OUTER[2]]
    assert announced(world, 1) == {
        (Audience.SITE, RouteKind.HOME, "2001:db8::/32"),
        (Audience.OTHER_SITES, RouteKind.SITE, "2001:db8:1::/48"),
    }


@pytest.mark.requirement("B-2", "I-8", "S-5")
def test_direct_binding_near_the_primary(world):
    world.attach(1)
    assert world.mobile_router.state is State.BOUND
    assert world.mobile_router.registration.home_agent == OUTER[1]
    assert exits(world, 1) == [ACCESS1]
    assert exits(world, 1, Prefix.host(HOA)) == [ACCESS1]
    assert (Audience.SITE, RouteKind.MNP, "2001:db8:1:100::/64") in announced(world, 1)
    # Other sites see no change: the partition's route covers it.
    assert exits(world, 2) == []
    assert world.agents[1].wanted.permits() == {(ACCESS1, MNP), (ACCESS1, Prefix.host(HOA))}


@pytest.mark.requirement("B-3", "B-8", "K-1", "K-3", "H-5")
def test_move_to_another_site_binds_through_a_proxy_and_leaks(world):
    world.attach(1)
    world.attach(2)
    primary, proxy = world.agents[1].bindings.get(HOA), world.agents[2].bindings.get(HOA)
    assert (primary.kind, primary.care_of_address) == (BindingKind.PROXIED, HAHA[2])
    assert (proxy.kind, proxy.care_of_address, proxy.prefixes) == (BindingKind.PROXY, ACCESS2, (MNP,))
    assert proxy.mobility_sequence == primary.mobility_sequence > 0
    assert world.mobile_router.registration.home_agent == OUTER[2]
    assert exits(world, 2) == [ACCESS2]
    # The leak and, behind it, the primary's own binding: both lead to site 2. Until the proxy has had time
    # for its part the tunnel straight to the mobile router is used.
    assert exits(world, 1) == [ACCESS2, OUTER[2], OUTER[2]]
    world.pass_time(OVERLAP)
    assert exits(world, 1) == [OUTER[2], OUTER[2]]
    assert (Audience.MESH, RouteKind.LEAK, "2001:db8:1:100::/64") in announced(world, 2)
    # Nothing may come in any more from where it was.
    assert world.agents[1].wanted.permits() == set()


@pytest.mark.requirement("B-3")
def test_the_proxy_acknowledges_only_after_the_primary(world):
    world.attach(2)
    relevant = [p for p in world.wire if isinstance(p, MobilityPacket)]
    hops = [(p.source, p.destination) for p in relevant]
    assert hops == [(ACCESS2, OUTER[2]), (HAHA[2], HAHA[1]), (HAHA[1], HAHA[2]), (OUTER[2], ACCESS2)]


@pytest.mark.requirement("H-12", "H-3")
def test_the_primary_holds_a_route_at_every_moment_of_a_move(world):
    world.attach(1)
    world.log.clear()
    world.attach(2)
    present = {Metric.BINDING}
    for effect in world.log:
        if isinstance(effect, SetRoute | DeleteRoute) and effect.route.prefix == MNP:
            if isinstance(effect, SetRoute):
                present.add(effect.route.metric)
            elif effect.route in world.agents[1].wanted.routes() or effect.route.metric in present:
                present.discard(effect.route.metric)
            assert present


@pytest.mark.requirement("H-4", "H-5", "H-10", "M-BRI", "K-5")
def test_moving_back_revokes_the_proxy(world):
    world.attach(1)
    world.attach(2)
    world.attach(1)
    world.pass_time(5)
    assert world.agents[1].bindings.get(HOA).kind is BindingKind.DIRECT
    assert world.agents[2].bindings.get(HOA) is None
    assert exits(world, 1) == [ACCESS1]
    assert exits(world, 2) == []
    assert (Audience.MESH, RouteKind.LEAK, "2001:db8:1:100::/64") not in announced(world, 2)


@pytest.mark.requirement("M-CONST-BRI")
def test_a_lost_revocation_is_sent_again(world):
    world.attach(2)
    lost = []

    def lose_first(packet: bytes) -> bool:
        if packet[6] == 135 and packet[8:24] == HAHA[1] and not lost:
            lost.append(packet)
            return True
        return False

    world.drop = lose_first
    world.attach(1)
    assert lost and world.agents[2].bindings.get(HOA) is not None
    world.pass_time(2)
    assert world.agents[2].bindings.get(HOA) is None


@pytest.mark.requirement("H-3", "H-4")
def test_moving_between_two_proxies(three_sites):
    world = three_sites
    world.attach(2)
    world.closest = 3
    world.mobile_router.attached(Address.parse("3fff:f03::aa"), world.now)
    world.settle()
    world.pass_time(3)
    assert world.agents[1].bindings.get(HOA).peer == HAHA[3]
    assert world.agents[2].bindings.get(HOA) is None
    assert exits(world, 3) == [Address.parse("3fff:f03::aa")]
    assert exits(world, 2) == [OUTER[3]]
    assert exits(world, 1)[0] == OUTER[3]


@pytest.mark.requirement("L-7", "P-4")
def test_deregistration_leaves_nothing(world):
    before = {i: (a.wanted.routes(), a.wanted.announcements()) for i, a in world.agents.items()}
    world.attach(1)
    world.attach(2)
    world.mobile_router.stop(world.now)
    world.settle()
    assert world.mobile_router.state is State.STOPPED
    for index, agent in world.agents.items():
        assert (agent.wanted.routes(), agent.wanted.announcements()) == before[index]
        assert agent.wanted.permits() == set()
        assert len(agent.bindings) == 0


@pytest.mark.requirement("L-1", "L-7", "K-5")
def test_a_binding_ends_with_its_lifetime_and_takes_everything_with_it(world):
    before = world.agents[2].wanted.routes()
    world.attach(2)
    world.drop = lambda packet: True
    world.pass_time(700)
    assert [len(agent.bindings) for agent in world.agents.values()] == [0, 0]
    assert world.agents[2].wanted.routes() == before
    assert world.mobile_router.registration is None


@pytest.mark.requirement("L-6")
def test_refreshes_keep_a_binding_alive(world):
    world.attach(2)
    world.pass_time(3600)
    assert world.agents[1].bindings.get(HOA) is not None
    assert world.agents[2].bindings.get(HOA) is not None
    assert world.mobile_router.state is State.BOUND


@pytest.mark.requirement("B-7")
def test_a_lost_upstream_update_is_repeated_before_the_mobile_router_is(world):
    lost = []

    def lose_first(packet: bytes) -> bool:
        if packet[8:24] == HAHA[2] and not lost:
            lost.append(packet)
            return True
        return False

    world.drop = lose_first
    world.attach(2)
    assert world.mobile_router.state is State.SEARCHING
    world.pass_time(1)
    assert world.mobile_router.state is State.BOUND
    updates = [p for p in world.wire if p.source == ACCESS2 and isinstance(p, MobilityPacket)]
    assert len(updates) == 1


@pytest.mark.requirement("B-5", "M-CODE-130")
def test_a_silent_primary_is_refused_with_130_and_leaves_no_state(world):
    world.drop = lambda packet: packet[24:40] == HAHA[1]
    world.attach(2)
    world.pass_time(8)
    assert world.agents[2].counters["refused_130"] >= 1
    assert world.agents[2].bindings.get(HOA) is None
    assert exits(world, 2) == []


@pytest.mark.requirement("H-6")
def test_a_late_update_of_the_old_proxy_does_not_win(three_sites):
    world = three_sites
    held = []

    def hold(packet: bytes) -> bool:
        if packet[8:24] == HAHA[2] and not held:
            held.append(packet)
            return True
        return False

    world.drop = hold
    world.attach(2)
    world.closest = 3
    world.mobile_router.attached(Address.parse("3fff:f03::aa"), world.now)
    world.settle()
    assert world.agents[1].bindings.get(HOA).peer == HAHA[3]
    world.drop = lambda packet: False
    world.pass_time(2)
    assert world.agents[1].bindings.get(HOA).peer == HAHA[3]
    assert world.agents[2].bindings.get(HOA) is None


def test_a_restarted_home_agent_goes_on_from_its_store(world):
    world.attach(2)
    routes, announcements = world.agents[2].wanted.routes(), world.agents[2].wanted.announcements()
    world.restart(2)
    mine = {route for route in routes if route.metric == Metric.BINDING}
    assert mine and mine <= world.agents[2].wanted.routes()
    leaks = {one for one in announcements if one.kind is RouteKind.LEAK}
    assert leaks and leaks <= world.agents[2].wanted.announcements()


def test_a_restarted_primary_does_not_take_an_old_update(world):
    world.attach(1)
    captured = [p for p in world.wire if isinstance(p, MobilityPacket) and p.source == ACCESS1]
    world.attach(2)
    world.mobile_router.stop(world.now)
    world.settle()
    world.restart(1)
    world.agents[1].receive_mobility(captured[-1], world.now)
    world.settle()
    assert world.agents[1].bindings.get(HOA) is None


def test_a_mobile_router_with_a_wrong_clock_corrects_it_once(world):
    real = world.mobile_router
    skewed = world.now.wall - 3600

    class Skewed:
        def __getattr__(self, name):
            return getattr(real, name)

        def attached(self, care_of_address, now):
            real.attached(care_of_address, now._replace(wall=skewed))

        def receive_discovery(self, reply, now):
            real.receive_discovery(reply, now._replace(wall=skewed))

        def receive_mobility(self, packet, now):
            real.receive_mobility(packet, now._replace(wall=skewed))

    world.mobile_router = Skewed()
    world.attach(1)
    assert real.state is State.BOUND
    assert world.agents[1].counters["refused_144"] == 1


@pytest.mark.requirement("S-2")
def test_a_wrong_key_changes_nothing_and_is_counted(world):
    config = world.mobile_router._config
    wrong = replace(config, association=replace(config.association, key=bytes(16)))
    world.mobile_router = MobileRouter(wrong, first_sequence=1)
    world.attach(1)
    assert world.agents[1].bindings.get(HOA) is None
    assert world.agents[1].counters["dropped_bad_authenticator"] >= 1
    assert world.mobile_router.state is State.SEARCHING
