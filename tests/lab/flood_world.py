"""What a flood of unauthenticated signalling is made of, and the Home Agent that it falls upon: a process of
its own, as an operator runs it, around the kernel plane of `kernel_world`."""

from __future__ import annotations

import grp
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

from haha_exabgp.agent.control import ask
from haha_exabgp.agent.settings import home_agent_config
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.kernel.sockets import MobilitySocket
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.home import HomeAgentConfig, SecurityAssociation
from haha_exabgp.protocol.messages import binding_update_packet
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.ipv6 import build_mobility
from haha_exabgp.wire.messages import BindingUpdate
from haha_exabgp.wire.options import AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.lab.kernel_world import (
    CARE_OF,
    EVIL,
    HOME_ADDRESS,
    MNP,
    OUTER,
    Namespace,
    World,
)

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
                return build_mobility(source, OUTER[1], bare_update(unknown), home_address=unknown)
            case 2:
                return build_mobility(source, OUTER[1], bare_update(source))
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


def bare_update(source: Address, destination: Address = OUTER[1]) -> bytes:
    return _signed(UPDATE, source, destination)


def _unknown_type(source: Address) -> bytes:
    return _signed(bytes.fromhex("3b016300000000070000000f01020000"), source)
