"""A limit on how often something is done for strangers: a token bucket."""

from __future__ import annotations


class RateLimit:
    """At most `burst` at once and `rate` a second over time."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._refilled = 0.0

    def allows(self, now: float) -> bool:
        """Whether one more may be done now, on the monotonic clock; counts it if so."""
        self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self._rate)
        self._refilled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
