"""Binding Updates that a satellite sends by itself, about many home addresses at once: not all in one moment,
and each again until it is acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..wire.address import Address
from .deadlines import Deadlines
from .time import Now

UPDATES_A_SECOND = 1000
"""First ones; a Home Agent takes ten times as many, and has others to listen to."""
BATCH_INTERVAL = 0.05
"""Seconds between two batches of them."""
FIRST_TIMEOUT = 1.0
MAX_TIMEOUT = 32.0
"""Seconds until one is sent again, doubled each time."""

_A_BATCH = int(UPDATES_A_SECOND * BATCH_INTERVAL)

Key = tuple[Address, Address]
"""A home address, and the HAHA address of the Home Agent that is told of it."""


class Sending(NamedTuple):
    """One that is due, or waits for its acknowledgement."""

    key: Key
    sequence: int
    attempt: int = 1
    stamps: tuple[int, ...] = ()
    """The timestamps it was sent with: an answer brings one of them back."""


class PacedUpdates:
    """What is to be told to whom; who asks makes the messages. Times on the monotonic clock."""

    def __init__(self, first_sequence: int) -> None:
        self._sequence = first_sequence
        self._queue: dict[Key, None] = {}
        self._next_batch = 0.0
        self._pending: dict[Key, Sending] = {}
        self._deadlines: Deadlines[Key] = Deadlines()

    def __contains__(self, key: Key) -> bool:
        return key in self._queue or key in self._pending

    def want(self, key: Key) -> None:
        """Tell, also when it has been told before: something has changed since."""
        self.cancel(key)
        self._queue[key] = None

    def cancel(self, key: Key) -> None:
        """Nothing is to be told any more."""
        self._queue.pop(key, None)
        self._pending.pop(key, None)
        self._deadlines.cancel(key)

    def sent(self, key: Key, stamp: int) -> None:
        """Note the timestamp that a message has been sent with."""
        pending = self._pending[key]
        self._pending[key] = pending._replace(stamps=(*pending.stamps[-3:], stamp))

    def acknowledged(self, key: Key, sequence: int, stamp: int) -> bool:
        """An answer has come. False when nothing waits for it."""
        pending = self._pending.get(key)
        if pending is None or pending.sequence != sequence or stamp not in pending.stamps:
            return False
        self.cancel(key)
        return True

    def next_timer(self) -> float | None:
        """When something is due."""
        first = self._deadlines.next()
        if not self._queue:
            return first
        return self._next_batch if first is None else min(first, self._next_batch)

    def due(self, now: Now) -> Iterator[Sending]:
        """What is to be sent now, or again; each counts as sent."""
        for key in list(self._deadlines.due(now.monotonic)):
            again = self._pending[key]._replace(attempt=self._pending[key].attempt + 1)
            yield self._wait(again, now)
        if not self._queue or now.monotonic < self._next_batch:
            return
        self._next_batch = now.monotonic + BATCH_INTERVAL
        for key in list(self._queue)[:_A_BATCH]:
            del self._queue[key]
            self._sequence = (self._sequence + 1) % 65536
            yield self._wait(Sending(key, self._sequence), now)

    def _wait(self, sending: Sending, now: Now) -> Sending:
        self._pending[sending.key] = sending
        timeout = min(FIRST_TIMEOUT * 2 ** (sending.attempt - 1), MAX_TIMEOUT)
        self._deadlines.set(sending.key, now.monotonic + timeout)
        return sending
