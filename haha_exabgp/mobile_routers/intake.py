"""Taking mobile routers into the database: all of a file, or nothing and everything that is wrong in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..config.errors import ConfigError, Finding
from ..protocol.home import MobileRouterPolicy, SecurityAssociation
from .database import MobileRouterDatabase
from .edit import Edit
from .files import Entry, check_not_open
from .records import Problem, read_record
from .rules import HomeRules

MAX_FINDINGS = 50
"""Of more, the rest is only counted."""


class Intake(NamedTuple):
    """What an import has changed."""

    added: int
    changed: int
    unchanged: int
    removed: int


def take_in(
    database: MobileRouterDatabase,
    file: Path,
    entries: Sequence[Entry],
    *,
    rules: HomeRules | None,
    instead: bool = False,
) -> Intake:
    """Add the mobile routers of a file, each in place of the one that is stored by its name; with `instead`
    remove all others. Raises ConfigError, and then nothing has changed."""
    with database.editing() as edit:
        return _Intake(edit, file, rules).take(entries, instead)


class _Intake:
    def __init__(self, edit: Edit, file: Path, rules: HomeRules | None) -> None:
        self._edit = edit
        self._file = file
        self._rules = rules
        self._findings: list[Finding] = []
        self._lines: dict[str, int] = {}

    def take(self, entries: Sequence[Entry], instead: bool) -> Intake:
        policies = self._read(entries)
        gone = sorted(set(self._edit.names()) - self._lines.keys()) if instead else []
        for name in gone:
            self._edit.remove(name)
        new: list[MobileRouterPolicy] = []
        unchanged = changed = 0
        known = self._edit.stored(self._lines.keys())
        for policy in policies:
            stored = known.get(policy.name)
            complete = self._with_keys(policy, stored)
            if complete == stored:
                unchanged += 1
                continue
            # All that goes goes first: one may take what another of the file gives up.
            if stored is not None:
                self._edit.remove(policy.name)
                changed += 1
            new.append(complete)
        for policy in new:
            self._add(policy)
        if self._findings:
            raise ConfigError(self._bounded())
        return Intake(len(new) - changed, changed, unchanged, len(gone))

    def _read(self, entries: Sequence[Entry]) -> list[MobileRouterPolicy]:
        policies = []
        holds_keys = False
        for line, raw in entries:
            policy, problems, keys = read_record(raw, self._file.parent)
            holds_keys = holds_keys or keys
            problems += tuple(self._rules.problems(policy)) if self._rules and not problems else ()
            if policy.name in self._lines:
                again = f"{policy.name} stands there twice, first on line {self._lines[policy.name]}"
                problems += (Problem("name", again, "remove one of the two"),)
            elif policy.name:
                self._lines[policy.name] = line
            self._tell(line, policy.name, problems)
            if not problems:
                policies.append(policy)
        if holds_keys:
            check_not_open(self._file)
        return policies

    def _with_keys(self, policy: MobileRouterPolicy, stored: MobileRouterPolicy | None) -> MobileRouterPolicy:
        known = {one.spi: one for one in stored.associations} if stored is not None else {}
        if not policy.associations:
            associations: tuple[SecurityAssociation, ...] = tuple(known.values())
        else:
            associations = tuple(one if one.key else known.get(one.spi, one) for one in policy.associations)
        missing = [one.spi for one in associations if not one.key]
        if missing or not associations:
            which = f" of SPI {missing[0]}" if missing else ""
            problem = Problem("keys", f"there is no key{which}", "write a key or a key_file")
            self._tell(self._lines[policy.name], policy.name, (problem,))
        return replace(policy, associations=associations)

    def _add(self, policy: MobileRouterPolicy) -> None:
        line = self._lines[policy.name]
        clashes = list(self._edit.clashes(policy))
        for problem, other in clashes:
            where = f" (line {self._lines[other]})" if other in self._lines else ""
            self._tell(line, policy.name, (problem._replace(problem=problem.problem + where),))
        if not clashes and all(one.key for one in policy.associations):
            self._edit.add(policy)

    def _tell(self, line: int, name: str, problems: Sequence[Problem]) -> None:
        self._findings += [
            Finding(self._file, line, f"{name}.{one.field}" if name else one.field, one.problem, one.remedy)
            for one in problems
        ]

    def _bounded(self) -> tuple[Finding, ...]:
        ordered = sorted(self._findings, key=lambda finding: finding.line)
        if len(ordered) <= MAX_FINDINGS:
            return tuple(ordered)
        rest = len(ordered) - MAX_FINDINGS
        told = f"{rest} more are wrong"
        last = Finding(self._file, ordered[MAX_FINDINGS].line, "", told, "mend these first")
        return (*ordered[:MAX_FINDINGS], last)
