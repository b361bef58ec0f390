"""The mobile routers of a Home in one SQLite file: as many as one likes, changed while agents run.

    mobile_router   home address, name, replay protection, proxies, leak policy
    prefix          the mobile network prefixes of a home address
    key             its keys, in order: it signs with the first
    change          which home address has changed, numbered: an agent reads what has a higher number than
                    the last that it knows

The change table is written by triggers, so whoever edits the file is noticed. The file holds keys: mode 0600.
It has no write-ahead log beside it: a copy is whole between two changes, and another file may be put in its
place under an agent.

A file of an older format is brought up to date where it stands, by whoever opens it first; one of a newer
format is refused.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..config.key_file import KeyFileError, check_private
from ..protocol.home import LeakPolicy, MobileRouterPolicy, SecurityAssociation
from ..wire.address import Address, Prefix
from .edit import Edit
from .records import ALGORITHMS, REPLAY_MODES
from .tables import SCHEMA, UPGRADES

_APPLICATION = int.from_bytes(b"HaMR", "big")
"""`PRAGMA application_id`: says what the file is."""
_FORMAT = 2
"""`PRAGMA user_version` of the files that this program writes."""
_PATIENCE = 10.0
"""Seconds to wait for somebody who is changing the file."""

_EDIT_CACHE = 65536
"""KiB of pages kept in memory while the file is changed: an import touches all of it again and again."""


class DatabaseError(Exception):
    """The file cannot be used; it is left as it is."""


class DatabaseBusyError(DatabaseError):
    """Somebody is changing the file, for longer than there was patience."""


class MobileRouterDatabase:
    """An open database. Usable by one thread at a time."""

    def __init__(self, file: Path, *, make: bool = False) -> None:
        """Open the file; with `make`, make one (mode 0600) where there is none. Raises DatabaseError."""
        self.file = file
        try:
            if make:
                os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
            status = os.stat(file)
            check_private(f'"{file}"', status, f"run: chmod 600 {shlex.quote(str(file))}")
            if status.st_uid not in {0, os.geteuid()}:
                # Who owns it says who may bind.
                problem = f'"{file}" belongs to another user (uid {status.st_uid})'
                raise KeyFileError(problem, "chown it to the user who runs this")
            self.identity = (status.st_dev, status.st_ino)
            # By URI, so that a file that has gone meanwhile is not made.
            self._database = sqlite3.connect(
                f"{file.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                timeout=_PATIENCE,
                check_same_thread=False,
            )
        except FileNotFoundError as error:
            raise DatabaseError(f'"{file}" does not exist; make it with: haha mr-db') from error
        except KeyFileError as error:
            raise DatabaseError(str(error)) from error
        except (OSError, ValueError, sqlite3.Error) as error:
            raise _unusable(file, error) from error
        try:
            self._prepare(make)
        except BaseException:
            self.close()
            raise

    def never_wait(self) -> None:
        """From now on raise DatabaseBusyError at once where somebody is changing the file."""
        self._database.execute("PRAGMA busy_timeout = 0")

    def close(self) -> None:
        """Close the file; everything changed is in it."""
        self._database.close()

    def __len__(self) -> int:
        (count,) = self._one("SELECT count(*) FROM mobile_router")
        return int(count)

    def version(self) -> int:
        """Another number whenever somebody else has changed the file; costs microseconds."""
        return int(self._one("PRAGMA data_version")[0])

    def last_change(self) -> int:
        """The number of the last change, 0 for none."""
        return int(self._one("SELECT coalesce(max(number), 0) FROM change")[0])

    def every(self) -> Iterator[MobileRouterPolicy]:
        """All mobile routers in the order of home addresses, as they are when it begins."""
        with self.reading():
            prefixes = _Follower(
                self._database.execute(
                    "SELECT home_address, address, length FROM prefix ORDER BY home_address, address"
                )
            )
            keys = _Follower(
                self._database.execute(
                    "SELECT home_address, spi, algorithm, key FROM key ORDER BY home_address, position"
                )
            )
            for row in self._database.execute(
                "SELECT home_address, name, replay, proxies, leak FROM mobile_router ORDER BY home_address"
            ):
                yield self._policy(row, prefixes.rows_of(row[0]), keys.rows_of(row[0]))

    def changed_since(self, number: int) -> list[Address]:
        """The home addresses that have changed, come or gone since this change."""
        rows = self._all("SELECT home_address FROM change WHERE number > ? ORDER BY number", number)
        return [Address(home_address) for (home_address,) in rows]

    def at(self, home_address: Address) -> MobileRouterPolicy | None:
        """The mobile router of a home address."""
        return self._read("home_address", bytes(home_address))

    def named(self, name: str) -> MobileRouterPolicy | None:
        """The mobile router of a name."""
        return self._read("name", name)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """What is read inside is of one moment."""
        if self._database.in_transaction:
            yield
            return
        try:
            self._database.execute("BEGIN")
            try:
                yield
            finally:
                self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(self.file, error) from error

    @contextlib.contextmanager
    def editing(self) -> Iterator[Edit]:
        """Changes that are all made when the block ends, and none of them when it raises."""
        try:
            self._database.execute(f"PRAGMA cache_size = -{_EDIT_CACHE}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield Edit(self._database, self.named, self.every)
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _unusable(self.file, error) from error

    def _read(self, column: str, value: bytes | str) -> MobileRouterPolicy | None:
        rows = self._all(
            f"SELECT home_address, name, replay, proxies, leak FROM mobile_router WHERE {column} = ?", value
        )
        if not rows:
            return None
        home_address = rows[0][0]
        return self._policy(
            rows[0],
            self._all(
                "SELECT home_address, address, length FROM prefix WHERE home_address = ? ORDER BY address",
                home_address,
            ),
            self._all(
                "SELECT home_address, spi, algorithm, key FROM key WHERE home_address = ? ORDER BY position",
                home_address,
            ),
        )

    def _policy(self, row: _Row, prefixes: Iterable[_Row], keys: Iterable[_Row]) -> MobileRouterPolicy:
        home_address, name, replay, proxies, leak = row
        try:
            return MobileRouterPolicy(
                name,
                Address(home_address),
                tuple([Prefix(Address(address), length) for _, address, length in prefixes]),
                tuple([SecurityAssociation(spi, key, ALGORITHMS[word]) for _, spi, word, key in keys]),
                REPLAY_MODES[replay],
                None if proxies is None else frozenset(proxies.split()),
                None if leak is None else LeakPolicy(leak),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _unusable(self.file, f"the entry of {name} cannot be read") from error

    def _one(self, statement: str) -> _Row:
        return self._all(statement)[0]

    def _all(self, statement: str, *values: object) -> list[_Row]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _unusable(self.file, error) from error

    def _prepare(self, make: bool) -> None:
        execute = self._database.execute
        try:
            (application,) = execute("PRAGMA application_id").fetchone()
            (found,) = execute("PRAGMA user_version").fetchone()
            (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
            if make and not (application or found or tables):
                self._database.executescript(
                    f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {_APPLICATION};"
                    f" PRAGMA user_version = {_FORMAT}; COMMIT;"
                )
                return
            if application != _APPLICATION:
                raise DatabaseError(
                    f'"{self.file}" is no database of mobile routers; it is left as it is: name another file'
                )
            if found in UPGRADES:
                found = self._upgrade()
            if found != _FORMAT:
                raise DatabaseError(
                    f'"{self.file}" has format {found}, this version reads {_FORMAT}; it is left as it is:'
                    " export it with the version it is from"
                )
            (state,) = execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise _unusable(self.file, f"it is damaged: {state}")
        except sqlite3.Error as error:
            raise _unusable(self.file, error) from error

    def _upgrade(self) -> int:
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        try:
            # Somebody else may have been first.
            (found,) = execute("PRAGMA user_version").fetchone()
            while found in UPGRADES:
                execute(UPGRADES[found])
                found += 1
            execute(f"PRAGMA user_version = {found}")
            execute("COMMIT")
        finally:
            if self._database.in_transaction:
                execute("ROLLBACK")
        return int(found)


_Row = tuple[Any, ...]


class _Follower:
    """Rows in the order of home addresses, taken address by address."""

    def __init__(self, rows: Iterator[_Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def rows_of(self, home_address: bytes) -> Iterator[_Row]:
        """Those of one home address, each asked for higher than the one before."""
        while self._next is not None and self._next[0] <= home_address:
            row, self._next = self._next, next(self._rows, None)
            if row[0] == home_address:
                yield row


def _unusable(file: Path, reason: object) -> DatabaseError:
    if isinstance(reason, sqlite3.OperationalError) and reason.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
        return DatabaseBusyError(f'"{file}" is being changed by somebody else; try again')
    return DatabaseError(
        f'"{file}" cannot be used as the database of mobile routers: {reason}; it is left as it is: put a'
        " good copy in its place, or move it away and import anew"
    )
