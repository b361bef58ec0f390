"""Routes between sites at one Home Agent: who is believed, who wins, how long what was learned stays."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from haha_exabgp.protocol.bindings import Bindings
from haha_exabgp.protocol.home import HomeAgentConfig, LeakPolicy, Reflector
from haha_exabgp.protocol.node import Node
from haha_exabgp.protocol.own_routes import START_HOLD
from haha_exabgp.protocol.route_exchange import STALE_TIME, RouteExchange
from haha_exabgp.protocol.route_policy import EXPORT, LENDING, RouteRefusal
from haha_exabgp.protocol.routes import Audience, KernelRoute, LearnedRoute, Metric, RouteKind
from haha_exabgp.protocol.wanted import WantedState
from haha_exabgp.wire.address import Address, Prefix
from tests.unit.conftest import HOA, HOME, MNP, World, home_agent_config, peer
from tests.unit.proxying import attach_at

START = 1000.0
LATER = START + START_HOLD


class Exchange:
    """The route exchange of one Home Agent, alone."""

    def __init__(self, index: int = 1, sites: int = 3, min_sites_reached: int = 0, **more: Any) -> None:
        self.config: HomeAgentConfig = replace(
            home_agent_config(index, sites), min_sites_reached=min_sites_reached, **more
        )
        self.counters: Counter[str] = Counter()
        self.leaked: list[LearnedRoute] = []
        self.wanted = WantedState(self.config, lambda effect: None)
        self.routes = RouteExchange(self.config, self.wanted, self.counters, self.leaked.append)
        self.routes.start(START)

    def exit(self, prefix: Prefix = MNP, metric: Metric = Metric.LEAK) -> Address | None:
        route = self.wanted.route(prefix, metric)
        return route.tunnel_exit if route is not None else None

    def announces_home(self) -> bool:
        return self.wanted.announcement(Audience.SITE, HOME) is not None


def leak(by: int, sequence: int = 5, prefix: Prefix = MNP, session: Address | None = None) -> LearnedRoute:
    return LearnedRoute(session or peer(by).haha, RouteKind.LEAK, prefix, peer(by).haha, sequence)


def site(by: int, prefix: Prefix | None = None) -> LearnedRoute:
    return LearnedRoute(peer(by).haha, RouteKind.SITE, prefix or peer(by).partition, peer(by).haha)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


RR1, RR2 = Address.parse("3fff:101::e"), Address.parse("3fff:102::e")
REFLECTORS = (Reflector("rr1", "site1", RR1), Reflector("rr2", "site2", RR2))


@pytest.fixture
def reflected() -> Exchange:
    """The sessions to both route reflectors are up."""
    exchange = Exchange(reflectors=REFLECTORS)
    for one in (RR1, RR2):
        exchange.routes.session_changed(one, True, START)
    return exchange


# Import: every refusal by its name

REFUSALS = [
    (RouteRefusal.KIND_NOT_EXPECTED, LearnedRoute(peer(2).haha, RouteKind.HOME, HOME, peer(2).haha)),
    (RouteRefusal.KIND_NOT_EXPECTED, LearnedRoute(peer(2).haha, RouteKind.MNP, MNP, peer(2).haha)),
    (
        RouteRefusal.KIND_NOT_EXPECTED,
        LearnedRoute(peer(2).haha, RouteKind.SATELLITE, Prefix.parse("2001:db8:2:4000::/64"), peer(2).haha),
    ),
    (RouteRefusal.UNKNOWN_NEXT_HOP, replace(leak(2), next_hop=peer(2).outer)),
    (RouteRefusal.UNKNOWN_NEXT_HOP, replace(leak(2), next_hop=peer(1).haha)),
    (RouteRefusal.UNKNOWN_NEXT_HOP, replace(site(2), next_hop=Address.parse("2001:db8:ffff::9"))),
    (RouteRefusal.NOT_THE_PEERS_PARTITION, site(2, peer(1).partition)),
    (RouteRefusal.NOT_THE_PEERS_PARTITION, site(2, peer(3).partition)),
    (RouteRefusal.NOT_THE_PEERS_PARTITION, site(2, Prefix.parse("2001:db8:2:8000::/49"))),
    (RouteRefusal.NOT_THE_PEERS_PARTITION, site(2, HOME)),
    (RouteRefusal.NOT_THE_PEERS_PARTITION, site(2, Prefix.parse("::/0"))),
    (RouteRefusal.OUTSIDE_HOME, leak(2, prefix=Prefix.parse("2001:db9:1:100::/64"))),
    (RouteRefusal.OUTSIDE_HOME, leak(2, prefix=Prefix.parse("::/0"))),
    (RouteRefusal.OUTSIDE_HOME, leak(2, prefix=Prefix.parse("2001:db8:ffff::1/128"))),
    (RouteRefusal.SHORTER_THAN_PARTITION, leak(2, prefix=peer(1).partition)),
    (RouteRefusal.OUTSIDE_HOME, leak(2, prefix=Prefix.parse("2001:db8::/40"))),
    (RouteRefusal.NO_SEQUENCE, leak(2, sequence=0)),
    (RouteRefusal.UNEXPECTED_SESSION, leak(2, session=peer(3).haha)),
    (RouteRefusal.UNEXPECTED_SESSION, leak(2, session=home_agent_config(1).site_router)),
    (RouteRefusal.UNEXPECTED_SESSION, replace(site(2), peer=peer(3).haha)),
]


@pytest.mark.parametrize(("refusal", "route"), REFUSALS, ids=[f"{r}-{n.prefix}" for r, n in REFUSALS])
@pytest.mark.requirement("K-3", "S-7")
def test_a_route_that_is_not_believed(exchange, refusal, route):
    before = exchange.wanted.routes()
    assert exchange.routes.learn(route) is refusal
    assert exchange.wanted.routes() == before and list(exchange.routes.learned()) == []
    assert exchange.counters == {f"route_refused_{refusal}": 1}


def test_every_refusal_has_a_case():
    """That of who is not entitled stands below, those of satellites in `test_protocol_satellite.py`."""
    elsewhere = {RouteRefusal.NOT_ENTITLED, RouteRefusal.NOT_HOME, RouteRefusal.NOT_LENT_BY_US}
    assert {refusal for refusal, _ in REFUSALS} == set(RouteRefusal) - elsewhere


def test_a_route_that_becomes_unbelievable_is_gone(exchange):
    """An announcement replaces the one before, also when it cannot be used (RFC 7606's treat-as-withdraw)."""
    exchange.routes.learn(leak(2))
    exchange.routes.learn(leak(2, sequence=0))
    assert exchange.exit() is None


def test_a_prefix_is_a_leak_or_a_partition_and_not_both(exchange):
    exchange.routes.learn(LearnedRoute(peer(2).haha, RouteKind.SITE, peer(2).partition, peer(2).haha))
    assert exchange.exit(peer(2).partition, Metric.SITE) == peer(2).outer
    exchange.routes.learn(leak(2, prefix=peer(2).partition))
    assert exchange.exit(peer(2).partition, Metric.SITE) is None


@pytest.mark.requirement("E-4", "K-4")
def test_each_kind_has_one_audience_and_the_internet_sees_home_only():
    """Behaviour E-4, K-4."""
    assert EXPORT == {
        RouteKind.HOME: Audience.SITE,
        RouteKind.SITE: Audience.OTHER_SITES,
        RouteKind.MNP: Audience.SITE,
        RouteKind.LEAK: Audience.MESH,
        RouteKind.SATELLITE: Audience.SITE,
        RouteKind.HOME_LEAVING: Audience.SITE,
    }
    assert LENDING == {RouteKind.HOME: Audience.SATELLITE, RouteKind.SATELLITE: Audience.PARENT}


# Who wins


@pytest.mark.requirement("I-7", "K-2")
def test_a_leak_leads_to_the_site_of_its_next_hop(reflected):
    reflected.routes.learn(leak(3, session=RR1))
    assert reflected.exit() == peer(3).outer


@pytest.mark.requirement("H-9", "K-5")
def test_the_higher_sequence_wins_and_the_lower_comes_back(exchange):
    exchange.routes.learn(leak(2, 7))
    exchange.routes.learn(leak(3, 6))
    assert exchange.exit() == peer(2).outer
    exchange.routes.forget(peer(2).haha, MNP)
    assert exchange.exit() == peer(3).outer
    exchange.routes.forget(peer(3).haha, MNP)
    assert exchange.exit() is None


@pytest.mark.requirement("H-9")
def test_equal_sequences_go_to_the_lowest_haha_address(exchange):
    exchange.routes.learn(leak(3, 7))
    exchange.routes.learn(leak(2, 7))
    assert exchange.exit() == peer(2).outer
    assert [(route.peer, best) for route, best, _ in exchange.routes.learned()] == [
        (peer(3).haha, False),
        (peer(2).haha, True),
    ]


@pytest.mark.requirement("H-9", "I-7")
def test_equal_sequences_through_reflectors(reflected):
    """Who reflected them does not matter."""
    reflected.routes.learn(leak(2, 7, session=RR2))
    reflected.routes.learn(leak(3, 7, session=RR1))
    assert reflected.exit() == peer(2).outer


@pytest.mark.parametrize(
    ("rival", "more", "stays"),
    [(3, 1, False), (3, 0, True), (3, -1, True), (1, 0, False)],
    ids=["newer", "equal", "older", "equal of a lower address"],
)
@pytest.mark.parametrize("leak_policy", LeakPolicy)
def test_who_is_outranked_gives_up_whether_leaked_or_not(rival, more, stays, leak_policy):
    world = World(sites=3, adapt=lambda config: replace(config, leak=leak_policy))
    world.attach(2)
    (binding,) = world.agents[2].bindings
    world.agents[2].routes.learn(leak(rival, binding.mobility_sequence + more))
    assert list(world.agents[2].bindings) == ([binding] if stays else [])


@pytest.mark.requirement("H-5", "H-9")
def test_an_outranked_proxy_gives_its_binding_up(three_sites):
    """No revocation has reached it; BGP has (behaviour H-9)."""
    world = three_sites
    world.attach(2)
    held = world.agents[2].bindings
    (binding,) = held
    world.agents[2].routes.learn(leak(3, binding.mobility_sequence))
    assert len(held) == 1
    world.agents[2].routes.learn(leak(3, binding.mobility_sequence + 1))
    world.settle()
    assert len(held) == 0
    assert exit_of(world, 2) == peer(3).outer
    announced = {one.kind for one in world.agents[2].wanted.announcements()}
    assert announced == {RouteKind.HOME, RouteKind.SITE}
    assert world.agents[2].wanted.permits() == set()


def exit_of(world: World, index: int) -> Address | None:
    route = world.agents[index].wanted.route(MNP, Metric.LEAK)
    return route.tunnel_exit if route is not None else None


def leak_route(world: World, index: int) -> KernelRoute | None:
    return world.agents[index].wanted.route(MNP, Metric.LEAK)


@pytest.mark.requirement("H-9", "H-12")
def test_a_primary_does_not_follow_a_leak_older_than_the_binding_it_has_made(three_sites):
    """The proxy before has not heard that it was left; the leak of the new one does not reach the primary."""
    world = three_sites
    attach_at(world, 2)
    assert leak_route(world, 1).tunnel_exit == peer(2).outer
    world.drop = lambda packet: peer(2).haha in (packet[8:24], packet[24:40])
    world.deaf = {1}
    attach_at(world, 3)
    assert world.agents[1].bindings.get(HOA).peer == peer(3).haha
    assert leak_route(world, 1) is None
    assert KernelRoute(MNP, Metric.PROXIED, peer(3).outer) in world.agents[1].wanted.routes()


@pytest.mark.requirement("L-7")
def test_a_primary_does_not_follow_a_leak_of_a_binding_that_has_ended(three_sites):
    """Else packets would circle: who leaks it has lost the binding too, and sends them to the primary."""
    world = three_sites
    attach_at(world, 2)
    leaked = next(iter(world.agents[1].routes.leaks((MNP,))))
    world.deaf = {1}
    world.mobile_router.stop(world.now)
    world.settle()
    assert not list(world.agents[1].bindings)
    assert leak_route(world, 1) is None
    world.restart(1)
    world.agents[1].routes.learn(leaked)
    assert leak_route(world, 1) is None
    world.agents[1].routes.learn(replace(leaked, sequence=leaked.sequence + 1))
    assert leak_route(world, 1).tunnel_exit == peer(2).outer


def test_a_leak_does_not_touch_a_direct_binding(world):
    world.attach(1)
    world.agents[1].routes.learn(leak(2, 1 << 31))
    assert len(world.agents[1].bindings) == 1
    metrics = {one.metric for one in world.agents[1].wanted.routes() if one.prefix == MNP}
    assert metrics == {Metric.BINDING, Metric.LEAK}


# Sessions that go and come


@pytest.mark.requirement("F-6")
def test_what_was_learned_stays_while_the_session_is_down(exchange):
    exchange.routes.session_changed(peer(2).haha, True, START)
    exchange.routes.learn(site(2))
    exchange.routes.learn(leak(2))
    exchange.routes.session_changed(peer(2).haha, False, START + 10)
    assert exchange.exit() == exchange.exit(peer(2).partition, Metric.SITE) == peer(2).outer
    assert [stale for _, _, stale in exchange.routes.learned()] == [True, True]
    assert exchange.routes.next_timer() <= START + 10 + STALE_TIME
    exchange.routes.handle_timer(START + 9.9 + STALE_TIME)
    assert exchange.exit() == peer(2).outer
    exchange.routes.handle_timer(START + 10 + STALE_TIME)
    assert exchange.exit() is None and exchange.exit(peer(2).partition, Metric.SITE) is None
    assert list(exchange.routes.learned()) == []


def test_end_of_rib_ends_what_was_not_told_again(exchange):
    other = leak(2, prefix=Prefix.parse("2001:db8:1:200::/64"))
    for learned in (site(2), leak(2), other, leak(3, prefix=Prefix.parse("2001:db8:1:300::/64"))):
        exchange.routes.learn(learned)
    for home_agent in (2, 3):
        exchange.routes.session_changed(peer(home_agent).haha, True, START)
        exchange.routes.session_changed(peer(home_agent).haha, False, START + 1)
        exchange.routes.session_changed(peer(home_agent).haha, True, START + 2)
    exchange.routes.learn(site(2))
    exchange.routes.learn(leak(2, 9))
    exchange.routes.end_of_rib(peer(2).haha)
    assert {(str(route.prefix), stale) for route, _, stale in exchange.routes.learned()} == {
        ("2001:db8:2::/48", False),
        ("2001:db8:1:100::/64", False),
        ("2001:db8:1:300::/64", True),
    }


@pytest.mark.requirement("F-6")
def test_a_session_that_flaps_does_not_keep_routes_for_ever(exchange):
    exchange.routes.learn(leak(2))
    for second in range(1000):
        exchange.routes.session_changed(peer(2).haha, True, START + second)
        exchange.routes.handle_timer(START + second + 0.5)
        exchange.routes.session_changed(peer(2).haha, False, START + second + 0.5)
        if exchange.exit() is None:
            assert second == pytest.approx(STALE_TIME, abs=2)
            return
    raise AssertionError("still there")


def test_a_new_hook_tells_everything_again(exchange):
    exchange.routes.learn(leak(2))
    exchange.routes.learn(leak(3, prefix=Prefix.parse("2001:db8:1:300::/64")))
    exchange.routes.relearn(START + 5)
    exchange.routes.learn(leak(2))
    exchange.routes.end_of_rib(peer(2).haha)
    exchange.routes.end_of_rib(peer(3).haha)
    assert [str(route.prefix) for route, _, _ in exchange.routes.learned()] == [str(MNP)]


@pytest.mark.requirement("F-6")
def test_a_stale_leak_loses_against_a_newer_one(exchange):
    exchange.routes.session_changed(peer(2).haha, True, START)
    exchange.routes.learn(leak(2, 7))
    exchange.routes.session_changed(peer(2).haha, False, START)
    exchange.routes.learn(leak(3, 8))
    assert exchange.exit() == peer(3).outer


def test_no_timer_is_left_that_nothing_consumes(exchange):
    exchange.routes.learn(leak(2))
    exchange.routes.relearn(START)
    exchange.routes.learn(leak(2))
    now, rounds = START, 0
    while (timer := exchange.routes.next_timer()) is not None:
        now, rounds = max(now, timer), rounds + 1
        exchange.routes.handle_timer(now)
        assert rounds < 5
    assert exchange.exit() == peer(2).outer


# After a start


def test_routes_of_the_run_before_stay_until_the_peers_have_told_all():
    exchange = Exchange()
    kernel = [
        KernelRoute(MNP, Metric.LEAK, peer(2).outer),
        KernelRoute(Prefix.parse("2001:db8:1:300::/64"), Metric.LEAK, peer(2).outer),
        KernelRoute(peer(3).partition, Metric.SITE, peer(3).outer),
        KernelRoute(Prefix.host(peer(2).haha), Metric.HAHA, peer(2).outer),
        KernelRoute(MNP, Metric.BINDING, Address.parse("3fff:f01::aa")),
        KernelRoute(HOME, Metric.DISCARD, None),
        KernelRoute(Prefix.parse("2001:db8:1:400::/64"), Metric.LEAK, Address.parse("3fff:104::a")),
    ]
    static = exchange.wanted.routes()
    exchange.routes.restore(kernel, START)
    assert exchange.wanted.routes() - static == set(kernel[:3])
    exchange.routes.session_changed(peer(2).haha, True, START + 1)
    exchange.routes.learn(leak(2, 3))
    exchange.routes.end_of_rib(peer(2).haha)
    assert exchange.wanted.routes() - static == {kernel[0], kernel[2]}
    exchange.routes.handle_timer(START + STALE_TIME)
    assert exchange.wanted.routes() - static == {kernel[0]}


def test_any_route_that_is_told_outranks_one_of_the_run_before(exchange):
    exchange.routes.restore([KernelRoute(MNP, Metric.LEAK, peer(2).outer)], START)
    exchange.routes.learn(leak(3, 1))
    assert exchange.exit() == peer(3).outer


# When Home is announced (behaviour E-6)


@pytest.mark.parametrize(
    ("sites", "needed", "up", "expected"),
    [
        (2, 0, (), True),
        (2, 0, (2,), True),
        (2, 1, (), False),
        (2, 1, (2,), True),
        (3, 1, (), False),
        (3, 1, (2,), True),
        (3, 2, (2,), False),
        (3, 2, (2, 3), True),
        (1, 0, (), True),
    ],
)
@pytest.mark.requirement("E-6", "F-4")
def test_home_is_announced_while_enough_sites_are_reached(sites, needed, up, expected):
    exchange = Exchange(sites=sites, min_sites_reached=needed)
    for home_agent in up:
        exchange.routes.session_changed(peer(home_agent).haha, True, START + 1)
    exchange.routes.handle_timer(LATER)
    assert exchange.announces_home() is expected
    assert exchange.routes.sites_reached() == len(up)


def test_a_starting_site_attracts_nothing_before_it_reaches_another():
    exchange = Exchange(sites=2)
    assert not exchange.announces_home()
    assert exchange.routes.next_timer() == LATER
    exchange.routes.handle_timer(LATER - 0.1)
    assert not exchange.announces_home()
    exchange.routes.session_changed(peer(2).haha, True, LATER - 0.1)
    assert exchange.announces_home()


@pytest.mark.requirement("E-6", "F-4")
def test_a_site_cut_off_withdraws_home_and_announces_it_again():
    exchange = Exchange(sites=3, min_sites_reached=1)
    for home_agent in (2, 3):
        exchange.routes.session_changed(peer(home_agent).haha, True, START)
    exchange.routes.session_changed(peer(2).haha, False, START + 50)
    assert exchange.announces_home()
    exchange.routes.session_changed(peer(3).haha, False, START + 51)
    assert not exchange.announces_home()
    # What it announces to the others does not depend on them.
    assert exchange.wanted.announcement(Audience.OTHER_SITES, peer(1).partition) is not None
    exchange.routes.session_changed(peer(2).haha, True, START + 60)
    assert exchange.announces_home()


def test_the_site_routers_session_does_not_count_as_a_site():
    exchange = Exchange(sites=3, min_sites_reached=1)
    exchange.routes.session_changed(exchange.config.site_router, True, START)
    assert exchange.routes.sites_reached() == 0 and not exchange.announces_home()


def test_highest_sequence_of_what_competes(exchange):
    exchange.routes.learn(leak(2, 7))
    exchange.routes.learn(leak(3, 9))
    assert exchange.routes.highest_sequence((MNP, peer(2).partition)) == 9
    assert exchange.routes.highest_sequence(()) == 0
    bindings = Bindings(Node(exchange.config), exchange.wanted, exchange.routes.highest_sequence)
    (home_address,) = exchange.config.mobile_routers
    assert bindings.rival_sequence(home_address) == 9


# Who is entitled to leak what


def restricted(**policy: Any) -> Exchange:
    exchange = Exchange()
    change_policy(exchange, **policy)
    return exchange


def change_policy(exchange: Exchange, **policy: Any) -> None:
    policies = exchange.config.mobile_routers
    assert isinstance(policies, dict)
    policies[HOA] = replace(policies[HOA], **policy)
    exchange.routes.policies_changed([HOA])


@pytest.mark.requirement("K-3", "S-3")
@pytest.mark.parametrize("prefix", [MNP, Prefix.host(HOA), Prefix.parse("2001:db8:1:100:8000::/80")])
def test_only_its_proxies_leak_a_mobile_router(prefix):
    exchange = restricted(proxies=frozenset({"ha3"}))
    assert exchange.routes.learn(leak(2, prefix=prefix)) is RouteRefusal.NOT_ENTITLED
    assert exchange.counters == {"route_refused_not_entitled": 1}
    assert exchange.exit(prefix) is None and exchange.leaked == []
    assert exchange.routes.leaks([prefix]) == [] and exchange.routes.highest_sequence([prefix]) == 0
    assert list(exchange.routes.learned()) == []
    assert list(exchange.routes.refused()) == [(leak(2, prefix=prefix), RouteRefusal.NOT_ENTITLED)]
    assert exchange.routes.learn(leak(3, 4, prefix)) is None
    assert exchange.exit(prefix) == peer(3).outer, "whatever sequence the other one claims"


@pytest.mark.requirement("K-3", "K-6")
def test_one_that_is_never_leaked_is_leaked_by_nobody():
    exchange = restricted(leak=LeakPolicy.NEVER)
    assert exchange.routes.learn(leak(2)) is RouteRefusal.NOT_ENTITLED
    other = Prefix.parse("2001:db8:1:200::/64")
    assert exchange.routes.learn(leak(2, prefix=other)) is None


@pytest.mark.requirement("K-3")
def test_a_policy_that_changes_here_later_than_there():
    """Each Home Agent is told at its own time; what was leaked meanwhile is not told again."""
    exchange = restricted(proxies=frozenset())
    exchange.routes.learn(leak(2))
    assert exchange.exit() is None
    change_policy(exchange, proxies=frozenset({"ha2"}))
    assert exchange.exit() == peer(2).outer and exchange.leaked == [leak(2)]
    change_policy(exchange, proxies=frozenset({"ha3"}))
    assert exchange.exit() is None and len(list(exchange.routes.refused())) == 1
    change_policy(exchange, proxies=None)
    assert exchange.exit() == peer(2).outer
    exchange.routes.forget(peer(2).haha, MNP)
    assert exchange.exit() is None


# Route reflectors


def reflected_site(by: int, session: Address) -> LearnedRoute:
    return replace(site(by), peer=session)


@pytest.mark.requirement("I-7", "E-6")
def test_a_site_is_reached_while_a_reflector_tells_of_its_partition():
    exchange = Exchange(reflectors=REFLECTORS, min_sites_reached=1)
    exchange.routes.handle_timer(LATER)
    exchange.routes.session_changed(RR1, True, LATER)
    exchange.routes.session_changed(RR2, True, LATER)
    assert not exchange.announces_home(), "a reflector is no site"
    exchange.routes.learn(reflected_site(2, RR1))
    exchange.routes.learn(reflected_site(2, RR2))
    assert exchange.announces_home() and exchange.routes.sites_reached() == 1
    exchange.routes.session_changed(RR1, False, LATER)
    assert exchange.announces_home(), "the other reflector still tells"
    exchange.routes.forget(RR2, peer(2).partition)
    assert not exchange.announces_home()


@pytest.mark.requirement("I-7")
def test_what_is_reflected_back_is_no_news_and_no_mistake(reflected):
    before = reflected.wanted.routes()
    reflected.routes.learn(leak(2, 7, session=RR1))
    assert reflected.routes.learn(leak(1, 8, session=RR1)) is None
    assert reflected.counters == {"routes_reflected_back": 1}
    assert reflected.wanted.routes() == before, "it took the place of the other one"


@pytest.mark.requirement("I-7")
def test_the_own_partition_comes_back_from_a_neighbour_by_a_reflector():
    """Home Agents of one site tell each other nothing of their partition; a reflector does not know that."""
    neighbour = replace(peer(2), site="site1", partition=peer(1).partition)
    exchange = Exchange(peers=(neighbour, peer(3)), reflectors=REFLECTORS)
    exchange.routes.session_changed(RR1, True, START)
    before = exchange.wanted.routes()
    own = LearnedRoute(RR1, RouteKind.SITE, peer(1).partition, neighbour.haha)
    assert exchange.routes.learn(own) is None
    assert exchange.wanted.routes() == before
    assert exchange.routes.learn(leak(2, 7, session=RR1)) is None
    assert exchange.exit() == peer(2).outer, "its leaks count as anybody's"


@pytest.mark.requirement("I-7", "F-6")
def test_one_of_two_reflectors_is_lost(reflected):
    """What the other one tells counts: the copy of the lost one is no way back to where it was."""
    for session in (RR1, RR2):
        reflected.routes.learn(leak(2, 7, session=session))
    reflected.routes.session_changed(RR1, False, START)
    assert reflected.exit() == peer(2).outer
    reflected.routes.learn(leak(3, 8, session=RR2))
    assert reflected.exit() == peer(3).outer
    reflected.routes.forget(RR2, MNP)
    assert reflected.exit() is None, "it has ended, and the older one with it"


@pytest.mark.requirement("I-7", "F-6")
def test_what_one_reflector_withdraws_the_lost_one_would_have_withdrawn(reflected):
    for session in (RR1, RR2):
        reflected.routes.learn(leak(2, 7, session=session))
    reflected.routes.session_changed(RR1, False, START)
    reflected.routes.forget(RR2, MNP)
    assert reflected.exit() is None


@pytest.mark.requirement("F-6", "H-9")
def test_a_stale_leak_ends_with_a_newer_one(exchange):
    exchange.routes.session_changed(peer(2).haha, True, START)
    exchange.routes.learn(leak(2, 7))
    exchange.routes.session_changed(peer(2).haha, False, START)
    exchange.routes.learn(leak(3, 8))
    exchange.routes.forget(peer(3).haha, MNP)
    assert exchange.exit() is None


@pytest.mark.requirement("F-6", "I-7")
def test_after_a_restart_what_the_kernel_has_stays_until_all_reflectors_have_told(reflected):
    reflected.routes.restore([KernelRoute(MNP, Metric.LEAK, peer(2).outer)], START)
    reflected.routes.end_of_rib(RR1)
    assert reflected.exit() == peer(2).outer
    reflected.routes.end_of_rib(RR2)
    assert reflected.exit() is None


def test_the_hook_that_is_new_makes_no_site_unreached():
    exchange = Exchange(reflectors=REFLECTORS, min_sites_reached=2)
    exchange.routes.session_changed(RR1, True, START)
    for one in (2, 3):
        exchange.routes.learn(reflected_site(one, RR1))
    assert exchange.announces_home()
    exchange.routes.relearn(START)
    exchange.routes.learn(reflected_site(3, RR1))
    assert exchange.announces_home()
