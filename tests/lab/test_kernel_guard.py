"""The packet filter of a Home Agent: what a stranger cannot do, and what friends still can."""

from __future__ import annotations

import dataclasses
import json
import re
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from haha_exabgp.kernel.guard import HomeAgentGuard
from haha_exabgp.kernel.guard_rules import TUNNEL_MSS
from haha_exabgp.kernel.routes import RouteChanges
from haha_exabgp.kernel.sockets import DhaadSocket, MobilitySocket
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.effects import Admit, Dismiss, Permit, Revoke
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryRequest, encode_icmpv6, parameter_problem
from haha_exabgp.wire.ipv6 import build_icmpv6, build_ipv6, build_mobility
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HAHA,
    HOME,
    HOME_ADDRESS,
    LFN,
    MNP,
    OUTER,
    PARTITION,
    Namespace,
    World,
    kernel_world,
    seen,
    sniffer,
    syn,
    tunnelled,
    udp,
)

pytestmark = pytest.mark.lab

UPDATE = bytes.fromhex("3b010500ffff00070000000f01020000")
TUNNEL_LIMIT = bytes((41, 0, 4, 1, 4, 1, 1, 0))
"""Destination options with a Tunnel Encapsulation Limit of 4 (RFC 2473 s.4.1.1)."""
PERMITS = {(CARE_OF, MNP), (CARE_OF, Prefix.host(HOME_ADDRESS))}


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with kernel_world("tDg") as built:
        yield built


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with shared.ha1.namespace.entered():
        shared.ha1.guard.setup(PERMITS, frozenset())
        yield shared
        shared.ha1.guard.flush()


def arrives(world: World, sender: Namespace, packet: bytes, inner: bytes, at: str = "c-cn") -> bool:
    """True when `inner` comes out of ha1's tunnel end and passes the core's device, though with another hop
    limit. A packet that is known to pass comes last and says when to stop waiting."""
    last = udp(LFN, CN, port=9999)
    with sniffer(world.core, at) as packets, sniffer(world.core, "c-cn") as sentinels:
        sender.sends(packet)
        world.mr.sends(tunnelled(CARE_OF, last))
        eventually(lambda: _holds(seen(sentinels), last), 2, "the last packet arrives", interval=0.002)
        return _holds(seen(packets), inner)


def _holds(packets: list[bytes], wanted: bytes) -> bool:
    return any(packet[:7] == wanted[:7] and packet[8:] == wanted[8:] for packet in packets)


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


FRAGMENTS = {
    # Destination options, more of them in the second fragment, then the tunnel packet.
    "what-follows-hidden": (60, bytes((60, 0, 1, 4, 0, 0, 0, 0)), bytes((41, 0, 1, 4, 0, 0, 0, 0))),
    "destination-hidden": (41, b"", b""),
}
"""Next header of the first fragment; what is in front of the inner packet in it and in the second."""


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


def in_two_fragments(
    source: Address, inner: bytes, next_header: int, first: bytes, second: bytes
) -> tuple[bytes, bytes]:
    """A tunnel packet to ha1. The first fragment has the inner packet's source, if anything of it."""
    cut = 0 if first else 24
    parts = (first + inner[:cut], second + inner[cut:])
    # The second one's own word for what it is part of counts for nothing.
    heads = (
        struct.pack("!BBHI", next_header, 0, 1, 7),
        struct.pack("!BBHI", 17, 0, len(parts[0]), 7),
    )
    one, two = map(bytes.__add__, heads, parts)
    return build_ipv6(source, OUTER[1], 44, one), build_ipv6(source, OUTER[1], 44, two)


