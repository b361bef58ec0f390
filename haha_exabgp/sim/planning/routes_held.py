"""Kernel routes that each border Home Agent holds for mobile routers. Those between sites, a few for each
other site, come on top."""

from __future__ import annotations

import numpy as np

from .geography import Floats, Ints
from .rehearsal import rehearse
from .resolution import needs
from .run import Run
from .signalling import ingresses
from .variants import Variant, leaker


def routes_held(variant: Variant, run: Run) -> Floats:
    """By site, when the clock stops."""
    world, fleet, primary = run.world, run.fleet, run.primary
    count = len(world.names)
    numbers = {int(prefixes): rehearse(int(prefixes), count) for prefixes in np.unique(fleet.prefixes)}
    table = np.array([(one.bound_routes, one.proxied_routes, one.leaked_routes) for one in numbers.values()])
    bound, proxied, leaked = table[np.searchsorted(list(numbers), fleet.prefixes)].T.astype(float)
    site = run.updates.final_site
    if variant is Variant.BASIC_NEMO:
        return _counted(np.full(len(fleet), run.home_agent), bound, count)
    away = site != primary
    held = _counted(site, bound, count) + _counted(primary[away], proxied[away], count)
    if variant is Variant.LEAKS:
        by = leaker(world, site, primary)
        leaks = by >= 0
        told = _counted(by[leaks], leaked[leaks], count)
        held += np.where(world.is_primary, told.sum() - told, 0.0)
        for_satellite = leaks & (by != site)
        held += _counted(by[for_satellite], bound[for_satellite], count)
    elif variant is Variant.PROJECTION:
        mobile, ingress = ingresses(run)
        resolved = needs(ingress, primary[mobile], site[mobile]).route
        held += _counted(ingress[resolved], bound[mobile[resolved]], count)
    return held


def _counted(site: Ints, weights: Floats, count: int) -> Floats:
    counted: Floats = np.bincount(site, weights=weights, minlength=count).astype(np.float64)
    return counted
