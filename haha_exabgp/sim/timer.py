"""The timer of a process: a machine says when it wants to be asked again, on its host's monotonic clock."""

from __future__ import annotations

from collections.abc import Callable

from ..protocol.time import Now
from .clock import HostClock
from .loop import EventLoop


class ProcessTimer:
    """Goes off once for each time that it was set; an earlier moment takes the place of a later one."""

    def __init__(self, loop: EventLoop, clock: HostClock, go_off: Callable[[Now], None]) -> None:
        self._loop = loop
        self._clock = clock
        self._go_off = go_off
        self._moment = 0.0
        """For which it is set; 0: it is not."""
        self._lives = 0

    def set(self, due: float | None) -> None:
        """Have it go off at a moment of the monotonic clock; None: no wish."""
        if due is None:
            return
        moment = max(self._clock.moment(due), self._loop.now)
        if not self._moment or moment < self._moment:
            self._moment = moment
            self._loop.at(moment, self._on_time, moment, self._lives)

    def cancel(self) -> None:
        """The process has died."""
        self._lives += 1
        self._moment = 0.0

    def _on_time(self, moment: float, life: int) -> None:
        if life == self._lives and moment == self._moment:
            self._moment = 0.0
            self._go_off(self._clock.read())
