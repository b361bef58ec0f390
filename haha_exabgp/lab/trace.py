"""The way that one packet takes through a lab, seen on the wire of every node it passes.

traceroute does not show it: routers inside a tunnel answer the tunnel's entry, not the sender.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from .lab import Lab
from .topology import LabError

SETTLE_SECONDS = 0.4
"""How long after the answer the captures go on: what a node writes last must be read too."""

_LINE = re.compile(
    r"^(?P<seconds>\d+)\.(?P<nanoseconds>\d{9}) \S+ +(?:In|Out) +IP6 (?P<headers>.*)"
    r" > (?P<destination>\S+): ICMP6, echo request, id (?P<id>\d+)"
)
_TUNNEL = re.compile(r"\S+ > (\S+): IP6 ")


@dataclass(frozen=True, slots=True)
class Hop:
    """A node that the packet passed. `tunnels` are the exits of the tunnels it was in when it left (when it
    arrived, at the last node), outermost first."""

    node: str
    tunnels: tuple[IPv6Address, ...]


@dataclass(frozen=True, slots=True)
class _Sight:
    nanoseconds: int
    node: str
    tunnels: tuple[IPv6Address, ...]


def trace(lab: Lab, source: str, destination: IPv6Address) -> list[Hop]:
    """Send one echo request from a node and follow it. Raises LabError when no answer comes back."""
    nodes = [node.name for node in lab.topology.nodes]
    captures = {name: lab.spawn(name, _capture(destination)) for name in nodes}
    try:
        wait_until_listening(captures)
        lab.exec(source, ["ping", "-6", "-c", "1", "-W", "3", str(destination)], check=True)
        time.sleep(SETTLE_SECONDS)
    finally:
        for capture in captures.values():
            capture.terminate()
        output = {name: capture.communicate()[0] for name, capture in captures.items()}
    sights = [sight for name in nodes for sight in _sights(name, output[name], destination)]
    return list(_hops(sorted(sights, key=lambda sight: sight.nanoseconds)))


def describe(hops: Sequence[Hop], names: dict[IPv6Address, str]) -> str:
    """One line for people: the nodes in order, with brackets around what lies inside a tunnel."""
    words: list[str] = []
    inside: tuple[IPv6Address, ...] = ()
    for hop in hops:
        words.append(hop.node)
        if hop.tunnels != inside and hop.tunnels:
            exits = " in ".join(names.get(one, str(one)) for one in reversed(hop.tunnels))
            words.append(f"=[tunnel to {exits}]=>")
        else:
            words.append("->")
        inside = hop.tunnels
    return " ".join(words[:-1])


def _capture(destination: IPv6Address) -> list[str]:
    expression = f"icmp6 and dst host {destination} or ip6 proto 41"
    # From one node to the next it is less than a microsecond.
    precision = "--time-stamp-precision=nano"
    return ["tcpdump", "-i", "any", "-n", "-tt", precision, "-l", "--immediate-mode", expression]


def wait_until_listening(captures: dict[str, subprocess.Popen[str]]) -> None:
    """Until every tcpdump says that it listens. Raises LabError when one ends instead."""
    for name, capture in captures.items():
        assert capture.stdout is not None
        said: list[str] = []
        while "listening on" not in "".join(said[-1:]):
            line = capture.stdout.readline()
            if not line:
                raise LabError(f"tcpdump ended in {name}: {''.join(said).strip()}")
            said.append(line)


def _sights(node: str, output: str, destination: IPv6Address) -> Iterator[_Sight]:
    for line in output.splitlines():
        match = _LINE.match(line)
        if match is None or match["destination"] != str(destination):
            continue
        tunnels = tuple(IPv6Address(exit_) for exit_ in _TUNNEL.findall(match["headers"] + " "))
        yield _Sight(int(match["seconds"] + match["nanoseconds"]), node, tunnels)


def _hops(sights: Sequence[_Sight]) -> Iterator[Hop]:
    """The last sight of each visit to a node: how the packet left it."""
    for this, following in zip(sights, [*sights[1:], None], strict=True):
        if following is None or following.node != this.node:
            yield Hop(this.node, this.tunnels)
