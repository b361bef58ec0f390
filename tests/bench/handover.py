"""How long a hand-over takes: the same moves again and again in the lab, medians and extremes.

    sudo .venv/bin/python tests/bench/handover.py [ROUNDS] [CONFIG]

A move is from the primary site's access network to another site's. Measured each time: Binding Update to
acknowledgement at the mobile router (direct, and through the proxy), Binding Update at the proxy to the
leaked route in the other kernel, and echo requests lost of a stream of 100 a second.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.lab.demo import Demo
from haha_exabgp.lab.lab import Lab
from tests.lab.home_world import write_home


def measure(config_path: Path, rounds: int) -> dict[str, list[float]]:
    """The figures of every round, by name."""
    figures: dict[str, list[float]] = {}
    home = load(config_path, no_key)
    list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
    with Lab.up(config_path, name="handover", plugged=False) as lab:
        demo = Demo(lab, home.config, lambda line: None, lambda: None)
        demo.sites_come_up()
        for number in range(1, rounds + 1):
            demo.attach()
            demo.move()
            for name, value in demo.figures.items():
                figures.setdefault(name, []).append(value)
            print(f"round {number}: {', '.join(f'{k} {v:.1f}' for k, v in demo.figures.items())}", flush=True)
    return figures


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        # Nobody is damped in it, however often it moves.
        default = write_home(Path(directory), "handover")
        figures = measure(Path(sys.argv[2]) if len(sys.argv) > 2 else default, rounds)
    print(f"\n{rounds} rounds in {time.monotonic() - began:.0f} s")
    print(f"{'':28}{'median':>9}{'least':>9}{'most':>9}")
    for name, values in figures.items():
        row = (statistics.median(values), min(values), max(values))
        print(f"{name:28}" + "".join(f"{value:9.1f}" for value in row))


if __name__ == "__main__":
    main()
