"""The store of bindings: what was acknowledged is there again, whatever ended the process."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haha_exabgp.agent.binding_records import push_binding
from haha_exabgp.agent.segments import insert_segment
from haha_exabgp.agent.store import Store, StoreError
from haha_exabgp.agent.store_file import log_of
from haha_exabgp.protocol.binding import Binding, BindingKind, Order
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix

ROOT = Path(__file__).parents[2]
NOW = Now(monotonic=5000.0, wall=1_700_000_000.0)
ADDRESSES = st.binary(min_size=16, max_size=16).map(Address)
PREFIXES = st.builds(Prefix.of, ADDRESSES, st.integers(0, 128))
BINDINGS = st.builds(
    Binding,
    home_address=ADDRESSES,
    care_of_address=ADDRESSES,
    prefixes=st.lists(PREFIXES, max_size=4).map(tuple),
    mobile_router=st.booleans(),
    kind=st.sampled_from(BindingKind),
    order=st.builds(Order, st.integers(0, (1 << 65) - 1), st.integers(0, 65535)),
    mobility_sequence=st.integers(0, (1 << 32) - 1),
    peer=st.none() | ADDRESSES,
    registered=st.floats(0, 4e9),
    expires=st.just(0.0) | st.floats(5004.0, 5000.0 + 262140),
)


def binding(last: int = 0x10, expires: float = 5600.0, sequence: int = 7) -> Binding:
    return Binding(
        home_address=Address.parse(f"2001:db8:1:1::{last:x}"),
        care_of_address=Address.parse("3fff:f01::aa"),
        prefixes=(Prefix.parse("2001:db8:1:100::/64"),),
        mobile_router=True,
        kind=BindingKind.PROXIED,
        order=Order(17084311200000000000 + (1 << 64), sequence),
        mobility_sequence=1_700_000_000,
        peer=Address.parse("2001:db8:ffff::2"),
        registered=1_699_999_999.25,
        expires=expires,
        is_vouched=bool(last % 2),
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bindings.sqlite"


def reopened(file: Path, now: Now = NOW) -> dict[Address, Binding]:
    store = Store(file)
    try:
        return {one.home_address: one for one in store.load(now)}
    finally:
        store.close()


def test_a_new_store_is_empty_and_nobody_elses(file):
    previous = os.umask(0)
    try:
        store = Store(file)
        store.save([binding()], NOW)
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()}
        store.close()
    finally:
        os.umask(previous)
    assert modes.keys() >= {"bindings.sqlite", "bindings.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def test_a_file_that_others_could_read_is_closed_to_them(file):
    Store(file).close()
    file.chmod(0o644)
    Store(file).close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@given(bindings=st.lists(BINDINGS, unique_by=lambda one: one.home_address, max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_saved_comes_back(tmp_path_factory, bindings):
    file = tmp_path_factory.mktemp("store") / "bindings.sqlite"
    store = Store(file)
    store.save(bindings, NOW)
    store.close()
    found = reopened(file)
    assert found.keys() == {one.home_address for one in bindings}
    for one in bindings:
        assert found[one.home_address].expires == pytest.approx(one.expires, abs=1e-3)
        assert _but_expiry(found[one.home_address]) == _but_expiry(one)


def _but_expiry(one: Binding) -> tuple[object, ...]:
    return one._replace(expires=0.0)


def test_a_later_binding_takes_the_place_of_an_earlier_one(file):
    store = Store(file)
    store.save([binding(), binding(0x11)], NOW)
    store.save([binding(sequence=8)], NOW)
    store.close()
    found = reopened(file)
    assert sorted(one.order.sequence for one in found.values()) == [7, 8]


def test_a_lifetime_goes_on_while_the_machine_is_off(file):
    """The monotonic clock starts anew, the wall clock goes on."""
    store = Store(file)
    store.save([binding(expires=5600.0), binding(0x11, expires=5050.0), binding(0x12, expires=0.0)], NOW)
    store.close()
    found = reopened(file, Now(monotonic=20.0, wall=NOW.wall + 100))
    assert {str(home)[-2:]: one.expires for home, one in found.items()} == {
        "10": pytest.approx(520.0),
        "11": 0.0,
        "12": 0.0,
    }
    # What has ended is remembered all the same.
    assert {one.order for one in found.values()} == {binding().order}


def test_a_clock_set_back_does_not_make_a_binding_last_longer(file):
    store = Store(file)
    store.save([binding(expires=5600.0), binding(0x12, expires=0.0)], NOW)
    store.close()
    found = reopened(file, Now(monotonic=20.0, wall=0.0))
    assert sorted(one.expires for one in found.values()) == [0.0, pytest.approx(620.0)]


@pytest.mark.parametrize("records", [b"x", bytes(200), push_binding(binding(), NOW)[:-1]])
def test_a_record_that_makes_no_sense_is_refused(file, records):
    """However right its checksum."""
    Store(file).close()
    database = sqlite3.connect(file)
    insert_segment(database, 1, 1, records)
    database.commit()
    database.close()
    store = Store(file)
    with pytest.raises(StoreError, match="move it away"):
        store.load(NOW)
    store.close()


def test_the_file_of_another_version_is_refused_and_left_as_it_is(file):
    database = sqlite3.connect(file)
    database.execute("PRAGMA user_version = 1")
    database.execute("CREATE TABLE other (x)")
    database.commit()
    database.close()
    content = file.read_bytes()
    with pytest.raises(StoreError, match="format is 1, this version reads 3"):
        Store(file)
    assert file.read_bytes() == content
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "missing" / "bindings.sqlite")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path)


def test_a_save_that_fails_changes_nothing_and_the_next_one_works(file):
    store = Store(file)
    store.save([binding()], NOW)
    store._database.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON segment WHEN length(NEW.records) > 200"
        " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    )
    with pytest.raises(sqlite3.Error, match="disk is full"):
        store.save([binding(sequence=8), binding(0x11)], NOW)
    assert [one.order.sequence for one in store.load(NOW)] == [7]
    store._database.execute("DROP TRIGGER refuse")
    store.save([binding(sequence=8), binding(0x11)], NOW)
    assert sorted(one.order.sequence for one in store.load(NOW)) == [7, 8]
    store.close()


def test_a_commit_that_fails_leaves_no_transaction_behind(file):
    """Foreign keys that are checked late fail at COMMIT, as a full disk does."""
    store = Store(file)
    store._database.executescript(
        "PRAGMA foreign_keys = ON;"
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);"
        "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TRIGGER late AFTER INSERT ON segment BEGIN INSERT INTO child VALUES (NEW.id); END;"
    )
    with pytest.raises(sqlite3.IntegrityError):
        store.save([binding()], NOW)
    assert store.load(NOW) == []
    store._database.execute("DROP TRIGGER late")
    store.save([binding()], NOW)
    assert len(store.load(NOW)) == 1
    store.close()


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), max_size=60), st.randoms())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_giving_up_outdated_records_loses_none_that_counts(tmp_path_factory, batches, random):
    """Whatever is written in which order, and wherever the file is opened again in between."""
    file = tmp_path_factory.mktemp("store") / "bindings.sqlite"
    expected: dict[Address, Binding] = {}
    store = Store(file)
    with mock.patch("haha_exabgp.agent.store._SPARE_RECORDS", 5):
        for number, batch in enumerate(batches):
            saved = [binding(last, sequence=number) for last in batch]
            store.save(saved, NOW)
            expected |= {one.home_address: one for one in saved}
            if random.random() < 0.1:
                store.close()
                store = Store(file)
                store.load(NOW)
        stored = store._database.execute("SELECT sum(length(records)) FROM segment").fetchone()[0] or 0
        assert stored <= len(push_binding(binding(), NOW)) * (2 * len(expected) + 5 + 12)
    store.close()
    assert reopened(file) == expected


def test_the_file_stays_small_however_often_bindings_are_refreshed(file):
    store = Store(file)
    for number in range(3000):
        store.save([binding(last, sequence=number) for last in range(8)], NOW)
    store.close()
    assert file.stat().st_size < 3 << 20
    assert {one.order.sequence for one in reopened(file).values()} == {2999}


_SECOND = """
from pathlib import Path
from haha_exabgp.agent.store import Store, StoreError
try:
    Store(Path({file!r}))
except StoreError as error:
    print(error)
"""


def test_a_second_process_is_told_that_the_store_is_in_use(file):
    """Whatever the log looks like while it is being written."""
    store = Store(file)
    store.save([binding()], NOW)
    script = [sys.executable, "-c", _SECOND.format(file=str(file))]
    log = log_of(file).read_bytes()
    for content in (log, b"x" + log[1:]):
        log_of(file).write_bytes(content)
        second = subprocess.run(script, cwd=ROOT, timeout=60, check=True, stdout=subprocess.PIPE, text=True)
        assert "another process has it open" in second.stdout
    log_of(file).write_bytes(log)
    store.save([binding(0x11)], NOW)
    store.close()
    assert len(reopened(file)) == 2


def test_the_log_stays_small_while_the_store_is_open(file):
    """What is in it is brought into the file again and again: little is lost with it."""
    store = Store(file)
    for number in range(400):
        store.save([binding(last, sequence=number) for last in range(256)], NOW)
        assert log_of(file).stat().st_size < 6 << 20
    assert file.stat().st_size > 100_000
    store.close()
