"""What a binding means for the world: its kernel routes, its announcements, what may come through its
tunnel. Derived from the binding alone, so it dies with it (behaviour: no derived object outlives it), and
nobody has to remember it: 100,000 bindings are 100,000 bindings, and nothing beside them."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.address import Address, Prefix
from .binding import Binding, BindingKind
from .effects import Admit, Announce, DeleteRoute, Dismiss, Effect, Permit, Revoke, SetRoute, Withdraw
from .home import HomeAgentConfig
from .route_policy import EXPORT
from .routes import Announcement, KernelRoute, Metric, RouteKind


class Footprint(NamedTuple):
    """Everything one binding wants."""

    routes: tuple[KernelRoute, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    """To the own site; the other sites are told by `leaks`."""
    permits: tuple[tuple[Address, Prefix], ...] = ()
    """(Outer source, inner source) of packets that may come in through its tunnel."""
    admitted: tuple[Prefix, ...] = ()
    """What other Home Agents may send here, though it is not of our partition."""


NOTHING = Footprint()
LEAKED = frozenset((BindingKind.PROXY, BindingKind.SECONDARY))
"""Kinds of bindings that other sites are told of."""


def footprint(binding: Binding, config: HomeAgentConfig) -> Footprint:
    """The footprint of a live binding.

    The primary's tunnel to a proxy lies inside the HAHA tunnel (draft s.5.2.2); both have the same two
    ends, and the proxy routes what comes out of either by the same table, so one header serves for both. To a
    satellite of another parent there are two: its address leads to the parent's site, which knows its /T.
    """
    prefixes = binding.routes()
    kind, exit_ = EXPORT[RouteKind.MNP], binding.care_of_address
    if binding.kind is BindingKind.REPLICA:
        # Who holds it, or its primary, tells the site's router.
        if binding.peer is None or binding.peer == config.haha:
            return NOTHING
        exit_ = config.holder_exit(binding.peer, exit_)
        return Footprint(tuple([KernelRoute(prefix, Metric.PROXIED, exit_) for prefix in prefixes]))
    sequence = _sequence(binding) if config.neighbours else 0
    announcements = tuple(
        [Announcement(kind, RouteKind.MNP, one, config.outer, sequence) for one in prefixes]
    )
    if binding.kind is BindingKind.PROXIED:
        exit_ = config.tunnel_exit(exit_)
        routes = tuple([KernelRoute(prefix, Metric.PROXIED, exit_) for prefix in prefixes])
        # A proxy of our own site tells the site's router itself.
        return Footprint(routes, () if binding.peer in config.neighbours else announcements)
    if binding.kind is BindingKind.SECONDARY:
        exit_ = config.tunnel_exit(exit_)
        routes = tuple([KernelRoute(prefix, Metric.SECONDARY, exit_) for prefix in prefixes])
        return Footprint(routes, announcements, admitted=prefixes)
    routes = tuple([KernelRoute(prefix, Metric.BINDING, exit_) for prefix in prefixes])
    permits = tuple([(exit_, prefix) for prefix in prefixes])
    if binding.kind is BindingKind.DIRECT:
        return Footprint(routes, announcements, permits)
    return Footprint(routes, announcements, permits, prefixes)


def _sequence(binding: Binding) -> int:
    """Where a site's router hears of a binding from several Home Agents, the newest has to win at once: also
    the one that has taken it over from a primary that is down."""
    if binding.kind is BindingKind.PROXIED:
        return max(binding.mobility_sequence, int(binding.registered))
    return binding.mobility_sequence


def is_to_leak(binding: Binding, config: HomeAgentConfig) -> bool:
    """Whether it is for us to tell the other Home Agents of a binding: it is here, away from its primary
    site. Inside that site its Home Agents tell each other (`replication.py`), and no other site need know.
    Where primaries ask each other (`owner_search.py`), nothing else says where packets go. For a satellite
    its parent tells them (draft s.5.3.1)."""
    if config.is_satellite:
        return False
    if not config.asked_for or not config.is_asked_for(binding.home_address):
        return binding.kind in LEAKED and not config.is_primary_for(binding.home_address)
    if binding.kind is BindingKind.PROXIED:
        # A satellite under one of those that share the partition makes no secondary binding.
        return config.is_lent_by_primary_for(binding.home_address, binding.care_of_address)
    return binding.kind is not BindingKind.REPLICA


def leaks(binding: Binding | None, config: HomeAgentConfig) -> tuple[Announcement, ...]:
    """What the other Home Agents are told of a binding."""
    if binding is None or not is_to_leak(binding, config):
        return ()
    audience, sequence = EXPORT[RouteKind.LEAK], binding.mobility_sequence
    return tuple(
        [Announcement(audience, RouteKind.LEAK, one, config.haha, sequence) for one in binding.leaked()]
    )


def consequences(before: Binding | None, after: Binding | None, config: HomeAgentConfig) -> list[Effect]:
    """From one footprint of a mobile router to the next: first what is new, then away with the old, so that
    a move leaves no moment without a route."""
    if before is not None and after is not None and _only_moves(before, after):
        return _move(before, after)
    new = footprint(after, config) if after is not None else NOTHING
    if before is None:
        return [
            *[Permit(*permit) for permit in new.permits],
            *[Admit(prefix) for prefix in new.admitted],
            *[SetRoute(route) for route in new.routes],
            *[Announce(told) for told in new.announcements],
        ]
    old = footprint(before, config)
    return [
        # Of two effects on one thing the last counts, and a /64 may come in place of the /60 that it was part
        # of. What has gone is kept out later, when nothing is under way any more (see `agent.grace`).
        *[Dismiss(prefix) for prefix in old.admitted if prefix not in new.admitted],
        *[Revoke(*permit) for permit in old.permits if permit not in new.permits],
        *[Permit(*permit) for permit in new.permits if permit not in old.permits],
        *[Admit(prefix) for prefix in new.admitted if prefix not in old.admitted],
        *[SetRoute(route) for route in new.routes if route not in old.routes],
        *[Announce(told) for told in new.announcements if told not in old.announcements],
        *_retracted(old, new),
    ]


def _only_moves(before: Binding, after: Binding) -> bool:
    """Nearly every change is one: to another care-of address, here as before."""
    return (
        before.kind is after.kind
        and not after.kind.is_elsewhere
        and before.mobility_sequence == after.mobility_sequence
        and before.prefixes == after.prefixes
        and before.care_of_address != after.care_of_address
    )


def _move(before: Binding, after: Binding) -> list[Effect]:
    prefixes, old, new = after.routes(), before.care_of_address, after.care_of_address
    return [
        *[Revoke(old, prefix) for prefix in prefixes],
        *[Permit(new, prefix) for prefix in prefixes],
        *[SetRoute(KernelRoute(prefix, Metric.BINDING, new)) for prefix in prefixes],
    ]


def _retracted(old: Footprint, new: Footprint) -> list[Effect]:
    effects: list[Effect] = []
    if old.announcements != new.announcements:
        told_still = {(told.audience, told.prefix) for told in new.announcements}
        effects += [
            Withdraw(one) for one in old.announcements if (one.audience, one.prefix) not in told_still
        ]
    if old.routes != new.routes:
        kept = {(route.prefix, route.metric) for route in new.routes}
        effects += [DeleteRoute(one) for one in old.routes if (one.prefix, one.metric) not in kept]
    return effects
