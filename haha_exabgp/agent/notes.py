"""The log of a daemon that may do the same thing 15,000 times a second."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..protocol.effects import Note
from ..protocol.rate_limit import RateLimit

LINES_A_SECOND = 50.0
_BURST = 200.0


class NoteLog:
    """Writes notes until there are too many, then says how many it has left out."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._limit = RateLimit(LINES_A_SECOND, _BURST)
        self._left_out = 0

    def write(self, notes: Sequence[Note], now: float) -> None:
        """`now` on the monotonic clock, seconds."""
        for position, note in enumerate(notes):
            if not self._limit.allows(now):
                self._left_out += len(notes) - position
                return
            if self._left_out:
                self._log.info("%d lines were left out of this log", self._left_out)
                self._left_out = 0
            self._log.info("%s", note.text)
