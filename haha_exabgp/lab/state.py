"""What is known of a lab between two commands: its run directory and the state file in it.

/run/haha/lab/NAME/state.json     see `State`
/run/haha/lab/NAME/config.yaml    the configuration as it was when the lab came up
/run/haha/lab/NAME/NODE/          sockets, configurations and logs of the node's daemons
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .processes import Process, namespaces_of_lab
from .topology import LabError

RUN_DIR = Path("/run/haha/lab")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""Socket paths below the run directory must stay under the kernel's 108 octets."""


@dataclass(frozen=True, slots=True)
class State:
    """`config` is the file the lab came from; `daemons` is False for one made without the Home's own."""

    name: str
    config: str
    daemons: bool
    namespaces: tuple[str, ...]
    processes: tuple[Process, ...] = ()

    @property
    def directory(self) -> Path:
        """The lab's run directory."""
        return RUN_DIR / self.name

    def node_directory(self, node: str) -> Path:
        """Where a node's daemons keep their files."""
        return self.directory / node

    @property
    def config_copy(self) -> Path:
        """The configuration as the lab was made from it."""
        return self.directory / "config.yaml"

    def with_process(self, process: Process) -> State:
        """This state with a daemon started, in place of an earlier one of the same node and name."""
        others = (one for one in self.processes if (one.node, one.name) != (process.node, process.name))
        return replace(self, processes=(*others, process))

    def claim(self) -> None:
        """Make the run directory and the first state file, before anything else of the lab is made.

        Raises LabError if the lab, or something left over from it, is there already.
        """
        left_over = namespaces_of_lab(self.name)
        make_directory(RUN_DIR.parent)
        make_directory(RUN_DIR)
        try:
            if left_over:
                raise FileExistsError
            make_directory(self.directory, exist_ok=False)
        except FileExistsError:
            raise LabError(
                f"the lab {self.name} is up, or was left half-made: run haha lab down {self.name} first"
            ) from None
        self.save()

    def save(self) -> None:
        """Write the state file; a reader sees the old one or the new one, whole."""
        new = self.directory / "state.json.new"
        new.write_text(json.dumps(asdict(self), indent=1, default=str) + "\n")
        os.replace(new, self.directory / "state.json")


def make_directory(directory: Path, exist_ok: bool = True) -> None:
    """Make a directory that every user can pass through, whatever the umask. Raises FileExistsError."""
    directory.mkdir(exist_ok=exist_ok)
    directory.chmod(0o755)


def check_name(name: str) -> str:
    """Give back a name fit for a lab. Raises LabError for any other."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{name!r} cannot name a lab: give --name with at most 32 letters, digits, dashes or underscores"
        )
    return name


def load_state(name: str) -> State:
    """Read a lab's state. Raises LabError if no such lab is up."""
    directory = RUN_DIR / check_name(name)
    try:
        fields = json.loads((directory / "state.json").read_text())
    except FileNotFoundError:
        if directory.exists():
            raise LabError(f"the lab {name} was left half-made: run haha lab down {name}") from None
        known = ", ".join(known_labs()) or "none"
        raise LabError(f"no lab {name} is up; labs that are: {known}") from None
    processes = tuple(Process(**one | {"argv": tuple(one["argv"])}) for one in fields.pop("processes"))
    return State(**fields | {"namespaces": tuple(fields["namespaces"]), "processes": processes})


def known_labs() -> tuple[str, ...]:
    """Names of the labs that have a run directory."""
    if not RUN_DIR.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in RUN_DIR.iterdir() if entry.is_dir()))


def recorded_processes(name: str) -> tuple[Process, ...]:
    """The daemons that the state file tells of; none where there is no state file."""
    try:
        return load_state(name).processes
    except LabError:
        return ()


def remove_directory(name: str) -> bool:
    """Remove a lab's run directory, and the directories above it that it leaves empty. False: it had none."""
    directory = RUN_DIR / check_name(name)
    existed = directory.is_dir()
    shutil.rmtree(directory, ignore_errors=True)
    for parent in (RUN_DIR, RUN_DIR.parent):
        with contextlib.suppress(OSError):
            parent.rmdir()
    return existed
