"""`haha switch`: send mobile routers from one Home Agent to another (RFC 5142)."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..agent.control import ControlError, ask
from .daemon import failed

_SHOWN = 10
"""Names in the answer."""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    switch = verbs.add_parser(
        "switch",
        help="send mobile routers to another Home Agent",
        description="Has the Home Agent of the run directory tell mobile routers that are bound there to bind"
        " elsewhere: before it is taken out of service, or because another is closer. One a second is told."
        " Until they have left they are served, for as long as their bindings were granted.",
    )
    switch.add_argument(
        "mobile_routers",
        nargs="*",
        metavar="MOBILE-ROUTER",
        help="its name or home address; several if wanted",
    )
    switch.add_argument("--all", action="store_true", help="all mobile routers that are bound there")
    what = switch.add_mutually_exclusive_group()
    what.add_argument(
        "--to",
        nargs="+",
        default=[],
        metavar="HOME-AGENT",
        help="where to, best first: names or outer addresses (default: where their discovery finds)",
    )
    what.add_argument("--stay", action="store_true", help="call it off")
    switch.add_argument(
        "--run-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="the run directory of the Home Agent's agent",
    )
    switch.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if bool(arguments.mobile_routers) == arguments.all:
        return failed("name the mobile routers, or write --all for all that are bound there")
    try:
        (row,) = ask(
            arguments.run_dir,
            "switch",
            request="do",
            mobile_routers=arguments.mobile_routers,
            to=arguments.to,
            everyone=arguments.all,
            stay=arguments.stay,
        )
    except ControlError as error:
        return failed(str(error))
    print(told(row["mobile_routers"], row["to"], arguments.stay) + (row["note"] and f"; {row['note']}"))
    return 0


def told(names: list[str], towards: str, stay: bool) -> str:
    """Whom it concerns, in one line."""
    if not names:
        return "nobody had been told to switch" if stay else "nobody is told"
    who = ", ".join(names[:_SHOWN])
    if len(names) > _SHOWN:
        who += f" and {len(names) - _SHOWN} more"
    if stay:
        return f"to stay: {who}"
    return f"to switch to {towards or 'whom discovery finds'}: {who}"
