"""`haha drain`: take a Home Agent out of service, without anybody losing packets."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from ..agent.control import ControlError, ask
from ..agent.draining import DEFAULT_RATE, HIGHEST_RATE
from .daemon import failed

_POLL = 0.5
"""Seconds between two questions to the agent."""
_SILENT = 10.0
"""Seconds that an agent may be gone, as when it is restarted."""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    drain = verbs.add_parser(
        "drain",
        help="take a Home Agent out of service, or back into it",
        description="Has the Home Agent of the run directory leave Home to the others, and tell the mobile"
        " routers that are bound there to bind elsewhere, one after the other. Until they have left they are"
        " served. It stays out of service, restarts included, until --cancel.",
    )
    drain.add_argument(
        "--run-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="the run directory of the Home Agent's agent",
    )
    drain.add_argument(
        "--rate",
        type=float,
        default=DEFAULT_RATE,
        metavar="N",
        help=f"mobile routers told a second (default {DEFAULT_RATE:g}, RFC 5142; at most {HIGHEST_RATE:g})",
    )
    drain.add_argument(
        "--wait",
        action="store_true",
        help="until everybody has left, or who has not will not: then exit status 1",
    )
    drain.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help="with --wait: no longer than these seconds",
    )
    drain.add_argument("--cancel", action="store_true", help="back into service, at once")
    drain.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.timeout is not None and not arguments.wait:
        return failed("--timeout goes with --wait")
    if arguments.cancel and arguments.wait:
        return failed("--cancel is done at once: there is nothing to wait for")
    wanted: dict[str, Any] = {"cancel": True} if arguments.cancel else {"rate": arguments.rate}
    try:
        (row,) = ask(arguments.run_dir, "drain", request="do", **wanted)
        if arguments.wait:
            row = _wait(arguments.run_dir, row, arguments.timeout)
    except ControlError as error:
        return failed(str(error))
    print("\n".join(told(row)))
    return 1 if arguments.wait and row["state"] != "drained" else 0


def _wait(run_dir: Path, row: dict[str, Any], timeout: float | None) -> dict[str, Any]:
    """The last row, after a line for each step. Raises ControlError when the agent is gone."""
    ends = time.monotonic() + timeout if timeout is not None else None
    heard, left = time.monotonic(), -1
    while row["state"] == "draining" and not row["settled"]:
        now = time.monotonic()
        if ends is not None and now >= ends:
            break
        if row["bound_here"] != left:
            left = row["bound_here"]
            print(f"{left} bound here, {row['not_told_yet']} of them not told yet", flush=True)
        time.sleep(_POLL)
        try:
            (row,) = ask(run_dir, "drain")
            heard = now
        except ControlError:
            if now - heard > _SILENT:
                raise
    return row


def told(row: dict[str, Any]) -> list[str]:
    """How far it is, in lines."""
    if row["state"] == "in service":
        return ["in service"]
    lines = [f"{row['state']}: {row['bound_here']} bindings"]
    if row["state"] == "draining":
        lines[0] += f", {row['not_told_yet']} not told yet, {row['nowhere_to_go']} with nowhere to go"
    lines += [f"stays: {one}" for one in row["stay"]]
    return lines + ([f"note: {row['note']}"] if row["note"] else [])
