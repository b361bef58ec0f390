"""Everything that planning says about a topology, from one seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .distribution import Distribution, distribution
from .fleet import build_fleet, primary_sites
from .geography import Floats
from .hand_over import Gaps, gaps
from .kinds import MESH_BGP, SITE_BGP, Kind
from .paths import Paths, best_home_agent, pairs_of, paths
from .routes_held import routes_held
from .run import Run
from .signalling import Load, signalling
from .site_count import StretchBySites, stretch_by_sites
from .topology import LoadedTopology
from .updates import MAX_UPDATES, Cause, expected_updates, send_updates
from .variants import Variant
from .world import build_world


class TooMuch(Exception):
    """More than can be simulated in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class VariantEstimate:
    """One variant."""

    gaps: Gaps
    load: Load
    routes: Floats
    """Held for mobile routers, by site."""
    paths: Paths
    stretch: Distribution
    stretch_towards_mobile: Distribution
    extra_ms: Distribution
    internet_updates: float
    """BGP updates a second that the Internet sees."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """All of it."""

    run: Run
    seed: int
    variants: dict[Variant, VariantEstimate]
    by_sites: StretchBySites

    @property
    def updates_if_announced_globally(self) -> float:
        """BGP updates a second at every router of the Internet, if each site announced the prefixes that it
        serves to everybody, as Connexion by Boeing did: the other way to get short paths."""
        updates, prefixes = self.run.updates, self.run.fleet.prefixes
        return float(prefixes[updates.mobile[updates.cause == Cause.SITE_MOVE]].sum()) / self.run.seconds

    def moves_a_second(self, cause: Cause) -> float:
        """Changes of attachment of one sort."""
        return float(np.sum(self.run.updates.cause == cause)) / self.run.seconds


def estimate(loaded: LoadedTopology, mobiles: int, seconds: float, seed: int) -> Estimate:
    """Simulate `mobiles` mobile routers for some time. Raises TooMuch."""
    topology = loaded.topology
    world = build_world(loaded)
    random = np.random.default_rng(seed)
    fleet = build_fleet(topology, world, mobiles, random)
    expected = expected_updates(fleet, seconds)
    if expected > MAX_UPDATES:
        raise TooMuch(
            f"that is about {expected:.2g} Binding Updates, and {MAX_UPDATES:.2g} are the most; simulate"
            " fewer hours or mobile routers"
        )
    primary = primary_sites(world, fleet)
    updates = send_updates(fleet, primary, seconds, random)
    places = fleet.journeys.places(fleet.route, updates.final_km)
    named = topology.basic_nemo
    home_agent = world.names.index(named) if named is not None else best_home_agent(world, places)
    run = Run(world, fleet, primary, updates, seconds, home_agent)
    pairs = pairs_of(fleet, world, updates.final_km)
    variants = {}
    for variant in Variant:
        load = signalling(variant, run, topology.holding_time)
        way = paths(variant, world, pairs, home_agent)
        variants[variant] = VariantEstimate(
            gaps=gaps(variant, run, topology.hand_over),
            load=load,
            routes=routes_held(variant, run),
            paths=way,
            stretch=distribution(way.stretch),
            stretch_towards_mobile=distribution(way.stretch_towards_mobile),
            extra_ms=distribution(way.extra),
            internet_updates=load.rate((Kind.HOME_ROUTE,)),
        )
    by_sites = stretch_by_sites(fleet, world, updates.final_km)
    return Estimate(run, seed, variants, by_sites)


def as_json(result: Estimate) -> dict[str, object]:
    """The numbers for programs: rates are per second, times in milliseconds."""
    run = result.run
    names = run.world.names
    return {
        "mobile_routers": len(run.fleet),
        "seconds": run.seconds,
        "seed": result.seed,
        "sites": list(names),
        "basic_nemo_home_agent": names[run.home_agent],
        "local_moves": result.moves_a_second(Cause.LOCAL_MOVE),
        "moves_between_sites": result.moves_a_second(Cause.SITE_MOVE),
        "internet_updates_if_announced_globally": result.updates_if_announced_globally,
        "variants": {
            variant.name.lower(): _variant_json(one, names, len(run.fleet))
            for variant, one in result.variants.items()
        },
        "stretch_by_sites": [
            {"sites": list(order), **{variant.name.lower(): mean for variant, mean in means.items()}}
            for order, means in result.by_sites.rows()
        ],
    }


def _variant_json(one: VariantEstimate, names: tuple[str, ...], mobiles: int) -> dict[str, object]:
    load = one.load
    messages, octets = load.site_rates(), load.site_octet_rates()
    mesh, own = load.site_rates(MESH_BGP), load.site_rates(SITE_BGP)
    return {
        "hand_over_ms": asdict(one.gaps),
        "stretch": asdict(one.stretch),
        "stretch_towards_mobile": asdict(one.stretch_towards_mobile),
        "extra_round_trip_ms": asdict(one.extra_ms),
        "messages": load.rate(),
        "octets": load.octet_rate(),
        "access_link_octets_an_hour": load.access_octets_an_hour(mobiles),
        "by_kind": {
            kind.name.lower(): {"messages": load.rate((kind,)), "octets": load.octet_rate((kind,))}
            for kind in Kind
            if load.rate((kind,))
        },
        "bgp_updates": {
            "internet": one.internet_updates,
            "between_sites": load.rate(MESH_BGP),
            "to_own_sites": load.rate(SITE_BGP),
        },
        "by_site": {
            name: {
                "messages": float(messages[site]),
                "octets": float(octets[site]),
                "bgp_between_sites": float(mesh[site]),
                "bgp_to_own_site": float(own[site]),
                "routes": float(one.routes[site]),
            }
            for site, name in enumerate(names)
        },
    }
