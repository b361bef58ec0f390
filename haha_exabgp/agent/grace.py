"""Packets under way when a binding changed are let in a little longer.

A mobile router sends from its former care-of address, and by the Home Agent that it had, until the new one
has acknowledged; what it sent then still arrives after the guard could have been told to keep it out.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..protocol.effects import Admit, Dismiss, Permit
from ..wire.address import Address, Prefix
from .batch import GuardEffect, KeepingOut, LettingIn

_Key = tuple[Address, Prefix] | Prefix


class Grace:
    """Delays what keeps packets out, and drops it when they are let in again meanwhile. Times on the
    monotonic clock, seconds."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._due: dict[_Key, tuple[float, KeepingOut]] = {}
        """In the order in which they are due."""

    def take(self, effects: Iterable[GuardEffect], now: float) -> list[LettingIn]:
        """Take over what keeps out, to be given back by `pop_due`; gives what lets in, for now."""
        letting_in: list[LettingIn] = []
        for effect in effects:
            if isinstance(effect, Permit | Admit):
                self._due.pop(_key(effect), None)
                letting_in.append(effect)
            else:
                self._due[_key(effect)] = (now + self._delay, effect)
        return letting_in

    def next_due(self) -> float | None:
        """When `pop_due` has something to give."""
        return next((due for due, _ in self._due.values()), None)

    def pop_due(self, now: float) -> list[KeepingOut]:
        """What is to be kept out from now on."""
        keeping_out = []
        for key, (due, effect) in list(self._due.items()):
            if due > now:
                break
            keeping_out.append(effect)
            del self._due[key]
        return keeping_out


def _key(effect: GuardEffect) -> _Key:
    return effect.inner if isinstance(effect, Admit | Dismiss) else (effect.outer, effect.inner)
