"""What a binding means for the world: its kernel routes, its announcements, what may come through its
tunnel. Derived from the binding alone, so it dies with it (behaviour: no derived object outlives it)."""

from __future__ import annotations

from dataclasses import dataclass

from ..wire.address import Address, Prefix
from .binding import Binding, BindingKind
from .home import HomeAgentConfig
from .route_policy import EXPORT
from .routes import Announcement, KernelRoute, Metric, RouteKind
from .wanted import WantedState


@dataclass(frozen=True, slots=True)
class Footprint:
    """Everything one binding wants."""

    routes: tuple[KernelRoute, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    permits: tuple[tuple[Address, Prefix], ...] = ()


NOTHING = Footprint()


def footprint(binding: Binding, config: HomeAgentConfig) -> Footprint:
    """The footprint of a live binding.

    The primary's tunnel to a proxy lies inside the HAHA tunnel (draft s.5.2.2); both have the same two
    ends, and the proxy routes what comes out of either by the same table, so one header serves for both.
    """
    announcements = [
        Announcement(EXPORT[RouteKind.MNP], RouteKind.MNP, prefix, config.outer)
        for prefix in binding.routes()
    ]
    if binding.kind is BindingKind.PROXIED:
        exit_of = {peer.haha: peer.outer for peer in config.peers}
        tunnel_exit, metric = exit_of[binding.care_of_address], Metric.PROXIED
        permits: tuple[tuple[Address, Prefix], ...] = ()
    else:
        tunnel_exit, metric = binding.care_of_address, Metric.BINDING
        permits = tuple((binding.care_of_address, prefix) for prefix in binding.routes())
    if binding.kind is BindingKind.PROXY:
        announcements += [
            Announcement(
                EXPORT[RouteKind.LEAK], RouteKind.LEAK, prefix, config.haha, binding.mobility_sequence
            )
            for prefix in binding.leaked()
        ]
    routes = tuple(KernelRoute(prefix, metric, tunnel_exit) for prefix in binding.routes())
    return Footprint(routes, tuple(announcements), permits)


def change_footprint(wanted: WantedState, before: Footprint, after: Footprint) -> None:
    """Go from one footprint to the next: first what is new, then away with the old, so that a move
    leaves no moment without a route."""
    for permit in after.permits:
        wanted.permit(*permit)
    for route in after.routes:
        wanted.set_route(route)
    for announcement in after.announcements:
        wanted.announce(announcement)
    kept_announcements = {(one.audience, one.prefix) for one in after.announcements}
    for announcement in before.announcements:
        if (announcement.audience, announcement.prefix) not in kept_announcements:
            wanted.withdraw(announcement.audience, announcement.prefix)
    kept_routes = {(route.prefix, route.metric) for route in after.routes}
    for route in before.routes:
        if (route.prefix, route.metric) not in kept_routes:
            wanted.clear_route(route.prefix, route.metric)
    for permit in before.permits:
        if permit not in after.permits:
            wanted.revoke(*permit)