@pytest.mark.parametrize("hidden", ["tunnel", "options", "routing"])
@pytest.mark.requirement("S-5")
def test_tunnel_in_a_mobile_routers_tunnel_is_dropped(world: World, hidden: str) -> None:
    inner = udp(LFN, CN)
    middle = {
        "tunnel": tunnelled(LFN, inner),
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
        eventually(lambda: any(_is_icmp(one, 1) for one in seen(packets)), 2, "unreachable", interval=0.002)
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
        eventually(lambda: any(_is_icmp(one, 4) for one in seen(packets)), 2, "our own", interval=0.002)


def _is_answered(world: World, packet: bytes) -> bool:
    """True when ha1 answers by Parameter Problem; an echo behind it says that it had its chance."""
    with sniffer(world.core, "c-evil") as packets:
        world.evil.sends(packet)
        assert world.evil.pings(OUTER[1])
        return any(_is_icmp(one, 4) for one in seen(packets))


def _is_icmp(packet: bytes, type_: int) -> bool:
    return packet[6] == 58 and packet[40] == type_


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


def test_discovery_by_a_tunnel_is_neither_seen_nor_answered(world: World) -> None:
    request = _request(HAHA[2], home_agents_anycast(PARTITION[1]))
    with DhaadSocket(HOME) as discovery, sniffer(world.core, "c-ha2") as back:
        world.ha2.namespace.sends(tunnelled(OUTER[2], request))
        assert world.ha2.namespace.pings(HAHA[1])
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


def test_many_permits_change_in_one_transaction(world: World) -> None:
    guard = world.ha1.guard
    pairs = [
        (
            Address(CARE_OF[:14] + n.to_bytes(2, "big")),
            Prefix(Address(LFN[:6] + n.to_bytes(2, "big") + bytes(8)), 64),
        )
        for n in range(0x2000, 0x2800)
    ]
    guard.apply((Permit(*pair) for pair in pairs), ())
    assert _count(world, "permit64") == len(pairs) + 1
    assert _count(world, "bound64") == 0
    guard.apply((), (Revoke(*pair) for pair in pairs))
    assert _count(world, "permit64") == 1


def test_letting_in_counts_more_than_keeping_out(world: World) -> None:
    world.ha1.guard.apply([Permit(CARE_OF, MNP), Admit(MNP)], [Revoke(CARE_OF, MNP), Dismiss(MNP)])
    assert (_count(world, "permit64"), _count(world, "bound64")) == (1, 1)
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)


def test_what_is_so_already_is_no_failure(world: World) -> None:
    """And does not keep the rest of the changes from being made."""
    there, missing, new = MNP, Prefix.parse("2001:db8:1:200::/64"), Prefix.parse("2001:db8:1:300::/64")
    world.ha1.guard.apply(
        [Permit(CARE_OF, there), Permit(CARE_OF, new), Admit(new)],
        [Revoke(CARE_OF, missing), Dismiss(missing), Revoke(CARE_OF, Prefix.host(HOME_ADDRESS))],
    )
    assert [_count(world, name) for name in ("permit64", "bound64", "permit128")] == [2, 1, 0]


def test_guard_notices_a_flushed_ruleset_and_mends_it(world: World) -> None:
    guard = world.ha1.guard
    other = Prefix.parse("2001:db8:1:200::/64")
    assert guard.intact()
    world.ha1.namespace.nft("flush ruleset\n")
    assert not guard.intact()
    with pytest.raises(FileNotFoundError):
        guard.apply([Permit(CARE_OF, other)], [])
    guard.setup({*PERMITS, (CARE_OF, other)}, frozenset())
    assert guard.intact()
    assert _count(world, "permit64") == 2
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    assert not arrives(world, world.evil, tunnelled(EVIL, inner), inner)


def test_refused_change_changes_nothing(world: World) -> None:
    """No set is there for prefixes of this length: they are made by `setup`."""
    odd, usual = Prefix.parse("2001:db8::/40"), Prefix.parse("2001:db8:1:200::/64")
    guard = world.ha1.guard
    with pytest.raises(FileNotFoundError):
        guard.apply([Permit(CARE_OF, usual), Permit(CARE_OF, odd)], [Revoke(CARE_OF, MNP)])
    assert _count(world, "permit64") == 1
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)


def test_new_prefix_length_is_judged_by_from_setup_on(world: World) -> None:
    odd = Prefix.parse("2001:db8::/40")
    inner = udp(Address.parse("2001:db8:9:9::9"), CN)
    guard = world.ha1.guard
    guard.setup({*PERMITS, (CARE_OF, odd)}, frozenset())
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    guard.setup(PERMITS, frozenset())
    assert not arrives(world, world.mr, tunnelled(CARE_OF, inner), inner), "it is wanted no more"
    guard.apply([Permit(CARE_OF, odd)], [])
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner), "its length stays known"


