"""A tiny world without sockets: Home Agents and a mobile router whose packets reach each other at once."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from haha_exabgp.protocol.binding import Binding
from haha_exabgp.protocol.effects import Announce, Effect, Rebind, Remember, Transmit, Withdraw
from haha_exabgp.protocol.footprint import consequences
from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy, Peer, SecurityAssociation
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig
from haha_exabgp.protocol.route_policy import audience_of
from haha_exabgp.protocol.routes import Audience, LearnedRoute
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryReply, MobilePrefixAdvertisement, decode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, parse_packet

HOME = Prefix.parse("2001:db8::/32")
MNP = Prefix.parse("2001:db8:1:100::/64")
HOA = Address.parse("2001:db8:1:1::10")
ACCESS = {1: Address.parse("3fff:f01::aa"), 2: Address.parse("3fff:f02::aa")}
ASSOCIATION = SecurityAssociation(4096, bytes(range(16)))
MESH = SecurityAssociation(256, bytes(range(16, 32)))
WALL = 1_700_000_000.0


def peer(index: int) -> Peer:
    return Peer(
        name=f"ha{index}",
        site=f"site{index}",
        outer=Address.parse(f"3fff:10{index}::a"),
        haha=Address.parse(f"2001:db8:ffff::{index}"),
        partition=Prefix.parse(f"2001:db8:{index}::/48"),
    )


def home_agent_config(index: int, sites: int = 2) -> HomeAgentConfig:
    own = peer(index)
    return HomeAgentConfig(
        name=own.name,
        site=own.site,
        outer=own.outer,
        haha=own.haha,
        home=HOME,
        partition=own.partition,
        site_router=Address.parse(f"3fff:10{index}::1"),
        asn=64500,
        peers=tuple(peer(other) for other in range(1, sites + 1) if other != index),
        mesh=MESH,
        mobile_routers={HOA: MobileRouterPolicy("mr1", HOA, (MNP,), (ASSOCIATION,))},
        max_binding_lifetime=3600,
        min_sites_reached=0,
    )


class World:
    """Delivers every packet by its destination; `drop` may lose some."""

    def __init__(
        self, sites: int = 2, adapt: Callable[[HomeAgentConfig], HomeAgentConfig] = lambda config: config
    ) -> None:
        """`adapt` may change the configuration of a Home Agent."""
        self.now = Now(1000.0, WALL)
        self.configs = {i: adapt(home_agent_config(i, sites)) for i in range(1, sites + 1)}
        self.agents = {i: HomeAgent(config, Random(i)) for i, config in self.configs.items()}
        self.stored: dict[int, dict[Address, Binding]] = {i: {} for i in self.agents}
        self.mobile_router = MobileRouter(
            MobileRouterConfig("mr1", HOA, (MNP,), ASSOCIATION, lifetime=600), first_sequence=65530
        )
        self.closest = 1
        self.drop: Callable[[bytes], bool] = lambda packet: False
        self.deaf: set[int] = set()
        """Home Agents that no news over BGP reaches."""
        self.wire: list[MobilityPacket | IcmpPacket] = []
        self.log: list[Effect | object] = []
        for agent in self.agents.values():
            agent.start((), self.now)
        for index, agent in self.agents.items():
            for other in self.configs[index].adjacent:
                agent.routes.session_changed(other.haha, True, self.now.monotonic)
        self.settle()

    def attach(self, access: int) -> None:
        self.closest = access
        self.mobile_router.attached(ACCESS[access], self.now)
        self.settle()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, every timer at its moment."""
        end = self.now.monotonic + seconds
        for _ in range(2000 + 20 * int(seconds)):
            machines = [self.mobile_router, *self.agents.values()]
            due = min((t for m in machines if (t := m.next_timer()) is not None), default=end + 1)
            step = min(max(due, self.now.monotonic), end) - self.now.monotonic
            self.now = Now(self.now.monotonic + step, self.now.wall + step)
            if due > end:
                return
            for machine in machines:
                machine.handle_timer(self.now)
            self.settle()
        raise AssertionError("a timer that is due is not consumed")

    def settle(self) -> None:
        """Carry effects out until there are none."""
        while True:
            effects = [(0, effect) for effect in self.mobile_router.take_effects()]
            for index, agent in self.agents.items():
                effects += [(index, effect) for effect in agent.take_effects()]
            if not effects:
                return
            # A little time goes by, so that timestamps differ.
            self.now = Now(self.now.monotonic + 0.001, self.now.wall + 0.001)
            for index, effect in effects:
                self.log.append(effect)
                if isinstance(effect, Transmit):
                    self._deliver(effect.packet)
                elif isinstance(effect, Rebind):
                    self.log += consequences(effect.before, effect.after, self.configs[index])
                elif isinstance(effect, Announce | Withdraw):
                    self._tell(index, effect)
                elif isinstance(effect, Remember):
                    self.stored[index][effect.binding.home_address] = effect.binding

    def inject(self, packet: bytes) -> None:
        """A packet arrives, whoever sent it."""
        self._deliver(packet)
        self.settle()

    def restart(self, index: int) -> None:
        """A Home Agent's process is killed and started again with what it had stored."""
        agent = HomeAgent(self.configs[index], Random(99))
        agent.start(self.stored[index].values(), self.now)
        self.agents[index] = agent
        self.settle()

    def reconnect(self, index: int) -> None:
        """The BGP sessions of a Home Agent that was started anew come up: all is told again, both ways."""
        for other in self.agents:
            if other == index:
                continue
            for here, there in ((index, other), (other, index)):
                self.join(here, there)
        self.settle()

    def join(self, here: int, there: int) -> None:
        """Here the BGP session to the one there comes up, and brings all that it has to tell."""
        routes = self.agents[here].routes
        routes.session_changed(peer(there).haha, False, self.now.monotonic)
        routes.session_changed(peer(there).haha, True, self.now.monotonic)
        for told in self.agents[there].wanted.announcements():
            self._tell_one(here, there, Announce(told))
        routes.end_of_rib(peer(there).haha)

    def snapshot(self) -> dict[int, tuple[object, ...]]:
        """All that matters of every Home Agent, to compare."""
        return {index: self.snapshot_of(index) for index in self.agents}

    def snapshot_of(self, index: int) -> tuple[object, ...]:
        agent = self.agents[index]
        wanted, bindings = agent.wanted, agent.bindings
        last = tuple(bindings.last(home_address) for home_address in self.configs[index].mobile_routers)
        return wanted.routes(), wanted.announcements(), wanted.permits(), frozenset(bindings), last

    def _deliver(self, packet: bytes) -> None:
        if self.drop(packet):
            return
        parsed = parse_packet(packet)
        self.wire.append(parsed)
        if isinstance(parsed, IcmpPacket):
            self._deliver_discovery(parsed)
            return
        for index, agent in self.agents.items():
            if parsed.destination in (peer(index).outer, *self.configs[index].addresses):
                agent.receive_mobility(parsed, self.now)
        if parsed.destination == self.mobile_router.care_of_address:
            self.mobile_router.receive_mobility(parsed, self.now)

    def _deliver_discovery(self, packet: IcmpPacket) -> None:
        if HOME.contains(packet.destination):
            self.agents[self.closest].receive_discovery(packet, self.now)
        elif packet.destination == self.mobile_router.care_of_address:
            reply = decode_icmpv6(packet.message, packet.source, packet.checksum_destination)
            if isinstance(reply, HomeAgentDiscoveryReply):
                self.mobile_router.receive_discovery(reply, self.now)
            elif isinstance(reply, MobilePrefixAdvertisement):
                self.mobile_router.receive_prefixes(packet, reply, self.now)
        for index, agent in self.agents.items():
            if packet.destination == peer(index).outer:
                agent.receive_solicitation(packet, self.now)

    def _tell(self, index: int, effect: Announce | Withdraw) -> None:
        for other in self.agents:
            if other != index and other not in self.deaf:
                self._tell_one(other, index, effect)

    def _tell_one(self, to: int, by: int, effect: Announce | Withdraw) -> None:
        told = effect.announcement
        receiver = next((one for one in self.configs[by].peers if one.haha == peer(to).haha), None)
        if receiver is None or not receiver.is_adjacent:
            return
        told_to = {audience_of(receiver, self.configs[by])}
        if Audience.MESH in told_to and receiver.site != self.configs[by].site:
            told_to.add(Audience.OTHER_SITES)
        if told.audience not in told_to:
            return
        if isinstance(effect, Announce):
            route = LearnedRoute(peer(by).haha, told.kind, told.prefix, told.next_hop, told.sequence)
            self.agents[to].routes.learn(route)
        else:
            self.agents[to].routes.forget(peer(by).haha, told.prefix)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def three_sites() -> World:
    return World(sites=3)
