"""`haha check`: say everything that is wrong with a configuration file, or that nothing is."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config.errors import ConfigError
from ..config.keys import every_key, no_key
from ..config.loader import load
from ..config.schema import HomeConfig


def register(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add `haha check` to the command line."""
    parser = verbs.add_parser("check", help="check a configuration file", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--no-keys", action="store_true", help="do not look at the key files it names")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0. Raises ConfigError; with --json that is printed too, and the status is 2."""
    try:
        config = load(arguments.file, no_key if arguments.no_keys else every_key).config
    except ConfigError as error:
        if not arguments.json:
            raise
        findings = [{**asdict(finding), "file": str(finding.file)} for finding in error.findings]
        print(json.dumps({"file": str(arguments.file), "ok": False, "findings": findings}, indent=2))
        return 2
    counts = _counts(config)
    if arguments.json:
        numbers = {noun.replace(" ", "_"): number for noun, number in counts.items()}
        print(json.dumps({"file": str(arguments.file), "ok": True, "findings": [], **numbers}, indent=2))
    else:
        print(f"{arguments.file}: 1 Home, {', '.join(map(_counted, counts, counts.values()))}: ok")
    return 0


def _counts(config: HomeConfig) -> dict[str, int]:
    return {
        "sites": len(config.sites),
        "home agents": len(list(config.home_agents())),
        "mobile routers": len(config.mobile_routers),
    }


def _counted(nouns: str, number: int) -> str:
    return f"{number} {nouns.removesuffix('s') if number == 1 else nouns}"
