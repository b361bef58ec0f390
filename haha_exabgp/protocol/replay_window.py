"""Which authenticated messages of one sender have been seen: each is taken once, in whatever order the
network brings them (the idea of RFC 4303 s.3.4.3, with the timestamps of RFC 4285 s.6 for numbers)."""

from __future__ import annotations

from heapq import heappop, heappush

from ..wire.timestamp import in_order, to_unix
from .registration import REPLAY_WINDOW

REMEMBERED = 4096
"""Timestamps kept of one sender. Of more within the window the oldest are no longer taken."""
_IN_UNITS = int(REPLAY_WINDOW) << 32


class ReplayWindow:
    """The timestamps of one sender that lie within the replay window of our clock."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._in_order: list[int] = []
        """The same, as a heap."""
        self._floor = 0
        """What is no higher is not taken."""

    def takes(self, timestamp: int, wall: float) -> bool:
        """Whether a message with this timestamp is new and of now; notes it if so. `wall`: our clock."""
        if abs(to_unix(timestamp) - wall) > REPLAY_WINDOW:
            return False
        stamp = in_order(timestamp)
        if self._floor > stamp + 2 * _IN_UNITS:
            # It lies further ahead than the window: of before our clock was set back.
            self._floor = 0
            self._seen.clear()
            self._in_order.clear()
        if stamp <= self._floor or stamp in self._seen:
            return False
        self._seen.add(stamp)
        heappush(self._in_order, stamp)
        oldest = stamp - 2 * _IN_UNITS
        while len(self._seen) > REMEMBERED or self._in_order[0] < oldest:
            last = heappop(self._in_order)
            self._seen.remove(last)
            self._floor = max(self._floor, last)
        return True
