"""`haha reload`: have a running agent read its configuration file, keys and database again."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..agent.control import ControlError, ask
from .daemon import failed


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    reload = verbs.add_parser(
        "reload",
        help="have an agent read mobile routers and keys again",
        description="Mobile routers and their keys are read again from the configuration file and the"
        " database; SIGHUP does the same. With a mistake in them everything stays as it is. What stands in"
        " home and sites takes a restart.",
    )
    reload.add_argument(
        "--run-dir", type=Path, required=True, metavar="DIR", help="the agent's run directory"
    )
    reload.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        (row,) = ask(arguments.run_dir, "reload", request="do")
    except ControlError as error:
        return failed(str(error))
    print(f"policies changed: {row['policies_changed']}; mobile routers: {row['mobile_routers']}")
    if row["note"]:
        print(row["note"])
    return 0
