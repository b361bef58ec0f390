"""The router of a site, as far as its Home Agents' routes concern it: it exports Home, and nothing longer,
and brings packets to the Home Agent that says it has the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..protocol.routes import Announcement, RouteKind
from ..wire.address import Address, Prefix
from .loop import EventLoop
from .network import Place
from .packets import Packet

RESTART_TIME = 120.0
"""Seconds that routes of an ExaBGP that has died are kept (RFC 4724); the session is open till then."""
HOLD_TIME = 9.0
"""Seconds until a host that has gone down is noticed."""
_LAN_DELAY = 0.002


class SiteRouter:
    """Learns from the ExaBGPs on its link, and has the best route of each prefix (LOCAL_PREF, which is the
    sequence, then the lowest address)."""

    def __init__(
        self,
        region: int,
        home: Prefix,
        exported: Callable[[bool], None],
        lost: Callable[[Packet, str], None],
    ) -> None:
        """`exported(yes)` is called when it begins or ceases to announce Home to the Internet; `lost(packet,
        why)` hears of what it has no way for."""
        self.region = region
        self._home = home
        self._exported = exported
        self._lost = lost
        self._sessions: list[RouterSession] = []
        self._best: dict[Prefix, Announcement] = {}
        self._lengths: list[int] = []
        self.home_agents: Mapping[Address, Place] = {}
        """By outer address."""

    def add(self, loop: EventLoop) -> RouterSession:
        """The session with one more Home Agent."""
        session = RouterSession(loop, self._changed)
        self._sessions.append(session)
        return session

    def arrive(self, packet: Packet) -> None:
        """A packet for Home comes from the Internet."""
        for length in self._lengths:
            best = self._best.get(Prefix.of(packet.destination, length))
            if best is not None:
                self.home_agents[best.next_hop].arrive(packet)
                return
        self._lost(packet, "no Home Agent")

    def _changed(self, prefix: Prefix) -> None:
        told = [one.routes[prefix] for one in self._sessions if prefix in one.routes]
        if told:
            self._best[prefix] = min(told, key=_rank)
        else:
            self._best.pop(prefix, None)
        self._lengths = sorted({prefix.length for prefix in self._best}, reverse=True)
        if prefix == self._home:
            self._exported(bool(told) and self._best[prefix].kind is RouteKind.HOME)


class RouterSession:
    """With one ExaBGP."""

    def __init__(self, loop: EventLoop, changed: Callable[[Prefix], None]) -> None:
        """`changed(prefix)`: another route to it, or none."""
        self._loop = loop
        self._changed = changed
        self._stale: dict[Prefix, None] = {}
        self._number = 0
        self.routes: dict[Prefix, Announcement] = {}

    def tell(self, prefix: Prefix, announcement: Announcement | None) -> None:
        """ExaBGP announces a prefix, or withdraws it."""
        self._loop.after(_LAN_DELAY, self._learn, prefix, announcement, self._number)

    def end_of_rib(self) -> None:
        """ExaBGP has told all: what is still stale goes."""
        self._loop.after(_LAN_DELAY, self._forget_stale, self._number)

    def lose_session(self, *, host_is_down: bool) -> None:
        """ExaBGP has died, or its host."""
        self._number += 1
        if not host_is_down:
            self._stale = dict.fromkeys(self.routes)
        self._loop.after(HOLD_TIME if host_is_down else RESTART_TIME, self._expire, self._number)

    def open_session(self) -> None:
        """ExaBGP is back."""
        self._number += 1
        self._stale = dict.fromkeys(self.routes)

    def _learn(self, prefix: Prefix, announcement: Announcement | None, number: int) -> None:
        if number != self._number:
            return
        self._stale.pop(prefix, None)
        if announcement is not None:
            self.routes[prefix] = announcement
            self._changed(prefix)
        else:
            self._forget([prefix])

    def _forget_stale(self, number: int) -> None:
        if number == self._number:
            stale, self._stale = list(self._stale), {}
            self._forget(stale)

    def _expire(self, number: int) -> None:
        if number == self._number:
            self._stale.clear()
            self._forget(list(self.routes))

    def _forget(self, prefixes: list[Prefix]) -> None:
        for prefix in prefixes:
            if self.routes.pop(prefix, None) is not None:
                self._changed(prefix)


def _rank(told: Announcement) -> tuple[bool, int, Address]:
    return (told.kind is RouteKind.HOME_LEAVING, -told.sequence, told.next_hop)
