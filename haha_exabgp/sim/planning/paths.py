"""The way of packets between a mobile router and its correspondents, against the straight one.

All delays are one way, in milliseconds, both last miles included; arrays have one row a pair of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fleet import Fleet, primary_sites
from .geography import Floats, Ints, distance
from .resolution import needs
from .variants import Variant
from .world import World


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Mobile routers and correspondents, where they are and by whom they are served."""

    place: Floats
    """Of the mobile router."""
    city: Ints
    """Of the correspondent."""
    primary: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """The delays of one variant."""

    towards_mobile: Floats
    from_mobile: Floats
    straight: Floats

    @property
    def stretch(self) -> Floats:
        """Of the round trip."""
        ratio: Floats = (self.towards_mobile + self.from_mobile) / (2 * self.straight)
        return ratio

    @property
    def stretch_towards_mobile(self) -> Floats:
        """Of the one direction in which the variants differ."""
        ratio: Floats = self.towards_mobile / self.straight
        return ratio

    @property
    def extra(self) -> Floats:
        """Milliseconds that a round trip takes longer."""
        added: Floats = self.towards_mobile + self.from_mobile - 2 * self.straight
        return added


def pairs_of(fleet: Fleet, world: World, km: Floats) -> Pairs:
    """Everybody with everybody it talks to, each that far on its journey."""
    places = fleet.journeys.places(fleet.route, km)
    primary = primary_sites(world, fleet)
    return Pairs(places[fleet.talker], fleet.correspondent, primary[fleet.talker])


def paths(variant: Variant, world: World, pairs: Pairs, home_agent: int) -> Paths:
    """The delays of a variant. `home_agent` is the only one of basic NEMO, a site."""
    apart = distance(pairs.place, world.city_places[pairs.city])
    straight = world.delay.one_way(apart) + 2 * world.delay.last_mile_ms
    access = world.to_sites(pairs.place)
    rows = np.arange(len(pairs.city))
    if variant is Variant.BASIC_NEMO:
        way = access[:, home_agent] + world.from_city[pairs.city, home_agent]
        return Paths(way, way, straight)
    site = np.argmin(access, axis=1)
    to_mobile = access[rows, site]
    ingress = world.ingress[pairs.city]
    towards = world.from_city[pairs.city, ingress] + between_sites(
        variant, world, ingress, pairs.primary, site
    )
    # It leaves to the Internet where the mobile router is bound, whatever way the answers come.
    return Paths(towards + to_mobile, to_mobile + world.from_city[pairs.city, site], straight)


def between_sites(variant: Variant, world: World, ingress: Ints, primary: Ints, site: Ints) -> Floats:
    """From where packets come in to where the mobile router is bound."""
    straight = world.haha[ingress, site]
    if variant is Variant.PROJECTION:
        return np.where(needs(ingress, primary, site).route, world.direct[ingress, site], straight)
    if variant is Variant.LEAKS:
        return straight
    # Who holds the binding delivers, the ingress or its parent on the way.
    on_the_way = (ingress == site) | (world.parent[ingress] == site)
    by_primary = world.haha[ingress, primary] + world.haha[primary, site]
    return np.where(on_the_way, straight, by_primary)


def best_home_agent(world: World, places: Floats) -> int:
    """The primary site that is closest to all places on average."""
    mean = world.to_sites(places).mean(axis=0)
    return int(np.argmin(np.where(world.is_primary, mean, np.inf)))
