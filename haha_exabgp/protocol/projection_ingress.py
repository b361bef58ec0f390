"""The near end of route projection: traffic towards a mobile router that is bound at another proxy gets a
route straight to that proxy (draft s.5.3.2).

    ──notice──> asking the primary ──authorised──> asking the egress ──confirmed──> projected
                     └──no, silence──> not asked again for a while <──no, silence──┘
    projected ──a third of the holding time, and traffic──> asking the egress, projected meanwhile
    projected ──purge, silence, egress lost, expiry, leak, bound here──> the normal path

1. Packets always have a way: the partition's route stays, and takes over when the projected one goes.
2. The primary says who is the egress, and which prefixes it has authorised, all of its own partition; the
   egress confirms them, and may list no other. It is asked at its HAHA address; packets go to its outer
   address, which has to be the one that the configuration gives it.
3. What is told of one attachment holds for no other: the mobility sequences of both answers are the same,
   and a leak with that sequence or a later one takes the route's place, for it is kept up by itself.
4. The state is at both ends only. It is in no announcement, not on disk, and a start begins without it.
5. Whatever happens here, no binding changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from ..wire.address import Address, Prefix
from ..wire.codes import HahaOperation
from ..wire.haha_options import AddressRole, MobilitySequence
from ..wire.messages import HahaMessage
from ..wire.options import first_option
from .binding import Binding
from .bindings import Bindings
from .deadlines import Deadlines
from .drops import Drop
from .haha_messages import HahaMessages
from .home import OnDemand, Peer
from .node import Node
from .rate_limit import RateLimit
from .resolution import (
    NEGATIVE_TIME,
    REFRESHES_PER_HOLDING_TIME,
    Resolved,
    asked_about,
    question,
    read_resolved,
)
from .routes import KernelRoute, LearnedRoute, Metric
from .time import Now
from .wanted import WantedState

RESOLUTIONS_A_SECOND = 50.0
"""Questions to primaries: anybody can send packets towards addresses that nobody has."""
RETRY_TIME = 5.0
"""Seconds until a destination is asked for again of which primary and egress did not say the same: it was
perhaps about to move."""


class ProjectionEnd(StrEnum):
    """Why a projected route has ended, or an answer made none; the label of its counter."""

    PURGED = "purged"
    LAPSED = "lapsed"
    """Its holding time has passed: there was no traffic, or nobody renewed it."""
    UNREACHABLE = "unreachable"
    """The egress did not answer, or BGP no longer reaches it."""
    DENIED = "denied"
    """The egress says that the mobile router is not bound there, or not as it was."""
    LEAKED = "leaked"
    BOUND_HERE = "bound_here"
    NOT_WHAT_WAS_ASKED = "not_what_was_asked"
    OUTSIDE_PARTITION = "outside_partition"
    UNKNOWN_EGRESS = "unknown_egress"
    NOT_AUTHORISED = "not_authorised"
    """The egress listed what the primary had not, or gave an address that is not its own."""


@dataclass(frozen=True, slots=True)
class Authorised:
    """What the primary has said: the most that an egress may be believed."""

    home_address: Address
    egress: Peer
    prefixes: tuple[Prefix, ...]
    mobility_sequence: int
    destination: Address
    """Of the packet that was noticed."""


@dataclass(slots=True)
class Projection:
    """One mobile router's projected routes. Times are on the monotonic clock."""

    authorised: Authorised
    prefixes: tuple[Prefix, ...]
    since: float
    """Wall clock."""
    refresh_at: float
    expires: float
    used: bool = False
    """Whether there was traffic since it was confirmed last."""


class Elsewhere(NamedTuple):
    """What has to be known of the other sites."""

    primary_for: Callable[[Address], Peer | None]
    """The Home Agent to ask about an address."""
    leaks_towards: Callable[[Address], bool]
    """Whether another site leaks a prefix with this address."""
    highest_leak: Callable[[Iterable[Prefix]], int]
    """The highest mobility sequence with which another site leaks one of these, 0 for none."""


