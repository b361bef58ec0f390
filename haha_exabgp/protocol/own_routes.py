"""What a border Home Agent announces of itself, whatever is bound: Home, its partition, what its site lends.

Rules, all in this file:

1. Home is announced only while enough other sites are reached; for the first `START_HOLD` seconds at
   least one must be, so that a starting site attracts nothing that it cannot yet deliver.
2. A Home Agent that is taken out of service leaves Home to the others, while there are any: its site's
   router exports Home no more, and still brings what comes.
3. A satellite announces Home while it reaches the parent in use. A parent tells its satellites of Home when
   it tells its own site, unless it is on its way out of service.
"""

from __future__ import annotations

from ..wire.address import Address, Prefix
from .home import HomeAgentConfig
from .route_policy import EXPORT, LENDING
from .routes import Announcement, RouteKind
from .wanted import WantedState

START_HOLD = 15.0
"""Seconds after the start in which Home needs at least one reached site to be announced."""


class OwnRoutes:
    """The announcements of one border Home Agent that follow from its configuration and whom it reaches."""

    def __init__(self, config: HomeAgentConfig, wanted: WantedState) -> None:
        self._config = config
        self._wanted = wanted
        self._lends = any(peer.is_satellite for peer in config.adjacent)
        self._has_other_sites = any(peer.site != config.site for peer in config.peers)
        self._hold_until: float | None = None
        self._is_leaving = False
        self._epoch = 0

    def start(self, now: float) -> None:
        """State what is announced from the start, on the monotonic clock."""
        self._hold_until = now + START_HOLD
        self._announce_partition()
        for lent in self._config.lent:
            audience = LENDING[RouteKind.SATELLITE]
            self._wanted.announce(Announcement(audience, RouteKind.SATELLITE, lent.prefix, self._config.haha))

    def lead(self, epoch: int) -> bool:
        """With this epoch from now on, 0 for none. True if that is another one: `tell_of_home` is wanted."""
        if epoch == self._epoch:
            return False
        self._epoch = epoch
        self._announce_partition()
        return True

    def leave(self, leave: bool) -> None:
        """Leave Home to others, or no more; `tell_of_home` is wanted."""
        self._is_leaving = leave

    @property
    def held_until(self) -> float | None:
        """Until when a start counts as one."""
        return self._hold_until

    def hold_is_over(self, now: float) -> bool:
        """True once, when it is: `tell_of_home` is wanted."""
        if self._hold_until is None or now < self._hold_until:
            return False
        self._hold_until = None
        return True

    def reaches_enough(self, sites: int) -> bool:
        """Whether so many other sites are enough to announce Home."""
        needed = self._config.min_sites_reached
        if self._hold_until is not None and self._has_other_sites:
            needed = max(needed, 1)
        return sites >= needed

    def tell_of_home(self, reached: bool) -> None:
        """Announce Home, or withdraw it."""
        config, wanted = self._config, self._wanted
        if reached:
            self.announce(
                RouteKind.HOME_LEAVING if self._is_leaving else RouteKind.HOME, config.home, config.outer
            )
        else:
            wanted.withdraw(EXPORT[RouteKind.HOME], config.home)
        if self._lends and reached and not self._is_leaving:
            audience = LENDING[RouteKind.HOME]
            wanted.announce(Announcement(audience, RouteKind.HOME, config.home, config.haha, self._epoch))
        elif self._lends:
            wanted.withdraw(LENDING[RouteKind.HOME], config.home)

    def announce(self, kind: RouteKind, prefix: Prefix, next_hop: Address) -> None:
        """Tell of one that we have as border Home Agent, or as a reserve."""
        self._wanted.announce(Announcement(EXPORT[kind], kind, prefix, next_hop, self._epoch))

    def _announce_partition(self) -> None:
        if self._config.partition is not None:
            self.announce(RouteKind.SITE, self._config.partition, self._config.haha)
