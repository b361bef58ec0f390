"""docs/requirements.md keeps what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.requirements.report import Report, compare
from tests.requirements.table import DOCUMENT, Requirement, Status, read_table

HEAD = "| id | what | source | status | reason |\n|---|---|---|---|---|\n"
MUST_NOT_WAIT = ("D-", "P-", "L-", "B-10", "B-11", "B-12", "M-", "T-", *(f"S-{i}" for i in range(1, 7)))
"""What the binding engine has to have."""


def test_every_row_that_is_covered_has_a_test() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.requirements"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert run.returncode == 0, f"\n{run.stdout}{run.stderr}"


def test_the_list_may_be_cut_off() -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.requirements", "--list"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None and run.stderr is not None
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait(timeout=170) == 1


def test_nothing_of_the_binding_engine_is_put_off() -> None:
    rows = read_table(DOCUMENT.read_text()).values()
    assert [row.id for row in rows if row.status is Status.LATER and row.id.startswith(MUST_NOT_WAIT)] == []


def test_a_row_is_read() -> None:
    table = read_table(
        f"# Text\n{HEAD}| A-1 | this | RFC 1 | covered | |\n| A-2 | that | ours | later | no time |\n"
    )
    assert list(table) == ["A-1", "A-2"]
    assert table["A-2"] == Requirement("A-2", "that", "ours", Status.LATER, "no time")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("| A-1 | this | RFC 1 | covered |", "line 3"),
        ("| A-1 | this | RFC 1 | coverd | |", "line 3"),
        ("| A-1 | this | RFC 1 | covered | because |", "A-1"),
        ("| A-1 | this | RFC 1 | left out | |", "A-1"),
        (
            "| A-1 | this | RFC 1 | covered | |\n| A-1 | that | RFC 1 | covered | |",
            "line 4: A-1 is there twice",
        ),
    ],
)
def test_a_table_out_of_form_is_named(rows: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_table(HEAD + rows)


def test_each_difference_is_found() -> None:
    rows = [
        Requirement("A-1", "", "", Status.COVERED, ""),
        Requirement("A-2", "", "", Status.COVERED, ""),
        Requirement("A-3", "", "", Status.LATER, "why"),
        Requirement("A-4", "", "", Status.LEFT_OUT, "why"),
    ]
    tests = {"A-1": ["one"], "A-3": ["two"], "A-9": ["three"]}
    report = compare({row.id: row for row in rows}, tests)
    assert report == Report(["A-2"], ["A-9"], ["A-3"])
    assert not report.is_true
    assert compare({"A-1": rows[0], "A-4": rows[3]}, {"A-1": ["one"]}).is_true
