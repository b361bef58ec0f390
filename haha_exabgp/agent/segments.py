"""The segments of the store: rows of records, and what tells that none of them is damaged or lost."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator

SCHEMA = (
    "CREATE TABLE segment"
    " (id INTEGER PRIMARY KEY, oldest INTEGER NOT NULL, crc INTEGER NOT NULL, records BLOB NOT NULL)"
)
"""Segments are numbered one after the other and given up from the oldest on; `oldest` is the one that was
so when this was written."""


def insert_segment(database: sqlite3.Connection, segment: int, oldest: int, records: bytes) -> None:
    """Add a segment. Raises sqlite3.Error."""
    database.execute(
        "INSERT INTO segment VALUES (?, ?, ?, ?)", (segment, oldest, _crc(segment, oldest, records), records)
    )


def read_segments(database: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
    """(Number, records) of every segment, oldest first. Raises sqlite3.Error; ValueError when one is damaged
    or lost, as soon as that is known."""
    first = previous = oldest = None
    for segment, oldest, crc, records in database.execute(
        "SELECT id, oldest, crc, records FROM segment ORDER BY id"
    ):
        if not isinstance(records, bytes) or _crc(segment, oldest, records) != crc:
            raise ValueError(f"segment {segment} is damaged")
        if previous is None:
            first = segment
        elif segment != previous + 1:
            raise ValueError(f"segments {previous + 1} to {segment - 1} are lost")
        previous = segment
        yield segment, records
    if oldest != first:
        raise ValueError(f"the segments before {first} are lost")


def _crc(segment: int, oldest: int, records: bytes) -> int:
    return zlib.crc32(records, zlib.crc32(b"%d %d" % (segment, oldest)))
