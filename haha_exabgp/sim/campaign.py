"""Many seeds on all cores, and what is needed of one that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from .simulation import Result, Simulation
from .violation import Invariant

EVENTS = 20_000
"""Of one seed, unless said otherwise: three storms or so."""


def run_seed(seed: int, events: int = EVENTS, without: frozenset[int] = frozenset()) -> Result:
    """One simulation; `without` are numbers of faults that are left out."""
    return Simulation(seed, without=without).run(events)


def run_seeds(seeds: Sequence[int], events: int = EVENTS, processes: int | None = None) -> Iterator[Result]:
    """One after the other, in the order given; `processes`: all cores unless said otherwise."""
    if processes == 1:
        yield from map(partial(run_seed, events=events), seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(partial(run_seed, events=events), seeds, chunksize=4)


def shrink(failed: Result, invariant: Invariant, events: int) -> Result:
    """The same failure with as few faults as can be had by leaving out one after the other; the last first,
    for what comes after the failure is not needed at all."""
    without = failed.without
    for fault in reversed(failed.faults):
        again = run_seed(failed.seed, events, without | {fault.number})
        if again.failure is not None and again.failure.invariant is invariant:
            failed, without = again, without | {fault.number}
    return failed
