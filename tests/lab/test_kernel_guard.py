"""The packet filter of a Home Agent on tunnelled packets: what strangers cannot do; what friends can."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pytest

from haha_exabgp.kernel.guard import read_traffic
from haha_exabgp.kernel.guard_config import TUNNEL_MSS
from haha_exabgp.kernel.routes import RouteChanges
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.effects import Admit, Dismiss, Permit, Revoke
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.checksum import ICMPV6, internet_checksum
from haha_exabgp.wire.ipv6 import build_ipv6
from tests.lab.guard_world import (
    FRAGMENTS,
    PERMITS,
    TUNNEL_LIMIT,
    arrives,
    guarded,
    in_two_fragments,
    is_icmp,
)
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HAHA,
    HOME_ADDRESS,
    LFN,
    OUTER,
    World,
    kernel_world,
    seen,
    sniffer,
    syn,
    tunnelled,
    udp,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with kernel_world("tDg") as built:
        yield built


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with guarded(shared) as world:
        yield world


@pytest.mark.requirement("S-5")
def test_bound_mobile_router_passes(world: World) -> None:
    for source in (LFN, HOME_ADDRESS):
        inner = udp(source, CN)
        assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    assert not any(world.ha1.guard.counters().values())


@pytest.mark.parametrize(
    ("outer", "source"),
    [(EVIL, LFN), (EVIL, HOME_ADDRESS), (CARE_OF, Address.parse("2001:db8:1:101::10")), (CARE_OF, CN)],
    ids=["stranger-as-network", "stranger-as-router", "bound-as-neighbour", "bound-as-anyone"],
)
@pytest.mark.requirement("S-5")
def test_spoofed_inner_source_is_dropped_and_counted(world: World, outer: Address, source: Address) -> None:
    sender = world.evil if outer == EVIL else world.mr
    inner = udp(source, CN)
    assert not arrives(world, sender, tunnelled(outer, inner), inner)
    assert world.ha1.guard.counters()["spoofed"] == 1


@pytest.mark.parametrize("length", [128, 100, 64, 62, 60, 56, 48])
@pytest.mark.requirement("S-5")
def test_permit_of_every_length_ends_at_its_last_bit(world: World, length: int) -> None:
    prefix = Prefix.of(Address.parse("2001:db8:5:6:7:8:9:a"), length)
    inside = Address(_flip(prefix.address, 127) if length < 128 else prefix.address)
    outside = Address(_flip(inside, length - 1))
    good, bad = udp(inside, CN), udp(outside, CN)
    guard = world.ha1.guard
    assert not arrives(world, world.mr, tunnelled(CARE_OF, good), good)
    guard.setup({*PERMITS, (CARE_OF, prefix)}, frozenset())
    guard.apply([], [Revoke(CARE_OF, prefix)])
    assert not arrives(world, world.mr, tunnelled(CARE_OF, good), good)
    guard.apply([Permit(CARE_OF, prefix)], [])
    assert arrives(world, world.mr, tunnelled(CARE_OF, good), good)
    assert not arrives(world, world.mr, tunnelled(CARE_OF, bad), bad)
    assert not arrives(world, world.evil, tunnelled(EVIL, good), good)
    guard.apply([], [Revoke(CARE_OF, prefix)])
    assert not arrives(world, world.mr, tunnelled(CARE_OF, good), good)


def test_option_in_front_of_the_tunnel_header_hides_nothing(world: World) -> None:
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, build_ipv6(CARE_OF, OUTER[1], 60, TUNNEL_LIMIT + inner), inner)
    assert not arrives(world, world.evil, build_ipv6(EVIL, OUTER[1], 60, TUNNEL_LIMIT + inner), inner)
    assert world.ha1.guard.counters()["spoofed"] == 1


@pytest.mark.parametrize("form", FRAGMENTS)
@pytest.mark.requirement("S-5")
def test_tunnel_packet_in_fragments_is_dropped(world: World, form: str) -> None:
    """The kernel puts it together behind every hook: nothing is to be left for that."""
    before, inner = _put_together(world), udp(LFN, CN)
    for outer, sender in ((EVIL, world.evil), (CARE_OF, world.mr)):
        sender.sends(*in_two_fragments(outer, inner, *FRAGMENTS[form]))
        assert sender.pings(OUTER[1])
    assert world.ha1.guard.counters()["fragment"] == 2
    assert _put_together(world) == before


def test_other_packets_arrive_in_fragments(world: World) -> None:
    before = _put_together(world)
    assert "1 received" in world.evil.run("ping", "-c", "1", "-W", "2", "-s", "3000", str(OUTER[1]))
    assert _put_together(world) == before + 1
    assert not any(world.ha1.guard.counters().values())


def _put_together(world: World) -> int:
    """Packets that ha1's kernel has made of fragments."""
    found = re.search(r"Ip6ReasmOKs\s+(\d+)", world.ha1.namespace.run("cat", "/proc/net/snmp6"))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("hidden", ["options", "routing"])
