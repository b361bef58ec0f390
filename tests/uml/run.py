"""Run a script inside user-mode Linux: `python -m tests.uml.run [--timeout S] [--memory 768M] SCRIPT ARGS…`

The script runs as root under this interpreter, from the project's root; its output and exit status come out
as if it ran here. The file system is this host's own, but for /run, a tmpfs: write there, or into the folder
that HAHA_UML names. `-m MODULE` in place of SCRIPT runs a module, so a whole Home
on ip6tnl is: `python -m tests.uml.run --memory 2G -m haha_exabgp lab demo configs/two-sites.yaml`
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.uml.machine import CannotBoot, boot

TIMED_OUT = 124
"""As timeout(1)."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.uml.run", description=__doc__)
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="default: 600")
    parser.add_argument("--memory", default="768M", help="of the machine; default: 768M")
    parser.add_argument("command", nargs="*", metavar="SCRIPT ARGS…")
    own = 1
    while sys.argv[own : own + 1] and sys.argv[own] in ("--timeout", "--memory"):
        own += 2
    # What follows is Python's and the script's, options too.
    command = sys.argv[own:]
    arguments = parser.parse_args(sys.argv[1:own] if command[:1] != ["--help"] else command)
    if not command:
        parser.error("which script?")
    with tempfile.TemporaryDirectory(prefix="haha-uml-") as folder:
        try:
            outcome = boot(
                [sys.executable, *command],
                Path(folder),
                timeout=arguments.timeout,
                memory=arguments.memory,
                stdout=sys.stdout,
                stderr=sys.stderr,
            )
        except CannotBoot as error:
            print(error, file=sys.stderr)
            return 1
    if outcome.status is None:
        print(f"not done in {arguments.timeout:g} s\n{outcome.console[-2000:]}", file=sys.stderr)
        return TIMED_OUT
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
