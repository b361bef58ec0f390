"""`haha sim`: a whole Home in memory: under every fault that a seed brings, or to plan one."""

from __future__ import annotations

import argparse
from functools import partial

from . import sim_faults, sim_planning


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    sim = verbs.add_parser(
        "sim",
        help="simulate a Home: under faults, to check what must hold; or to plan one",
        description="With --seed or --seeds the protocol's own code runs in virtual time: sites, mobile"
        " routers, BGP and kernels in memory, with packets lost and late, sites cut off, processes killed,"
        " clocks wrong; the same seed is the same simulation, event by event (docs/simulator.md). With"
        " --topology four ways to build a Home (basic NEMO, partitioned, with leaks, with projection) are"
        " compared: hand-over gap, signalling, BGP updates, routes held and path stretch (docs/planning.md).",
    )
    sim.add_argument(
        "--seed", type=_seed, metavar="N", help="of one simulation, or of planning (there 1 unless given)"
    )
    sim_faults.add_options(sim)
    sim_planning.add_options(sim)
    sim.set_defaults(run=partial(_run, sim))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if arguments.topology is not None:
        return sim_planning.run(arguments)
    if (arguments.seed is None) == (arguments.seeds is None):
        parser.error("give one of --seed, --seeds and --topology")
    return sim_faults.run(arguments)


def _seed(text: str) -> int:
    return sim_planning.whole(text, 0, 2**63 - 1)
