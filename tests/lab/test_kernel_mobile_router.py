"""A mobile router's kernel plane, end to end: its network talks through the tunnel or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from haha_exabgp.kernel.choose_datapath import flush_datapaths
from haha_exabgp.kernel.guard import flush_guard
from haha_exabgp.kernel.guard_config import TUNNEL_MSS
from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.routes import RouteChanges
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HAHA,
    HOME_ADDRESS,
    LARGE,
    LFN,
    OUTER,
    HomeAgentKernel,
    World,
    kernel_world,
    seen,
    sniffer,
    syn,
    transfer,
    tunnelled,
    udp,
)
from tests.lab.mobile_router_kernel import NETWORKS, OTHER_CARE_OF, MobileRouterKernel, bind, unbind

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with kernel_world("tDm") as built:
        built.mr.ip(f"addr add {OTHER_CARE_OF}/64 dev wan0 nodad")
        for agent in (built.ha1, built.ha2):
            with agent.namespace.entered():
                agent.guard.setup(frozenset(), frozenset())
        yield built


@pytest.fixture(scope="module")
def kernel(world: World) -> Iterator[MobileRouterKernel]:
    made = MobileRouterKernel(world.mr)
    made.setup()
    yield made
    made.close()


@pytest.fixture
def mobile_router(world: World, kernel: MobileRouterKernel) -> Iterator[MobileRouterKernel]:
    """Bound directly at ha1."""
    bind(world.ha1, CARE_OF)
    kernel.use_tunnel(OUTER[1])
    yield kernel
    unbind(world.ha1, CARE_OF)


def drops(agent: MobileRouterKernel | HomeAgentKernel) -> dict[str, int]:
    with agent.namespace.entered():
        return {name: count for name, count in agent.guard.counters().items() if count}


@pytest.mark.requirement("T-1")
def test_network_and_correspondent_reach_each_other(world: World, mobile_router: MobileRouterKernel) -> None:
    with sniffer(world.core, "c-mr") as packets:
        assert world.lfn.pings(CN)
        assert world.cn.pings(LFN)
        carried = seen(packets)
    assert {one[6] for one in carried if LFN in one} == {41}, "nothing of the network outside the tunnel"
    assert not drops(mobile_router)
    assert not drops(world.ha1)


def test_large_transfers_fit_both_ways(world: World, mobile_router: MobileRouterKernel) -> None:
    assert transfer(world.cn, CN, world.lfn, LFN) == LARGE
    assert transfer(world.lfn, LFN, world.cn, CN) == LARGE


def test_segment_size_is_clamped_at_both_ends(world: World, mobile_router: MobileRouterKernel) -> None:
    with sniffer(world.lfn, "eth0") as at_lfn, sniffer(world.cn, "eth0") as at_cn:
        assert transfer(world.cn, CN, world.lfn, LFN, 10) == 10
        received = [one for one in seen(at_cn) if one[8:24] == LFN] + [
            one for one in seen(at_lfn) if one[8:24] == CN
        ]
    sizes = [size for one in received if (size := _segment_size(one)) is not None]
    assert sizes == [TUNNEL_MSS, TUNNEL_MSS]


def test_segment_size_out_of_the_tunnel_is_clamped(world: World, mobile_router: MobileRouterKernel) -> None:
    assert world.lfn.pings(CN)
    with sniffer(world.lfn, "eth0") as packets:
        world.ha1.namespace.sends(tunnelled(OUTER[1], syn(CN, LFN, 1440), CARE_OF))
        (received,) = eventually(
            lambda: [one for one in seen(packets) if one[6] == 6 and one[8:24] == CN], 2, "SYN"
        )
    assert _segment_size(received) == TUNNEL_MSS


def test_mobile_routers_own_home_address_works(world: World, mobile_router: MobileRouterKernel) -> None:
    assert world.mr.pings(CN, source=HOME_ADDRESS)
    assert world.cn.pings(HOME_ADDRESS)
    assert transfer(world.cn, CN, world.mr, HOME_ADDRESS) == LARGE


def test_signalling_stays_outside_the_tunnel(world: World, mobile_router: MobileRouterKernel) -> None:
    with sniffer(world.core, "c-mr") as packets:
        assert world.mr.pings(OUTER[1], source=CARE_OF)
        assert not [one for one in seen(packets) if one[6] == 41]


def test_neighbours_in_the_mobile_network_talk_directly(
    world: World, mobile_router: MobileRouterKernel
) -> None:
    assert world.lfn.pings(Address.parse("2001:db8:1:100::1"))
    assert world.mr.pings(LFN)
    assert world.mr.pings(LFN, source=HOME_ADDRESS)


@pytest.mark.requirement("T-4")
def test_hop_limit_that_is_advertised_to_hosts_does_not_end_tunnelled_packets(
    world: World, mobile_router: MobileRouterKernel
) -> None:
    """RFC 3963 s.5.5. What a Router Advertisement says becomes the device's hop limit."""
    setting = "net.ipv6.conf.wan0.hop_limit"
    world.mr.run("sysctl", "-qw", f"{setting}=2")
    with sniffer(world.core, "c-mr") as packets:
        assert world.lfn.pings(CN)
        assert world.mr.pings(CN, source=HOME_ADDRESS)
        sent = [one for one in seen(packets) if one[6] == 41 and one[8:24] == CARE_OF]
    world.mr.run("sysctl", "-qw", f"{setting}=64")
    assert {min(one[7], 32) for one in sent} == {32}


