"""A mobile router with two uplinks: the real daemon, the real kernel, a Home Agent that answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haha_exabgp.kernel.seg6 import TUNNEL_END_TABLE
from haha_exabgp.protocol.egress import STABLE
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.checksum import ICMPV6
from haha_exabgp.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    decode_icmpv6,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import DESTINATION_OPTIONS, IcmpPacket, build_icmpv6, parse_packet
from tests.lab.kernel_world import CN, LFN, seen, sniffer
from tests.lab.uplinks_world import PREFIXES, Telling, World, tell, uplinks_world
from tests.unit.conftest import HOA

pytestmark = pytest.mark.lab

_DEAF = "table ip6 t {\nchain c {\ntype filter hook prerouting priority raw;\niifname acc0 drop;\n}\n}"
OUTER = Address.parse("3fff:101::a")


@pytest.fixture
def world() -> Iterator[World]:
    with uplinks_world("tMu") as built:
        yield built


def tunnelled(world: World, place: int) -> list[bytes]:
    """What passes the access router of this place inside tunnels while the mobile network talks."""
    with sniffer(world.routers[place].namespace, "acc0") as packets:
        assert world.lfn_reaches_cn()
        return [one for one in seen(packets) if one[6] == 41]


@pytest.mark.requirement("H-2", "H-12-MBB")
def test_fails_over_to_the_next_uplink_and_returns_to_the_better_one(world: World, tmp_path: Path) -> None:
    async def story(tale: Telling) -> None:
        world.plug(0)
        await tale.until_bound(0)
        world.plug(1)
        await tale.until(lambda: "211" in world.mr.ip("-6 rule") and "212" in world.mr.ip("-6 rule"), "rules")
        assert world.lfn_reaches_cn()
        assert tunnelled(world, 0) and not tunnelled(world, 1)

        world.unplug(0)
        started = time.monotonic()
        await tale.until(lambda: PREFIXES[1].contains(world.sources()[0]), "Binding Update by lte0")
        assert world.home_agent.heard[-1].at - started < 1.0
        await tale.until_bound(1)
        assert (await tale.show())["egress"] == "lte0"
        assert world.lfn_reaches_cn() and tunnelled(world, 1)

        world.plug(0)
        started = time.monotonic()
        await tale.until_bound(0)
        assert STABLE <= time.monotonic() - started < STABLE + 6
        # What is under way to the one that it has left, which works on, is taken in for a while.
        former = next(one for one in world.sources() if one != world.sources()[0])
        assert str(former) in world.mr.ip(f"-6 route show table {TUNNEL_END_TABLE}")
        await tale.until(
            lambda: str(former) not in world.mr.ip(f"-6 route show table {TUNNEL_END_TABLE}"), "its end"
        )
        carried = tunnelled(world, 0)
        assert carried and not tunnelled(world, 1), "both uplinks are up; packets leave by the chosen one"
        assert {one[8:24] for one in carried if one[24:40] == OUTER} == {world.sources()[0]}

    tell(world, tmp_path, story)
    assert world.home_agent.heard[-1].lifetime == 0, "de-registered at the end"
    assert "from 3fff" not in world.mr.ip("-6 rule")


def test_what_has_an_uplinks_address_leaves_by_that_uplink(world: World, tmp_path: Path) -> None:
    """The kernel's default routes by both are alike; only one of them is the way of a care-of address."""

    async def story(tale: Telling) -> None:
        for place in (0, 1):
            world.plug(place)
        await tale.until_bound(0)

        def addresses() -> list[Address]:
            shown = world.mr.ip("-br -6 addr show scope global").split()
            found = [Address.parse(one.split("/")[0]) for one in shown if one.startswith("3fff:f0")]
            return sorted(one for one in found if any(prefix.contains(one) for prefix in PREFIXES))

        await tale.until(lambda: len(addresses()) == 2 and "212" in world.mr.ip("-6 rule"), "both addresses")
        for place, address in enumerate(addresses()):
            with sniffer(world.routers[place].namespace, "acc0") as packets:
                for _ in range(4):
                    assert world.mr.pings(CN, source=address)
                assert len([one for one in seen(packets) if one[8:24] == address and one[24:40] == CN]) == 4

    tell(world, tmp_path, story)


def test_an_uplink_whose_router_is_silent_is_left(world: World, tmp_path: Path) -> None:
    async def story(tale: Telling) -> None:
        for place in (0, 1):
            world.plug(place)
        await tale.until_bound(0)
        world.routers[0].is_mute = True
        world.routers[0].namespace.nft(_DEAF)
        started = time.monotonic()
        await tale.until(lambda: not world.lfn_reaches_cn() or tale.row()["egress"] == "lte0", "lost")
        while (await tale.show())["egress"] != "lte0":
            world.lfn.ping(CN)
            assert time.monotonic() - started < 25
        await tale.until_bound(1)
        assert world.lfn_reaches_cn()
        world.routers[0].is_mute = False
        world.routers[0].namespace.nft("delete table ip6 t")
        await tale.until_bound(0)

    tell(world, tmp_path, story)


@pytest.mark.requirement("D-8")
def test_another_router_behind_the_same_address_is_a_move(world: World, tmp_path: Path) -> None:
    async def story(tale: Telling) -> None:
        world.plug(0)
        await tale.until_bound(0)
        care_of_address = world.sources()[0]
        before = len(world.home_agent.heard)
        router = world.routers[0]
        old = Address.parse((await tale.show())["router"])
        router.is_mute = True
        router.namespace.ip("addr add fe80::99/64 dev acc0 nodad")
        router.is_mute = False
        router.advertise(0, source=str(old))
        router.advertise(1800, source="fe80::99")
        await tale.until(lambda: tale.row()["router"] == "fe80::99", "the new router")
        await tale.until(lambda: len(world.home_agent.heard) > before, "a Binding Update")
        assert set(world.sources()) == {care_of_address}
        assert "via fe80::99" in world.mr.ip("-6 route show table 211")
        assert world.lfn_reaches_cn()

    tell(world, tmp_path, story)


