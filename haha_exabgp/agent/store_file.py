"""The file of the store, made and looked at as octets, before SQLite gets it.

SQLite changes what it opens: it deletes the log of an empty database, takes a damaged log for a short one
and writes the rest into the database when it is closed. So what has to stay as it is when it is refused is
read here.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .write_ahead_log import FRAME_HEADER_SIZE, HEADER_SIZE, LogDamageError, read_log

CLOSED = 0x48414841
"""`PRAGMA application_id` in the file itself, whatever the log has: everything is in the file."""
OPEN = CLOSED + 1
"""There must be a log: from before this is in the file, and until it is no more, the log has a frame."""
_LOCK_SECONDS = 1.0
"""How long to wait for a process that is ending."""
_SHARED_LOCK = (510, 0x40000002)
"""Length and start of what SQLite locks, shared or exclusively (sqlite3 os.h, SHARED_FIRST)."""
_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
_JOURNAL_MODE = slice(18, 20)
_ROLLBACK_MODE, _LOG_MODE = b"\1\1", b"\2\2"
_PAGE_SIZE = slice(16, 18)
_FORMAT = slice(60, 64)
_APPLICATION_ID = slice(68, 72)


def log_of(file: Path) -> Path:
    """Where SQLite has the write-ahead log of a database."""
    return file.with_name(file.name + "-wal")


def make_file(file: Path, schema: str) -> None:
    """A new database, whole or not at all, mode 0600. Raises OSError, sqlite3.Error; ValueError when there
    are remains of an earlier one."""
    log = log_of(file)
    if log.exists() and log.stat().st_size:
        raise ValueError(f"it is missing, but its {log.name} is there: put it back")
    with sqlite3.connect(":memory:", isolation_level=None) as database:
        database.executescript(f"{schema}; PRAGMA application_id = {CLOSED}")
        image = bytearray(database.serialize())
    database.close()
    image[_JOURNAL_MODE] = _LOG_MODE
    descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(image)
            new.flush()
            os.fsync(new.fileno())
        # Not in place of one that another process has made meanwhile.
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        os.unlink(name)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_file(file: Path) -> tuple[int, bytearray]:
    """The format (`PRAGMA user_version`) and the database with everything that is committed, for
    `Connection.deserialize`; nothing is changed.

    Raises BlockingIOError while another process has it open, OSError, and ValueError when it or its log is
    damaged or missing.
    """
    with file.open("rb") as opened:
        _lock(opened.fileno())
        image = bytearray(opened.read())
        log = log_of(file)
        octets = log.read_bytes() if log.exists() else b""
    if not image:
        raise ValueError("it is empty")
    if len(image) < _HEADER_SIZE or not image.startswith(_MAGIC):
        raise ValueError("it is not a database")
    journal = file.with_name(file.name + "-journal")
    if journal.exists():
        raise ValueError(f"{journal.name} is of another program")
    # 1: 65536, which has no room (sqlite.org/fileformat2.html 1.3.2).
    page_size = int.from_bytes(image[_PAGE_SIZE], "big")
    if page_size == 1:
        page_size = 1 << 16
    was_open = int.from_bytes(image[_APPLICATION_ID], "big") == OPEN
    if was_open and (len(octets) < HEADER_SIZE + FRAME_HEADER_SIZE + page_size or not any(octets)):
        lacks = "cut off" if any(octets) else "empty" if log.exists() else "missing"
        raise ValueError(f"its {log.name}, with what was saved last, is {lacks}: put it back")
    try:
        pages, size = read_log(octets, page_size)
    except LogDamageError as error:
        raise ValueError(f"in {log.name}, {error}") from error
    if size:
        del image[size * page_size :]
        image += bytes(size * page_size - len(image))
    for number, content in pages.items():
        if number <= size:
            image[(number - 1) * page_size : number * page_size] = content
    # There is no log beside what is in memory.
    image[_JOURNAL_MODE] = _ROLLBACK_MODE
    return int.from_bytes(image[_FORMAT], "big"), image


def _lock(descriptor: int) -> None:
    """A lock that SQLite heeds, until the file is closed. Raises BlockingIOError."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, *_SHARED_LOCK)
        except (BlockingIOError, PermissionError) as error:
            if time.monotonic() > end:
                raise BlockingIOError(str(error)) from error
            time.sleep(0.02)
        else:
            return
