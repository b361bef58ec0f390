"""The packet filter of a Home Agent on tunnels in tunnels that all end there: nested mobile networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from haha_exabgp.kernel.guard_sets import Permit
from haha_exabgp.kernel.sockets import DhaadSocket, MobilitySocket
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.nesting import MOST_NESTED
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryRequest, encode_icmpv6
from haha_exabgp.wire.ipv6 import build_icmpv6, build_ipv6, build_mobility
from tests.lab.guard_world import PERMITS, TUNNEL_LIMIT, UPDATE, arrives, guarded
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HOME,
    HOME_ADDRESS,
    LFN,
    OUTER,
    World,
    kernel_world,
    tunnelled,
    udp,
)

pytestmark = pytest.mark.lab

CARE_OFS = [
    CARE_OF,
    LFN,
    *(Address.parse(f"2001:db8:1:{number}00::10") for number in range(2, MOST_NESTED + 1)),
]
"""Of a mobile router, of one behind it, of one behind that …, more of them than may be."""
NETWORKS = [Prefix.of(inner, 64) for inner in CARE_OFS[1:]]
NESTED: set[Permit] = {*PERMITS, *zip(CARE_OFS[:-1], NETWORKS, strict=True)}
HOSTS = [Address(network.address[:15] + b"\x77") for network in NETWORKS]
ANYCAST = Address.parse("2001:db8:2:0:fdff:ffff:ffff:fffe")


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with kernel_world("tDn") as built:
        yield built


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with guarded(shared) as world:
        world.ha1.guard.setup(NESTED, frozenset())
        yield world


def inside(outers: Sequence[Address], packet: bytes) -> bytes:
    """In tunnels from these addresses, outermost first, all to ha1."""
    for outer in reversed(outers):
        packet = tunnelled(outer, packet)
    return packet


def dropped(world: World) -> dict[str, int]:
    return {name: packets for name, packets in world.ha1.guard.counters().items() if packets}


@pytest.mark.parametrize("levels", range(1, MOST_NESTED + 1))
@pytest.mark.requirement("N-2")
def test_all_layers_are_taken_off(world: World, levels: int) -> None:
    inner = udp(HOSTS[levels - 1], CN)
    assert arrives(world, world.mr, inside(CARE_OFS[:levels], inner), inner)
    assert not dropped(world)


@pytest.mark.requirement("N-2")
def test_more_layers_than_may_be_are_not(world: World) -> None:
    world.ha1.guard.setup({*NESTED, (CARE_OFS[-1], NETWORKS[0])}, frozenset())
    inner = udp(HOSTS[0], CN)
    assert not arrives(world, world.mr, inside(CARE_OFS, inner), inner)
    assert dropped(world) == {"nested": 1}


@pytest.mark.parametrize(
    ("outers", "source"),
    [
        ([CARE_OF, LFN], HOSTS[0]),
        ([CARE_OF, LFN], EVIL),
        ([CARE_OF, CARE_OFS[2]], HOSTS[2]),
        ([CARE_OF, EVIL], HOSTS[0]),
        ([CARE_OF, LFN, LFN], HOSTS[1]),
        ([CARE_OF, LFN, CARE_OFS[2]], HOSTS[1]),
    ],
    ids=[
        "inner-as-outer",
        "inner-as-anyone",
        "without-the-one-between",
        "stranger-between",
        "twice",
        "innermost-as-inner",
    ],
)
@pytest.mark.requirement("N-2", "S-5")
def test_each_source_must_be_permitted_for_the_one_around_it(
    world: World, outers: list[Address], source: Address
) -> None:
    inner = udp(source, CN)
    assert not arrives(world, world.mr, inside(outers, inner), inner)
    assert dropped(world) == {"spoofed": 1}


@pytest.mark.requirement("N-2", "S-5")
def test_stranger_gets_in_by_no_layer(world: World) -> None:
    inner = udp(HOSTS[1], CN)
    assert not arrives(world, world.evil, inside([EVIL, LFN], inner), inner)
    world.ha1.guard.setup(PERMITS, frozenset())
    assert not arrives(world, world.mr, inside(CARE_OFS[:2], inner), inner), "who is not bound"
    assert dropped(world) == {"spoofed": 2}


@pytest.mark.requirement("N-2", "S-5")
def test_second_layer_hides_nothing(world: World) -> None:
    inner = udp(HOSTS[1], CN)
    for middle in (
        build_ipv6(LFN, OUTER[1], 60, TUNNEL_LIMIT + inner),
        inside(
            [LFN],
            build_ipv6(HOSTS[1], OUTER[1], 43, bytes((41, 2, 4, 0, 0, 0, 0, 0)) + bytes(OUTER[1]) + inner),
        ),
    ):
        assert not arrives(world, world.mr, tunnelled(CARE_OF, middle), inner)
    assert dropped(world) == {"nested": 2}


@pytest.mark.requirement("N-2", "S-5")
def test_neighbour_discovery_does_not_come_out_of_a_second_tunnel(world: World) -> None:
    advertisement = build_ipv6(HOSTS[1], OUTER[1], 58, bytes((136, 0, 0, 0)) + bytes(20), hop_limit=255)
    assert not arrives(world, world.mr, inside(CARE_OFS[:2], advertisement), advertisement)
    assert dropped(world) == {"neighbour_discovery_in_tunnel": 1}


@pytest.mark.requirement("N-1", "N-2")
def test_signalling_and_discovery_of_a_mobile_router_behind_another_arrive(world: World) -> None:
    """By the sockets of the agent; the guard keeps the discovery request itself, which would go to another
    site."""
    request = encode_icmpv6(HomeAgentDiscoveryRequest(7), HOSTS[0], ANYCAST)
    for levels in (1, 2):
        care_of = CARE_OFS[levels]
        update = build_mobility(care_of, OUTER[1], UPDATE, home_address=HOME_ADDRESS)
        discovery = inside(CARE_OFS[:levels], build_icmpv6(care_of, ANYCAST, request))
        with world.ha1.namespace.entered():
            mobility, asked = MobilitySocket(), DhaadSocket(HOME)
        world.mr.sends(inside(CARE_OFS[:levels], update), discovery)
        options = mobility.receivers[0]
        (datagram,) = eventually(options.receive_batch, 2, "the Binding Update")
        assert (datagram.source, datagram.destination) == (care_of, OUTER[1])
        assert eventually(asked.receive, 2, "the discovery request")[40:] == discovery[40:]
        assert dropped(world)["discovery_in_tunnel"] == levels
        mobility.close()
        asked.close()
