"""Nothing breaks under the seeds of today, nor under fresh ones; and what is broken on purpose is found."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path

import pytest

from haha_exabgp.cli.sim_faults import told
from haha_exabgp.sim.campaign import EVENTS, run_seed, shrink
from haha_exabgp.sim.scenario import FaultKind
from haha_exabgp.sim.simulation import Result, Simulation
from tests.sim.planted import PLANTED, WHERE, no_discard_route, no_revocation, proxy_before_primary

ROOT = Path(__file__).parents[2]
FIXED = range(1, 31)
FRESH = [int.from_bytes(os.urandom(4), "big") for _ in range(8)]
SATELLITES, SHARED = 50, 34
"""Seeds of Homes with satellites, two Home Agents in a site and routes on demand; with a shared partition."""
SEEDS_FOR_A_BUG = 60
"""Within so many seeds each planted bug is found."""


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [run_seed(seed) for seed in FIXED]


def holds(result: Result) -> None:
    if result.failure is not None:
        pytest.fail("\n".join(told(result, EVENTS)), pytrace=False)


@pytest.mark.requirement(
    "B-3", "B-5", "B-6", "B-8", "E-2", "E-4", "F-3", "F-5", "H-3", "H-4", "H-5", "H-6", "H-7", "H-9", "H-12"
)
@pytest.mark.requirement("K-1", "K-3", "K-4", "K-5", "L-1", "L-6", "L-7", "F-1", "F-4", "F-6", "E-6")
@pytest.mark.requirement("D-3", "F-2", "F-7", "F-8", "I-5", "K-6", "O-9", "O-10", "Q-5", "Q-6")
def test_all_holds_under_the_fixed_seeds(results):
    for result in results:
        holds(result)


@pytest.mark.parametrize("seed", FRESH)
def test_all_holds_under_a_fresh_seed(seed):
    """Another one each time; the seed is in the name of the test, and in what a failure prints."""
    holds(run_seed(seed))


def test_the_fixed_seeds_bring_every_fault_and_thousands_of_bindings(results):
    assert {fault.kind for result in results for fault in result.faults} == set(FaultKind)
    assert sum(result.events for result in results) == len(FIXED) * EVENTS
    assert sum(result.bindings for result in results) > 3000


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug):
    can_show = WHERE.get(bug, lambda home: True)
    seeds = (seed for seed in count(1) if can_show(Simulation(seed).home))
    for seed in islice(seeds, SEEDS_FOR_A_BUG):
        with bug():
            failure = run_seed(seed).failure
        if failure is not None:
            assert failure.invariant in PLANTED[bug], failure.text
            return
    pytest.fail(f"not found within {SEEDS_FOR_A_BUG} seeds: {bug.__doc__}")


@pytest.mark.parametrize("seed", [SATELLITES, SHARED])
def test_the_same_seed_is_the_same_simulation_octet_by_octet(seed):
    """In another process, where hashes are other ones, too."""
    command = (sys.executable, "-m", "haha_exabgp", "sim", "--seed", str(seed), "--events", "6000", "--trace")
    traces = [
        subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout.splitlines()[:-1]
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert len(traces[0]) > 300


def test_a_failure_is_told_with_its_story_and_comes_again():
    with proxy_before_primary():
        first, again = run_seed(3), run_seed(3)
    assert first == again
    assert first.failure is not None
    *story, verdict, replay = told(first, EVENTS)
    assert str(first.failure.invariant) in verdict
    assert replay == "replay: haha sim --seed 3 --events 20000"
    assert any("BU seq" in line for line in story) and any("attached in region" in line for line in story)


def test_faults_that_do_not_matter_are_left_out():
    """Without a discard route no fault is needed at all for packets to circle."""
    with no_discard_route():
        failed = next(result for seed in FIXED if (result := run_seed(seed)).failure)
        assert failed.failure is not None
        smallest = shrink(failed, failed.failure.invariant, EVENTS)
    assert smallest.failure is not None
    assert smallest.failure.invariant is failed.failure.invariant
    assert len(smallest.faults) < len(failed.faults)
    assert "--without" in told(smallest, EVENTS)[-1]


def test_a_fault_that_is_left_out_leaves_the_others_as_they_are():
    whole, part = Simulation(4).run(EVENTS), Simulation(4, without=frozenset({1})).run(EVENTS)
    assert [one for one in whole.faults if one.number != 1][:3] == list(part.faults[:3])


def test_without_faults_and_with_a_bug_it_still_fails():
    """Faults are not what is judged: a bug that shows without them is found without them."""
    with no_revocation():
        result = Simulation(1, without=frozenset(range(1, 1000))).run(EVENTS)
    assert result.faults == ()
    assert result.failure is not None


def test_it_is_fast_enough():
    began = time.process_time()
    result = run_seed(1)
    assert result.events / (time.process_time() - began) > 20_000
