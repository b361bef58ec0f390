"""What a mobile router does about a refused Binding Update: one table (RFC 6275 s.11.7.3, RFC 3963 s.5.4,
RFC 4285 s.5.3, s.6).

What can be corrected is corrected and sent again, once. What another Home Agent may grant is asked of the
next one. What will be refused again is not asked again of this Home Agent for a while, or, where the
RFC has MUST, not before the next attachment.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf

from ..wire.codes import Status

BARRED_SECONDS = 300.0
"""An operator who mends the Home's configuration is not made to restart mobile routers."""


class Remedy(Enum):
    """What to do about a refusal."""

    NEXT = auto()
    """Ask the next Home Agent."""
    NEXT_AND_WAIT = auto()
    """Ask the next one, and this one no more for `BARRED_SECONDS`."""
    NEXT_FOR_GOOD = auto()
    """Ask the next one, and this one no more from here."""
    CORRECT = auto()
    """Numbering, clock or form of the Binding Update: take over what the Home Agent says."""
    DEREGISTER_FIRST = auto()
    """The binding that it has is of another kind: end it, then register."""


_REMEDIES = {
    Status.HOME_REGISTRATION_NOT_SUPPORTED: Remedy.NEXT_AND_WAIT,
    Status.NOT_HOME_SUBNET: Remedy.NEXT_AND_WAIT,
    # RFC 6275 s.11.7.1: the home address must not be used again.
    Status.DUPLICATE_ADDRESS_DETECTION_FAILED: Remedy.NEXT_FOR_GOOD,
    Status.SEQUENCE_OUT_OF_WINDOW: Remedy.CORRECT,
    Status.REGISTRATION_TYPE_CHANGE_DISALLOWED: Remedy.DEREGISTER_FIRST,
    Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED: Remedy.NEXT_FOR_GOOD,
    Status.INVALID_PREFIX: Remedy.NEXT_AND_WAIT,
    Status.NOT_AUTHORIZED_FOR_PREFIX: Remedy.NEXT_AND_WAIT,
    Status.FORWARDING_SETUP_FAILED: Remedy.NEXT_AND_WAIT,
    Status.IDENTIFICATION_MISMATCH: Remedy.CORRECT,
    Status.MESSAGE_IDENTIFICATION_REQUIRED: Remedy.CORRECT,
    # RFC 4285 s.5.3; another attachment may alter our packets less.
    Status.AUTHENTICATION_FAILED: Remedy.NEXT_FOR_GOOD,
}
_OF_EXPLICIT_MODE = frozenset({Status.INVALID_PREFIX, Status.NOT_AUTHORIZED_FOR_PREFIX})
_OF_IMPLICIT_MODE = frozenset({Status.FORWARDING_SETUP_FAILED})
_KNOWN = frozenset(Status)


def remedy(status: int, *, explicit: bool) -> Remedy:
    """What to do about this status. One that belongs to the other prefix mode is fatal (RFC 3963 s.5.4)."""
    if status in (_OF_IMPLICIT_MODE if explicit else _OF_EXPLICIT_MODE):
        return Remedy.NEXT_FOR_GOOD
    return _REMEDIES.get(Status(status), Remedy.NEXT) if status in _KNOWN else Remedy.NEXT


def barred_until(one: Remedy, now: float) -> float | None:
    """Until when the Home Agent is not to be asked, on the monotonic clock; None: it may be."""
    if one is Remedy.NEXT_AND_WAIT:
        return now + BARRED_SECONDS
    return inf if one is Remedy.NEXT_FOR_GOOD else None


def meaning(status: int) -> str:
    """A status for people: `142, not authorized for prefix`."""
    name = Status(status).name.lower().replace("_", " ") if status in _KNOWN else "unknown status"
    return f"{int(status)}, {name}"
