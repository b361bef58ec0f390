"""Wait for something to become true by asking again, never by sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .topology import LabError

T = TypeVar("T")

POLL_INTERVAL = 0.05
"""Seconds."""


class NotInTime(AssertionError):
    """What was waited for did not come; the text holds the last value seen."""


def eventually(check: Callable[[], T], timeout: float, what: str, interval: float = POLL_INTERVAL) -> T:
    """Call `check` until it gives something true, and return that.

    A `check` that raises AssertionError or LabError is asked again as well. After `timeout` seconds, and
    at least two calls, NotInTime tells `what` was waited for and what was seen or raised last.
    """
    deadline = time.monotonic() + timeout
    asked = 0
    while True:
        last: object
        cause: Exception | None = None
        try:
            value = check()
            if value:
                return value
            last = value
        except (AssertionError, LabError) as error:
            last, cause = error, error
        asked += 1
        if asked > 1 and time.monotonic() >= deadline:
            raise NotInTime(f"not within {timeout:g} s: {what}; last seen: {last!r}") from cause
        time.sleep(interval)
