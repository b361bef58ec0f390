"""How long something may be wrong before it counts: derived in docs/simulator.md, one row each. Seconds."""

from __future__ import annotations

from ..protocol import overlap
from ..protocol.route_exchange import STALE_TIME
from ..protocol.upstream import ATTEMPTS, FIRST_TIMEOUT
from .bgp import LEASE
from .home import MAX_HOLDING_TIME, MAX_LIFETIME
from .home_agent import IN_FLIGHT_TIME

STALE_DELIVERY = 40.0
"""After a newer binding was accepted, or the last fault: packets still come to the care-of address before."""
STALE_DELIVERY_EVER = MAX_LIFETIME + 10.0
"""The same whatever is broken."""
ONE_OWNER = 45.0
"""After the last fault and the last change of a binding: two Home Agents hold a home address."""
REACHABLE = 100.0
"""After the last fault and the last attachment: a packet to or from a mobile router is lost."""
TRANSIT = 3.0
"""A packet that arrives at all is there."""
GRACE = IN_FLIGHT_TIME + 0.2
"""What follows from a binding lets packets in after it."""
CIRCLES = GRACE + 7.5
"""After the last change of a binding: packets that are sent go to and fro between two sites."""
OVERLAP = overlap.OVERLAP + 0.2
"""A primary keeps its tunnel to a mobile router that has gone to a proxy."""
PREPARED = FIRST_TIMEOUT * (2**ATTEMPTS - 1) + 0.2
"""A proxy is ready for a mobile router of which the primary says nothing."""
PROJECTED = 40.0
"""After the last fault: a projected route leads to a Home Agent that has the mobile router no more."""
PROJECTED_EVER = MAX_HOLDING_TIME + 10.0
"""The same whatever is broken."""
QUIET = 25.0
"""A mobile router that is leaked on traffic, and has had none for `leak_idle`, is leaked."""
SETTLED = 20.0
"""After the last thing that happened to anybody Home Agents have found out who is up."""
AGREED = 8.0
"""From then on: of several that can be primary not one, or more, is; a site has not one border Home Agent; a
primary does not know a satellite by its parent in use."""
STALE_ROUTE = STALE_TIME + 3.0
"""A route of a lost session is kept."""
HOME_ALONE = 2.0
"""Without any session, Home is announced."""
LEASE_OVER = LEASE + 10.0
"""Without an agent, ExaBGP announces what it wanted."""
