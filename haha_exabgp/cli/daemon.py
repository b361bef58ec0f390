"""What the verbs that run daemons have in common on the command line."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def log_to_stderr() -> None:
    """One line an event, for the journal or a file; milliseconds, because hand-overs are told in them."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )


@contextmanager
def alone() -> Iterator[None]:
    """Keep the kernel state of this network namespace to this process: two would undo each other's work.
    Raises OSError when a daemon has it.

    An abstract UNIX socket stands for it: its name is the namespace's own, and goes with the process.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        try:
            claim.bind("\0haha-kernel-state")
        except OSError as error:
            raise OSError("a daemon of haha is running on this host; stop it first") from error
        yield


def failed(problem: str) -> int:
    """Say in one line why a verb cannot go on; its exit status."""
    print(f"haha: {problem}", file=sys.stderr)
    return 1


def unknown_name(option: str, name: str, known: Sequence[str]) -> int:
    """Say that a name on the command line is not in the configuration; the exit status."""
    print(f"haha: {option}: {name!r} is not configured; there are: {', '.join(known)}", file=sys.stderr)
    return 2
