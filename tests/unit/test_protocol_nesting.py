"""Mobile routers behind mobile routers: what becomes of circles that moves would make; who is answered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy
from haha_exabgp.protocol.nesting import MOST_NESTED
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.errors import MalformedPacket
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryRequest, encode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, build_icmpv6, build_ipv6, parse_tunnelled
from haha_exabgp.wire.mobility import BindingAcknowledgement
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MNP, World, peer
from tests.unit.mobility_messages import acknowledgements, update_to
from tests.unit.proxying import Hold

HOME_ADDRESSES = [HOA, *(Address.parse(f"2001:db8:1:1::{number}0") for number in range(2, MOST_NESTED + 2))]
NETWORKS = [MNP, *(Prefix.parse(f"2001:db8:1:{number}00::/64") for number in range(2, MOST_NESTED + 2))]
"""Of as many mobile routers: one more than may be behind each other."""
OUTER = peer(1).outer
ANYCAST = home_agents_anycast(Prefix.parse("2001:db8:2:1::/64"))
LIMIT = bytes((41, 0, 4, 1, 4, 1, 1, 0))
"""Destination options with a Tunnel Encapsulation Limit (RFC 2473 s.4.1.1)."""


def inside(number: int, host: int = 0x77) -> Address:
    """In the network of one of them."""
    return Address(NETWORKS[number].address[:15] + bytes((host,)))


def policies(config: HomeAgentConfig) -> HomeAgentConfig:
    known = {
        home_address: MobileRouterPolicy(f"mr{home_address}", home_address, (network,), (ASSOCIATION,))
        for home_address, network in zip(HOME_ADDRESSES, NETWORKS, strict=True)
    }
    return replace(config, mobile_routers=known)


@pytest.fixture
def nested() -> World:
    return World(adapt=policies)


def bind(world: World, number: int, care_of_address: Address, sequence: int, site: int = 1) -> int | None:
    """The status that one of them is answered with; None: not yet."""
    update = update_to(
        world,
        site,
        care_of_address,
        sequence,
        prefix=NETWORKS[number],
        home_address=HOME_ADDRESSES[number],
    )
    seen = len(acknowledgements(world, care_of_address))
    world.inject(update)
    world.pass_time(2.0)
    answers = acknowledgements(world, care_of_address)[seen:]
    return answers[0].status if answers else None


@pytest.mark.requirement("N-3")
def test_two_that_ask_at_the_same_time_do_not_end_up_behind_each_other(nested):
    """Both are judged before either is bound: a proxy waits for the primary."""
    hold = Hold(BindingAcknowledgement, peer(1).haha, peer(2).haha)
    nested.drop = hold
    for number, other in ((0, 1), (1, 0)):
        care_of_address = inside(other)
        update = update_to(
            nested, 2, care_of_address, 7, prefix=NETWORKS[number], home_address=HOME_ADDRESSES[number]
        )
        nested.inject(update)
    assert not list(nested.agents[2].bindings)
    exits = {route.tunnel_exit for route in nested.agents[2].wanted.routes()}
    assert not exits & {inside(0), inside(1)}, "nor a way that is only prepared"
    nested.drop = lambda packet: False
    for packet in hold.packets:
        nested.inject(packet)
    statuses = [one.status for other in (1, 0) for one in acknowledgements(nested, inside(other))]
    assert sorted(statuses) == [0, 174]
    assert len(list(nested.agents[2].bindings)) == 1


@pytest.mark.requirement("N-3")
def test_no_way_through_another_mobile_router_outlives_its_binding(nested):
    """It could lead into itself by then."""
    assert bind(nested, 1, inside(0), 1) == 0
    nested.inject(
        update_to(nested, 2, inside(0), 2, prefix=NETWORKS[1], home_address=HOME_ADDRESSES[1]),
    )
    routes = nested.agents[1].wanted.routes()
    assert {one.tunnel_exit for one in routes if one.prefix == NETWORKS[1]} == {peer(2).outer}


@pytest.mark.requirement("N-3")
def test_a_network_that_is_given_to_a_mobile_router_later_makes_no_circle(nested):
    """Its refresh, which asks for nothing else, would bring it a prefix that the one around it is in."""
    config = nested.agents[1]._config
    first, second = (config.mobile_routers[one] for one in HOME_ADDRESSES[:2])
    third = NETWORKS[2]
    del config.mobile_routers[HOME_ADDRESSES[2]]
    assert bind(nested, 1, inside(2), 1) == 0
    assert bind(nested, 0, inside(1), 1) == 0
    config.mobile_routers[HOA] = replace(first, prefixes=(*first.prefixes, third))
    assert second.prefixes == (NETWORKS[1],)
    assert bind(nested, 0, inside(1), 2) == 174
    assert nested.agents[1].bindings.get(HOA).prefixes == (MNP,)


@pytest.mark.requirement("N-3")
def test_when_the_one_around_it_has_gone_the_chain_is_shorter(nested):
    assert bind(nested, 0, ACCESS[1], 1) == 0
    for number in range(1, MOST_NESTED):
        assert bind(nested, number, inside(number - 1), 1) == 0
    assert bind(nested, MOST_NESTED, inside(MOST_NESTED - 1), 1) == 174
    nested.inject(update_to(nested, 1, ACCESS[1], 2, lifetime=0))
    assert nested.agents[1].bindings.get(HOA) is None
    assert bind(nested, MOST_NESTED, inside(MOST_NESTED - 1), 2) == 0
    # Back again it would be too many.
    assert bind(nested, 0, ACCESS[1], 3) == 0
    assert bind(nested, 0, inside(MOST_NESTED), 4) == 174


@pytest.mark.requirement("N-3")
def test_who_has_left_a_network_is_not_behind_it_any_more(nested):
    assert bind(nested, 0, ACCESS[1], 1) == 0
    for number in range(1, MOST_NESTED):
        assert bind(nested, number, inside(number - 1), 1) == 0
    assert bind(nested, MOST_NESTED, ACCESS[2], 1) == 0
    assert bind(nested, 0, inside(MOST_NESTED), 2) == 174
    assert bind(nested, 1, Address.parse("3fff:f01::bb"), 2) == 0, "with all that are behind it"
    assert bind(nested, 0, inside(MOST_NESTED), 3) == 0


def discovery(source: Address, destination: Address = ANYCAST) -> bytes:
    message = encode_icmpv6(HomeAgentDiscoveryRequest(5), source, destination)
    return build_icmpv6(source, destination, message)


def in_tunnels(packet: bytes, *outers: Address, to: Address = OUTER) -> bytes:
    """From these addresses, outermost first."""
    for outer in reversed(outers):
        packet = build_ipv6(outer, to, 41, packet)
    return packet


def answers(world: World, packet: bytes) -> list[Address]:
    """Whom the first Home Agent answers, when this comes to it."""
    tunnels, request = parse_tunnelled(packet)
    assert isinstance(request, IcmpPacket)
    seen = len(world.wire)
    world.agents[1].receive_discovery(request, world.now, tunnels)
    world.settle()
    return [one.destination for one in world.wire[seen:] if isinstance(one, IcmpPacket)]


@pytest.mark.requirement("D-1", "N-2")
def test_discovery_from_behind_a_mobile_router_is_answered_by_its_home_agent(nested):
    first, second = inside(0), inside(1)
    assert answers(nested, in_tunnels(discovery(first), ACCESS[1])) == []
    assert bind(nested, 0, ACCESS[1], 1) == 0
    assert answers(nested, in_tunnels(discovery(first), ACCESS[1])) == [first]
    assert bind(nested, 1, first, 1) == 0
    assert answers(nested, in_tunnels(discovery(second), ACCESS[1], first)) == [second]


@pytest.mark.requirement("D-1", "N-2")
def test_discovery_in_any_other_tunnel_is_not(nested):
    first, second = inside(0), inside(1)
    assert bind(nested, 0, ACCESS[1], 1) == 0
    assert bind(nested, 1, first, 1) == 0
    # Bound to another one, which has told us.
    assert bind(nested, 2, ACCESS[2], 1, site=2) == 0
    for packet in (
        in_tunnels(discovery(first), ACCESS[2]),
        in_tunnels(discovery(ACCESS[1]), ACCESS[1]),
        in_tunnels(discovery(second), ACCESS[1]),
        in_tunnels(discovery(second), ACCESS[1], second),
        in_tunnels(discovery(first), ACCESS[1], to=peer(2).outer),
        in_tunnels(discovery(inside(2)), ACCESS[2]),
        in_tunnels(discovery(peer(2).haha), peer(2).outer),
    ):
        assert answers(nested, packet) == []
    assert nested.agents[1].counters["dropped_not_from_a_mobile_network"] == 7


def test_tunnel_headers_are_read_outermost_first():
    packet = discovery(inside(1))
    tunnels, found = parse_tunnelled(in_tunnels(packet, ACCESS[1], inside(0)))
    assert [one.source for one in tunnels] == [ACCESS[1], inside(0)]
    assert {one.destination for one in tunnels} == {peer(1).outer}
    assert (found.source, found.destination) == (inside(1), ANYCAST)
    assert parse_tunnelled(packet) == ((), found)
    with_limit = build_ipv6(ACCESS[1], peer(1).outer, 60, LIMIT + packet)
    assert parse_tunnelled(with_limit) == (tunnels[:1], found)


def test_what_is_no_packet_in_tunnels_is_malformed():
    packet = in_tunnels(discovery(inside(1)), ACCESS[1], inside(0))
    for end in (0, 39, 40, 79, 80, 119, 125):
        with pytest.raises(MalformedPacket):
            parse_tunnelled(packet[:end])
    with pytest.raises(MalformedPacket):
        # Only the outermost header may have options behind it.
        parse_tunnelled(in_tunnels(build_ipv6(inside(0), peer(1).outer, 60, LIMIT + packet), ACCESS[1]))
