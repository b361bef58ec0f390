"""Home Agents that others name in their HELLOs: those that no tunnel joins us to, and those that our
configuration does not have yet."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.protocol.home import HomeAgentConfig, LentPrefix
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.home_agents_list import MOST_NAMED, MOST_UNKNOWN, HomeAgentsList
from haha_exabgp.protocol.messages import haha_packet
from haha_exabgp.protocol.ownership import best
from haha_exabgp.protocol.routes import Metric
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.codes import HahaFlag, HahaOperation
from haha_exabgp.wire.haha_options import HahaOption, HeardHomeAgent, HelloFlag, HelloInformation
from haha_exabgp.wire.messages import HahaMessage
from haha_exabgp.wire.options import ReplayProtection, every_option
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ACCESS, HOA, MESH, MNP, WALL, World, home_agent_config, peer
from tests.unit.hello import says_hello, without
from tests.unit.mobility_messages import message_of
from tests.unit.proxying import attach_at
from tests.unit.satellite_world import SATELLITE, SatelliteWorld
from tests.unit.test_protocol_discovery import reply_of, request_to

ANYCAST = home_agents_anycast(Prefix.parse("2001:db8:1:1::/64"))
NEW = Address.parse("3fff:1ff::a")
HAS_ALL = HelloFlag.READY | HelloFlag.NAMES_ALL


def discovered(world: World, index: int) -> list[Address]:
    """What a discovery request near this Home Agent is answered with."""
    agent = world.agents[index]
    agent.receive_discovery(request_to(ANYCAST), world.now)
    (answer,) = [one.packet for one in agent.take_effects() if isinstance(one, Transmit)]
    return list(reply_of(answer)[1].addresses)


def outers(*indices: int) -> list[Address]:
    return [peer(index).outer for index in indices]


@pytest.fixture
def home_agent() -> HomeAgentsList:
    """One of three sites, who says that he hears the two others, and has just been told nothing."""
    made = HomeAgentsList(says_hello(home_agent_config(1, 3)), lambda one: True, lambda now: None)
    made.start(Now(0.0, WALL))
    return made


def hear(of: HomeAgentsList, by: int, *options: HahaOption, flags: int = HAS_ALL, at: float = 1.0) -> None:
    information = HelloInformation(0, 1000, 0, flags)
    message = HahaMessage(HahaOperation.HELLO, HahaFlag(0), 0, 3, (information, *options))
    of.receive(message, peer(by), Now(at, WALL + at))


@pytest.fixture
def satellite() -> SatelliteWorld:
    """Site 2 and 4 are the parents of the satellite, site 1 is none."""
    world = SatelliteWorld(2, 4, adapt=says_hello)
    world.pass_time(5)
    return world


@pytest.mark.requirement("D-7", "D-4")
def test_a_satellite_lists_the_home_agents_that_its_parents_hear_by_their_preference(satellite):
    assert discovered(satellite, SATELLITE) == outers(3, 4, 2, 1)
    # And a site that lends it nothing lists the satellite.
    assert discovered(satellite, 1) == outers(1, 4, 3, 2)


@pytest.mark.requirement("D-7")
def test_who_is_no_longer_heard_by_any_parent_is_listed_no_longer_and_comes_back(satellite):
    satellite.gone.add(1)
    satellite.deaf.add(1)
    satellite.pass_time(2)
    assert discovered(satellite, SATELLITE) == outers(3, 4, 2, 1)
    # Three HELLOs that do not come, and one of a parent.
    satellite.pass_time(2.1)
    assert discovered(satellite, SATELLITE) == outers(3, 4, 2)
    satellite.gone.clear()
    satellite.deaf.clear()
    satellite.pass_time(2.1)
    assert discovered(satellite, SATELLITE) == outers(3, 4, 2, 1)


@pytest.mark.requirement("D-7")
def test_one_parent_that_hears_it_is_enough(satellite):
    cut = {peer(1).haha, peer(2).haha}
    satellite.drop = lambda packet: {packet[8:24], packet[24:40]} == cut
    satellite.pass_time(6)
    assert discovered(satellite, 2) == outers(2, 4, 3)
    assert discovered(satellite, SATELLITE) == outers(3, 4, 2, 1)


@pytest.mark.requirement("D-7", "Q-4")
def test_a_satellite_registers_with_no_primary_that_its_parents_know_to_be_down():
    """Sites 1 and 4 share a partition: both could own the home address."""

    def shared(config: HomeAgentConfig) -> HomeAgentConfig:
        partition = peer(1).partition
        known = [replace(one, partition=partition) if one.name == "ha4" else one for one in config.peers]
        own = partition if config.name == "ha4" else config.partition
        return says_hello(replace(config, peers=tuple(known), partition=own))

    world = SatelliteWorld(2, adapt=shared)
    world.pass_time(15)
    owner = best((peer(1), peer(4)), HOA)
    first = 1 if owner == peer(1) else 4
    ownership = world.agents[SATELLITE]._co_primaries
    assert ownership.owner(HOA).outer == peer(first).outer
    world.gone.add(first)
    world.pass_time(5)
    assert ownership.owner(HOA).outer == peer(5 - first).outer


def test_without_a_parent_nothing_says_that_others_are_down(satellite):
    for parent in (2, 4):
        satellite.lose(parent)
    satellite.pass_time(5)
    assert discovered(satellite, SATELLITE) == outers(3)
    home_agents = satellite.agents[SATELLITE].home_agents
    far = next(one for one in satellite.configs[SATELLITE].peers if one.name == "ha1")
    assert home_agents.is_up(far) and not home_agents.is_down(far)


@pytest.mark.parametrize(
    ("flags", "is_down"),
    [(HAS_ALL, True), (HelloFlag.READY, False)],
    ids=["names all", "of an older version"],
)
def test_who_does_not_say_whom_it_hears_says_of_nobody_that_it_is_down(satellite, flags, is_down):
    far = next(one for one in satellite.configs[SATELLITE].peers if one.name == "ha1")
    home_agents = HomeAgentsList(satellite.configs[SATELLITE], lambda one: True, lambda now: None)
    hear(home_agents, 2, flags=flags)
    hear(home_agents, 4)
    assert home_agents.is_down(far) is is_down
    assert home_agents.is_eligible(far) is not is_down


@pytest.mark.requirement("D-7")
def test_one_that_the_configuration_does_not_have_yet_is_listed_while_somebody_hears_it():
    """Site 3 is being rolled out: site 1 has still the configuration of before."""
    world = World(4, without("ha3", "ha1"))
    world.pass_time(5)
    assert discovered(world, 1) == outers(1, 4, 3, 2)
    (unknown,) = world.agents[1].home_agents.unknown()
    assert unknown == (peer(3).outer, 3, "ha2")
    # It is not spoken to, nothing of it is let in, and no route leads there.
    wanted = world.agents[1].wanted
    assert peer(3).outer not in {one.tunnel_exit for one in wanted.routes()}
    assert not [one for one in wanted.permits() if peer(3).outer in one]
    assert not [one for one in world.wire if (one.source, one.destination) == (peer(1).haha, peer(3).haha)]
    del world.agents[3]
    world.pass_time(4.2)
    assert discovered(world, 1) == outers(1, 4, 2)


@pytest.mark.requirement("D-7")
def test_an_unknown_one_that_is_taken_out_of_service_is_listed_no_longer():
    world = World(3, without("ha3", "ha1"))
    world.pass_time(5)
    assert discovered(world, 1) == outers(1, 3, 2)
    world.agents[3].drain(world.now)
    world.pass_time(1.1)
    assert discovered(world, 1) == outers(1, 2)


def test_what_is_only_told_is_not_passed_on():
    """Site 1 has an old configuration, site 4 too: they are told of site 3 and tell nobody."""
    world = World(4, without("ha3", "ha1", "ha4"))
    world.pass_time(5)
    assert discovered(world, 1) == outers(1, 4, 3, 2)
    # Of those that hear it only site 2 is left, which falls silent; sites 1 and 4 still hear each other.
    cut = world.drop
    world.drop = lambda packet: peer(2).haha in (packet[8:24], packet[24:40]) or cut(packet)
    world.pass_time(4.2)
    assert discovered(world, 1) == outers(1, 4)
    assert discovered(world, 4) == outers(4, 1)


@pytest.mark.parametrize(
    "outer",
    ["2001:db8:3::a", "2001:db8:ffff::9", "fe80::1", "ff02::1", "::", "::1", "3fff:101::a", "3fff:102::a"],
)
def test_an_address_inside_home_or_of_no_host_or_known_is_not_taken(home_agent, outer):
    hear(home_agent, 2, HeardHomeAgent(Address.parse(outer), 7, HelloFlag.READY))
    assert home_agent.unknown() == []


def test_as_many_unknown_ones_are_listed_as_are_allowed_and_no_more(home_agent):
    for by in (2, 3):
        named = [
            HeardHomeAgent(Address.parse(f"3fff:{by}00::{number:x}"), 7, HelloFlag.READY)
            for number in range(1, MOST_NAMED + 20)
        ]
        hear(home_agent, by, *named)
    unknown = home_agent.unknown()
    assert len(unknown) == len({one.outer for one in unknown}) == MOST_UNKNOWN
    assert sum(one.heard_from == "ha2" for one in unknown) == MOST_NAMED


def test_an_unknown_one_goes_with_the_last_that_names_it(home_agent):
    new = HeardHomeAgent(NEW, 7, HelloFlag.READY)
    hear(home_agent, 2, new)
    hear(home_agent, 3, new, at=2.0)
    home_agent.handle_timer(Now(4.1, WALL + 4.1))
    assert [one.heard_from for one in home_agent.unknown()] == ["ha3"]
    home_agent.handle_timer(Now(5.1, WALL + 5.1))
    assert home_agent.unknown() == []


def test_who_has_just_started_does_not_say_that_it_names_all():
    home_agent = HomeAgentsList(says_hello(home_agent_config(1, 3)), lambda one: True, lambda now: None)
    home_agent.start(Now(0.0, WALL))
    hear(home_agent, 2)
    said = []
    for second in (1.0, 3.0):
        home_agent.handle_timer(Now(second, WALL + second))
        information, *_ = home_agent.hello()
        said.append(bool(information.flags & HelloFlag.NAMES_ALL))
    assert said == [False, True]


@pytest.mark.requirement("M-CAPACITY", "M-HAHA")
@pytest.mark.parametrize("lent", [0, 12, 45])
@pytest.mark.parametrize("others", [3, 40, 80])
def test_a_hello_is_one_message_of_at_most_1280_octets(others, lent):
    """However many Home Agents there are, and parents of a satellite."""
    peers = [
        replace(
            peer(2),
            name=f"ha{number}",
            outer=Address.parse(f"3fff:200::{number:x}"),
            haha=Address.parse(f"2001:db8:ffff::{number:x}"),
        )
        for number in range(2, 2 + others)
    ]
    prefixes = [Prefix.parse(f"2001:db8:2:f{number:03x}::/64") for number in range(lent)]
    config = replace(
        says_hello(home_agent_config(1)),
        peers=tuple(peers),
        partition=None if lent else peer(1).partition,
        lent=tuple(LentPrefix("site2", one, Address(one.address[:15] + b"\1")) for one in prefixes),
    )
    agent = HomeAgent(config, Random(1))
    now = Now(1000.0, WALL)
    agent.start((), now)
    for one in peers:
        stamped = (ReplayProtection(from_unix(now.wall)), HelloInformation(5, 60_000, 0, HAS_ALL))
        said = HahaMessage(HahaOperation.HELLO, HahaFlag(0), 0, 200, stamped)
        agent.home_agents.receive(said, one, now)
    agent.handle_timer(Now(now.monotonic + 5, now.wall + 5))
    packets = [one.packet for one in agent.take_effects() if isinstance(one, Transmit)]
    hellos = [packet for packet in packets if packet[24:40] == peers[0].haha]
    assert len(hellos) == 1 and len(hellos[0]) <= 1280
    message = message_of(hellos[0])
    named = every_option(message.options, HeardHomeAgent)
    assert len(named) == min(others, max(MOST_NAMED - lent, 0))
    assert set(named) <= {HeardHomeAgent(one.outer, 5, HelloFlag.READY) for one in peers}
    names_all = bool(every_option(message.options, HelloInformation)[0].flags & HelloFlag.NAMES_ALL)
    assert names_all is (len(named) == others)


@pytest.mark.requirement("S-8")
def test_who_has_not_the_mesh_key_names_nobody():
    world = World(3, without("ha3", "ha1"))
    forged = HahaMessage(
        HahaOperation.HELLO,
        HahaFlag(0),
        0,
        3,
        (
            ReplayProtection(from_unix(world.now.wall)),
            HelloInformation(0, 1000, 0, HAS_ALL),
            HeardHomeAgent(NEW, 9, HelloFlag.READY),
        ),
    )
    for key, listed in ((bytes(16), []), (MESH.key, [NEW])):
        packet = haha_packet(peer(2).haha, peer(1).haha, forged, replace(MESH, key=key))
        world.inject(packet)
        assert [one.outer for one in world.agents[1].home_agents.unknown()] == listed


@pytest.mark.requirement("F-3", "K-5")
@pytest.mark.parametrize("moved", [True, False], ids=["home again", "not moved yet"])
def test_the_leak_of_a_home_agent_that_has_fallen_silent_is_not_followed(moved):
    """Its BGP session may take minutes to end, and routes stay for a graceful restart."""
    world = World(3, says_hello)
    world.pass_time(5)
    attach_at(world, 2)

    def exits(index: int) -> list[tuple[int, Address | None]]:
        routes = (one for one in world.agents[index].wanted.routes() if one.prefix == MNP)
        return sorted((one.metric, one.tunnel_exit) for one in routes)

    follows = (Metric.LEAK, peer(2).outer)
    assert exits(3) == [follows]
    gone = world.agents.pop(2)
    if moved:
        world.mobile_router.attached(ACCESS[1], world.now)
        world.closest = 1
    world.pass_time(4.2 if not moved else 10)
    assert exits(3) == [], "the partition's route is left"
    expected = (Metric.BINDING, ACCESS[1]) if moved else (Metric.PROXIED, peer(2).outer)
    assert exits(1) == [expected]
    world.agents[2] = gone
    # What it is behind the times it is told by the primary, every 32 s at least.
    world.pass_time(33 if moved else 2)
    assert exits(3) == ([] if moved else [follows])


@pytest.mark.requirement("F-2", "D-7")
def test_one_that_is_not_heard_soon_after_our_start_is_down_whatever_bgp_says():
    """Its ExaBGP has outlived its agent."""
    home_agents = HomeAgentsList(says_hello(home_agent_config(1, 3)), lambda one: True, lambda now: None)
    home_agents.start(Now(0.0, WALL))
    hear(home_agents, 2)
    other = peer(3)
    assert home_agents.is_up(other) and not home_agents.is_down(other)
    home_agents.handle_timer(Now(3.0, WALL + 3.0))
    assert home_agents.is_down(other) and not home_agents.is_eligible(other)
    assert [one.name for one in home_agents.listed(in_service=False)] == ["ha2"]
    hear(home_agents, 3, at=4.0)
    assert home_agents.is_eligible(other)
