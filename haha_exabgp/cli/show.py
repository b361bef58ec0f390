"""`haha show`: what a running daemon knows, as a table for people or JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from ..agent.control import ControlError, Rows, ask
from .daemon import failed

_VIEWS = {
    "bindings": "mobile routers bound here: where, since when, through whom",
    "routes": "routes between sites: in the kernel, learned, announced",
    "peers": "BGP sessions to the other Home Agents and the site's router",
    "tunnels": "tunnels and what is behind them, as the kernel has them",
    "sites": "the sites of this Home and whether they are reached",
    "projections": "routes on demand: from here, and to here for other Home Agents",
    "counters": "what was accepted, refused and dropped, by reason",
    "drain": "whether it is in service; else how far the drain is, and who stays for what reason",
    "mobile-router": "one, or each bound or refused here: where, since when, through whom, why refused last",
}


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    lines = "\n".join(f"  {name:14} {text}" for name, text in _VIEWS.items())
    show = verbs.add_parser(
        "show",
        help="show what a running daemon knows",
        description=f"what to show:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("what", choices=_VIEWS, metavar="WHAT")
    show.add_argument("of", nargs="?", metavar="MOBILE-ROUTER", help="its name or home address")
    show.add_argument("--run-dir", type=Path, required=True, metavar="DIR", help="the daemon's run directory")
    show.add_argument("--json", action="store_true", help="for programs: a list of objects")
    show.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.of is not None and arguments.what != "mobile-router":
        return failed(f"{arguments.what} are shown all at once; one by name: haha show mobile-router")
    try:
        of = {} if arguments.of is None else {"of": arguments.of}
        rows = ask(arguments.run_dir, arguments.what, **of)
    except ControlError as error:
        return failed(str(error))
    if arguments.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    else:
        print_table(rows)
    return 0


def print_table(rows: Rows) -> None:
    """Rows of like keys as a table. A line wider than the terminal is the terminal's to break: addresses
    stay whole, to be copied."""
    if not rows:
        print("none")
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[column.replace("_", " ") for column in columns]]
    lines += [[_cell(column, row.get(column, "")) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    title = next(texts)
    print(f"\033[1m{title}\033[0m" if sys.stdout.isatty() else title)
    for text in texts:
        print(text)


def _cell(column: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if column == "since" and value:
        return datetime.fromtimestamp(value).isoformat(" ", "seconds")
    return str(value)
