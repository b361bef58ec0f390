"""The two clocks of a host."""

from __future__ import annotations

from ..protocol.time import Now
from .loop import EventLoop

EPOCH = 1_700_000_000.0
"""Wall-clock seconds at the start of every simulation."""
_ROUNDING = 1e-6
"""Seconds that a timer goes off late, so that what it was set for is due in spite of rounding."""


class HostClock:
    """What a host believes: a monotonic clock since its last boot, a wall clock that may be set and drift."""

    def __init__(self, loop: EventLoop, booted: float, error: float = 0.0, drift: float = 0.0) -> None:
        """`booted` seconds ago; `error` seconds ahead of true time; `drift` seconds a second."""
        self._loop = loop
        self._boot = booted
        self._drift = drift
        self._error = error - drift * loop.now

    def read(self) -> Now:
        """Both, now."""
        now = self._loop.now
        return Now(now + self._boot, EPOCH + now + self._error + self._drift * now)

    def error(self) -> float:
        """Seconds that the wall clock is ahead of true time."""
        return self._error + self._drift * self._loop.now

    def set(self, error: float, drift: float) -> None:
        """Somebody sets the wall clock."""
        self._drift = drift
        self._error = error - drift * self._loop.now

    def reboot(self, booted: float) -> None:
        """The monotonic clock starts anew."""
        self._boot = booted - self._loop.now

    def moment(self, monotonic: float) -> float:
        """Virtual time at which the monotonic clock has reached a value."""
        return monotonic - self._boot + _ROUNDING