def test_a_care_of_address_is_used_before_duplicate_address_detection_has_passed_it(
    world: World, tmp_path: Path
) -> None:
    """RFC 4429."""

    # So long that nobody could wait for it.
    async def story(tale: Telling) -> None:
        world.mr.run("sysctl", "-qw", "net.ipv6.neigh.wan0.retrans_time_ms=4000")
        world.plug(0)
        await tale.until_bound(0)
        assert "optimistic" in world.mr.ip("-6 addr show dev wan0 scope global")
        assert world.lfn_reaches_cn()

    tell(world, tmp_path, story)


def test_an_optimistic_address_that_another_node_has_is_given_up(world: World, tmp_path: Path) -> None:
    async def story(tale: Telling) -> None:
        mac = world.mr.ip("-br link show dev wan0").split()[2].split(":")
        mac[0] = f"{int(mac[0], 16) ^ 2:02x}"
        duplicate = f"3fff:f01::{mac[0]}{mac[1]}:{mac[2]}ff:fe{mac[3]}:{mac[4]}{mac[5]}"
        world.routers[0].namespace.ip(f"addr add {duplicate}/128 dev acc0 nodad")
        world.plug(1)
        await tale.until_bound(1)
        world.plug(0)
        await tale.until(lambda: "wan0" in world.mr.ip("-6 route show default"), "the router of wan0")
        # So long, wan0 would be used again.
        await asyncio.sleep(STABLE + 0.5)
        assert (await tale.show())["egress"] == "lte0"
        assert duplicate not in map(str, world.sources())

    tell(world, tmp_path, story)


def test_at_home_the_binding_is_ended_and_packets_are_routed_natively(world: World, tmp_path: Path) -> None:
    """RFC 6275 s.11.5.5; the home address on an uplink stands for the home link."""

    async def story(tale: Telling) -> None:
        world.plug(0)
        await tale.until_bound(0)
        world.make_home_link(0, HOA)
        world.mr.ip(f"addr add {HOA}/128 dev wan0 nodad")
        await tale.until(lambda: tale.row()["state"] == "at home", "at home")
        await tale.until(lambda: world.home_agent.heard[-1].lifetime == 0, "the de-registration")
        last = world.home_agent.heard[-1]
        assert (last.source, last.has_home_address_option) == (HOA, False)
        with sniffer(world.routers[0].namespace, "acc0") as packets:
            world.lfn.ping(CN)
            out = [one for one in seen(packets) if LFN in one and CN in one]
        assert out and not [one for one in out if one[6] == 41]
        await tale.until(lambda: tale.row()["home_agent"] == "", "the acknowledgement")
        world.mr.ip(f"addr del {HOA}/128 dev wan0")
        await tale.until_bound(0)
        assert world.lfn_reaches_cn()

    tell(world, tmp_path, story)


def test_prefix_advertisements_reach_the_daemon_and_the_kernel_does_not_complain(
    world: World, tmp_path: Path
) -> None:
    """ICMPv6 behind a type 2 routing header, which the kernel takes for an error."""

    async def story(tale: Telling) -> None:
        world.plug(0)
        await tale.until_bound(0)
        care_of_address = world.sources()[0]
        message = encode_icmpv6(MobilePrefixAdvertisement(0, False, False, ()), OUTER, HOA)
        with sniffer(world.routers[0].namespace, "acc0") as packets:
            world.ha.sends(build_icmpv6(OUTER, care_of_address, message, routing_home_address=HOA))
            sent: list[bytes] = []

            def solicited() -> bool:
                sent.extend(one for one in seen(packets) if one[8:24] == care_of_address)
                return any(one[6] == DESTINATION_OPTIONS and one[40] == ICMPV6 for one in sent)

            await tale.until(solicited, "a Mobile Prefix Solicitation")
        (solicitation,) = [one for one in sent if one[6] == DESTINATION_OPTIONS]
        packet = parse_packet(solicitation)
        assert isinstance(packet, IcmpPacket) and packet.home_address == HOA
        read = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
        assert isinstance(read, MobilePrefixSolicitation) and packet.destination == OUTER
        parameter_problem = 4
        assert not [one for one in sent if one[6] == ICMPV6 and one[40] == parameter_problem]

    tell(world, tmp_path, story)


def test_an_uplink_that_is_taken_out_and_put_in_again_is_used(world: World, tmp_path: Path) -> None:
    """A modem, say: as another device of the same name, with none of the settings."""
    router = world.routers[1].namespace

    async def story(tale: Telling) -> None:
        world.plug(0)
        await tale.until_bound(0)
        router.ip(f"link add acc0 type veth peer name lte0 netns {world.mr.name}")
        router.run("sysctl", "-qw", "net.ipv6.conf.acc0.accept_ra=0")
        router.ip(f"addr add {PREFIXES[1].address}1/64 dev acc0 nodad")
        world.plug(1)
        world.mr.ip("link set lte0 up")
        await tale.until(lambda: "212" in world.mr.ip("-6 rule"), "the rule of lte0")
        world.unplug(0)
        await tale.until_bound(1)
        assert world.lfn_reaches_cn()

    router.ip("link del acc0")
    tell(world, tmp_path, story)
