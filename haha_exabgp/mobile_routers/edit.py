"""One set of changes to a database of mobile routers, with what clashes in it looked up as it grows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from ..config.schema import KeyAlgorithm
from ..protocol.home import MobileRouterPolicy
from ..wire.address import Address, Prefix
from .records import Problem

_MANY = 1000
"""For so many names it is faster to read everything than to look for each."""


class Clash(NamedTuple):
    """A problem with another mobile router, by its name."""

    problem: Problem
    other: str


class Edit:
    """The open transaction. Raises sqlite3.Error."""

    def __init__(
        self,
        database: sqlite3.Connection,
        named: Callable[[str], MobileRouterPolicy | None],
        every: Callable[[], Iterator[MobileRouterPolicy]],
    ) -> None:
        self._execute = database.execute
        self._many = database.executemany
        self._named = named
        self._every = every
        lengths = self._execute("SELECT DISTINCT length FROM prefix").fetchall()
        self._lengths = {length for (length,) in lengths}

    def stored(self, names: Collection[str]) -> dict[str, MobileRouterPolicy]:
        """What is stored for these names."""
        if len(names) >= _MANY:
            return {policy.name: policy for policy in self._every() if policy.name in names}
        found = map(self._named, names)
        return {policy.name: policy for policy in found if policy is not None}

    def names(self) -> list[str]:
        """Every stored name."""
        return [name for (name,) in self._execute("SELECT name FROM mobile_router ORDER BY name")]

    def remove(self, name: str) -> bool:
        """Remove a mobile router; False when there is none of this name."""
        return self._execute("DELETE FROM mobile_router WHERE name = ?", (name,)).rowcount > 0

    def add(self, policy: MobileRouterPolicy) -> None:
        """Add a mobile router that clashes with none."""
        home_address = bytes(policy.home_address)
        proxies = None if policy.proxies is None else " ".join(sorted(policy.proxies))
        self._execute(
            "INSERT INTO mobile_router (home_address, name, replay, proxies, leak) VALUES (?, ?, ?, ?, ?)",
            (
                home_address,
                policy.name,
                policy.replay.value,
                proxies,
                None if policy.leak is None else policy.leak.value,
            ),
        )
        self._lengths.update(prefix.length for prefix in policy.prefixes)
        self._many(
            "INSERT INTO prefix VALUES (?, ?, ?)",
            [(bytes(prefix.address), prefix.length, home_address) for prefix in policy.prefixes],
        )
        self._many(
            "INSERT INTO key VALUES (?, ?, ?, ?, ?)",
            [
                (home_address, position, one.spi, KeyAlgorithm[one.algorithm.name].value, one.key)
                for position, one in enumerate(policy.associations)
            ],
        )

    def clashes(self, policy: MobileRouterPolicy) -> Iterator[Clash]:
        """Why a mobile router cannot be added beside those that are there."""
        if self._owner("SELECT name FROM mobile_router WHERE name = ?", policy.name):
            yield Clash(Problem("name", f"{policy.name} is taken already", "choose another"), policy.name)
        home_address = policy.home_address
        if other := self._owner("SELECT name FROM mobile_router WHERE home_address = ?", bytes(home_address)):
            problem = Problem("home_address", f"{home_address} is that of {other} already", "write another")
            yield Clash(problem, other)
        if around := self._around(Prefix.host(home_address)):
            problem = Problem(
                "home_address",
                f"{home_address} is inside {around[0]}, a prefix of {around[1]}",
                "write an address that is in no other mobile router's prefixes",
            )
            yield Clash(problem, around[1])
        for prefix in policy.prefixes:
            yield from self._prefix_clashes(prefix, home_address)

    def _prefix_clashes(self, prefix: Prefix, home_address: Address) -> Iterator[Clash]:
        first, last = bytes(prefix.address), last_address(prefix)
        around = self._around(prefix)
        other = around[1] if around else self._owner(
            "SELECT name FROM prefix JOIN mobile_router USING (home_address)"
            " WHERE address BETWEEN ? AND ? LIMIT 1",
            first,
            last,
        )  # fmt: skip
        if other:
            problem = f"{prefix} overlaps a prefix of {other}"
            yield Clash(Problem("prefixes", problem, "write a prefix that overlaps no other"), other)
        inside = self._owner(
            "SELECT name FROM mobile_router WHERE home_address BETWEEN ? AND ? AND home_address <> ? LIMIT 1",
            first,
            last,
            bytes(home_address),
        )
        if inside:
            problem = f"{prefix} holds the home address of {inside}"
            yield Clash(Problem("prefixes", problem, "write a prefix that holds nobody else's"), inside)

    def _around(self, prefix: Prefix) -> tuple[Prefix, str] | None:
        """A stored prefix that covers this one, and whose it is."""
        for length in self._lengths:
            if length > prefix.length:
                continue
            wider = Prefix.of(prefix.address, length)
            owner = self._owner(
                "SELECT name FROM prefix JOIN mobile_router USING (home_address)"
                " WHERE address = ? AND length = ?",
                bytes(wider.address),
                length,
            )
            if owner:
                return wider, owner
        return None

    def _owner(self, statement: str, *values: object) -> str | None:
        row = self._execute(statement, values).fetchone()
        return row[0] if row is not None else None


def last_address(prefix: Prefix) -> bytes:
    """The highest address of a prefix."""
    host_bits = (1 << (128 - prefix.length)) - 1
    return (int.from_bytes(prefix.address, "big") | host_bits).to_bytes(16, "big")
