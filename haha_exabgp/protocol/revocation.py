"""Telling a Home Agent that its binding has been replaced by one elsewhere (RFC 5846, draft gap filled).

The indication carries the mobility sequence of the new binding: whoever holds a binding of that or a
later sequence knows that the indication is late and keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..wire.address import Address
from ..wire.codes import RevocationTrigger
from .binding import Binding
from .deadlines import Deadlines
from .time import Now

FIRST_TIMEOUT = 1.0
MAX_TIMEOUT = 32.0
"""Seconds; the first, doubled each time up to the other. RFC 5846 s.11 has 1 s and one repetition, but a
holder that cannot be reached now may be back while it still holds the replaced binding."""


class Revocation(NamedTuple):
    """One indication that has not been acknowledged."""

    home_address: Address
    holder: Address
    """HAHA address of the Home Agent that holds the replaced binding."""
    address: Address
    """By which it is reached: a satellite by one that a parent lends."""
    mobility_sequence: int
    """Of the binding that replaces it."""
    until: float
    """When the replaced binding ends by itself, on the monotonic clock."""
    sequence: int
    trigger: RevocationTrigger
    """Why."""
    timeout: float = FIRST_TIMEOUT


class Revocations:
    """The indications not acknowledged yet, by home address and holder."""

    def __init__(self, first_sequence: int) -> None:
        self._pending: dict[tuple[Address, Address], Revocation] = {}
        self._deadlines: Deadlines[tuple[Address, Address]] = Deadlines()
        self._sequence = first_sequence

    def start(
        self,
        replaced: Binding,
        holder: Address,
        mobility_sequence: int,
        now: Now,
        trigger: RevocationTrigger = RevocationTrigger.HANDOVER_UNKNOWN,
        *,
        address: Address | None = None,
    ) -> Revocation:
        """Begin to revoke; in place of an earlier one to the same holder. `address`: where it is reached,
        unless that follows from `replaced`."""
        self._sequence = (self._sequence + 1) % 65536
        revocation = Revocation(
            replaced.home_address,
            holder,
            address or (replaced.care_of_address if replaced.peer == holder else holder),
            mobility_sequence,
            until=replaced.expires,
            sequence=self._sequence,
            trigger=trigger,
        )
        key = replaced.home_address, holder
        self._pending[key] = revocation
        self._deadlines.set(key, now.monotonic + FIRST_TIMEOUT)
        return revocation

    def is_pending(self, home_address: Address, holder: Address) -> bool:
        """Whether that holder is being told already."""
        return (home_address, holder) in self._pending

    def cancel(self, home_address: Address, holder: Address) -> None:
        """The holder has the binding again."""
        self._pending.pop((home_address, holder), None)
        self._deadlines.cancel((home_address, holder))

    def acknowledged(self, home_address: Address, holder: Address, sequence: int) -> bool:
        """An acknowledgement came. False when nothing waits for it."""
        pending = self._pending.get((home_address, holder))
        if pending is None or pending.sequence != sequence:
            return False
        self.cancel(home_address, holder)
        return True

    def next_timer(self) -> float | None:
        """When the first one is due, on the monotonic clock."""
        return self._deadlines.next()

    def due(self, now: Now) -> Iterator[Revocation]:
        """What is to be sent again now; what has ended by itself is dropped."""
        for key in self._deadlines.due(now.monotonic):
            pending = self._pending[key]
            if pending.until <= now.monotonic:
                del self._pending[key]
                continue
            timeout = min(pending.timeout * 2, MAX_TIMEOUT)
            self._pending[key] = pending._replace(timeout=timeout)
            self._deadlines.set(key, now.monotonic + timeout)
            yield pending
