"""The write-ahead log of an SQLite database as octets: what is committed in it, and whether it is damaged.

SQLite takes everything from the first frame with a wrong checksum on for never written. That is right for
what a power cut leaves of the last transaction. A damaged frame further in front, though, would silently take
with it everything that was committed behind it. Format: sqlite.org/fileformat2.html section 4.

That a transaction was synced before the next one began (`synchronous = FULL`) tells one from the other: only
the last one can be torn. A transaction has its pages in ascending order, each of them once, as long as SQLite
need not write before the commit (`cache_spill = OFF`), and no two transactions were begun in one place of one
generation (so the log is restarted when it is opened and after a transaction that failed).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

HEADER_SIZE = 32
FRAME_HEADER_SIZE = 24
_HEADER = struct.Struct("!8I")
"""Magic, version, page size, number of checkpoints, 2 salts, 2 checksums."""
_FRAME = struct.Struct("!6I")
"""Page, size of the database in pages if this is a commit (otherwise zero), 2 salts, 2 checksums."""
_BYTE_ORDERS: dict[int, Literal["<", ">"]] = {0x377F0682: "<", 0x377F0683: ">"}
"""Magic -> byte order of the words that are summed."""
_VERSION = 3007000
_SECTOR = 512
_MASK = 0xFFFFFFFF


class LogDamageError(ValueError):
    """Something that had been committed cannot be read."""


class Committed(NamedTuple):
    """What the log adds to the database."""

    pages: dict[int, memoryview]
    """Page number (from 1) -> its content."""
    size: int
    """Of the database, in pages; 0: the log has no commit, it is as large as its file."""


class _Frame(NamedTuple):
    offset: int
    page: int
    size: int
    salts: tuple[int, int]
    checksum: tuple[int, int]


def read_log(log: bytes, page_size: int) -> Committed:
    """What is committed in a log of pages of so many octets. Raises LogDamageError.

    What a crash leaves of the last transaction is left out, as SQLite does.
    """
    if not any(log[HEADER_SIZE:]):
        # The header is synced before there are frames, so this is a log that was just begun.
        return Committed({}, 0)
    magic, version, found_size, _, *rest = _HEADER.unpack_from(log)
    salts = (rest[0], rest[1])
    order = _BYTE_ORDERS.get(magic)
    if order is None or _checksum(log[:24], order, (0, 0)) != (rest[2], rest[3]):
        raise LogDamageError("its header is damaged")
    if version != _VERSION or found_size != page_size:
        raise LogDamageError(f"its header has version {version} and pages of {found_size} octets")
    view = memoryview(log)
    frames = list(_frames(log, page_size))
    checksum = (rest[2], rest[3])
    pages: dict[int, memoryview] = {}
    uncommitted: dict[int, memoryview] = {}
    size = begin = valid = 0
    for frame in frames:
        content = frame.offset + FRAME_HEADER_SIZE
        checksum = _checksum(log[frame.offset : frame.offset + 8], order, checksum)
        if frame.salts == salts and frame.page:
            checksum = _checksum(log[content : content + page_size], order, checksum)
        if frame.salts != salts or not frame.page or checksum != frame.checksum:
            break
        valid += 1
        uncommitted[frame.page] = view[content : content + page_size]
        if frame.size:
            pages.update(uncommitted)
            uncommitted.clear()
            size, begin = frame.size, valid
    if valid < len(frames):
        _check_torn(frames, begin, valid, salts)
    return Committed(pages, size)


def _frames(log: bytes, page_size: int) -> Iterator[_Frame]:
    length = FRAME_HEADER_SIZE + page_size
    for offset in range(HEADER_SIZE, len(log) - length + 1, length):
        page, size, salt1, salt2, sum1, sum2 = _FRAME.unpack_from(log, offset)
        yield _Frame(offset, page, size, (salt1, salt2), (sum1, sum2))


def _check_torn(frames: list[_Frame], begin: int, valid: int, salts: tuple[int, int]) -> None:
    """Can everything from frame `begin` on be one transaction that a power cut has torn?

    The frames up to `valid` are as they were written. Raises LogDamageError.
    """
    bad = frames[valid].offset
    last, page = begin - 1, 0
    has_commit = False
    for index, frame in enumerate(frames[begin:], begin):
        # A power cut leaves a sector as it was or as it became, and no sector ends between the salts:
        # one of them that is right is of this generation.
        if frame.salts[0] != salts[0] and frame.salts[1] != salts[1]:
            continue
        if has_commit:
            raise LogDamageError(f"its frame at octet {bad} is damaged, and commits follow")
        if (frame.offset + 8) % _SECTOR == 0:
            # Page and size may be what an earlier generation had there.
            continue
        # Frames between that are lost have pages between.
        if frame.page - page < index - last:
            raise LogDamageError(f"its frame at octet {bad} is damaged, and another transaction follows")
        last, page = index, frame.page
        has_commit = frame.size != 0


def _checksum(octets: bytes, order: Literal["<", ">"], start: tuple[int, int]) -> tuple[int, int]:
    first, second = start
    words = struct.unpack(f"{order}{len(octets) // 4}I", octets)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _MASK
        second = (second + odd + first) & _MASK
    return first, second
