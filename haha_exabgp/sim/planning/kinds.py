"""The kinds of signalling messages, and of what happens that makes them necessary."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """A kind of signalling message."""

    UPDATE = "Binding Update"
    ACKNOWLEDGEMENT = "Binding Acknowledgement"
    DISCOVERY_REQUEST = "discovery request"
    DISCOVERY_REPLY = "discovery reply"
    PROXY_UPDATE = "proxy's Binding Update"
    PROXY_ACKNOWLEDGEMENT = "proxy's Binding Acknowledgement"
    REVOCATION = "revocation"
    REVOCATION_ACKNOWLEDGEMENT = "revocation acknowledgement"
    RESOLUTION_REQUEST = "resolution request"
    RESOLUTION_REPLY = "resolution reply"
    RESOLUTION_DENIED = "resolution reply: none shorter"
    PURGE = "purge"
    PURGE_ACKNOWLEDGEMENT = "purge acknowledgement"
    SITE_ROUTE = "BGP: to own site"
    SITE_ROUTE_WITHDRAWN = "BGP: to own site, withdrawn"
    LEAK = "BGP: leak"
    LEAK_WITHDRAWN = "BGP: leak, withdrawn"
    HOME_ROUTE = "BGP: Home, to the Internet"
    """Of all that is announced this alone passes the site's router to the Internet."""


ON_ACCESS_LINK = (Kind.UPDATE, Kind.ACKNOWLEDGEMENT, Kind.DISCOVERY_REQUEST, Kind.DISCOVERY_REPLY)
MESH_BGP = (Kind.LEAK, Kind.LEAK_WITHDRAWN)
SITE_BGP = (Kind.SITE_ROUTE, Kind.SITE_ROUTE_WITHDRAWN)


class Scenario(StrEnum):
    """What a mobile router does, and what its Home Agent is to it."""

    REFRESH_DIRECT = "refresh at the primary"
    LOCAL_DIRECT = "another care-of address under the primary"
    REFRESH_PROXY = "refresh through a proxy"
    LOCAL_PROXY = "another care-of address under a proxy"
    LOCAL_PROXY_RENEWED = "the same when half of the lifetime is over"
    AWAY = "from the primary to a proxy"
    ON = "from a proxy to another"
    BACK = "from a proxy to the primary"


class Side(StrEnum):
    """The part of a site in it."""

    HERE = "here"
    """Where the mobile router is now."""
    FORMER = "former"
    """Where it was, if that is another site."""
    PRIMARY = "primary"
    """Its primary site, if that is neither of the others."""


class Sent(NamedTuple):
    """A message between a Home Agent and somebody else, or between two."""

    kind: Kind
    ends: tuple[Side, ...]
    """The Home Agents that have to do with it."""
    octets: int
    """Of the whole IPv6 packet."""
