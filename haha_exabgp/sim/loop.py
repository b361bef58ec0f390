"""Virtual time: events in the order of their moments, those of one moment as they were made."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

_Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]


MOST_AT_ONCE = 5000
"""Events of one moment: more, and somebody has a timer that is due and stays so."""


class Standstill(Exception):
    """Events happen, and no time passes."""


class EventLoop:
    """Runs what was asked for; time passes only from event to event."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the simulation began."""
        self.events = 0
        """That have happened."""
        self._heap: list[_Event] = []
        self._made = 0

    def at(self, time: float, do: Callable[..., None], *arguments: Any) -> None:
        """Have something done at a moment; in the past means now, after what is due already."""
        self._made += 1
        heappush(self._heap, (max(time, self.now), self._made, do, arguments))

    def after(self, delay: float, do: Callable[..., None], *arguments: Any) -> None:
        """Have something done in so many seconds."""
        self._made += 1
        heappush(self._heap, (self.now + delay, self._made, do, arguments))

    def run(self, until: float, most: int) -> None:
        """Let events happen up to a moment, until there have been `most` since the beginning. Raises
        Standstill."""
        heap = self._heap
        at_once = 0
        while heap and heap[0][0] <= until and self.events < most:
            before = self.now
            self.now, _, do, arguments = heappop(heap)
            self.events += 1
            at_once = at_once + 1 if self.now == before else 0
            if at_once > MOST_AT_ONCE:
                raise Standstill(f"{do.__qualname__} again and again")
            do(*arguments)
        if self.events < most:
            self.now = until
