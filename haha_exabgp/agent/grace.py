"""Packets under way when a binding changed are let in a little longer.

A mobile router sends from its former care-of address, and by the Home Agent that it had, until the new one
has acknowledged; what it sent then still arrives after the guard could have been told to keep it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, takewhile
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
        self._due: dict[_Key, tuple[float, KeepingOut]] = {}
        """In the order in which they are due."""

    def take(self, effects: Iterable[GuardEffect], now: float) -> None:
        """Take over what keeps out, to be given back by `pop_due`, unless something lets it in again."""
        due = math.ceil((now + self._delay) / _STEP) * _STEP
        for effect in chain.from_iterable(map(_pieces, effects)):
            key = _key(effect)
            # Put in anew it is the last again, as it is due.
            self._due.pop(key, None)
            if isinstance(effect, KeepingOut):
                self._due[key] = (due, effect)

    def next_due(self) -> float | None:
        """When `pop_due` has something to give."""
        return next((due for due, _ in self._due.values()), None)

    def pop_due(self, now: float) -> list[KeepingOut]:
        """What is to be kept out from now on."""
        # There may be thousands that are not due, and few turns in which any is.
        over = list(takewhile(lambda item: item[1][0] <= now, self._due.items()))
        for key, _ in over:
            del self._due[key]
        return [effect for _, (_, effect) in over]


def _pieces(effect: GuardEffect) -> Iterable[GuardEffect]:
    """The effect as the sets of the guard have it: a /60 that goes must not take along the /64 of it that
    has come."""
    if effect.inner.length % 8 == 0:
        return (effect,)
    return [replace(effect, inner=piece) for piece in in_whole_octets(effect.inner)]


def _key(effect: GuardEffect) -> _Key:
    return effect.inner if isinstance(effect, Admit | Dismiss) else (effect.outer, effect.inner)
