"""Asking a mobile router to refresh a binding that is about to end (RFC 6275 s.6.1.2, s.9.5.5).

A mobile router refreshes by itself, long before: this is for one whose refreshes got lost. A request is sent
when a tenth of the lifetime is left, 4 s at least, and twice again while nothing comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..wire.address import Address
from .binding import Binding, BindingKind
from .binding_cache import BindingCache
from .deadlines import Deadlines
from .rate_limit import RateLimit

SHARE_LEFT = 0.1
LEAST_LEFT = 4.0
"""Seconds."""
REQUESTS = 3
"""For one end of a binding that comes near."""
INTERVAL = 3.0
"""Seconds between two of them."""
REQUESTS_A_SECOND = 200.0
"""To all mobile routers: when thousands end at once (a network was cut off), some end unasked."""


class _Watched(NamedTuple):
    expires: float
    """Of the binding when it was looked at last: a later one has been refreshed since."""
    sent: int = 0


class RefreshRequests:
    """When to look at which binding; one entry for each, however often it is refreshed."""

    def __init__(self, cache: BindingCache) -> None:
        self._cache = cache
        self._deadlines: Deadlines[Address] = Deadlines()
        self._watched: dict[Address, _Watched] = {}
        self._limit = RateLimit(REQUESTS_A_SECOND, REQUESTS_A_SECOND)

    def watch(self, home_address: Address, now: float) -> None:
        """A mobile router has been told that it is bound here."""
        if home_address not in self._watched:
            binding = self._cache.get(home_address)
            if binding is not None and binding.kind is not BindingKind.PROXIED:
                self._look_later(binding, now)

    def next_timer(self) -> float | None:
        """When `due` is wanted next, on the monotonic clock."""
        return self._deadlines.next()

    def due(self, now: float) -> Iterator[Binding]:
        """The bindings whose mobile routers are to be asked now."""
        for home_address in self._deadlines.due(now):
            watched = self._watched.pop(home_address)
            binding = self._cache.get(home_address)
            if binding is None or binding.kind is BindingKind.PROXIED or binding.expires <= now:
                continue
            if binding.expires != watched.expires:
                self._look_later(binding, now)
                continue
            if watched.sent < REQUESTS and self._limit.allows(now):
                yield binding
            sent = watched.sent + 1
            self._watched[home_address] = watched._replace(sent=sent)
            again = min(now + INTERVAL, binding.expires) if sent < REQUESTS else binding.expires
            self._deadlines.set(home_address, again)

    def _look_later(self, binding: Binding, now: float) -> None:
        left = binding.expires - now
        margin = min(max(SHARE_LEFT * left, LEAST_LEFT), left / 2)
        self._watched[binding.home_address] = _Watched(binding.expires)
        self._deadlines.set(binding.home_address, binding.expires - margin)
