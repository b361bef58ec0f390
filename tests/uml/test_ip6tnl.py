"""Tunnels by ip6tnl carry what tunnels by seg6 carry, and nothing else; inside user-mode Linux.

The first Home Agent's uplink is a port of a bridge, so that its guard judges what arrives (see
`inside/sitecustomize.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from haha_exabgp.kernel.choose_datapath import AUTO, IP6TNL, SEG6, choose_datapath, flush_datapaths
from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.route_messages import MAIN_TABLE
from haha_exabgp.kernel.routes import RouteChanges, RouteTable, present_routes
from haha_exabgp.kernel.sockets import MobilitySocket
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import build_ipv6, build_mobility
from tests.lab.guard_world import FRAGMENTS, PERMITS, TUNNEL_LIMIT, UPDATE, in_two_fragments
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HAHA,
    HOME,
    HOME_ADDRESS,
    LARGE,
    LFN,
    OUTER,
    PARTITION,
    Namespace,
    World,
    connect,
    kernel_world,
    seen,
    sniffer,
    transfer,
    tunnelled,
    udp,
)
from tests.lab.mobile_router_kernel import OTHER_CARE_OF, MobileRouterKernel, bind, unbind

# What must hold whatever makes the tunnels:
from tests.lab.test_kernel_tunnels import (
    INSIDE_SITE_2,
    test_correspondent_is_carried_to_the_other_site,
    test_foreign_routes_stay_and_strange_ones_of_ours_go,
    test_haha_addresses_reach_each_other_through_the_tunnel,
    test_packets_to_the_outer_address_outside_any_tunnel_are_delivered,
    test_partition_route_leads_through_the_tunnel_to_the_other_site,
    test_refusal_names_the_route_and_the_rest_stands,
    test_route_is_replaced_in_every_direction,
    test_routes_outlive_the_uplink_going_down,
    test_tcp_of_the_home_agents_fits_into_the_tunnel,
    test_what_no_route_claims_is_unreachable_instead_of_leaving,
)
from tests.uml.bridged_world import put_on_bridge

__all__ = [
    "test_correspondent_is_carried_to_the_other_site",
    "test_foreign_routes_stay_and_strange_ones_of_ours_go",
    "test_haha_addresses_reach_each_other_through_the_tunnel",
    "test_packets_to_the_outer_address_outside_any_tunnel_are_delivered",
    "test_partition_route_leads_through_the_tunnel_to_the_other_site",
    "test_refusal_names_the_route_and_the_rest_stands",
    "test_route_is_replaced_in_every_direction",
    "test_routes_outlive_the_uplink_going_down",
    "test_tcp_of_the_home_agents_fits_into_the_tunnel",
    "test_what_no_route_claims_is_unreachable_instead_of_leaving",
]

pytestmark = pytest.mark.uml

NO_TUNNEL_END = Address.parse("3fff:101::c")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with kernel_world("tDu", AUTO) as built:
        built.ha2.namespace.ip(f"addr add {INSIDE_SITE_2}/128 dev lo noprefixroute")
        built.mr.ip(f"addr add {OTHER_CARE_OF}/64 dev wan0 nodad")
        put_on_bridge(built, NO_TUNNEL_END)
        with built.ha1.namespace.entered():
            built.ha1.guard.setup(PERMITS, frozenset())
        yield built


@pytest.fixture(scope="module")
def kernel(world: World) -> Iterator[MobileRouterKernel]:
    made = MobileRouterKernel(world.mr, AUTO)
    made.setup()
    yield made
    made.flush()
    made.close()


@pytest.fixture
def mobile_router(world: World, kernel: MobileRouterKernel) -> Iterator[MobileRouterKernel]:
    """Bound directly at ha1."""
    bind(world.ha1, CARE_OF)
    kernel.use_tunnel(OUTER[1])
    yield kernel
    unbind(world.ha1, CARE_OF)
    with world.ha1.namespace.entered():
        world.ha1.guard.setup(PERMITS, frozenset())


def arrives(world: World, sender: Namespace, packet: bytes | Sequence[bytes], inner: bytes) -> bool:
    """True when `inner` comes out of ha1 towards the correspondent. A packet that is known to pass comes last
    and says when to stop waiting."""
    last = udp(LFN, CN, port=9999)
    with sniffer(world.core, "c-cn") as packets:
        sender.sends(*((packet,) if isinstance(packet, bytes) else packet))
        world.mr.sends(tunnelled(CARE_OF, last))
        carried: list[bytes] = []

        def all_there() -> bool:
            carried.extend(seen(packets))
            return any(one[8:] == last[8:] for one in carried)

        eventually(all_there, 2, "the last packet arrives", interval=0.01)
        return any(one[8:] == inner[8:] for one in carried)


def test_kernel_that_has_ip6tnl_gets_it_without_being_told(world: World) -> None:
    assert "ip6tnl external" in world.ha1.namespace.ip("-d link show haha0")


def test_taken_out_only_where_a_tunnel_is_to_end(world: World) -> None:
    ha1, inner = world.ha1, udp(LFN, CN)
    packet = tunnelled(CARE_OF, inner, destination=NO_TUNNEL_END)
    assert not arrives(world, world.mr, packet, inner)
    ha1.datapath.set_tunnel_ends({ha1.outer, ha1.haha, NO_TUNNEL_END}, ha1.outer)
    assert arrives(world, world.mr, packet, inner)
    ha1.datapath.set_tunnel_ends({ha1.outer, ha1.haha}, ha1.outer)
    assert not arrives(world, world.mr, packet, inner)


def test_tunnel_encapsulation_limit_in_front_is_no_hindrance(world: World) -> None:
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, build_ipv6(CARE_OF, OUTER[1], 60, TUNNEL_LIMIT + inner), inner)


@pytest.mark.requirement("S-5")
@pytest.mark.parametrize(
    ("outer", "source"),
    [(EVIL, LFN), (CARE_OF, Address.parse("2001:db8:1:101::10")), (CARE_OF, CN)],
    ids=["stranger-as-network", "bound-as-neighbour", "bound-as-anyone"],
)
def test_guard_refuses_a_spoofed_inner_source(world: World, outer: Address, source: Address) -> None:
    def spoofed() -> int:
        with world.ha1.namespace.entered():
            return world.ha1.guard.counters()["spoofed"]

    before, inner = spoofed(), udp(source, CN)
    sender = world.evil if outer == EVIL else world.mr
    assert not arrives(world, sender, tunnelled(outer, inner), inner)
    assert spoofed() == before + 1


@pytest.mark.requirement("S-5")
@pytest.mark.parametrize("form", FRAGMENTS)
def test_tunnel_packet_in_fragments_does_not_get_past_the_guard(world: World, form: str) -> None:
    inner = udp(LFN, CN)
    for outer, sender in ((EVIL, world.evil), (CARE_OF, world.mr)):
        assert not arrives(world, sender, in_two_fragments(outer, inner, *FRAGMENTS[form]), inner)


def test_mobile_network_and_correspondent_reach_each_other(
    world: World, mobile_router: MobileRouterKernel
) -> None:
    with sniffer(world.core, "c-mr") as packets:
        assert world.lfn.pings(CN)
        assert world.cn.pings(LFN)
        assert world.cn.pings(HOME_ADDRESS)
        carried = seen(packets)
    through = [one for one in carried if LFN in one]
    assert {(one[6], one[8:24], one[24:40]) for one in through} == {
        (41, CARE_OF, OUTER[1]),
        (41, OUTER[1], CARE_OF),
    }
    assert transfer(world.lfn, LFN, world.cn, CN) == LARGE


def test_move_takes_both_ends_along(world: World, mobile_router: MobileRouterKernel) -> None:
    bind(world.ha1, OTHER_CARE_OF)
    mobile_router.use_tunnel(OUTER[1], OTHER_CARE_OF)
    with sniffer(world.core, "c-mr") as packets:
        assert world.lfn.pings(CN)
        wire = [one for one in seen(packets) if one[6] == 41]
    assert {one[8:24] for one in wire} == {OTHER_CARE_OF, OUTER[1]}
    to_network = udp(CN, LFN)
    with sniffer(world.lfn, "eth0") as packets:
        world.ha1.namespace.sends(tunnelled(OUTER[1], to_network, destination=CARE_OF))
        assert world.cn.pings(LFN)
        assert not [one for one in seen(packets) if one[8:] == to_network[8:]], "the old end is closed"


def test_update_in_a_tunnel_between_sites_reaches_the_agent_once(world: World) -> None:
    update = build_mobility(HAHA[2], HAHA[1], UPDATE, home_address=HOME_ADDRESS)
    without_option = build_mobility(HAHA[2], HAHA[1], UPDATE)
    with world.ha1.namespace.entered(), closing(MobilitySocket()) as mobility:
        world.ha2.namespace.sends(update, without_option)
        received = []

        def both_there() -> bool:
            received.extend(one for each in mobility.receivers for one in iter(each.receive, None))
            return len(received) >= 2

        eventually(both_there, 2, "both updates", interval=0.01)
        assert world.ha2.namespace.pings(HAHA[1])
        both_there()
    assert [(one.source, one.data) for one in received] == [
        (HAHA[2], update[40:]),
        (HAHA[2], without_option[40:]),
    ]


def test_outer_hop_limit_and_traffic_class_are_the_hosts_own(world: World) -> None:
    nearly_spent = build_ipv6(CN, INSIDE_SITE_2, 17, udp(CN, INSIDE_SITE_2)[40:], hop_limit=4)
    expedited = bytes((0x6B, 0x80))
    with sniffer(world.core, "c-ha2") as packets:
        world.cn.sends(expedited + nearly_spent[2:])
        carried = eventually(lambda: [one for one in seen(packets) if one[6] == 41], 2, "the packet")
    assert [(one[7], one[47]) for one in carried] == [(63, 2)], "one router less each, seen behind a router"
    assert [(one[0:2], one[40:42]) for one in carried] == [(bytes((0x60, carried[0][1])), expedited)]
    assert carried[0][1] >> 4 == 0


def test_sender_is_told_what_fits_into_the_tunnel(world: World) -> None:
    assert world.cn.pings(INSIDE_SITE_2, octets=1460)
    assert "mtu=1460" in world.cn.ping(INSIDE_SITE_2, octets=1461)


def test_kernel_tells_the_sender_of_a_narrow_place_in_the_tunnel(world: World) -> None:
    world.core.ip("link set c-ha2 mtu 1400")
    try:
        assert "mtu=1360" in world.cn.ping(INSIDE_SITE_2, octets=1450)
        assert world.cn.pings(INSIDE_SITE_2, octets=1360)
    finally:
        world.core.ip("link set c-ha2 mtu 1500")


def test_changed_tunnel_source_counts_for_routes_that_stand(world: World) -> None:
    ha1 = world.ha1
    ha1.datapath.set_tunnel_ends({NO_TUNNEL_END, ha1.haha}, NO_TUNNEL_END)
    with sniffer(world.core, "c-ha2") as packets:
        ha1.namespace.ping(HAHA[2])
        assert {one[8:24] for one in seen(packets) if one[6] == 41 and one[24:40] == OUTER[2]} == {
            NO_TUNNEL_END
        }
    assert ha1.table.present() == ha1.routes
    ha1.datapath.set_tunnel_ends({ha1.outer, ha1.haha}, ha1.outer)
    assert ha1.namespace.pings(HAHA[2])


def test_next_process_finds_every_route_right(world: World) -> None:
    ha1 = world.ha1
    with ha1.namespace.entered(), NetlinkSocket() as netlink:
        successor = choose_datapath(IP6TNL, netlink)
        successor.setup()
        assert RouteTable(netlink, successor).present() == ha1.routes
        assert present_routes(netlink, MAIN_TABLE) == set(map(successor.encapsulation, ha1.routes))


def test_many_routes_are_read_back_as_they_were_set(world: World) -> None:
    ha1 = world.ha1
    bindings = {
        KernelRoute(
            Prefix.of(Address(PARTITION[1].address[:6] + (0x1000 + n).to_bytes(2, "big") + bytes(8)), 64),
            Metric.BINDING,
            Address(OUTER[2][:14] + n.to_bytes(2, "big")),
        )
        for n in range(500)
    }
    assert ha1.table.reconcile(ha1.routes | bindings) == []
    assert ha1.table.present() == ha1.routes | bindings
    assert ha1.namespace.ip("-o link").count("haha") == 1, "no device for each"
    assert ha1.table.reconcile(ha1.routes) == []
    assert ha1.table.present() == ha1.routes


def test_setup_again_changes_nothing(world: World) -> None:
    before = _kernel_state(world.ha1.namespace)
    world.ha1.setup()
    assert _kernel_state(world.ha1.namespace) == before


@pytest.mark.parametrize(
    "damage",
    [
        "link set haha0 down mtu 1280",
        "link del haha0",
        f"addr del {HAHA[1]}/128 dev lo",
    ],
)
def test_setup_mends_what_others_have_taken_away(world: World, damage: str) -> None:
    ha1 = world.ha1
    ha1.namespace.ip(damage)
    assert not ha1.namespace.pings(HAHA[2], source=None if "addr" in damage else HAHA[1])
    ha1.setup()
    assert ha1.namespace.pings(HAHA[2], source=HAHA[1])
    assert not arrives(world, world.mr, tunnelled(CARE_OF, udp(LFN, CN), NO_TUNNEL_END), udp(LFN, CN))


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    made, other = Namespace("tDv-one", forwards=True), Namespace("tDv-two")
    connect((made, "eth0", f"{OUTER[1]}/64"), (other, "eth0", "3fff:101::1/64"))
    yield made
    made.delete()
    other.delete()


def test_flush_leaves_the_host_as_it_was(host: Namespace) -> None:
    before = _kernel_state(host)
    with host.entered(), NetlinkSocket() as netlink:
        datapath = choose_datapath(AUTO, netlink)
        assert _kernel_state(host) == before, "choosing leaves nothing behind"
        datapath.setup()
        datapath.set_inner_addresses({HAHA[1]})
        datapath.set_tunnel_ends({OUTER[1]}, OUTER[1])
        route = KernelRoute(HOME, Metric.SITE, OUTER[2], HAHA[1])
        assert RouteTable(netlink, datapath).apply(RouteChanges((route,))) == []
        assert str(HOME) in host.ip("-6 route show proto 104")
        datapath.flush()
        assert _kernel_state(host) == before
        flush_datapaths(netlink)
        assert _kernel_state(host) == before


def test_flush_after_a_crash_needs_no_setup(host: Namespace) -> None:
    before = _kernel_state(host)
    with host.entered():
        with NetlinkSocket() as netlink:
            datapath = choose_datapath(AUTO, netlink)
            datapath.setup()
            datapath.set_inner_addresses({HAHA[1]})
            datapath.set_tunnel_ends({OUTER[1]}, OUTER[1])
            route = KernelRoute(HOME, Metric.SITE, OUTER[2], HAHA[1])
            assert RouteTable(netlink, datapath).apply(RouteChanges((route,))) == []
        with NetlinkSocket() as netlink:
            flush_datapaths(netlink)
    assert _kernel_state(host) == before


@pytest.mark.parametrize(("kind", "settings"), [("bridge", ""), ("ip6tnl", "mode ip6ip6 remote 3fff::1")])
def test_another_device_called_haha0_is_left_alone(host: Namespace, kind: str, settings: str) -> None:
    host.ip(f"link add haha0 type {kind} {settings}")
    with host.entered(), NetlinkSocket() as netlink:
        datapath = choose_datapath(AUTO, netlink)
        with pytest.raises(FileExistsError, match="haha0 exists and is not one of `ip6tnl external`"):
            datapath.setup()
    assert "haha0" in host.ip(f"link show type {kind}")
    host.ip("link del haha0")


def test_what_the_kernel_does_not_have_is_said_in_one_line(host: Namespace) -> None:
    with (
        host.entered(),
        NetlinkSocket() as netlink,
        pytest.raises(OSError, match="datapath seg6: the kernel"),
    ):
        choose_datapath(SEG6, netlink)


def _kernel_state(namespace: Namespace) -> list[str]:
    shown = ("-6 route show table all", "-6 -d rule", "-6 addr", "-d link show")
    filters = ("tc", "filter", "show", "dev", "haha0", "ingress")
    text = "".join(map(namespace.ip, shown))
    # A bridge and its ports have timers.
    lines = [line for line in text.splitlines() if "bridge" not in line]
    return lines + (namespace.run(*filters).splitlines() if "haha0" in text else [])
