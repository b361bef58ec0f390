"""`haha mr`: one mobile router's event loop around the protocol core.

The kernel configures the uplinks by router advertisements; this daemon watches them, binds with the address
that one of them gets, and turns the tunnel.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ..kernel.choose_datapath import AUTO, choose_datapath
from ..kernel.egress import EgressSocket
from ..kernel.guard import MobileRouterGuard
from ..kernel.guard_config import MobileRouterGuardConfig
from ..kernel.mobile_router import MobileRouterRoutes
from ..kernel.netlink import NetlinkSocket
from ..kernel.sockets import (
    MobilitySocket,
    RawSocket,
    open_discovery_replies,
    open_prefix_advertisements,
)
from ..protocol.effects import Note, Transmit
from ..protocol.egress import Attachment
from ..protocol.mobile_router import MobileRouter
from ..protocol.mobility import (
    AcceptFrom,
    CloseTunnel,
    DoubtEgress,
    MobileRouterConfig,
    MobileRouterEffect,
    State,
    UseHomeLink,
    UseTunnel,
)
from ..protocol.time import Now
from ..wire.address import Address, Prefix
from ..wire.errors import MalformedPacket
from ..wire.icmpv6 import HomeAgentDiscoveryReply, MobilePrefixAdvertisement, decode_icmpv6
from ..wire.ipv6 import IcmpPacket, MobilityPacket, parse_from
from .clocks import read_clocks
from .control import ControlError, Rows, Views, serve_control
from .icmp_relay import IcmpRelay
from .mobile_router_view import check_name, view
from .uplinks import Uplinks

_log = logging.getLogger(__name__)

PACKETS_A_TURN = 64
"""Received packets before timers and the uplinks are looked after again."""
CHECK_INTERVAL = 30.0
"""Seconds between two comparisons of what the kernel should have."""
STOP_SECONDS = 5.0
"""How long a stopping mobile router waits for its de-registration to be acknowledged."""
IN_FLIGHT_TIME = 2.0
"""Seconds in which tunnels to the former care-of address still end here: what is under way to it arrives
where the access that was left works on. So long Home Agents let in what comes from there, too."""


class MobileRouterDaemon:
    """The shell of one `protocol.mobile_router.MobileRouter`."""

    def __init__(
        self,
        config: MobileRouterConfig,
        networks: Sequence[Prefix],
        run_dir: Path,
        *,
        uplinks: Sequence[str],
        lan: str,
        datapath: str = AUTO,
    ) -> None:
        """`networks` are the prefixes behind `lan`; `uplinks` are where router advertisements come from, in
        order of preference."""
        self._config = config
        self._run_dir = run_dir
        chance = random.SystemRandom()
        self._core = MobileRouter(config, chance.randrange(65536), chance)
        self._netlink = NetlinkSocket()
        self._datapath = choose_datapath(datapath, self._netlink)
        self._routes = MobileRouterRoutes(self._netlink, self._datapath, config.home_address, networks, lan)
        self._guard = MobileRouterGuard(MobileRouterGuardConfig(config.home_address, tuple(networks), lan))
        self._uplinks = Uplinks(uplinks, config.home_address, self._netlink, self._attach)
        self._egress = EgressSocket()
        self._mobility = MobilitySocket()
        self._icmpv6 = (open_discovery_replies(), open_prefix_advertisements())
        self._icmp_relay: IcmpRelay | None = None
        if not self._datapath.translates_errors:
            self._icmp_relay = IcmpRelay(
                config.home_address, self._entry_point, self._mobility.send_batch, self._core.counters
            )
        self._stopped = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._way_out: UseTunnel | UseHomeLink | None = None
        self._ends: dict[Address, float] = {}
        """Where tunnels end, and until when on the monotonic clock."""

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
        for receiver in self._icmpv6:
            loop.add_reader(receiver.fileno(), self._receive_icmpv6, receiver)
        if self._icmp_relay is not None:
            loop.add_reader(self._icmp_relay.fileno(), self._icmp_relay.receive)
        views: Views = {"mobile-router": self._view, "counters": self._counters}
        control = await serve_control(self._run_dir, views, {"reload": _no_reload, "switch": _no_switch})
        watching = asyncio.create_task(self._uplinks.watch())
        watching.add_done_callback(lambda _: self._stopped.set())
        _log.info("mobile router %s with home address %s", self._config.name, self._config.home_address)
        keeping = asyncio.create_task(self._keep_kernel_state())
        await self._stopped.wait()
        control.close()
        for receiver in (*self._mobility.receivers, *self._icmpv6):
            loop.remove_reader(receiver.fileno())
        if self._icmp_relay is not None:
            loop.remove_reader(self._icmp_relay.fileno())
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
        self._uplinks.setup()

    def _take_down(self) -> None:
        """Leave the host as it was: what was bound is de-registered, nothing needs these any more."""
        self._uplinks.flush()
        self._routes.flush()
        self._datapath.flush()
        self._guard.flush()

    # In

    def _attach(self, attachment: Attachment | None) -> None:
        now = read_clocks()
        if attachment is None:
            self._core.detached()
        elif attachment.care_of_address == self._core.care_of_address:
            self._renew_way_out()
            self._core.path_changed(now)
        else:
            _log.info("egress by %s through %s", attachment.device, attachment.router)
            self._expect_packets_at(attachment.care_of_address)
            self._core.attached(attachment.care_of_address, now)
        self._carry_out()

    def _receive_mobility(self, receiver: RawSocket) -> None:
        now = read_clocks()
        for packet in self._received(receiver):
            if isinstance(packet, MobilityPacket):
                self._core.receive_mobility(packet, now)
        self._carry_out()

    def _receive_icmpv6(self, receiver: RawSocket) -> None:
        now = read_clocks()
        for packet in self._received(receiver):
            if isinstance(packet, IcmpPacket):
                self._receive_message(packet, now)
        self._carry_out()

    def _receive_message(self, packet: IcmpPacket, now: Now) -> None:
        try:
            message = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
        except MalformedPacket as error:
            self._core.counters[error.reason] += 1
            return
        match message:
            case HomeAgentDiscoveryReply():
                self._core.receive_discovery(message, now)
            case MobilePrefixAdvertisement():
                self._core.receive_prefixes(packet, message, now)

    def _received(self, receiver: RawSocket) -> Iterator[MobilityPacket | IcmpPacket]:
        for datagram in islice(iter(receiver.receive, None), PACKETS_A_TURN):
            try:
                yield parse_from(datagram.protocol, datagram.data, datagram.source, datagram.destination)
            except MalformedPacket as error:
                self._core.counters[error.reason] += 1

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
                self._egress.send(packet, self._uplinks.index)
            case UseTunnel() | UseHomeLink():
                self._way_out = effect
                self._use(effect)
            case AcceptFrom(accepted=accepted):
                if isinstance(self._way_out, UseTunnel):
                    self._way_out = replace(self._way_out, accepted=accepted)
                    self._guard.set_home_agents(accepted)
            case CloseTunnel():
                self._way_out = None
                self._routes.set_home_agent(None)
                self._leave_tunnel()
            case DoubtEgress(care_of_address=care_of_address):
                # Not now: it may attach elsewhere, in the middle of carrying out.
                asyncio.get_running_loop().call_soon(self._uplinks.doubt, care_of_address)
            case Note():
                _log.info("%s", effect.text)

    def _use(self, way_out: UseTunnel | UseHomeLink) -> None:
        if isinstance(way_out, UseTunnel):
            ends = self._tunnel_ends(way_out.care_of_address)
            self._guard.set_home_agents(way_out.accepted)
            self._guard.set_tunnel_ends(ends)
            # The route first: setting the tunnel source makes the kernel wait for some 16 ms.
            self._routes.set_home_agent(way_out.home_agent)
            self._datapath.set_tunnel_ends(ends, source=way_out.care_of_address)
        elif self._uplinks.current is not None:
            self._routes.set_home_link(self._uplinks.index, self._uplinks.current.router)
            self._leave_tunnel()

    def _expect_packets_at(self, care_of_address: Address) -> None:
        """A Home Agent that grants a binding sends there before we have heard of it."""
        if isinstance(self._way_out, UseTunnel):
            self._ends[care_of_address] = math.inf
            ends = frozenset(self._ends)
            try:
                self._guard.set_tunnel_ends(ends)
                self._datapath.set_tunnel_ends(ends, source=self._way_out.care_of_address)
            except OSError as error:
                _log.warning("tunnel end %s: %s", care_of_address, error)

    def _tunnel_ends(self, care_of_address: Address) -> frozenset[Address]:
        """There, and for a while where it was before."""
        now = time.monotonic()
        for former, until in list(self._ends.items()):
            if former != care_of_address and until == math.inf:
                self._ends[former] = now + IN_FLIGHT_TIME
                asyncio.get_running_loop().call_later(IN_FLIGHT_TIME, self._renew_way_out)
            elif until <= now:
                del self._ends[former]
        self._ends[care_of_address] = math.inf
        return frozenset(self._ends)

    def _leave_tunnel(self) -> None:
        self._ends.clear()
        self._datapath.set_tunnel_ends(frozenset(), source=None)
        self._guard.set_home_agents(frozenset())
        self._guard.set_tunnel_ends(frozenset())

    def _entry_point(self) -> Address | None:
        return self._way_out.care_of_address if isinstance(self._way_out, UseTunnel) else None

    def _renew_way_out(self) -> None:
        """By another router now, or put back after somebody else's hand was there."""
        if self._way_out is not None:
            try:
                self._use(self._way_out)
            except OSError as error:
                _log.warning("%s: %s", type(self._way_out).__name__, error)

    async def _keep_kernel_state(self) -> None:
        """As a Home Agent's daemon does: somebody else's hand may take away what is ours."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            try:
                await asyncio.to_thread(self._datapath.setup)
                if not self._guard.intact():
                    _log.warning("the guard was gone; setting it up again")
                    tunnel = self._way_out
                    self._guard.setup(tunnel.accepted if isinstance(tunnel, UseTunnel) else frozenset())
                self._uplinks.mend()
            except OSError as error:
                _log.error("cannot mend the kernel's state: %s", error)
            self._renew_way_out()

    # What `haha show` can ask

    def _view(self, of: str | None = None) -> Rows:
        check_name(self._config, of)
        return [view(self._core, self._config, self._uplinks.current, read_clocks())]

    def _counters(self) -> Rows:
        counts = {**self._core.counters, **{f"guard_{k}": v for k, v in self._guard.counters().items()}}
        return [{"counter": name, "value": value} for name, value in sorted(counts.items())]


def _no_reload() -> Rows:
    raise ControlError("a mobile router reads its configuration and its key when it starts: restart haha mr")


def _no_switch(mobile_routers: list[str], to: list[str], everyone: bool, stay: bool) -> Rows:
    raise ControlError("this is a mobile router; it is sent away by the Home Agent that it is bound to")
