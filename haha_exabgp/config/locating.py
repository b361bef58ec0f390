"""How sites that share a partition find out which of them holds a binding (draft s.10.2), pair by pair."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network
from itertools import combinations

from ..protocol.home import Locate
from .schema import HomeConfig


def share_a_partition(config: HomeConfig, one: str, other: str) -> bool:
    """Whether two sites are primary for the same home addresses, some at least."""
    partitions = config.sites[one].partition, config.sites[other].partition
    return partitions[0] is not None and partitions[1] is not None and partitions[0].overlaps(partitions[1])


def sharing_pairs(config: HomeConfig) -> Iterator[tuple[str, str]]:
    """Every two sites that share a partition, in the file's order."""
    for one, other in combinations(config.sites, 2):
        if share_a_partition(config, one, other):
            yield one, other


def method_between(config: HomeConfig, one: str, other: str) -> Locate:
    """Of two sites that share a partition; Home Agents of one site are always predictive."""
    if one == other:
        return Locate.PREDICTIVE
    sites = config.sites
    return sites[one].locate.get(other) or sites[other].locate.get(one) or config.home.locate


def predictive_group(config: HomeConfig, site: str) -> str:
    """The first of the sites that hash together with this one, directly or through others."""
    group = {site}
    pairs = [pair for pair in sharing_pairs(config) if method_between(config, *pair) is Locate.PREDICTIVE]
    while more := {name for pair in pairs if not group.isdisjoint(pair) for name in pair} - group:
        group |= more
    return next(name for name in config.sites if name in group)


def asked_for(config: HomeConfig) -> tuple[IPv6Network, ...]:
    """The partitions of sites that ask each other, each once."""
    reactive = [pair for pair in sharing_pairs(config) if method_between(config, *pair) is Locate.REACTIVE]
    partitions = [config.sites[name].partition for pair in reactive for name in pair]
    return tuple(dict.fromkeys(one for one in partitions if one is not None))
