"""What is wrong in a configuration, in words that say where it stands and what would be right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

KeyPath = tuple[str | int, ...]
"""Where a value stands: ("mobile_routers", "mr1", "prefixes", 0)."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SHOWN_CHARACTERS = 60


class Fault(NamedTuple):
    """One thing wrong at a key, before it is known on which line the key stands.

    `other` is the key that it clashes with; its line is added to the problem.
    """

    key: KeyPath
    problem: str
    remedy: str
    other: KeyPath | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong in a file. `line` counts from 1; `key` is "" for the file as a whole."""

    file: Path
    line: int
    key: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " + (f"{self.key}: " if self.key else "")
        return _UNPRINTABLE.sub(_escaped, f"{place}{self.problem}; {self.remedy}")


class ConfigError(Exception):
    """A configuration that cannot be used: everything found, in the order of lines."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__(findings)
        self.findings = findings

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


def dotted(key: KeyPath) -> str:
    """The text of a key path: `mobile_routers.mr1.prefixes[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def shown(value: object) -> str:
    """A value as a message quotes it: short, whatever it is."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            cut = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
            return f'"{cut}"'
        case _:
            return str(value)


def _escaped(match: re.Match[str]) -> str:
    """A control character would forge lines of the report or drive the reader's terminal."""
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")
