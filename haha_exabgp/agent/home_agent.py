"""`haha agent`: one border Home Agent's event loop around the protocol core.

Every turn: take in what is there, let the core decide, then carry its effects out in one batch: kernel
routes and guard first, then the store, then BGP, then the packets. An acknowledgement so leaves only when
what it promises stands in the kernel and on disk.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sqlite3
import time
from pathlib import Path

from ..bgp.messages import EndOfRib, Hello, HookMessage, Learned, Session
from ..kernel.choose_datapath import AUTO, choose_datapath
from ..kernel.guard import HomeAgentGuard
from ..kernel.guard_rules import HomeAgentGuardConfig
from ..kernel.netlink import NetlinkSocket
from ..kernel.route_messages import Route
from ..kernel.routes import RouteFailure, RouteTable, changes_of
from ..kernel.sockets import DhaadSocket, MobilitySocket, RawSocket
from ..protocol.binding import Binding
from ..protocol.effects import (
    Announce,
    DeleteRoute,
    Effect,
    Note,
    Permit,
    Remember,
    Revoke,
    SetRoute,
    Transmit,
    Withdraw,
)
from ..protocol.home import HomeAgentConfig
from ..protocol.home_agent import HomeAgent
from ..protocol.routes import Announcement, Audience, KernelRoute
from ..wire.address import Address, Prefix
from ..wire.errors import MalformedPacket
from ..wire.ipv6 import IcmpPacket, MobilityPacket, parse_from, parse_packet
from .clocks import read_clocks
from .control import serve_control
from .home_agent_views import home_agent_views
from .hook_link import HookLink
from .store import Store

_log = logging.getLogger(__name__)

PACKETS_A_TURN = 64
"""Received packets that are decided about before their effects are carried out together."""
CHECK_INTERVAL = 30.0
"""Seconds between two comparisons of all that the kernel should have."""
IN_FLIGHT_TIME = 2.0
"""Seconds that packets under way when a binding changed are still let in: a mobile router sends by the Home
Agent that it had until the new one has acknowledged."""
RETRY_DELAY = 1.0
"""Seconds after the kernel or the store refused something before it is tried again."""
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
    ) -> None:
        self.config = config
        self._run_dir = run_dir
        self._hook_group = hook_group
        self.core = HomeAgent(config, random.SystemRandom())
        netlink = NetlinkSocket()
        self.datapath = choose_datapath(datapath, netlink)
        self.table = RouteTable(netlink, self.datapath)
        self.guard = HomeAgentGuard(
            HomeAgentGuardConfig(
                home=config.home,
                partition=config.partition,
                haha=config.haha,
                tunnel_ends=frozenset({config.outer}),
                peers=frozenset(peer.outer for peer in config.peers),
                peer_hahas=frozenset(peer.haha for peer in config.peers),
            )
        )
        self.store = Store(run_dir / "bindings.sqlite")
        self._mobility = MobilitySocket()
        self._discovery = DhaadSocket(config.home)
        groups = {
            Audience.MESH: tuple(peer.haha for peer in config.peers),
            Audience.SITE: (config.site_router,),
        }
        self.hook = HookLink(
            config.asn,
            lease,
            groups,
            self.core.wanted.announcements,
            receive=self._receive_from_hook,
            lost=self._hook_lost,
        )
        self.started = time.time()
        self._timer: asyncio.TimerHandle | None = None
        self._held: list[Effect] = []
        self._kernel_in_doubt = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What is in the kernel stays: packets flow on without us.
        Raises OSError when the kernel refuses what everything else stands on."""
        # In a thread, because pyroute2's plain calls run an event loop of their own.
        await asyncio.to_thread(self._set_up)
        self._take_up()
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        for receiver in self._mobility.receivers:
            loop.add_reader(receiver.fileno(), self._receive_mobility, receiver)
        loop.add_reader(self._discovery.fileno(), self._receive_discovery)
        hook_server = await self.hook.serve(self._run_dir, self._hook_group)
        control_server = await serve_control(self._run_dir, home_agent_views(self))
        self._carry_out()
        _log.info("home agent %s of %s serves %s", self.config.name, self.config.site, self.config.home)
        keeping = asyncio.create_task(self._keep_kernel_state())
        await stop.wait()
        keeping.cancel()
        hook_server.close()
        control_server.close()
        self._mobility.close()
        self._discovery.close()
        self.store.close()

    def _set_up(self) -> None:
        self.datapath.setup()
        self.datapath.set_inner_addresses({self.config.haha})

    def _take_up(self) -> None:
        """Go on from what the kernel and the store have of an earlier run."""
        now = read_clocks()
        self.core.routes.restore(self.table.present(), now.monotonic)
        self.core.start(self.store.load(now), now)
        self._kernel_in_doubt = True
        self._carry_out()
        self.datapath.set_tunnel_ends({self.config.outer}, source=self.config.outer)

    async def _keep_kernel_state(self) -> None:
        """Somebody else's hand (a firewall reload, a network manager) may take away what is ours: compare
        all of it from time to time."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            try:
                await asyncio.to_thread(self._set_up)
                self.datapath.set_tunnel_ends({self.config.outer}, source=self.config.outer)
                failures = self.table.reconcile(self.core.wanted.routes())
                if failures or not self.guard.intact():
                    _log.warning("the kernel has lost what is ours; setting it up again")
                    self._kernel_in_doubt = True
                    self._carry_out()
            except OSError as error:
                _log.error("cannot mend the kernel's state: %s", error)

    # In

    def _receive_mobility(self, receiver: RawSocket) -> None:
        now = read_clocks()
        for _ in range(PACKETS_A_TURN):
            datagram = receiver.receive()
            if datagram is None:
                break
            try:
                packet = parse_from(datagram.protocol, datagram.data, datagram.source, datagram.destination)
            except MalformedPacket as error:
                self.core.counters[f"dropped_{error.reason}"] += 1
                continue
            if isinstance(packet, MobilityPacket):
                self.core.receive_mobility(packet, now)
        self._carry_out()

    def _receive_discovery(self) -> None:
        now = read_clocks()
        for _ in range(PACKETS_A_TURN):
            try:
                data = self._discovery.receive()
                if data is None:
                    break
                packet = parse_packet(data)
            except OSError as error:
                _log.warning("discovery socket: %s", error)
                break
            except MalformedPacket as error:
                self.core.counters[f"dropped_{error.reason}"] += 1
                continue
            if isinstance(packet, IcmpPacket):
                self.core.receive_discovery(packet, now)
        self._carry_out()

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
        self._carry_out()

    def _hook_lost(self) -> None:
        asyncio.get_running_loop().call_later(HOOK_PATIENCE, self._miss_hook)

    def _miss_hook(self) -> None:
        if self.hook.connected:
            return
        _log.warning("no hook for %g s: its BGP sessions count as down", HOOK_PATIENCE)
        for peer in (*(peer.haha for peer in self.config.peers), self.config.site_router):
            self.core.routes.session_changed(peer, False, time.monotonic())
        self._carry_out()

    def _on_timer(self) -> None:
        self._timer = None
        self.core.handle_timer(read_clocks())
        self._carry_out()

    # Out

    def _carry_out(self) -> None:
        effects = [*self._held, *self.core.take_effects()]
        self._held = []
        if effects or self._kernel_in_doubt:
            self._apply(_Batch(effects))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.core.next_timer()
        if due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(due - time.monotonic(), 0.0), self._on_timer)

    def _apply(self, batch: _Batch) -> None:
        for note in batch.notes:
            _log.info("%s", note)
        if batch.revocations:
            loop = asyncio.get_running_loop()
            loop.call_later(IN_FLIGHT_TIME, self._revoke, batch.revocations)
        in_kernel, on_disk = self._apply_to_kernel(batch), self._save(batch)
        if in_kernel:
            self.hook.change(batch.announce.values(), batch.withdraw.keys())
        else:
            self._held += [Announce(one) for one in batch.announce.values()]
            self._held += [Withdraw(one) for one in batch.withdraw.values()]
        if not on_disk:
            self._held += [Remember(one) for one in batch.bindings.values()]
        if in_kernel and on_disk:
            self._send(batch.packets)
        else:
            # Nothing is promised that is not there; whoever asked will ask again.
            self.core.counters["answers_withheld"] += len(batch.packets)
            asyncio.get_running_loop().call_later(RETRY_DELAY, self._carry_out)

    def _send(self, packets: list[bytes]) -> None:
        for packet in packets:
            try:
                self._mobility.send(packet)
            except OSError as error:
                self.core.counters["send_failures"] += 1
                _log.warning("cannot send to %s: %s", Address(packet[24:40]), error)

    def _apply_to_kernel(self, batch: _Batch) -> bool:
        """Make the changes of a batch; after a refusal make all that is wanted instead, until that is in
        force: what one batch could not do, the next must not take for done."""
        try:
            if self._kernel_in_doubt:
                self.guard.setup(self.core.wanted.permits())
                refused = list(map(_told, self.table.reconcile(self.core.wanted.routes())))
            else:
                self.guard.apply(batch.permits)
                refused = list(map(_told, self.table.apply(changes_of(batch.routes))))
        except OSError as error:
            refused = [str(error)]
        for reason in refused:
            _log.error("the kernel refuses: %s", reason)
        self.core.counters["kernel_refusals"] += len(refused)
        self._kernel_in_doubt = bool(refused)
        return not refused

    def _revoke(self, revocations: list[Revoke]) -> None:
        wanted = self.core.wanted.permits()
        try:
            self.guard.apply([one for one in revocations if (one.outer, one.inner) not in wanted])
        except OSError as error:
            _log.error("the guard refuses: %s", error)
            self._kernel_in_doubt = True
            self._carry_out()

    def _save(self, batch: _Batch) -> bool:
        if not batch.bindings:
            return True
        try:
            self.store.save(batch.bindings.values(), read_clocks())
        except sqlite3.Error as error:
            _log.error("the store of bindings refuses: %s", error)
            return False
        return True


def _told(failure: RouteFailure[Route] | RouteFailure[KernelRoute]) -> str:
    return f"route {failure.route.prefix}: {failure.reason}"


class _Batch:
    """The effects of one turn by where they go; of several about one thing the last counts."""

    def __init__(self, effects: list[Effect]) -> None:
        self.effects = effects
        self.routes: list[SetRoute | DeleteRoute] = []
        self.permits: list[Permit] = []
        self.revocations: list[Revoke] = []
        self.announce: dict[tuple[Audience, Prefix], Announcement] = {}
        self.withdraw: dict[tuple[Audience, Prefix], Announcement] = {}
        self.bindings: dict[Address, Binding] = {}
        self.packets: list[bytes] = []
        self.notes: list[str] = []
        for effect in effects:
            self._add(effect)

    def _add(self, effect: Effect) -> None:
        match effect:
            case Transmit(packet=packet):
                self.packets.append(packet)
            case SetRoute() | DeleteRoute():
                self.routes.append(effect)
            case Permit():
                self.permits.append(effect)
            case Revoke():
                self.revocations.append(effect)
            case Announce(announcement=told):
                self.announce[told.audience, told.prefix] = told
                self.withdraw.pop((told.audience, told.prefix), None)
            case Withdraw(announcement=told):
                self.announce.pop((told.audience, told.prefix), None)
                self.withdraw[told.audience, told.prefix] = told
            case Remember(binding=binding):
                self.bindings[binding.home_address] = binding
            case Note():
                self.notes.append(effect.text)
