"""The host of a Home Agent: its kernel, its store, its clock, and the agent that may die at any instant.

What the agent does here is what `agent/` does, in the same order: guard, kernel routes, store, BGP, packets
(`agent/enforcer.py`, `agent/delivery.py`); at the start kernel routes are read back, stored bindings taken
up, and kernel and guard compared as a whole (`agent/home_agent.py`). The store has the records of
`agent/binding_records.py`; what is in it has been synced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import ClassVar, Protocol

from ..agent.batch import Batch, LettingIn
from ..agent.binding_records import pull_binding, push_binding
from ..agent.grace import Grace
from ..protocol.binding import Binding
from ..protocol.effects import Rebind
from ..protocol.home import HomeAgentConfig, LeakPolicy
from ..protocol.home_agent import HomeAgent
from ..protocol.routes import Announcement, LearnedRoute
from ..protocol.time import Now
from ..wire.address import Address, Prefix
from ..wire.errors import MalformedPacket
from ..wire.ipv6 import MobilityPacket, parse_packet
from .bgp import Speaker
from .clock import HostClock
from .kernel import Fate, HomeAgentKernel, changes
from .packets import Packet, signalling
from .timer import ProcessTimer
from .traffic import TrafficCounters, TrafficMeter
from .world import World

IN_FLIGHT_TIME = 2.0
"""Seconds of grace, as in `agent/delivery.py`."""
HOOK_PATIENCE = 5.0
TRAFFIC_INTERVAL = 1.0
"""Seconds, as in `agent/home_agent.py`."""
LOG_DELAY = 0.001
"""Seconds until the agent hears of a packet that the guard logs."""
_DISCOVERY = 144
_SOLICITATION = 146


class HomeAgentObserver(Protocol):
    """Who looks on, and finds fault."""

    def remembered(self, host: HomeAgentHost, binding: Binding) -> None:
        """Something is in the store."""

    def enforced(self, host: HomeAgentHost, batch: Batch) -> None:
        """A batch is in force and told."""

    def transmitted(self, host: HomeAgentHost, octets: bytes) -> None:
        """The agent has sent a packet."""

    def learned(self, host: HomeAgentHost, prefix: Prefix) -> None:
        """The agent has heard of a prefix, and done what follows."""

    def started(self, host: HomeAgentHost) -> None:
        """The agent has taken up what it had, and compared it with what is there."""

    def killed(self, host: HomeAgentHost) -> None:
        """The agent has died."""

    def forgot(self, host: HomeAgentHost) -> None:
        """Nothing is in the store any more."""

    def dropped(self, host: HomeAgentHost, packet: Packet, fate: Fate) -> None:
        """The kernel has dropped a packet."""


class HomeAgentHost:
    """One host; `region` is its site."""

    def __init__(
        self,
        config: HomeAgentConfig,
        region: int,
        world: World,
        clock: HostClock,
        observer: HomeAgentObserver,
    ) -> None:
        self.config = config
        self.name = config.name
        self.region = region
        self.clock = clock
        self._loop = world.loop
        self._network = world.network
        self._random = world.random
        self._trace = world.trace
        self._observer = observer
        self.kernel = HomeAgentKernel(config)
        self.store: dict[Address, bytes] = {}
        """Home address -> record."""
        self.core: HomeAgent | None = None
        """None while no agent runs."""
        self.is_up = False
        self.speaker: Speaker
        self._grace = Grace(IN_FLIGHT_TIME)
        self._peers = frozenset(peer.outer for peer in config.peers)
        self._meter = TrafficMeter(config.on_demand.threshold) if config.on_demand is not None else None
        self.counters = TrafficCounters()
        self._lives = 0
        """Of the agent: what was meant for an earlier one is void."""
        self._timer = ProcessTimer(world.loop, clock, self._on_time)
        self._dies_before: int | None = None
        """Step of the next batch that kills the agent."""

    # Life

    def power_on(self) -> None:
        """The host boots; ExaBGP and the agent are started by its init."""
        self.is_up = True
        self.clock.reboot(self._random.uniform(5, 50))
        self.speaker.start()
        self.start_agent()

    def power_off(self) -> None:
        """Nothing is left but what was synced."""
        if self.is_up:
            self.kill_agent()
            self.is_up = False
            self.kernel.clear()
            self.counters = TrafficCounters()
            self.speaker.die(with_host=True)

    def lose_store(self) -> None:
        """Its disk is another one, and empty."""
        self.store.clear()
        self._observer.forgot(self)

    def start_agent(self) -> None:
        """As `agent.home_agent` does it."""
        if not self.is_up or self.core is not None:
            return
        self._lives += 1
        self._dies_before = None
        self._grace = Grace(IN_FLIGHT_TIME)
        kernel, now = self.kernel, self.clock.read()
        core = self.core = HomeAgent(self.config, Random(self._random.getrandbits(64)))
        kernel.has_haha = True
        present = kernel.present()
        core.routes.restore(present, now.monotonic)
        core.start([pull_binding(record, now) for record in self.store.values()], now, present)
        batch = Batch([one for one in core.take_effects() if not isinstance(one, Rebind)], self.config)
        wanted = core.wanted.snapshot()
        routes, permits, admitted = wanted.in_kernel()
        kernel.set_guard(sorted(permits), sorted(admitted))
        self.counters.unwatch([one for one in self.counters.packets if one not in wanted.watched])
        self.counters.watch(sorted(wanted.watched), self._loop.now)
        if counts_traffic(self.config):
            self._loop.after(TRAFFIC_INTERVAL, self._count_traffic, self._lives)
        replace, delete = changes(routes, kernel.present())
        kernel.replace(replace)
        kernel.delete(delete)
        self._save(batch, now)
        kernel.tunnel_is_open = True
        self.speaker.agent_started()
        self._trace.add(None, self.name, "agent started, %d bindings live", len(core.bindings))
        self._observer.started(self)
        self._transmit(batch, now)
        self.carry_out(now)

    def kill_agent(self) -> None:
        """`kill -9`; what is in the kernel stays."""
        if self.core is not None:
            self.core = None
            self._lives += 1
            self._timer.cancel()
            self.speaker.agent_died()
            self._trace.add(None, self.name, "agent killed")
            self._observer.killed(self)

    def kill_agent_before(self, step: int) -> None:
        """Kill it in the middle of the next batch that promises something, before one of its `STEPS`;
        -1: not any more."""
        if self.core is not None:
            self._dies_before = step if step >= 0 else None

    def reaches(self, other: HomeAgentHost) -> bool:
        """Whether its kernel has a way to the HAHA address of another, which takes it in."""
        route = self.kernel.lookup(other.config.haha)
        leads_there = route is not None and route.tunnel_exit == other.config.outer
        return self.is_up and leads_there and other.kernel.tunnel_is_open and other.kernel.has_haha

    # In

    def arrive(self, packet: Packet) -> None:
        """A packet reaches the host."""
        if not self.is_up:
            return
        core = self.core
        if not packet.tunnels and packet.octets is not None and packet.destination != self.config.outer:
            # Discovery is taken off the link; the guard drops the original.
            if core is not None:
                self._receive(core, packet)
            return
        if self.counters.packets and packet.tunnels and packet.tunnels[-1][0] in self._peers:
            self.counters.count(packet.destination, self._loop.now)
        fate = self.kernel.receive(packet)
        if fate is Fate.SENT:
            self._network.send(packet, self.region)
            if self._meter is not None and core is not None and packet.tunnels:
                self._notice(self._meter, packet)
        elif fate is Fate.LOCAL:
            if core is not None and packet.octets is not None:
                self._receive(core, packet)
        else:
            self._observer.dropped(self, packet, fate)

    def _receive(self, core: HomeAgent, packet: Packet) -> None:
        assert packet.octets is not None
        now = self.clock.read()
        try:
            parsed = parse_packet(packet.octets)
        except MalformedPacket as error:
            core.counters[f"dropped_{error.reason}"] += 1
            return
        if isinstance(parsed, MobilityPacket):
            core.receive_mobility(parsed, now)
        elif parsed.message[0] == _DISCOVERY:
            core.receive_discovery(parsed, now)
        elif parsed.message[0] == _SOLICITATION:
            core.receive_solicitation(parsed, now)
        self.carry_out(now)

    def _notice(self, meter: TrafficMeter, packet: Packet) -> None:
        config, destination = self.config, packet.destination
        if packet.tunnels[-1][1] not in self._peers or not config.home.contains(destination):
            return
        if not config.is_primary_for(destination) and meter.notices(destination, self._loop.now):
            self._loop.after(LOG_DELAY, self._hear_of_traffic, destination, self._lives)

    def _hear_of_traffic(self, destination: Address, life: int) -> None:
        if life == self._lives and self.core is not None:
            self.core.notice_traffic(destination, self.clock.read())
            self.carry_out(self.clock.read())

    def _count_traffic(self, life: int) -> None:
        if life != self._lives or self.core is None:
            return
        if self.core.leaks.counts_traffic:
            now = self.clock.read()
            self.core.leaks.count(self.counters.packets, now.monotonic)
            self.carry_out(now)
        self._loop.after(TRAFFIC_INTERVAL, self._count_traffic, life)

    def operate(self, act: Callable[[HomeAgent, Now], object]) -> None:
        """Somebody asks something of the agent by its control socket."""
        if self.core is not None:
            now = self.clock.read()
            act(self.core, now)
            self.carry_out(now)

    # The link to the hook

    def hook_connected(self) -> Sequence[Announcement]:
        """The whole set is told."""
        assert self.core is not None
        return sorted(self.core.wanted.announcements())

    def hook_lost(self) -> None:
        """It may be back soon."""
        self._loop.after(HOOK_PATIENCE, self._miss_hook, self._lives)

    def _miss_hook(self, life: int) -> None:
        if life != self._lives or self.core is None or self.speaker.link:
            return
        for peer in self.config.peers:
            self.core.routes.session_changed(peer.haha, False, self.clock.read().monotonic)
        self.carry_out(self.clock.read())

    def hear_hello(self, link: int) -> None:
        """A hook begins to tell."""
        if self.core is not None and link == self.speaker.link:
            self.core.routes.relearn(self.clock.read().monotonic)
            self.carry_out(self.clock.read())

    def hear_session(self, link: int, peer: Address, up: bool) -> None:
        """A BGP session came up or went down."""
        if self.core is not None and link == self.speaker.link:
            if self.core.routes.session_up(peer) != up:
                self._trace.add(None, self.name, "BGP session to %s is %s", peer, "up" if up else "down")
            self.core.routes.session_changed(peer, up, self.clock.read().monotonic)
            self.carry_out(self.clock.read())

    def hear_routes(
        self, link: int, peer: Address, announced: tuple[LearnedRoute, ...], gone: tuple[Prefix, ...]
    ) -> None:
        """BGP routes."""
        core = self.core
        if core is None or link != self.speaker.link:
            return
        for prefix in gone:
            core.routes.forget(peer, prefix)
        for route in announced:
            core.routes.learn(route)
        self.carry_out(self.clock.read())
        if self.core is core:
            for prefix in (*gone, *[route.prefix for route in announced]):
                self._observer.learned(self, prefix)

    def hear_end_of_rib(self, link: int, peer: Address) -> None:
        """A peer has told all it has."""
        if self.core is not None and link == self.speaker.link:
            self.core.routes.end_of_rib(peer)
            self.carry_out(self.clock.read())

    # Out

    def carry_out(self, now: Now) -> None:
        """Put what the core has decided into force, and have its timer go off."""
        core = self.core
        if core is None:
            return
        effects = core.take_effects()
        keeping_out = self._grace.pop_due(now.monotonic)
        if keeping_out:
            self.kernel.keep_out(keeping_out)
        if effects:
            batch = Batch(effects, self.config)
            if self._dies_before is not None and not self._survives(batch, now):
                return
            for step in self.STEPS:
                step(self, batch, now)
        self._set_timer(core)

    def _survives(self, batch: Batch, now: Now) -> bool:
        """Carry a batch out up to the step that kills the agent."""
        assert self._dies_before is not None
        if not (batch.packets or batch.bindings):
            return True  # it waits for a batch that promises something
        last, self._dies_before = self._dies_before, None
        for step in self.STEPS[:last]:
            step(self, batch, now)
        self.kill_agent()
        return False

    def _enforce_guard(self, batch: Batch, now: Now) -> None:
        if batch.guard:
            self.kernel.let_in([one for one in batch.guard if isinstance(one, LettingIn)])
        if batch.watched:
            self.counters.watch([one for one, begins in batch.watched.items() if begins], self._loop.now)
            self.counters.unwatch([one for one, begins in batch.watched.items() if not begins])

    def _enforce_routes(self, batch: Batch, now: Now) -> None:
        if batch.routes:
            self.kernel.replace(batch.replaced_routes())
            self.kernel.delete(batch.deleted_routes())

    def _save(self, batch: Batch, now: Now) -> None:
        for home_address, binding in batch.bindings.items():
            self.store[home_address] = push_binding(binding, now)
            self._observer.remembered(self, binding)

    def _tell(self, batch: Batch, now: Now) -> None:
        self._grace.take(batch.guard, now.monotonic)
        if batch.announce or batch.withdraw:
            self.speaker.change(batch.announce.values(), batch.withdraw.values())
        self._observer.enforced(self, batch)

    def _transmit(self, batch: Batch, now: Now) -> None:
        for note in batch.notes:
            self._trace.add(None, self.name, note.template, *note.values)
        for octets in batch.packets:
            self._observer.transmitted(self, octets)
            packet = signalling(octets)
            fate = self.kernel.forward(packet)
            if fate is Fate.SENT:
                self._network.send(packet, self.region)

    STEPS: ClassVar[tuple[Callable[[HomeAgentHost, Batch, Now], None], ...]] = (
        _enforce_guard,
        _enforce_routes,
        _save,
        _tell,
        _transmit,
    )
    """What becomes of a batch, in this order."""

    # Time

    def _set_timer(self, core: HomeAgent) -> None:
        due, later = core.next_timer(), self._grace.next_due()
        self._timer.set(later if due is None or (later is not None and later < due) else due)

    def _on_time(self, now: Now) -> None:
        assert self.core is not None
        self.core.handle_timer(now)
        self.carry_out(now)


def counts_traffic(config: HomeAgentConfig) -> bool:
    """Whether any mobile router may be leaked on traffic."""
    policies = [one.leak or config.leak for one in config.mobile_routers.values()]
    return LeakPolicy.ON_TRAFFIC in policies
