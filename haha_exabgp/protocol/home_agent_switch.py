"""Sending mobile routers to other Home Agents (RFC 5142): before this one is taken out of service, or because
another is closer.

    staying --switch--> queued     at most one message a second in all, unless an operator knows better
            queued --turn--> told  and told again after 5, 10, 20, 20 … s
            told --gone--> away    the binding here has ended: de-registered, or made elsewhere
            told --stay--> staying called off

From `switch` on its binding here is not extended (status 129, s.5.3), and lasts as long as was granted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..wire.address import Address
from .deadlines import Deadlines

INITIAL_TIMEOUT = 5.0
MAX_TIMEOUT = 20.0
"""Seconds (RFC 5142 s.7)."""
MESSAGE_INTERVAL = 1.0
"""Seconds between the first messages to two mobile routers (RFC 5142 s.7): all of them at once would fall
upon the other Home Agent."""

_LATE = 0.02
"""Seconds that a turn may be late without the next ones being so."""


class _Told(NamedTuple):
    towards: tuple[Address, ...]
    attempt: int = 0
    """How many messages have been sent."""


class SwitchMessage(NamedTuple):
    """One Home Agent Switch message that is to be sent."""

    home_address: Address
    towards: tuple[Address, ...]
    attempt: int
    """From 0."""


class HomeAgentSwitches:
    """Which mobile routers are to leave, and who is told when."""

    def __init__(self, leaving: set[Address]) -> None:
        """`leaving` is kept: those whose bindings are not to be extended."""
        self._leaving = leaving
        self._queue: deque[Address] = deque()
        self._told: dict[Address, _Told] = {}
        self._repeat: Deadlines[Address] = Deadlines()
        self.turn_at = 0.0
        """When the next one may be told, on the monotonic clock."""
        self.interval = MESSAGE_INTERVAL
        """Seconds between the first messages to two mobile routers."""

    def start(self, home_addresses: Iterable[Address], towards: Iterable[Address]) -> None:
        """Send these away, to one of `towards`, best first; with none they run discovery."""
        addresses = tuple(towards)
        for home_address in home_addresses:
            if home_address not in self._leaving:
                self._leaving.add(home_address)
                self._queue.append(home_address)
            told = self._told.get(home_address, _Told(()))
            self._told[home_address] = told._replace(towards=addresses)

    def stop(self, home_address: Address) -> None:
        """It has left, or may stay."""
        self._leaving.discard(home_address)
        self._told.pop(home_address, None)
        self._repeat.cancel(home_address)

    def messages(self, home_address: Address) -> int:
        """How many have been sent to one that is to leave."""
        told = self._told.get(home_address)
        return 0 if told is None else told.attempt

    def next_timer(self) -> float | None:
        """When `due` is wanted next, on the monotonic clock."""
        times = (self._repeat.next(), self.turn_at if self._queue else None)
        return min((time for time in times if time is not None), default=None)

    def due(self, now: float) -> Iterator[SwitchMessage]:
        """What is to be sent now."""
        for home_address in self._repeat.due(now):
            yield self._send(home_address, self._told[home_address], now)
        while self._queue and self.turn_at <= now:
            home_address = self._queue.popleft()
            told = self._told.get(home_address)
            if told is not None and not told.attempt:
                # From turn to turn, so that a timer that is late a little does not slow a fast pace down.
                is_late = now - self.turn_at > _LATE
                self.turn_at = (now if is_late else self.turn_at) + self.interval
                yield self._send(home_address, told, now)

    def _send(self, home_address: Address, told: _Told, now: float) -> SwitchMessage:
        self._told[home_address] = told._replace(attempt=told.attempt + 1)
        self._repeat.set(home_address, now + min(INITIAL_TIMEOUT * 2**told.attempt, MAX_TIMEOUT))
        return SwitchMessage(home_address, told.towards, told.attempt)