@pytest.mark.requirement("S-5")
def test_tunnel_behind_what_hides_it_in_a_mobile_routers_tunnel_is_dropped(world: World, hidden: str) -> None:
    inner = udp(LFN, CN)
    middle = {
        "options": build_ipv6(LFN, OUTER[1], 60, TUNNEL_LIMIT + inner),
        "routing": build_ipv6(LFN, OUTER[1], 43, bytes((41, 2, 4, 0, 0, 0, 0, 0)) + bytes(OUTER[1]) + inner),
    }[hidden]
    assert not arrives(world, world.mr, tunnelled(CARE_OF, middle), inner)
    assert world.ha1.guard.counters()["nested"] == 1


def test_visitors_tunnel_to_a_home_of_its_own_passes(world: World) -> None:
    """Its outer source is judged like the source of any packet of the mobile network."""
    visiting, elsewhere = tunnelled(LFN, udp(EVIL, CN), CN), tunnelled(EVIL, udp(LFN, CN), CN)
    with_limit = build_ipv6(LFN, CN, 60, TUNNEL_LIMIT + udp(EVIL, CN))
    for inner in (visiting, with_limit):
        assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    assert not arrives(world, world.mr, tunnelled(CARE_OF, elsewhere), elsewhere)
    assert {name: n for name, n in world.ha1.guard.counters().items() if n} == {"spoofed": 1}


def test_tunnel_in_a_tunnel_between_sites_passes(world: World) -> None:
    inner = udp(CN, HAHA[1])
    world.ha2.namespace.sends(tunnelled(OUTER[2], tunnelled(OUTER[2], inner, HAHA[1])))
    assert world.ha2.namespace.pings(HAHA[1])
    assert not any(world.ha1.guard.counters().values())


def test_peer_reaches_what_is_ours_and_nothing_else(world: World) -> None:
    ha2, guard = world.ha2.namespace, world.ha1.guard
    assert ha2.pings(HAHA[1])
    into_network = udp(CN, Address.parse("2001:db8:1:777::1"))
    # Unreachable, and told so: it has passed the filter.
    with sniffer(world.core, "c-cn") as packets:
        ha2.sends(tunnelled(OUTER[2], into_network))
        eventually(lambda: any(is_icmp(one, 1) for one in seen(packets)), 2, "unreachable", interval=0.002)
    elsewhere = udp(HAHA[2], CN)
    assert not arrives(world, ha2, tunnelled(OUTER[2], elsewhere), elsewhere)
    assert guard.counters()["misdirected"] == 1


def test_peer_reaches_a_foreign_network_while_it_is_bound_here(world: World) -> None:
    foreign, guest = Prefix.parse("2001:db8:2:300::/60"), Address.parse("2001:db8:2:30f::1")
    other_place = Address.parse("3fff:f01::11")
    ha2, guard = world.ha2.namespace, world.ha1.guard
    # The mobile router's tunnel is not needed: its packets pass the core on their way.
    world.ha1.namespace.ip(f"-6 route add {foreign} via 3fff:101::1 metric 9")
    packet, inner = tunnelled(OUTER[2], udp(CN, guest)), udp(CN, guest)
    assert not arrives(world, ha2, packet, inner, at="c-ha1")
    guard.apply([Permit(CARE_OF, foreign)], [])
    assert not arrives(world, ha2, packet, inner, at="c-ha1"), "to be let out is not to be let in"
    guard.apply([Admit(foreign)], [])
    assert arrives(world, ha2, packet, inner, at="c-ha1")
    guard.apply([Permit(other_place, foreign)], [Revoke(CARE_OF, foreign)])
    assert arrives(world, ha2, packet, inner, at="c-ha1"), "it has only moved"
    guard.apply([], [Dismiss(foreign)])
    assert not arrives(world, ha2, packet, inner, at="c-ha1")
    guard.setup(PERMITS, {foreign})
    assert arrives(world, ha2, packet, inner, at="c-ha1")
    world.ha1.namespace.ip(f"-6 route del {foreign} via 3fff:101::1 metric 9")


@pytest.mark.requirement("K-6")
def test_packets_of_other_home_agents_to_watched_prefixes_are_counted(world: World) -> None:
    """Those from a mobile router are not, nor those to other prefixes."""
    foreign, wide = Prefix.parse("2001:db8:2:200::/64"), Prefix.parse("2001:db8:2:400::/63")
    ha2, guard = world.ha2.namespace, world.ha1.guard
    guard.apply([Admit(foreign), Admit(wide)], [])
    with pytest.raises(OSError):
        guard.watch([foreign], [])  # there is no set for it yet
    guard.setup(PERMITS, {foreign, wide}, {foreign, wide})
    first, second = Address.parse("2001:db8:2:200::10"), Address.parse("2001:db8:2:401::10")
    elsewhere = Address.parse("2001:db8:2:300::10")

    def counted() -> dict[str, int]:
        return {str(prefix): packets for prefix, packets in read_traffic().items()}

    for guest in (first, first, second, elsewhere, LFN):
        ha2.sends(tunnelled(OUTER[2], udp(CN, guest)))
    world.mr.sends(tunnelled(CARE_OF, udp(LFN, first)))
    expected = {"2001:db8:2:200::/64": 2, "2001:db8:2:400::/64": 0, "2001:db8:2:401::/64": 1}
    eventually(lambda: counted() == expected, 2, "three packets are counted")
    assert guard.counters()["misdirected"] == 1
    guard.watch([], [wide])
    assert counted() == {"2001:db8:2:200::/64": 2}
    guard.watch([wide], [])
    assert counted()["2001:db8:2:401::/64"] == 0
    guard.setup(PERMITS, {foreign})
    assert counted() == {}


