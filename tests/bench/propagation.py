"""How long it takes until a move is in the kernels of all other sites.

    sudo .venv/bin/python -m tests.bench.propagation [SITES [ROUNDS]]      3 sites, 100 rounds

A mobile router of site 1 goes round the other sites, each of which binds it by proxy and leaks its network.
Each time: when the Binding Update reached the proxy and the acknowledgement left (tcpdump there), and when
each other site's kernel told of its route to the new place (`ip monitor`) (site 1 too). One clock for all.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab

from .lab_home import (
    MNP,
    SECONDS,
    Listener,
    bind_at,
    lab_of,
    leaked_to,
    machine,
    outer,
    packet_listener,
    quantile,
    route_listener,
    write_home,
)

_UPDATE, _ACKNOWLEDGEMENT = "mobility: BU", "mobility: BA"


@dataclass(frozen=True, slots=True)
class Move:
    """Times in seconds from the Binding Update on."""

    acknowledged: float
    kernels: tuple[float, ...]
    """Of each other site."""

    @property
    def last(self) -> float:
        return max(self.kernels)


class Watch:
    """What is seen at every site."""

    def __init__(self, lab: Lab, sites: int) -> None:
        self._routes = {site: route_listener(lab, f"ha{site}") for site in range(1, sites + 1)}
        self._packets = {site: self._signalling(lab, site) for site in range(1, sites + 1)}

    @staticmethod
    def _signalling(lab: Lab, site: int) -> Listener:
        """Between the Home Agent and mobile routers; Home Agents talk inside tunnels."""
        return packet_listener(lab, f"ha{site}", "lan0", "ip6 proto 60 or ip6 proto 43")

    def move_to(self, site: int, began: float) -> Move | None:
        """The move to a site, if all of it has been seen; None before that."""
        packets = list(self._packets[site].since(began))
        update = next((at for at, text in packets if _UPDATE in text), None)
        if update is None:
            return None
        answers = (at for at, text in packets if _ACKNOWLEDGEMENT in text and at >= update)
        acknowledged = next(answers, None)
        kernels = [
            next((at for at, line in listener.since(update) if leaked_to(line) == outer(site)), None)
            for other, listener in self._routes.items()
            if other != site
        ]
        seen = [at - update for at in kernels if at is not None]
        if acknowledged is None or len(seen) < len(kernels):
            return None
        return Move(acknowledged - update, tuple(seen))


def measure(sites: int, rounds: int) -> list[Move]:
    """So many moves, after one that does not count."""
    with tempfile.TemporaryDirectory(prefix="haha-bench-") as directory:
        path = write_home(Path(directory), "propagation", sites)
        with lab_of(path, sites) as lab:
            watch = Watch(lab, sites)
            bind_at(lab, 1)
            moves = []
            for number in range(rounds + 1):
                site = 2 + number % (sites - 1)
                began = time.time()
                bind_at(lab, site)
                what = f"the way to {MNP} by ha{site} in every kernel"
                move: Move = eventually(lambda s=site, b=began: watch.move_to(s, b), SECONDS, what)
                moves.append(move)
                if sys.stdout.isatty():
                    print(f"\r{number} of {rounds} moves", end="", flush=True)
            return moves[1:]


_ROWS: tuple[tuple[str, Callable[[Move], Sequence[float]]], ...] = (
    ("Binding Update -> route in the kernel of every other site", lambda move: (move.last,)),
    ("  Binding Update -> acknowledgement leaves the proxy", lambda move: (move.acknowledged,)),
    ("  acknowledgement -> last kernel", lambda move: (move.last - move.acknowledged,)),
    ("Binding Update -> kernel of any one site", lambda move: move.kernels),
)


def main(sites: int, rounds: int) -> None:
    """Measure and print."""
    if sites < 3:
        raise SystemExit("a proxy can move a mobile router to another one with 3 sites or more")
    began = time.monotonic()
    moves = measure(sites, rounds)
    print(
        f"\r{sites} sites, {rounds} moves between proxies in {time.monotonic() - began:.0f} s; {machine()}\n"
    )
    print(f"| ms, {sites} sites | p50 | p90 | p99 | most |\n|---|---|---|---|---|")
    for name, of in _ROWS:
        values = [value * 1e3 for move in moves for value in of(move)]
        shown = (quantile(values, 0.5), quantile(values, 0.9), quantile(values, 0.99), max(values))
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in shown) + " |")


if __name__ == "__main__":
    asked = [int(one) for one in sys.argv[1:]]
    main(asked[0] if asked else 3, asked[1] if len(asked) > 1 else 100)
