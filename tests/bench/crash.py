"""Kills the Home Agent at random instants under load, and looks whether anything that it had acknowledged is
lost, and where packets go.

    sudo .venv/bin/python -m tests.bench.crash [KILLS [SEED]]

What a mobile router was told last is what must hold: a later Binding Update that was not answered may hold
in its place, nothing else. It is looked up in the routes by `ip`, and by packets for every mobile network,
which must come out of a tunnel to that care-of address, and to none when there is no binding.
"""

from __future__ import annotations

import random
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from haha_exabgp.kernel.sockets import MobilitySocket, RawSocket
from haha_exabgp.protocol.messages import binding_update_packet
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.ipv6 import build_ipv6
from haha_exabgp.wire.mobility import BindingUpdate, BindingUpdateFlag
from haha_exabgp.wire.options import AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.lab.kernel_world import entered

from .bench_home import ASSOCIATION, OUTER, care_of_address, home_address, network, number_of
from .home_agent import Bench

_FLAGS = BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER
_PLACES = 4
_WINDOW = 128
_CORRESPONDENT = Address.parse("3fff:101::1")
_ROUTE = re.compile(r"^(\S+) .*encap (?:seg6.*segs 1 \[ (\S+) \]|ip6.* dst (\S+))", re.MULTILINE)
Place = int | None
"""Where a mobile router is; None: nowhere, it has no binding."""


@dataclass
class Known:
    """What one mobile router knows, and what may be true besides."""

    sequence: int = 0
    asked: Place = None
    is_waiting: bool = False
    possible: set[Place] = field(default_factory=lambda: {None})


class Crowd:
    """Mobile routers that move, refresh and leave at random."""

    def __init__(self, count: int, random_: random.Random) -> None:
        self._random = random_
        self._socket = MobilitySocket()
        self._tunnelled = RawSocket(socket.IPPROTO_IPV6)
        self.routers = [Known() for _ in range(count)]
        self.acknowledged = 0
        self.unexpected: list[str] = []

    def act(self, seconds: float) -> None:
        """Keep some Binding Updates under way for a while."""
        waiting = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            packets = []
            while waiting + len(packets) < _WINDOW:
                index = self._random.randrange(len(self.routers))
                if not self.routers[index].is_waiting:
                    packets.append(self._ask(index))
            self._socket.send_batch(packets)
            waiting += len(packets) - self.listen(0.001)

    def listen(self, seconds: float) -> int:
        """Take in acknowledgements; gives how many there were."""
        receiver = self._socket.receivers[1]
        select.select([receiver.fileno()], [], [], seconds)
        heard = 0
        for datagram in receiver.receive_batch():
            data = datagram.data
            router = self.routers[number_of(data[8:24])]
            status, sequence = data[30], int.from_bytes(data[32:34], "big")
            if not router.is_waiting or sequence != router.sequence % 65536:
                continue
            heard += 1
            router.is_waiting = False
            if status == 0:
                self.acknowledged += 1
                router.possible = {router.asked}
            elif status != 133 or router.asked is not None:
                self.unexpected.append(f"mr{number_of(data[8:24])}: status {status}")
        return heard

    def give_up_waiting(self) -> None:
        """The Home Agent has died: what was asked may have been done."""
        while self.listen(0.05):
            continue
        for router in self.routers:
            if router.is_waiting:
                router.is_waiting = False
                router.possible.add(router.asked)

    def settle(self, places: list[Place]) -> list[str]:
        """Compare what is there with what was promised; from now on what is there is known."""
        wrong = []
        for index, (router, place) in enumerate(zip(self.routers, places, strict=True)):
            if place not in router.possible:
                wrong.append(f"mr{index} is at {place}, was told one of {router.possible}")
            router.possible = {place}
        return wrong

    def probe(self) -> list[Place]:
        """Where a packet for each mobile network comes out."""
        self._drain()
        places: list[Place] = [None] * len(self.routers)
        for first in range(0, len(self.routers), 200):
            some = range(first, min(first + 200, len(self.routers)))
            self._socket.send_batch([_packet(index) for index in some])
            while select.select([self._tunnelled.fileno()], [], [], 0.02)[0]:
                for datagram in self._tunnelled.receive_batch():
                    index = int.from_bytes(datagram.data[24:32], "big") - int.from_bytes(
                        network(0).address[:8], "big"
                    )
                    places[index] = (int.from_bytes(datagram.destination[:8], "big")) - int.from_bytes(
                        care_of_address(0, 0)[:8], "big"
                    )
        return places

    def _drain(self) -> None:
        while self._tunnelled.receive_batch():
            continue

    def _ask(self, index: int) -> bytes:
        router = self.routers[index]
        router.sequence += 1
        router.is_waiting = True
        leaves = self._random.random() < 0.1
        router.asked = None if leaves else self._random.randrange(_PLACES)
        source = care_of_address(index, router.asked or 0)
        options = [AlternateCareOfAddress(source), ReplayProtection(from_unix(time.time()))]
        if not leaves:
            options.insert(1, MobileNetworkPrefix(network(index)))
        update = BindingUpdate(router.sequence % 65536, _FLAGS, 0 if leaves else 600, tuple(options))
        return binding_update_packet(source, OUTER, home_address(index), update, ASSOCIATION)


