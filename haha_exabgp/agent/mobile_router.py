"""`haha mr`: one mobile router's event loop around the protocol core.

The kernel configures the uplink by router advertisements; this daemon watches it, binds with the address it
gets, and turns the tunnel.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import signal
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ..kernel.choose_datapath import AUTO, choose_datapath
from ..kernel.guard import MobileRouterGuard
from ..kernel.guard_rules import MobileRouterGuardConfig
from ..kernel.link_monitor import CarrierLost, CarrierUp, LinkMonitor
from ..kernel.mobile_router import MobileRouterRoutes
from ..kernel.netlink import NetlinkSocket
from ..kernel.sockets import MobilitySocket, RawSocket, open_discovery_replies
from ..kernel.uplink import forget_attachment, prepare_uplink, solicit_routers
from ..protocol.effects import Note, Transmit
from ..protocol.mobile_router import MobileRouter
from ..protocol.mobility import CloseTunnel, MobileRouterConfig, MobileRouterEffect, State, UseTunnel
from ..wire.address import Prefix
from ..wire.errors import MalformedPacket
from ..wire.icmpv6 import HomeAgentDiscoveryReply, decode_icmpv6
from ..wire.ipv6 import MobilityPacket, parse_from
from .clocks import read_clocks
from .control import Rows, serve_control

_log = logging.getLogger(__name__)

PACKETS_A_TURN = 64
"""Received packets before timers and the uplink are looked after again."""
CHECK_INTERVAL = 30.0
"""Seconds between two comparisons of what the kernel should have."""
STOP_SECONDS = 5.0
"""How long a stopping mobile router waits for its de-registration to be acknowledged."""


class MobileRouterDaemon:
    """The shell of one `protocol.mobile_router.MobileRouter`."""

    def __init__(
        self,
        config: MobileRouterConfig,
        networks: Sequence[Prefix],
        run_dir: Path,
        *,
        uplink: str,
        lan: str,
        datapath: str = AUTO,
    ) -> None:
        """`networks` are the prefixes behind `lan`; `uplink` is where router advertisements come from."""
        self._config = config
        self._run_dir = run_dir
        self._core = MobileRouter(config, random.SystemRandom().randrange(65536))
        self._netlink = NetlinkSocket()
        self._datapath = choose_datapath(datapath, self._netlink)
        self._routes = MobileRouterRoutes(self._netlink, self._datapath, config.home_address, networks, lan)
        self._guard = MobileRouterGuard(MobileRouterGuardConfig(config.home_address, tuple(networks), lan))
        self._uplink = uplink
        self._link = LinkMonitor(uplink)
        self._mobility = MobilitySocket()
        self._discovery = open_discovery_replies()
        self._stopped = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._tunnel: UseTunnel | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then de-register. Raises OSError when the kernel refuses what
        everything else stands on."""
        # In a thread, because pyroute2's plain calls run an event loop of their own.
        await asyncio.to_thread(self._set_up)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        for receiver in self._mobility.receivers:
            loop.add_reader(receiver.fileno(), self._receive_mobility, receiver)
        loop.add_reader(self._discovery.fileno(), self._receive_discovery)
        control = await serve_control(
            self._run_dir, {"mobile-router": self._view, "counters": self._counters}
        )
        watching = asyncio.create_task(self._watch_uplink())
        watching.add_done_callback(lambda _: self._stopped.set())
        _log.info("mobile router %s with home address %s", self._config.name, self._config.home_address)
        keeping = asyncio.create_task(self._keep_kernel_state())
        await self._stopped.wait()
        control.close()
        for receiver in (*self._mobility.receivers, self._discovery):
            loop.remove_reader(receiver.fileno())
        if self._timer is not None:
            self._timer.cancel()
        watching.cancel()
        keeping.cancel()
        ended, _ = await asyncio.gather(watching, keeping, return_exceptions=True)
        await asyncio.to_thread(self._take_down)
        if isinstance(ended, Exception):
            # Watching ends by itself only when the kernel has failed it.
            raise ended

    def _set_up(self) -> None:
        self._guard.setup(frozenset())
        self._datapath.setup()
        self._routes.setup()
        prepare_uplink(self._uplink)

    def _take_down(self) -> None:
        """Leave the host as it was: what was bound is de-registered, nothing needs these any more."""
        self._routes.flush()
        self._datapath.flush()
        self._guard.flush()

    # In

    async def _watch_uplink(self) -> None:
        async for event in self._link.events():
            if isinstance(event, CarrierLost):
                # The next link is another place: its routers are to be believed, these no more.
                await forget_attachment(self._link.state.index)
            elif isinstance(event, CarrierUp):
                self._solicit()
            self._follow_uplink()

    def _solicit(self) -> None:
        try:
            solicit_routers(self._uplink)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                _log.warning("cannot solicit routers on %s: %s", self._uplink, error)

    def _follow_uplink(self) -> None:
        state = self._link.state
        usable = state.addresses if state.carrier and state.routers else ()
        current = self._core.care_of_address
        now = read_clocks()
        if current is not None and current not in usable:
            self._core.detached()
        if usable and current not in usable:
            self._core.attached(usable[0], now)
        self._carry_out()

    def _receive_mobility(self, receiver: RawSocket) -> None:
        now = read_clocks()
        for datagram in islice(iter(receiver.receive, None), PACKETS_A_TURN):
            try:
                packet = parse_from(datagram.protocol, datagram.data, datagram.source, datagram.destination)
            except MalformedPacket as error:
                self._core.counters[error.reason] += 1
                continue
            if isinstance(packet, MobilityPacket):
                self._core.receive_mobility(packet, now)
        self._carry_out()

    def _receive_discovery(self) -> None:
        now = read_clocks()
        for datagram in islice(iter(self._discovery.receive, None), PACKETS_A_TURN):
            try:
                reply = decode_icmpv6(datagram.data, datagram.source, datagram.destination)
            except MalformedPacket as error:
                self._core.counters[error.reason] += 1
                continue
            if isinstance(reply, HomeAgentDiscoveryReply):
                self._core.receive_discovery(reply, now)
        self._carry_out()

    def _stop(self) -> None:
        self._core.stop(read_clocks())
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._stopped.set)
        self._carry_out()

    def _on_timer(self) -> None:
        self._timer = None
        self._core.handle_timer(read_clocks())
        self._carry_out()

    # Out

    def _carry_out(self) -> None:
        for effect in self._core.take_effects():
            try:
                self._carry_out_one(effect)
            except OSError as error:
                # The core sends again, and the next acknowledgement sets the tunnel again.
                self._core.counters["kernel_refusals"] += 1
                _log.warning("%s: %s", type(effect).__name__, error)
        if self._core.state is State.STOPPED:
            self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._core.next_timer()
        if due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(due - time.monotonic(), 0.0), self._on_timer)

    def _carry_out_one(self, effect: MobileRouterEffect) -> None:
        match effect:
            case Transmit(packet=packet):
                self._mobility.send(packet)
            case UseTunnel():
                self._tunnel = effect
                self._use(effect)
            case CloseTunnel():
                self._tunnel = None
                self._routes.set_home_agent(None)
                self._datapath.set_tunnel_ends(frozenset(), source=None)
                self._guard.set_home_agents(frozenset())
            case Note():
                _log.info("%s", effect.text)

    def _use(self, tunnel: UseTunnel) -> None:
        self._guard.set_home_agents(tunnel.accepted)
        # The route first: setting the tunnel source makes the kernel wait for some 16 ms.
        self._routes.set_home_agent(tunnel.home_agent)
        self._datapath.set_tunnel_ends({tunnel.care_of_address}, source=tunnel.care_of_address)

    async def _keep_kernel_state(self) -> None:
        """As a Home Agent's daemon does: somebody else's hand may take away what is ours."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            try:
                await asyncio.to_thread(self._datapath.setup)
                if not self._guard.intact():
                    _log.warning("the guard was gone; setting it up again")
                    self._guard.setup(self._tunnel.accepted if self._tunnel else frozenset())
                if self._tunnel is not None:
                    self._use(self._tunnel)
            except OSError as error:
                _log.error("cannot mend the kernel's state: %s", error)

    # What `haha show` can ask

    def _view(self) -> Rows:
        core, registration = self._core, self._core.registration
        row: dict[str, object] = {
            "name": self._config.name,
            "state": str(core.state),
            "home_address": str(self._config.home_address),
            "care_of_address": str(core.care_of_address) if core.care_of_address else "",
            "home_agent": "",
            "lifetime": 0,
            "expires_in": 0.0,
            "round_trip_ms": 0.0,
            "discovered": list(map(str, core.home_agents)),
        }
        if registration is not None:
            row |= {
                "home_agent": str(registration.home_agent),
                "lifetime": registration.granted,
                "expires_in": round(registration.expires - time.monotonic(), 1),
                "round_trip_ms": round(registration.round_trip * 1000, 2),
            }
        return [row]

    def _counters(self) -> Rows:
        counts = {**self._core.counters, **{f"guard_{k}": v for k, v in self._guard.counters().items()}}
        return [{"counter": name, "value": value} for name, value in sorted(counts.items())]