@pytest.mark.requirement("H-2")
def test_move_takes_both_ends_along(world: World, mobile_router: MobileRouterKernel) -> None:
    bind(world.ha1, OTHER_CARE_OF)
    mobile_router.use_tunnel(OUTER[1], OTHER_CARE_OF)
    with sniffer(world.core, "c-mr") as packets:
        assert world.lfn.pings(CN)
        wire = [one for one in seen(packets) if one[6] == 41]
    assert {one[8:24] for one in wire} == {OTHER_CARE_OF, OUTER[1]}
    assert str(CARE_OF) not in world.mr.ip("-6 route show table 200").replace(str(OTHER_CARE_OF), "")
    unbind(world.ha1, OTHER_CARE_OF)


@pytest.mark.requirement("T-1")
def test_through_proxy_and_primary_two_layers_fit(world: World, mobile_router: MobileRouterKernel) -> None:
    unbind(world.ha1, CARE_OF)
    bind(world.ha2, CARE_OF)
    doubly = tuple(KernelRoute(prefix, Metric.PROXIED, HAHA[2]) for prefix in NETWORKS)
    assert world.ha1.table.apply(RouteChanges(doubly)) == []
    mobile_router.use_tunnel(OUTER[2])
    assert transfer(world.lfn, LFN, world.cn, CN) == LARGE
    with sniffer(world.core, "c-ha2") as packets:
        assert world.cn.pings(LFN, octets=TUNNEL_MSS + 60)
        assert max(len(one) for one in seen(packets) if one[6] == 41 and one[46] == 41) == 1500
    unbind(world.ha2, CARE_OF)
    assert not drops(world.ha2)


def test_without_a_binding_nothing_leaves(world: World, mobile_router: MobileRouterKernel) -> None:
    mobile_router.routes.set_home_agent(None)
    assert "Destination unreachable: No route" in world.lfn.ping(CN)
    with sniffer(world.core, "c-mr") as packets:
        assert not world.mr.pings(CN, source=HOME_ADDRESS)
        assert world.mr.pings(CN, source=CARE_OF)
        assert not [one for one in seen(packets) if one[8:24] in (LFN, HOME_ADDRESS) or one[6] == 41]


