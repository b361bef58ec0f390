"""The binding cache of a Home Agent, keyed by home address (RFC 6275 s.9.1)."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf

from ..wire.address import Address
from .binding import Binding


class BindingCache:
    """Live bindings with their expiry, and what must outlive a binding: its order and sequence."""

    def __init__(self) -> None:
        self._live: dict[Address, Binding] = {}
        self._last: dict[Address, Binding] = {}
        self._expiry: list[tuple[float, Address]] = []
        self._wakes: dict[Address, float] = {}
        """The earliest entry of a home address in `_expiry`: a refresh adds no other."""

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

    def put(self, binding: Binding) -> None:
        """Enter a binding in place of an earlier one. With `expires` 0 it is only remembered."""
        if binding.expires == 0.0:
            self._last[binding.home_address] = binding
            return
        self._last.pop(binding.home_address, None)
        self._live[binding.home_address] = binding
        self._wake(binding)

    def remove(self, home_address: Address) -> Binding:
        """End a live binding. Returns what is remembered of it. Raises KeyError."""
        ended = self._live.pop(home_address)._replace(expires=0.0)
        self._last[home_address] = ended
        return ended

    def next_expiry(self) -> float | None:
        """When the first binding ends, on the monotonic clock; may be early, never late."""
        return self._expiry[0][0] if self._expiry else None

    def pop_expired(self, now: float) -> Iterator[Binding]:
        """Each binding whose lifetime has ended; the caller removes it."""
        while self._expiry and self._expiry[0][0] <= now:
            at, home_address = heappop(self._expiry)
            if self._wakes.get(home_address) != at:
                continue
            del self._wakes[home_address]
            binding = self._live.get(home_address)
            if binding is None:
                continue
            if binding.expires <= now:
                yield binding
            else:
                self._wake(binding)

    def _wake(self, binding: Binding) -> None:
        if binding.expires < self._wakes.get(binding.home_address, inf):
            self._wakes[binding.home_address] = binding.expires
            heappush(self._expiry, (binding.expires, binding.home_address))
