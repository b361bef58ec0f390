"""`haha agent`: one border Home Agent's event loop around the protocol core.

Every turn: take in what is there, let the core decide, and have it put into force as one batch (see
`delivery` and `enforcer`). An acknowledgement leaves when what it promises stands in the kernel and on disk.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from ..bgp.messages import EndOfRib, Hello, HookMessage, Learned, Session
from ..kernel.choose_datapath import AUTO, choose_datapath
from ..kernel.guard import HomeAgentGuard, read_traffic
from ..kernel.netlink import NetlinkSocket
from ..kernel.routes import RouteTable
from ..kernel.sockets import DhaadSocket, MobilitySocket, RawSocket, open_prefix_solicitations
from ..kernel.traffic_log import TrafficLog
from ..protocol.effects import Rebind
from ..protocol.home import HomeAgentConfig
from ..protocol.home_agent import HomeAgent
from ..protocol.routes import Audience, KernelRoute
from ..wire.address import Address
from ..wire.errors import MalformedPacket
from ..wire.ipv6 import IcmpPacket, MobilityPacket, parse_from, parse_tunnelled
from .clocks import read_clocks
from .control import Views, serve_control
from .delivery import Delivery
from .draining import Draining
from .enforcer import Enforcer
from .guard_settings import guard_config
from .home_agent_views import home_agent_views
from .hook_link import HookLink
from .icmp_relay import IcmpRelay
from .policies import Policies
from .policy_keeper import PolicyKeeper
from .store import Store
from .switching import Switching

_log = logging.getLogger(__name__)

PACKETS_A_TURN = 64
"""Discovery requests that are answered before something else gets its turn."""
MOST_DECIDED_AHEAD = 512
"""Packets decided about while a batch is under way; more wait in the sockets, so that no acknowledgement
waits for a batch without end."""
CHECK_INTERVAL = 30.0
"""Seconds between two comparisons of all that the kernel should have."""
FEW_TO_COMPARE = 500
"""Bindings whose routes and permits are compared in one go: 25 ms in which nothing is put into force."""
SECOND_LOOK = 1.0
"""Seconds until what seems to be missing is looked for again."""
TRAFFIC_INTERVAL = 1.0
"""Seconds between two counts of what other sites send to mobile routers that are leaked on traffic."""
MOST_COUNTING = 0.05
"""Share of the time that counting may take: of very many it is done less often."""
HOOK_PATIENCE = 5.0
"""Seconds without a hook after which its BGP sessions count as down: a respawned one is back in one."""


class HomeAgentDaemon:
    """The shell of one `protocol.home_agent.HomeAgent`."""

    def __init__(
        self,
        config: HomeAgentConfig,
        lease: float,
        run_dir: Path,
        hook_group: int,
        datapath: str = AUTO,
        *,
        policies: Policies | None = None,
        signalling_rates: tuple[int, int] = (20, 25_000),
    ) -> None:
        """`policies` keeps `config.mobile_routers`; None where they never change. `signalling_rates`:
        mobility messages a second let in from one address, and from all that are not known yet."""
        netlink = NetlinkSocket()
        self._datapath = choose_datapath(datapath, netlink)
        self.config = config = replace(config, nests_tunnels=self._datapath.nests_tunnels)
        self._run_dir = run_dir
        self._hook_group = hook_group
        self.core = HomeAgent(config, random.SystemRandom())
        self._table = RouteTable(netlink, self._datapath)
        self._guard = HomeAgentGuard(guard_config(config, *signalling_rates))
        self._store = Store(run_dir / "bindings.sqlite")
        self._enforcer = Enforcer(config, self._datapath, self._table, self._guard, self._store)
        self._mobility = MobilitySocket()
        self._discovery = DhaadSocket(config.home)
        self._solicitations = open_prefix_solicitations()
        self._traffic = TrafficLog() if config.on_demand is not None else None
        self._icmp_relay: IcmpRelay | None = None
        if not self._datapath.translates_errors:
            self._icmp_relay = IcmpRelay(
                config.outer, lambda: config.outer, self._mobility.send_batch, self.core.counters
            )
        groups = {
            Audience.MESH: config.mesh_sessions,
            Audience.OTHER_SITES: config.other_sites_sessions,
            Audience.SATELLITE: () if config.is_satellite else config.lending_sessions,
            Audience.PARENT: config.lending_sessions if config.is_satellite else (),
            Audience.SITE: (config.site_router,),
        }
        self.hook = HookLink(
            config.asn,
            lease,
            groups,
            self.core.wanted.announcements,
            limit=config.max_learned,
            receive=self._receive_from_hook,
            lost=self._hook_lost,
        )
        self.started = time.time()
        self._delivery = Delivery(
            self.core,
            self._enforcer,
            tell=self.hook.change,
            send=self._mobility.send_batch,
            done=self._resume,
            failed=self._fail,
        )
        self.draining = Draining(self.core, config, run_dir, self._delivery.carry_out)
        self._decided_ahead = 0
        self._is_listening = False
        self._stop = asyncio.Event()
        self._policies = PolicyKeeper(policies, self._policies_changed) if policies is not None else None
        self._subnets = config.home_subnets
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What is in the kernel stays: packets flow on without us.
        Raises OSError when the kernel refuses what everything else stands on, StoreError."""
        _tune_interpreter()
        await self._take_up()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._resume()
        loop.add_reader(self._discovery.fileno(), self._receive_discovery)
        loop.add_reader(self._solicitations.fileno(), self._receive_solicitations)
        if self._icmp_relay is not None:
            loop.add_reader(self._icmp_relay.fileno(), self._icmp_relay.receive)
        if self._traffic is not None:
            loop.add_reader(self._traffic.fileno(), self._receive_notices, self._traffic)
        hook_server = await self.hook.serve(self._run_dir, self._hook_group)
        keepers = [asyncio.create_task(one) for one in (self._keep_kernel_state(), self._count_traffic())]
        actions: Views = {
            "switch": Switching(self.core, self.config, self._delivery.carry_out).switch,
            "drain": self.draining.drain,
        }
        if self._policies is not None:
            loop.add_signal_handler(signal.SIGHUP, self._policies.reload_soon)
            keepers.append(asyncio.create_task(self._policies.watch()))
            actions = {**actions, "reload": self._policies.reload}
        for keeper in keepers:
            keeper.add_done_callback(self._keeper_done)
        control_server = await serve_control(self._run_dir, home_agent_views(self), actions)
        self._delivery.carry_out()
        _log.info("home agent %s of %s serves %s", self.config.name, self.config.site, self.config.home)
        await self._stop.wait()
        for keeper in keepers:
            keeper.cancel()
        hook_server.close()
        control_server.close()
        self._pause()
        await self._delivery.finish()
        self._mobility.close()
        self._discovery.close()
        self._solicitations.close()
        if self._icmp_relay is not None:
            self._icmp_relay.close()
        if self._traffic is not None:
            self._traffic.close()
        await asyncio.to_thread(self._enforcer.close)
        if self._policies is not None:
            self._policies.close()
        if self._failure is not None:
            raise self._failure

    async def kernel_routes(self) -> frozenset[KernelRoute]:
        """What the kernel has, not what it was told; read beside everything else. Raises OSError."""
        return await asyncio.to_thread(self._read_routes)

    def _read_routes(self) -> frozenset[KernelRoute]:
        with NetlinkSocket() as netlink:
            return RouteTable(netlink, self._datapath).present()

    async def guard_counters(self) -> dict[str, int]:
        """Packets that the guard has dropped, by reason. Raises OSError."""
        return await self._enforcer.run(self._guard.counters)

    async def _take_up(self) -> None:
        """Go on from what the kernel and the store have of an earlier run."""
        enforcer = self._enforcer
        await enforcer.run(enforcer.set_up)
        present = await enforcer.run(self._table.present)
        now = read_clocks()
        self.core.routes.restore(present, now.monotonic)
        bindings = self._store.load(now)
        live = sum(one.expires > 0 for one in bindings)
        _log.info("store of bindings: took up %d live and %d ended", live, len(bindings) - live)
        self.core.start(bindings, now, present)
        self.draining.resume(now)
        # Kernel and guard are compared as a whole, and a hook that connects is told all: of what follows from
        # each binding nobody needs to hear.
        effects = [one for one in self.core.take_effects() if not isinstance(one, Rebind)]
        outcome = await enforcer.run(enforcer.enforce_all, effects, self.core.wanted.snapshot(), now)
        self._delivery.enforced(outcome)
        await enforcer.run(enforcer.open_tunnels)
        # What is there now stays: the collector need not look at it again.
        gc.freeze()

    async def _keep_kernel_state(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            try:
                whole = await self._enforcer.run(self._enforcer.mend) and await self._has_all()
            except OSError as error:
                _log.error("cannot mend the kernel's state: %s", error)
                continue
            if not whole:
                _log.warning("the kernel has lost what is ours; setting it up again")
                self._delivery.doubt_kernel()

    async def _count_traffic(self) -> None:
        took = 0.0
        while True:
            await asyncio.sleep(max(TRAFFIC_INTERVAL, took / MOST_COUNTING))
            if not self.core.leaks.counts_traffic:
                continue
            began = time.monotonic()
            try:
                packets = await asyncio.to_thread(read_traffic)
            except OSError as error:
                _log.error("cannot count what other sites send: %s", error)
                continue
            self.core.leaks.count(packets, time.monotonic())
            self._delivery.carry_out()
            took = time.monotonic() - began

    async def _has_all(self) -> bool:
        """Whether kernel and guard have what is wanted: all of it is compared while that takes no time, of
        many bindings some, other ones each time."""
        enforcer = self._enforcer
        if len(self.core.bindings) <= FEW_TO_COMPARE:
            bindings = list(self.core.bindings)
            if not await enforcer.run(enforcer.compare, self.core.wanted.snapshot()):
                return False
        else:
            bindings = random.sample(list(self.core.bindings), FEW_TO_COMPARE)
        if await enforcer.run(enforcer.has, bindings):
            return True
        # What was decided meanwhile may not have been put into force yet.
        await asyncio.sleep(SECOND_LOOK)
        known = (self.core.bindings.get(one.home_address) for one in bindings)
        return await enforcer.run(enforcer.has, [one for one in known if one is not None])

    # In

    def _receive_mobility(self, receiver: RawSocket) -> None:
        datagrams = receiver.receive_batch()
        now = read_clocks()
        receive, counters = self.core.receive_mobility, self.core.counters
        for protocol, data, source, destination, _ in datagrams:
            try:
                packet = parse_from(protocol, data, source, destination)
            except MalformedPacket as error:
                counters[f"dropped_{error.reason}"] += 1
                continue
            if isinstance(packet, MobilityPacket):
                receive(packet, now)
        self._delivery.carry_out(now)
        self._decided_ahead += len(datagrams)
        if not self._delivery.is_under_way:
            self._decided_ahead = 0
        elif self._decided_ahead >= MOST_DECIDED_AHEAD:
            self._pause()

    def _pause(self) -> None:
        self._is_listening = False
        for receiver in self._mobility.receivers:
            asyncio.get_running_loop().remove_reader(receiver.fileno())

    def _resume(self) -> None:
        """What was under way is done, and the next batch may be."""
        self._decided_ahead = 0
        if not self._is_listening:
            self._is_listening = True
            for receiver in self._mobility.receivers:
                asyncio.get_running_loop().add_reader(receiver.fileno(), self._receive_mobility, receiver)

    def _receive_discovery(self) -> None:
        now = read_clocks()
        for _ in range(PACKETS_A_TURN):
            try:
                data = self._discovery.receive()
                if data is None:
                    break
                tunnels, packet = parse_tunnelled(data)
            except OSError as error:
                _log.warning("discovery socket: %s", error)
                break
            except MalformedPacket as error:
                self.core.counters[f"dropped_{error.reason}"] += 1
                continue
            if isinstance(packet, IcmpPacket):
                self.core.receive_discovery(packet, now, tunnels)
        self._delivery.carry_out(now)

    def _receive_solicitations(self) -> None:
        now = read_clocks()
        for protocol, data, source, destination, _ in self._solicitations.receive_batch():
            try:
                packet = parse_from(protocol, data, source, destination)
            except MalformedPacket as error:
                self.core.counters[f"dropped_{error.reason}"] += 1
                continue
            if isinstance(packet, IcmpPacket):
                self.core.receive_solicitation(packet, now)
        self._delivery.carry_out()

    def _receive_notices(self, traffic: TrafficLog) -> None:
        now = read_clocks()
        for destination in traffic.receive():
            self.core.notice_traffic(destination, now)
        self._delivery.carry_out(now)

    def _receive_from_hook(self, message: HookMessage) -> None:
        now = time.monotonic()
        routes = self.core.routes
        match message:
            case Hello():
                routes.relearn(now)
            case Session(peer=peer, up=up, reason=reason):
                if routes.session_up(peer) != up:
                    _log.info("BGP session to %s is %s %s", peer, "up" if up else "down:", reason)
                routes.session_changed(peer, up, now)
            case Learned(peer=peer, announced=announced, withdrawn=withdrawn, refused=refused):
                for gone in withdrawn:
                    routes.forget(peer, gone)
                for route in announced:
                    routes.learn(route)
                for refused_prefix, reason in refused:
                    self.core.counters[f"route_refused_{reason}"] += 1
                    _log.warning("route %s of %s refused: %s", refused_prefix, peer, reason)
            case EndOfRib(peer=peer):
                routes.end_of_rib(peer)
        self._delivery.carry_out()

    def _keeper_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            # An agent that no longer looks after its kernel or its policies would only look well.
            self._fail(task.exception())

    def _policies_changed(self, home_addresses: set[Address]) -> None:
        now = read_clocks()
        self.core.policies_changed(home_addresses, now)
        if self._policies is not None and self._policies.subnets != self._subnets:
            self._subnets = self._policies.subnets
            self.core.renumber(self._subnets, now)
        self._delivery.carry_out()

    def _hook_lost(self) -> None:
        asyncio.get_running_loop().call_later(HOOK_PATIENCE, self._miss_hook)

    def _miss_hook(self) -> None:
        if self.hook.connected:
            return
        _log.warning("no hook for %g s: its BGP sessions count as down", HOOK_PATIENCE)
        for peer in (*self.config.home_agent_sessions, self.config.site_router):
            self.core.routes.session_changed(peer, False, time.monotonic())
        self._delivery.carry_out()

    def _fail(self, failure: BaseException | None) -> None:
        """A mistake of ours: the next process starts from what is on disk, this one would only stand."""
        self._failure = failure
        self._stop.set()


def _tune_interpreter() -> None:
    """For a second thread that sometimes works in system calls, and for 100,000 bindings."""
    # Back from a system call it waits so long for the interpreter; 5 ms, the default, would make a batch of
    # 20 calls last 100.
    sys.setswitchinterval(0.0005)
    # Bindings are no cycles. A full collection looks at all of them, some 100 ms each time.
    gc.set_threshold(50_000, 20, 100)
