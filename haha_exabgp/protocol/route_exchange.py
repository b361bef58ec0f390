"""Routes between sites: what the other border Home Agents told us, and which of it the kernel gets.

Rules, all in this file:

1. Of several leaks of one prefix the highest mobility sequence wins; of equal ones the lowest HAHA
   address (the idea of RFC 7432 s.7.7). Arrival order decides nothing.
2. A session that goes down makes what was learned over it stale, not gone: a restarting speaker's routes
   still lead to a working kernel. Stale routes end with the next End-of-RIB or after `STALE_TIME`
   (RFC 4724 s.4.2); a stale leak at the primary with the next mobility sequence that it hands out.
3. Home is announced only while enough other sites are reached; for the first `START_HOLD` seconds at
   least one must be, so that a starting site attracts nothing that it cannot yet deliver.
4. A satellite has all of Home from the parent in use (`parents.py`), and announces it while it reaches
   that. Its parent tells it of Home when it tells its own site.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..wire.address import Address, Prefix
from .home import HomeAgentConfig
from .parents import Parents
from .route_policy import EXPORT, LENDING, RouteRefusal, check_import, is_for_another
from .routes import Announcement, KernelRoute, LearnedRoute, Metric, RouteKind
from .wanted import WantedState

STALE_TIME = 120.0
"""Seconds that routes of a lost session are kept."""
START_HOLD = 15.0
"""Seconds after the start in which Home needs at least one reached site to be announced."""

_METRICS = {
    RouteKind.SITE: Metric.SITE,
    RouteKind.LEAK: Metric.LEAK,
    RouteKind.SATELLITE: Metric.SATELLITE,
    RouteKind.HOME: Metric.HOME,
}
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
    ) -> None:
        """`outranked(prefix, sequence)` is called when another Home Agent leaks a prefix that we leak
        too, and wins: the mobile router has moved there. `leak_learned` gets every leak that is taken."""
        self._config = config
        self._site_of = {peer.haha: peer.site for peer in config.adjacent}
        self._parents = Parents([one.parent for one in config.lent]) if config.lent else None
        self._parents_may_differ = False
        self.session_listeners: list[Callable[[Address, bool, float], None]] = []
        """Called when a BGP session has come up or gone down."""
        self.parent_listeners: list[Callable[[bool], None]] = []
        """Called with True when another parent is in use than before, with False when the same is back."""
        self._wanted = wanted
        self._counters = counters
        self._outranked = outranked
        self._leak_learned = leak_learned
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
        for peer in config.adjacent:
            self._wanted.set_route(
                KernelRoute(Prefix.host(peer.haha), Metric.HAHA, peer.outer, source=config.haha)
            )
        if config.partition is not None:
            self._wanted.set_route(KernelRoute(config.partition, Metric.DISCARD, None))
            self._announce(RouteKind.SITE, config.partition, config.haha)
        for lent in config.lent:
            self._wanted.set_route(KernelRoute(lent.prefix, Metric.DISCARD, None))
            audience = LENDING[RouteKind.SATELLITE]
            self._wanted.announce(Announcement(audience, RouteKind.SATELLITE, lent.prefix, config.haha))
        if self._parents is not None:
            self._parents.start(self._restored_parent(), now)
            self._hang_under_parent()
        self._update_home(now)

    def restore(self, present: Iterable[KernelRoute], now: float) -> None:
        """Take up what the kernel still has of an earlier run, as stale: it stays until the peers have told
        all they have, and any route they tell outranks it."""
        haha_of = {peer.outer: peer.haha for peer in self._config.adjacent}
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
        self._parents_may_differ = True
        self._update_home(now)
        for listener in self.session_listeners:
            listener(peer, up, now)

    def relearn(self, now: float) -> None:
        """The hook is new and will tell everything again: what it does not, ends with End-of-RIB."""
        for by_peer in self._learned.values():
            for entry in by_peer.values():
                entry.make_stale(now)
        self._expect_stale(now)
        self._parents_may_differ = True

    def learn(self, route: LearnedRoute) -> RouteRefusal | None:
        """A peer announced a route. Returns why it was refused, None when it was taken."""
        if is_for_another(self._config, route):
            return None
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
        self._parents_may_differ |= route.kind is RouteKind.HOME
        self._select(route.prefix, route.kind)
        if route.kind is RouteKind.LEAK:
            self._yield_if_outranked(route)
            self._leak_learned(route)
        return None

    def forget(self, peer: Address, prefix: Prefix) -> None:
        """A peer withdrew a route."""
        for kind in _METRICS:
            self._forget_one(peer, prefix, kind)

    def outdate(self, prefixes: Iterable[Prefix], sequence: int) -> None:
        """We have handed out this mobility sequence: what is stale and leaked with a lower one is wrong. Of
        what the kernel had at our start we do not know it."""
        for prefix in prefixes:
            by_peer = self._learned.get((prefix, RouteKind.LEAK))
            if by_peer is None:
                continue
            wrong = [
                peer
                for peer, entry in by_peer.items()
                if entry.stale_until is not None and 0 < entry.route.sequence < sequence
            ]
            for peer in wrong:
                self._forget_one(peer, prefix, RouteKind.LEAK)

    def end_of_rib(self, peer: Address) -> None:
        """A peer has told all it has: what is still stale from it is gone (RFC 4724 s.4.2)."""
        self._forget_stale(lambda entry: entry.route.peer == peer)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = [self._stale_check_at, self._hold_until or None]
        if self._parents is not None:
            times.append(0.0 if self._parents_may_differ else self._parents.next_timer())
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
        if self._parents is not None:
            self._choose_parent(self._parents, now)

    def sites_reached(self) -> int:
        """How many other primary sites have a Home Agent with a BGP session up to us."""
        adjacent = self._config.adjacent
        return len(
            {peer.site for peer in adjacent if not peer.is_satellite and self._sessions.get(peer.haha)}
        )

    @property
    def parent(self) -> str | None:
        """The site that we, a satellite, hang under; None unless it is reached."""
        parents = self._parents
        return parents.in_use if parents is not None and parents.is_reached else None

    @property
    def reaches_primaries(self) -> bool:
        """False for a satellite that reaches no parent."""
        return self._parents is None or self._parents.is_reached

    @property
    def upstream_address(self) -> Address:
        """Our care-of address at primaries: as a satellite one that the parent in use lends."""
        if self._parents is None:
            return self._config.haha
        in_use = self._parents.in_use
        return next(one.address for one in self._config.lent if one.parent == in_use)

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
            best = min(by_peer.values(), key=self._rank)
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

    def _restored_parent(self) -> str | None:
        entries = self._learned.get((self._config.home, RouteKind.HOME), _NOBODY)
        return next((self._site_of[peer] for peer in entries), None)

    def _choose_parent(self, parents: Parents, now: float) -> None:
        if self._parents_may_differ:
            self._parents_may_differ = False
            entries = self._learned.get((self._config.home, RouteKind.HOME), _NOBODY)
            fresh = {self._site_of[peer] for peer, entry in entries.items() if entry.stale_until is None}
            stale = {self._site_of[peer] for peer in entries} - fresh
            for lent in self._config.lent:
                if lent.parent in fresh:
                    parents.good(lent.parent, now)
                elif lent.parent in stale:
                    parents.lost(lent.parent, now)
                else:
                    parents.lost(lent.parent, now, patience=0.0)
        was_reached = parents.is_reached
        is_another = parents.choose(now)
        if is_another:
            self._hang_under_parent()
            self._select(self._config.home, RouteKind.HOME)
        self._update_home(now)
        if is_another or (parents.is_reached and not was_reached):
            for listener in self.parent_listeners:
                listener(is_another)

    def _hang_under_parent(self) -> None:
        """The way to the primaries that no tunnel of ours leads to: by the parent in use."""
        config, source = self._config, self.upstream_address
        assert self._parents is not None
        in_use = self._parents.in_use
        parent = next((peer for peer in config.adjacent if peer.site == in_use), None)
        if parent is None:
            return
        for peer in config.peers:
            if not peer.is_adjacent:
                route = KernelRoute(Prefix.host(peer.haha), Metric.HAHA, parent.outer, source=source)
                self._wanted.set_route(route)

    def _update_home(self, now: float) -> None:
        if self._parents is not None:
            self._tell_of_home(self._parents.is_reached)
            return
        needed = self._config.min_sites_reached
        if self._config.peers and now < self._hold_until:
            needed = max(needed, 1)
        self._tell_of_home(self.sites_reached() >= needed)

    def _tell_of_home(self, reached: bool) -> None:
        config = self._config
        lends = any(peer.is_satellite for peer in config.adjacent)
        if reached:
            self._announce(RouteKind.HOME, config.home, config.outer)
        else:
            self._wanted.withdraw(EXPORT[RouteKind.HOME], config.home)
        if lends and reached:
            audience = LENDING[RouteKind.HOME]
            self._wanted.announce(Announcement(audience, RouteKind.HOME, config.home, config.haha))
        elif lends:
            self._wanted.withdraw(LENDING[RouteKind.HOME], config.home)

    def _forget_one(self, peer: Address, prefix: Prefix, kind: RouteKind) -> None:
        by_peer = self._learned.get((prefix, kind))
        if by_peer is None or by_peer.pop(peer, None) is None:
            return
        if not by_peer:
            del self._learned[prefix, kind]
        self._parents_may_differ |= kind is RouteKind.HOME
        self._select(prefix, kind)

    def _forget_stale(self, which: Callable[[_Learned], bool]) -> None:
        gone = [e.route for e in self._entries() if e.stale_until is not None and which(e)]
        for route in gone:
            self._forget_one(route.peer, route.prefix, route.kind)

    def _select(self, prefix: Prefix, kind: RouteKind) -> None:
        by_peer = self._learned.get((prefix, kind))
        if by_peer is None:
            self._wanted.clear_route(prefix, _METRICS[kind])
            if kind is RouteKind.SATELLITE:
                self._wanted.withdraw(EXPORT[kind], prefix)
            return
        best = min(by_peer.values(), key=self._rank)
        self._wanted.set_route(KernelRoute(prefix, _METRICS[kind], best.tunnel_exit))
        if kind is RouteKind.SATELLITE:
            self._announce(kind, prefix, self._config.outer)

    def _rank(self, entry: _Learned) -> tuple[bool, int, Address, Address]:
        """The lowest is the best: what the parent in use says, then rule 1."""
        route, parents = entry.route, self._parents
        is_by_other = parents is not None and self._site_of.get(route.next_hop) != parents.in_use
        return (is_by_other, -route.sequence, route.next_hop, route.peer)

    def _yield_if_outranked(self, route: LearnedRoute) -> None:
        own = self._wanted.announcement(EXPORT[RouteKind.LEAK], route.prefix)
        if own is not None and (-route.sequence, route.next_hop) < (-own.sequence, own.next_hop):
            self._outranked(route.prefix, route.sequence)
