"""Packets lost in moves between two proxies, the mobile router's primary at a third site.

    sudo .venv/bin/python -m tests.bench.moves [MOVES] [--leak always|never] [--broken] [--round-trip MS]

The mobile router has two uplinks. It goes to and fro between site 2 and site 3; correspondents near all three
sites and a host behind it send each other 200 packets/s each way. Printed for each move and each way: packets
sent and lost, duplicates, and the longest time between two that arrived. With `--broken` the old access is
dead before the new one is plugged in; with `--round-trip` sites are so far apart.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.lab.home_world import home_lab, write_home
from tests.lab.moves_world import CORRESPONDENTS, begin_at, move, set_leaks
from tests.lab.streams import Counted

from .delayed_links import InternetLinks

Way = tuple[str, str]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("moves", type=int, nargs="?", default=20)
    parser.add_argument("--leak", choices=("always", "never"), default="always")
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--round-trip", type=float, default=0.0, metavar="MS")
    arguments = parser.parse_args()
    found: dict[Way, list[Counted]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        path = write_home(Path(directory), "moves", config="three-sites.yaml")
        with home_lab(path) as lab, InternetLinks(lab) as links:
            begin_at(lab, 2)
            if arguments.round_trip:
                links.set_round_trip(arguments.round_trip)
            set_leaks(lab, path, arguments.leak)
            for number in range(arguments.moves):
                here, there = (2, 3) if number % 2 == 0 else (3, 2)
                begin_at(lab, here)
                counted = move(lab, there, old_access_works=not arguments.broken)
                for way, one in counted.items():
                    found.setdefault(way, []).append(one)
                print(f"move {number + 1}, site {here} to {there}: {_told(counted)}", flush=True)
    print(f"\n{arguments.moves} moves in {time.monotonic() - began:.0f} s, leaks: {arguments.leak}")
    columns = ("sent", "lost", "duplicates", "lost in a move, most", "longest gap, median and most, ms")
    print(f"{'':16}" + "  ".join(columns))
    for (source, to), ones in found.items():
        sent, lost = sum(one.sent for one in ones), sum(len(one.lost) for one in ones)
        gaps = [one.longest_gap * 1000 for one in ones]
        figures = (sent, lost, sum(one.duplicates for one in ones), max(len(one.lost) for one in ones))
        row = "".join(f"{one:>{len(name) + 2}}" for one, name in zip(figures, columns, strict=False))
        print(f"{source + ' > ' + to:14}{row}  {statistics.median(gaps):.0f} {max(gaps):.0f}")


def _told(counted: dict[Way, Counted]) -> str:
    to = [counted[one, "mr1-lfn"] for one in CORRESPONDENTS]
    back = [counted["mr1-lfn", one] for one in CORRESPONDENTS]
    return "; ".join(
        f"{way} lost {[len(one.lost) for one in ones]}, twice {sum(one.duplicates for one in ones)},"
        f" gap {max(one.longest_gap for one in ones) * 1000:.0f} ms"
        for way, ones in (("to it", to), ("from it", back))
    )


if __name__ == "__main__":
    main()
