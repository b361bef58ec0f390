"""The simulator of `haha sim`: a whole Home in memory, under every fault that a seed brings."""

from __future__ import annotations

import argparse
import time

from ..sim.campaign import EVENTS, run_seeds, shrink
from ..sim.simulation import Result, Simulation


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the simulator takes on the command line, beside `--seed`."""
    faults = parser.add_argument_group("faults")
    faults.add_argument("--seeds", type=_range, metavar="A-B", help="many simulations, on all cores")
    faults.add_argument("--events", type=int, default=EVENTS, help="of each seed (default: %(default)s)")
    faults.add_argument("--trace", action="store_true", help="with --seed: print everything that happens")
    faults.add_argument(
        "--without", type=_numbers, default=frozenset(), metavar="N,N", help="leave faults out"
    )
    faults.add_argument("--shrink", action="store_true", help="with --seed: look for the faults that matter")


def run(arguments: argparse.Namespace) -> int:
    """One seed, or many."""
    if arguments.seeds is not None:
        return _run_many(arguments.seeds, arguments.events)
    sink = print if arguments.trace else None
    began = time.process_time()
    result = Simulation(arguments.seed, without=arguments.without, sink=sink).run(arguments.events)
    seconds = time.process_time() - began
    if result.failure is not None and arguments.shrink:
        result = shrink(result, result.failure.invariant, arguments.events)
    if result.failure is not None:
        print("\n".join(told(result, arguments.events)))
        return 1
    print(
        f"seed {result.seed}: {result.events} events in {result.seconds:.0f} s of virtual time,"
        f" {len(result.faults)} faults; all holds; {result.events / seconds:.0f} events/s of CPU time"
    )
    return 0


def _run_many(seeds: range, events: int) -> int:
    began = time.perf_counter()
    failed: list[int] = []
    done = 0
    worst: dict[str, float] = {}
    for result in run_seeds(seeds, events):
        done += result.events
        worst |= {name: max(longest, worst.get(name, 0.0)) for name, longest in result.worst.items()}
        if result.failure is not None:
            failed.append(result.seed)
            print(f"seed {result.seed}: {result.failure.text.splitlines()[-1]}")
    seconds = time.perf_counter() - began
    print(f"{len(seeds)} seeds, {done} events, {done / seconds:.0f} events/s; {len(failed)} failed")
    for name, longest in sorted(worst.items()):
        print(f"longest seen, {name}: {longest:.1f} s")
    if failed:
        print(f"replay: haha sim --seed {failed[0]} --events {events}")
    return 1 if failed else 0


def told(result: Result, events: int) -> list[str]:
    """A failure, for people: what was left, what happened, what is wrong, how to have it again."""
    failure = result.failure
    assert failure is not None
    again = f"haha sim --seed {result.seed} --events {events}"
    if result.without:
        again += f" --without {','.join(map(str, sorted(result.without)))}"
    faults = [str(fault) for fault in result.faults if fault.start <= failure.time]
    return [
        *failure.story,
        f"faults till then: {len(faults)}",
        *faults,
        f"seed {result.seed}, at {failure.time:.6f}, event {result.events}: {failure.text}",
        f"replay: {again}",
    ]


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    try:
        seeds = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of seeds such as 1-1000") from None
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} has no seed in it; write the lower one first")
    return seeds


def _numbers(text: str) -> frozenset[int]:
    try:
        return frozenset(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 3,5") from None
