"""The four ways to build the same Home that are compared."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from .geography import Ints
from .world import World


class Variant(StrEnum):
    """How mobile networks are reached."""

    BASIC_NEMO = "basic NEMO"
    """One Home Agent in the world (RFC 3963)."""
    PARTITIONED = "partitioned"
    """Home at all sites, a partition each; packets pass the primary site."""
    LEAKS = "with leaks"
    """As well, a site that holds a mobile router away from its primary site tells all others over BGP."""
    PROJECTION = "with projection"
    """Instead of that, on-demand routes between the proxies that need them."""


def leaker(world: World, site: Ints, primary: Ints) -> Ints:
    """Which site leaks the prefixes of a mobile router bound at `site`: that site, its parent if it is a
    satellite, or -1 for none where packets find it by its partition."""
    above: Ints = world.parent[site]
    return np.where(above == primary, -1, above)
