"""What a binding means for the world: its kernel routes, its announcements, what may come through its
tunnel. Derived from the binding alone, so it dies with it (behaviour: no derived object outlives it), and
nobody has to remember it: 100,000 bindings are 100,000 bindings, and nothing beside them."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.address import Address, Prefix
from .binding import Binding, BindingKind
from .home import HomeAgentConfig
from .route_policy import EXPORT
from .routes import Announcement, KernelRoute, Metric, RouteKind


class Footprint(NamedTuple):
    """Everything one binding wants."""

    routes: tuple[KernelRoute, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    permits: tuple[tuple[Address, Prefix], ...] = ()
    """(Outer source, inner source) of packets that may come in through its tunnel."""
    admitted: tuple[Prefix, ...] = ()
    """What other Home Agents may send here, though it is not of our partition."""


NOTHING = Footprint()


def footprint(binding: Binding, config: HomeAgentConfig) -> Footprint:
    """The footprint of a live binding.

    The primary's tunnel to a proxy lies inside the HAHA tunnel (draft s.5.2.2); both have the same two
    ends, and the proxy routes what comes out of either by the same table, so one header serves for both.
    """
    prefixes = binding.routes()
    kind, exit_ = EXPORT[RouteKind.MNP], binding.care_of_address
    announcements = tuple([Announcement(kind, RouteKind.MNP, one, config.outer) for one in prefixes])
    if binding.kind is BindingKind.PROXIED:
        exit_ = config.outer_of(exit_)
        routes = tuple([KernelRoute(prefix, Metric.PROXIED, exit_) for prefix in prefixes])
        return Footprint(routes, announcements)
    routes = tuple([KernelRoute(prefix, Metric.BINDING, exit_) for prefix in prefixes])
    permits = tuple([(exit_, prefix) for prefix in prefixes])
    if binding.kind is BindingKind.DIRECT:
        return Footprint(routes, announcements, permits)
    audience, sequence = EXPORT[RouteKind.LEAK], binding.mobility_sequence
    leaks = [Announcement(audience, RouteKind.LEAK, one, config.haha, sequence) for one in binding.leaked()]
    return Footprint(routes, (*announcements, *leaks), permits, prefixes)
