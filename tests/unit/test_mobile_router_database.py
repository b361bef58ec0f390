"""The file of the database of mobile routers: which are used, which are refused and left as they are, and how
changes in it are seen."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from haha_exabgp.mobile_routers.database import DatabaseBusyError, DatabaseError, MobileRouterDatabase
from haha_exabgp.protocol.home import (
    LeakPolicy,
    MobileRouterPolicy,
    ReplayProtectionMode,
    SecurityAssociation,
)
from haha_exabgp.wire.address import Address


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def filled(count: int = 2) -> None:
    """mr.db with the mobile routers a0, a1 and so on."""
    with closing(MobileRouterDatabase(Path("mr.db"), make=True)) as database, database.editing() as edit:
        for number in range(count):
            home_address = Address.parse(f"2001:db8:1:2::{number + 1:x}")
            key = SecurityAssociation(4096, bytes(16))
            edit.add(MobileRouterPolicy(f"a{number}", home_address, (), (key,)))


def opened(file: str = "mr.db") -> str:
    with pytest.raises(DatabaseError) as caught:
        MobileRouterDatabase(Path(file), make=True)
    return str(caught.value)


def test_a_database_that_others_can_read_is_refused() -> None:
    filled()
    Path("mr.db").chmod(0o644)
    assert opened() == '"mr.db" is open to others (mode 0644); run: chmod 600 mr.db'


def test_a_database_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    filled()
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown("mr.db", 4711, -1)
    assert "belongs to another user" in opened()


@pytest.mark.parametrize("content", [b"name,home_address\n" * 100, b"SQLite format 3\0" + b"x" * 5000])
def test_what_is_no_database_is_refused_and_left_as_it_is(content: bytes) -> None:
    Path("mr.db").write_bytes(content)
    Path("mr.db").chmod(0o600)
    assert "it is left as it is" in opened()
    assert Path("mr.db").read_bytes() == content


def test_a_database_of_something_else_is_refused_and_left_as_it_is() -> None:
    other = sqlite3.connect("mr.db")
    other.execute("CREATE TABLE binding (x)")
    other.close()
    Path("mr.db").chmod(0o600)
    assert "is no database of mobile routers; it is left as it is" in opened()


def test_a_database_of_another_format_is_refused() -> None:
    filled()
    newer = sqlite3.connect("mr.db")
    newer.execute("PRAGMA user_version = 7")
    newer.close()
    assert opened() == (
        '"mr.db" has format 7, this version reads 2; it is left as it is: export it with the version it is'
        " from"
    )


def of_format_1(count: int = 2) -> None:
    """mr.db as it was written before there were leak policies."""
    filled(count)
    older = sqlite3.connect("mr.db")
    older.execute("ALTER TABLE mobile_router DROP COLUMN leak")
    older.execute("PRAGMA user_version = 1")
    older.close()


@pytest.mark.requirement("K-6")
def test_a_database_of_an_older_format_is_brought_up_to_date() -> None:
    of_format_1()
    with closing(MobileRouterDatabase(Path("mr.db"))) as database:
        assert [(one.name, one.leak) for one in database.every()] == [("a0", None), ("a1", None)]
        with database.editing() as edit:
            edit.remove("a1")
            (one,) = database.every()
            edit.remove("a0")
            edit.add(replace(one, leak=LeakPolicy.NEVER))
    with closing(MobileRouterDatabase(Path("mr.db"))) as database:
        assert [one.leak for one in database.every()] == [LeakPolicy.NEVER]
    hand = sqlite3.connect("mr.db")
    with pytest.raises(sqlite3.IntegrityError):
        hand.execute("UPDATE mobile_router SET leak = 'perhaps'")
    hand.close()


def test_one_that_somebody_is_changing_is_brought_up_to_date_later(monkeypatch: pytest.MonkeyPatch) -> None:
    of_format_1()
    monkeypatch.setattr("haha_exabgp.mobile_routers.database._PATIENCE", 0.0)
    with closing(sqlite3.connect("mr.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusyError):
            MobileRouterDatabase(Path("mr.db"))
    MobileRouterDatabase(Path("mr.db")).close()


def test_a_damaged_database_is_refused_and_left_as_it_is() -> None:
    filled(1000)
    content = bytearray(Path("mr.db").read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    Path("mr.db").write_bytes(content)
    assert "cannot be used as the database of mobile routers" in opened()
    assert Path("mr.db").read_bytes() == content


def test_one_that_is_missing_is_not_made_by_looking() -> None:
    with pytest.raises(DatabaseError, match="does not exist; make it with: haha mr-db"):
        MobileRouterDatabase(Path("mr.db"))
    assert not Path("mr.db").exists()


def test_a_hand_on_the_tables_is_noticed_and_kept_from_nonsense() -> None:
    filled()
    database = MobileRouterDatabase(Path("mr.db"))
    version, last = database.version(), database.last_change()
    hand = sqlite3.connect("mr.db", isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError):
        hand.execute("UPDATE key SET key = x'00'")
    assert database.version() == version
    hand.execute("UPDATE mobile_router SET replay = 'sequence' WHERE name = 'a0'")
    hand.execute("DELETE FROM mobile_router WHERE name = 'a1'")
    assert database.version() != version
    one, two = Address.parse("2001:db8:1:2::1"), Address.parse("2001:db8:1:2::2")
    assert database.changed_since(last) == [one, two]
    assert database.changed_since(database.last_change()) == []
    assert database.at(two) is None
    changed = database.at(one)
    assert changed is not None and changed.replay is ReplayProtectionMode.SEQUENCE
    assert hand.execute("SELECT count(*) FROM key WHERE home_address = ?", (bytes(two),)).fetchone() == (0,)
    database.close()
    hand.close()
