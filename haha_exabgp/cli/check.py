"""`haha check`: say everything that is wrong with a configuration file, or that nothing is."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config.errors import ConfigError, Fault, Finding
from ..config.keys import KeyScope, every_key, keys_of_home_agent, no_key
from ..config.loader import LoadedHome, load
from ..config.schema import HomeConfig
from ..mobile_routers.database import DatabaseError, MobileRouterDatabase
from ..mobile_routers.rules import HomeRules

_MAX_FINDINGS = 50
"""About the database; of more, the rest is only counted."""
_PLACE = ("home", "mobile_router_db")


def register(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add `haha check` to the command line."""
    parser = verbs.add_parser("check", help="check a configuration file", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument(
        "--home-agent", metavar="NAME", help="look at those key files only that this Home Agent is to have"
    )
    parser.add_argument(
        "--no-keys", action="store_true", help="do not look at the key files and the database it names"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0. Raises ConfigError; with --json that is printed too, and the status is 2."""
    try:
        loaded = load(arguments.file, _scope(arguments))
        in_database = None if arguments.no_keys else _check_database(loaded)
    except ConfigError as error:
        if not arguments.json:
            raise
        findings = [{**asdict(finding), "file": str(finding.file)} for finding in error.findings]
        print(json.dumps({"file": str(arguments.file), "ok": False, "findings": findings}, indent=2))
        return 2
    counts = _counts(loaded.config)
    if in_database is not None:
        counts["mobile routers in the database"] = in_database
    if arguments.json:
        numbers = {noun.replace(" ", "_"): number for noun, number in counts.items()}
        print(json.dumps({"file": str(arguments.file), "ok": True, "findings": [], **numbers}, indent=2))
    else:
        print(f"{arguments.file}: 1 Home, {', '.join(map(_counted, counts, counts.values()))}: ok")
    return 0


def _scope(arguments: argparse.Namespace) -> KeyScope:
    if arguments.no_keys:
        return no_key
    return every_key if arguments.home_agent is None else keys_of_home_agent(arguments.home_agent)


def _check_database(loaded: LoadedHome) -> int | None:
    """How many mobile routers are in the database that the configuration names. Raises ConfigError when it
    cannot be used, or one of them has no place in this Home."""
    named = loaded.config.home.mobile_router_db
    if named is None:
        return None
    rules = HomeRules(loaded.config)
    findings: list[Finding] = []
    count = wrong = told_of = 0
    try:
        with closing(MobileRouterDatabase(loaded.path.parent / named)) as database:
            for policy in database.every():
                count += 1
                problems = list(rules.problems(policy))
                wrong += bool(problems)
                told_of += bool(problems) and len(findings) < _MAX_FINDINGS
                for one in problems[: _MAX_FINDINGS - len(findings)]:
                    fault = Fault(_PLACE, f"{policy.name}.{one.field}: {one.problem}", one.remedy)
                    findings.append(loaded.document.finding(fault))
    except DatabaseError as error:
        findings.append(loaded.document.finding(Fault(_PLACE, str(error), "then check again")))
    if wrong > told_of:
        told = f"{wrong} mobile routers of the database have no place in this Home"
        findings.append(loaded.document.finding(Fault(_PLACE, told, "mend them with haha mr-db")))
    if findings:
        raise ConfigError(tuple(findings))
    return count


def _counts(config: HomeConfig) -> dict[str, int]:
    return {
        "sites": len(config.sites),
        "home agents": len(list(config.home_agents())),
        "mobile routers": len(config.mobile_routers),
    }


def _counted(nouns: str, number: int) -> str:
    noun, _, rest = nouns.partition("s in")
    if number == 1:
        return f"1 {noun.removesuffix('s')}" + (f" in{rest}" if rest else "")
    return f"{number} {nouns}"
