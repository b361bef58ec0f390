"""One simulation: a Home that a seed draws, with everything that happens to it.

Storms of faults come and go. In the calm after a storm mobile routers move on for a while, and then rest for
so long that all must be well.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from ..protocol.home import ReplayProtectionMode
from ..protocol.registration import REPLAY_WINDOW
from ..wire.address import Address
from . import bounds
from .bgp import Speaker
from .bgp_sessions import Mesh
from .clock import HostClock
from .faults import Faults
from .home import HOME, MAX_LIFETIME, Home, draw_home
from .home_agent import HomeAgentHost
from .invariants import Invariants, names_of
from .loop import EventLoop, Standstill
from .mobile_router import MobileRouterHost
from .mobility import Correspondent, Movement, Traffic
from .network import Network
from .scenario import Extent, Fault, draw_storm
from .site_router import SiteRouter
from .trace import Trace
from .violation import Invariant, Violation
from .world import World

_SWEEP = 1.0
_SWEEP_AT_REST = 5.0
_MOVES_IN_CALM = (0.0, 60.0)
_SERVICE = 30.0
"""Seconds: between two sweeps, in motion and at rest; of moves in calm; at rest when all must be well."""
_BUSY = 0.4
_QUIET = 2.0
"""Seconds between two data packets of one mobile router: while things happen, while it is waited for calm."""
_CLOCK_ERROR = 0.5
"""Seconds that clocks differ by when nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What was found. `story` is to be read."""

    invariant: Invariant
    time: float
    home_address: Address | None
    text: str
    story: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Of one seed."""

    seed: int
    events: int
    seconds: float
    """Virtual ones."""
    faults: tuple[Fault, ...]
    without: frozenset[int]
    """Numbers of those that were left out."""
    bindings: int
    """Made or changed, at all Home Agents."""
    failure: Failure | None
    worst: dict[Invariant, float]
    """Of what has a bound, the longest that was seen, in seconds."""


