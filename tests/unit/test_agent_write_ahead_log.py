"""The write-ahead log: what a power cut can leave is accepted, what it cannot is damage."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from haha_exabgp.agent.write_ahead_log import FRAME_HEADER_SIZE, HEADER_SIZE, LogDamageError, read_log

PAGE = 512
FRAME = FRAME_HEADER_SIZE + PAGE


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(tmp_path / "some.sqlite", isolation_level=None)
    database.executescript(
        f"PRAGMA page_size = {PAGE}; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
        "PRAGMA synchronous = FULL; PRAGMA cache_spill = OFF; PRAGMA wal_autocheckpoint = 0;"
        "CREATE TABLE segment (id INTEGER PRIMARY KEY, records BLOB)"
    )
    yield database
    database.close()


@pytest.fixture
def add(database, tmp_path):
    """Adds a segment of some octets in one transaction; returns what is then in the log."""

    def add(length: int) -> bytes:
        database.execute(
            "INSERT INTO segment (records) VALUES (?)", (random.Random(length).randbytes(length),)
        )
        return (tmp_path / "some.sqlite-wal").read_bytes()

    return add


def flipped(octets: bytes, bit: int) -> bytes:
    damaged = bytearray(octets)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_what_is_committed_is_what_sqlite_reads(database, add, tmp_path):
    for length in (10, 3000, 200, 900):
        log = add(length)
    committed = read_log(log, PAGE)
    image = bytearray((tmp_path / "some.sqlite").read_bytes())
    assert len(image) < committed.size * PAGE
    image += bytes(committed.size * PAGE - len(image))
    for number, content in committed.pages.items():
        image[(number - 1) * PAGE : number * PAGE] = content
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert bytes(image) == (tmp_path / "some.sqlite").read_bytes()


@pytest.mark.parametrize("lengths", [(10, 10, 10), (10, 10, 2000), (2000, 10, 10), (900, 1500, 700)])
def test_any_bit_that_changes_before_the_last_transaction_is_noticed(add, lengths):
    *_, before, log = [add(length) for length in lengths]
    assert len(log) > len(before)
    read_log(log, PAGE)
    for bit in range(len(before) * 8):
        with pytest.raises(LogDamageError):
            read_log(flipped(log, bit), PAGE)


@pytest.mark.parametrize("lengths", [(10, 10, 10), (2000, 10, 1500)])
def test_a_last_transaction_that_is_cut_off_or_torn_is_as_if_it_had_not_been(add, lengths):
    *_, before, log = [add(length) for length in lengths]
    assert read_log(before, PAGE) != read_log(log, PAGE)
    for length in range(len(before), len(log)):
        assert read_log(log[:length], PAGE) == read_log(before, PAGE)
    for frame in range(len(before), len(log), FRAME):
        for octet in range(frame + 16, frame + FRAME):
            assert read_log(flipped(log, octet * 8), PAGE) == read_log(before, PAGE)


def test_sectors_of_the_last_transaction_may_reach_the_disk_in_any_order(database, add):
    """With frames of an earlier generation below them: whatever was written over is there, or not."""
    for length in (3000, 2000, 40, 40, 900, 3000):
        old = add(length)
    assert database.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
    begun = add(10)
    after = add(4000)
    assert len(after) == len(old)
    sectors = [
        start for start in range(0, len(old), 512) if begun[start : start + 512] != after[start : start + 512]
    ]
    assert len(sectors) > 8
    choice = random.Random(1)
    for _ in range(2000):
        torn = bytearray(begun)
        for start in choice.sample(sectors, choice.randrange(len(sectors))):
            torn[start : start + 512] = after[start : start + 512]
        assert read_log(bytes(torn), PAGE) in (read_log(begun, PAGE), read_log(after, PAGE))


def test_a_sector_may_end_within_the_header_of_a_frame(database, add):
    """Its page and size are then of an earlier generation, a commit here, its salts are new."""
    for _ in range(60):
        add(10)
    assert database.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
    for _ in range(38):
        begun = add(10)
    after = add(9000)
    end = next(offset + 8 for offset in range(HEADER_SIZE, len(begun), FRAME) if (offset + 8) % 512 == 0)
    assert begun[end - 512 : end] != after[end - 512 : end]
    assert any(begun[end - 4 : end])
    torn = after[: end - 512] + begun[end - 512 : end] + after[end:]
    assert read_log(torn, PAGE) == read_log(begun, PAGE)


def test_a_damaged_commit_before_one_of_a_later_page_is_noticed(database, add, tmp_path):
    """The two would do as one transaction, were it not for the commit between them."""
    database.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    before = add(10)
    log = add(10)
    assert len(log) - len(before) == FRAME
    database.execute("INSERT INTO other VALUES (1)")
    both = (tmp_path / "some.sqlite-wal").read_bytes()
    assert both[len(log) : len(log) + 4] > both[len(before) : len(before) + 4]
    for octet in range(len(before) + 16, len(log)):
        with pytest.raises(LogDamageError, match="commits follow"):
            read_log(flipped(both, octet * 8), PAGE)


def test_frames_of_an_earlier_generation_behind_are_none_of_ours(database, add):
    for length in (3000, 40, 900):
        long = add(length)
    database.execute("PRAGMA wal_checkpoint(RESTART)")
    for length in (10, 300):
        log = add(length)
        assert len(log) == len(long)
        assert 0 < len(read_log(log, PAGE).pages) < 6
    # The new header is there before anything else is.
    assert read_log(log[:HEADER_SIZE] + long[HEADER_SIZE:], PAGE) == ({}, 0)


@pytest.mark.parametrize("length", [512, 4096])
def test_octets_that_are_wiped_in_the_middle_are_noticed(add, length):
    for number in range(40):
        log = add(40 * number)
    begin = len(log) - 12 * FRAME
    for start in range(0, begin - length, 64):
        with pytest.raises(LogDamageError):
            read_log(log[:start] + bytes(length) + log[start + length :], PAGE)


def test_a_log_that_was_just_begun_is_empty(add):
    log = add(10)
    for length in range(HEADER_SIZE + 1):
        assert read_log(log[:length], PAGE) == ({}, 0)
    assert read_log(bytes(len(log)), PAGE) == ({}, 0)


def test_a_log_of_another_page_size_is_refused(add):
    with pytest.raises(LogDamageError, match="pages of 512 octets"):
        read_log(add(10), 4096)