def test_segment_size_of_others_is_clamped_on_the_way_in_and_out(world: World) -> None:
    bound = (Prefix.host(LFN), Metric.BINDING, CARE_OF)
    assert world.ha1.table.apply(RouteChanges((KernelRoute(*bound),))) == []
    with sniffer(world.core, "c-mr") as inwards, sniffer(world.core, "c-cn") as outwards:
        world.cn.sends(syn(CN, LFN, 1440))
        world.mr.sends(tunnelled(CARE_OF, syn(LFN, CN, 1440)), tunnelled(CARE_OF, syn(LFN, CN, 1200)))
        assert world.mr.pings(OUTER[1])
        entering = [one[40:] for one in seen(inwards) if one[6] == 41 and one[8:24] == OUTER[1]]
        leaving = [one for one in seen(outwards) if one[8:24] == LFN]
    assert [one[62:64] for one in entering] == [TUNNEL_MSS.to_bytes(2, "big")]
    assert [one[62:64] for one in leaving] == [TUNNEL_MSS.to_bytes(2, "big"), (1200).to_bytes(2, "big")]
    assert world.ha1.table.reconcile(world.ha1.routes) == []


def test_neighbour_discovery_does_not_come_out_of_a_tunnel(world: World) -> None:
    target = Address.parse("fe80::1")
    advertisement = (
        struct.pack("!BBHI", 136, 0, 0, 0x20000000) + bytes(target) + bytes((2, 1, 2, 0, 0, 0, 0, 9))
    )
    inner = build_ipv6(LFN, CN, 58, advertisement, hop_limit=255)
    assert not arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    assert world.ha1.guard.counters()["neighbour_discovery_in_tunnel"] == 1


def test_what_the_hooks_of_this_kernel_see(world: World) -> None:
    """The premise of the rules: a tunnelled packet passes prerouting once, wrapped; forward unwrapped."""
    world.ha1.guard.flush()
    ha1 = world.ha1.namespace
    rules = "".join(
        f"chain {hook} {{\ntype filter hook {hook} priority 0;\n"
        f'ip6 saddr {CARE_OF} meta l4proto 41 counter comment "{hook} outer"\n'
        f'ip6 saddr {LFN} counter comment "{hook} inner"\n}}\n'
        for hook in ("prerouting", "forward", "postrouting")
    )
    ha1.nft(f"table ip6 probe {{\n{rules}}}\n")
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    listed = ha1.run("nft", "list", "table", "ip6", "probe")
    counted = {name: int(n) for n, name in re.findall(r"packets (\d+) .*comment \"(.*)\"", listed)}
    assert {name for name, count in counted.items() if count} == {
        "prerouting outer",
        "forward inner",
        "postrouting inner",
    }
    ha1.nft("delete table ip6 probe\n")


def _flip(address: Address, bit: int) -> bytes:
    return (int.from_bytes(address, "big") ^ 1 << (127 - bit)).to_bytes(16, "big")


@pytest.mark.parametrize("to", ["link-local", "global"])
@pytest.mark.requirement("S-5")
def test_neighbour_discovery_behind_an_option_changes_no_neighbour(world: World, to: str) -> None:
    """One packet of a mobile router would lead all that a Home Agent sends to nowhere."""
    ha1, router, other = world.ha1.namespace, Address.parse("3fff:101::1"), Address.parse("3fff:101::77")
    ha1.ip(f"addr replace {other}/64 dev eth0 nodad")
    link_local = re.search(r"inet6 (fe80:\S+)/64", ha1.ip("-6 addr show dev eth0"))
    assert link_local is not None
    target = other if to == "global" else Address.parse(link_local[1])
    advertisement = struct.pack("!BBHI", 136, 0, 0, 0xE0000000) + router + bytes((2, 1, 2, 0, 0, 0, 0, 9))
    checksum = internet_checksum(LFN, target, ICMPV6, advertisement).to_bytes(2, "big")
    options = bytes((58, 0, 1, 4, 0, 0, 0, 0))
    payload = options + advertisement[:2] + checksum + advertisement[4:]
    assert ha1.pings(CN)
    world.mr.sends(tunnelled(CARE_OF, build_ipv6(LFN, target, 60, payload, hop_limit=255)))
    assert world.mr.pings(OUTER[1])
    assert world.ha1.guard.counters()["hidden_neighbour_discovery"] == 1
    assert "02:00:00:00:00:09" not in ha1.ip("-6 neigh show")
