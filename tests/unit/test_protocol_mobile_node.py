"""A plain mobile node, a home address without networks behind it, takes every path of mobile routers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy, SecurityAssociation
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig, State
from haha_exabgp.protocol.parents import PATIENCE
from haha_exabgp.protocol.routes import Metric, RouteKind
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import HMAC_SHA1_SPI
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryRequest, decode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket
from haha_exabgp.wire.messages import BindingUpdate
from haha_exabgp.wire.mobility import decode_mobility
from tests.unit.conftest import ASSOCIATION, HOA, World, peer
from tests.unit.projecting import notice, on_demand, projected
from tests.unit.proxying import attach_at, kinds
from tests.unit.satellite_world import SATELLITE, SatelliteWorld
from tests.unit.site_world import SiteWorld

HOST = Prefix.host(HOA)
W = TypeVar("W", bound=World)


def without_networks(config: HomeAgentConfig) -> HomeAgentConfig:
    policy = MobileRouterPolicy("mn1", HOA, (), (ASSOCIATION,))
    return replace(config, mobile_routers={HOA: policy})


def with_mobile_node(made: W, aaa: SecurityAssociation | None = None) -> W:
    """In the place of its mobile router."""
    config = MobileRouterConfig("mn1", HOA, (), ASSOCIATION, lifetime=600, is_router=False, aaa=aaa)
    made.mobile_router = MobileRouter(config, first_sequence=1)
    return made


def world(adapt: Callable[[HomeAgentConfig], HomeAgentConfig] = lambda config: config) -> World:
    return with_mobile_node(World(3, adapt=lambda config: adapt(without_networks(config))))


def leaked(one: World, index: int) -> set[Prefix]:
    return {told.prefix for told in one.agents[index].wanted.announcements() if told.kind is RouteKind.LEAK}


def exits(one: World, index: int) -> list[tuple[int, Address | None]]:
    """The routes that a Home Agent wants for the home address, best first."""
    routes = (route for route in one.agents[index].wanted.routes() if route.prefix == HOST)
    return sorted((route.metric, route.tunnel_exit) for route in routes)


def nothing_is_left(one: World) -> None:
    assert kinds(one) == {}
    for index, agent in one.agents.items():
        assert exits(one, index) == [] and leaked(one, index) == set()
        assert agent.wanted.permits() == frozenset()


@pytest.mark.requirement("B-2")
def test_it_is_bound_at_its_primary_by_its_home_address_alone():
    one = world()
    one.attach(1)
    (binding,) = one.agents[1].bindings
    assert one.mobile_router.state is State.BOUND
    assert (binding.kind, binding.prefixes, binding.mobile_router) == (BindingKind.DIRECT, (), False)
    assert binding.routes() == (Prefix.host(HOA),)


@pytest.mark.requirement("B-3", "K-1", "K-2")
def test_elsewhere_its_home_address_is_what_is_leaked():
    one = world()
    one.attach(2)
    (proxied,), (proxy,) = one.agents[1].bindings, one.agents[2].bindings
    assert (proxied.kind, proxy.kind) == (BindingKind.PROXIED, BindingKind.PROXY)
    assert leaked(one, 2) == {HOST}
    assert exits(one, 3) == [(Metric.LEAK, peer(2).outer)]
    assert exits(one, 1) == [(Metric.LEAK, peer(2).outer), (Metric.PROXIED, peer(2).outer)]


def test_neither_its_binding_updates_nor_its_discovery_have_the_r_flag():
    one = world()
    one.attach(1)
    requests, updates = [], []
    for packet in one.wire:
        if isinstance(packet, IcmpPacket):
            message = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
            requests += [message] if isinstance(message, HomeAgentDiscoveryRequest) else []
        else:
            read = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
            updates += [read] if isinstance(read, BindingUpdate) else []
    assert requests and not any(request.mobile_router for request in requests)
    assert updates and not any(update.flags & BindingUpdateFlag.MOBILE_ROUTER for update in updates)


@pytest.mark.requirement("H-3", "H-4", "H-5", "H-10")
def test_when_it_moves_on_the_proxy_that_it_had_is_revoked():
    one = world()
    attach_at(one, 2)
    attach_at(one, 3)
    one.pass_time(2)
    assert kinds(one) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    assert leaked(one, 2) == set() and leaked(one, 3) == {HOST}
    attach_at(one, 1)
    one.pass_time(2)
    assert kinds(one) == {1: BindingKind.DIRECT}
    assert exits(one, 2) == exits(one, 3) == []


@pytest.mark.requirement("L-4", "L-7", "K-5")
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("how", ["de-registers", "expires", "loses its policy"])
def test_the_end_of_its_binding_leaves_nothing(at, how):
    one = world()
    attach_at(one, at)
    assert len(kinds(one)) == at
    match how:
        case "de-registers":
            one.mobile_router.stop(one.now)
        case "expires":
            one.mobile_router.detached()
            one.pass_time(700)
        case _:
            for config, agent in zip(one.configs.values(), one.agents.values(), strict=True):
                config.mobile_routers.clear()
                agent.policies_changed([HOA], one.now)
    one.settle()
    one.pass_time(5)
    nothing_is_left(one)


@pytest.mark.requirement("K-1", "B-9")
def test_at_a_satellite_its_parent_leaks_it():
    one = with_mobile_node(SatelliteWorld(2, 4, adapt=without_networks))
    one.bind_at_satellite()
    assert kinds(one) == {1: BindingKind.PROXIED, 2: BindingKind.SECONDARY, SATELLITE: BindingKind.PROXY}
    assert leaked(one, 2) == {HOST}
    assert exits(one, 2) == [(Metric.SECONDARY, peer(SATELLITE).outer)]
    assert exits(one, 4) == [(Metric.LEAK, peer(2).outer)]
    one.lose(2)
    one.pass_time(PATIENCE + 3)
    assert exits(one, 1)[0] == (Metric.LEAK, peer(4).outer)
    one.mobile_router.stop(one.now)
    one.settle()
    one.pass_time(5)
    assert leaked(one, 4) == set() and 4 not in kinds(one)


@pytest.mark.requirement("F-2", "B-1")
@pytest.mark.parametrize("holder", ["owner", "other"])
def test_the_other_home_agent_of_its_site_has_a_replica_and_takes_over(holder):
    site = with_mobile_node(SiteWorld(without_networks))
    site.attach_to(site.owner if holder == "owner" else site.other)
    site.pass_time(1)
    held = {
        "owner": (BindingKind.DIRECT, BindingKind.REPLICA),
        "other": (BindingKind.PROXIED, BindingKind.PROXY),
    }
    assert (site.binding(site.owner).kind, site.binding(site.other).kind) == held[holder]
    assert not site.binding(site.other).mobile_router
    site.kill(site.owner)
    site.pass_time(5)
    (after,) = site.agents[site.other].bindings
    assert (after.kind, after.prefixes, after.mobile_router) == (BindingKind.DIRECT, (), False)
    assert site.mobile_router.state is State.BOUND


@pytest.mark.requirement("O-1", "O-3", "O-4", "O-10")
def test_traffic_towards_it_gets_a_projected_route_which_ends_with_its_move():
    one = world(on_demand)
    one.deaf = set(one.agents)
    attach_at(one, 2)
    notice(one, 3, HOA)
    assert projected(one, 3) == {HOST: peer(2).outer}
    attach_at(one, 1)
    one.pass_time(2)
    assert projected(one, 3) == {}


@pytest.mark.requirement("F-8", "H-11")
@pytest.mark.parametrize("at", [1, 2])
def test_it_is_sent_away_from_a_home_agent_that_is_drained(at):
    one = world()
    attach_at(one, at)
    one.agents[at].drain(one.now)
    one.settle()
    one.pass_time(10)
    assert one.mobile_router.registration.home_agent != peer(at).outer
    assert one.mobile_router.state is State.BOUND
    assert list(one.agents[at].remaining()) == []


@pytest.mark.requirement("S-4", "M-AUTH-AAA")
@pytest.mark.parametrize("knows_it", [True, False])
def test_at_a_proxy_without_its_key_the_primary_vouches_for_it(knows_it):
    aaa = SecurityAssociation(HMAC_SHA1_SPI, bytes(range(50, 66)))

    def key_at_primary(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = replace(config.mobile_routers[HOA], aaa=aaa)
        if config.name != "ha1":
            policy = replace(policy, aaa=None, associations=())
        return replace(config, mobile_routers={HOA: policy} if config.name == "ha1" or knows_it else {})

    one = with_mobile_node(world(key_at_primary), aaa)
    attach_at(one, 2)
    (proxy,) = one.agents[2].bindings
    assert (proxy.kind, proxy.prefixes, proxy.mobile_router) == (BindingKind.PROXY, (), False)
    assert proxy.is_vouched and one.mobile_router.state is State.BOUND
    assert leaked(one, 2) == {HOST}
    attach_at(one, 1)
    one.pass_time(2)
    assert kinds(one) == {1: BindingKind.DIRECT}


@pytest.mark.requirement("L-6", "H-1")
def test_the_proxy_renews_it_and_lets_it_move_by_itself():
    one = world()
    attach_at(one, 2)
    before = one.agents[1].bindings.get(HOA)
    attach_at(one, 2, Address.parse("3fff:f02::bb"))
    one.pass_time(1)
    assert one.agents[1].bindings.get(HOA) == before
    assert exits(one, 2) == [(Metric.BINDING, Address.parse("3fff:f02::bb"))]
    one.pass_time(2000)
    assert kinds(one) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
