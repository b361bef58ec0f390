"""A mobile router moves through three sites while packets are lost and late, Home Agents restart with and
without memory, sites are cut off, clocks are set: what must hold after every step, and once it is calm."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import HomeAgentConfig, LeakPolicy, OnDemand, ReplayProtectionMode
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.home_subnets import HomeSubnet
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig, State
from haha_exabgp.protocol.overlap import OVERLAP
from haha_exabgp.protocol.resolution import NEGATIVE_TIME
from haha_exabgp.protocol.routes import KernelRoute, Metric, RouteKind
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from tests.unit.conftest import ASSOCIATION, HOA, HOME, MNP, World, peer

SITES = st.integers(1, 3)
LIFETIME = 600
HOLDING_TIME = 60
HOST = Address.parse("2001:db8:1:100::1")
OUTER = {peer(site).outer: site for site in (1, 2, 3)}


class Moves(RuleBasedStateMachine):
    """The primary is site 1."""

    shortest_only = True
    """Other sites know where it is; else its primary does, and they may ask."""

    def adapted(self, config: HomeAgentConfig) -> HomeAgentConfig:
        return config

    def send_from_everywhere(self) -> None:
        """Correspondents of all sites have sent."""

    @initialize(
        explicit=st.booleans(),
        first_sequence=st.integers(0, 65535),
        replay=st.sampled_from(ReplayProtectionMode),
    )
    def start(self, explicit: bool, first_sequence: int, replay: ReplayProtectionMode) -> None:
        def protected(config: HomeAgentConfig) -> HomeAgentConfig:
            policy = replace(config.mobile_routers[HOA], replay=replay)
            return self.adapted(replace(config, mobile_routers={HOA: policy}))

        self.world = World(sites=3, adapt=protected)
        announced = (MNP,) if explicit else ()
        self.config = MobileRouterConfig("mr1", HOA, announced, ASSOCIATION, LIFETIME, replay)
        self.world.mobile_router = MobileRouter(self.config, first_sequence)
        self.random = Random(first_sequence)
        self.loss = self.delay = 0.0
        self.cut: set[int] = set()
        self.held: list[bytes] = []
        self.forgetful = self.renumbered = self.clocks_set = self.sent_away = False
        self.world.drop = self._drop

    def _drop(self, packet: bytes) -> bool:
        world = self.world
        ends = {world.closest} if HOME.contains(packet[24:40]) and packet[6] == 58 else set()
        for site in (1, 2, 3):
            if {packet[8:24], packet[24:40]} & {peer(site).outer, peer(site).haha}:
                ends.add(site)
        if ends & self.cut:
            return True
        if self.random.random() < self.delay and len(self.held) < 20:
            self.held.append(packet)
            return True
        return self.random.random() < self.loss

    # What happens

    @rule(site=SITES, host=st.integers(1, 3))
    def attach(self, site: int, host: int) -> None:
        self.world.closest = site
        self.world.mobile_router.attached(Address.parse(f"3fff:f0{site}::{host}"), self.world.now)
        self.world.settle()

    @rule()
    def detach(self) -> None:
        self.world.mobile_router.detached()
        self.world.settle()

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 2.5, 8.0, 40.0, 200.0, 310.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(loss=st.sampled_from([0.0, 0.2, 0.6, 1.0]), delay=st.sampled_from([0.0, 0.3]))
    def set_losses(self, loss: float, delay: float) -> None:
        self.loss, self.delay = loss, delay

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 19), twice=st.booleans())
    def deliver_late(self, which: int, twice: bool) -> None:
        packet = self.held.pop(which % len(self.held))
        for _ in range(1 + twice):
            self.world.inject(packet)

    @rule(site=SITES, with_memory=st.booleans())
    def restart_home_agent(self, site: int, with_memory: bool) -> None:
        if not with_memory:
            self.world.stored[site].clear()
            self.forgetful = True
        self.world.restart(site)
        self.world.reconnect(site)
        for other in self.cut:
            self._set_sessions(other, up=False)

    @rule(first_sequence=st.integers(0, 65535))
    def power_cycle_mobile_router(self, first_sequence: int) -> None:
        self.world.mobile_router = MobileRouter(self.config, first_sequence)

    @rule()
    def stop_mobile_router(self) -> None:
        """An orderly end, and a new start later on."""
        self.world.mobile_router.stop(self.world.now)
        self.world.settle()
        self.world.pass_time(12)
        assert self.world.mobile_router.state is State.STOPPED
        self.world.mobile_router = MobileRouter(self.config, self.random.randrange(65536))

    @rule(site=SITES)
    def cut_off(self, site: int) -> None:
        self.cut.add(site)
        self._set_sessions(site, up=False)
        self.world.settle()

    @rule()
    def mend(self) -> None:
        sites, self.cut = self.cut, set()
        for site in sites:
            self.world.reconnect(site)

    @rule(seconds=st.sampled_from([-2.0, 2.0, -30.0, 30.0]))
    def set_clocks(self, seconds: float) -> None:
        now, self.clocks_set = self.world.now, True
        self.world.now = Now(now.monotonic, now.wall + seconds)

    @rule(site=SITES, towards=st.lists(SITES, unique=True))
    def send_away(self, site: int, towards: list[int]) -> None:
        """Where it goes it stays until it moves; who has refused it meanwhile is not asked for a while."""
        self.sent_away = True
        self.world.agents[site].switch([HOA], [peer(one).outer for one in towards if one != site])
        self.world.settle()

    @rule(valid=st.sampled_from([0.0, 120.0, 900.0, 1e9]))
    def renumber(self, valid: float) -> None:
        """Everywhere, until it is calm. Who has refused the mobile router for it is not asked for a while."""
        end, self.renumbered = self.world.now.wall + valid, True
        for agent in self.world.agents.values():
            agent.renumber([HomeSubnet(Prefix.of(HOA, 64), end, end - 60)], self.world.now)
        self.world.settle()

    @rule(site=SITES)
    def calm(self, site: int) -> None:
        """Nothing is lost any more and time passes: the mobile router is bound, in one place, and every
        site leads there. Only what was forgotten has to end by its lifetime."""
        world = self.world
        self.loss = self.delay = 0.0
        self.held.clear()
        self.mend()
        for agent in world.agents.values():
            agent.stay([HOA])
            agent.renumber([], world.now)
        if self.sent_away:
            world.pass_time(LIFETIME + 120)
            self.attach(site, 2)
        self.attach(site, 1)
        world.pass_time(LIFETIME + 120 if self.forgetful or self.renumbered else 90)
        self._check_all_lead_to(site)
        self.forgetful = self.renumbered = self.sent_away = False

    def _check_all_lead_to(self, site: int) -> None:
        world, mobile_router = self.world, self.world.mobile_router
        assert mobile_router.state is State.BOUND and mobile_router.registration is not None
        assert mobile_router.registration.home_agent == peer(site).outer
        kinds = {index: one.kind for index, agent in world.agents.items() for one in agent.bindings}
        expected = {1: BindingKind.DIRECT}
        if site != 1:
            expected = {1: BindingKind.PROXIED, site: BindingKind.PROXY}
        assert kinds == expected
        for origin in (1, 2, 3):
            for address in (HOST, HOA):
                assert self._path(origin, address)[-1] == mobile_router.care_of_address
            shortest = [] if origin == site else [peer(site).outer]
            by_primary = [] if origin in (1, site) or site == 1 else [peer(1).outer]
            longest = [] if self.shortest_only else [*by_primary, *shortest]
            assert self._path(origin, HOST)[:-1] in (shortest, longest or shortest)

    def _is_disturbed(self) -> bool:
        lasting = self.forgetful or self.renumbered or self.clocks_set
        return bool(self.loss or self.delay or self.cut or lasting)

    @precondition(lambda self: not self._is_disturbed())
    @rule(sites=st.lists(SITES, min_size=1, max_size=3))
    def move_in_peace(self, sites: list[int]) -> None:
        """With nothing in the way a second is enough for all of it, however often it has moved before; the
        way before that stays open for its time."""
        self.calm(1)
        for site in sites:
            self.attach(site, 2)
            self.world.pass_time(0.05)
            self.send_from_everywhere()
            self.attach(site, 3)
        self.world.pass_time(0.95 + OVERLAP)
        self._check_all_lead_to(sites[-1])

    # What holds

    @invariant()
    def wanted_is_what_follows_from_the_bindings_and_the_routes_learned(self) -> None:
        for index, agent in self.world.agents.items():
            fresh = HomeAgent(self.world.configs[index], Random(0))
            fresh.start(list(agent.bindings), self.world.now)
            for other in (1, 2, 3):
                fresh.routes.session_changed(peer(other).haha, agent.routes.session_up(peer(other).haha), 0.0)
            fresh.routes.handle_timer(self.world.now.monotonic + 100)
            for route, _, _ in agent.routes.learned():
                assert fresh.routes.learn(route) is None
            assert fresh.wanted.routes() == _lasting(agent)
            assert fresh.wanted.permits() == agent.wanted.permits()
            assert _mobile(fresh) == _mobile(agent)

    @invariant()
    def nothing_is_left_without_a_binding(self) -> None:
        for agent in self.world.agents.values():
            bound = list(agent.bindings)
            routes = {one.prefix for one in agent.wanted.routes() if one.metric in (100, 300)}
            assert routes == {prefix for one in bound for prefix in one.routes()}
            sources = {one.care_of_address for one in bound if one.kind is not BindingKind.PROXIED}
            assert {outer for outer, _ in agent.wanted.permits()} == sources
            leaking = [one for one in bound if self.shortest_only and one.kind is BindingKind.PROXY]
            told = [prefix for one in bound for prefix in one.routes()]
            assert len(_mobile(agent)) == len(told) + sum(len(one.leaked()) for one in leaking)

    @invariant()
    def proxies_are_ready_for_what_they_ask_about_and_for_nothing_else(self) -> None:
        for agent in self.world.agents.values():
            prepared = [one for one in agent.wanted.routes() if one.metric == Metric.PREPARED]
            pending, current = agent._proxy._upstream.get(HOA), agent.bindings.get(HOA)
            request = None if pending is None else pending.exchange.request
            if prepared:
                assert request is not None and request.lifetime
            if request is not None and request.lifetime and current is None:
                assert {one.tunnel_exit for one in prepared} == {request.care_of_address}
            bound = [one for one in agent.bindings if one.kind is BindingKind.PROXY]
            let_in = {prefix for one in bound for prefix in one.routes()} | {one.prefix for one in prepared}
            assert agent.wanted.admitted() == let_in

    @invariant()
    def no_place_is_newer_than_what_the_primary_knows(self) -> None:
        last = self.world.agents[1].bindings.last(HOA)
        holders = [one for agent in self.world.agents.values() for one in agent.bindings]
        held = [one.mobility_sequence for one in holders if one.kind is not BindingKind.PROXIED]
        if not self.forgetful:
            assert len(held) == len(set(held))
            assert all(sequence <= last.mobility_sequence for sequence in held)

    @invariant()
    def a_proxy_binding_ends_no_later_than_the_primarys(self) -> None:
        primary = self.world.agents[1].bindings.get(HOA)
        for index in (2, 3):
            proxy = self.world.agents[index].bindings.get(HOA)
            if proxy is not None and primary is not None and primary.peer == peer(index).haha:
                assert self.forgetful or proxy.expires <= primary.expires

    @invariant()
    def the_mobile_router_has_something_to_wait_for(self) -> None:
        mobile_router, now = self.world.mobile_router, self.world.now.monotonic
        timer = mobile_router.next_timer()
        if mobile_router.state in (State.SEARCHING, State.BOUND, State.LEAVING):
            assert timer is not None
        registration = mobile_router.registration
        if mobile_router.state is State.BOUND:
            assert registration is not None and registration.expires > now - 1
            assert registration.care_of_address == mobile_router.care_of_address

    # How

    def _set_sessions(self, site: int, *, up: bool) -> None:
        now = self.world.now.monotonic
        for other, agent in self.world.agents.items():
            if other != site:
                agent.routes.session_changed(peer(site).haha, up, now)
                self.world.agents[site].routes.session_changed(peer(other).haha, up, now)

    def _path(self, site: int, address: Address) -> list[Address]:
        """Tunnel exits on the way from a site to an address."""
        path: list[Address] = []
        while len(path) < 5:
            exit_ = _best(self.world.agents[site], address).tunnel_exit
            assert exit_ is not None, "a discard route"
            path.append(exit_)
            if exit_ not in OUTER:
                return path
            site = OUTER[exit_]
        raise AssertionError(f"a loop: {', '.join(map(str, path))}")


class MovesOnDemand(Moves):
    """Nothing is leaked; traffic is noticed here and there."""

    shortest_only = False

    def adapted(self, config: HomeAgentConfig) -> HomeAgentConfig:
        on_demand = OnDemand(holding_time=HOLDING_TIME)
        return replace(config, leak=LeakPolicy.NEVER, on_demand=on_demand)

    def send_from_everywhere(self) -> None:
        for site in (1, 2, 3):
            self.notice(site, HOST)

    @rule(site=SITES, address=st.sampled_from([HOA, HOST]))
    def notice(self, site: int, address: Address) -> None:
        self.world.agents[site].notice_traffic(address, self.world.now)
        self.world.settle()

    @precondition(lambda self: not self._is_disturbed())
    @rule(site=SITES, origin=SITES)
    def a_busy_correspondent_gets_the_shortest_way(self, site: int, origin: int) -> None:
        self.calm(site)
        self.world.pass_time(NEGATIVE_TIME + 1)
        self.notice(origin, HOST)
        assert self._path(origin, HOST)[:-1] == ([] if origin == site else [peer(site).outer])

    @invariant()
    def projected_routes_are_of_what_is_bound_and_do_not_last(self) -> None:
        for index, agent in self.world.agents.items():
            projected = [one for one in agent.wanted.routes() if one.metric == Metric.PROJECTED]
            assert {one.prefix for one in projected} <= {Prefix.host(HOA), MNP}
            assert {one.tunnel_exit for one in projected} <= OUTER.keys() - {peer(index).outer}
            assert agent.bindings.get(HOA) is None or not projected
            for one in agent.projections():
                assert self.world.now.monotonic <= one.expires <= self.world.now.monotonic + HOLDING_TIME
            for _, ingress, until in agent.projected_here():
                assert ingress.outer != peer(index).outer
                assert until <= self.world.now.monotonic + HOLDING_TIME


def _lasting(agent: HomeAgent) -> set[KernelRoute]:
    """What depends neither on traffic, nor on what was a moment ago or is about to be."""
    routes = agent.wanted.routes() - _overlapping(agent)
    return {one for one in routes if one.metric not in (Metric.PROJECTED, Metric.PREPARED)}


def _mobile(agent: HomeAgent) -> set[object]:
    kinds = (RouteKind.MNP, RouteKind.LEAK)
    return {one for one in agent.wanted.announcements() if one.kind in kinds}


def _overlapping(agent: HomeAgent) -> set[KernelRoute]:
    """Those of a way that stays open a moment longer; that they end `_check_all_lead_to` sees."""
    proxied = [one.routes() for one in agent.bindings if one.kind is BindingKind.PROXIED]
    prefixes = {prefix for routes in proxied for prefix in routes}
    return {one for one in agent.wanted.routes() if one.metric == Metric.BINDING and one.prefix in prefixes}


def _best(agent: HomeAgent, address: Address) -> KernelRoute:
    fitting = [route for route in agent.wanted.routes() if route.prefix.contains(address)]
    return min(fitting, key=lambda route: (-route.prefix.length, route.metric))


def test_prefixes_of_these_tests() -> None:
    assert MNP.contains(HOST) and not Prefix.host(HOA).contains(HOST)
    assert (Metric.BINDING, Metric.PROXIED) == (100, 300)


TestMoves = pytest.mark.requirement("H-12", "L-7", "B-6", "H-9", "K-5")(Moves.TestCase)
TestMovesOnDemand = pytest.mark.requirement("O-9", "O-10", "B-9", "L-7")(MovesOnDemand.TestCase)
TestMoves.settings = TestMovesOnDemand.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
