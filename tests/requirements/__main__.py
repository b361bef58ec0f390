"""Is docs/requirements.md true?

    python -m tests.requirements           ids that no test proves, and other differences
    python -m tests.requirements --list    every id with its tests

Exit status 1 when a row that is `covered` has no test, or a test names an id that is not there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tests.requirements.collection import collect_tests
from tests.requirements.report import compare
from tests.requirements.table import DOCUMENT, Requirement, Status, read_table


def _print_ids(title: str, ids: Sequence[str], table: dict[str, Requirement]) -> None:
    if ids:
        print(title)
        for identifier in ids:
            row = table.get(identifier)
            print(f"  {identifier:20}{row.what if row else ''}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.requirements", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--list", action="store_true", help="every id with the tests that prove it")
    options = parser.parse_args(arguments)
    try:
        table, tests = read_table(DOCUMENT.read_text()), collect_tests()
    except (RuntimeError, ValueError) as error:
        print(f"{DOCUMENT.name}: {error}" if isinstance(error, ValueError) else error, file=sys.stderr)
        return 1
    if options.list:
        for row in table.values():
            print(f"{row.id:20}{row.status}{': ' + row.reason if row.reason else ''}")
            for test in tests.get(row.id, ()):
                print(f"    {test}")
    report = compare(table, tests)
    _print_ids("covered, but no test proves it:", report.uncovered, table)
    if report.unknown:
        print("named by tests, but not in the document:")
    for identifier in report.unknown:
        print(f"  {identifier:20}{tests[identifier][0]}")
    _print_ids("not covered, though a test names it:", report.unpromised, table)
    counts = {status: sum(row.status is status for row in table.values()) for status in Status}
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return 0 if report.is_true else 1


def _run() -> int:
    """For who reads only the first lines."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left to write would be tried once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(_run())
