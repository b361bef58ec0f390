"""Numbered packets both ways between hosts of a lab, and what became of each.

As a program it is one host's part, in that host's namespace, with the standard library alone:

    python tests/lab/streams.py PACKETS_A_SECOND PEER …

It says "ready", begins to send by SIGUSR1, ceases by SIGINT, and then says what it has sent and heard.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haha_exabgp.lab.lab import Lab

PORT = 5001
STRAGGLERS = 1.0
"""Seconds after the last packet was sent in which any may still arrive."""
_NUMBER = struct.Struct("!I")
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of a stream of packets one way; `longest_gap` in seconds, between two that arrived."""

    sent: int
    lost: tuple[int, ...]
    duplicates: int
    longest_gap: float


@contextmanager
def streams(lab: Lab, one: str, others: Sequence[str], rate: int) -> Iterator[dict[tuple[str, str], Counted]]:
    """So many packets a second between a host and each of the others, both ways, in the body. What became of
    them is in the dictionary afterwards, by source and destination."""
    names = {str(lab.topology.address(name)): name for name in (one, *others)}
    addresses = {name: address for address, name in names.items()}
    programs: dict[str, subprocess.Popen[str]] = {}
    for name in (one, *others):
        peers = [addresses[other] for other in (others if name == one else [one])]
        programs[name] = lab.spawn(name, [sys.executable, __file__, str(rate), *peers])
    for program in programs.values():
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
    counted: dict[tuple[str, str], Counted] = {}
    for program in programs.values():
        program.send_signal(signal.SIGUSR1)
    try:
        yield counted
    finally:
        for program in programs.values():
            program.send_signal(signal.SIGINT)
        said = {name: json.loads(one.communicate(timeout=_SECONDS)[0]) for name, one in programs.items()}
    for other in others:
        for source, to in ((one, other), (other, one)):
            sent = said[source]["sent"][addresses[to]]
            counted[source, to] = _count(sent, said[to]["heard"].get(addresses[source], []))


def _count(sent: int, heard: list[tuple[int, float]]) -> Counted:
    numbers = {number for number, _ in heard}
    gaps = [after - before for (_, before), (_, after) in pairwise(heard)]
    lost = tuple(sorted(set(range(sent)) - numbers))
    return Counted(sent, lost, len(heard) - len(numbers), max(gaps, default=float("inf")))


def _talk(rate: int, peers: list[str]) -> dict[str, Any]:
    """Send and listen until told to cease, and a moment longer."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGINT))
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(("::", PORT))
    sock.setblocking(False)
    print("ready", flush=True)
    signal.sigwait((signal.SIGUSR1,))
    sent, heard = 0, dict[str, list[tuple[int, float]]]()
    began, ends = time.monotonic(), float("inf")
    while (now := time.monotonic()) < ends:
        if ends == float("inf") and signal.SIGINT in signal.sigpending():
            ends = now + STRAGGLERS
        if ends == float("inf") and now >= began + sent / rate:
            for peer in peers:
                sock.sendto(_NUMBER.pack(sent), (peer, PORT))
            sent += 1
        due = ends if ends != float("inf") else began + sent / rate
        if select.select([sock], [], [], max(min(due - time.monotonic(), 0.1), 0.0))[0]:
            data, (source, *_) = sock.recvfrom(100)
            heard.setdefault(source, []).append((_NUMBER.unpack(data)[0], time.monotonic()))
    return {"sent": dict.fromkeys(peers, sent), "heard": heard}


if __name__ == "__main__":
    print(json.dumps(_talk(int(sys.argv[1]), sys.argv[2:])))
