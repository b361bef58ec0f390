"""Routes between sites: what the other border Home Agents told us, and which of it the kernel gets.

Rules, all in this file:

1. Of several leaks of one prefix the highest mobility sequence wins; of equal ones the lowest HAHA
   address (the idea of RFC 7432 s.7.7). Arrival order decides nothing. The primary follows none of an
   attachment before the last that it knows of: who leaks that cannot be told, or cannot tell.
2. A session that goes down makes what was learned over it stale, not gone: a restarting speaker's routes
   still lead to a working kernel. Stale routes end with the next End-of-RIB or after `STALE_TIME`
   (RFC 4724 s.4.2).
3. Home is announced only while enough other sites are reached; for the first `START_HOLD` seconds at
   least one must be, so that a starting site attracts nothing that it cannot yet deliver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..wire.address import Address, Prefix
from .home import HomeAgentConfig
from .route_policy import EXPORT, RouteRefusal, check_import
from .routes import Announcement, KernelRoute, LearnedRoute, Metric, RouteKind
from .wanted import WantedState

STALE_TIME = 120.0
"""Seconds that routes of a lost session are kept."""
START_HOLD = 15.0
"""Seconds after the start in which Home needs at least one reached site to be announced."""

_METRICS = {RouteKind.SITE: Metric.SITE, RouteKind.LEAK: Metric.LEAK}
_KINDS: dict[int, RouteKind] = {metric: kind for kind, metric in _METRICS.items()}


@dataclass(slots=True)
class _Learned:
    route: LearnedRoute
    tunnel_exit: Address
    stale_until: float | None = None

    def make_stale(self, now: float) -> None:
        """From now on, or since it first became so: a session that comes and goes prolongs nothing."""
        if self.stale_until is None:
            self.stale_until = now + STALE_TIME


_NOBODY: Mapping[Address, _Learned] = {}


class RouteExchange:
    """The table of learned routes of one border Home Agent."""

    def __init__(
        self,
        config: HomeAgentConfig,
        wanted: WantedState,
        counters: Counter[str],
        outranked: Callable[[Prefix, int], None],
        leak_learned: Callable[[LearnedRoute], None] = lambda route: None,
        *,
        is_outdated: Callable[[LearnedRoute], bool] = lambda route: False,
    ) -> None:
        """`outranked(prefix, sequence)` is called when another Home Agent leaks a prefix that we leak
        too, and wins: the mobile router has moved there. `leak_learned` gets every leak that is taken.
        `is_outdated` tells of a leak whether it must not be followed; when that changes: `reconsider`."""
        self._config = config
        self._wanted = wanted
        self._counters = counters
        self._outranked = outranked
        self._leak_learned = leak_learned
        self._is_outdated = is_outdated
        self._learned: dict[tuple[Prefix, RouteKind], dict[Address, _Learned]] = {}
        self._sessions: dict[Address, bool] = {}
        self._hold_until = 0.0
        self._stale_check_at: float | None = None
        """No later than the first stale entry ends."""

    def start(self, now: float) -> None:
        """State the routes and announcements that depend on the configuration alone."""
        config = self._config
        self._hold_until = now + START_HOLD
        self._wanted.set_route(KernelRoute(config.home, Metric.DISCARD, None))
        self._wanted.set_route(KernelRoute(config.partition, Metric.DISCARD, None))
        for peer in config.peers:
            self._wanted.set_route(
                KernelRoute(Prefix.host(peer.haha), Metric.HAHA, peer.outer, source=config.haha)
            )
        self._announce(RouteKind.SITE, config.partition, config.haha)
        self._update_home(now)

    def restore(self, present: Iterable[KernelRoute], now: float) -> None:
        """Take up what the kernel still has of an earlier run, as stale: it stays until the peers have told
        all they have, and any route they tell outranks it."""
        haha_of = {peer.outer: peer.haha for peer in self._config.peers}
        for found in present:
            kind = _KINDS.get(found.metric)
            if kind is None or found.tunnel_exit not in haha_of:
                continue
            peer = haha_of[found.tunnel_exit]
            route = LearnedRoute(peer, kind, found.prefix, peer)
            self._learned.setdefault((found.prefix, kind), {})[peer] = _Learned(
                route, found.tunnel_exit, stale_until=now + STALE_TIME
            )
            self._select(found.prefix, kind)
        self._expect_stale(now)

    def session_changed(self, peer: Address, up: bool, now: float) -> None:
        """A BGP session came up or went down; said again about the same state it changes nothing."""
        if self._sessions.get(peer, False) == up:
            return
        self._sessions[peer] = up
        if not up:
            for by_peer in self._learned.values():
                if peer in by_peer:
                    by_peer[peer].make_stale(now)
            self._expect_stale(now)
        self._update_home(now)

    def relearn(self, now: float) -> None:
        """The hook is new and will tell everything again: what it does not, ends with End-of-RIB."""
        for by_peer in self._learned.values():
            for entry in by_peer.values():
                entry.make_stale(now)
        self._expect_stale(now)

    def learn(self, route: LearnedRoute) -> RouteRefusal | None:
        """A peer announced a route. Returns why it was refused, None when it was taken."""
        originator = check_import(self._config, route)
        if isinstance(originator, RouteRefusal):
            self._counters[f"route_refused_{originator}"] += 1
            self.forget(route.peer, route.prefix)
            return originator
        for kind in _METRICS:
            if kind != route.kind:
                self._forget_one(route.peer, route.prefix, kind)
        by_peer = self._learned.setdefault((route.prefix, route.kind), {})
        by_peer[route.peer] = _Learned(route, originator.outer)
        self._select(route.prefix, route.kind)
        if route.kind is RouteKind.LEAK:
            self._yield_if_outranked(route)
            self._leak_learned(route)
        return None

    def forget(self, peer: Address, prefix: Prefix) -> None:
        """A peer withdrew a route."""
        for kind in _METRICS:
            self._forget_one(peer, prefix, kind)

    def end_of_rib(self, peer: Address) -> None:
        """A peer has told all it has: what is still stale from it is gone (RFC 4724 s.4.2)."""
        self._forget_stale(lambda entry: entry.route.peer == peer)

    def reconsider(self, prefixes: Iterable[Prefix]) -> None:
        """Other leaks of these may be followed now."""
        for prefix in prefixes:
            if (prefix, RouteKind.LEAK) in self._learned:
                self._select(prefix, RouteKind.LEAK)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = (self._stale_check_at, self._hold_until or None)
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """End what is overdue."""
        if self._hold_until and now >= self._hold_until:
            self._hold_until = 0.0
            self._update_home(now)
        if self._stale_check_at is not None and now >= self._stale_check_at:
            self._forget_stale(lambda entry: entry.stale_until is not None and entry.stale_until <= now)
            stale = (entry.stale_until for entry in self._entries() if entry.stale_until is not None)
            self._stale_check_at = min(stale, default=None)

    def sites_reached(self) -> int:
        """How many other sites have a Home Agent with a BGP session up to us."""
        return len({peer.site for peer in self._config.peers if self._sessions.get(peer.haha)})

    def session_up(self, peer: Address) -> bool:
        """True while the BGP session to this address is up."""
        return self._sessions.get(peer, False)

    def leaks(self, prefixes: Iterable[Prefix]) -> list[LearnedRoute]:
        """How other sites leak one of these."""
        by_peers = [self._learned.get((prefix, RouteKind.LEAK)) for prefix in prefixes]
        return [entry.route for by_peer in by_peers if by_peer for entry in by_peer.values()]

    def highest_sequence(self, prefixes: Iterable[Prefix]) -> int:
        """The highest mobility sequence with which another site leaks one of these; 0 for none."""
        highest = 0
        for prefix in prefixes:
            for entry in self._learned.get((prefix, RouteKind.LEAK), _NOBODY).values():
                highest = max(highest, entry.route.sequence)
        return highest

    def learned(self) -> Iterable[tuple[LearnedRoute, bool, bool]]:
        """Every learned route, whether it is the best of its prefix and kind, and whether it is stale."""
        for by_peer in self._learned.values():
            best = self._best(by_peer)
            for entry in by_peer.values():
                yield entry.route, entry is best, entry.stale_until is not None

    def _expect_stale(self, now: float) -> None:
        if self._stale_check_at is None:
            self._stale_check_at = now + STALE_TIME

    def _entries(self) -> Iterable[_Learned]:
        for by_peer in self._learned.values():
            yield from by_peer.values()

    def _announce(self, kind: RouteKind, prefix: Prefix, next_hop: Address) -> None:
        self._wanted.announce(Announcement(EXPORT[kind], kind, prefix, next_hop))

    def _update_home(self, now: float) -> None:
        needed = self._config.min_sites_reached
        if self._config.peers and now < self._hold_until:
            needed = max(needed, 1)
        if self.sites_reached() >= needed:
            self._announce(RouteKind.HOME, self._config.home, self._config.outer)
        else:
            self._wanted.withdraw(EXPORT[RouteKind.HOME], self._config.home)

    def _forget_one(self, peer: Address, prefix: Prefix, kind: RouteKind) -> None:
        by_peer = self._learned.get((prefix, kind))
        if by_peer is None or by_peer.pop(peer, None) is None:
            return
        if not by_peer:
            del self._learned[prefix, kind]
        self._select(prefix, kind)

    def _forget_stale(self, which: Callable[[_Learned], bool]) -> None:
        gone = [e.route for e in self._entries() if e.stale_until is not None and which(e)]
        for route in gone:
            self._forget_one(route.peer, route.prefix, route.kind)

    def _select(self, prefix: Prefix, kind: RouteKind) -> None:
        best = self._best(self._learned.get((prefix, kind), _NOBODY))
        if best is None:
            self._wanted.clear_route(prefix, _METRICS[kind])
        else:
            self._wanted.set_route(KernelRoute(prefix, _METRICS[kind], best.tunnel_exit))

    def _best(self, by_peer: Mapping[Address, _Learned]) -> _Learned | None:
        entries = by_peer.values()
        return min((one for one in entries if not self._must_not_follow(one.route)), key=_rank, default=None)

    def _must_not_follow(self, route: LearnedRoute) -> bool:
        return route.kind is RouteKind.LEAK and self._is_outdated(route)

    def _yield_if_outranked(self, route: LearnedRoute) -> None:
        own = self._wanted.announcement(EXPORT[RouteKind.LEAK], route.prefix)
        if own is not None and (-route.sequence, route.next_hop) < (-own.sequence, own.next_hop):
            self._outranked(route.prefix, route.sequence)


def _rank(entry: _Learned) -> tuple[int, Address, Address]:
    return (-entry.route.sequence, entry.route.next_hop, entry.route.peer)
