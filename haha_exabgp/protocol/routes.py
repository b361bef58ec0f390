"""The kinds of routes a Home Agent deals in: those it tells its BGP peers, those it gives the kernel.

Both are sets of frozen values. The core states the set it wants; `bgp/` and `kernel/` compare it with
what is there and apply the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from ..wire.address import Address, Prefix


class RouteKind(IntEnum):
    """What a route between sites stands for: the last part of the large community
    `<home-asn>:1:<kind>` (RFC 8092) that marks it."""

    HOME = 1
    SITE = 2
    SATELLITE = 3
    MNP = 4
    LEAK = 5
    HOME_LEAVING = 6
    """Home at a Home Agent that is being taken out of service: its site's router keeps the way there, for
    what still comes while the Internet turns away, and exports it no more."""


class Audience(StrEnum):
    """To whom a route is announced."""

    SITE = "site"
    """The routers of the announcer's own site."""
    MESH = "mesh"
    """All other Home Agents of primary sites."""
    OTHER_SITES = "other sites"
    """Those of the other sites."""
    SATELLITE = "satellite"
    """The Home Agents of the satellites that hang under the announcer's site."""
    PARENT = "parent"
    """Those of the sites that a satellite may hang under."""


class Announcement(NamedTuple):
    """A route this Home Agent tells to its peers.

    `sequence` (32 bits) is carried as `<home-asn>:2:<sequence>` and as LOCAL_PREF: the mobility sequence of a
    leak, and where a site has several Home Agents that of a binding, and the epoch of the border Home Agent
    (`home_agents_list.py`, rule 3). 0: none.
    """

    audience: Audience
    kind: RouteKind
    prefix: Prefix
    next_hop: Address
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class LearnedRoute:
    """A route that a peer announced to us, after its communities were read."""

    peer: Address
    kind: RouteKind
    prefix: Prefix
    next_hop: Address
    sequence: int = 0


class Metric(IntEnum):
    """Kernel metrics: the preference between routes of ours for one prefix, lowest first.

    They stand in the kernel together, so that losing the better one (a leak withdrawn, say) falls back
    to the next without waiting for us.
    """

    BINDING = 100
    """Bound here: straight into the tunnel to the mobile router."""
    PREPARED = 110
    """About to be bound here: the same, while its primary is being asked."""
    SECONDARY = 120
    """Bound at a satellite of ours, which has told us so: to it."""
    PROJECTED = 150
    """Asked for on demand: straight to the proxy that holds the mobile router. In no announcement."""
    LEAK = 200
    """Leaked by the proxy that holds the mobile router: straight to that site."""
    PROXIED = 300
    """Bound here as primary through a proxy: to that proxy's site."""
    SITE = 400
    """Another site's partition, through the HAHA tunnel."""
    SATELLITE = 420
    """What we lend to a satellite: to it."""
    HOME = 440
    """At a satellite, all of Home: to its parent."""
    HAHA = 500
    """A peer's HAHA address, through its tunnel; static."""
    DISCARD = 4294967295
    """What nothing else claims ends here instead of looping through the Internet."""


class KernelRoute(NamedTuple):
    """A route in the kernel's main table, by IPv6-in-IPv6 encapsulation (RFC 2473) to `tunnel_exit`.

    `tunnel_exit` None means unreachable (a discard route). `source` is the source address that
    packets of this host itself get on this route, None for the kernel's own choice.
    """

    prefix: Prefix
    metric: int
    tunnel_exit: Address | None
    source: Address | None = None
