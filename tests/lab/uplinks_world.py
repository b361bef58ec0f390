"""A mobile router with two uplinks, its real daemon, and a Home Agent that is the protocol core on a real
kernel, without ExaBGP.

    lfn ── mr ─ wan0 ── one ──┐
              └ lte0 ── two ── core ── ha   3fff:101::a
"""

from __future__ import annotations

import asyncio
import select
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from haha_exabgp.agent.clocks import read_clocks
from haha_exabgp.agent.control import ControlError, ask
from haha_exabgp.agent.mobile_router import MobileRouterDaemon
from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.routes import RouteTable
from haha_exabgp.kernel.seg6 import Seg6Datapath
from haha_exabgp.kernel.sockets import DhaadSocket, MobilitySocket
from haha_exabgp.protocol.effects import DeleteRoute, Rebind, SetRoute, Transmit
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.mobility import MobileRouterConfig
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, parse_from, parse_packet
from haha_exabgp.wire.messages import BindingUpdate
from haha_exabgp.wire.mobility import decode_mobility
from tests.lab.access_router import AccessRouter
from tests.lab.kernel_world import CN, LFN, Namespace, connect
from tests.unit.conftest import ASSOCIATION, HOA, HOME, MNP, home_agent_config

SECONDS = 15.0
PREFIXES = (Prefix.parse("3fff:f01::/64"), Prefix.parse("3fff:f02::/64"))
DEVICES = ("wan0", "lte0")


class Heard(NamedTuple):
    """A Binding Update that has reached the Home Agent; the time is that of the monotonic clock."""

    at: float
    source: Address
    lifetime: int
    has_home_address_option: bool


