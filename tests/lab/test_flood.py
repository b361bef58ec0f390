"""A Home Agent under a flood of unauthenticated signalling: it answers who belongs here, and does not grow.

The agent is a process of its own, as an operator runs it, around the kernel plane of `kernel_world`.
"""

from __future__ import annotations

import grp
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random

import pytest

from haha_exabgp.agent.control import ask
from haha_exabgp.agent.settings import home_agent_config
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.kernel.guard import flush_guard
from haha_exabgp.kernel.sockets import MobilitySocket
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.home import HomeAgentConfig, SecurityAssociation
from haha_exabgp.protocol.icmp_relay import EXAMINED_A_SECOND
from haha_exabgp.protocol.messages import binding_update_packet
from haha_exabgp.protocol.node import ANSWERED_STRANGERS, NOTED_REFUSALS
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.icmpv6 import IcmpError, IcmpErrorType, encode_icmpv6
from haha_exabgp.wire.ipv6 import build_icmpv6, build_ipv6, build_mobility
from haha_exabgp.wire.messages import BindingUpdate
from haha_exabgp.wire.options import AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HAHA,
    HOME_ADDRESS,
    LFN,
    MNP,
    OUTER,
    Namespace,
    World,
    kernel_world,
    seen,
    sniffer,
    tunnelled,
    udp,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ROOT = Path(__file__).parents[2]
FLAGS = BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER
UPDATE = bytes.fromhex("3b01050000000007c000000f01020000")
ACKNOWLEDGEMENT = bytes.fromhex("3b01060000000000000700ff") + bytes(4)
STRANGERS_SET = 16384
"""Addresses whose rate the guard can tell apart."""


