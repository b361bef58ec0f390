"""Tunnels between Home Agents by the kernel: does a packet arrive, and does nothing stay behind."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.routes import RouteChanges, plan
from haha_exabgp.kernel.seg6 import Seg6Datapath
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from tests.lab.kernel_world import (
    HAHA,
    HOME,
    LARGE,
    OUTER,
    PARTITION,
    Namespace,
    World,
    connect,
    kernel_world,
    seen,
    sniffer,
    transfer,
)

pytestmark = pytest.mark.lab

INSIDE_SITE_2 = Address.parse("2001:db8:2::5")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with kernel_world("tDt") as built:
        built.ha2.namespace.ip(f"addr add {INSIDE_SITE_2}/128 dev lo noprefixroute")
        yield built


@pytest.mark.requirement("I-1", "I-4")
def test_haha_addresses_reach_each_other_through_the_tunnel(world: World) -> None:
    with sniffer(world.core, "c-ha2") as packets:
        assert world.ha1.namespace.pings(HAHA[2])
        wire = [packet for packet in seen(packets) if packet[6] == 41]
    assert {(packet[8:24], packet[24:40]) for packet in wire} == {(OUTER[1], OUTER[2]), (OUTER[2], OUTER[1])}
    assert {(packet[48:64], packet[64:80]) for packet in wire} == {(HAHA[1], HAHA[2]), (HAHA[2], HAHA[1])}


def test_tcp_of_the_home_agents_fits_into_the_tunnel(world: World) -> None:
    assert transfer(world.ha2.namespace, HAHA[2], world.ha1.namespace, HAHA[1]) == LARGE


@pytest.mark.requirement("T-1")
def test_own_packets_leave_room_for_a_second_tunnel(world: World) -> None:
    two_layers_less = 1500 - 2 * 40
    ha1 = world.ha1.namespace
    assert ha1.pings(HAHA[2], octets=two_layers_less)
    assert "too long" in ha1.ping(HAHA[2], octets=two_layers_less + 1)


@pytest.mark.requirement("I-4")
def test_packets_to_the_outer_address_outside_any_tunnel_are_delivered(world: World) -> None:
    assert world.cn.pings(OUTER[1])
    assert transfer(world.ha1.namespace, OUTER[1], world.cn, Address.parse("3fff:c::10"), 1000) == 1000


@pytest.mark.requirement("I-2")
def test_partition_route_leads_through_the_tunnel_to_the_other_site(world: World) -> None:
    assert world.ha1.namespace.pings(INSIDE_SITE_2, source=HAHA[1])


@pytest.mark.requirement("I-2", "T-3")
def test_correspondent_is_carried_to_the_other_site(world: World) -> None:
    with sniffer(world.core, "c-ha2") as packets:
        assert world.cn.pings(INSIDE_SITE_2)
        assert any(packet[6] == 41 and packet[64:80] == INSIDE_SITE_2 for packet in seen(packets))


def test_tunnel_in_a_tunnel_is_taken_apart(world: World) -> None:
    doubly = KernelRoute(Prefix.host(INSIDE_SITE_2), Metric.PROXIED, HAHA[2])
    assert world.ha1.table.apply(RouteChanges((doubly,))) == []
    with sniffer(world.core, "c-ha2") as packets:
        assert world.ha1.namespace.pings(INSIDE_SITE_2, source=HAHA[1])
        assert any(packet[6] == 41 and packet[46] == 41 for packet in seen(packets))
    assert world.ha1.table.apply(RouteChanges((), (doubly,))) == []


def test_tunnelled_packet_to_the_tunnel_end_itself_is_delivered(world: World) -> None:
    # A mobile router inside another one's network sends its Binding Updates so.
    ha1 = world.ha1.namespace
    ha1.ip(f"-6 route add {OUTER[2]} encap seg6 mode encap.red segs {OUTER[2]} dev haha0 table 77")
    ha1.ip(f"-6 rule add from {HAHA[1]} to {OUTER[2]} pref 7 lookup 77")
    with sniffer(world.core, "c-ha2") as packets:
        assert ha1.pings(OUTER[2], source=HAHA[1])
        assert any(packet[6] == 41 and packet[64:80] == OUTER[2] for packet in seen(packets))
    ha1.ip("-6 rule del pref 7")
    ha1.ip("-6 route flush table 77")


def test_what_no_route_claims_is_unreachable_instead_of_leaving(world: World) -> None:
    assert "Destination unreachable: No route" in world.cn.ping(Address.parse("2001:db8:7::1"))


def test_routes_outlive_the_uplink_going_down(world: World) -> None:
    ha2 = world.ha2.namespace
    ha2.ip("link set eth0 down")
    assert world.ha2.table.present() == world.ha2.routes
    ha2.ip("link set eth0 up")
    ha2.ip(f"addr replace {OUTER[2]}/64 dev eth0 nodad")
    ha2.ip("-6 route replace default via 3fff:102::1")
    assert ha2.pings(HAHA[1])


def test_setup_again_changes_nothing_and_loses_no_packet(world: World) -> None:
    ha1 = world.ha1
    before = _kernel_state(ha1.namespace)
    ping = subprocess.Popen(
        ha1.namespace.command("ping", "-n", "-q", "-i", "0.002", "-c", "200", "-W", "1", str(HAHA[2])),
        stdout=subprocess.PIPE,
        text=True,
    )
    repeats = 0
    while ping.poll() is None:
        ha1.setup()
        repeats += 1
    assert ping.stdout is not None
    with ping.stdout as output:
        assert "200 received" in output.read()
    assert repeats > 10
    assert _kernel_state(ha1.namespace) == before


def test_setup_mends_what_others_have_taken_away(world: World) -> None:
    ha1 = world.ha1
    before = _kernel_state(ha1.namespace)
    ha1.namespace.ip("link set haha0 down mtu 1500")
    ha1.namespace.ip("-6 rule add pref 0 lookup local")
    ha1.namespace.ip("-6 rule del pref 5")
    ha1.namespace.ip(f"addr del {HAHA[1]}/128 dev lo")
    assert not ha1.namespace.pings(HAHA[2])
    ha1.setup()
    assert _kernel_state(ha1.namespace) == before
    assert ha1.namespace.pings(HAHA[2])


@pytest.mark.requirement("H-2")
def test_changed_tunnel_end_takes_over(world: World) -> None:
    ha1, other = world.ha1, Address.parse("3fff:101::b")
    ha1.namespace.ip(f"addr add {other}/64 dev eth0 nodad")
    ha1.datapath.set_tunnel_ends({other, ha1.haha}, other)
    moved = KernelRoute(Prefix.host(HAHA[1]), Metric.HAHA, other, HAHA[2])
    assert world.ha2.table.apply(RouteChanges((moved,))) == []
    assert world.ha2.namespace.pings(HAHA[1])
    assert str(OUTER[1]) not in ha1.namespace.ip("-6 route show table 200")
    ha1.datapath.set_tunnel_ends({ha1.outer, ha1.haha}, ha1.outer)
    assert world.ha2.table.reconcile(world.ha2.routes) == []
    assert world.ha2.namespace.pings(HAHA[1])


def test_many_routes_are_read_back_as_they_were_set(world: World) -> None:
    ha1 = world.ha1
    bindings = {
        KernelRoute(_network(number), Metric.BINDING, Address(OUTER[2][:14] + number.to_bytes(2, "big")))
        for number in range(2000)
    }
    wanted = ha1.routes | bindings
    assert ha1.table.reconcile(wanted) == []
    assert ha1.table.present() == wanted
    assert not plan(wanted, ha1.table.present())
    printed = ha1.namespace.ip("-6 route show proto 104 metric 100")
    shape = r"^(\S+)  encap seg6 mode encap.red segs 1 \[ (\S+) \] dev haha0 pref medium$"
    found = {(Prefix.parse(one), Address.parse(two)) for one, two in re.findall(shape, printed, re.MULTILINE)}
    assert found == {(route.prefix, route.tunnel_exit) for route in bindings}
    assert ha1.table.reconcile(ha1.routes) == []
    assert ha1.table.present() == ha1.routes


def test_route_is_replaced_in_every_direction(world: World) -> None:
    table, prefix = world.ha1.table, Prefix.parse("2001:db8:9::/48")
    for exit_ in (OUTER[2], HAHA[2], None, OUTER[2]):
        route = KernelRoute(prefix, Metric.LEAK, exit_)
        assert table.apply(RouteChanges((route,))) == []
        assert [one for one in table.present() if one.prefix == prefix] == [route]
    assert table.apply(RouteChanges((), (route,))) == []
    assert table.apply(RouteChanges((), (route,))) == [], "deleting what is not there is no failure"


def test_refusal_names_the_route_and_the_rest_stands(world: World) -> None:
    good = KernelRoute(Prefix.parse("2001:db8:a::/48"), Metric.LEAK, OUTER[2])
    bad = KernelRoute(Prefix.parse("2001:db8:b::/48"), Metric.LEAK, OUTER[2], Address.parse("2001:db8::bad"))
    failures = world.ha1.table.apply(RouteChanges((bad, good)))
    assert [failure.route for failure in failures] == [bad]
    assert "source" in failures[0].reason.lower()
    assert good in world.ha1.table.present()
    assert world.ha1.table.reconcile(world.ha1.routes) == []


def test_foreign_routes_stay_and_strange_ones_of_ours_go(world: World) -> None:
    ha1 = world.ha1
    ha1.namespace.ip("-6 route add 2001:db8:c::/48 dev haha0 metric 7")
    ha1.namespace.ip("-6 route add blackhole 2001:db8:d::/48 proto 104")
    assert ha1.table.reconcile(ha1.routes) == []
    left = ha1.namespace.ip("-6 route show")
    assert "2001:db8:c::/48" in left
    assert "2001:db8:d::/48" not in left
    ha1.namespace.ip("-6 route del 2001:db8:c::/48 dev haha0 metric 7")


def test_flush_leaves_the_host_as_it_was() -> None:
    host, other = Namespace("tDf-one", forwards=True), Namespace("tDf-two")
    try:
        connect((host, "eth0", "3fff:101::a/64"), (other, "eth0", "3fff:101::1/64"))
        before = _kernel_state(host)
        with host.entered(), NetlinkSocket() as netlink:
            datapath = Seg6Datapath(netlink)
            datapath.setup()
            datapath.set_inner_addresses({HAHA[1]})
            datapath.set_tunnel_ends({OUTER[1]}, OUTER[1])
            route = datapath.encapsulation(KernelRoute(HOME, Metric.SITE, OUTER[2], HAHA[1]))
            assert datapath.kernel_route(route) == KernelRoute(HOME, Metric.SITE, OUTER[2], HAHA[1])
            assert _kernel_state(host) != before
            datapath.flush()
            assert _kernel_state(host) == before
            datapath.flush()
            assert _kernel_state(host) == before
            datapath.close()
    finally:
        host.delete()
        other.delete()


def test_another_device_called_haha0_is_left_alone() -> None:
    host = Namespace("tDf-three")
    try:
        host.ip("link add haha0 type veth peer name other")
        with host.entered(), NetlinkSocket() as netlink:
            datapath = Seg6Datapath(netlink)
            with pytest.raises(FileExistsError, match="not a bridge"):
                datapath.setup()
            datapath.close()
        assert "haha0" in host.ip("link show type veth")
    finally:
        host.delete()


def _network(number: int) -> Prefix:
    return Prefix.of(Address(PARTITION[1].address[:6] + (0x1000 + number).to_bytes(2, "big") + bytes(8)), 64)


def _kernel_state(namespace: Namespace) -> list[str]:
    shown = ("-6 route show table all", "-6 -d rule", "-6 addr", "link show", "sr tunsrc show")
    text = "".join(map(namespace.ip, shown)) + namespace.run("nft", "list", "ruleset")
    return text.splitlines()
