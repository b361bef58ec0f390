"""Load a topology file: all that is wrong is told at once, each with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from ...config.document import Document, read_document
from ...config.errors import ConfigError, Fault, KeyPath, shown
from ...config.explain import explain
from .cities import cities
from .city_pairs import city_pairs
from .rtt_matrix import RoundTrips, read_rtt_matrix
from .schema import Role, Topology

PATTERN = "examples/world-topology.yaml"


@dataclass(frozen=True, slots=True)
class LoadedTopology:
    """A topology that passed every check."""

    path: Path
    topology: Topology
    round_trips: RoundTrips
    """Measured ones, by names of sites and cities; empty without a matrix."""


def load_topology(path: Path) -> LoadedTopology:
    """Read and check one topology file and the matrix that it names. Raises ConfigError."""
    document = read_document(path, PATTERN, "sites and mobiles")
    try:
        topology = Topology.model_validate(document.tree)
    except ValidationError as error:
        raise _refused(document, list(explain(error, Topology))) from None
    faults = [fault for check in _CHECKS for fault in check(topology)]
    if faults or document.findings:
        raise _refused(document, faults)
    measured: RoundTrips = {}
    if topology.latency.matrix is not None:
        measured = read_rtt_matrix(path.parent / topology.latency.matrix, {*topology.sites, *cities()})
    return LoadedTopology(path, topology, measured)


def _refused(document: Document, faults: list[Fault]) -> ConfigError:
    findings = (*document.findings, *map(document.finding, faults))
    return ConfigError(tuple(sorted(findings, key=lambda finding: finding.line)))


def _unknown_city(key: KeyPath, name: str) -> Fault:
    nearest = get_close_matches(name, cities(), n=1)
    hint = f'did you mean "{nearest[0]}"?' if nearest else "the cities are in the file cities.csv"
    return Fault(key, f"{shown(name)} is no city known here", hint)


def _sites_are_somewhere(topology: Topology) -> Iterator[Fault]:
    for name, site in topology.sites.items():
        key = ("sites", name)
        given = [part for part in ("latitude", "longitude") if getattr(site, part) is not None]
        if site.city is not None and given:
            yield Fault(
                (*key, given[0]), "the city says already where the site is", "remove the one or the other"
            )
        elif site.city is None and len(given) < 2:
            yield Fault(key, "does not say where the site is", "give city, or latitude and longitude")
        elif site.city is not None and site.city not in cities():
            fault = _unknown_city((*key, "city"), site.city)
            yield fault._replace(remedy=f"{fault.remedy} latitude and longitude do as well")


def _roles_fit(topology: Topology) -> Iterator[Fault]:
    primaries = [name for name, site in topology.sites.items() if site.role is Role.PRIMARY]
    for name, site in topology.sites.items():
        key = ("sites", name)
        if site.role is Role.PRIMARY and site.parent is not None:
            yield Fault(
                (*key, "parent"), "a primary site has no parent", "remove it, or write role: satellite"
            )
        if site.role is Role.SATELLITE and site.share is not None:
            yield Fault((*key, "share"), "a satellite owns no partition", "remove it, or write role: primary")
        if site.role is Role.SATELLITE and site.parent not in primaries:
            problem = (
                "a satellite needs a parent" if site.parent is None else f"{site.parent} is no primary site"
            )
            choice = ", ".join(primaries) or "a site with role: primary, once there is one"
            yield Fault(
                (*key, "parent"), problem, f"write one of {choice}" if primaries else f"name {choice}"
            )
    if not primaries:
        yield Fault(("sites",), "no site is primary", "write role: primary for one of them")
    elif not any(topology.sites[name].share != 0 for name in primaries):
        yield Fault(("sites",), "no mobile router has a home: every share is 0", "write a share above 0")


def _basic_nemo_has_a_site(topology: Topology) -> Iterator[Fault]:
    if topology.basic_nemo is not None and topology.basic_nemo not in topology.sites:
        yield Fault(
            ("basic_nemo",),
            f"there is no site {topology.basic_nemo}",
            f"write one of {', '.join(topology.sites)}",
        )


def _groups_have_somewhere_to_go(topology: Topology) -> Iterator[Fault]:
    for name, group in topology.mobiles.items():
        key = ("mobiles", name)
        if group.lifetime % 4:
            fix = group.lifetime // 4 * 4
            yield Fault((*key, "lifetime"), f"{group.lifetime} is not a multiple of 4", f"write {fix}")
        if group.routes is not None and group.cities is not None:
            yield Fault(
                (*key, "cities"), "the routes say already where they go", "remove the one or the other"
            )
            continue
        unknown = False
        for index, route in enumerate(group.routes or ()):
            for end, city in (("start", route.start), ("end", route.end)):
                if city not in cities():
                    unknown = True
                    yield _unknown_city((*key, "routes", index, end), city)
            if route.start == route.end:
                yield Fault((*key, "routes", index), "leads nowhere", "write two different cities")
        for index, city in enumerate(group.cities or ()):
            if city not in cities():
                unknown = True
                yield _unknown_city((*key, "cities", index), city)
            elif city in (group.cities or ())[:index]:
                yield Fault((*key, "cities", index), f"{city} is given twice", "remove one of the two")
        if not unknown and group.routes is None and not city_pairs(group):
            span = f"{group.min_distance:g} to {group.max_distance:g} km"
            yield Fault(key, f"no two cities are {span} apart", "change min_distance or max_distance")
    if not any(group.share for group in topology.mobiles.values()):
        yield Fault(("mobiles",), "every share is 0", "write a share above 0")


def _correspondents_are_somewhere(topology: Topology) -> Iterator[Fault]:
    for city in topology.correspondents:
        if city not in cities():
            yield _unknown_city(("correspondents", city), city)
    if topology.correspondents and not any(topology.correspondents.values()):
        yield Fault(("correspondents",), "every weight is 0", "write a weight above 0")


_CHECKS: tuple[Callable[[Topology], Iterator[Fault]], ...] = (
    _sites_are_somewhere,
    _roles_fit,
    _basic_nemo_has_a_site,
    _groups_have_somewhere_to_go,
    _correspondents_are_somewhere,
)
