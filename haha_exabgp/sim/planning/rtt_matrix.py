"""Measured round trips: a CSV file whose first line and first column are names of sites and cities.

    ,          london, frankfurt, Tokyo
    london,          ,       9.1, 214
    frankfurt,    9.1,          , 221.5

Milliseconds. What is empty is taken from the other direction, and where that is not given either, from the
map.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ...config.document import read_text
from ...config.errors import ConfigError, Finding, shown

_MOST_MS = 10_000.0

RoundTrips = dict[tuple[str, str], float]
"""Milliseconds by (from, to)."""


class _Row(NamedTuple):
    line: int
    name: str
    cells: list[str]


def read_rtt_matrix(file: Path, known: Collection[str]) -> RoundTrips:
    """The round trips of a file, both directions where only one is given. `known` are the names that may
    stand in it. Raises ConfigError with everything that is wrong."""
    rows = _rows(file)
    if not rows or rows[0].name or not any(rows[0].cells):
        finding = Finding(
            file,
            rows[0].line if rows else 1,
            "",
            "the first line does not name the columns",
            "write an empty cell, then names of sites and cities",
        )
        raise ConfigError((finding,))
    head, *body = rows
    findings = list(_misnamed(file, [(head.line, name) for name in head.cells], known))
    findings += _misnamed(file, [(row.line, row.name) for row in body], known)
    found: RoundTrips = {}
    for row in body:
        if len(row.cells) > len(head.cells):
            problem = f"{len(row.cells)} values stand under {len(head.cells)} names"
            findings.append(Finding(file, row.line, row.name, problem, "remove what is too much"))
        for column, cell in zip(head.cells, row.cells, strict=False):
            value = _milliseconds(cell)
            if value is not None and (row.name != column or value == 0):
                found[row.name, column] = value
            elif cell:
                key, remedy = f"{row.name} to {column}", "write milliseconds from 0 to 10000, or nothing"
                if row.name == column:
                    remedy = "leave it empty: a place is no way from itself"
                findings.append(Finding(file, row.line, key, f"{shown(cell)} is no round trip", remedy))
    if findings:
        raise ConfigError(tuple(sorted(findings, key=lambda finding: finding.line)))
    return {(end, start): value for (start, end), value in found.items()} | found


def _rows(file: Path) -> list[_Row]:
    text = read_text(file, "a file of round trips", "leave out what the map says as well").removeprefix(
        "\ufeff"
    )
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[_Row] = []
    try:
        for cells in reader:
            name, *values = [cell.strip() for cell in cells] or [""]
            if name or any(values):
                rows.append(_Row(reader.line_num, name, values))
    except csv.Error as error:
        problem = f"not CSV: {error}"
        raise ConfigError((Finding(file, reader.line_num, "", problem, "write one line each"),)) from error
    return rows


def _milliseconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= _MOST_MS else None


def _misnamed(file: Path, names: list[tuple[int, str]], known: Collection[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for line, name in names:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            remedy = f'did you mean "{nearest[0]}"?' if nearest else "write a site of the topology or a city"
            yield Finding(file, line, "", f"{shown(name)} is neither a site nor a city known here", remedy)
        elif name in seen:
            yield Finding(file, line, name, "is given twice", "remove one of the two")
        seen.add(name)
