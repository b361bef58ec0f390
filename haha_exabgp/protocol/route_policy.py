"""Import policy: which routes of which peer are believed. What the table does not name is refused.

Export needs no filter of its own: an `Announcement` names its audience, and the tables `EXPORT` and `LENDING`
are the only places that say which kind goes to whom.
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
    RouteKind.SATELLITE: Audience.SITE,
    RouteKind.HOME_LEAVING: Audience.SITE,
}
"""What a site is told by its Home Agents, and what primary sites tell each other. HOME goes no further than
the own site's router, which exports it to the Internet; MNP and LEAK never leave the HAHA network (draft
s.5.2.1, RFC 5522 Req 6). Of a satellite's addresses no other site hears: they are part of the partition."""
LENDING: dict[RouteKind, Audience] = {
    RouteKind.HOME: Audience.SATELLITE,
    RouteKind.SATELLITE: Audience.PARENT,
}
"""What parent and satellite tell each other (draft s.5.1.2), and all they do."""


def audience_of(peer: Peer, config: HomeAgentConfig) -> Audience:
    """What an adjacent Home Agent is to us."""
    if peer.is_satellite:
        return Audience.SATELLITE
    return Audience.PARENT if config.is_satellite else Audience.MESH


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
    NOT_HOME = "not_home"
    NOT_LENT_BY_US = "not_lent_by_us"


def _check_site(config: HomeAgentConfig, originator: Peer, route: LearnedRoute) -> RouteRefusal | None:
    if route.prefix != originator.partition:
        return RouteRefusal.NOT_THE_PEERS_PARTITION
    return None


def _check_leak(config: HomeAgentConfig, originator: Peer, route: LearnedRoute) -> RouteRefusal | None:
    if not config.home.covers(route.prefix):
        return RouteRefusal.OUTSIDE_HOME
    partitions = (config.partition, *(peer.partition for peer in config.peers))
    owner = next((one for one in partitions if one and one.contains(route.prefix.address)), None)
    if owner is None:
        return RouteRefusal.OUTSIDE_HOME
    if route.prefix.length <= owner.length:
        return RouteRefusal.SHORTER_THAN_PARTITION
    if route.sequence == 0:
        return RouteRefusal.NO_SEQUENCE
    return None


def _check_home(config: HomeAgentConfig, originator: Peer, route: LearnedRoute) -> RouteRefusal | None:
    return None if route.prefix == config.home else RouteRefusal.NOT_HOME


def _check_lent(config: HomeAgentConfig, originator: Peer, route: LearnedRoute) -> RouteRefusal | None:
    ours = (lent.prefix for lent in originator.lent if lent.parent == config.site)
    return None if route.prefix in ours else RouteRefusal.NOT_LENT_BY_US


_IMPORT: dict[
    tuple[Audience, RouteKind], Callable[[HomeAgentConfig, Peer, LearnedRoute], RouteRefusal | None]
] = {
    (Audience.MESH, RouteKind.SITE): _check_site,
    (Audience.MESH, RouteKind.LEAK): _check_leak,
    (Audience.PARENT, RouteKind.HOME): _check_home,
    (Audience.SATELLITE, RouteKind.SATELLITE): _check_lent,
}
"""By what the originator is to us and the kind of the route."""
_EXPECTED = frozenset(kind for _, kind in _IMPORT)


def is_for_another(config: HomeAgentConfig, route: LearnedRoute) -> bool:
    """Whether a satellite of ours tells all its parents what one of the others lends."""
    if route.kind is not RouteKind.SATELLITE:
        return False
    lent = [one for peer in config.adjacent if peer.haha == route.next_hop for one in peer.lent]
    return any(one.prefix == route.prefix and one.parent != config.site for one in lent)


def check_import(config: HomeAgentConfig, route: LearnedRoute) -> Peer | RouteRefusal:
    """The Home Agent a learned route leads to, or why it is refused.

    The next hop, not the session, names the originator: with route reflectors they differ, and every
    route leads through the tunnel to its next hop's HAHA address. Where there are none each Home Agent speaks
    for itself.
    """
    if route.kind not in _EXPECTED:
        return RouteRefusal.KIND_NOT_EXPECTED
    originator = next((peer for peer in config.adjacent if peer.haha == route.next_hop), None)
    if originator is None:
        return RouteRefusal.UNKNOWN_NEXT_HOP
    check = _IMPORT.get((audience_of(originator, config), route.kind))
    if check is None:
        return RouteRefusal.KIND_NOT_EXPECTED
    if route.peer != originator.haha and all(one.address != route.peer for one in config.reflectors):
        return RouteRefusal.UNEXPECTED_SESSION
    return check(config, originator, route) or originator
