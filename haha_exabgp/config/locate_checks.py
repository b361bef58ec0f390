"""What must hold for how sites that share a partition find out which of them holds a binding."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from ..protocol.home import Locate
from .errors import Fault
from .locating import asked_for, method_between, share_a_partition, sharing_pairs
from .schema import HomeConfig

_RULES = (
    ({Locate.PREDICTIVE}, "predictive"),
    ({Locate.PREDICTIVE, Locate.PROACTIVE}, "predictive or proactive"),
)


def locate_is_of_sites_that_share_a_partition(config: HomeConfig) -> Iterator[Fault]:
    for name, site in config.sites.items():
        for other in site.locate:
            key = ("sites", name, "locate", other)
            sharing = [one for pair in sharing_pairs(config) if name in pair for one in pair if one != name]
            advice = f"write one of {', '.join(sharing)}" if sharing else "remove it"
            if other not in config.sites:
                yield Fault(key, f"there is no site {other}", advice)
            elif other == name:
                yield Fault(key, "the Home Agents of one site are always predictive to each other", advice)
            elif not share_a_partition(config, name, other):
                yield Fault(
                    key,
                    f"{name} and {other} share no partition: a home address itself says who is its primary",
                    advice,
                )


def both_sides_of_a_pair_agree(config: HomeConfig) -> Iterator[Fault]:
    for one, other in sharing_pairs(config):
        here, there = config.sites[one].locate.get(other), config.sites[other].locate.get(one)
        if here is not None and there is not None and here is not there:
            yield Fault(
                ("sites", other, "locate", one),
                f"{other} says {there} and {one} says {here}",
                "write the same at both, or at one of them only",
                other=("sites", one, "locate", other),
            )


def methods_of_three_sites_fit(config: HomeConfig) -> Iterator[Fault]:
    """Sites that hash together have to agree on all that do. And who has been told of the same bindings has
    to know of each other, else both would take them over from a third that fails."""
    for one, two, three in permutations(config.sites, 3):
        pairs = (one, two), (one, three), (two, three)
        if two > three or not all(share_a_partition(config, *pair) for pair in pairs):
            continue
        *methods, between = [method_between(config, *pair) for pair in pairs]
        for rule, which in _RULES:
            if set(methods) <= rule and between not in rule:
                yield Fault(
                    ("sites", three, "locate", two),
                    f"{two} and {three} are {between} to each other, and both {which} to {one}",
                    f"make all three of them {which} to each other, or only two",
                )
                break


def satellites_tell_parents_where_primaries_ask(config: HomeConfig) -> Iterator[Fault]:
    for name, site in config.sites.items():
        if site.is_satellite and not site.secondary_bindings and asked_for(config):
            yield Fault(
                ("sites", name, "secondary_bindings"),
                "some sites that share a partition are reactive to each other: they know by leaks only where"
                " packets go, and its parent leaks for a satellite",
                "write true",
            )


LOCATE_CHECKS = (
    locate_is_of_sites_that_share_a_partition,
    both_sides_of_a_pair_agree,
    methods_of_three_sites_fit,
    satellites_tell_parents_where_primaries_ask,
)
