"""Import policy: which routes of which peer are believed. What the table does not name is refused.

Export needs no filter of its own: an `Announcement` names its audience, and the table `EXPORT` is the only
place that says which kind goes to whom.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from .home import HomeAgentConfig, Peer
from .routes import Audience, LearnedRoute, RouteKind

EXPORT: dict[RouteKind, Audience] = {
    RouteKind.HOME: Audience.SITE,
    RouteKind.SITE: Audience.OTHER_SITES,
    RouteKind.MNP: Audience.SITE,
    RouteKind.LEAK: Audience.MESH,
    RouteKind.HOME_LEAVING: Audience.SITE,
}
"""Each kind has one audience. HOME goes no further than the own site's router, which exports it to the
Internet; MNP and LEAK never leave the HAHA network (draft s.5.2.1, RFC 5522 Req 6)."""


class RouteRefusal(StrEnum):
    """Why a learned route was not taken; the label of its counter."""

    UNEXPECTED_SESSION = "unexpected_session"
    """Of the site's router, or of a Home Agent that speaks for another and is no reflector."""
    KIND_NOT_EXPECTED = "kind_not_expected"
    UNKNOWN_NEXT_HOP = "unknown_next_hop"
    NOT_THE_PEERS_PARTITION = "not_the_peers_partition"
    OUTSIDE_HOME = "outside_home"
    SHORTER_THAN_PARTITION = "shorter_than_partition"
    NO_SEQUENCE = "no_sequence"
    NOT_ENTITLED = "not_entitled"
    """By the policy of the mobile router."""


def _check_site(config: HomeAgentConfig, originator: Peer, route: LearnedRoute) -> RouteRefusal | None:
    if route.prefix != originator.partition:
        return RouteRefusal.NOT_THE_PEERS_PARTITION
    return None


def _check_leak(config: HomeAgentConfig, originator: Peer, route: LearnedRoute) -> RouteRefusal | None:
    if not config.home.covers(route.prefix):
        return RouteRefusal.OUTSIDE_HOME
    partitions = (config.partition, *(peer.partition for peer in config.peers))
    owner = next((one for one in partitions if one.contains(route.prefix.address)), None)
    if owner is None:
        return RouteRefusal.OUTSIDE_HOME
    if route.prefix.length <= owner.length:
        return RouteRefusal.SHORTER_THAN_PARTITION
    if route.sequence == 0:
        return RouteRefusal.NO_SEQUENCE
    return None


_IMPORT: dict[RouteKind, Callable[[HomeAgentConfig, Peer, LearnedRoute], RouteRefusal | None]] = {
    RouteKind.SITE: _check_site,
    RouteKind.LEAK: _check_leak,
}


def check_import(config: HomeAgentConfig, route: LearnedRoute) -> Peer | RouteRefusal:
    """The Home Agent a learned route leads to, or why it is refused.

    The next hop, not the session, names the originator: with route reflectors they differ, and every
    route leads through the tunnel to its next hop's HAHA address. Where there are none each Home Agent speaks
    for itself.
    """
    check = _IMPORT.get(route.kind)
    if check is None:
        return RouteRefusal.KIND_NOT_EXPECTED
    originator = next((peer for peer in config.peers if peer.haha == route.next_hop), None)
    if originator is None:
        return RouteRefusal.UNKNOWN_NEXT_HOP
    if route.peer != originator.haha and all(one.address != route.peer for one in config.reflectors):
        return RouteRefusal.UNEXPECTED_SESSION
    return check(config, originator, route) or originator
