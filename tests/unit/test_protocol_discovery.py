"""Home Agent discovery at layer 3: whoever is closest answers for every home subnet inside Home."""

from __future__ import annotations

from random import Random

import pytest

from haha_exabgp.protocol.discovery import answer_discovery
from haha_exabgp.protocol.drops import Drop
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

ASKER = Address.parse("3fff:f01::aa")
OUTER = Address.parse("3fff:101::a")


def request_to(destination: Address, source: Address = ASKER) -> IcmpPacket:
    message = encode_icmpv6(HomeAgentDiscoveryRequest(0x1234, mobile_router=True), source, destination)
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
    others = [Address.parse(f"3fff:200::{number:x}") for number in range(1, 6)]
    request = request_to(home_agents_anycast(Prefix.parse("2001:db8:1:1::/64")))
    orders = set()
    for seed in range(20):
        _, reply = reply_of(answer_discovery(request, config, others, Random(seed)))
        assert reply.addresses[0] == OUTER
        assert sorted(reply.addresses[1:]) == others
        orders.add(reply.addresses)
    assert len(orders) > 5


@pytest.mark.requirement("D-3")
def test_a_reply_fits_into_1280_octets_and_keeps_the_closest(world):
    config = world.agents[1]._config
    others = [Address.parse(f"3fff:200::{number:x}") for number in range(1, 200)]
    request = request_to(home_agents_anycast(Prefix.parse("2001:db8:1:1::/64")))
    answer = answer_discovery(request, config, others, Random(1))
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
