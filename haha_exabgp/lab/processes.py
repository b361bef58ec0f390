"""Processes of a lab: which run in its namespaces, whether a recorded one still lives, how to end them."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

NETNS_DIR = Path("/run/netns")
FRR_CRASH_LOGS = Path("/var/tmp/frr")
TERM_SECONDS = 7.0
"""How long processes may take to end by themselves; a mobile router de-registers first, for up to 5 s."""
KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """A daemon that the lab started, with what it takes to start it again.

    `environment` is what is added to the environment of the starter; `started` is the start time in clock
    ticks since boot: with it a pid names one process for good, where alone it is used again.
    """

    node: str
    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    log: str
    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """True while it runs; a zombie does not."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which a process started, None if there is none or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def namespaces_of_lab(lab: str) -> tuple[str, ...]:
    """The network namespaces that carry the name of a lab."""
    if not NETNS_DIR.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in NETNS_DIR.iterdir() if entry.name.startswith(f"{lab}.")))


def pids_in(namespaces: Collection[str]) -> dict[int, str]:
    """pid -> namespace of every process in these namespaces: one walk over /proc for all of them.

    Processes that even root may not look at (process 1 of some containers) are in none of ours.
    """
    wanted = {}
    for namespace in namespaces:
        try:
            status = os.stat(NETNS_DIR / namespace)
        except FileNotFoundError:
            continue
        wanted[status.st_dev, status.st_ino] = namespace
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                status = os.stat(f"/proc/{entry.name}/ns/net")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if (status.st_dev, status.st_ino) in wanted:
                found[int(entry.name)] = wanted[status.st_dev, status.st_ino]
    return found


def end_all_in(namespaces: Collection[str]) -> set[int]:
    """End every process in these namespaces: SIGTERM first, SIGKILL for those that stay. Gives their pids.

    Asks the kernel who is left each time, so that children born meanwhile are not missed. Raises
    TimeoutError if some survive even that.
    """
    ended: set[int] = set()
    for number, patience in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        told: set[int] = set()
        deadline = time.monotonic() + patience
        while left := pids_in(namespaces):
            for pid in left.keys() - told:
                _signal(pid, number)
            told |= left.keys()
            ended |= told
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        else:
            return ended
    raise TimeoutError(f"processes survive SIGKILL: {', '.join(map(str, pids_in(namespaces)))}")


def end(process: Process, number: signal.Signals = signal.SIGTERM, patience: float = TERM_SECONDS) -> None:
    """Send a signal to one process and wait until it is gone, with SIGKILL after `patience` seconds."""
    for sent in (number, signal.SIGKILL):
        if process.alive:
            _signal(process.pid, sent)
        deadline = time.monotonic() + patience
        while process.alive and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    remove_crash_log(process.pid)


def remove_crash_log(pid: int) -> None:
    """FRR's daemons keep a directory of their own as long as they run, and leave it when they are killed."""
    for directory in FRR_CRASH_LOGS.glob(f"*.{pid}"):
        shutil.rmtree(directory, ignore_errors=True)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
