"""Asking a mobile router to refresh a binding that is about to end (RFC 6275 s.6.1.2, s.9.5.5).

A mobile router refreshes by itself, long before: this is for one whose refreshes got lost. A request is sent
when the binding is about to end (see `binding_cache`), and twice again while nothing comes.
"""

from __future__ import annotations

from ..wire.address import Address
from .binding import Binding
from .binding_cache import BindingCache
from .rate_limit import RateLimit

REQUESTS = 3
"""For one end of a binding that comes near."""
INTERVAL = 3.0
"""Seconds between two of them."""
REQUESTS_A_SECOND = 200.0
"""To all mobile routers: when thousands end at once (a network was cut off), some end unasked."""


class RefreshRequests:
    """Whom to ask, how often."""

    def __init__(self, cache: BindingCache) -> None:
        self._cache = cache
        self._asked: dict[Address, tuple[float, int]] = {}
        """Those who have been asked: the end that it was about, how often."""
        self._limit = RateLimit(REQUESTS_A_SECOND, REQUESTS_A_SECOND)

    def about_to_end(self, binding: Binding, now: float) -> bool:
        """Whether to ask about a binding that `BindingCache.due` has given; settles when it is looked at
        next. `now` on the monotonic clock."""
        end, times = self._asked.pop(binding.home_address, (binding.expires, 0))
        if end != binding.expires:
            times = 0
        ask = times < REQUESTS and self._limit.allows(now)
        again = min(now + INTERVAL, binding.expires) if times + 1 < REQUESTS else binding.expires
        if again < binding.expires:
            self._asked[binding.home_address] = (binding.expires, times + 1)
        self._cache.look_at(binding, again)
        return ask
