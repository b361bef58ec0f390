"""Prefixes of a configuration with their places in the file, and which of them overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network

from .errors import KeyPath
from .schema import HomeConfig

PlacedPrefix = tuple[KeyPath, IPv6Network]


def mobile_network_prefixes(config: HomeConfig) -> Iterator[PlacedPrefix]:
    """Those of all mobile routers, in the file's order."""
    for name, mobile_router in config.mobile_routers.items():
        for index, prefix in enumerate(mobile_router.prefixes):
            yield ("mobile_routers", name, "prefixes", index), prefix


def overlaps(places: Iterable[PlacedPrefix]) -> Iterator[tuple[PlacedPrefix, PlacedPrefix]]:
    """Each prefix that lies inside another, with the narrowest one around it; in the order of `places`.

    Prefixes nest or are apart, so after sorting those around a prefix are a stack: n log n, not n squared.
    """
    around: list[tuple[int, PlacedPrefix]] = []
    ordered = sorted(
        enumerate(places),
        key=lambda entry: (int(entry[1][1].network_address), entry[1][1].prefixlen, entry[0]),
    )
    for entry in ordered:
        while around and not entry[1][1].subnet_of(around[-1][1][1]):
            around.pop()
        if around:
            one, two = sorted((around[-1], entry), key=lambda pair: pair[0])
            yield one[1], two[1]
        around.append(entry)
