"""Routes between sites: what the other border Home Agents told us, and which of it the kernel gets.

Rules, all in this file:

1. Of several leaks of one prefix the highest mobility sequence wins; of equal ones the lowest HAHA
   address (the idea of RFC 7432 s.7.7). Arrival order decides nothing. The primary follows none of an
   attachment before the last that it knows of: who leaks that cannot be told, or cannot tell. Nobody follows
   one of a Home Agent that has fallen silent: the way by the partition's route, the primary's, is as good
   if only its agent is gone, and better if all of it is.
2. A session that goes down makes what was learned over it stale, not gone: a restarting speaker's routes
   still lead to a working kernel. Stale routes end with the next End-of-RIB or after `STALE_TIME`
   (RFC 4724 s.4.2). A stale leak ends sooner when what is told now shows that it is wrong: by a newer one of
   that prefix, or when another reflector withdraws the same.
3. What lies in our own partition is bound here, told by the Home Agents that share it, or not there at all:
   another's route to it gets no place in the kernel, else both would send each other what nobody has.
4. Another Home Agent is reached while the session to it is up; with route reflectors while one of them tells
   of its partition. What we announce of ourselves follows from that (`own_routes.py`).
5. What a Home Agent leaks without being entitled (`entitlement.py`) is kept aside: the policy may be about to
   change here as it has there.
6. A satellite has all of Home from the parent in use (`parents.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from ..wire.address import Address, Prefix
from .entitlement import Entitlements
from .home import HomeAgentConfig, Peer
from .own_routes import OwnRoutes
from .parents import Parents
from .route_policy import EXPORT, RouteRefusal, check_import, is_for_another
from .routes import KernelRoute, LearnedRoute, Metric, RouteKind
from .wanted import WantedState

STALE_TIME = 120.0
"""Seconds that routes of a lost session are kept."""

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
    refusal: RouteRefusal | None = None
    """Why it is not used."""

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
        leak_learned: Callable[[LearnedRoute], None],
        *,
        peer_lost: Callable[[Peer], None] = lambda peer: None,
        is_outdated: Callable[[LearnedRoute], bool] = lambda route: False,
    ) -> None:
        """`leak_learned` gets every leak that is taken: a mobile router may have moved there, or away.
        `peer_lost` gets every other Home Agent that is no longer reached. `is_outdated` tells of a leak
        whether it must not be followed; when that changes: `reconsider`."""
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
        self._leak_learned = leak_learned
        self._peer_lost = peer_lost
        self._reached: frozenset[Peer] = frozenset()
        self._is_outdated = is_outdated
        self._learned: dict[tuple[Prefix, RouteKind], dict[Address, _Learned]] = {}
        self._leaked = 0
        """How many of these are leaks: every Binding Update asks for those that compete with it."""
        self._entitlements = Entitlements(config)
        self._sessions: dict[Address, bool] = {}
        self._complete: set[Address] = set()
        """Sessions that are up and have told all."""
        self._own = OwnRoutes(config, wanted)
        self._stale_check_at: float | None = None
        """No later than the first stale entry ends."""

    def start(self, now: float) -> None:
        """State the routes and announcements that depend on the configuration alone."""
        config = self._config
        self._wanted.set_route(KernelRoute(config.home, Metric.DISCARD, None))
        for peer in config.adjacent:
            self._wanted.set_route(
                KernelRoute(Prefix.host(peer.haha), Metric.HAHA, peer.outer, source=config.haha)
            )
        if config.partition is not None:
            self._wanted.set_route(KernelRoute(config.partition, Metric.DISCARD, None))
        for lent in config.lent:
            self._wanted.set_route(KernelRoute(lent.prefix, Metric.DISCARD, None))
        self._own.start(now)
        if self._parents is not None:
            self._parents.start(self._restored_parent(), now)
            self._hang_under_parent()
        self._update_home()

    def lead(self, epoch: int) -> None:
        """We are the border Home Agent of our site from now on, and all are to follow us; 0: we are not, and
        announce the same as a reserve."""
        if self._own.lead(epoch):
            self._update_home()

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
            self._entries_of(found.prefix, kind)[peer] = _Learned(
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
            self._complete.discard(peer)
            for by_peer in self._learned.values():
                if peer in by_peer:
                    by_peer[peer].make_stale(now)
            self._expect_stale(now)
        self._parents_may_differ = True
        self._update_reached()
        for listener in self.session_listeners:
            listener(peer, up, now)

    def relearn(self, now: float) -> None:
        """The hook is new and will tell everything again: what it does not, ends with End-of-RIB."""
        self._complete.clear()
        for by_peer in self._learned.values():
            for entry in by_peer.values():
                entry.make_stale(now)
        self._expect_stale(now)
        self._parents_may_differ = True

    def leave_home_to_others(self, leave: bool) -> None:
        """Have Home exported no more, as another Home Agent can be found in our place; or again as ever."""
        self._own.leave(leave)
        self._update_home()

    def learn(self, route: LearnedRoute) -> RouteRefusal | None:
        """A peer announced a route. Returns why it was refused, None when it was taken, is our own, or for
        another to take."""
        config = self._config
        if is_for_another(config, route):
            return None
        of_our_site = route.kind is RouteKind.SITE and route.next_hop in config.neighbours
        if config.reflectors and (route.next_hop == config.haha or of_our_site):
            # Our own, which a reflector may send back to whom it has it from (RFC 4456 s.8), or our own
            # partition as another Home Agent of our site tells the others of it.
            self._counters["routes_reflected_back"] += 1
            self.forget(route.peer, route.prefix)
            return None
        originator = check_import(self._config, route)
        if isinstance(originator, RouteRefusal):
            self._counters[f"route_refused_{originator}"] += 1
            self.forget(route.peer, route.prefix)
            return originator
        for kind in _METRICS:
            if kind != route.kind:
                self._forget_one(route.peer, route.prefix, kind)
        by_peer = self._entries_of(route.prefix, route.kind)
        by_peer[route.peer] = entry = _Learned(route, originator.outer)
        self._parents_may_differ |= route.kind is RouteKind.HOME
        if route.kind is RouteKind.LEAK:
            entry.refusal = self._judge(route, originator)
        self._select(route.prefix, route.kind)
        if route.kind is RouteKind.LEAK and entry.refusal is None:
            self._forget_outdated(by_peer, route.sequence - 1)
            self._leak_learned(route)
        return entry.refusal

    def forget(self, peer: Address, prefix: Prefix) -> None:
        """A peer withdrew a route."""
        for kind in _METRICS:
            by_peer = self._learned.get((prefix, kind), {})
            entry = by_peer.get(peer)
            if entry is not None and entry.stale_until is None:
                self._forget_outdated(by_peer, entry.route.sequence, entry.route.next_hop)
            self._forget_one(peer, prefix, kind)

    def policies_changed(self, home_addresses: Iterable[Address]) -> None:
        """The policies of these home addresses have changed, come or gone: who may leak them?"""
        for home_address in home_addresses:
            for prefix in self._entitlements.change(home_address):
                self._judge_again(prefix)

    def end_of_rib(self, peer: Address) -> None:
        """A peer has told all it has: what is still stale from it is gone (RFC 4724 s.4.2); when all have,
        so is what nobody has told since the start."""
        self._complete.add(peer)
        sessions = self._config.home_agent_sessions
        all_told = all(one in self._complete for one in sessions if self._sessions.get(one))
        self._forget_stale(
            lambda entry: entry.route.peer == peer or (all_told and entry.route.peer not in sessions)
        )

    def reconsider(self, prefixes: Iterable[Prefix]) -> None:
        """Other leaks of these may be followed now."""
        for prefix in prefixes if self._leaked else ():
            if (prefix, RouteKind.LEAK) in self._learned:
                self._select(prefix, RouteKind.LEAK)

    def reconsider_leaks_by(self, home_agents: Collection[Address]) -> None:
        """The leaks of these Home Agents, by their HAHA addresses, may be followed now, or may not."""
        for (prefix, kind), by_peer in self._learned.items() if home_agents else ():
            if kind is RouteKind.LEAK and any(one.route.next_hop in home_agents for one in by_peer.values()):
                self._select(prefix, kind)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = [self._stale_check_at, self._own.held_until]
        if self._parents is not None:
            times.append(0.0 if self._parents_may_differ else self._parents.next_timer())
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """End what is overdue."""
        if self._own.hold_is_over(now):
            self._update_home()
        if self._stale_check_at is not None and now >= self._stale_check_at:
            self._forget_stale(lambda entry: entry.stale_until is not None and entry.stale_until <= now)
            stale = (entry.stale_until for entry in self._entries() if entry.stale_until is not None)
            self._stale_check_at = min(stale, default=None)
        if self._parents is not None:
            self._choose_parent(self._parents, now)

    def sites_reached(self) -> int:
        """How many other primary sites have a Home Agent that we reach."""
        primaries = (peer for peer in self._config.adjacent if not peer.is_satellite)
        return len({peer.site for peer in primaries if self.reaches(peer)} - {self._config.site})

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

    def reaches(self, peer: Peer) -> bool:
        """True while another Home Agent, one that is adjacent, is known to be there."""
        if not self._config.reflectors or peer.partition is None or self._config.is_satellite:
            return self.session_up(peer.haha)
        by_peer = self._learned.get((peer.partition, RouteKind.SITE), _NOBODY)
        return any(
            entry.route.next_hop == peer.haha and self.session_up(session)
            for session, entry in by_peer.items()
        )

    def session_up(self, peer: Address) -> bool:
        """True while the BGP session to this address is up."""
        return self._sessions.get(peer, False)

    @property
    def knows_leaks(self) -> bool:
        """Whether other sites leak anything."""
        return bool(self._leaked)

    def leaks(self, prefixes: Iterable[Prefix]) -> list[LearnedRoute]:
        """How other sites leak one of these."""
        if not self._leaked:
            return []
        by_peers = [self._learned.get((prefix, RouteKind.LEAK)) for prefix in prefixes]
        return [entry.route for by_peer in by_peers if by_peer for entry in _usable(by_peer)]

    def leaks_towards(self, address: Address) -> bool:
        """Whether another site leaks a prefix of Home that has this address."""
        lengths = range(self._config.home.length + 1, 129)
        return bool(self.leaks(Prefix.of(address, length) for length in lengths))

    def highest_sequence(self, prefixes: Iterable[Prefix]) -> int:
        """The highest mobility sequence with which another site leaks one of these; 0 for none."""
        highest = 0
        for prefix in prefixes if self._leaked else ():
            for entry in _usable(self._learned.get((prefix, RouteKind.LEAK), _NOBODY)):
                highest = max(highest, entry.route.sequence)
        return highest

    def learned(self) -> Iterable[tuple[LearnedRoute, bool, bool]]:
        """Every learned route, whether it is the best of its prefix and kind, and whether it is stale."""
        for by_peer in self._learned.values():
            best = self._best(by_peer)
            for entry in _usable(by_peer):
                yield entry.route, entry is best, entry.stale_until is not None

    def refused(self) -> Iterable[tuple[LearnedRoute, RouteRefusal]]:
        """Every learned route that is kept aside, and why."""
        for entry in self._entries():
            if entry.refusal is not None:
                yield entry.route, entry.refusal

    def _expect_stale(self, now: float) -> None:
        if self._stale_check_at is None:
            self._stale_check_at = now + STALE_TIME

    def _entries_of(self, prefix: Prefix, kind: RouteKind) -> dict[Address, _Learned]:
        """Of one prefix and kind, to be added to."""
        entries = self._learned.get((prefix, kind))
        if entries is None:
            entries = self._learned[prefix, kind] = {}
            self._leaked += kind is RouteKind.LEAK
        return entries

    def _entries(self) -> Iterable[_Learned]:
        for by_peer in self._learned.values():
            yield from by_peer.values()

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
            self._select(self._config.home, RouteKind.HOME)
        self._hang_under_parent()
        self._update_home()
        if is_another or (parents.is_reached and not was_reached):
            for listener in self.parent_listeners:
                listener(is_another)

    def _hang_under_parent(self) -> None:
        """The way to the primaries that no tunnel of ours leads to: by the parent in use, as all of Home."""
        config, source = self._config, self.upstream_address
        by_parent = self._wanted.route(config.home, Metric.HOME)
        exit_ = by_parent.tunnel_exit if by_parent is not None else None
        for peer in config.peers:
            if not peer.is_adjacent and exit_ is not None:
                self._wanted.set_route(KernelRoute(Prefix.host(peer.haha), Metric.HAHA, exit_, source=source))

    def _judge(self, route: LearnedRoute, originator: Peer) -> RouteRefusal | None:
        if self._entitlements.allow(route.prefix, originator):
            return None
        self._counters[f"route_refused_{RouteRefusal.NOT_ENTITLED}"] += 1
        return RouteRefusal.NOT_ENTITLED

    def _judge_again(self, prefix: Prefix) -> None:
        by_peer = self._learned.get((prefix, RouteKind.LEAK), _NOBODY)
        peers = {peer.haha: peer for peer in self._config.peers}
        allowed = []
        for entry in by_peer.values():
            before = entry.refusal
            entry.refusal = self._judge(entry.route, peers[entry.route.next_hop])
            if before is not None and entry.refusal is None:
                allowed.append(entry.route)
        if by_peer:
            self._select(prefix, RouteKind.LEAK)
        for route in allowed:
            self._leak_learned(route)

    def _forget_outdated(
        self, by_peer: dict[Address, _Learned], sequence: int, next_hop: Address | None = None
    ) -> None:
        """Forget stale ones with this sequence or an earlier one; with a next hop only those of that."""
        for session, entry in list(by_peer.items()):
            of_it = next_hop is None or entry.route.next_hop == next_hop
            if entry.stale_until is not None and of_it and entry.route.sequence <= sequence:
                self._forget_one(session, entry.route.prefix, entry.route.kind)

    def _update_reached(self) -> None:
        before, self._reached = self._reached, frozenset(filter(self.reaches, self._config.adjacent))
        for peer in before - self._reached:
            self._peer_lost(peer)
        self._update_home()

    def _update_home(self) -> None:
        parents = self._parents
        self._own.tell_of_home(
            parents.is_reached if parents is not None else self._own.reaches_enough(self.sites_reached())
        )

    def _forget_one(self, peer: Address, prefix: Prefix, kind: RouteKind) -> None:
        by_peer = self._learned.get((prefix, kind))
        if by_peer is None or by_peer.pop(peer, None) is None:
            return
        if not by_peer:
            del self._learned[prefix, kind]
            self._leaked -= kind is RouteKind.LEAK
        self._parents_may_differ |= kind is RouteKind.HOME
        self._select(prefix, kind)

    def _forget_stale(self, which: Callable[[_Learned], bool]) -> None:
        gone = [e.route for e in self._entries() if e.stale_until is not None and which(e)]
        for route in gone:
            self._forget_one(route.peer, route.prefix, route.kind)

    def _select(self, prefix: Prefix, kind: RouteKind) -> None:
        best = self._best(self._learned.get((prefix, kind), _NOBODY))
        if best is None:
            self._wanted.clear_route(prefix, _METRICS[kind])
            if kind is RouteKind.SATELLITE:
                self._wanted.withdraw(EXPORT[kind], prefix)
        elif (
            kind is not RouteKind.SITE
            or self._config.partition is None
            or not self._config.partition.covers(prefix)
        ):
            self._wanted.set_route(KernelRoute(prefix, _METRICS[kind], best.tunnel_exit))
            if kind is RouteKind.SATELLITE:
                self._own.announce(kind, prefix, self._config.outer)
        if kind is RouteKind.SITE and self._config.reflectors:
            self._update_reached()

    def _best(self, by_peer: Mapping[Address, _Learned]) -> _Learned | None:
        followed = [entry for entry in _usable(by_peer) if not self._must_not_follow(entry.route)]
        return min(followed, key=self._preference, default=None)

    def _must_not_follow(self, route: LearnedRoute) -> bool:
        return route.kind is RouteKind.LEAK and self._is_outdated(route)

    def _preference(self, entry: _Learned) -> tuple[object, ...]:
        """The lowest is the best: what the parent in use says, then rule 1."""
        parents = self._parents
        is_by_other = parents is not None and self._site_of.get(entry.route.next_hop) != parents.in_use
        return (is_by_other, *_rank(entry))


def _usable(by_peer: Mapping[Address, _Learned]) -> Iterable[_Learned]:
    return (entry for entry in by_peer.values() if entry.refusal is None)


def _rank(entry: _Learned) -> tuple[int, Address, Address]:
    return (-entry.route.sequence, entry.route.next_hop, entry.route.peer)
