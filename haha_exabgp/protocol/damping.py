"""Damping of mobile routers that change their attachment too often (RFC 7432 s.15.1, behaviour H-9).

Decided at the primary, which sees every attachment; who holds the mobile router is another one each time, and
of attachments that are not leaked nobody else hears. It tells the holder in the acknowledgement.

More than `moves` changes within `window` seconds: damped, until it has stayed for `window` seconds where it
is. So nobody is damped for longer than that after the last move; a restart forgets it.
"""

from __future__ import annotations

from ..wire.address import Address


class Damping:
    """Who has moved when, of those who have moved within the window. Times on the monotonic clock."""

    def __init__(self, moves: int, window: float) -> None:
        """With `moves` 0 nobody is ever damped."""
        self._moves = moves
        self._window = window
        self._times: dict[Address, tuple[float, ...]] = {}
        """The last `moves` + 1 changes of each; who moved last stands last."""
        self._until: dict[Address, float] = {}

    def moved(self, home_address: Address, now: float) -> bool:
        """Note a change of attachment. True when the mobile router is damped from now on and was not."""
        if not self._moves:
            return False
        self._forget(now)
        recent = self._times.pop(home_address, ())
        self._times[home_address] = recent = (*recent[-self._moves :], now)
        was_damped = home_address in self._until
        too_often = len(recent) > self._moves and now - recent[0] <= self._window
        if not was_damped and not too_often:
            return False
        self._until[home_address] = now + self._window
        return not was_damped

    def left(self, home_address: Address, now: float) -> float:
        """Seconds until a mobile router is no longer damped, if it stays where it is; 0 when it is not."""
        return max(self._until.get(home_address, now) - now, 0.0)

    def _forget(self, now: float) -> None:
        times = self._times
        while times:
            first = next(iter(times))
            if times[first][-1] + self._window > now:
                return
            del times[first]
            self._until.pop(first, None)
