"""How many messages and octets each variant costs, by kind and by site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...protocol.resolution import NEGATIVE_TIME, REFRESHES_PER_HOLDING_TIME
from .geography import Floats, Ints, Truths
from .kinds import MESH_BGP, ON_ACCESS_LINK, Kind, Scenario, Side
from .rehearsal import Rehearsal, rehearse
from .resolution import needs
from .run import Run
from .updates import Cause, Updates
from .variants import Variant, leaker

_KINDS = tuple(Kind)
_NUMBER = {kind: number for number, kind in enumerate(_KINDS)}


@dataclass(slots=True)
class Load:
    """What one variant sends in the simulated time."""

    sites: int
    seconds: float
    messages: Floats = field(init=False)
    """By kind, each message once."""
    octets: Floats = field(init=False)
    site_messages: Floats = field(init=False)
    """By kind and site: each message at the Home Agent that sends it and at the one that gets it."""
    site_octets: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.messages, self.octets = np.zeros(len(_KINDS)), np.zeros(len(_KINDS))
        self.site_messages = np.zeros((len(_KINDS), self.sites))
        self.site_octets = np.zeros((len(_KINDS), self.sites))

    def add(self, kind: Kind, octets: int, ends: tuple[Ints, ...], times: Floats) -> None:
        """Messages of one length, one row each, sent so many times; `ends` are the sites that handle them."""
        total, number = float(times.sum()), _NUMBER[kind]
        self.messages[number] += total
        self.octets[number] += total * octets
        for end in ends:
            counted = np.bincount(end, weights=times, minlength=self.sites)
            self.site_messages[number] += counted
            self.site_octets[number] += counted * octets

    def add_to_mesh(self, kind: Kind, octets: int, sender: Ints, times: Floats, mesh: Truths) -> None:
        """BGP messages of `sender` to every other site of the mesh."""
        number, peers = _NUMBER[kind], int(mesh.sum()) - 1
        told = np.bincount(sender, weights=times, minlength=self.sites)
        counted = told * peers + np.where(mesh, told.sum() - told, 0)
        self.messages[number] += told.sum() * peers
        self.octets[number] += told.sum() * peers * octets
        self.site_messages[number] += counted
        self.site_octets[number] += counted * octets

    def rate(self, kinds: tuple[Kind, ...] = _KINDS) -> float:
        """Messages a second of these kinds."""
        return float(sum(self.messages[_NUMBER[kind]] for kind in kinds)) / self.seconds

    def octet_rate(self, kinds: tuple[Kind, ...] = _KINDS) -> float:
        """Octets a second of these kinds."""
        return float(sum(self.octets[_NUMBER[kind]] for kind in kinds)) / self.seconds

    def site_rates(self, kinds: tuple[Kind, ...] = _KINDS) -> Floats:
        """Messages a second by site."""
        rates: Floats = self.site_messages[[_NUMBER[kind] for kind in kinds]].sum(axis=0) / self.seconds
        return rates

    def site_octet_rates(self, kinds: tuple[Kind, ...] = _KINDS) -> Floats:
        """Octets a second by site."""
        rates: Floats = self.site_octets[[_NUMBER[kind] for kind in kinds]].sum(axis=0) / self.seconds
        return rates

    def access_octets_an_hour(self, mobiles: int) -> float:
        """Over the access link of one mobile router, on average."""
        return self.octet_rate(ON_ACCESS_LINK) * 3600 / mobiles


def signalling(variant: Variant, run: Run, holding_time: float) -> Load:
    """The load of one variant. `holding_time` of an on-demand route, in seconds."""
    load = Load(len(run.world.names), run.seconds)
    if variant is Variant.BASIC_NEMO:
        _add_basic(load, run)
        return load
    updates = run.updates
    for rows, scenario, rehearsal in _scenarios(run):
        ends = {
            Side.HERE: updates.site[rows],
            Side.FORMER: updates.former[rows],
            Side.PRIMARY: run.primary[updates.mobile[rows]],
        }
        for sent, count in rehearsal.sent[scenario].items():
            if sent.kind not in MESH_BGP:
                sides = tuple(ends[side] for side in sent.ends)
                load.add(sent.kind, sent.octets, sides, np.full(len(rows), float(count)))
    if variant is Variant.LEAKS:
        _add_leaks(load, run)
    elif variant is Variant.PROJECTION:
        _add_projection(load, run, holding_time)
    return load


def _by_prefixes(run: Run, mobile: Ints) -> Iterator[tuple[Ints, Rehearsal]]:
    """The rows of mobile routers with equally many prefixes, and the rehearsal for that number."""
    prefixes = run.fleet.prefixes[mobile]
    for count in np.unique(prefixes):
        yield np.flatnonzero(prefixes == count), rehearse(int(count), len(run.world.names))


def _scenarios(run: Run) -> Iterator[tuple[Ints, Scenario, Rehearsal]]:
    updates = run.updates
    own = run.primary[updates.mobile]
    direct, left = updates.site == own, updates.former == own
    refresh, local = updates.cause == Cause.REFRESH, updates.cause == Cause.LOCAL_MOVE
    away = updates.cause == Cause.SITE_MOVE
    wanted: dict[Scenario, Truths] = {
        Scenario.REFRESH_DIRECT: refresh & direct,
        Scenario.REFRESH_PROXY: refresh & ~direct,
        Scenario.LOCAL_DIRECT: local & direct,
        Scenario.LOCAL_PROXY: local & ~direct & ~updates.upstream,
        Scenario.LOCAL_PROXY_RENEWED: local & ~direct & updates.upstream,
        Scenario.AWAY: away & left,
        Scenario.BACK: away & direct,
        Scenario.ON: away & ~left & ~direct,
    }
    for scenario, truths in wanted.items():
        chosen = np.flatnonzero(truths)
        for rows, rehearsal in _by_prefixes(run, updates.mobile[chosen]):
            yield chosen[rows], scenario, rehearsal


def _add_basic(load: Load, run: Run) -> None:
    for rows, rehearsal in _by_prefixes(run, run.updates.mobile):
        there = np.full(len(rows), run.home_agent)
        for sent, count in rehearsal.sent[Scenario.REFRESH_DIRECT].items():
            load.add(sent.kind, sent.octets, (there,), np.full(len(rows), float(count)))


def _add_leaks(load: Load, run: Run) -> None:
    world, updates, primary = run.world, run.updates, run.primary
    moves = updates.pick(updates.cause == Cause.SITE_MOVE)
    own, mesh = primary[moves.mobile], world.is_primary
    now, before = leaker(world, moves.site, own), leaker(world, moves.former, own)
    for rows, rehearsal in _by_prefixes(run, moves.mobile):
        told = np.full(len(rows), float(rehearsal.leaked_routes))
        here, there = now[rows], before[rows]
        new, gone = here >= 0, (there >= 0) & (there != here)
        octets = rehearsal.octets
        load.add_to_mesh(Kind.LEAK, octets[Kind.LEAK], here[new], told[new], mesh)
        load.add_to_mesh(Kind.LEAK_WITHDRAWN, octets[Kind.LEAK_WITHDRAWN], there[gone], told[gone], mesh)
    # A parent leaks for its satellite by a secondary binding, renewed with the primary's.
    asks = updates.upstream & (world.parent[updates.site] != updates.site)
    satellites = updates.pick(asks & (leaker(world, updates.site, primary[updates.mobile]) >= 0))
    for rows, rehearsal in _by_prefixes(run, satellites.mobile):
        ends = (satellites.site[rows], world.parent[satellites.site[rows]])
        for kind in (Kind.PROXY_UPDATE, Kind.PROXY_ACKNOWLEDGEMENT):
            load.add(kind, rehearsal.octets[kind], ends, np.ones(len(rows)))


def _add_projection(load: Load, run: Run, holding_time: float) -> None:
    fleet, updates = run.fleet, run.updates
    mobile, ingress = ingresses(run)
    primary, egress = run.primary[mobile], updates.final_site[mobile]
    wanted = needs(ingress, primary, egress)
    holding = np.minimum(holding_time, fleet.lifetime[mobile])
    refreshes = np.where(wanted.route, load.seconds * REFRESHES_PER_HOLDING_TIME / holding, 0.0)
    denials = np.where(wanted.denied, load.seconds / NEGATIVE_TIME, 0.0)
    for rows, rehearsal in _by_prefixes(run, mobile):
        asks, octets = ingress[rows], rehearsal.octets
        for kind in (Kind.RESOLUTION_REQUEST, Kind.RESOLUTION_REPLY):
            load.add(kind, octets[kind], (asks, egress[rows]), refreshes[rows])
        for kind in (Kind.RESOLUTION_REQUEST, Kind.RESOLUTION_DENIED):
            load.add(kind, octets[kind], (asks, primary[rows]), denials[rows])
    moves = updates.pick(updates.cause == Cause.SITE_MOVE)
    first = np.searchsorted(mobile, np.arange(len(fleet) + 1))
    talks = np.diff(first)[moves.mobile]
    # Every move with every ingress that talks to that mobile router.
    start = np.repeat(first[moves.mobile] - np.cumsum(talks) + talks, talks)
    pair = start + np.arange(int(talks.sum()))
    move = np.repeat(np.arange(len(moves.mobile)), talks)
    _add_moves(load, run, moves.pick(move), ingress[pair])


def _add_moves(load: Load, run: Run, moves: Updates, ingress: Ints) -> None:
    """Moves and an ingress each: what the egress that was left had told is purged, the new one resolved."""
    primary = run.primary[moves.mobile]
    told = needs(ingress, primary, moves.former).route.astype(float)
    resolves = needs(ingress, primary, moves.site).route.astype(float)
    for rows, rehearsal in _by_prefixes(run, moves.mobile):
        octets, asks = rehearsal.octets, ingress[rows]
        for kind in (Kind.PURGE, Kind.PURGE_ACKNOWLEDGEMENT):
            load.add(kind, octets[kind], (moves.former[rows], asks), told[rows])
        for kind in (Kind.RESOLUTION_REQUEST, Kind.RESOLUTION_REPLY):
            for answers in (primary, moves.site):
                load.add(kind, octets[kind], (asks, answers[rows]), resolves[rows])


def ingresses(run: Run) -> tuple[Ints, Ints]:
    """Every pair of a mobile router and a site where packets for it come in, by mobile router."""
    sites = len(run.world.names)
    pairs = np.unique(run.fleet.talker * sites + run.world.ingress[run.fleet.correspondent])
    return pairs // sites, pairs % sites
