"""`haha exabgp`: write what ExaBGP is started with on one Home Agent."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from ..config.keys import no_key
from ..config.loader import load
from ..rollout.exabgp import exabgp_environment, render_exabgp
from .daemon import failed, unknown_name


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    exabgp = verbs.add_parser(
        "exabgp",
        help="write what ExaBGP is started with on a Home Agent",
        description="Writes exabgp.conf and exabgp.env into a directory, in place of what is there. Written"
        " anew, and with ExaBGP restarted, they follow a change of the configuration's sites.",
    )
    exabgp.add_argument("--config", type=Path, required=True, metavar="FILE", help="the Home's configuration")
    exabgp.add_argument("--home-agent", required=True, metavar="NAME", help="which Home Agent this host is")
    exabgp.add_argument("--run-dir", type=Path, required=True, metavar="DIR", help="that of its agent")
    exabgp.add_argument(
        "--user", required=True, metavar="USER", help="runs ExaBGP; exabgp.conf, which holds a key, is theirs"
    )
    exabgp.add_argument("--to", type=Path, required=True, metavar="DIR", help="for the two files")
    exabgp.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    loaded = load(arguments.config, no_key)
    names = [name for _, _, name, _ in loaded.config.home_agents()]
    if arguments.home_agent not in names:
        return unknown_name("--home-agent", arguments.home_agent, names)
    run_dir = arguments.run_dir.absolute()
    try:
        text = render_exabgp(
            loaded.config, arguments.home_agent, run_dir, loaded.bgp_key().hex(), sys.executable
        )
        variables = exabgp_environment(arguments.user)
        _write(arguments.to / "exabgp.conf", text, arguments.user)
        _write(
            arguments.to / "exabgp.env", "".join(f"{k}={v}\n" for k, v in variables.items()), arguments.user
        )
    except LookupError:
        return failed(f"--user: there is no user {arguments.user}")
    except (OSError, ValueError) as error:
        return failed(str(error))
    return 0


def _write(file: Path, text: str, user: str) -> None:
    """In one moment, readable by its owner only."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w") as stream:
            stream.write(text)
        shutil.chown(new, user)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    print(f"{file}: written")
