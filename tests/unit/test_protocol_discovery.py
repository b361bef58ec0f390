"""Home Agent discovery at layer 3: whoever is closest answers for every home subnet inside Home."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from haha_exabgp.protocol.discovery import answer_discovery
from haha_exabgp.protocol.drops import Drop
from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.protocol.home import Peer
from haha_exabgp.protocol.home_agent import DISCOVERIES_A_SECOND
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    decode_icmpv6,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import IcmpPacket, build_icmpv6, parse_packet
from tests.unit.conftest import peer

ASKER = Address.parse("3fff:f01::aa")
OUTER = Address.parse("3fff:101::a")


def outer(number: int) -> Address:
    return Address.parse(f"3fff:200::{number:x}")


def elsewhere(count: int) -> list[Peer]:
    """Home Agents of other sites."""
    return [replace(peer(2), name=f"ha{n}", outer=outer(n)) for n in range(1, count + 1)]


def request_to(destination: Address, source: Address = ASKER, *, mobile_router: bool = True) -> IcmpPacket:
    request = HomeAgentDiscoveryRequest(0x1234, mobile_router=mobile_router)
    message = encode_icmpv6(request, source, destination)
    packet = parse_packet(build_icmpv6(source, destination, message))
    assert isinstance(packet, IcmpPacket)
    return packet


def reply_of(answer: bytes | Drop) -> tuple[IcmpPacket, HomeAgentDiscoveryReply]:
    assert isinstance(answer, bytes)
    packet = parse_packet(answer)
    assert isinstance(packet, IcmpPacket)
    reply = decode_icmpv6(packet.message, packet.source, packet.destination)
    assert isinstance(reply, HomeAgentDiscoveryReply)
    return packet, reply


@pytest.mark.parametrize(
    "subnet",
    ["2001:db8:1:1::/64", "2001:db8:2:77::/64", "2001:db8::/32", "2001:db8:2::/48", "2001:db8:9::/56"],
)
@pytest.mark.requirement("D-1", "D-2", "M-ANYCAST-HOME", "E-7")
def test_every_subnet_of_home_is_answered_from_the_outer_address(world, subnet):
    config = world.agents[1]._config
    request = request_to(home_agents_anycast(Prefix.parse(subnet)))
    packet, reply = reply_of(answer_discovery(request, config, (), Random(1)))
    assert (packet.source, packet.destination) == (OUTER, ASKER)
    assert (reply.identifier, reply.mobile_router, reply.addresses) == (0x1234, True, (OUTER,))


@pytest.mark.requirement("D-3", "D-4")
def test_our_own_comes_first_and_the_others_in_an_order_made_anew(world):
    config = world.agents[1]._config
    others = [outer(number) for number in range(1, 6)]
    request = request_to(home_agents_anycast(Prefix.parse("2001:db8:1:1::/64")))
    orders = set()
    for seed in range(20):
        _, reply = reply_of(answer_discovery(request, config, elsewhere(5), Random(seed)))
        assert reply.addresses[0] == OUTER
        assert sorted(reply.addresses[1:]) == others
        orders.add(reply.addresses)
    assert len(orders) > 5


@pytest.mark.requirement("D-4")
def test_those_of_our_own_site_stand_before_those_of_others(world):
    config = world.agents[1]._config
    near = [replace(peer(2), site="site1", outer=outer(number)) for number in range(50, 53)]
    request = request_to(home_agents_anycast(Prefix.parse("2001:db8:2:1::/64")))
    orders = set()
    for seed in range(20):
        known = [*elsewhere(40), *near]
        _, reply = reply_of(answer_discovery(request, config, known, Random(seed)))
        assert set(reply.addresses[:4]) == {OUTER, *(one.outer for one in near)}
        orders.add(reply.addresses[:4])
    # None of the site's own is closer than another (RFC 6275 s.10.5.1).
    assert {order[0] for order in orders} == {OUTER, *(one.outer for one in near)}


@pytest.mark.requirement("D-3")
def test_of_one_site_the_preferred_stand_first(world):
    config = replace(world.agents[1]._config, preference=7)
    near = [replace(peer(2), site="site1", name=f"ha{n}", outer=outer(n)) for n in range(3)]
    request = request_to(home_agents_anycast(Prefix.parse("2001:db8:2:1::/64")))
    preferences = {"ha0": 7, "ha1": 9, "ha2": 1}
    for seed in range(20):
        _, reply = reply_of(
            answer_discovery(
                request,
                config,
                [*elsewhere(2), *near],
                Random(seed),
                lambda one: preferences[one.name] if one.site == "site1" else 100,
            )
        )
        assert reply.addresses[0] == near[1].outer
        assert set(reply.addresses[1:3]) == {OUTER, near[0].outer}
        assert reply.addresses[3] == near[2].outer


@pytest.mark.requirement("D-5", "M-DHAAD")
@pytest.mark.parametrize("mobile_router", [True, False])
def test_all_that_are_listed_serve_mobile_routers_and_the_reply_says_so(world, mobile_router):
    """RFC 3963 s.7.2: R is set when at least one does, whatever was asked."""
    config = world.agents[1]._config
    anycast = home_agents_anycast(Prefix.parse("2001:db8:1:1::/64"))
    request = request_to(anycast, mobile_router=mobile_router)
    _, reply = reply_of(answer_discovery(request, config, elsewhere(3), Random(1)))
    assert reply.mobile_router and len(reply.addresses) == 4


@pytest.mark.requirement("D-7")
def test_the_list_follows_the_bgp_sessions(three_sites):
    """An entry lives as long as the session, in place of a router lifetime (RFC 6275 s.10.5.1)."""
    world, agent = three_sites, three_sites.agents[1]
    request = request_to(home_agents_anycast(Prefix.parse("2001:db8:1:1::/64")))
    listed = []
    for site, up in ((2, False), (3, False), (2, True)):
        agent.routes.session_changed(peer(site).haha, up, world.now.monotonic)
        agent.receive_discovery(request, world.now)
        (answer,) = [one.packet for one in agent.take_effects() if isinstance(one, Transmit)]
        listed.append(set(reply_of(answer)[1].addresses))
    assert listed == [{OUTER, peer(3).outer}, {OUTER}, {OUTER, peer(2).outer}]


@pytest.mark.requirement("D-3", "M-CAPACITY")
def test_a_reply_fits_into_1280_octets_and_keeps_the_closest(world):
    config = world.agents[1]._config
    request = request_to(home_agents_anycast(Prefix.parse("2001:db8:1:1::/64")))
    answer = answer_discovery(request, config, elsewhere(199), Random(1))
    assert isinstance(answer, bytes)
    assert 1264 < len(answer) <= 1280
    assert reply_of(answer)[1].addresses[0] == OUTER


@pytest.mark.parametrize(
    ("destination", "source", "reason"),
    [
        ("2001:dead:1:1:fdff:ffff:ffff:fffe", "3fff:f01::aa", Drop.NOT_FOR_US),
        ("2001:db8:1:1::10", "3fff:f01::aa", Drop.NOT_FOR_US),
        ("2001:db8:1:1:fdff:ffff:ffff:fffe", "fe80::1", Drop.CARE_OF_ADDRESS_NOT_UNICAST),
        ("2001:db8:1:1:fdff:ffff:ffff:fffe", "ff02::1", Drop.CARE_OF_ADDRESS_NOT_UNICAST),
    ],
)
def test_what_is_not_answered(world, destination, source, reason):
    config = world.agents[1]._config
    request = request_to(Address.parse(destination), Address.parse(source))
    assert answer_discovery(request, config, (), Random(1)) is reason


def test_a_flood_is_answered_up_to_the_limit_and_junk_does_not_use_it_up(world):
    agent = world.agents[1]
    junk = request_to(Address.parse("2001:db8:1:1::10"))
    for _ in range(5000):
        agent.receive_discovery(junk, world.now)
    request = request_to(home_agents_anycast(Prefix.parse("2001:db8:1:1::/64")))
    for _ in range(5000):
        agent.receive_discovery(request, world.now)
    answered = agent.counters["discovery_answered"]
    assert answered == 2 * DISCOVERIES_A_SECOND
    assert agent.counters["dropped_too_many_discoveries"] == 5000 - answered
