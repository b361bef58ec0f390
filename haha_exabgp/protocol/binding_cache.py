"""The binding cache of a Home Agent, keyed by home address (RFC 6275 s.9.1)."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf

from ..wire.address import Address
from .binding import Binding

SHARE_LEFT = 0.1
LEAST_LEFT = 4.0
"""A binding is about to end when this share of its lifetime is left, and so many seconds at least."""


class BindingCache:
    """Live bindings, each to be looked at when it is about to end and when it ends; and what must outlive a
    binding: its order and sequence. Times are on the monotonic clock."""

    def __init__(self) -> None:
        self._live: dict[Address, Binding] = {}
        self._last: dict[Address, Binding] = {}
        self._moments: list[tuple[float, float, Address]] = []
        """When to look at a binding, when it was to end as that was settled, whose it is. A refresh settles
        nothing anew: so there is one entry for a binding, and seldom anything to do about it."""
        self._first: dict[Address, float] = {}
        """The moment that counts of a home address, the earliest."""

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Binding]:
        return iter(self._live.values())

    def get(self, home_address: Address) -> Binding | None:
        """The live binding."""
        return self._live.get(home_address)

    def last(self, home_address: Address) -> Binding | None:
        """The live binding, or the last one there was."""
        return self._live.get(home_address) or self._last.get(home_address)

    def known(self) -> list[Address]:
        """Every home address that there is or was a binding of."""
        return [*self._live, *(one for one in self._last if one not in self._live)]

    def put(self, binding: Binding, now: float) -> None:
        """Enter a binding in place of an earlier one. With `expires` 0 it is only remembered."""
        home_address, expires = binding.home_address, binding.expires
        if expires == 0.0:
            self._last[home_address] = binding
            return
        self._last.pop(home_address, None)
        self._live[home_address] = binding
        moment = _about_to_end(expires, now)
        if moment < self._first.get(home_address, inf):
            self.look_at(binding, moment)

    def remove(self, home_address: Address) -> Binding:
        """End a live binding. Returns what is remembered of it. Raises KeyError."""
        ended = self._live.pop(home_address)._replace(expires=0.0)
        self._last[home_address] = ended
        return ended

    def look_at(self, binding: Binding, moment: float) -> None:
        """Have `due` give a live binding then, unless it is refreshed before."""
        self._first[binding.home_address] = moment
        heappush(self._moments, (moment, binding.expires, binding.home_address))

    def next_moment(self) -> float | None:
        """When `due` is wanted next; may be early, never late."""
        return self._moments[0][0] if self._moments else None

    def due(self, now: float) -> Iterator[Binding]:
        """Each binding that has ended, to be removed, and each that is about to end: `look_at` it again, at
        its end at the latest."""
        while self._moments and self._moments[0][0] <= now:
            moment, expires, home_address = heappop(self._moments)
            if self._first.get(home_address) != moment:
                continue
            del self._first[home_address]
            binding = self._live.get(home_address)
            if binding is None:
                continue
            if binding.expires == expires or binding.expires <= now:
                yield binding
            else:
                self.look_at(binding, _about_to_end(binding.expires, now))


def _about_to_end(expires: float, now: float) -> float:
    left = expires - now
    return expires - min(max(SHARE_LEFT * left, LEAST_LEFT), left / 2)
