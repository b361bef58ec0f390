"""The bindings on disk: what a Home Agent has acknowledged outlives its process.

One SQLite file in write-ahead mode, used as a log: every `save` appends its bindings as one row, a
*segment*, in one transaction, and they are durable when it returns. A row a binding would cost ten times as
much, most of it for finding the page of each home address; so 512 bindings are one insertion of 56 kB. Of
several records for one home address the last counts. Once more than half of all records are outdated, a
save gives up the oldest segments and writes again what still counts in them.
"""

from __future__ import annotations

import errno
import sqlite3
import struct
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..protocol.binding import Binding
from ..protocol.time import Now
from .binding_records import pull_binding, push_binding, split_records
from .segments import SCHEMA, insert_segment, read_segments
from .store_file import CLOSED, OPEN, log_of, make_file, read_file

_FORMAT = 3
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
        self._last = 0
        """Number of the last segment."""
        self._records = 0
        """All of them, outdated ones too."""
        self._has_failed = False
        """The last save; what it has left in the log must not be mixed with another transaction."""
        try:
            if not file.exists():
                make_file(file, f"{SCHEMA}; PRAGMA user_version = {_FORMAT}")
            self._check()
            file.chmod(0o600)
            self._database = sqlite3.connect(
                file, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error, ValueError) as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._database.close()
            raise self._unusable(error) from error
        # Without this, a process that ends without `close` has SQLite close the file, and it stays marked.
        self._close = weakref.finalize(self, _close, self._database)
        try:
            _mark_open(self._database)
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file; everything saved is in it."""
        self._close()

    def load(self, now: Now) -> list[Binding]:
        """Every stored binding; one whose lifetime has passed meanwhile comes as ended. Some 5 us each.
        To be called before the first `save`.

        Lifetimes are stored as wall-clock time: the monotonic clock starts anew with the machine.
        Raises StoreError.
        """
        last: dict[bytes, bytes] = {}
        self._segment_of.clear()
        self._lengths.clear()
        try:
            for segment, records in read_segments(self._database):
                found = dict(split_records(records))
                last |= found
                self._segment_of |= dict.fromkeys(found, segment)
                self._lengths[segment] = len(found)
                self._last = segment
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
        segment = self._last + 1
        oldest = next((one for one in self._lengths if one not in outdated), segment)
        execute = self._database.execute
        if self._has_failed:
            _mark_open(self._database)
            self._has_failed = False
        execute("BEGIN IMMEDIATE")
        try:
            for old in outdated:
                (blob,) = execute("SELECT records FROM segment WHERE id = ?", (old,)).fetchone()
                for home_address, record in split_records(blob):
                    if self._segment_of[home_address] == old:
                        records.setdefault(home_address, record)
                execute("DELETE FROM segment WHERE id = ?", (old,))
            insert_segment(self._database, segment, oldest, b"".join(records.values()))
            execute("COMMIT")
        except BaseException:
            self._has_failed = True
            # A full disk, for one, can make SQLite roll back by itself.
            if self._database.in_transaction:
                execute("ROLLBACK")
            raise
        self._segment_of |= dict.fromkeys(records, segment)
        self._records += len(records) - sum(map(self._lengths.pop, outdated))
        self._lengths[segment] = len(records)
        self._last = segment

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

    def _check(self) -> None:
        """Raises StoreError, and what `_unusable` takes, when the file is not what this has left."""
        found, image = read_file(self._file)
        if found != _FORMAT:
            raise StoreError(
                f"{self._file}: its format is {found}, this version reads {_FORMAT}; run the one it is from,"
                " or move it away: mobile routers bind again by themselves"
            )
        database = sqlite3.connect(":memory:", isolation_level=None)
        try:
            database.deserialize(image)
            (result,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if result != "ok":
                raise ValueError(" ".join(result.split()))
            for _ in read_segments(database):
                pass
        finally:
            database.close()

    def _unusable(self, error: Exception) -> StoreError:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_BUSY or isinstance(error, BlockingIOError):
            return StoreError(f"{self._file}: another process has it open; only one agent can use it")
        if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == errno.ENOSPC:
            return StoreError(f"{self._file}: its disk is full; make room, what was saved is still there")
        return StoreError(
            f"{self._file}: cannot be used as the store of bindings: {error};"
            f" move it away (and {log_of(self._file).name} if there is one) to start with no bindings:"
            " mobile routers bind again by themselves"
        )

    def _prepare(self) -> None:
        execute = self._database.execute
        # One process has it, so that a save needs no locks: a third of its system calls.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        # What is given up holds no secrets; overwriting it would double the writing.
        execute("PRAGMA secure_delete = OFF")
        # See `write_ahead_log`.
        execute("PRAGMA cache_spill = OFF")
        _restart_log(self._database)


def _restart_log(database: sqlite3.Connection) -> None:
    """Everything into the file; what comes next is of another generation, unless the log has no commit."""
    database.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()


def _mark_open(database: sqlite3.Connection) -> None:
    database.execute(f"PRAGMA application_id = {OPEN}")
    # Into the file too, while the log has it: SQLite overwrites a log that it is done with, and never
    # shortens it.
    _restart_log(database)


def _close(database: sqlite3.Connection) -> None:
    # What was saved is in the log if it cannot be brought into the file, and found there by the next one.
    with suppress(sqlite3.Error):
        # So the mark needs no more of a full disk.
        _restart_log(database)
        database.execute(f"PRAGMA application_id = {CLOSED}")
    # SQLite brings the mark into the file before it deletes the log.
    database.close()
