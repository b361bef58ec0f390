"""What the guard of a Home Agent knows of traffic: packets towards other Home Agents that are worth a shorter
way, and how many come from there to mobile routers that are leaked on traffic."""

from __future__ import annotations

from collections.abc import Iterable

from ..kernel.guard_traffic import NOTICE_AGAIN
from ..wire.address import Address, Prefix


class TrafficMeter:
    """The rules of the chain `noticing` (`kernel/guard_traffic.py`). Virtual seconds."""

    def __init__(self, threshold: int) -> None:
        """`threshold`: packets a second to one /64; so many may come at once."""
        self._threshold = threshold
        self._left: dict[Prefix, tuple[float, float]] = {}
        """How many more may come, and when that was so."""
        self._noticed: dict[Address, float] = {}

    def notices(self, destination: Address, now: float) -> bool:
        """A packet leaves by the tunnel to another Home Agent: whether the agent hears of it."""
        noticed = self._noticed.get(destination)
        if noticed is not None and now - noticed < NOTICE_AGAIN:
            return False
        network = Prefix.of(destination, 64)
        left, at = self._left.get(network, (float(self._threshold), now))
        left = min(left + (now - at) * self._threshold, self._threshold)
        if left >= 1.0:
            self._left[network] = left - 1.0, now
            return False
        self._left[network] = left, now
        self._noticed[destination] = now
        return True


class TrafficCounters:
    """The elements with counters of the chain `from_peer`."""

    def __init__(self) -> None:
        self.packets: dict[Prefix, int] = {}
        self.last: dict[Prefix, float] = {}
        """When there was the last one."""
        self._lengths: frozenset[int] = frozenset()

    def watch(self, prefixes: Iterable[Prefix], now: float) -> None:
        """Count packets to these too."""
        for prefix in prefixes:
            self.packets.setdefault(prefix, 0)
            self.last.setdefault(prefix, now)
        self._changed()

    def unwatch(self, prefixes: Iterable[Prefix]) -> None:
        """Count packets to these no more."""
        for prefix in prefixes:
            self.packets.pop(prefix, None)
            self.last.pop(prefix, None)
        self._changed()

    def count(self, destination: Address, now: float) -> None:
        """A packet comes from another Home Agent."""
        for length in self._lengths:
            prefix = Prefix.of(destination, length)
            if prefix in self.packets:
                self.packets[prefix] += 1
                self.last[prefix] = now

    def _changed(self) -> None:
        self._lengths = frozenset(prefix.length for prefix in self.packets)