class ProjectionIngress:
    """The projected routes of one Home Agent."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        wanted: WantedState,
        messages: HahaMessages,
        settings: OnDemand,
        *,
        elsewhere: Elsewhere,
    ) -> None:
        self._node = node
        self._bindings = bindings
        self._wanted = wanted
        self._messages = messages
        self._settings = settings
        self._elsewhere = elsewhere
        self._peers = {peer.haha: peer for peer in node.config.adjacent}
        self._limit = RateLimit(RESOLUTIONS_A_SECOND, 2 * RESOLUTIONS_A_SECOND)
        self._projected: dict[Address, Projection] = {}
        """By home address."""
        self._deadlines: Deadlines[Address] = Deadlines()
        self._holders: dict[Prefix, Address] = {}
        """The home address that each projected prefix belongs to."""
        self._lengths: set[int] = set()
        """Of all of these that there have been. No two of them overlap."""
        self._asking: set[Address] = set()
        """Destinations that a primary has been asked for."""
        self._confirming: dict[Address, tuple[Authorised, int]] = {}
        """By home address: what the egress was asked to confirm, and the Identifier of that."""
        self._not_before: dict[Address, float] = {}
        """When a destination may be asked for again, oldest first. Not more of them than can be asked for
        in that time."""

    def projections(self) -> Iterable[Projection]:
        """All there are, to look at."""
        return self._projected.values()

    def notice(self, destination: Address, now: Now) -> None:
        """A packet for this destination has left for another Home Agent."""
        config = self._node.config
        if not config.home.contains(destination) or config.is_primary_for(destination):
            return
        if destination in self._peers or self._bindings.behind(destination) is not None:
            return
        if self._elsewhere.leaks_towards(destination):
            return
        self._node.counters["traffic_noticed"] += 1
        known = self._towards(destination)
        if known is not None:
            known.used = True
            if known.refresh_at <= now.monotonic:
                self._confirm(known.authorised, now)
            return
        if destination in self._asking or not self._may_ask(destination, now):
            return
        primary = self._elsewhere.primary_for(destination)
        if primary is None:
            return
        asked = self._messages.ask(
            primary,
            HahaOperation.RESOLUTION_REQUEST,
            (question(AddressRole.DESTINATION, destination),),
            now,
            argument=self._settings.holding_time,
            answered=partial(self._authorised, destination, primary),
            unanswered=partial(self._no_word, destination),
        )
        if asked is not None:
            self._asking.add(destination)
            self._node.counters["resolution_started"] += 1

    def receive_purge(self, message: HahaMessage, peer: Peer, now: Now) -> None:
        """An egress takes back what it said."""
        asked = asked_about(message)
        sequence = first_option(message.options, MobilitySequence)
        if asked is None or sequence is None:
            self._node.drop(Drop.UNEXPECTED_MESSAGE)
            return
        self._messages.acknowledge(message, peer, now)
        confirming = self._confirming.get(asked.address)
        if confirming is not None and _is_void(confirming[0], peer, sequence.sequence):
            del self._confirming[asked.address]
            self._messages.cancel(peer, confirming[1])
        projection = self._projected.get(asked.address)
        if projection is not None and _is_void(projection.authorised, peer, sequence.sequence):
            self._end(asked.address, ProjectionEnd.PURGED)

    def leak_learned(self, route: LearnedRoute) -> None:
        """Another Home Agent leaks a prefix."""
        holder = self._holders.get(route.prefix)
        if holder is not None and route.sequence >= self._projected[holder].authorised.mobility_sequence:
            self._end(holder, ProjectionEnd.LEAKED)

    def peer_lost(self, peer: Peer) -> None:
        """BGP no longer reaches another Home Agent, and what goes beside it perhaps does not either."""
        for home_address, projection in list(self._projected.items()):
            if projection.authorised.egress == peer:
                self._end(home_address, ProjectionEnd.UNREACHABLE)

    def binding_changed(self, after: Binding | None) -> None:
        """A binding has been made or changed here."""
        if after is not None and after.home_address in self._projected:
            self._end(after.home_address, ProjectionEnd.BOUND_HERE)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return self._deadlines.next()

    def handle_timer(self, now: Now) -> None:
        """Renew what is used, end what has not been renewed."""
        for home_address in list(self._deadlines.due(now.monotonic)):
            projection = self._projected[home_address]
            if projection.expires <= now.monotonic:
                self._end(home_address, ProjectionEnd.LAPSED)
                continue
            self._deadlines.set(home_address, projection.expires)
            if projection.used:
                self._confirm(projection.authorised, now)

    def _towards(self, destination: Address) -> Projection | None:
        for length in self._lengths:
            holder = self._holders.get(Prefix.of(destination, length))
            if holder is not None:
                return self._projected[holder]
        return None

    def _may_ask(self, destination: Address, now: Now) -> bool:
        while self._not_before and (first := next(iter(self._not_before))) is not None:
            if self._not_before[first] > now.monotonic:
                break
            del self._not_before[first]
        if self._not_before.get(destination, 0.0) > now.monotonic:
            return False
        if len(self._projected) >= self._settings.max_routes or not self._limit.allows(now.monotonic):
            self._node.drop(Drop.TOO_MANY_RESOLUTIONS)
            return False
        return True

    def _wait(self, destination: Address, seconds: float, now: Now) -> None:
        self._not_before.pop(destination, None)
        self._not_before[destination] = now.monotonic + seconds

    def _no_word(self, destination: Address, now: Now) -> None:
        self._asking.discard(destination)
        self._wait(destination, NEGATIVE_TIME, now)

    def _authorised(self, destination: Address, primary: Peer, message: HahaMessage, now: Now) -> None:
        """The primary has answered."""
        self._asking.discard(destination)
        resolved = read_resolved(message)
        if resolved is None:
            self._wait(destination, min(message.argument, NEGATIVE_TIME), now)
            return
        egress = self._peers.get(resolved.care_of_address)
        if egress is None or egress.outer != resolved.locator:
            self._refuse(destination, ProjectionEnd.UNKNOWN_EGRESS, now)
        elif not primary.covers(resolved.prefixes):
            self._refuse(destination, ProjectionEnd.OUTSIDE_PARTITION, now)
        elif not any(prefix.contains(destination) for prefix in resolved.prefixes):
            self._refuse(destination, ProjectionEnd.NOT_WHAT_WAS_ASKED, now)
        else:
            authorised = Authorised(
                resolved.home_address, egress, resolved.prefixes, resolved.mobility_sequence, destination
            )
            self._confirm(authorised, now)

    def _confirm(self, authorised: Authorised, now: Now) -> None:
        if authorised.home_address in self._confirming:
            return
        asked = self._messages.ask(
            authorised.egress,
            HahaOperation.RESOLUTION_REQUEST,
            (question(AddressRole.HOME_ADDRESS, authorised.home_address),),
            now,
            argument=self._settings.holding_time,
            answered=partial(self._confirmed, authorised, now.monotonic),
            unanswered=partial(self._deny, authorised, ProjectionEnd.UNREACHABLE),
        )
        if asked is not None:
            self._confirming[authorised.home_address] = authorised, asked

    def _confirmed(self, authorised: Authorised, asked: float, message: HahaMessage, now: Now) -> None:
        """The egress has answered."""
        resolved = read_resolved(message)
        why = self._objection(authorised, resolved)
        if resolved is None or why is not None:
            self._deny(authorised, why or ProjectionEnd.DENIED, now)
            return
        self._confirming.pop(authorised.home_address, None)
        # Counted from the question on: no longer than the binding that it comes from (RFC 2332 s.5.2.1).
        holding_time = min(resolved.holding_time, self._settings.holding_time)
        self._project(authorised, resolved.prefixes, asked, holding_time, now)

    def _objection(self, authorised: Authorised, resolved: Resolved | None) -> ProjectionEnd | None:
        if resolved is None or not resolved.holding_time:
            return ProjectionEnd.DENIED
        sequence = authorised.mobility_sequence
        rules = (
            (resolved.home_address != authorised.home_address, ProjectionEnd.DENIED),
            (resolved.mobility_sequence != sequence, ProjectionEnd.DENIED),
            (not set(resolved.prefixes) <= set(authorised.prefixes), ProjectionEnd.NOT_AUTHORISED),
            (resolved.locator != authorised.egress.outer, ProjectionEnd.NOT_AUTHORISED),
            (self._bindings.cache.get(authorised.home_address) is not None, ProjectionEnd.BOUND_HERE),
            (self._elsewhere.highest_leak(resolved.prefixes) >= sequence, ProjectionEnd.LEAKED),
        )
        return next((why for broken, why in rules if broken), None)

    def _refuse(self, destination: Address, why: ProjectionEnd, now: Now) -> None:
        self._node.counters[f"projection_refused_{why}"] += 1
        self._wait(destination, NEGATIVE_TIME, now)

    def _deny(self, authorised: Authorised, why: ProjectionEnd, now: Now) -> None:
        self._confirming.pop(authorised.home_address, None)
        self._node.counters[f"projection_refused_{why}"] += 1
        self._wait(authorised.destination, RETRY_TIME, now)
        projection = self._projected.get(authorised.home_address)
        if projection is not None and projection.authorised == authorised:
            self._end(authorised.home_address, why)

    def _project(
        self,
        authorised: Authorised,
        prefixes: tuple[Prefix, ...],
        asked: float,
        holding_time: int,
        now: Now,
    ) -> None:
        home_address = authorised.home_address
        before = self._projected.get(home_address)
        if before is not None and before.authorised.mobility_sequence > authorised.mobility_sequence:
            # An older answer replaces no newer one.
            return
        since = now.wall
        if before is not None:
            since = before.since if before.authorised.egress == authorised.egress else since
            for prefix in set(before.prefixes) - set(prefixes):
                self._clear(prefix)
        else:
            self._node.counters["projection_made"] += 1
            self._node.note("%s is reached at %s by a projected route", home_address, authorised.egress.name)
        expires, refresh_at = asked + holding_time, asked + holding_time / REFRESHES_PER_HOLDING_TIME
        self._projected[home_address] = Projection(authorised, prefixes, since, refresh_at, expires)
        self._deadlines.set(home_address, refresh_at)
        for prefix in prefixes:
            self._holders[prefix] = home_address
            self._lengths.add(prefix.length)
            self._wanted.set_route(KernelRoute(prefix, Metric.PROJECTED, authorised.egress.outer))

    def _end(self, home_address: Address, why: ProjectionEnd) -> None:
        projection = self._projected.pop(home_address)
        self._deadlines.cancel(home_address)
        for prefix in projection.prefixes:
            self._clear(prefix)
        self._node.counters[f"projection_ended_{why}"] += 1
        name = projection.authorised.egress.name
        self._node.note("projected route to %s by %s ends: %s", home_address, name, why)

    def _clear(self, prefix: Prefix) -> None:
        self._holders.pop(prefix, None)
        self._wanted.clear_route(prefix, Metric.PROJECTED)


def _is_void(authorised: Authorised, peer: Peer, mobility_sequence: int) -> bool:
    """Whether what came of this is taken back by a purge of the peer."""
    return authorised.egress == peer and authorised.mobility_sequence <= mobility_sequence