def test_setup_again_changes_nothing(world: World, mobile_router: MobileRouterKernel) -> None:
    before = [world.mr.ip(shown) for shown in ("-6 route show table all", "-6 rule", "-6 addr")]
    with world.mr.entered():
        mobile_router.datapath.setup()
        mobile_router.routes.setup()
    assert [world.mr.ip(shown) for shown in ("-6 route show table all", "-6 rule", "-6 addr")] == before
    assert world.lfn.pings(CN)


@pytest.mark.parametrize("source", [HOME_ADDRESS, CN, Address.parse("2001:db8:1:101::10")])
@pytest.mark.requirement("S-5")
def test_network_cannot_send_as_somebody_else(
    world: World, mobile_router: MobileRouterKernel, source: Address
) -> None:
    before = drops(mobile_router).get("lan_spoofed", 0)
    with sniffer(world.core, "c-mr") as packets:
        world.lfn.sends(udp(source, CN))
        assert world.lfn.pings(CN)
        assert not [one for one in seen(packets) if source in one and udp(source, CN)[-8:] in one]
    assert drops(mobile_router)["lan_spoofed"] == before + 1


@pytest.mark.parametrize(
    ("outer", "destination", "reason"),
    [
        (EVIL, LFN, "not_home_agent"),
        (OUTER[2], LFN, "not_home_agent"),
        (OUTER[1], CN, "misdirected"),
        (OUTER[1], CARE_OF, "misdirected"),
    ],
)
@pytest.mark.requirement("S-5")
def test_tunnelled_packets_come_from_the_home_agent_to_the_network(
    world: World, mobile_router: MobileRouterKernel, outer: Address, destination: Address, reason: str
) -> None:
    before = drops(mobile_router).get(reason, 0)
    sender = {EVIL: world.evil, OUTER[1]: world.ha1.namespace, OUTER[2]: world.ha2.namespace}[outer]
    sender.sends(tunnelled(outer, udp(EVIL, destination), CARE_OF))
    eventually(lambda: drops(mobile_router).get(reason) == before + 1, 2, f"{reason} counts")


def test_new_home_agent_is_accepted_and_the_old_one_not(
    world: World, mobile_router: MobileRouterKernel
) -> None:
    packet = tunnelled(OUTER[2], udp(EVIL, LFN, 4321), CARE_OF)
    mobile_router.guard.set_home_agents({OUTER[1], OUTER[2]})
    with sniffer(world.lfn, "eth0") as packets:
        world.ha2.namespace.sends(packet)
        eventually(lambda: [one for one in seen(packets) if one[6] == 17], 2, "the packet", interval=0.002)
        mobile_router.guard.set_home_agents({OUTER[1]})
        world.ha2.namespace.sends(packet)
        assert world.lfn.pings(CN)
        assert not [one for one in seen(packets) if one[6] == 17]


@pytest.mark.parametrize("by_parts", [True, False], ids=["by-the-daemon", "after-a-crash"])
def test_flush_leaves_the_router_as_it_was(by_parts: bool) -> None:
    with kernel_world("tDx") as world:
        shown = ("-6 route show table all", "-6 -d rule", "-6 addr", "link show", "sr tunsrc show")
        before = [*map(world.mr.ip, shown), world.mr.run("nft", "list", "ruleset")]
        kernel = MobileRouterKernel(world.mr)
        kernel.setup()
        kernel.use_tunnel(OUTER[1])
        for _ in range(2):
            if by_parts:
                kernel.flush()
            else:
                with world.mr.entered(), NetlinkSocket() as netlink:
                    flush_datapaths(netlink)
                    flush_guard()
        kernel.close()
        assert [*map(world.mr.ip, shown), world.mr.run("nft", "list", "ruleset")] == before


def _segment_size(packet: bytes) -> int | None:
    """The maximum segment size that a SYN offers."""
    tcp, syn, first_option = 6, 0x02, 60
    if packet[6] != tcp or not packet[53] & syn or packet[first_option] != 2:
        return None
    return int.from_bytes(packet[first_option + 2 : first_option + 4], "big")
