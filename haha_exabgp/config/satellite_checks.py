"""What must hold for satellites, their parents, and the prefixes that these lend."""

from __future__ import annotations

from collections.abc import Iterator

from ..wire.address import Address
from .addresses import unfit
from .errors import Fault
from .overlaps import PlacedPrefix, mobile_network_prefixes, overlaps
from .schema import HomeConfig


def some_site_is_primary(config: HomeConfig) -> Iterator[Fault]:
    if not any(True for _ in config.partitions()):
        yield Fault(
            ("sites",), "no site is primary for anybody", "give one of them role: primary and a partition"
        )


def satellites_have_parents_and_others_none(config: HomeConfig) -> Iterator[Fault]:
    primaries = [name for name, _, _ in config.partitions()]
    for name, site in config.sites.items():
        key = ("sites", name)
        if not site.is_satellite:
            if site.parents:
                yield Fault(
                    (*key, "parents"), "a primary site has no parents", "remove it, or write role: satellite"
                )
            continue
        if site.partition is not None:
            yield Fault(
                (*key, "partition"),
                "a satellite has no partition: its addresses in Home are lent by its parents",
                "remove it, or write role: primary",
            )
        if not site.parents:
            yield Fault(
                (*key, "parents"),
                "is missing, and a satellite needs a parent",
                "write below it, indented, a primary site and the prefix that it lends, such as"
                " site1: 2001:db8:1:f000::/64",
            )
        for parent in site.parents:
            if parent not in primaries:
                yield Fault(
                    (*key, "parents", parent),
                    f"{parent} is no primary site",
                    f"write one of {', '.join(primaries)}",
                )


def satellites_have_one_home_agent(config: HomeConfig) -> Iterator[Fault]:
    """A second one would need a way of its own through the parent, which routes what it lends as a whole."""
    for name, site in config.sites.items():
        if site.is_satellite and len(site.home_agents) > 1:
            second = list(site.home_agents)[1]
            key = ("sites", name, "home_agents", second)
            yield Fault(
                key, "a satellite has one Home Agent", "make it a satellite of its own, with its own router"
            )
        for reflector in site.reflectors if site.is_satellite else ():
            key = ("sites", name, "reflectors", reflector)
            yield Fault(key, "a satellite is no place for a route reflector", "move it to a primary site")


def lent_prefixes_lie_in_the_parents_partition(config: HomeConfig) -> Iterator[Fault]:
    """What goes to such an address then finds the parent by its partition's route."""
    for name, parent, prefix in config.lent_prefixes():
        site = config.sites.get(parent)
        if site is None or site.partition is None:
            continue
        if not prefix.subnet_of(site.partition) or prefix == site.partition:
            yield Fault(
                ("sites", name, "parents", parent),
                f"{prefix} is not a part of the parent's partition {site.partition}",
                f"write a part of {site.partition}",
                other=("sites", parent, "partition"),
            )


def lent_prefixes_are_nobody_elses(config: HomeConfig) -> Iterator[Fault]:
    lent = list(_lent_prefixes(config))
    keys = [key for key, _ in lent]
    for (one, around), (two, prefix) in overlaps([*lent, *mobile_network_prefixes(config)]):
        if one in keys:
            problem = f"{prefix} overlaps {around}, which {one[-1]} lends to {one[1]}"
            yield Fault(two, problem, "write a prefix that overlaps no other", other=one)
    for name, mobile_router in config.mobile_routers.items():
        for key, prefix in lent:
            if mobile_router.home_address in prefix:
                yield Fault(
                    ("mobile_routers", name, "home_address"),
                    f"{mobile_router.home_address} is inside {prefix}, which {key[-1]} lends to {key[1]}",
                    "write an address that is in no such prefix",
                    other=key,
                )


def lent_prefixes_hold_an_address_for_each_home_agent(config: HomeConfig) -> Iterator[Fault]:
    for name, parent, prefix in config.lent_prefixes():
        for home_agent, one in config.sites[name].home_agents.items():
            if unfit(Address(one.address_in(prefix).packed)) is not None:
                yield Fault(
                    ("sites", name, "parents", parent),
                    f"{home_agent} would have the address {one.address_in(prefix)} in it, as its HAHA address"
                    " ends, and that is for no host",
                    "lend a shorter prefix, or give it another HAHA address",
                    other=("sites", name, "home_agents", home_agent, "haha"),
                )


SATELLITE_CHECKS = (
    some_site_is_primary,
    satellites_have_parents_and_others_none,
    satellites_have_one_home_agent,
    lent_prefixes_lie_in_the_parents_partition,
    lent_prefixes_are_nobody_elses,
    lent_prefixes_hold_an_address_for_each_home_agent,
)


def _lent_prefixes(config: HomeConfig) -> Iterator[PlacedPrefix]:
    for name, parent, prefix in config.lent_prefixes():
        yield ("sites", name, "parents", parent), prefix
