"""What is checked, and what is raised when it does not hold."""

from __future__ import annotations

from enum import StrEnum

from ..wire.address import Address


class Invariant(StrEnum):
    """What is checked; the value is its name in docs/simulator.md."""

    ONE_OWNER = "one owner"
    NEWEST_WINS = "newest wins"
    BINDING_KEPT = "binding kept"
    PRIMARY_FIRST = "primary first"
    CURRENT_PLACE = "current place"
    RIGHT_ROUTER = "right mobile router"
    NO_LOOP = "no loop"
    REACHABLE = "reachable"
    NOTHING_LEFT = "nothing left"
    NOTHING_MISSING = "nothing missing"
    AUDIENCE = "audience"
    BEST_LEAK = "best leak"
    STALE_ROUTE = "stale route"
    PROJECTION = "projected route"
    TAKE_OVER = "take-over"
    BORDER = "border Home Agent"
    PARENT = "parent in use"
    HOME_HELD = "home held back"
    LIFETIME = "lifetime"
    TIME_PASSES = "time passes"
    NO_EXCEPTION = "no exception"


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: Invariant, home_address: Address | None, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.home_address = home_address
