"""The bindings on disk: what a Home Agent has acknowledged outlives its process.

One SQLite file in write-ahead mode, used as a log: every `save` appends its bindings as one row, a
*segment*, in one transaction, and they are durable when it returns. A row a binding would cost ten times as
much, most of it for finding the page of each home address; so 512 bindings are one insertion of 56 kB. Of
several records for one home address the last counts. Once more than half of all records are outdated, a
save gives up the oldest segments and writes again what still counts in them.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from ..protocol.binding import Binding
from ..protocol.time import Now
from .binding_records import pull_binding, push_binding, split_records

_FORMAT = 2
"""`PRAGMA user_version` of the files this program writes."""
_LOCK_SECONDS = 1.0
"""How long to wait for a process that is ending."""
_SPARE_RECORDS = 4096
"""Outdated records that are left alone, however few bindings there are."""
_SEGMENTS_A_SAVE = 8
"""The most old segments that one save gives up: an acknowledgement waits for it."""


class StoreError(Exception):
    """The file cannot be used; it is left as it is."""


class Store:
    """The bindings of one Home Agent, ended ones among them (see `protocol.binding`).

    May be used by any thread, by one at a time.
    """

    def __init__(self, file: Path) -> None:
        """Open or make the file, mode 0600. Raises StoreError."""
        self._file = file
        self._segment_of: dict[bytes, int] = {}
        """Home address -> the segment whose record counts."""
        self._lengths: dict[int, int] = {}
        """Segment -> records in it, oldest first."""
        self._records = 0
        """All of them, outdated ones too."""
        try:
            _make_private(file)
            self._database = sqlite3.connect(
                file, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from error
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; everything saved is in it."""
        self._database.close()

    def load(self, now: Now) -> list[Binding]:
        """Every stored binding; one whose lifetime has passed meanwhile comes as ended. Some 5 us each.

        Lifetimes are stored as wall-clock time: the monotonic clock starts anew with the machine.
        Raises StoreError.
        """
        last: dict[bytes, bytes] = {}
        self._segment_of.clear()
        self._lengths.clear()
        try:
            for segment, crc, blob in self._database.execute(
                "SELECT id, crc, records FROM segment ORDER BY id"
            ):
                if zlib.crc32(blob) != crc:
                    raise self._unusable(ValueError(f"segment {segment} is damaged"))
                found = dict(split_records(blob))
                last |= found
                self._segment_of |= dict.fromkeys(found, segment)
                self._lengths[segment] = len(found)
            self._records = sum(self._lengths.values())
            return [pull_binding(record, now) for record in last.values()]
        except (sqlite3.Error, ValueError, TypeError, IndexError, struct.error) as error:
            raise self._unusable(error) from error

    def save(self, bindings: Iterable[Binding], now: Now) -> None:
        """Write these in one transaction, each in place of what was stored for its home address.
        Raises sqlite3.Error; then none of them is written."""
        records: dict[bytes, bytes] = {one.home_address: push_binding(one, now) for one in bindings}
        if not records:
            return
        outdated = self._outdated_segments(len(records))
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        try:
            for old in outdated:
                (blob,) = execute("SELECT records FROM segment WHERE id = ?", (old,)).fetchone()
                for home_address, record in split_records(blob):
                    if self._segment_of[home_address] == old:
                        records.setdefault(home_address, record)
                execute("DELETE FROM segment WHERE id = ?", (old,))
            blob = b"".join(records.values())
            (segment,) = execute(
                "INSERT INTO segment (crc, records) VALUES (?, ?) RETURNING id", (zlib.crc32(blob), blob)
            ).fetchone()
            execute("COMMIT")
        except BaseException:
            # A full disk, for one, can make SQLite roll back by itself.
            if self._database.in_transaction:
                execute("ROLLBACK")
            raise
        self._segment_of |= dict.fromkeys(records, segment)
        self._records += len(records) - sum(map(self._lengths.pop, outdated))
        self._lengths[segment] = len(records)

    def _outdated_segments(self, more: int) -> list[int]:
        """The oldest segments, as many as have to go before `more` records are added."""
        segments: list[int] = []
        surplus = self._records + more - 2 * len(self._segment_of) - _SPARE_RECORDS
        for segment, length in self._lengths.items():
            if surplus <= 0 or len(segments) == _SEGMENTS_A_SAVE:
                break
            segments.append(segment)
            surplus -= length
        return segments

    def _unusable(self, error: Exception) -> StoreError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return StoreError(f"{self._file}: another process has it open; only one agent can use it")
        return StoreError(
            f"{self._file}: cannot be used as the store of bindings: {error};"
            " move it away to start with no bindings: mobile routers bind again by themselves"
        )

    def _prepare(self) -> None:
        execute = self._database.execute
        (found,) = execute("PRAGMA user_version").fetchone()
        if found not in (0, _FORMAT):
            raise StoreError(
                f"{self._file}: its format is {found}, this version reads {_FORMAT}; run the one it is from,"
                " or move it away: mobile routers bind again by themselves"
            )
        # One process has it, so that a save needs no locks: a third of its system calls.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        # What is given up holds no secrets; overwriting it would double the writing.
        execute("PRAGMA secure_delete = OFF")
        execute(
            "CREATE TABLE IF NOT EXISTS segment"
            " (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, records BLOB NOT NULL)"
        )
        execute(f"PRAGMA user_version = {_FORMAT}")


def _make_private(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
