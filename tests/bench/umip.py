"""A Home Agent inside user-mode Linux against UMIP's, a daemon in C that was measured there too.

    sudo .venv/bin/python -m tests.bench.umip [--store DIRECTORY] [--windows 1,64,512]

Boots user-mode Linux and measures in there, with so many Binding Updates unanswered at a time as each window
says. UMIP's figures are of the same kernel, each at the window nearest to ours for which there is one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.uml.machine import INSIDE, ROOT

from .home_agent import Bench, bench

_MOBILE_ROUTERS = 5000
_ROUNDS = 7
_BIG = 512
_SHORT = 1
"""The window of the C daemon's figures that are of one at a time."""
_TRUTH = """\
One CPU, shared by the Home Agent and the mobile routers; a system call takes 10 to 25 us there, reading a
clock too. Neither interrupts the other when a packet wakes it (SCHED_BATCH), as on two machines.
The guard is a table of the bridge family that judges nothing: only changes of its sets cost what they cost.
Refreshes and changes of care-of address: the median of {rounds} rounds, and the best, which has lost the
least to others on this machine. The rest happens once.
"Answered unread" is a process that answers and does nothing else: what the rest leaves.
UMIP: new bindings wait for duplicate address detection, 1 s each; it keeps nothing on disk.
"""


class Umip(NamedTuple):
    """What UMIP's Home Agent did: Binding Updates a second, milliseconds until the acknowledgement."""

    rate: float
    p50: float | None = None
    p99: float | None = None


_UMIP = {
    ("new, 0-500", _SHORT): Umip(31),
    ("new, 500-1000", _SHORT): Umip(30),
    ("new, 2500-5000", _SHORT): Umip(15),
    ("refresh", 1): Umip(108, 10.8, 20.7),
    ("refresh", 64): Umip(184, 334, 733),
    ("change of care-of", 1): Umip(99, 9.9, 16),
    ("change of care-of", 64): Umip(99, 590, 1644),
    ("de-registration", _SHORT): Umip(58, 17.5, 24),
}
"""By case and window. New bindings were measured with windows of 256 to 512."""


def _umip(name: str, window: int) -> Umip | None:
    return _UMIP.get((name, min(window, 64))) or _UMIP.get((name, _SHORT))


def _show(name: str, window: int, rounds: list[dict[str, Any]]) -> None:
    for figures in rounds:
        if figures["answered"] != figures["sent"] or set(figures["statuses"]) != {"0"}:
            lost = figures["sent"] - figures["answered"]
            print(f"   {lost} unanswered, statuses {figures['statuses']}")
    if not all(one["answered"] for one in rounds):
        raise SystemExit(f"   {name}: the Home Agent answers nothing")
    rate, p50, p99 = (statistics.median(one[which] for one in rounds) for which in ("rate", "p50", "p99"))
    best = max(one["rate"] for one in rounds)
    ratio = best_ratio = theirs = ""
    umip = _umip(name, window)
    if umip is not None:
        ratio, best_ratio, theirs = (
            f"{rate / umip.rate:.1f}x",
            f"{best / umip.rate:.1f}x",
            f"{umip.rate:5.0f}",
        )
        if umip.p50 is not None:
            theirs += f" {umip.p50:8.1f} {umip.p99:8.1f}"
    print(
        f"   {name:18} {window:6} {rate:9,.0f} {p50 * 1e3:8.2f} {p99 * 1e3:8.2f} {ratio:>8}"
        f" {best:9,.0f} {best_ratio:>8}   {theirs}",
        flush=True,
    )


def _measure(one: Bench, window: int) -> None:
    first = 0
    for end, shown in ((500, True), (1000, True), (2500, False), (5000, True)):
        new = one.ask(do="run", first=first, count=end - first, place=0, window=window if shown else _BIG)
        if shown:
            _show(f"new, {first}-{end}", window, [new])
        first = end
    some = _some(window)
    moves, refreshes = [], []
    for place in range(1, _ROUNDS + 1):
        moves.append(one.ask(**some, place=place))
        refreshes.append(one.ask(**some, place=place))
    _show("refresh", window, refreshes)
    _show("change of care-of", window, moves)
    _show("de-registration", window, [one.ask(**some, place=_ROUNDS, lifetime=0)])


def _some(window: int) -> dict[str, Any]:
    """One round: a second or so, of half of all bindings at most."""
    count = _MOBILE_ROUTERS // 2 if window > 1 else _MOBILE_ROUTERS // 10
    return {"do": "run", "first": _MOBILE_ROUTERS // 2, "count": count, "window": window}


def _inside(store: Path | None, windows: list[int]) -> None:
    print(_TRUTH.format(rounds=_ROUNDS))
    kind = subprocess.run(
        ("stat", "-f", "-c", "%T", str(store or "/tmp")), capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"   store on {store or '/tmp'} ({kind})")
    print(
        f"   {'':18} window      BU/s   p50 ms   p99 ms    ratio      best    ratio   UMIP's BU/s, p50, p99"
    )
    for window in windows:
        with bench(_MOBILE_ROUTERS, store) as one:
            _measure(one, window)
        with bench(_MOBILE_ROUTERS, store, "tests.bench.echo") as one:
            _show("answered unread", window, [one.ask(**_some(window), place=0) for _ in range(_ROUNDS)])


def main() -> int:
    """Outside, boot; inside, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.umip", description=__doc__)
    parser.add_argument("--store", type=Path, help="where the store of bindings is; /run there is a tmpfs")
    parser.add_argument("--windows", default="1,64,512", help="default: 1,64,512")
    arguments = parser.parse_args()
    if INSIDE in os.environ:
        _inside(arguments.store, [int(window) for window in arguments.windows.split(",")])
        return 0
    print(f"load of this machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs", flush=True)
    command = [sys.executable, "-m", "tests.uml.run", "--timeout", "900", "--memory", "1G"]
    return subprocess.run(
        [*command, "-m", "tests.bench.umip", *sys.argv[1:]], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
