"""From what is wanted and what ExaBGP has acknowledged to the commands that make the two the same. Pure.

1. To a neighbor whose session is down nothing is announced; what is no longer wanted exactly as it stands is
   withdrawn. ExaBGP would keep every announcement made meanwhile, the outdated ones too, and send them
   all when the session comes up (rule 2 of `commands.py`). What stays announced ExaBGP itself sends again.
2. Announcements come before withdrawals, so that a prefix that moves from one audience to another is
   never missing. A change of attributes is one announcement: it replaces the earlier one.
3. Prefixes with the same attributes for the same neighbors share a command.
4. Done twice, the second plan is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from ..wire.address import Address, Prefix
from .commands import MAX_PREFIXES, Announce, PathAttributes, Withdraw

Table = Mapping[Address, Mapping[Prefix, PathAttributes]]
"""Neighbor -> prefix -> attributes."""
Key = tuple[Address, Prefix]

_NOTHING: Mapping[Prefix, PathAttributes] = {}


def plan(
    wanted: Table, acknowledged: Table, sessions_up: Collection[Address], keys: Iterable[Key] | None = None
) -> list[Announce | Withdraw]:
    """The commands that are due for these (neighbor, prefix) keys; by default for all there are."""
    announce: dict[tuple[Prefix, PathAttributes], list[Address]] = {}
    withdraw: dict[tuple[Prefix, PathAttributes], list[Address]] = {}
    for neighbor, prefix in all_keys(wanted, acknowledged) if keys is None else keys:
        target = wanted.get(neighbor, _NOTHING).get(prefix)
        present = acknowledged.get(neighbor, _NOTHING).get(prefix)
        if target == present:
            continue
        if target is not None and neighbor in sessions_up:
            announce.setdefault((prefix, target), []).append(neighbor)
        elif present is not None:
            withdraw.setdefault((prefix, present), []).append(neighbor)
    return [
        *(Announce(*command) for command in _grouped(announce)),
        *(Withdraw(*command) for command in _grouped(withdraw)),
    ]


def all_keys(wanted: Table, acknowledged: Table) -> Iterator[Key]:
    """Every (neighbor, prefix) that occurs in either table, once."""
    for neighbor in dict.fromkeys((*wanted, *acknowledged)):
        for prefix in dict.fromkeys((*wanted.get(neighbor, _NOTHING), *acknowledged.get(neighbor, _NOTHING))):
            yield neighbor, prefix


def _grouped(
    changes: Mapping[tuple[Prefix, PathAttributes], list[Address]],
) -> Iterator[tuple[tuple[Address, ...], PathAttributes, tuple[Prefix, ...]]]:
    groups: dict[tuple[tuple[Address, ...], PathAttributes], list[Prefix]] = {}
    for (prefix, attributes), neighbors in changes.items():
        groups.setdefault((tuple(neighbors), attributes), []).append(prefix)
    for (group, attributes), prefixes in groups.items():
        for first in range(0, len(prefixes), MAX_PREFIXES):
            yield group, attributes, tuple(prefixes[first : first + MAX_PREFIXES])
