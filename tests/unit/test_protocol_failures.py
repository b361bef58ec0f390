"""Primary and proxy when one fails, forgets, is restarted or is given too much."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from haha_exabgp.protocol.binding import Binding, BindingKind, Order
from haha_exabgp.protocol.binding_cache import BindingCache
from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.protocol.home import LeakPolicy
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.messages import acknowledgement_packet, binding_update_packet
from haha_exabgp.protocol.mobility import State
from haha_exabgp.protocol.routes import LearnedRoute, Metric, RouteKind
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import BindingAcknowledgementFlag
from haha_exabgp.wire.haha_options import (
    AddressRole,
    HahaAddress,
    MobilitySequence,
)
from haha_exabgp.wire.ipv6 import parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingRefreshRequest,
    BindingRevocationIndication,
    BindingUpdate,
)
from haha_exabgp.wire.options import MobileNetworkPrefix, ReplayProtection, first_option
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MESH, MNP, World, home_agent_config, peer
from tests.unit.hello import says_hello
from tests.unit.mobility_messages import UPDATE_FLAGS, acknowledgements, message_of, update_to
from tests.unit.proxying import Hold, attach_at, kinds
from tests.unit.satellite_world import SatelliteWorld


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


@pytest.mark.parametrize("index", [1, 2])
@pytest.mark.requirement("F-7", "M-BRR")
def test_who_has_lost_the_store_asks_those_that_its_kernel_knows_for_another_binding(world, index):
    attach_at(world, index)
    before = world.agents[index].wanted.routes()
    agent = world.agents[index] = HomeAgent(world.configs[index], Random(9))
    agent.start((), world.now, before)
    assert agent.bindings.get(HOA) is None
    world.settle()
    assert world.agents[index].bindings.get(HOA).care_of_address == ACCESS[index]
    # One request, one Binding Update.
    assert agent.counters["refresh_requested"] == 1
    world.pass_time(20)
    assert agent.counters["refresh_requested"] == 1


@pytest.fixture
def with_hello() -> World:
    """Nothing is leaked, so that without its primary nobody finds the mobile router."""
    made = World(3, lambda config: replace(says_hello(config), leak=LeakPolicy.NEVER))
    made.pass_time(5)
    return made


@pytest.mark.requirement("F-7", "M-BRR")
@pytest.mark.parametrize("asked", ["hears", "misses one", "misses all", "refuses to ask"])
def test_a_primary_that_has_lost_the_store_says_so_and_its_proxies_have_the_binding_made_anew(
    with_hello, asked
):
    world = with_hello
    attach_at(world, 2)
    refreshes = message_count(world, BindingUpdate)
    if asked == "refuses to ask":
        world.configs[2] = replace(world.configs[2], refresh_requests=False)
        world.restart(2)
        world.reconnect(2)
        world.pass_time(5)
    else:
        lost = {"hears": 0, "misses one": 1, "misses all": 9}[asked]
        world.drop = Hold(BindingRefreshRequest, peer(2).outer, ACCESS[2], lost)
    world.stored[1].clear()
    world.restart(1)
    world.reconnect(1)
    assert kinds(world) == {2: BindingKind.PROXY}
    world.pass_time({"hears": 1, "misses one": 4}.get(asked, 15))
    if asked in ("misses all", "refuses to ask"):
        # What it sends by itself, at half of the lifetime, is relayed then.
        assert kinds(world) == {2: BindingKind.PROXY}
        world.pass_time(300)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    (sequence,) = {world.agents[index].bindings.get(HOA).mobility_sequence for index in (1, 2)}
    assert sequence
    # One Binding Update, which the proxy has relayed in another one; and no more for a minute and after.
    assert message_count(world, BindingUpdate) == refreshes + 2
    world.pass_time(100)
    assert message_count(world, BindingUpdate) == refreshes + 2


def test_nobody_is_asked_without_need(with_hello):
    """Site 1 has lost nothing that it knew. Site 2 hears anew that site 1 knew nothing a while ago; what it
    has was bound since. Site 3 says that it knows nothing, and that concerns nobody."""
    world = with_hello
    attach_at(world, 2)
    for index in (2, 1, 3):
        world.restart(index)
        world.reconnect(index)
        world.pass_time(3)
    world.pass_time(70)
    assert message_count(world, BindingRefreshRequest) == 0


@pytest.mark.requirement("F-7")
def test_a_parent_that_has_lost_the_store_is_told_again_what_it_leaked():
    world = SatelliteWorld(2, 4, adapt=says_hello)
    world.pass_time(5)
    world.bind_at_satellite()
    assert kinds(world)[2] is BindingKind.SECONDARY
    world.stored[2].clear()
    world.restart(2)
    assert 2 not in kinds(world)
    # No session went down: ExaBGP at the parent noticed nothing.
    for other in (1, 4):
        world.join(2, other)
    world.join(2, 3)
    world.pass_time(2)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.SECONDARY, 3: BindingKind.PROXY}


def message_count(world: World, kind: type) -> int:
    sent = [one.packet for one in world.log if isinstance(one, Transmit)]
    return sum(isinstance(message_of(packet), kind) for packet in sent)


def test_of_what_the_kernel_has_only_home_addresses_of_bindings_without_a_trace_are_asked(world):
    """Nobody of another route, of a binding that is stored as ended, or that no policy knows."""
    attach_at(world, 2)
    routes = {route for agent in world.agents.values() for route in agent.wanted.routes()}
    strange = Prefix.host(Address.parse("2001:db8:1:1::99"))
    ended = stored_binding(BindingKind.DIRECT, expires=0.0)
    for stored, found in (
        ([ended], routes),
        ([], {route for route in routes if route.metric != Metric.BINDING}),
        ([], {route._replace(prefix=strange) for route in routes if route.metric == Metric.BINDING}),
    ):
        agent = HomeAgent(world.configs[2], Random(9))
        agent.start(stored, world.now, found)
        agent.handle_timer(Now(world.now.monotonic + 10, world.now.wall + 10))
        assert [one for one in agent.take_effects() if isinstance(one, Transmit)] == []


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
    update = BindingUpdate(1, UPDATE_FLAGS, 600, options)
    world.inject(binding_update_packet(ACCESS[2], peer(2).outer, HOA, update, ASSOCIATION))
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


@pytest.mark.requirement("H-4", "H-5")
def test_a_primary_that_was_restarted_revokes_what_is_left_of_a_binding_that_has_ended(three_sites):
    """The mobile router has gone, and the primary knows; only the proxy that it had was not told. It is
    told again until it answers, though there is no binding any more whose end it would have to wait for."""
    world = three_sites
    attach_at(world, 2)
    cut = True
    world.drop = lambda packet: cut and peer(2).haha in (packet[8:24], packet[24:40])
    world.inject(update_to(world, 1, ACCESS[2], 100, lifetime=0))
    world.restart(1)
    assert kinds(world) == {2: BindingKind.PROXY}
    world.reconnect(1)
    world.pass_time(2)
    assert kinds(world) == {2: BindingKind.PROXY}
    cut = False
    world.pass_time(4)
    assert kinds(world) == {}


@pytest.mark.parametrize(("leaker", "lead"), [(2, 0), (2, -1), (3, 0), (3, 10)])
def test_nobody_is_revoked_for_a_leak_of_the_holder_or_of_a_later_place(three_sites, leaker, lead):
    """BGP may tell it late, or again; and who has forgotten what it gave out has nothing to say."""
    world = three_sites
    attach_at(world, 2)
    sent = Hold(BindingRevocationIndication, peer(1).haha, peer(leaker).haha)
    world.drop = sent
    sequence = world.agents[1].bindings.get(HOA).mobility_sequence + lead
    leak = LearnedRoute(peer(leaker).haha, RouteKind.LEAK, MNP, peer(leaker).haha, sequence)
    world.agents[1].routes.learn(leak)
    world.pass_time(1)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    assert sent.packets == []


def test_an_older_leak_that_is_told_again_and_again_is_one_revocation(world):
    attach_at(world, 2)
    old = LearnedRoute(
        peer(2).haha, RouteKind.LEAK, MNP, peer(2).haha, world.agents[2].bindings.get(HOA).mobility_sequence
    )
    sent = Hold(BindingRevocationIndication, peer(1).haha, peer(2).haha)
    world.drop = sent
    world.deaf.add(1)
    attach_at(world, 1)
    for _ in range(20):
        world.agents[1].routes.learn(old)
        world.pass_time(0.01)
    assert len(sent.packets) == 1


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
    update = BindingUpdate(1, UPDATE_FLAGS, 600, options)
    world.inject(binding_update_packet(ACCESS[2], peer(2).outer, HOA, update, ASSOCIATION))
    assert world.agents[2].bindings.get(HOA).prefixes == prefixes[:40]
    assert max(sizes) <= 1280


def test_refreshes_do_not_add_up_in_the_cache():
    cache = BindingCache()
    for second in range(5000):
        cache.put(stored_binding(BindingKind.DIRECT, expires=1000.0 + second), float(second))
    assert len(cache._moments) == 1
    # It was about to end at 900 s; it has been refreshed since.
    assert cache.next_moment() == 900.0
    assert list(cache.due(5000.0)) == []
    (about_to_end,) = cache.due(cache.next_moment())
    assert about_to_end.expires == 5999.0
    cache.look_at(about_to_end, 5999.0)
    assert [one.home_address for one in cache.due(5999.0)] == [HOA]
    assert cache.next_moment() is None


def test_a_shorter_lifetime_is_kept_to():
    cache = BindingCache()
    for expires in (5000.0, 1200.0):
        cache.put(stored_binding(BindingKind.DIRECT, expires=expires), 1000.0)
    assert [one.expires for one in cache.due(1200.0)] == [1200.0]


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