class Simulation:
    """Everything that one seed makes."""

    def __init__(
        self,
        seed: int,
        *,
        without: frozenset[int] = frozenset(),
        sink: Callable[[str], None] | None = None,
    ) -> None:
        """`without`: numbers of faults that are left out. `sink` gets every line of the trace."""
        root = Random(seed)
        streams = {
            name: Random(root.getrandbits(64)) for name in ("home", "network", "hosts", "storms", "moves")
        }
        self.seed = seed
        self._without = without
        self._storms = streams["storms"]
        self.loop = loop = EventLoop()
        self.home = home = draw_home(streams["home"])
        self.trace = Trace(loop, sink)
        self.trace.names, self.trace.home_addresses = names_of(home), home.networks
        self.invariants = Invariants(loop, home, self.trace)
        self.network = Network(loop, streams["network"], HOME, home.delays, self.invariants.packets.lost)
        self._moves_until = 0.0
        self._rests_until = 0.0
        self.drawn: list[Fault] = []
        world = World(loop, self.network, streams["hosts"], self.trace)
        self.hosts = self._make_home_agents(home, world)
        self.mobile_routers = self._make_mobile_routers(home, world)
        self._populate(home, streams["moves"])
        self.invariants.situation.hosts = self.hosts
        self.invariants.situation.weather = self.network.weather
        self._faults = Faults(world, self.hosts, self.mobile_routers, self._clock_set, self._disturbed)

    def run(self, events: int) -> Result:
        """Let so many events happen, or fewer when an invariant is broken."""
        failure = None
        try:
            for host in self.hosts:
                host.power_on()
            self.invariants.situation.calm_since = 0.0
            self._sweep()
            while self.loop.events < events:
                self._storm_and_calm(events)
        except Violation as violation:
            failure = self._failure(violation.invariant, violation.home_address, str(violation))
        except Standstill as standstill:
            failure = self._failure(Invariant.TIME_PASSES, None, str(standstill))
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            failure = self._failure(Invariant.NO_EXCEPTION, None, text)
        done = tuple(one for one in self.drawn if one.number not in self._without)
        bindings, worst = self.invariants.bindings.bindings, self.invariants.situation.worst
        loop = self.loop
        return Result(self.seed, loop.events, loop.now, done, self._without, bindings, failure, worst)

    def _storm_and_calm(self, events: int) -> None:
        loop, situation = self.loop, self.invariants.situation
        extent = Extent(len(self.home.sites), len(self.hosts), len(self.mobile_routers))
        faults = draw_storm(self._storms, loop.now, len(self.drawn) + 1, extent)
        moves = self._storms.uniform(*_MOVES_IN_CALM)
        self.drawn += faults
        end = max(fault.end for fault in faults)
        self._moves_until = end + moves
        self._rests_until = math.inf
        situation.calm_since, situation.clocks_were_true = None, True
        for fault in faults:
            if fault.number not in self._without:
                self._faults.plan(fault)
        loop.run(end, events)
        if loop.events < events:
            self._faults.repair_all()
            situation.calm_since = loop.now
            self.trace.add(None, "", "calm")
            self._rests_until = self._moves_until + bounds.REACHABLE + _SERVICE
            if not situation.clocks_were_true:
                self._rests_until += MAX_LIFETIME
            loop.run(self._rests_until, events)

    # Making

    def _make_home_agents(self, home: Home, world: World) -> list[HomeAgentHost]:
        loop, network, random = world.loop, world.network, world.random
        mesh = Mesh(loop, random, self._latency)
        hosts: list[HomeAgentHost] = []
        lost = self.invariants.packets.lost
        routers = [SiteRouter(region, HOME, self._exporter(region), lost) for region in home.sites]
        for number, (config, region) in enumerate(zip(home.home_agents, home.regions, strict=True)):
            host = HomeAgentHost(config, region, world, _draw_clock(world), self.invariants)
            session = routers[region].add(loop)
            host.speaker = Speaker(mesh, config, host, session, loop=loop, random=random)
            mesh.add(host.speaker, config.home_agent_sessions)
            network.add(config.outer, host, number)
            hosts.append(host)
        for router in routers:
            router.home_agents = {host.config.outer: host for host in hosts if host.region == router.region}
            alone = len(router.home_agents) == 1
            network.add_entrance(next(iter(router.home_agents.values())) if alone else router)
        self._host_of = {host.config.haha: host for host in hosts}
        return hosts

    def _make_mobile_routers(self, home: Home, world: World) -> list[MobileRouterHost]:
        hosts = []
        for config in home.mobile_routers:
            # Numbers alone do not tell several primaries what is newer, if they begin anywhere.
            primaries = self.invariants.situation.primaries[config.home_address]
            counts = config.replay is ReplayProtectionMode.SEQUENCE and len(primaries) > 1
            hosts.append(
                MobileRouterHost(
                    config,
                    home.networks[config.home_address],
                    world,
                    _draw_clock(world),
                    self.invariants.packets,
                    goes_on_counting=counts,
                )
            )
        return hosts

    def _populate(self, home: Home, random: Random) -> None:
        for region in home.sites:
            correspondent = Correspondent(region)
            self.network.add(correspondent.address, correspondent)
        for host in self.mobile_routers:
            own = World(self.loop, self.network, Random(random.getrandbits(64)), self.trace)
            Movement(host, len(home.sites), own, lambda: self.loop.now < self._moves_until)
            own = World(self.loop, self.network, Random(random.getrandbits(64)), self.trace)
            Traffic(host, len(home.sites), own, self.invariants.packets, self._interval)

    def _exporter(self, region: int) -> Callable[[bool], None]:
        def export(yes: bool) -> None:
            if self.network.exports[region] != yes:
                self.network.exports[region] = yes
                what = "announces Home to the Internet" if yes else "withdraws Home from the Internet"
                self.trace.add(None, f"site{region + 1}", what)

        return export

    # What parts ask

    def _interval(self) -> float:
        now = self.loop.now
        return _QUIET if self._moves_until < now < self._rests_until - _SERVICE else _BUSY

    def _latency(self, one: Address, other: Address) -> float | None:
        here, there = self._host_of[one], self._host_of[other]
        network = self.network
        if (here.region, there.region) in network.weather.cuts:
            return None
        if network.separates(here.config.outer, there.config.outer):
            return None
        if not (here.reaches(there) and there.reaches(here)):
            return None
        return network.delays[here.region][there.region]

    def _clock_set(self, error: float) -> None:
        if abs(error) > REPLAY_WINDOW / 2:
            situation = self.invariants.situation
            situation.clocks_are_true = situation.clocks_were_true = False

    def _disturbed(self) -> None:
        self.invariants.situation.disturbed_at = self.loop.now

    def _sweep(self) -> None:
        self.invariants.sweep()
        resting = self.loop.now > self._moves_until
        self.loop.after(_SWEEP_AT_REST if resting else _SWEEP, self._sweep)

    def _failure(self, invariant: Invariant, home_address: Address | None, text: str) -> Failure:
        story = tuple(self.trace.story(home_address))
        return Failure(invariant, self.loop.now, home_address, text, story)


def _draw_clock(world: World) -> HostClock:
    random = world.random
    return HostClock(world.loop, random.uniform(10, 1e5), random.uniform(-_CLOCK_ERROR, _CLOCK_ERROR))
