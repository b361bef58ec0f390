"""Packets under way when a binding changed are let in a little longer.

A mobile router sends from its former care-of address, and by the Home Agent that it had, until the new one
has acknowledged; what it sent then still arrives after the guard could have been told to keep it out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from ..kernel.guard_sets import in_whole_octets
from ..protocol.effects import Admit, Dismiss
from ..wire.address import Address, Prefix
from .batch import GuardEffect, KeepingOut

_STEP: Final = 0.1
"""Seconds: changes of so long a time are made in one transaction."""

_Key = tuple[Address, Prefix] | Prefix


class Grace:
    """Delays what keeps packets out, a tenth of a second longer at most, and drops it when they are let in
    again meanwhile. Times on the monotonic clock, seconds."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._due: dict[_Key, float] = {}
        self._queue: deque[tuple[float, KeepingOut]] = deque()
        """In the order in which they are due; those of which `_due` says otherwise have been dropped."""

    def take(self, effects: Sequence[GuardEffect], now: float) -> None:
        """Take over what keeps out, to be given back by `pop_due`, unless something lets it in again."""
        if not self._due and not any([isinstance(effect, KeepingOut) for effect in effects]):
            return
        due = math.ceil((now + self._delay) / _STEP) * _STEP
        for effect in chain.from_iterable(map(_pieces, effects)):
            if isinstance(effect, KeepingOut):
                self._due[_key(effect)] = due
                self._queue.append((due, effect))
            else:
                self._due.pop(_key(effect), None)

    def next_due(self) -> float | None:
        """When `pop_due` has something to give."""
        queue = self._queue
        while queue and self._due.get(_key(queue[0][1])) != queue[0][0]:
            queue.popleft()
        return queue[0][0] if queue else None

    def pop_due(self, now: float) -> list[KeepingOut]:
        """What is to be kept out from now on."""
        queue, over = self._queue, []
        while queue and queue[0][0] <= now:
            due, effect = queue.popleft()
            if self._due.get(key := _key(effect)) == due:
                del self._due[key]
                over.append(effect)
        return over


def _pieces(effect: GuardEffect) -> Iterable[GuardEffect]:
    """The effect as the sets of the guard have it: a /60 that goes must not take along the /64 of it that
    has come."""
    if effect.inner.length % 8 == 0:
        return (effect,)
    return [replace(effect, inner=piece) for piece in in_whole_octets(effect.inner)]


def _key(effect: GuardEffect) -> _Key:
    return effect.inner if isinstance(effect, Admit | Dismiss) else (effect.outer, effect.inner)
