"""Many things that each wait for a moment of their own."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=bytes | tuple[bytes, ...])


class Deadlines(Generic[_Key]):
    """A moment on the monotonic clock for each key. To ask for the first costs nothing, however many wait."""

    def __init__(self) -> None:
        self._moments: dict[_Key, float] = {}
        self._heap: list[tuple[float, _Key]] = []
        """Moments that have been changed since among them."""

    def __contains__(self, key: _Key) -> bool:
        return key in self._moments

    def set(self, key: _Key, moment: float) -> None:
        """Wait until then, in place of an earlier setting."""
        if self._moments.get(key) != moment:
            self._moments[key] = moment
            heappush(self._heap, (moment, key))

    def cancel(self, key: _Key) -> None:
        """Wait no more."""
        self._moments.pop(key, None)

    def next(self) -> float | None:
        """The first moment of all."""
        heap = self._heap
        while heap and self._moments.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[_Key]:
        """What has waited long enough; each then waits for nothing until it is set again."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            moment, key = heappop(heap)
            if self._moments.get(key) == moment:
                del self._moments[key]
                yield key
