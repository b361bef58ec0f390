"""Which of its parents a satellite hangs under (draft s.5.1.2). Rules:

1. A parent is *good* while it announces Home to us.
2. The one in use is left for the best good one: at once when it takes Home back, after `PATIENCE` when its
   session is down, for ExaBGP may just be restarted.
3. A better one that is back is used again when it has been good for `RETURN_AFTER`.
4. When none is good the last one stays in use; nothing is promised to anybody then.
"""

from __future__ import annotations

from collections.abc import Sequence

PATIENCE = 3.0
"""Seconds, on top of the hold time of a session."""
START_PATIENCE = 10.0
"""Seconds after a start: so long the best parent may take to be the first."""
RETURN_AFTER = 30.0
"""Seconds: every change of parent makes each binding known anew, so that one that comes and goes is not worth
it."""


class Parents:
    """The choice among sites, best first. Times on the monotonic clock."""

    def __init__(self, sites: Sequence[str]) -> None:
        """`sites`: at least one."""
        self._sites = tuple(sites)
        self._good_since: dict[str, float] = {}
        self._leave_at: float | None = None
        """When the one in use is given up, unless it is good again before; None while it is good."""
        self.in_use = self._sites[0]
        self.is_reached = False
        """Whether the one in use is good, or was until a moment ago."""

    def start(self, in_use: str | None, now: float) -> None:
        """Begin under the best one, or under the one that was in use before a restart."""
        if in_use in self._sites:
            self.in_use = str(in_use)
        self._leave_at = now + START_PATIENCE

    def good(self, site: str, now: float) -> None:
        """A parent announces Home; said again it changes nothing."""
        self._good_since.setdefault(site, now)

    def lost(self, site: str, now: float, *, patience: float = PATIENCE) -> None:
        """A parent no longer does."""
        if self._good_since.pop(site, None) is not None and site == self.in_use:
            self._leave_at = now + patience

    def next_timer(self) -> float | None:
        """When `choose` may have something to do."""
        if self.in_use not in self._good_since:
            is_waiting = self.is_reached or self._good_since
            return self._leave_at if is_waiting else None
        if not self.is_reached:
            return 0.0
        better = self._sites[: self._sites.index(self.in_use)]
        return min(
            (self._good_since[site] + RETURN_AFTER for site in better if site in self._good_since),
            default=None,
        )

    def choose(self, now: float) -> bool:
        """Make up one's mind. True when another parent than before is in use."""
        best = next((site for site in self._sites if site in self._good_since), None)
        if self.in_use in self._good_since:
            self._leave_at, self.is_reached = None, True
            better = self._sites[: self._sites.index(self.in_use)]
            back = [one for one in better if self._good_since.get(one, now) + RETURN_AFTER <= now]
            if back:
                self.in_use = back[0]
            return bool(back)
        if self._leave_at is not None and now < self._leave_at:
            return False
        self.is_reached = best is not None
        if best is None:
            return False
        self.in_use = best
        return True
