"""The router of a site, as far as its Home Agent's routes concern it: it exports Home, and nothing longer."""

from __future__ import annotations

from collections.abc import Callable

from ..protocol.routes import Announcement, RouteKind
from ..wire.address import Prefix
from .loop import EventLoop

RESTART_TIME = 120.0
"""Seconds that routes of an ExaBGP that has died are kept (RFC 4724); the session is open till then."""
HOLD_TIME = 9.0
"""Seconds until a host that has gone down is noticed."""
_LAN_DELAY = 0.002


class SiteRouter:
    """Learns from one ExaBGP on its link."""

    def __init__(self, loop: EventLoop, home: Prefix, exported: Callable[[bool], None]) -> None:
        """`exported(yes)` is called when it begins or ceases to announce Home to the Internet."""
        self._loop = loop
        self._home = home
        self._exported = exported
        self._stale: dict[Prefix, None] = {}
        self._session = 0
        self.routes: dict[Prefix, Announcement] = {}

    def tell(self, prefix: Prefix, announcement: Announcement | None) -> None:
        """ExaBGP announces a prefix, or withdraws it."""
        self._loop.after(_LAN_DELAY, self._learn, prefix, announcement, self._session)

    def end_of_rib(self) -> None:
        """ExaBGP has told all: what is still stale goes."""
        self._loop.after(_LAN_DELAY, self._forget_stale, self._session)

    def lose_session(self, *, host_is_down: bool) -> None:
        """ExaBGP has died, or its host."""
        self._session += 1
        if not host_is_down:
            self._stale = dict.fromkeys(self.routes)
        self._loop.after(HOLD_TIME if host_is_down else RESTART_TIME, self._expire, self._session)

    def open_session(self) -> None:
        """ExaBGP is back."""
        self._session += 1
        self._stale = dict.fromkeys(self.routes)

    def _learn(self, prefix: Prefix, announcement: Announcement | None, session: int) -> None:
        if session != self._session:
            return
        self._stale.pop(prefix, None)
        if announcement is None:
            self.routes.pop(prefix, None)
        else:
            self.routes[prefix] = announcement
        self._export()

    def _forget_stale(self, session: int) -> None:
        if session == self._session:
            for prefix in self._stale:
                self.routes.pop(prefix, None)
            self._stale.clear()
            self._export()

    def _expire(self, session: int) -> None:
        if session == self._session:
            self.routes.clear()
            self._stale.clear()
            self._export()

    def _export(self) -> None:
        home = self.routes.get(self._home)
        self._exported(home is not None and home.kind is RouteKind.HOME)
