"""How long a mobile router is cut off by a change of attachment, in milliseconds.

    movement detection + duplicate address detection + round trip to the Home Agent + processing

and for another site, if that is not the primary one, a round trip to the primary and its processing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .distribution import Distribution, distribution
from .geography import Floats, Ints
from .resolution import needs
from .run import Run
from .schema import HandOver
from .signalling import ingresses
from .updates import Cause
from .variants import Variant, leaker

DUPLICATE_ADDRESS_DETECTION_MS = 1000.0
"""RFC 4862: one probe, one second."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """Of one variant."""

    all_moves: Distribution
    local: Distribution
    """Another care-of address under the same site."""
    between_sites: Distribution
    former_first: Distribution
    """Between sites, when the Home Agent it had is told first, as `haha mr` does: until packets come by way
    of that one."""
    shortcut: Distribution
    """After that: until the last site knows of the leak, or a site has resolved an on-demand route."""


def gaps(variant: Variant, run: Run, costs: HandOver) -> Gaps:
    """The gaps of all moves."""
    world, fleet, updates = run.world, run.fleet, run.updates
    moves = updates.pick(updates.cause != Cause.REFRESH)
    rows, local = np.arange(len(moves.mobile)), moves.cause == Cause.LOCAL_MOVE
    fixed = costs.movement_detection + costs.processing
    fixed += 0 if costs.optimistic else DUPLICATE_ADDRESS_DETECTION_MS
    access = world.to_sites(fleet.journeys.places(fleet.route[moves.mobile], moves.km))
    none = distribution(np.zeros(0))
    if variant is Variant.BASIC_NEMO:
        gap = fixed + 2 * access[:, run.home_agent]
        return Gaps(distribution(gap), distribution(gap[local]), distribution(gap[~local]), none, none)
    primary = run.primary[moves.mobile]
    to_primary = 2 * world.haha[moves.site, primary] + np.where(moves.site == primary, 0, costs.processing)
    gap = fixed + 2 * access[rows, moves.site] + np.where(local, 0, to_primary)
    by_former = fixed + 2 * access[rows, moves.former]
    return Gaps(
        distribution(gap),
        distribution(gap[local]),
        distribution(gap[~local]),
        distribution(by_former[~local]),
        distribution(_shortcut(variant, run, moves.site[~local], primary[~local])),
    )


def _shortcut(variant: Variant, run: Run, site: Ints, primary: Ints) -> Floats:
    world = run.world
    if variant is Variant.LEAKS:
        by = leaker(world, site, primary)
        by = by[by >= 0]
        last: Floats = np.max(np.where(world.is_primary, world.haha[by], 0), axis=1, initial=0)
        return last
    if variant is Variant.PROJECTION:
        mobile, ingress = ingresses(run)
        egress, primary = run.updates.final_site[mobile], run.primary[mobile]
        asks = needs(ingress, primary, egress).route
        ingress, egress, primary = ingress[asks], egress[asks], primary[asks]
        both_ways: Floats = 2 * (world.haha[ingress, primary] + world.haha[ingress, egress])
        return both_ways
    return np.zeros(0)
