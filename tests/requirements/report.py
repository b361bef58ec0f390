"""What the document promises against what the tests prove."""

from __future__ import annotations

from typing import NamedTuple

from tests.requirements.table import Requirement, Status


class Report(NamedTuple):
    """Differences, each a list of ids."""

    uncovered: list[str]
    """Promised as covered, and no test names them."""
    unknown: list[str]
    """Named by tests, and not in the document."""
    unpromised: list[str]
    """Marked as later or left out, though a test names them."""

    @property
    def is_true(self) -> bool:
        """Whether the document may be believed."""
        return not self.uncovered and not self.unknown


def compare(table: dict[str, Requirement], tests: dict[str, list[str]]) -> Report:
    """Compare the document with the tests collected by id."""
    return Report(
        [row.id for row in table.values() if row.status is Status.COVERED and row.id not in tests],
        sorted(set(tests) - set(table)),
        [row.id for row in table.values() if row.status is not Status.COVERED and row.id in tests],
    )
