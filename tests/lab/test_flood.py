"""A Home Agent under a flood of unauthenticated signalling answers who belongs here, and does not grow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from haha_exabgp.kernel.guard import flush_guard
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.icmp_relay import EXAMINED_A_SECOND
from haha_exabgp.protocol.node import ANSWERED_STRANGERS, NOTED_REFUSALS
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.icmpv6 import IcmpError, IcmpErrorType, encode_icmpv6
from haha_exabgp.wire.ipv6 import build_icmpv6, build_ipv6, build_mobility
from tests.lab.flood_world import (
    ACKNOWLEDGEMENT,
    STRANGERS_SET,
    UPDATE,
    Agent,
    Flood,
    answers_to_strangers,
    ask_until_answered,
    bad_updates,
    bare_update,
    running,
    strangers,
    update,
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
    tunnelled,
    udp,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with kernel_world("tDh") as built:
        yield built


@pytest.fixture(scope="module")
def agent(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with running(world, tmp_path_factory.mktemp("flood")) as started:
        yield started


@pytest.fixture
def bound(agent: Agent) -> Agent:
    agent.world.mr.sends(update(agent))
    eventually(agent.bindings, 5, "the mobile router is bound")
    return agent


def test_memory_stays_and_valid_updates_are_answered(bound: Agent) -> None:
    agent, seconds = bound, 8
    packets = strangers(2 * STRANGERS_SET, bad_updates(agent))
    with Flood(agent.world.evil, packets, rate=5000) as flood, answers_to_strangers(agent.world) as answers:
        ask_until_answered(agent, 2)
        lines, answered, before = agent.log().count("\n"), answers(), agent.resident()
        took = ask_until_answered(agent, seconds)
        after = agent.resident()
        answered = answers() - answered
    assert flood.sent > 2500 * seconds
    assert after - before < 2 << 20
    at_once = [one for one in took if one < 1]
    assert len(at_once) >= len(took) * 0.9
    assert answered < ANSWERED_STRANGERS * (seconds + 3)
    assert agent.log().count("\n") - lines < 2 * NOTED_REFUSALS * (seconds + 3)
    counters = agent.counters()
    for reason in (
        "bad_authenticator",
        "unknown_home_address",
        "unknown_mobility_type",
        "truncated",
        "too_many_errors",
    ):
        assert counters[f"dropped_{reason}"] > 0
    (binding,) = agent.bindings()
    assert binding["care_of_address"] == str(CARE_OF)


def test_who_is_known_gets_through_more_strangers_than_can_be_told_apart(bound: Agent) -> None:
    """More packets than the guard lets in from strangers, from more sources than its set holds."""
    agent, world = bound, bound.world
    packets = strangers(
        2 * STRANGERS_SET, lambda source, _: build_mobility(source, OUTER[1], bare_update(source))
    )
    from_peer = build_mobility(
        HAHA[2], HAHA[1], bare_update(HOME_ADDRESS, HAHA[1]), home_address=HOME_ADDRESS
    )
    world.ha1.namespace.sends(build_mobility(HAHA[1], HAHA[2], ACKNOWLEDGEMENT))
    before = agent.counters()
    with Flood(world.evil, packets, rate=60_000):
        eventually(lambda: _strangers_listed(world) >= STRANGERS_SET - 100, 20, "the set is full")
        took = ask_until_answered(agent, 4)
        for _ in range(10):
            world.ha2.namespace.sends(*[from_peer] * 10)
        assert world.ha2.namespace.pings(HAHA[1])
        assert _strangers_listed(world) <= STRANGERS_SET
    assert max(took) < 1.5, "nothing had to be sent twice"

    def more(name: str) -> int:
        return agent.counters().get(name, 0) - before.get(name, 0)

    assert more("guard_strangers_total_rate") > 0
    eventually(lambda: more("dropped_no_authentication") == 100, 5, "all of the peer's have arrived")


@pytest.mark.requirement("T-2")
def test_invented_errors_about_tunnels_hold_nothing_up(bound: Agent) -> None:
    """Each quotes a packet that is really put into the tunnel, and names another sender to be told."""
    agent, world = bound, bound.world

    def invented(source: Address, _: int) -> bytes:
        inner = build_ipv6(source, LFN, 17, bytes(1360))
        error = IcmpError(IcmpErrorType.PACKET_TOO_BIG, 0, 1400, tunnelled(OUTER[1], inner, CARE_OF))
        return build_icmpv6(EVIL, OUTER[1], encode_icmpv6(error, EVIL, OUTER[1]))

    with Flood(world.evil, strangers(STRANGERS_SET, invented), rate=20_000):
        ask_until_answered(agent, 1)
        before, counters = agent.resident(), agent.counters()
        took = ask_until_answered(agent, 5)
        after, now = agent.resident(), agent.counters()
    assert max(took) < 1
    assert after - before < 2 << 20
    relayed = "icmp_relayed_packet_too_big"
    assert 0 < now[relayed] - counters[relayed] < EXAMINED_A_SECOND * 7
    assert now["icmp_relay_dropped_too_many"] > counters["icmp_relay_dropped_too_many"]


def _strangers_listed(world: World) -> int:
    text = world.ha1.namespace.run("nft", "-j", "list", "set", "ip6", "haha", "strangers")
    return sum(len(entry["set"].get("elem", [])) for entry in json.loads(text)["nftables"] if "set" in entry)


SIGNALLING = {
    "update-with-home-address": build_mobility(EVIL, OUTER[1], UPDATE, home_address=HOME_ADDRESS),
    "acknowledgement-with-routing-header": build_mobility(
        EVIL, OUTER[1], ACKNOWLEDGEMENT, routing_home_address=HOME_ADDRESS
    ),
    "update": build_mobility(EVIL, OUTER[1], UPDATE),
    "acknowledgement": build_mobility(EVIL, OUTER[1], ACKNOWLEDGEMENT),
}


def test_kernel_says_nothing_about_signalling(tmp_path: Path) -> None:
    """Whether the agent listens or has just died: its guard stays."""
    with kernel_world("tDj") as world, running(world, tmp_path) as agent:
        world.ha1.namespace.run("sysctl", "-qw", "net.ipv6.icmp.ratelimit=0")
        assert _complaints(world) == []
        agent.process.kill()
        agent.process.wait()
        assert _complaints(world) == []
        with world.ha1.namespace.entered():
            flush_guard()
        assert _complaints(world), "the kernel would, without the guard"


def _complaints(world: World) -> list[bytes]:
    """Errors that ha1 sends about signalling."""
    with sniffer(world.core, "c-evil") as packets:
        for packet in SIGNALLING.values():
            world.evil.sends(packet)
        assert world.evil.pings(OUTER[1])
        return [one for one in seen(packets) if one[8:24] == OUTER[1] and one[6] == 58 and one[40] < 128]


@pytest.mark.requirement("S-5")
def test_spoofed_tunnelled_packets_are_dropped_and_counted(bound: Agent) -> None:
    world, number = bound.world, 50
    spoofs = [
        tunnelled(EVIL, udp(LFN, CN, 4000)),
        tunnelled(EVIL, udp(HOME_ADDRESS, CN, 4000)),
        tunnelled(EVIL, udp(CN, LFN, 4000)),
        tunnelled(EVIL, udp(EVIL, CN, 4000)),
    ]
    before = bound.counters()["guard_spoofed"]
    with sniffer(world.core, "c-cn") as packets:
        world.evil.sends(*spoofs * number)
        world.mr.sends(tunnelled(CARE_OF, udp(LFN, CN, 9999)))
        port, last = (4000).to_bytes(2, "big") * 2, (9999).to_bytes(2, "big") * 2
        carried: list[bytes] = []
        eventually(
            lambda: carried.extend(seen(packets)) or [one for one in carried if last in one], 5, "last"
        )
        assert not [one for one in carried if port in one]
    assert bound.counters()["guard_spoofed"] == before + len(spoofs) * number
