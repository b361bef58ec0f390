"""`haha sim`: a Home in the mind of one process."""

from __future__ import annotations

import argparse

from . import sim_planning


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    sim = verbs.add_parser(
        "sim",
        help="simulate: what a world-wide Home costs and gains",
        description="Compares four ways to build a Home (basic NEMO, partitioned, with leaks, with"
        " projection): hand-over gap, signalling, BGP updates, routes held and path stretch.",
    )
    sim_planning.add_options(sim)
    sim.set_defaults(run=sim_planning.run)
