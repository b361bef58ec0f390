"""The packet filter of a Home Agent on signalling: whom it limits, what the kernel does not answer."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import closing

import pytest

from haha_exabgp.kernel.sockets import DhaadSocket, MobilitySocket
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryRequest, encode_icmpv6, parameter_problem
from haha_exabgp.wire.ipv6 import build_icmpv6, build_ipv6, build_mobility
from tests.lab.guard_world import UPDATE, guarded, is_icmp
from tests.lab.kernel_world import (
    CARE_OF,
    EVIL,
    HAHA,
    HOME,
    HOME_ADDRESS,
    OUTER,
    PARTITION,
    World,
    kernel_world,
    seen,
    sniffer,
    tunnelled,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with kernel_world("tDs") as built:
        yield built


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with guarded(shared) as world:
        yield world


MOBILITY_PACKETS = {
    "bare": build_mobility(EVIL, OUTER[1], UPDATE),
    "home-address-option": build_mobility(EVIL, OUTER[1], UPDATE, home_address=HOME_ADDRESS),
    "routing-header": build_mobility(EVIL, OUTER[1], UPDATE, routing_home_address=HOME_ADDRESS),
}


@pytest.mark.parametrize("packet", MOBILITY_PACKETS.values(), ids=MOBILITY_PACKETS)
def test_kernel_does_not_answer_mobility_packets(world: World, packet: bytes) -> None:
    assert not _is_answered(world, packet)
    assert world.ha1.guard.counters()["parameter_problem"] == 1
    world.ha1.guard.flush()
    assert _is_answered(world, packet), "without the guard the kernel complains"


def test_other_parameter_problems_are_sent(world: World) -> None:
    unknown_header = build_ipv6(EVIL, OUTER[1], 253, bytes(8))
    assert _is_answered(world, unknown_header)
    complaint = parameter_problem(0, 40, MOBILITY_PACKETS["bare"])
    with sniffer(world.core, "c-evil") as packets:
        world.ha1.namespace.sends(build_icmpv6(OUTER[1], EVIL, encode_icmpv6(complaint, OUTER[1], EVIL)))
        eventually(lambda: any(is_icmp(one, 4) for one in seen(packets)), 2, "our own", interval=0.002)


def _is_answered(world: World, packet: bytes) -> bool:
    """True when ha1 answers by Parameter Problem; an echo behind it says that it had its chance."""
    with sniffer(world.core, "c-evil") as packets:
        world.evil.sends(packet)
        assert world.evil.pings(OUTER[1])
        return any(is_icmp(one, 4) for one in seen(packets))


@pytest.mark.requirement("D-1")
def test_discovery_in_transit_is_taken_out(world: World) -> None:
    core = world.core
    with DhaadSocket(HOME) as discovery, sniffer(core, "c-ha2") as far, sniffer(core, "c-evil") as back:
        for prefix in (HOME, PARTITION[1], PARTITION[2]):
            world.evil.sends(_request(EVIL, home_agents_anycast(prefix)))
        assert world.evil.pings(OUTER[1])
        assert len(list(iter(discovery.receive, None))) == 3
        assert not [one for one in seen(far) if one[6] in (41, 58) and HOME.contains(one[24:40])]
        assert not [one for one in seen(back) if one[6] == 58 and one[40] in (1, 3, 145)]
    assert world.ha1.guard.counters()["discovery"] == 3


def test_discovery_by_a_tunnel_between_sites_does_not_come_out_of_it(world: World) -> None:
    """The agent sees the tunnel packet, and that it is none of a mobile router."""
    request = _request(HAHA[2], home_agents_anycast(PARTITION[1]))
    with DhaadSocket(HOME) as discovery, sniffer(world.core, "c-ha2") as back:
        world.ha2.namespace.sends(tunnelled(OUTER[2], request))
        assert world.ha2.namespace.pings(HAHA[1])
        assert discovery.receive()[40:] == request
        assert discovery.receive() is None
        answers = [one for one in seen(back) if one[6] == 41 and one[8:24] == OUTER[1]]
        assert {one[80] for one in answers} == {129}, "nothing but the echo reply"
    assert world.ha1.guard.counters()["discovery_in_tunnel"] == 1


def test_update_in_a_tunnel_between_sites_reaches_the_agent(world: World) -> None:
    with closing(MobilitySocket()) as mobility:
        packet = build_mobility(HAHA[2], HAHA[1], UPDATE, home_address=HOME_ADDRESS)
        world.ha2.namespace.sends(packet)
        select.select(mobility.receivers, [], [], 1)
        received = mobility.receivers[0].receive()
    assert received is not None
    assert (received.source, received.data) == (HAHA[2], packet[40:])


def test_outer_address_of_a_peer_is_limited_like_any(world: World) -> None:
    """The HAHA address is what the others speak by; this one a stranger can put on an envelope."""
    forged = [build_mobility(OUTER[2], OUTER[1], UPDATE, home_address=HOME_ADDRESS)] * 100
    with closing(MobilitySocket()) as mobility:
        world.evil.sends(*forged)
        assert world.evil.pings(OUTER[1])
        sources = [one.source for one in iter(mobility.receivers[0].receive, None) if one]
    assert 40 <= sources.count(OUTER[2]) <= 60


def test_strangers_are_limited_and_peers_are_not(world: World) -> None:
    hundred = [build_mobility(EVIL, OUTER[1], UPDATE, home_address=HOME_ADDRESS)] * 100
    from_peer = [build_mobility(HAHA[2], HAHA[1], UPDATE, home_address=HOME_ADDRESS)] * 100
    with closing(MobilitySocket()) as mobility:
        world.evil.sends(*hundred)
        world.mr.sends(build_mobility(CARE_OF, OUTER[1], UPDATE, home_address=HOME_ADDRESS))
        world.ha2.namespace.sends(*from_peer)
        assert world.ha2.namespace.pings(HAHA[1])
        sources = [one.source for one in iter(mobility.receivers[0].receive, None) if one]
    assert 40 <= sources.count(EVIL) <= 60
    assert sources.count(CARE_OF) == 1, "another stranger has a share of its own"
    assert sources.count(HAHA[2]) == 100
    assert world.ha1.guard.counters()["stranger_rate"] == 100 - sources.count(EVIL)


def test_haha_address_is_no_source_outside_the_tunnel(world: World) -> None:
    with closing(MobilitySocket()) as mobility:
        world.evil.sends(build_mobility(HAHA[2], HAHA[1], UPDATE, home_address=HOME_ADDRESS))
        assert world.evil.pings(OUTER[1])
        assert mobility.receivers[0].receive() is None
    assert world.ha1.guard.counters()["outside_tunnel"] == 1


def _request(source: Address, destination: Address) -> bytes:
    message = encode_icmpv6(HomeAgentDiscoveryRequest(7, True), source, destination)
    return build_icmpv6(source, destination, message)
