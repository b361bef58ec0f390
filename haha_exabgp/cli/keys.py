"""`haha keys`: make the key files that a configuration names and that do not exist yet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..config.errors import ConfigError
from ..config.keys import KeyFileError, key_files, make_missing, no_key
from ..config.loader import load


def register(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add `haha keys` to the command line."""
    parser = verbs.add_parser("keys", help="make the key files that are missing", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the configuration file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0, or 1 where a file cannot be made. Raises ConfigError, also for keys that are bad."""
    loaded = load(arguments.file, no_key)
    made = 0
    try:
        for file in make_missing(loaded.key_path(file) for _, file in key_files(loaded.config)):
            print(f"{file}: made")
            made += 1
    except KeyFileError as error:
        print(f"haha keys: {error}", file=sys.stderr)
        return 1
    findings = loaded.key_findings()
    if findings:
        raise ConfigError(findings)
    if not made:
        print("nothing to do")
    return 0
