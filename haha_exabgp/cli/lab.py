"""`haha lab …`: a whole Home in network namespaces of this machine."""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from ..config.keys import no_key
from ..config.loader import load
from ..lab.build import remove
from ..lab.demo import Demo
from ..lab.eventually import NotInTime
from ..lab.lab import DETACHED, Lab
from ..lab.prerequisites import check_root
from ..lab.state import known_labs, load_state
from ..lab.status import ESTABLISHED, LabStatus, NodeStatus, lab_status
from ..lab.topology import UPLINKS, LabError, Role

_WIDTH = 160
"""Columns that the table of the status may take, whatever the terminal has."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, by the custom of shells."""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `haha lab` and its own verbs."""
    parser = verbs.add_parser("lab", help="a whole Home in network namespaces of this machine")
    actions = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    up = actions.add_parser("up", help="bring a lab up; it goes on running")
    up.add_argument("config", type=Path, metavar="CONFIG")
    up.add_argument("--name", help="of the lab; default: the name of the configuration file")
    up.add_argument("--no-daemons", action="store_true", help="only the network and FRR around the Home")
    up.set_defaults(run=_reported(_up))

    demo = actions.add_parser("demo", help="a guided tour: a mobile router binds, moves and leaves")
    demo.add_argument("config", type=Path, metavar="CONFIG")
    demo.add_argument("--name", help="of the lab; default: the name of the configuration file")
    demo.add_argument("--keep", action="store_true", help="leave the lab up afterwards")
    demo.set_defaults(run=_reported(_demo))

    down = actions.add_parser("down", help="take labs down, and what is left of half-made ones")
    down.add_argument(
        "labs", nargs="*", metavar="LAB", help="name or configuration file; needed where several labs are up"
    )
    down.add_argument("--all", action="store_true", help="every lab of this machine")
    down.set_defaults(run=_reported(_down))

    execute = actions.add_parser("exec", help="run a command in a node")
    _add_lab_option(execute)
    execute.add_argument("node", metavar="NODE")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    execute.set_defaults(run=_reported(_exec))

    status = actions.add_parser("status", help="which daemons run, which BGP sessions are up")
    _add_lab_option(status)
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_reported(_status))

    move = actions.add_parser("move", help="plug a mobile router into another access network")
    _add_lab_option(move)
    move.add_argument("mobile_router", metavar="MOBILE-ROUTER")
    move.add_argument(
        "access",
        metavar="ACCESS",
        help=f"access1, access2 …, one of lab.access_routers, or {DETACHED}: nowhere",
    )
    move.add_argument(
        "--uplink", choices=UPLINKS, default=UPLINKS[0], help=f"{UPLINKS[0]} is preferred, and the default"
    )
    move.set_defaults(run=_reported(_move))


def _add_lab_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lab", metavar="NAME", help="needed only where more than one lab is up")


def _reported(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Turn what the lab refuses into a line for a person and exit status 1."""

    @functools.wraps(run)
    def reported(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except (LabError, NotInTime) as error:
            print(f"haha lab: {error}", file=sys.stderr)
            return 1

    return reported


class _Interrupted(Exception):
    """Raised at the first checkpoint after Ctrl-C or SIGTERM."""


class _Interruption:
    """Takes signals note of, and lets them end `up` only between its steps.

    An exception out of a signal handler could come in the middle of starting a process, which would then
    be nobody's; and a second Ctrl-C in the middle of cleaning up.
    """

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def checkpoint(self) -> None:
        if self.asked:
            raise _Interrupted


def _up(arguments: argparse.Namespace) -> int:
    interruption = _Interruption()
    began = time.monotonic()
    try:
        lab = Lab.up(
            arguments.config,
            name=arguments.name,
            start_daemons=not arguments.no_daemons,
            checkpoint=interruption.checkpoint,
            warn=lambda line: print(f"haha lab: {line}", file=sys.stderr),
        )
    except (LabError, _Interrupted):
        # A program that the lab runs can catch the signal too, just before it leaves our process group.
        if not interruption.asked:
            raise
        print("haha lab: interrupted; nothing is left of the lab", file=sys.stderr)
        return INTERRUPTED
    first = lab.topology.nodes[0].name
    print(f"lab {lab.name} is up: {len(lab.topology.nodes)} nodes, {time.monotonic() - began:.1f} s")
    print(f"  haha lab status                 or: ip netns exec {lab.name}.{first} …")
    print(f"  haha lab down {lab.name}")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    interruption = _Interruption()
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    console.print(f"[bold]Bringing {arguments.config} up in network namespaces[/bold]")
    began = time.monotonic()
    try:
        lab = Lab.up(
            arguments.config,
            name=arguments.name,
            plugged=False,
            checkpoint=interruption.checkpoint,
            warn=lambda line: console.print(f"   {line}"),
        )
        console.print(f"   {len(lab.topology.nodes)} nodes [dim]({time.monotonic() - began:.1f} s)[/dim]\n")
        try:
            Demo(lab, load(arguments.config, no_key).config, console.print, interruption.checkpoint).run()
        except BaseException:
            if not arguments.keep or interruption.asked:
                lab.down()
            raise
    except (LabError, NotInTime, _Interrupted):
        if not interruption.asked:
            raise
        print("haha lab: interrupted; nothing is left of the lab", file=sys.stderr)
        return INTERRUPTED
    console.print(f"[bold]Done in {time.monotonic() - began:.0f} s.[/bold] What to look at next:")
    haha = sys.argv[0]
    if arguments.keep:
        for node in lab.topology.with_role(Role.MOBILE_ROUTER):
            if not lab.process(node.name, "mr").alive:
                lab.start(node.name, "mr")
        near = next(iter(lab.topology.with_role(Role.HOME_AGENT))).name
        for command, text in (
            ("lab status", "what runs, which sessions are up"),
            (f"show routes --run-dir {lab.run_dir(near)}", "what a Home Agent knows"),
            (f"lab exec {near} -- ip -6 route", "what its kernel has"),
            (f"lab down {lab.name}", "removes every trace"),
        ):
            console.print(f"   {haha} {command:50} {text}", markup=False)
    else:
        lab.down()
        console.print("   the same with --keep leaves the lab up, to look around in")
        console.print("   configs/two-sites.yaml: its comments are the manual of the configuration")
        console.print("   docs/design.md: how it works and why")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    check_root()
    names = [_name_of(lab) for lab in arguments.labs] or list(known_labs())
    if len(names) > 1 and not arguments.labs and not arguments.all:
        raise LabError(f"several labs are up, say which, or --all: {' '.join(names)}")
    for name in names:
        print(f"lab {name} is down" if remove(name) else f"no lab {name} was up")
    if not names:
        print("no lab was up")
    return 0


def _name_of(lab: str) -> str:
    """The lab that a name or a configuration file stands for; a file by what it was brought up from."""
    path = Path(lab)
    if path.suffix not in (".yaml", ".yml"):
        return lab
    resolved = str(path.resolve())
    from_file = (name for name in known_labs() if _config_of(name) == resolved)
    return next(from_file, path.stem)


def _config_of(name: str) -> str | None:
    try:
        return load_state(name).config
    except LabError:
        return None


def _attached(arguments: argparse.Namespace) -> Lab:
    """The lab asked for, or the only one there is."""
    check_root()
    if arguments.lab is not None:
        return Lab.attach(arguments.lab)
    names = known_labs()
    if not names:
        raise LabError("no lab is up: haha lab up CONFIG makes one")
    if len(names) > 1:
        raise LabError(f"several labs are up, say which: --lab {' or --lab '.join(names)}")
    return Lab.attach(names[0])


def _exec(arguments: argparse.Namespace) -> int:
    lab = _attached(arguments)
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise LabError(f"which command? haha lab exec {arguments.node} -- COMMAND …")
    argv = lab.argv(arguments.node, command)
    os.execvp(argv[0], argv)


def _move(arguments: argparse.Namespace) -> int:
    _attached(arguments).move(arguments.mobile_router, arguments.access, arguments.uplink)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    """Exit status 0 when the lab is ready, 1 when something is missing."""
    status = lab_status(_attached(arguments))
    if arguments.json:
        print(json.dumps(asdict(status), indent=2))
    else:
        _print_status(status)
    return 0 if status.ready else 1


def _print_status(status: LabStatus) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("node", "address", "role", "daemons", "BGP up", "at"):
        table.add_column(heading, no_wrap=heading != "role")
    for node in status.nodes:
        table.add_row(
            node.name, node.address, node.role, _daemons(node), _sessions(node), node.attached or ""
        )
    # emoji: to rich the middle of 2001:db8:1:100::1 is the name of one.
    console = Console(highlight=False, emoji=False, soft_wrap=True, width=_WIDTH)
    console.print(f"lab {status.lab}, from {status.config}", markup=False)
    console.print(table)
    console.print("[green]ready[/green]" if status.ready else "[yellow]not ready[/yellow]")
    for line in status.missing:
        console.print(f"  {line}", markup=False)


def _daemons(node: NodeStatus) -> str:
    return " ".join(name if alive else f"[red]{name} ended[/red]" for name, alive in node.daemons.items())


def _sessions(node: NodeStatus) -> str:
    up = sum(state == ESTABLISHED for state in node.sessions.values())
    return f"{up} of {len(node.sessions)}" if node.sessions else ""
