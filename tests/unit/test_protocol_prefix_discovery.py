"""Mobile Prefix Solicitation and Advertisement: what a mobile router is told about its home subnet."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest

from haha_exabgp.protocol.home import HomeAgentConfig
from haha_exabgp.protocol.home_subnets import HomeSubnet, HomeSubnets
from haha_exabgp.protocol.prefix_discovery import SOLICITATIONS_A_SECOND
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    decode_icmpv6,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, build_icmpv6
from haha_exabgp.wire.mobility import BindingError, decode_mobility
from tests.unit.conftest import ACCESS, HOA, WALL, World, peer
from tests.unit.mobility_messages import update_to

SUBNET = Prefix.parse("2001:db8:1:1::/64")
FOR_EVER = 0xFFFFFFFF
STRANGER = Address.parse("3fff:f02::bad")


def solicitation(
    source: Address, home_address: Address = HOA, *, site: int = 1, identifier: int = 7
) -> bytes:
    message = encode_icmpv6(MobilePrefixSolicitation(identifier), home_address, peer(site).outer)
    return build_icmpv6(source, peer(site).outer, message, home_address=home_address)


def advertised(world: World) -> list[tuple[IcmpPacket, MobilePrefixAdvertisement]]:
    found = []
    for packet in world.wire:
        if isinstance(packet, IcmpPacket):
            message = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
            if isinstance(message, MobilePrefixAdvertisement):
                found.append((packet, message))
    return found


def errors(world: World) -> list[tuple[Address, BindingError]]:
    found = []
    for packet in world.wire:
        if isinstance(packet, MobilityPacket):
            message = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
            if isinstance(message, BindingError):
                found.append((packet.destination, message))
    return found


def bound(site: int = 1, subnets: tuple[HomeSubnet, ...] = (), lifetime: int = 600) -> World:
    def numbered(config: HomeAgentConfig) -> HomeAgentConfig:
        return replace(config, home_subnets=subnets, max_binding_lifetime=200_000)

    world = World(adapt=numbered)
    world.inject(update_to(world, site, ACCESS[site], 1, lifetime=lifetime))
    assert world.agents[site].bindings.get(HOA) is not None
    return world


@pytest.mark.requirement("M-MPS", "M-RH2")
@pytest.mark.parametrize("site", [1, 2])
def test_a_solicitation_is_answered_at_once_to_the_care_of_address(site):
    """RFC 6275 s.10.6.3: identifier copied, a routing header with the home address; the subnet of the home
    address, not the partition of the site; M and O clear without DHCPv6."""
    world = bound(site)
    world.inject(solicitation(ACCESS[site], site=site, identifier=0x1234))
    ((packet, message),) = advertised(world)
    assert (packet.source, packet.destination) == (peer(site).outer, ACCESS[site])
    assert packet.routing_home_address == HOA
    assert message.identifier == 0x1234 and not message.managed and not message.other
    assert message.prefixes == (PrefixInformation(SUBNET.address, 64, FOR_EVER, FOR_EVER),)


@pytest.mark.requirement("M-MPS")
def test_the_lifetimes_are_what_is_left():
    world = bound(subnets=(HomeSubnet(SUBNET, WALL + 90_000, WALL + 5_000),))
    world.pass_time(1000)
    world.inject(update_to(world, 1, ACCESS[1], 2))
    world.inject(solicitation(ACCESS[1]))
    (information,) = advertised(world)[-1][1].prefixes
    assert 88_990 < information.valid_lifetime <= 89_000
    assert 3_990 < information.preferred_lifetime <= 4_000


@pytest.mark.requirement("M-MPS", "M-BE")
@pytest.mark.parametrize(
    ("source", "home_address"),
    [(STRANGER, HOA), (ACCESS[1], Address.parse("2001:db8:1:1::99")), (STRANGER, STRANGER)],
    ids=["not from its care-of address", "home address unknown", "neither"],
)
def test_a_home_address_without_a_binding_to_the_source_is_an_error(source, home_address):
    """RFC 6275 s.9.3.1: Binding Error, status 1."""
    world = bound()
    before = world.snapshot()
    world.inject(solicitation(source, home_address))
    assert advertised(world) == []
    assert errors(world) == [(source, BindingError(1, home_address))]
    assert world.agents[1].counters["dropped_not_from_its_care_of_address"] == 1
    assert world.snapshot() == before


@pytest.mark.requirement("M-BE")
def test_binding_errors_to_strangers_are_few():
    """RFC 6275 s.9.3.3."""
    world = bound()
    for _ in range(1000):
        world.agents[1].receive_solicitation(_received(solicitation(STRANGER)), world.now)
    world.settle()
    assert len(errors(world)) == 200
    assert world.agents[1].counters["dropped_too_many_errors"] == 800


def _received(packet: bytes) -> IcmpPacket:
    world = World()
    world.inject(packet)
    parsed = world.wire[0]
    assert isinstance(parsed, IcmpPacket)
    return parsed


@pytest.mark.requirement("M-MPS")
def test_one_mobile_router_gets_one_a_second():
    """RFC 6275 s.6.8."""
    world = bound()
    for _ in range(40):
        world.inject(solicitation(ACCESS[1]))
        world.pass_time(0.1)
    assert 4 <= len(advertised(world)) <= 5
    assert world.agents[1].counters["dropped_too_many_solicitations"] > 30
    assert SOLICITATIONS_A_SECOND > 1


def test_what_is_not_a_solicitation_is_not_answered():
    world = bound()
    packet = solicitation(ACCESS[1])
    without_option = build_icmpv6(
        ACCESS[1], peer(1).outer, encode_icmpv6(MobilePrefixSolicitation(7), ACCESS[1], peer(1).outer)
    )
    broken = packet[:-1] + bytes((packet[-1] ^ 1,))
    for one in (without_option, broken):
        world.agents[1].receive_solicitation(_received(one), world.now)
    world.settle()
    assert advertised(world) == [] and errors(world) == []
    counters = world.agents[1].counters
    assert counters["dropped_unexpected_message"] == counters["dropped_bad_checksum"] == 1


@pytest.mark.requirement("M-MPS", "M-CONST-MPS")
def test_a_change_is_told_within_a_day_and_repeated_after_3_6_12_seconds():
    world = bound(lifetime=180_000)
    world.agents[1].renumber([HomeSubnet(SUBNET, WALL + 300_000, WALL + 250_000)], world.now)
    times = []
    for _ in range(3):
        world.pass_time(world.agents[1]._prefixes.next_timer() - world.now.monotonic + 0.1)
        times.append(world.now.monotonic - 1000)
        world.pass_time(30)
    assert 600 <= times[0] <= 87_000
    assert [len(advertised(world)), world.agents[1].counters["prefixes_advertised"]] == [12, 12]
    first = [message.identifier for _, message in advertised(world)[:4]]
    assert len(set(first)) == 1 and first[0] != 0


@pytest.mark.requirement("M-MPS", "M-CONST-MPS")
def test_a_solicitation_ends_the_repetitions():
    """RFC 6275 s.10.6.2: it is how an advertisement is acknowledged."""
    world = bound(lifetime=180_000)
    world.agents[1].renumber([HomeSubnet(SUBNET, WALL + 300_000, WALL + 250_000)], world.now)
    world.pass_time(world.agents[1]._prefixes.next_timer() - world.now.monotonic + 2.0)
    assert len(advertised(world)) == 1
    world.inject(solicitation(ACCESS[1]))
    world.pass_time(60)
    assert len(advertised(world)) == 2


@pytest.mark.requirement("M-MPS")
def test_nothing_is_advertised_to_who_has_left():
    """RFC 6275 s.10.6.2: a registration that ends cancels what was scheduled."""
    world = bound(lifetime=180_000)
    world.agents[1].renumber([HomeSubnet(SUBNET, WALL + 300_000, WALL + 250_000)], world.now)
    world.inject(update_to(world, 1, ACCESS[1], 2, lifetime=0))
    world.pass_time(90_000)
    assert advertised(world) == [] and world.agents[1]._prefixes.next_timer() is None


def test_a_subnet_without_an_end_is_not_advertised_unasked():
    world = bound(lifetime=180_000)
    world.pass_time(100_000)
    assert advertised(world) == []


@pytest.mark.requirement("M-MPS")
def test_a_subnet_with_an_end_is_advertised_before_it_comes():
    world = bound(subnets=(HomeSubnet(SUBNET, WALL + 20_000, WALL + 10_000),), lifetime=180_000)
    world.pass_time(11_000)
    assert len(advertised(world)) >= 4


@pytest.mark.requirement("L-1")
@pytest.mark.parametrize("site", [1, 2])
def test_no_binding_outlives_its_subnet(site):
    """RFC 6275 s.10.3.1, also when the subnet is ended while the binding lives."""
    world = bound(site, lifetime=100_000)
    for agent in world.agents.values():
        agent.renumber([HomeSubnet(SUBNET, WALL + 500, WALL + 100)], world.now)
    world.pass_time(490)
    assert len(world.agents[site].bindings) == 1
    world.pass_time(15)
    assert [len(agent.bindings) for agent in world.agents.values()] == [0, 0]
    assert all(one.expires == 0.0 for stored in world.stored.values() for one in stored.values())


def test_the_longest_entry_counts_and_what_it_covers_is_a_64():
    wide = HomeSubnet(Prefix.parse("2001:db8:1::/48"), 100.0, 50.0)
    narrow = HomeSubnet(Prefix.parse("2001:db8:1:1::/64"), 200.0, 150.0)
    subnets = HomeSubnets([wide, narrow])
    other = Address.parse("2001:db8:1:2::1")
    assert subnets.subnet(HOA) == narrow
    assert subnets.subnet(other) == HomeSubnet(Prefix.parse("2001:db8:1:2::/64"), 100.0, 50.0)
    assert subnets.lifetimes(other, 80.0) == (20.0, 0.0)
    assert subnets.lifetimes(Address.parse("2001:db8:2::1"), 80.0) == (inf, inf)


def test_short_notice_for_many_does_not_fall_due_in_one_moment() -> None:
    """A Home of thousands is renumbered: they are told one after the other, in the first half of what is
    left, and telling them costs as much for each as for one."""
    many, left = 3000, 1000.0
    core, now = bound().agents[1], Now(1000.0, WALL)
    template = core.bindings.get(HOA)
    for number in range(many):
        home_address = Address(HOA[:12] + number.to_bytes(4, "big"))
        core.bindings.put(template._replace(home_address=home_address, expires=90_000.0), now.monotonic)
    subnet = HomeSubnet(SUBNET, valid_until=now.wall + left, preferred_until=now.wall + left)
    core.renumber([subnet], now)
    core.take_effects()
    told = []
    for second in range(int(left / 2) + 1):
        core._prefixes.handle_timer(Now(now.monotonic + second, now.wall + second))
        told.append(core.counters["prefixes_advertised"])
        core.take_effects()
    assert told[-1] >= many
    assert max(after - before for before, after in pairwise(told)) < many / 20
