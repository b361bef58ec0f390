"""What has been simulated, for all that is worked out from it."""

from __future__ import annotations

from dataclasses import dataclass

from .fleet import Fleet
from .geography import Ints
from .updates import Updates
from .world import World


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Some hours of a fleet in a world."""

    world: World
    fleet: Fleet
    primary: Ints
    """The primary site of each mobile router."""
    updates: Updates
    seconds: float
    home_agent: int
    """The site of the only Home Agent of basic NEMO."""
