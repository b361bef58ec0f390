"""Sites and cities as arrays: where they are, and how long packets take between them.

Sites are numbered in the order of the topology, cities in that of the catalogue. All delays are one way, in
milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cities import cities
from .geography import Delay, Floats, Ints, Truths, distances, positions
from .rtt_matrix import RoundTrips
from .schema import Role, Site
from .topology import LoadedTopology


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Everything about a Home that does not move."""

    names: tuple[str, ...]
    """Of the sites."""
    places: Floats
    """Of the sites."""
    parent: Ints
    """The primary site that a site hangs under; of a primary site itself."""
    share: Floats
    """Of all mobile routers, how many have their home in a site's partition; they add up to 1."""
    city_places: Floats
    direct: Floats
    """From site to site over the Internet."""
    haha: Floats
    """From site to site inside the HAHA network: satellites speak through their parents."""
    from_city: Floats
    """From city to site, last mile included."""
    ingress: Ints
    """The site that Home's anycast leads to from each city."""
    delay: Delay

    @property
    def is_primary(self) -> Truths:
        """Which sites are primary: the mesh of border Home Agents."""
        primary: Truths = self.parent == np.arange(len(self.names))
        return primary

    def to_sites(self, places: Floats) -> Floats:
        """From places to all sites, last mile included, shape (places, sites)."""
        return self.delay.one_way(distances(places, self.places)) + self.delay.last_mile_ms

    def only(self, sites: Ints) -> World:
        """The same world with some of its sites, parents among them."""
        number = np.full(len(self.names), -1)
        number[sites] = np.arange(len(sites))
        pairs = np.ix_(sites, sites)
        # Where none of them has a share, all their partitions are alike.
        share = self.share[sites] if self.share[sites].any() else self.is_primary[sites].astype(float)
        return World(
            names=tuple(self.names[site] for site in sites),
            places=self.places[sites],
            parent=number[self.parent[sites]],
            share=share / share.sum(),
            city_places=self.city_places,
            direct=self.direct[pairs],
            haha=self.haha[pairs],
            from_city=self.from_city[:, sites],
            ingress=np.argmin(self.from_city[:, sites], axis=1),
            delay=self.delay,
        )


def build_world(loaded: LoadedTopology) -> World:
    """The world of a topology."""
    sites, latency = loaded.topology.sites, loaded.topology.latency
    delay = Delay(latency.path_factor, latency.last_mile)
    names, city_names = tuple(sites), tuple(cities())
    places = positions(*np.array([_degrees(site) for site in sites.values()]).T)
    city_places = positions(*np.array([city[1:] for city in cities().values()]).T)
    number = {name: index for index, name in enumerate(names)}
    parent = np.array([number[site.parent] if site.parent else number[name] for name, site in sites.items()])
    share = np.array(
        [
            0 if site.role is Role.SATELLITE else 1 if site.share is None else site.share
            for site in sites.values()
        ]
    )
    direct = _measured(delay.one_way(distances(places, places)), names, names, loaded.round_trips)
    to_site = delay.one_way(distances(city_places, places))
    from_city = _measured(to_site, city_names, names, loaded.round_trips) + latency.last_mile
    return World(
        names=names,
        places=places,
        parent=parent,
        share=share / share.sum(),
        city_places=city_places,
        direct=direct,
        haha=_through_parents(direct, parent),
        from_city=from_city,
        ingress=np.argmin(from_city, axis=1),
        delay=delay,
    )


def _degrees(site: Site) -> tuple[float | None, float | None]:
    if site.city is None:
        return site.latitude, site.longitude
    city = cities()[site.city]
    return city.latitude, city.longitude


def _measured(
    computed: Floats, rows: tuple[str, ...], columns: tuple[str, ...], round_trips: RoundTrips
) -> Floats:
    """Half a measured round trip in place of what the map says, where there is one."""
    result = computed.copy()
    row_of = {name: index for index, name in enumerate(rows)}
    column_of = {name: index for index, name in enumerate(columns)}
    for (start, end), value in round_trips.items():
        if start in row_of and end in column_of:
            result[row_of[start], column_of[end]] = value / 2
    return result


def _through_parents(direct: Floats, parent: Ints) -> Floats:
    """Up to the parent, over the mesh, down from the parent; nothing from a site to itself."""
    up = direct[np.arange(len(parent)), parent]
    down = direct[parent, np.arange(len(parent))]
    path: Floats = up[:, None] + direct[np.ix_(parent, parent)] + down[None, :]
    np.fill_diagonal(path, 0)
    return path
