"""How long no packets come in a hand-over, at several distances between the sites, against the formula.

    sudo .venv/bin/python -m tests.bench.handover_gap [ROUNDS [RTT_MS …]]      5 rounds; 0 20 100 200

Three sites, each with an access network at its door; between any two of them lies the round trip that was
asked for (`delayed_links`), checked by ping. cn1 sends 200 packets a second to the host behind the mobile
router, which is unplugged here and plugged in there: so it always loses what comes while it is nowhere, and
what was on its way to the old place.

The formula is about the time from the move's first Binding Update to the first packet by the new way. near:
round trip from the mobile router to the Home Agent of the site where it is now; far: to another one; between:
of two Home Agents. A stream of 200 a second shows that first packet 0 to 5 ms late.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab

from .delayed_links import InternetLinks
from .lab_home import (
    LFN,
    MOBILE_ROUTER,
    SECONDS,
    Listener,
    add_access,
    bind_at,
    is_bound,
    lab_of,
    machine,
    outer,
    packet_listener,
    quantile,
    write_home,
)
from .stream import Stream

SITES = 3
RATE = 200
_UNDER_WAY = 0.1
"""Seconds beside the round trip after which a packet that has not come is lost."""
_OVERLAP = 0.5
"""Seconds for which the old way is kept open."""
_UPDATE = "BU"
_SIGNALLING = re.compile(r"IP6 (\S+) > (\S+): .*mobility: (BU|BA status=0) seq#=(\d+)")
_RTT = re.compile(r"= [\d.]+/([\d.]+)/")


@dataclass(frozen=True, slots=True)
class Distances:
    """Round trips by ping, in ms."""

    near: float
    far: float
    between: float


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of move, and what the formula says of it."""

    name: str
    words: str
    formula: Callable[[Distances], float]


DIRECT = Case("primary -> elsewhere: still to the primary", "far", lambda d: d.far)
TO_PROXY = Case("  then to the proxy there", "near + between", lambda d: d.near + d.between)
WITHIN = Case("within a proxy", "near", lambda d: d.near)
PROXIES = Case("proxy -> elsewhere: still to the proxy", "far", lambda d: d.far)
TO_OTHER_PROXY = Case("  then to the other proxy", "near + between", lambda d: d.near + d.between)
RETURN = Case("proxy -> primary, found by discovery", "near", lambda d: d.near)
FIRST = Case("first binding, by a proxy", "near + between", lambda d: d.near + d.between)
CASES = (DIRECT, TO_PROXY, WITHIN, PROXIES, TO_OTHER_PROXY, RETURN, FIRST)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one move. Times in ms; None where there is no such thing."""

    acknowledged: float
    """From the Binding Update on."""
    first_packet: float | None = None
    """From the move's first Binding Update on."""
    silence: float | None = None
    """From the last packet by the old way to the first one by the new way."""
    lost: int | None = None
    """Of those that were sent after the first Binding Update; of a switch, after the first that came."""


class Moves:
    """One lab in which the mobile router moves."""

    def __init__(self, lab: Lab, stream: Stream, signalling: Listener, round_trip: float) -> None:
        self._lab = lab
        self._stream = stream
        self._signalling = signalling
        self._under_way = round_trip / 1000 + _UNDER_WAY

    def distances(self) -> Distances:
        """As they are now, where the mobile router is near site 1."""
        return Distances(
            near=self._ping(MOBILE_ROUTER, outer(1)),
            far=self._ping(MOBILE_ROUTER, outer(2)),
            between=self._ping("ha2", outer(1)),
        )

    def round(self) -> Iterator[tuple[Case, Figures]]:
        """All cases, from site 1 to site 1."""
        for case, access, site, answers, then in (
            (DIRECT, "access2", 2, 1, TO_PROXY),
            (WITHIN, "access2b", 2, 2, None),
            (PROXIES, "access3", 3, 2, TO_OTHER_PROXY),
            (RETURN, "access1", 1, 1, None),
        ):
            began = time.time()
            self._lab.move(MOBILE_ROUTER, access)
            self._settle(began, site)
            yield case, self._move(began, answers)
            if then is not None:
                yield then, self._switch(began, site)
        self._lab.stop(MOBILE_ROUTER, "mr")
        self._lab.move(MOBILE_ROUTER, "access2")
        began = time.time()
        self._lab.start(MOBILE_ROUTER, "mr")
        self._settle(began, 2)
        yield FIRST, replace(self._move(began, 2), silence=None, lost=None)
        began = time.time()
        self._lab.move(MOBILE_ROUTER, "access1")
        self._settle(began, 1)

    def _settle(self, began: float, site: int) -> None:
        """Until bound at a site by what was sent since then, and nothing more comes of it."""

        def done() -> bool:
            return is_bound(self._lab, site) and self._exchange(began, site) is not None

        eventually(done, SECONDS, f"bound at site {site}")
        time.sleep(_OVERLAP + self._under_way)

    def _exchange(self, began: float, site: int) -> tuple[float, float] | None:
        """When the first Binding Update to this site's Home Agent left, and its acknowledgement came."""
        update = None
        for at, source, destination, what, sequence in self._seen(began):
            if update is None and what == _UPDATE and destination == outer(site):
                update = at, sequence
            elif update is not None and (source, sequence) == (outer(site), update[1]):
                return update[0], at
        return None

    def _seen(self, began: float) -> Iterator[tuple[float, str, str, str, str]]:
        for at, line in self._signalling.since(began):
            if match := _SIGNALLING.search(line):
                source, destination, what, sequence = match.groups()
                yield at, source, destination, what, sequence

    def _move(self, began: float, answers: int) -> Figures:
        """What the first Binding Update brought; the acknowledgement is that of this site's Home Agent."""
        first = self._first_update(began)
        (before, _), (came, _) = self._stream.around(first)
        lost = self._lost(self._stream.number_at(first))
        return Figures(self._waited(began, answers), (came - first) * 1e3, (came - before) * 1e3, lost)

    def _switch(self, began: float, answers: int) -> Figures:
        """What came after that, when packets came already."""
        _, (_, number) = self._stream.around(self._first_update(began))
        return Figures(self._waited(began, answers), lost=self._lost(number))

    def _first_update(self, began: float) -> float:
        return next(at for at, _, _, what, _ in self._seen(began) if what == _UPDATE)

    def _waited(self, began: float, site: int) -> float:
        exchange = self._exchange(began, site)
        assert exchange is not None, f"an exchange with ha{site}"
        return (exchange[1] - exchange[0]) * 1e3

    def _lost(self, first: int) -> int:
        """From this number on, of those that must have come by now."""
        return self._stream.lost(first, self._stream.number_at(time.time() - self._under_way))

    def _ping(self, node: str, address: str) -> float:
        done = self._lab.exec(node, ["ping", "-6", "-q", "-c", "10", "-i", "0.05", address], check=True)
        match = _RTT.search(done.stdout)
        assert match is not None, done.stdout
        return float(match[1])