@dataclass
class Agent:
    """A running `haha agent` of ha1."""

    world: World
    run_dir: Path
    config: HomeAgentConfig
    process: subprocess.Popen[bytes]

    def counters(self) -> dict[str, int]:
        return {row["counter"]: row["value"] for row in ask(self.run_dir, "counters")}

    def bindings(self) -> list[dict]:
        return ask(self.run_dir, "bindings")

    def resident(self) -> int:
        """Octets of memory."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def log(self) -> str:
        return (self.run_dir / "log").read_text()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with kernel_world("tDh") as built:
        yield built


@contextmanager
def running(world: World, directory: Path) -> Iterator[Agent]:
    path = directory / "home.yaml"
    shutil.copyfile(ROOT / "configs" / "two-sites.yaml", path)
    home = load(path, no_key)
    assert list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
    config = home_agent_config(load(path), "ha1")
    run_dir = directory / "run"
    run_dir.mkdir()
    group = grp.getgrgid(os.getgid()).gr_name
    files = ("--config", str(path), "--run-dir", str(run_dir))
    who = ("--home-agent", "ha1", "--hook-group", group)
    argv = (sys.executable, "-m", "haha_exabgp", "agent", *files, *who)
    with (run_dir / "log").open("wb") as log:
        process = subprocess.Popen(
            world.ha1.namespace.command(*argv), cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    agent = Agent(world, run_dir, config, process)
    try:
        eventually((run_dir / "control.sock").exists, 20, "the agent is up")
        yield agent
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def agent(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with running(world, tmp_path_factory.mktemp("flood")) as started:
        yield started


_sequence = 0


def update(agent: Agent, association: SecurityAssociation | None = None, source: Address = CARE_OF) -> bytes:
    """A valid Binding Update of the mobile router, unless another key signs it."""
    global _sequence  # noqa: PLW0603
    _sequence += 1
    message = BindingUpdate(
        _sequence,
        FLAGS,
        120,
        (
            MobileNetworkPrefix(MNP),
            AlternateCareOfAddress(source),
            ReplayProtection(from_unix(time.time())),
        ),
    )
    own = agent.config.mobile_routers[HOME_ADDRESS].associations[0]
    return binding_update_packet(source, OUTER[1], HOME_ADDRESS, message, association or own)


@contextmanager
def listening(namespace: Namespace) -> Iterator[Callable[[float], list[int]]]:
    """Gives a function that waits so many seconds for Binding Acknowledgements and gives their status."""
    with namespace.entered():
        mobility = MobilitySocket()
    behind_routing_header = mobility.receivers[1]

    def statuses(timeout: float) -> list[int]:
        select.select([behind_routing_header], [], [], timeout)
        found = []
        while (datagram := behind_routing_header.receive()) is not None:
            # Behind the routing header (24) and the Mobility Header's fixed part (6).
            found.append(datagram.data[30])
        return found

    with closing(mobility):
        yield statuses


def ask_until_answered(agent: Agent, seconds: float) -> list[float]:
    """Refresh the binding as a mobile router does, again after 1.5 s without an answer; gives how long each
    acknowledged one took from its first try, until the time is over."""
    took = []
    end = time.monotonic() + seconds
    with listening(agent.world.mr) as statuses:
        while (began := time.monotonic()) < end:
            answered: list[int] = []
            while 0 not in answered and time.monotonic() < end + 5:
                agent.world.mr.sends(update(agent))
                answered = statuses(1.5)
            assert 0 in answered, "no answer"
            took.append(time.monotonic() - began)
            time.sleep(0.1)
    return took


class Flood:
    """A thread that sends from random sources, at a steady rate."""

    def __init__(self, namespace: Namespace, packets: list[bytes], rate: int) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._packets = packets
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        packets = cycle(self._packets)
        destination = (str(OUTER[1]), 0)
        began = time.monotonic()
        while not self._stop.is_set():
            due = int((time.monotonic() - began) * self._rate) - self.sent
            for packet in islice(packets, due):
                self._socket.sendto(packet, destination)
            self.sent += due
            self._stop.wait(0.0005)


def strangers(number: int, make: Callable[[Address, int], bytes]) -> list[bytes]:
    random = Random(7)
    return [make(Address(EVIL[:6] + random.randbytes(10)), turn) for turn in range(number)]


def bad_updates(agent: Agent) -> Callable[[Address, int], bytes]:
    """Every kind of Binding Update and what looks like one, from somebody without a key."""
    random = Random(8)
    wrong_key = SecurityAssociation(agent.config.mobile_routers[HOME_ADDRESS].associations[0].spi, bytes(16))

    def make(source: Address, turn: int) -> bytes:
        match turn % 5:
            case 0:
                return update(agent, wrong_key, source)
            case 1:
                unknown = Address(HOME_ADDRESS[:6] + random.randbytes(10))
                return build_mobility(source, OUTER[1], _bare_update(unknown), home_address=unknown)
            case 2:
                return build_mobility(source, OUTER[1], _bare_update(source))
            case 3:
                return build_mobility(source, OUTER[1], random.randbytes(16), home_address=HOME_ADDRESS)
            case _:
                return build_mobility(source, OUTER[1], _unknown_type(source))

    return make


@contextmanager
def answers_to_strangers(world: World) -> Iterator[Callable[[], int]]:
    """Gives a function that counts what the Home Agent has sent to the flood's sources."""
    network = Prefix.of(EVIL, 48)
    world.core.nft(
        "table ip6 answers {\nchain prerouting {\ntype filter hook prerouting priority 0;\n"
        f'iifname "c-ha1" ip6 daddr {network} counter\n}}\n}}\n'
    )

    def count() -> int:
        listed = world.core.run("nft", "list", "table", "ip6", "answers")
        return int(listed.partition("packets ")[2].split()[0])

    yield count
    world.core.nft("delete table ip6 answers\n")


def _signed(header: bytes, source: Address, destination: Address = OUTER[1]) -> bytes:
    checksum = internet_checksum(source, destination, 135, header)
    return header[:4] + checksum.to_bytes(2, "big") + header[6:]


def _bare_update(source: Address, destination: Address = OUTER[1]) -> bytes:
    return _signed(UPDATE, source, destination)


def _unknown_type(source: Address) -> bytes:
    return _signed(bytes.fromhex("3b016300000000070000000f01020000"), source)


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
        2 * STRANGERS_SET, lambda source, _: build_mobility(source, OUTER[1], _bare_update(source))
    )
    from_peer = build_mobility(
        HAHA[2], HAHA[1], _bare_update(HOME_ADDRESS, HAHA[1]), home_address=HOME_ADDRESS
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
