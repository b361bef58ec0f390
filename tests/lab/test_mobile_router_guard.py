"""The packet filter of a mobile router that has another one, or a rogue, in its network."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from haha_exabgp.kernel.sockets import MobilitySocket
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.ipv6 import build_ipv6, build_mobility
from tests.lab.guard_world import TUNNEL_LIMIT, UPDATE
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HOME_ADDRESS,
    LFN,
    OUTER,
    World,
    kernel_world,
    seen,
    sniffer,
    tunnelled,
    udp,
)
from tests.lab.mobile_router_kernel import MobileRouterKernel

pytestmark = pytest.mark.lab

VISITOR = LFN
"""The care-of address of a mobile router in the mobile network, which is bound to ha2."""
VISITORS_NETWORK = Address.parse("2001:db8:2:100::10")
OWN_ON_LAN = Address.parse("2001:db8:1:100::1")


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[World, MobileRouterKernel]]:
    with kernel_world("tDn") as built:
        kernel = MobileRouterKernel(built.mr)
        kernel.setup()
        kernel.use_tunnel(OUTER[1])
        yield built, kernel
        kernel.close()


@pytest.fixture
def world(shared: tuple[World, MobileRouterKernel]) -> World:
    """The mobile router is bound at ha1, its counters are zero."""
    built, kernel = shared
    with built.mr.entered():
        kernel.guard.set_tunnel_ends({CARE_OF})
        kernel.guard.setup({OUTER[1]})
    return built


def counted(shared: tuple[World, MobileRouterKernel]) -> dict[str, int]:
    return {name: count for name, count in shared[1].guard.counters().items() if count}


@pytest.mark.requirement("S-5")
def test_visiting_mobile_routers_tunnel_leaves_inside_ours(
    world: World, shared: tuple[World, MobileRouterKernel]
) -> None:
    inner = udp(VISITORS_NETWORK, CN)
    visitors = {
        "plain": tunnelled(VISITOR, inner, OUTER[2]),
        "limit": build_ipv6(VISITOR, OUTER[2], 60, TUNNEL_LIMIT + inner),
    }
    for packet in visitors.values():
        with sniffer(world.core, "c-mr") as packets:
            world.lfn.sends(packet)
            wrapped = eventually(
                lambda p=packets: [one for one in seen(p) if inner in one], 2, "it comes out"
            )
        assert [(one[6], one[8:24], one[24:40]) for one in wrapped] == [(41, CARE_OF, OUTER[1])]
        assert wrapped[0][48:80] == VISITOR + OUTER[2]
    assert counted(shared) == {}


@pytest.mark.requirement("S-5")
def test_tunnel_to_a_visiting_mobile_router_comes_out_of_ours(
    world: World, shared: tuple[World, MobileRouterKernel]
) -> None:
    inner = udp(CN, VISITORS_NETWORK)
    with sniffer(world.lfn, "eth0") as packets:
        world.ha1.namespace.sends(tunnelled(OUTER[1], tunnelled(OUTER[2], inner, VISITOR), CARE_OF))
        (received,) = eventually(lambda: [one for one in seen(packets) if one[40:] == inner], 2, "it arrives")
    assert (received[6], received[8:24], received[24:40]) == (41, OUTER[2], VISITOR)
    assert counted(shared) == {}


@pytest.mark.requirement("S-5")
@pytest.mark.parametrize(
    "inner",
    [
        udp(HOME_ADDRESS, CN, 4000),
        udp(CN, EVIL, 4000),
        udp(LFN, CN, 4000),
        tunnelled(EVIL, udp(VISITORS_NETWORK, CN, 4000), OUTER[2]),
    ],
    ids=["as-the-router", "as-anyone", "as-itself", "a-tunnel-as-anyone"],
)
@pytest.mark.parametrize("options", [b"", TUNNEL_LIMIT], ids=["bare", "limit"])
def test_nothing_of_the_network_comes_out_of_our_tunnel_end(
    world: World, shared: tuple[World, MobileRouterKernel], inner: bytes, options: bytes
) -> None:
    with sniffer(world.core, "c-mr") as packets:
        world.lfn.sends(build_ipv6(LFN, CARE_OF, 60 if options else 41, options + inner))
        world.lfn.sends(udp(LFN, CN, 9999))
        last = eventually(lambda: [one for one in seen(packets) if _port(9999) in one], 2, "the last packet")
        assert not [one for one in [*last, *seen(packets)] if _port(4000) in one]
    assert counted(shared) == {"not_home_agent": 1}


@pytest.mark.requirement("S-5")
@pytest.mark.parametrize("source", [OWN_ON_LAN, HOME_ADDRESS, CARE_OF], ids=["lan", "home", "care-of"])
def test_nobody_in_the_network_sends_as_the_mobile_router(
    world: World, shared: tuple[World, MobileRouterKernel], source: Address
) -> None:
    with sniffer(world.core, "c-mr") as packets:
        world.lfn.sends(udp(source, CN, 4000))
        world.lfn.sends(udp(LFN, CN, 9999))
        last = eventually(lambda: [one for one in seen(packets) if _port(9999) in one], 2, "the last packet")
        assert not [one for one in [*last, *seen(packets)] if _port(4000) in one]
    assert counted(shared) == {"lan_spoofed": 1}


@pytest.mark.requirement("S-5")
def test_old_tunnel_end_is_an_address_like_any_other(
    world: World, shared: tuple[World, MobileRouterKernel]
) -> None:
    moved = Address.parse("3fff:f01::11")
    with world.mr.entered():
        shared[1].guard.set_tunnel_ends({moved})
    world.lfn.sends(tunnelled(LFN, udp(LFN, CN), moved))
    eventually(lambda: counted(shared) == {"not_home_agent": 1}, 2, "the new one counts", interval=0.01)
    world.lfn.sends(tunnelled(LFN, udp(CN, LFN), EVIL))
    assert world.lfn.pings(OWN_ON_LAN)
    assert counted(shared) == {"not_home_agent": 1}


def test_strangers_signalling_is_limited_and_the_home_agents_is_not(
    world: World, shared: tuple[World, MobileRouterKernel]
) -> None:
    """For each source, and in total; of the Home Agent nothing is lost."""
    each, total = 20, 1000

    def acknowledgement(source: bytes) -> bytes:
        return build_mobility(source, CARE_OF, UPDATE, routing_home_address=HOME_ADDRESS)

    with world.mr.entered(), closing(MobilitySocket()) as mobility:
        world.evil.sends(*[acknowledgement(EVIL)] * 100)
        world.ha1.namespace.sends(*[acknowledgement(OUTER[1])] * 100)
        assert world.evil.pings(CARE_OF)
        sources = [one.source for one in iter(mobility.receivers[1].receive, None) if one]
        assert sources.count(OUTER[1]) == 100
        assert 2 * each <= sources.count(EVIL) <= 3 * each
        assert counted(shared)["stranger_rate"] == 100 - sources.count(EVIL)
        many = [
            acknowledgement(EVIL[:14] + struct.pack("!H", number)) for number in range(4096, 4096 + 3 * total)
        ]
        world.evil.sends(*many)
        world.ha1.namespace.sends(*[acknowledgement(OUTER[1])] * 100)
        assert world.evil.pings(CARE_OF)
        sources = [one.source for one in iter(mobility.receivers[1].receive, None) if one]
    assert sources.count(OUTER[1]) == 100
    assert 0 < len(sources) - 100 <= 2 * total
    assert counted(shared)["strangers_total_rate"] == len(many) - (len(sources) - 100)


def _port(number: int) -> bytes:
    return struct.pack("!HHHH", number, number, 8, 0xFFFF)