Measured = dict[float, tuple[Distances, dict[Case, list[Figures]]]]
"""By the round trip that was asked for, in ms."""


def measure(rounds: int, round_trips: list[float]) -> Measured:
    """So many rounds at each distance."""
    measured: Measured = {}
    with tempfile.TemporaryDirectory(prefix="haha-bench-") as directory:
        path = write_home(Path(directory), "gap", SITES)
        with lab_of(path, SITES) as lab, InternetLinks(lab) as links:
            add_access(lab, "access2b", 2)
            signalling = packet_listener(lab, MOBILE_ROUTER, "wan0", "ip6 proto 60 or ip6 proto 43")
            bind_at(lab, 1)
            with Stream(lab, "cn1", f"{MOBILE_ROUTER}-lfn", LFN, RATE) as stream:
                for asked in round_trips:
                    links.set_round_trip(asked)
                    moves = Moves(lab, stream, signalling, asked)
                    by_case: dict[Case, list[Figures]] = {case: [] for case in CASES}
                    measured[asked] = moves.distances(), by_case
                    for number in range(rounds):
                        for case, figures in moves.round():
                            by_case[case].append(figures)
                        if sys.stdout.isatty():
                            print(f"\r{asked:g} ms: round {number + 1} of {rounds} ", end="", flush=True)
    return measured


def _table(title: str, measured: Measured, cell: Callable[[float, list[Figures]], str]) -> None:
    """A row a case, a column a round trip; `cell` gets what the formula says, and the figures."""
    print(f"\n| {title} | " + " | ".join(f"{asked:g} ms" for asked in measured) + " |")
    print("|---|" + "---|" * len(measured))
    for case in CASES:
        cells = [cell(case.formula(distances), by_case[case]) for distances, by_case in measured.values()]
        if any(cells):
            print(f"| {case.name}: {case.words} | " + " | ".join(cells) + " |")


def _against(formula: float, values: list[float | None]) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return ""
    median = statistics.median(there)
    return f"{median:.1f} / {quantile(there, 0.95):.1f} = {formula:.1f} + {median - formula:.1f}"


def _lost(figures: list[Figures]) -> str:
    lost = [one.lost for one in figures if one.lost is not None]
    return f"{statistics.median(lost):g} / {max(lost)}" if lost else ""


def _silence(figures: list[Figures]) -> str:
    silences = [one.silence for one in figures if one.silence is not None]
    return f"{statistics.median(silences):.0f} / {max(silences):.0f}" if silences else ""


def main(rounds: int, round_trips: list[float]) -> None:
    """Measure and print."""
    began = time.monotonic()
    measured = measure(rounds, round_trips)
    print(f"\r{rounds} rounds in {time.monotonic() - began:.0f} s; {machine()}")
    print("round trips by ping, near / far / between:", end="")
    for distances, _ in measured.values():
        print(f" {distances.near:.2f} / {distances.far:.2f} / {distances.between:.2f};", end="")
    print("\nms: median / 95 % = formula + what the median has beyond it")
    _table(
        "Binding Update -> first packet",
        measured,
        lambda f, all_: _against(f, [o.first_packet for o in all_]),
    )
    _table(
        "Binding Update -> acknowledgement",
        measured,
        lambda f, all_: _against(f, [o.acknowledged for o in all_]),
    )
    print(f"\nof {RATE} packets a second, median / most:")
    _table("lost of those sent after the Binding Update", measured, lambda _, all_: _lost(all_))
    print("\nms, median / most, with the time without a link and the address of the new place:")
    _table("from the last packet before to the first one after", measured, lambda _, all_: _silence(all_))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 5,
        [float(one) for one in sys.argv[2:]] or [0, 20, 100, 200],
    )