def _packet(index: int) -> bytes:
    inner = network(index).address[:15] + b"\x07"
    return build_ipv6(_CORRESPONDENT, inner, 59, b"")


def _routed(bench: Bench, count: int) -> list[Place]:
    """Where the kernel's routes lead, by `ip`."""
    command = ("ip", "-n", bench.home_agent_space, "-6", "route", "show", "proto", "104")
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    exits = {prefix: seg6 or ip6tnl for prefix, seg6, ip6tnl in _ROUTE.findall(shown)}
    places: list[Place] = []
    for index in range(count):
        home, net = (exits.get(str(one)) for one in (home_address(index), network(index)))
        assert home == net, f"mr{index}: its home address goes to {home}, its network to {net}"
        places.append(None if home is None else Address.parse(home)[7] - care_of_address(0, 0)[7])
    return places


@contextmanager
def _crowd(count: int, random_: random.Random) -> Iterator[tuple[Bench, Crowd]]:
    with tempfile.TemporaryDirectory(prefix="haha-crash-") as directory:
        bench = Bench(Path(directory), count)
        try:
            bench.make_spaces()
            with entered(bench.load_space):
                crowd = Crowd(count, random_)
            yield bench, crowd
        finally:
            bench.down()


def crash(kills: int, count: int, seed: int) -> tuple[list[str], int]:
    """Kill it so often. Gives what was wrong, and how many acknowledgements there were."""
    random_ = random.Random(seed)
    wrong: list[str] = []
    with _crowd(count, random_) as (bench, crowd):
        for kill in range(kills):
            bench.start_agent()
            found = _routed(bench, count)
            probed = crowd.probe()
            wrong += [f"kill {kill}: {fault}" for fault in crowd.settle(found)]
            wrong += [
                f"kill {kill}: packets for mr{index} go to {to}, its route to {by}"
                for index, (to, by) in enumerate(zip(probed, found, strict=True))
                if to != by
            ]
            crowd.act(random_.uniform(0.02, 0.5))
            bench.kill_agent()
            crowd.give_up_waiting()
            # Without its agent the kernel goes on.
            down = crowd.probe()
            wrong += [
                f"kill {kill}: while it was dead packets for mr{index} went to {place}"
                for index, (router, place) in enumerate(zip(crowd.routers, down, strict=True))
                if place not in router.possible
            ]
            wrong += [f"kill {kill}: {fault}" for fault in crowd.unexpected]
            crowd.unexpected.clear()
        return wrong, crowd.acknowledged


if __name__ == "__main__":
    asked = [int(one) for one in sys.argv[1:]]
    kills = asked[0] if asked else 300
    seed = asked[1] if len(asked) > 1 else random.SystemRandom().randrange(1 << 32)
    print(f"{kills} kills, seed {seed}")
    began = time.monotonic()
    faults, acknowledged = crash(kills, 500, seed)
    print(*faults[:20], sep="\n")
    print(f"{acknowledged} acknowledged, {len(faults)} wrong, {time.monotonic() - began:.0f} s")
    raise SystemExit(bool(faults))
