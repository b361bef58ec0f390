"""Which routes ExaBGP is to announce, which it has acknowledged, and the commands in between.

Changes are followed key by key, a key being (neighbor, prefix), so that one change among 100,000 routes
costs what one change costs. A key that waits for an answer is not touched again before it has come: the
next command for it starts from a known state, and reaches the peer after the earlier one.

An `error` says nothing about which route was bad. A command refused is cut in halves until the bad route
stands alone; that one is reported and left alone until it, or the session it is for, changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice

from ..wire.address import Address, Prefix
from .commands import MAX_PREFIXES, Announce, PathAttributes, Withdraw
from .plan import Key, all_keys, plan

_PLANNED_AT_ONCE = 4 * MAX_PREFIXES
_NOT_REFUSED = object()


class OutgoingRoutes:
    """The announcements of one ExaBGP, wanted and acknowledged."""

    def __init__(self) -> None:
        self._wanted: dict[Address, dict[Prefix, PathAttributes]] = {}
        self._acknowledged: dict[Address, dict[Prefix, PathAttributes]] = {}
        self._sessions: dict[Address, bool] = {}
        self._urgent: dict[Key, None] = {}
        self._queued: dict[Key, None] = {}
        self._busy: set[Key] = set()
        self._commands: deque[Announce | Withdraw] = deque()
        self._open: dict[Address, set[Prefix]] = {}
        self._refused: dict[Key, PathAttributes | None] = {}
        self._reading_back = True

    # What is wanted.

    def want(self, wanted: Mapping[Address, Mapping[Prefix, PathAttributes]]) -> None:
        """State the whole set, in place of the earlier one."""
        before = self._wanted
        self._wanted = {neighbor: dict(routes) for neighbor, routes in wanted.items()}
        for neighbor, prefix in all_keys(before, self._wanted):
            if before.get(neighbor, {}).get(prefix) != self._target((neighbor, prefix)):
                self._mark((neighbor, prefix), self._queued)

    def change(self, neighbor: Address, prefix: Prefix, attributes: PathAttributes | None) -> None:
        """Want one route with these attributes, or not at all. Goes ahead of what `want` has queued."""
        routes = self._wanted.setdefault(neighbor, {})
        if attributes is None:
            routes.pop(prefix, None)
        else:
            routes[prefix] = attributes
        self._mark((neighbor, prefix), self._urgent)

    # What ExaBGP has.

    def begin_read_back(self) -> None:
        """Forget what was acknowledged: ExaBGP is about to show it. No commands come out until then."""
        self._reading_back = True
        self._acknowledged.clear()
        self._busy.clear()
        self._commands.clear()

    def read_back(self, neighbor: Address, prefix: Prefix, attributes: PathAttributes) -> None:
        """ExaBGP announces this."""
        self._acknowledged.setdefault(neighbor, {})[prefix] = attributes

    def end_read_back(self) -> None:
        """ExaBGP has shown all it announces."""
        self._reading_back = False
        self._refused.clear()
        self._open.clear()
        self._urgent.clear()
        self._queued.clear()
        for key in all_keys(self._wanted, self._acknowledged):
            self._mark(key, self._queued)

    def session_changed(self, neighbor: Address, up: bool) -> None:
        """A session came up or went down; also said of every configured neighbor at the start."""
        self._sessions[neighbor] = up
        for key in [key for key in self._refused if key[0] == neighbor]:
            del self._refused[key]
        self._mark_all(neighbor)

    def neighbor_gone(self, neighbor: Address) -> None:
        """The neighbor is no longer configured."""
        self._sessions.pop(neighbor, None)
        self._mark_all(neighbor)
        self._acknowledged.pop(neighbor, None)

    # Commands and their answers.

    def next_command(self) -> Announce | Withdraw | None:
        """Take the next command. Its answer is due to `answered`."""
        if self._reading_back:
            return None
        while True:
            if not self._commands and not self._plan():
                return None
            command = self._still_due(self._commands.popleft())
            if command is not None:
                return command

    def answered(self, command: Announce | Withdraw, accepted: bool) -> None:
        """ExaBGP has carried a command out, or refused it whole."""
        if not accepted and len(command.prefixes) * len(command.neighbors) > 1:
            self._commands.extendleft(reversed(_halves(command)))
            return
        target = command.attributes if isinstance(command, Announce) else None
        for key in _keys(command):
            if accepted:
                self._acknowledge(key, target)
            else:
                self._refused[key] = target
        self._release(_keys(command))

    # What there is to tell.

    @property
    def acknowledged(self) -> int:
        """How many (neighbor, prefix) pairs ExaBGP announces."""
        return sum(map(len, self._acknowledged.values()))

    @property
    def pending(self) -> int:
        """How many (neighbor, prefix) pairs are not as wanted yet."""
        return sum(map(len, self._open.values()))

    def settled(self, neighbor: Address) -> bool:
        """True when all that is wanted for a neighbor has been acknowledged or refused."""
        return not self._reading_back and not self._open.get(neighbor)

    def refused(self) -> Iterable[Key]:
        """The routes ExaBGP does not take."""
        return self._refused

    def not_configured(self) -> list[Address]:
        """Neighbors that routes are wanted for and that ExaBGP does not have."""
        return [one for one, routes in self._wanted.items() if routes and one not in self._sessions]

    def _target(self, key: Key) -> PathAttributes | None:
        return self._wanted.get(key[0], {}).get(key[1])

    def _due(self, key: Key) -> bool:
        """True when a command about this key is due and can be given."""
        up = self._sessions.get(key[0])
        if up is None:
            return False
        target = self._target(key)
        present = self._acknowledged.get(key[0], {}).get(key[1])
        if target == present or (present is None and not up):
            return False
        return self._refused.get(key, _NOT_REFUSED) != (target if up else None)

    def _mark(self, key: Key, queue: dict[Key, None]) -> None:
        if key in self._busy:
            return
        neighbor, prefix = key
        if self._due(key):
            self._open.setdefault(neighbor, set()).add(prefix)
            if key not in self._urgent:
                queue[key] = None
        elif neighbor in self._open:
            self._open[neighbor].discard(prefix)

    def _mark_all(self, neighbor: Address) -> None:
        routes = (self._wanted.get(neighbor, {}), self._acknowledged.get(neighbor, {}))
        for prefix in dict.fromkeys(prefix for table in routes for prefix in table):
            self._mark((neighbor, prefix), self._queued)

    def _plan(self) -> bool:
        """Turn the next queued keys into commands; urgent ones first, and by themselves."""
        up = {neighbor for neighbor, is_up in self._sessions.items() if is_up}
        while queue := self._urgent or self._queued:
            keys = list(islice(queue, _PLANNED_AT_ONCE))
            for key in keys:
                del queue[key]
            due = [key for key in keys if key not in self._busy and self._due(key)]
            self._commands.extend(plan(self._wanted, self._acknowledged, up, due))
            if self._commands:
                self._busy.update(due)
                return True
        return False

    def _still_due(self, command: Announce | Withdraw) -> Announce | Withdraw | None:
        """The command without the neighbors whose session has gone down since it was planned."""
        if isinstance(command, Withdraw):
            return command
        up = tuple(one for one in command.neighbors if self._sessions.get(one))
        if up == command.neighbors:
            return command
        down = tuple(one for one in command.neighbors if one not in up)
        self._release(_keys(Announce(down, command.attributes, command.prefixes)))
        return Announce(up, command.attributes, command.prefixes) if up else None

    def _acknowledge(self, key: Key, target: PathAttributes | None) -> None:
        routes = self._acknowledged.setdefault(key[0], {})
        if target is None:
            routes.pop(key[1], None)
        else:
            routes[key[1]] = target

    def _release(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._busy.discard(key)
            self._mark(key, self._urgent)


def _keys(command: Announce | Withdraw) -> list[Key]:
    return [(neighbor, prefix) for neighbor in command.neighbors for prefix in command.prefixes]


def _halves(command: Announce | Withdraw) -> list[Announce | Withdraw]:
    make = type(command)
    if len(command.prefixes) > 1:
        middle = len(command.prefixes) // 2
        parts = command.prefixes[:middle], command.prefixes[middle:]
        return [make(command.neighbors, command.attributes, part) for part in parts]
    return [make((neighbor,), command.attributes, command.prefixes) for neighbor in command.neighbors]