class ServedHomeAgent:
    """The core of a Home Agent in a thread, on the kernel of a namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self.heard: list[Heard] = []
        self.is_deaf = False
        self._core = HomeAgent(home_agent_config(1, sites=1), Random(1))
        config = home_agent_config(1, sites=1)
        with namespace.entered():
            self._netlink = NetlinkSocket()
            self._datapath = Seg6Datapath(self._netlink)
            self._datapath.setup()
            self._datapath.set_inner_addresses({config.haha})
            self._datapath.set_tunnel_ends({config.outer, config.haha}, config.outer)
            self._mobility = MobilitySocket()
            self._discovery = DhaadSocket(HOME)
        self._table = RouteTable(self._netlink, self._datapath)

    def serve(self, stop: threading.Event) -> None:
        self._core.start((), read_clocks())
        self._carry_out()
        sockets = [*self._mobility.receivers, self._discovery]
        while not stop.is_set():
            ready, _, _ = select.select(sockets, [], [], 0.05)
            for one in ready:
                if one is self._discovery:
                    self._discover()
                else:
                    self._receive(one)
            self._core.handle_timer(read_clocks())
            self._carry_out()

    def close(self) -> None:
        for one in (self._mobility, self._discovery, self._datapath, self._netlink):
            one.close()

    def _discover(self) -> None:
        while (packet := self._discovery.receive()) is not None:
            parsed = parse_packet(packet)
            if isinstance(parsed, IcmpPacket) and not self.is_deaf:
                self._core.receive_discovery(parsed, read_clocks())

    def _receive(self, receiver: Any) -> None:
        for datagram in receiver.receive_batch():
            packet = parse_from(datagram.protocol, datagram.data, datagram.source, datagram.destination)
            assert isinstance(packet, MobilityPacket)
            update = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
            assert isinstance(update, BindingUpdate)
            option = packet.home_address is not None
            self.heard.append(Heard(time.monotonic(), packet.source, update.lifetime, option))
            if not self.is_deaf:
                self._core.receive_mobility(packet, read_clocks())

    def _carry_out(self) -> None:
        effects = self._core.take_effects()
        if any(isinstance(one, Rebind | SetRoute | DeleteRoute) for one in effects):
            assert self._table.reconcile(frozenset(self._core.wanted.routes())) == []
        packets = [one.packet for one in effects if isinstance(one, Transmit)]
        assert self._mobility.send_batch(packets) == []


class World:
    """Everything, and how it is changed."""

    def __init__(
        self,
        namespaces: dict[str, Namespace],
        routers: tuple[AccessRouter, AccessRouter],
        home_agent: ServedHomeAgent,
    ) -> None:
        self.mr, self.lfn, self.core, self.ha = (namespaces[name] for name in ("mr", "lfn", "core", "ha"))
        self.routers, self.home_agent = routers, home_agent

    def plug(self, place: int) -> None:
        self.routers[place].namespace.ip("link set acc0 up")

    def unplug(self, place: int) -> None:
        self.routers[place].namespace.ip("link set acc0 down")

    def make_home_link(self, place: int, home_address: Address) -> None:
        """The Home Agent reaches the home address on the link of this place, when nothing is bound."""
        self.core.ip(f"-6 route add {home_address} via 3fff:e{place}::2")
        self.routers[place].namespace.ip(f"-6 route add {home_address} dev acc0")
        self.ha.ip(f"-6 route add {home_address} via 3fff:101::1 metric 50000")

    def sources(self) -> list[Address]:
        """Whence the last Binding Update came, and those before it."""
        return [one.source for one in reversed(self.home_agent.heard)]

    def lfn_reaches_cn(self) -> bool:
        return self.lfn.pings(CN)


@contextmanager
def uplinks_world(name: str) -> Iterator[World]:
    """Build it; everything is plugged in but the uplinks."""
    with ExitStack() as stack:

        def namespace(suffix: str, *, forwards: bool) -> Namespace:
            made = Namespace(f"{name}-{suffix}", forwards)
            stack.callback(made.delete)
            return made

        core, ha = namespace("core", forwards=True), namespace("ha", forwards=True)
        cn, mr, lfn = (namespace(one, forwards=False) for one in ("cn", "mr", "lfn"))
        connect((core, "c-ha", "3fff:101::1/64"), (ha, "eth0", "3fff:101::a/64"))
        connect((core, "c-cn", "3fff:c::1/64"), (cn, "eth0", f"{CN}/64"))
        ha.ip("-6 route add default via 3fff:101::1")
        cn.ip("-6 route add default via 3fff:c::1")
        core.ip(f"-6 route add {HOME} via 3fff:101::a")
        connect((mr, "lan0", "2001:db8:1:100::1/64"), (lfn, "eth0", f"{LFN}/64"))
        lfn.ip("-6 route add default via 2001:db8:1:100::1")
        routers = []
        for place, device in enumerate(DEVICES):
            router = AccessRouter(f"{name}-r{place}", PREFIXES[place])
            stack.callback(router.namespace.delete)
            up = f"3fff:e{place}::"
            connect((core, f"c-r{place}", f"{up}1/64"), (router.namespace, "up0", f"{up}2/64"))
            core.ip(f"-6 route add {PREFIXES[place]} via {up}2")
            router.namespace.ip(f"-6 route add default via {up}1")
            router.namespace.ip(f"link add acc0 type veth peer name {device} netns {mr.name}")
            router.namespace.run("sysctl", "-qw", "net.ipv6.conf.acc0.accept_ra=0")
            router.namespace.run("sysctl", "-qw", "net.ipv6.conf.acc0.keep_addr_on_down=1")
            router.namespace.ip(f"addr add {PREFIXES[place].address}1/64 dev acc0 nodad")
            mr.run("sysctl", "-qw", f"net.ipv6.conf.{device}.accept_dad=1", "net.ipv6.conf.all.accept_dad=1")
            stack.enter_context(router.answering())
            routers.append(router)
        served = ServedHomeAgent(ha)
        stop = threading.Event()
        thread = threading.Thread(target=served.serve, args=(stop,), daemon=True)
        thread.start()
        try:
            namespaces = {"mr": mr, "lfn": lfn, "core": core, "ha": ha}
            yield World(namespaces, (routers[0], routers[1]), served)
        finally:
            stop.set()
            thread.join()
            served.close()


def tell(world: World, run_dir: Path, story: Callable[[Telling], Awaitable[None]]) -> None:
    """Run a story beside the mobile router's daemon, which is stopped by SIGTERM at its end."""

    async def both() -> None:
        daemon = MobileRouterDaemon(
            MobileRouterConfig("mr1", HOA, (MNP,), ASSOCIATION, lifetime=600),
            (MNP,),
            run_dir,
            uplinks=DEVICES,
            lan="lan0",
        )
        running = asyncio.create_task(daemon.run())
        telling = Telling(world, run_dir, running)
        await telling.until(lambda: bool(telling.row()), "the daemon answers")
        try:
            await story(telling)
        finally:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(running, SECONDS)

    for device in DEVICES:
        if device in world.mr.ip("link show"):
            world.mr.ip(f"link set {device} up")
    with world.mr.entered():
        asyncio.run(both())


class Telling:
    """What a story can ask and wait for."""

    def __init__(self, world: World, run_dir: Path, daemon: asyncio.Task[None]) -> None:
        self.world = world
        self._run_dir = run_dir
        self._daemon = daemon

    def row(self) -> dict[str, Any]:
        """What `haha show mobile-router` says; empty before the daemon answers."""
        try:
            return ask(self._run_dir, "mobile-router")[0]
        except ControlError:
            return {}

    async def until(self, true: Callable[[], bool], what: str, seconds: float = SECONDS) -> float:
        """Wait; gives when it was so, on the monotonic clock."""
        end = time.monotonic() + seconds
        while not await asyncio.to_thread(true):
            assert not self._daemon.done(), f"the daemon has ended: {self._daemon}"
            assert time.monotonic() < end, f"not within {seconds} s: {what}; {await self.show()}"
            await asyncio.sleep(0.02)
        return time.monotonic()

    async def show(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.row)

    async def until_bound(self, place: int) -> float:
        """Bound, by this uplink."""

        def bound() -> bool:
            row = self.row()
            if row["state"] != "bound" or row["egress"] != DEVICES[place]:
                return False
            return PREFIXES[place].contains(Address.parse(row["care_of_address"]))

        return await self.until(bound, f"bound by {DEVICES[place]}")
