"""The store of bindings, damaged or robbed of a file: it is refused and left as it is; killed, it is not."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from haha_exabgp.agent.store import Store, StoreError
from haha_exabgp.agent.store_file import log_of

from .test_agent_store import NOW, ROOT, binding, reopened

_SALTS = slice(16, 24)
_KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from haha_exabgp.agent import store
from tests.unit.test_agent_store import NOW, binding

left = int(sys.argv[2])

def kill(*_):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

def connect(*arguments, connect=sqlite3.connect, **options):
    database = connect(*arguments, **options)
    database.set_trace_callback(kill)
    return database

sqlite3.connect = connect
opened = store.Store(Path(sys.argv[1]))
found = {one.home_address for one in opened.load(NOW)}
print("opened", len(found), flush=True)
for number in range(3):
    opened.save([binding(last, sequence=100 + number) for last in range(0x10, 0x10 + 40 * number + 1)], NOW)
    print("saved", number, flush=True)
if sys.argv[3] == "close":
    opened.close()
    print("closed", flush=True)
elif sys.argv[3] == "exit":
    sys.exit()
kill()
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(file: Path, kill_at: int = 0, end: str = "kill") -> tuple[int, list[str]]:
    """Open, save three times, and close, exit or be killed; or be killed at the n-th statement."""
    script = [sys.executable, "-c", _KILLED, str(file), str(kill_at), end]
    ran = subprocess.run(script, cwd=ROOT, timeout=60, check=False, stdout=subprocess.PIPE, text=True)
    return ran.returncode, ran.stdout.splitlines()


def contents(file: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in file.parent.iterdir()}


def assert_refused(file: Path, match: str) -> None:
    before = contents(file)
    with pytest.raises(StoreError, match=match) as caught:
        Store(file)
    assert "\n" not in str(caught.value)
    assert "move it away" in str(caught.value)
    assert contents(file) == before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bindings.sqlite"


@pytest.fixture
def killed(file: Path) -> Path:
    """What a process that was killed has left: some of it in the file, some in the log."""
    store = Store(file)
    for last in range(0x10, 0x40):
        store.save([binding(last)], NOW)
    store.close()
    assert run(file)[0] == -signal.SIGKILL
    assert log_of(file).stat().st_size > 0
    return file


@pytest.fixture
def closed(killed: Path) -> Path:
    """What a process that has ended has left."""
    Store(killed).close()
    assert not log_of(killed).exists()
    return killed


@pytest.mark.parametrize("first", ["new", "closed", "killed"])
def test_killed_at_any_statement_nothing_saved_is_lost_and_nothing_refused(tmp_path, first):
    start = tmp_path / "start"
    start.mkdir()
    if first != "new":
        run(start / "bindings.sqlite", end="close" if first == "closed" else "kill")
    lines: list[str] = []
    for kill_at in itertools.count(1):
        file = tmp_path / str(kill_at) / "bindings.sqlite"
        shutil.copytree(start, file.parent)
        _, lines = run(file, kill_at, "close")
        saved = sum(line.startswith("saved") for line in lines)
        found = reopened(file)
        if first != "new":
            assert len(found) == 81
        if saved:
            last = 40 * (saved - 1) + 1
            assert {found[binding(0x10 + number).home_address].order.sequence for number in range(last)} <= {
                99 + saved,
                100 + saved,
            }
        # And again, what the kill has left notwithstanding.
        store = Store(file)
        assert len(store.load(NOW)) == len(found)
        store.save([binding(sequence=500)], NOW)
        store.close()
        assert reopened(file)[binding().home_address].order.sequence == 500
        if "closed" in lines:
            break
    assert kill_at > 20


def test_what_a_failed_save_has_begun_cannot_be_taken_for_what_follows(file):
    """It may have left frames in the log, as on a full disk: the next ones are of another generation."""
    store = Store(file)
    store.save([binding()], NOW)
    before = log_of(file).read_bytes()[_SALTS]
    store._database.execute(
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON segment BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    )
    with pytest.raises(sqlite3.Error, match="disk is full"):
        store.save([binding(0x11)], NOW)
    store._database.execute("DROP TRIGGER refuse")
    store.save([binding(0x12)], NOW)
    assert log_of(file).read_bytes()[_SALTS] != before
    after = log_of(file).read_bytes()[_SALTS]
    store.save([binding(0x13)], NOW)
    assert log_of(file).read_bytes()[_SALTS] == after
    store.close()
    assert len(reopened(file)) == 3


def test_a_process_that_ends_without_closing_leaves_a_store_that_can_be_opened(file):
    assert run(file, end="exit")[0] == 0
    assert len(reopened(file)) == 81


def test_on_a_full_disk_nobody_is_told_to_move_anything_away(file):
    full = OSError(errno.ENOSPC, "No space left on device")
    with mock.patch("os.link", side_effect=full), pytest.raises(StoreError, match="disk is full; make room"):
        Store(file)
    assert list(file.parent.iterdir()) == []
    assert reopened(file) == {}


def test_a_missing_log_is_refused(killed):
    log_of(killed).unlink()
    assert_refused(killed, "bindings.sqlite-wal, with what was saved last, is missing: put it back")


@pytest.mark.parametrize(("length", "match"), [(0, "is empty"), (31, "is cut off"), (2000, "is cut off")])
def test_an_emptied_log_is_refused(killed, length, match):
    os.truncate(log_of(killed), length)
    assert_refused(killed, match)


def test_a_wiped_log_is_refused(killed):
    log_of(killed).write_bytes(bytes(log_of(killed).stat().st_size))
    assert_refused(killed, "is empty")


def test_every_flipped_bit_of_the_log_before_the_last_save_is_refused(killed):
    log = log_of(killed)
    content = log.read_bytes()
    # The last save has 81 bindings.
    for octet in range(0, len(content) - 81 * 121 - 5 * 4120, 23):
        damaged = bytearray(content)
        damaged[octet] ^= 1 << octet % 8
        log.write_bytes(damaged)
        assert_refused(killed, "in bindings.sqlite-wal, its (header|frame at octet [0-9]+) is damaged")
    log.write_bytes(content)
    assert len(reopened(killed)) == 81


def test_a_log_whose_last_save_is_torn_is_opened_without_it(killed):
    log = log_of(killed)
    os.truncate(log, log.stat().st_size - 1)
    found = reopened(killed)
    assert {one.order.sequence for one in found.values()} >= {101}
    assert {one.order.sequence for one in found.values()}.isdisjoint({102})


@pytest.mark.parametrize("state", ["killed", "closed"])
def test_an_empty_file_is_refused(request, state):
    file = request.getfixturevalue(state)
    os.truncate(file, 0)
    assert_refused(file, "it is empty")


def test_a_missing_file_with_its_log_there_is_refused(killed):
    killed.unlink()
    assert_refused(killed, "it is missing, but its bindings.sqlite-wal is there: put it back")


def test_a_file_that_is_cut_off_is_refused(closed):
    content = closed.read_bytes()
    for length in range(1, len(content), 509):
        closed.write_bytes(content[:length])
        assert_refused(closed, r"store of bindings: (?!.*NoneType)")


@pytest.mark.parametrize(
    "content",
    [b"not a database at all, but long enough to be looked at" * 20, b"SQLite format 3\0" + bytes(4000)],
    ids=["text", "header only"],
)
def test_a_file_of_something_else_is_refused(file, content):
    file.write_bytes(content)
    assert_refused(file, "cannot be used as the store of bindings|its format is 0")


def test_a_page_that_is_wiped_is_refused(closed):
    content = closed.read_bytes()
    assert len(content) >= 4 * 4096
    for start in range(0, len(content), 4096):
        closed.write_bytes(content[:start] + bytes(4096) + content[start + 4096 :])
        assert_refused(closed, "cannot be used")


def test_every_flipped_bit_of_a_record_is_refused(closed):
    content = closed.read_bytes()
    records = content.rindex(binding(0x20).home_address)
    for octet in range(records, records + 100, 3):
        damaged = bytearray(content)
        damaged[octet] ^= 1 << octet % 8
        closed.write_bytes(damaged)
        assert_refused(closed, "segment [0-9]+ is damaged")


@pytest.mark.parametrize(
    ("lost", "match"),
    [("id = 5", "segments 5 to 5 are lost"), ("id < 4", "segments before 4 are lost")],
    ids=["middle", "oldest"],
)
def test_a_segment_that_is_lost_is_noticed(closed, lost, match):
    database = sqlite3.connect(closed)
    database.execute(f"DELETE FROM segment WHERE {lost}")
    database.commit()
    database.close()
    assert_refused(closed, match)


def test_a_journal_that_would_be_rolled_back_is_refused(closed):
    closed.with_name("bindings.sqlite-journal").write_bytes(b"whatever")
    assert_refused(closed, "bindings.sqlite-journal is of another program")


def test_moved_away_as_the_message_says_the_store_starts_empty(killed, tmp_path):
    os.truncate(log_of(killed), 0)
    assert_refused(killed, r"move it away \(and bindings.sqlite-wal if there is one\)")
    (tmp_path / "away").mkdir()
    for one in (killed, log_of(killed)):
        one.rename(tmp_path / "away" / one.name)
    assert reopened(killed) == {}
