"""Telling a Home Agent that its binding has been replaced by one elsewhere (RFC 5846, draft gap filled).

The indication carries the mobility sequence of the new binding: whoever holds a binding of that or a
later sequence knows that the indication is late and keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..wire.address import Address
from .time import Now

ATTEMPTS = 3
FIRST_TIMEOUT = 1.0
"""Seconds, doubled each time. RFC 5846 s.11 has 1 s and one repetition by default; what is lost after
the third ends by its lifetime."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One indication that has not been acknowledged."""

    home_address: Address
    holder: Address
    """HAHA address of the Home Agent that holds the replaced binding."""
    mobility_sequence: int
    sequence: int
    retry_at: float
    attempt: int = 1


class Revocations:
    """The indications not acknowledged yet, by home address and holder."""

    def __init__(self, first_sequence: int) -> None:
        self._pending: dict[tuple[Address, Address], Revocation] = {}
        self._sequence = first_sequence

    def start(self, home_address: Address, holder: Address, mobility_sequence: int, now: Now) -> Revocation:
        """Begin to revoke; in place of an earlier one to the same holder."""
        self._sequence = (self._sequence + 1) % 65536
        revocation = Revocation(
            home_address, holder, mobility_sequence, self._sequence, now.monotonic + FIRST_TIMEOUT
        )
        self._pending[home_address, holder] = revocation
        return revocation

    def cancel(self, home_address: Address, holder: Address) -> None:
        """The holder has the binding again."""
        self._pending.pop((home_address, holder), None)

    def acknowledged(self, home_address: Address, holder: Address, sequence: int) -> bool:
        """An acknowledgement came. False when nothing waits for it."""
        pending = self._pending.get((home_address, holder))
        if pending is None or pending.sequence != sequence:
            return False
        del self._pending[home_address, holder]
        return True

    def next_timer(self) -> float | None:
        """When the first one is due, on the monotonic clock."""
        return min((one.retry_at for one in self._pending.values()), default=None)

    def due(self, now: Now) -> Iterator[Revocation]:
        """What is to be sent again now; what has been sent often enough is dropped."""
        for key, pending in list(self._pending.items()):
            if pending.retry_at > now.monotonic:
                continue
            if pending.attempt >= ATTEMPTS:
                del self._pending[key]
                continue
            again = replace(
                pending,
                attempt=pending.attempt + 1,
                retry_at=now.monotonic + FIRST_TIMEOUT * 2**pending.attempt,
            )
            self._pending[key] = again
            yield again
