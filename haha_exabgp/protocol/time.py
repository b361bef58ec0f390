"""The two clocks that a decision may need, read once by the shell and handed in."""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """One reading of both clocks, in seconds."""

    monotonic: float
    """For timers and lifetimes; never jumps."""
    wall: float
    """Since the Unix epoch: for replay protection and mobility sequences, which cross machines."""
