"""The bindings on disk: what a Home Agent has acknowledged outlives its process.

One SQLite file in write-ahead mode. A binding is durable when `save` returns, and the agent sends the
acknowledgement only then.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..protocol.binding import Binding, BindingKind, Order
from ..protocol.time import Now
from ..wire.address import Address, Prefix

_FORMAT = 1
"""`PRAGMA user_version` of the files this program writes."""


class StoreError(Exception):
    """The file cannot be used; it is left as it is."""


class Store:
    """The bindings of one Home Agent, ended ones among them (see `protocol.binding`)."""

    def __init__(self, file: Path) -> None:
        """Open or make the file, mode 0600. Raises StoreError."""
        self._file = file
        try:
            _make_private(file)
            self._database = sqlite3.connect(file, isolation_level=None)
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
        """Every stored binding; one whose lifetime has passed meanwhile comes as ended.

        Lifetimes are stored as wall-clock time: the monotonic clock starts anew with the machine.
        Raises StoreError.
        """
        try:
            rows = self._database.execute("SELECT home_address, expires, value FROM binding").fetchall()
            return [_binding(Address(home), expires, json.loads(value), now) for home, expires, value in rows]
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            raise self._unusable(error) from error

    def save(self, bindings: Iterable[Binding], now: Now) -> None:
        """Write these in one transaction, each in place of what was stored for its home address.
        Raises sqlite3.Error; then none of them is written."""
        rows = [
            (bytes(one.home_address), _wall_clock(one, now), json.dumps(_value(one, now))) for one in bindings
        ]
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany("REPLACE INTO binding VALUES (?, ?, ?)", rows)
            self._database.execute("COMMIT")
        except BaseException:
            # A full disk, for one, can make SQLite roll back by itself.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self._file}: cannot be used as the store of bindings: {error};"
            " move it away to start with no bindings: mobile routers bind again by themselves"
        )

    def _prepare(self) -> None:
        execute = self._database.execute
        (found,) = execute("PRAGMA user_version").fetchone()
        if found not in (0, _FORMAT):
            raise StoreError(
                f"{self._file}: its format is {found}, this version reads {_FORMAT}; run the one it is from"
            )
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute(
            "CREATE TABLE IF NOT EXISTS binding"
            " (home_address BLOB PRIMARY KEY, expires REAL NOT NULL, value TEXT NOT NULL) WITHOUT ROWID"
        )
        execute(f"PRAGMA user_version = {_FORMAT}")


def _make_private(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _wall_clock(binding: Binding, now: Now) -> float:
    return binding.expires and now.wall + binding.expires - now.monotonic


def _value(binding: Binding, now: Now) -> dict[str, Any]:
    return {
        "remaining": max(binding.expires - now.monotonic, 0.0),
        "care_of_address": str(binding.care_of_address),
        "prefixes": list(map(str, binding.prefixes)),
        "mobile_router": binding.mobile_router,
        "kind": binding.kind.value,
        "timestamp": binding.order.timestamp,
        "sequence": binding.order.sequence,
        "mobility_sequence": binding.mobility_sequence,
        "peer": str(binding.peer) if binding.peer is not None else None,
        "registered": binding.registered,
    }


def _binding(home_address: Address, expires: float, value: dict[str, Any], now: Now) -> Binding:
    # A clock that was set back meanwhile must not make a binding last longer.
    remaining = min(expires - now.wall, value["remaining"])
    return Binding(
        home_address=home_address,
        care_of_address=Address.parse(value["care_of_address"]),
        prefixes=tuple(map(Prefix.parse, value["prefixes"])),
        mobile_router=value["mobile_router"],
        kind=BindingKind(value["kind"]),
        order=Order(value["timestamp"], value["sequence"]),
        mobility_sequence=value["mobility_sequence"],
        peer=Address.parse(value["peer"]) if value["peer"] is not None else None,
        registered=value["registered"],
        expires=now.monotonic + remaining if remaining > 0 else 0.0,
    )
