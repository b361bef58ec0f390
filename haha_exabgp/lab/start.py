"""Start the daemons of a lab in its namespaces, and notice those that end right away."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable

from .build import Checkpoint, inside
from .daemons import FRR_USER, ConfigFile, Daemon, Plan
from .processes import Process, start_time
from .state import State, make_directory
from .topology import LabError

READY_SECONDS = 15.0
"""How long a daemon may take until its socket is there."""
SETTLE_SECONDS = 1.0
"""How long daemons are watched after the last one is ready: one that cannot work ends in this time."""
_POLL_SECONDS = 0.01
_LOG_LINES = 15


class Starter:
    """Starts daemons and keeps the state file in step. `state` is what has been started so far."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._children: list[subprocess.Popen[bytes]] = []

    def carry_out(self, plan: Plan, checkpoint: Checkpoint) -> None:
        """Write the files of a plan and start its daemons, stage after stage.

        Returns once all are ready. Raises LabError with the end of its log for a daemon that ended or did
        not get ready.
        """
        for node in plan.nodes:
            make_directory(self.state.node_directory(node))
        for node in plan.frr_nodes:
            shutil.chown(self.state.node_directory(node), FRR_USER, FRR_USER)
        for file in plan.files:
            self._write(file)
        for stage in plan.stages:
            checkpoint()
            self._start_all(stage)
            self._wait_until_ready(stage, checkpoint)

    def watch(self, checkpoint: Checkpoint, seconds: float = SETTLE_SECONDS) -> None:
        """See for a while that everything started goes on running. Raises LabError for what does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._check_alive()
            checkpoint()
            time.sleep(_POLL_SECONDS * 5)

    def start_again(self, process: Process) -> None:
        """Start a daemon that ended, as it was started before. Raises LabError if it still runs."""
        if process.alive:
            raise LabError(f"{process.name} in {process.node} runs already")
        self._start(process.node, process.name, process.argv, process.environment)
        self.state.save()

    def reap(self) -> None:
        """Take leave of daemons that ended, so that they do not stay as zombies of this process."""
        self._children = [child for child in self._children if child.poll() is None]

    def _write(self, file: ConfigFile) -> None:
        path = self.state.node_directory(file.node) / file.name
        path.touch(mode=0o600)
        path.write_text(file.text)
        shutil.chown(path, "root", file.group)
        path.chmod(0o640)

    def _start_all(self, daemons: Iterable[Daemon]) -> None:
        for daemon in daemons:
            self._start(daemon.node, daemon.name, daemon.argv, daemon.environment)
        self.state.save()

    def _start(self, node: str, name: str, argv: tuple[str, ...], environment: dict[str, str]) -> None:
        """In a session of its own: what a terminal sends to its foreground is not meant for it."""
        directory = self.state.node_directory(node)
        log = directory / f"{name}.log"
        with log.open("ab") as output:
            child = subprocess.Popen(
                inside(self.state.name, node, *argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=os.environ | environment,
                start_new_session=True,
            )
        self._children.append(child)
        started = start_time(child.pid) or 0
        process = Process(node, name, argv, environment, str(log), child.pid, started)
        self.state = self.state.with_process(process)

    def _wait_until_ready(self, daemons: tuple[Daemon, ...], checkpoint: Checkpoint) -> None:
        waiting = {one: self.state.node_directory(one.node) / one.ready for one in daemons if one.ready}
        deadline = time.monotonic() + READY_SECONDS
        while waiting := {one: socket for one, socket in waiting.items() if not socket.is_socket()}:
            self._check_alive()
            checkpoint()
            if time.monotonic() > deadline:
                late = next(iter(waiting))
                self._give_up(late.node, late.name, f"made no {late.ready} in {READY_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)

    def _check_alive(self) -> None:
        for process in self.state.processes:
            if not process.alive:
                self._give_up(process.node, process.name, "ended right after it was started")

    def _give_up(self, node: str, name: str, problem: str) -> None:
        lines = (self.state.node_directory(node) / f"{name}.log").read_text(errors="replace").splitlines()
        end = "".join(f"\n  {line}" for line in lines[-_LOG_LINES:]) or " (its log is empty)"
        raise LabError(f"{name} in {node} {problem}; the end of its log:{end}")
