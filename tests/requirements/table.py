"""docs/requirements.md as a value."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

DOCUMENT = Path(__file__).parents[2] / "docs" / "requirements.md"
HEADING = ["id", "what", "source", "status", "reason"]


class Status(StrEnum):
    """What the document promises about a requirement."""

    COVERED = "covered"
    LATER = "later"
    LEFT_OUT = "left out"


class Requirement(NamedTuple):
    """One row."""

    id: str
    what: str
    source: str
    status: Status
    reason: str


def read_table(text: str) -> dict[str, Requirement]:
    """All rows by id, in their order.

    Raises ValueError with the line number for a row of another form, an id that was there before, or one
    that is not covered without a reason.
    """
    found: dict[str, Requirement] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells == HEADING or set(line) <= set("|-"):
            continue
        try:
            identifier, what, source, status, reason = cells
            row = Requirement(identifier, what, source, Status(status), reason)
        except ValueError as error:
            raise ValueError(f"line {number}: not a row of {len(HEADING)} cells with a status") from error
        if row.id in found:
            raise ValueError(f"line {number}: {row.id} is there twice")
        if (row.status is Status.COVERED) == bool(row.reason):
            raise ValueError(
                f"line {number}: {row.id}: a reason stands with what is not covered, and there only"
            )
        found[row.id] = row
    return found