def test_setup_leaves_nothing_of_what_was(world: World) -> None:
    other = Prefix.parse("2001:db8:1:200::/64")
    world.ha1.guard.setup({(CARE_OF, other)}, {other})
    world.ha1.guard.setup(PERMITS, {MNP})
    listed = world.ha1.namespace.run("nft", "list", "table", "ip6", "haha")
    assert "0x20010db800010200" not in listed
    assert listed.count("0x20010db800010100") == 2


def test_loading_again_lets_nothing_through_and_keeps_nothing_out(world: World) -> None:
    good, bad = udp(LFN, CN), udp(LFN, CN, port=6666)
    many = {
        (CARE_OF, Prefix(Address(LFN[:4] + n.to_bytes(4, "big") + bytes(8)), 64))
        for n in range(0x20000, 0x22000)
    }
    passed, found = 0, list[bytes]()
    with sniffer(world.core, "c-cn") as packets:
        for turn in range(20):
            loading = threading.Thread(
                target=world.ha1.guard.setup, args=({*PERMITS, *many} if turn % 2 else PERMITS, frozenset())
            )
            loading.start()
            while loading.is_alive():
                world.mr.sends(tunnelled(CARE_OF, good))
                world.evil.sends(tunnelled(EVIL, bad))
                passed += 1
                found += seen(packets)
            loading.join()
        last = udp(LFN, CN, port=9999)
        world.mr.sends(tunnelled(CARE_OF, last))

        def all_came() -> bool:
            found.extend(seen(packets))
            return _holds(found, last)

        eventually(all_came, 2, "the last packet arrives", interval=0.002)
    assert passed > 100
    assert not _holds(found, bad)
    assert sum(_holds([one], good) for one in found) == passed


def test_table_of_another_shape_is_made_anew(world: World) -> None:
    world.ha1.namespace.nft(
        "delete table ip6 haha\ntable ip6 haha {\nset permit64 {\ntype ipv6_addr\n}\n"
        "chain forward {\ntype filter hook output priority 7; policy accept;\n}\n}\n"
    )
    world.ha1.guard.setup(PERMITS, frozenset())
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    assert not arrives(world, world.evil, tunnelled(EVIL, inner), inner)


def test_new_peers_take_the_place_of_the_old_and_counters_go_on(world: World) -> None:
    inner = udp(LFN, CN)
    assert not arrives(world, world.evil, tunnelled(EVIL, inner), inner)
    config = dataclasses.replace(world.ha1.guard_config, peers=frozenset({EVIL}))
    with closing(HomeAgentGuard(config)) as renewed:
        renewed.setup(PERMITS, frozenset())
        assert renewed.counters()["spoofed"] == 1
        assert not arrives(world, world.ha2.namespace, tunnelled(OUTER[2], inner), inner)
        assert renewed.counters()["spoofed"] == 2, "it is no peer any more"
        listed = world.ha1.namespace.run("nft", "list", "set", "ip6", "haha", "peers")
        assert re.findall(r"elements = { (.*) }", listed) == [str(EVIL)]


def test_rules_of_others_stay(world: World) -> None:
    ha1 = world.ha1.namespace
    ha1.nft("table ip6 other {\n}\n")
    world.ha1.guard.setup(PERMITS, frozenset())
    world.ha1.guard.flush()
    world.ha1.guard.flush()
    assert ha1.run("nft", "list", "tables").split("\n") == ["table ip6 other", ""]
    ha1.nft("delete table ip6 other\n")


def test_operator_can_list_the_rules(world: World) -> None:
    listed = world.ha1.namespace.run("nft", "list", "table", "ip6", "haha")
    assert 'counter name "spoofed" drop' in listed
    assert set(world.ha1.guard.counters()) == set(re.findall(r"counter name \"(\w+)\"", listed))


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


def _count(world: World, name: str) -> int:
    text = world.ha1.namespace.run("nft", "-j", "list", "set", "ip6", "haha", name)
    return sum(len(entry["set"].get("elem", [])) for entry in json.loads(text)["nftables"] if "set" in entry)


def _request(source: Address, destination: Address) -> bytes:
    message = encode_icmpv6(HomeAgentDiscoveryRequest(7, True), source, destination)
    return build_icmpv6(source, destination, message)
