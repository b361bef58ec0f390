"""A proxy is ready for a mobile router before the primary has answered, and leaves nothing of it behind."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.effects import Admit, Dismiss, Effect, Rebind
from haha_exabgp.protocol.footprint import consequences
from haha_exabgp.protocol.home import HomeAgentConfig, LeakPolicy
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.messages import BindingAcknowledgement, BindingRevocationIndication, BindingUpdate
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MNP, World, peer
from tests.unit.mobility_messages import acknowledgements, update_to
from tests.unit.proxying import ACCESS3, Hold, attach_at, kinds
from tests.unit.satellite_world import SATELLITE, SatelliteWorld
from tests.unit.test_protocol_vouching import aaa_update, made, unknown

pytestmark = pytest.mark.requirement("H-12")

OTHER = Address.parse("3fff:f02::bb")
ROUTED = (Prefix.host(HOA), MNP)


def prepared(world: World, site: int) -> dict[Prefix, Address | None]:
    routes = world.agents[site].wanted.routes()
    return {one.prefix: one.tunnel_exit for one in routes if one.metric == Metric.PREPARED}


def best(world: World, site: int) -> KernelRoute:
    fitting = [one for one in world.agents[site].wanted.routes() if one.prefix.contains(MNP.address)]
    return min(fitting, key=lambda one: (-one.prefix.length, one.metric))


def reached(world: World) -> set[Address | None]:
    """Care-of addresses that packets come to from the Home Agents of all sites."""
    outer = {peer(site).outer: site for site in world.agents}
    ends = set()
    for origin in world.agents:
        site, way = origin, [origin]
        while (exit_ := best(world, site).tunnel_exit) in outer:
            site = outer[exit_]
            assert site not in way, f"a circle: {way} {site}"
            way.append(site)
            # The one that it has left lets packets in a little longer.
            assert site in (1, 2) or MNP in world.agents[site].wanted.admitted()
        ends.add(exit_)
    return ends


def let_in(world: World, prefix: Prefix = MNP) -> bool:
    """What the guard was told last; True when that is to let packets of other Home Agents in. Where only one
    Home Agent lets any in."""
    told = [one for one in world.log if isinstance(one, Admit | Dismiss) and one.inner == prefix]
    return bool(told) and isinstance(told[-1], Admit)


def everything(world: World, site: int) -> tuple[object, ...]:
    return *world.snapshot_of(site), world.agents[site].wanted.admitted()


def hold_answers(world: World, site: int = 2, limit: int = 1000) -> Hold:
    held = world.drop = Hold(BindingAcknowledgement, peer(1).haha, peer(site).haha, limit)
    return held


@pytest.mark.requirement("H-12-MBB")
def test_what_the_primary_sends_at_once_gets_through_before_its_answer_does(world: World) -> None:
    before = world.agents[2].wanted.announcements()
    held = hold_answers(world)
    world.inject(update_to(world, 2, ACCESS[2], 1))
    assert held.packets and kinds(world) == {1: BindingKind.PROXIED}
    assert prepared(world, 2) == dict.fromkeys(ROUTED, ACCESS[2])
    assert world.agents[2].wanted.admitted() == {*ROUTED} and let_in(world)
    # Nothing is promised: neither told to anybody nor kept.
    assert world.agents[2].wanted.announcements() == before
    assert world.stored[2] == {} and acknowledgements(world, ACCESS[2]) == []
    world.drop = lambda packet: False
    world.inject(held.packets[-1])
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert prepared(world, 2) == {}
    assert best(world, 2) == KernelRoute(MNP, Metric.BINDING, ACCESS[2])
    assert world.agents[2].wanted.admitted() == {*ROUTED} and let_in(world)


def test_packets_are_not_sent_back_to_the_proxy_that_was_left(three_sites: World) -> None:
    """It leaks still, and has given its binding up: it would send them to the primary, and that here."""
    world = three_sites
    attach_at(world, 2)
    world.deaf.add(3)
    hold_answers(world, 3)
    attach_at(world, 3)
    assert kinds(world) == {1: BindingKind.PROXIED}
    routes = {one.metric: one.tunnel_exit for one in world.agents[3].wanted.routes() if one.prefix == MNP}
    assert routes == {Metric.LEAK: peer(2).outer, Metric.PREPARED: ACCESS3}
    assert best(world, 3).tunnel_exit == ACCESS3
    # Those that are under way to it go on by the primary.
    assert best(world, 2) == KernelRoute(peer(1).partition, Metric.SITE, peer(1).outer)
    assert best(world, 1).tunnel_exit == peer(3).outer


@pytest.mark.requirement("H-3", "H-5", "H-5-ON", "H-9")
@pytest.mark.parametrize("leak", [LeakPolicy.ALWAYS, LeakPolicy.NEVER])
@pytest.mark.parametrize("order", list(permutations(["answer", "revocation", "news"])), ids="-".join)
def test_from_everywhere_packets_find_it_whatever_is_heard_of_first(
    leak: LeakPolicy, order: tuple[str, ...]
) -> None:
    """Of a move from one proxy to another the old access works on: it may get packets at either."""
    world = World(sites=3, adapt=lambda config: replace(config, leak=leak))
    world.inject(update_to(world, 2, ACCESS[2], 1))
    assert reached(world) == {ACCESS[2]}
    answer = Hold(BindingAcknowledgement, peer(1).haha, peer(3).haha)
    revocation = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha)
    world.drop = lambda packet: answer(packet) or revocation(packet)
    world.deaf = {1, 2, 3}
    world.inject(update_to(world, 3, ACCESS3, 2))
    assert answer.packets and revocation.packets and reached(world) <= {ACCESS[2], ACCESS3}
    world.drop = lambda packet: False
    for one in order:
        if one == "news":
            world.deaf = set()
            for index in world.agents:
                world.reconnect(index)
        else:
            world.inject({"answer": answer, "revocation": revocation}[one].packets[0])
        assert reached(world) <= {ACCESS[2], ACCESS3}
    assert reached(world) == {ACCESS3}
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}


@pytest.mark.requirement("B-5")
@pytest.mark.parametrize("bound", [False, True])
def test_a_refusal_leaves_nothing(world: World, bound: bool) -> None:
    if bound:
        world.inject(update_to(world, 1, ACCESS[1], 1))
    before = everything(world, 2)
    policy = world.configs[1].mobile_routers[HOA]
    world.configs[1].mobile_routers[HOA] = replace(policy, prefixes=(Prefix.parse("2001:db8:1:999::/64"),))
    held = hold_answers(world)
    world.inject(update_to(world, 2, ACCESS[2], 2))
    assert prepared(world, 2)
    world.drop = lambda packet: False
    world.inject(held.packets[-1])
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [142]
    assert everything(world, 2) == before and not let_in(world)


def test_no_answer_leaves_nothing(world: World) -> None:
    before = everything(world, 2)
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha)
    world.inject(update_to(world, 2, ACCESS[2], 1))
    world.pass_time(3.4)
    assert prepared(world, 2)
    world.pass_time(0.2)
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [130]
    assert everything(world, 2) == before and not let_in(world)


def test_who_was_asked_for_and_is_no_longer_allowed_leaves_nothing(world: World) -> None:
    before = everything(world, 2)
    hold_answers(world)
    world.inject(update_to(world, 2, ACCESS[2], 1))
    world.agents[2].policies_changed([HOA], world.now)
    world.settle()
    assert everything(world, 2) == before and not let_in(world)


@pytest.mark.requirement("H-6")
@pytest.mark.parametrize("wrong", ["older", "long ago", "other key"])
def test_only_an_authentic_update_that_is_newer_prepares(world: World, wrong: str) -> None:
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha)
    world.inject(update_to(world, 2, ACCESS[2], 51))
    asked = prepared(world, 2)
    ago = {"older": 3.0, "long ago": 8.0}.get(wrong, 0.0)
    key = bytes(16) if wrong == "other key" else ASSOCIATION.key
    world.inject(update_to(world, 2, OTHER, 52, ago=ago, key=key))
    assert prepared(world, 2) == asked == dict.fromkeys(ROUTED, ACCESS[2])


def test_what_it_says_last_is_where_packets_go(world: World) -> None:
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha)
    world.inject(update_to(world, 2, ACCESS[2], 1))
    world.inject(update_to(world, 2, OTHER, 2))
    assert prepared(world, 2) == dict.fromkeys(ROUTED, OTHER) and let_in(world)


def test_where_it_is_bound_already_nothing_is_prepared(world: World) -> None:
    world.inject(update_to(world, 2, ACCESS[2], 1))
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha)
    # After a gap it may have been elsewhere.
    world.inject(update_to(world, 2, OTHER, 5))
    assert world.agents[2].counters["upstream_started"] == 2 and prepared(world, 2) == {}
    world.pass_time(4)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY} and let_in(world)


@pytest.mark.requirement("S-4")
def test_for_whom_only_the_primary_can_verify_nothing_is_prepared() -> None:
    world = made(unknown)
    world.drop = Hold(BindingUpdate, peer(2).haha, peer(1).haha)
    before = everything(world, 2)
    world.inject(aaa_update(world, ACCESS[2], 1))
    assert world.agents[2].counters["upstream_relayed"] == 1
    assert everything(world, 2) == before and not let_in(world)


@pytest.mark.requirement("I-5")
def test_a_satellite_is_ready_too() -> None:
    world = SatelliteWorld(2)
    primaries = {peer(1).outer, peer(1).haha}

    def from_primary(packet: bytes) -> bool:
        return Address(packet[8:24]) in primaries

    world.drop = from_primary
    attach_at(world, SATELLITE)
    assert kinds(world) == {1: BindingKind.PROXIED}
    assert prepared(world, SATELLITE) == dict.fromkeys(ROUTED, ACCESS3)
    assert world.agents[SATELLITE].wanted.admitted() == {*ROUTED}


@pytest.mark.parametrize("lost", [None, BindingUpdate, BindingAcknowledgement])
def test_with_a_binding_of_a_satellite_beside_it_what_either_needs_is_let_in(
    lost: type | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves from a satellite to the satellite's parent, which knows it already."""
    world = SatelliteWorld(2)
    world.bind_at_satellite()
    assert kinds(world)[2] is BindingKind.SECONDARY
    parent, told = world.agents[2], []

    def take_effects() -> list[Effect]:
        effects = HomeAgent.take_effects(parent)
        for one in effects:
            found = (
                consequences(one.before, one.after, world.configs[2]) if isinstance(one, Rebind) else [one]
            )
            told.extend(each for each in found if isinstance(each, Admit | Dismiss) and each.inner == MNP)
        return effects

    monkeypatch.setattr(parent, "take_effects", take_effects)
    if lost is not None:
        ends = (peer(2).haha, peer(1).haha) if lost is BindingUpdate else (peer(1).haha, peer(2).haha)
        world.drop = Hold(lost, *ends)
    world.inject(update_to(world, 2, ACCESS[2], 1))
    # Where only the answer is lost, the satellite has been revoked, and has taken its own back.
    beside = {None: BindingKind.PROXY, BindingUpdate: BindingKind.SECONDARY, BindingAcknowledgement: None}
    world.pass_time(0.1)
    assert kinds(world).get(2) is beside[lost]
    assert prepared(world, 2) == (dict.fromkeys(ROUTED, ACCESS[2]) if lost is not None else {})
    assert isinstance(told[-1], Admit) and world.agents[2].wanted.admitted() == {*ROUTED}
    world.pass_time(3.6)
    assert prepared(world, 2) == {}
    assert isinstance(told[-1], Admit) == (kinds(world).get(2) is not None)
    assert bool(world.agents[2].wanted.admitted()) == (kinds(world).get(2) is not None)


def test_a_plain_mobile_node_is_awaited_at_its_home_address() -> None:
    def hosts(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = replace(config.mobile_routers[HOA], prefixes=())
        return replace(config, mobile_routers={HOA: policy})

    world = World(adapt=hosts)
    config = MobileRouterConfig("mn1", HOA, (), ASSOCIATION, lifetime=600, is_router=False)
    world.mobile_router = MobileRouter(config, first_sequence=7)
    hold_answers(world)
    attach_at(world, 2)
    assert prepared(world, 2) == {Prefix.host(HOA): ACCESS[2]}
