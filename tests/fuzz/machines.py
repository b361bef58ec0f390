"""What must hold of Home Agents and mobile router when a stranger's packet arrives: nothing is raised, no
state changes, and at most one packet goes out for it. An insider's may change state, but not break it.

A stranger has no key, but may have seen every packet that was sent: all that goes through these worlds has
been delivered to them once, so that what comes again is a replay. Their clocks are hours apart, so that what
was sent in one of them is too old, or too new, in another.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from haha_exabgp.protocol.effects import Note, Transmit
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.authentication import sign
from haha_exabgp.wire.errors import MalformedPacket
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryReply, MobilePrefixAdvertisement, decode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket
from haha_exabgp.wire.mobility import decode_unchecked
from haha_exabgp.wire.options import Authentication, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.property.test_protocol_fuzz import TOUR, state
from tests.unit.conftest import ASSOCIATION, HOA, MESH, World

WORLDS = len(TOUR)
_LIFE = 2000
"""Packets after which the worlds are made anew: limits of rate would leave nothing to be tested."""


class Machines:
    """A world for each stage of a mobile router's tour."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        """Packets that were sent on the tours."""
        self._delivered = 0
        self._worlds = [self._toured(stage) for stage in range(WORLDS)]
        self._states = [state(world) for world in self._worlds]

    def _toured(self, stage: int) -> World:
        world = World(sites=3)
        world.now = Now(world.now.monotonic, world.now.wall + 36_000.0 * stage)
        world.drop = self._keep
        for step in TOUR[: stage + 1]:
            step(world)
        world.drop = _lose_icmpv6
        return world

    def _keep(self, packet: bytes) -> bool:
        self.seen.append(packet)
        return False

    def deliver(self, stage: int, packet: MobilityPacket | IcmpPacket) -> None:
        """A stranger's packet arrives everywhere, whatever its destination: none must be confused by it."""
        self._delivered += 1
        if self._delivered % _LIFE == 0:
            seen = self.seen
            self.__init__()  # type: ignore[misc]
            self.seen = seen
        world = self._worlds[stage]
        machines: list[MobileRouter | HomeAgent] = [world.mobile_router, *world.agents.values()]
        if isinstance(packet, MobilityPacket):
            for machine in machines:
                machine.receive_mobility(packet, world.now)
        else:
            _deliver_icmpv6(world, packet)
        for machine in machines:
            effects = machine.take_effects()
            assert all(isinstance(effect, Transmit | Note) for effect in effects), effects
            sent = [effect for effect in effects if isinstance(effect, Transmit)]
            assert len(sent) <= 1, f"{len(sent)} packets for one"
        assert state(world) == self._states[stage], "a stranger has changed the state"

    def deliver_and_wait(self, stage: int, packet: MobilityPacket | IcmpPacket) -> None:
        """The same, and what is sent because of it arrives, and time passes: all stands in the end as it
        would without the stranger."""
        outcomes = []
        for disturbed in (False, True):
            world = copy.deepcopy(self._worlds[stage])
            if disturbed and isinstance(packet, MobilityPacket):
                world.mobile_router.receive_mobility(packet, world.now)
                for agent in world.agents.values():
                    agent.receive_mobility(packet, world.now)
            elif disturbed and isinstance(packet, IcmpPacket):
                _deliver_icmpv6(world, packet)
            world.settle()
            world.pass_time(20)
            outcomes.append(_standing(world))
        assert outcomes[0] == outcomes[1], "a stranger has changed what comes later"

    def deliver_signed(self, stage: int, packet: MobilityPacket) -> None:
        """The message as somebody with a key would send it now, to a world of its own."""
        try:
            message = decode_unchecked(packet.header)
        except MalformedPacket:
            return
        world = copy.deepcopy(self._worlds[stage])
        kept = (each for each in message.options if not isinstance(each, Authentication | ReplayProtection))
        stamp = ReplayProtection(from_unix(world.now.wall))
        association = MESH if packet.destination[:4] == HOA[:4] else ASSOCIATION
        try:
            header = sign(
                replace(message, options=(*kept, stamp)),
                packet.checksum_source,
                packet.checksum_destination,
                key=association.key,
                spi=association.spi,
                care_of_address=packet.source,
                home_address=packet.home_address or packet.routing_home_address or HOA,
            )
        except ValueError:
            return
        signed = packet._replace(header=header)
        world.mobile_router.receive_mobility(signed, world.now)
        for agent in world.agents.values():
            agent.receive_mobility(signed, world.now)
        world.settle()
        world.pass_time(12)
        for agent in world.agents.values():
            assert all(binding.expires > world.now.monotonic for binding in agent.bindings)


def _standing(world: World) -> tuple[object, ...]:
    """Who is bound where, and what packets do; refreshes may have come earlier or later."""
    mobile_router = world.mobile_router
    registration = mobile_router.registration
    bindings = {
        (index, one.home_address, one.kind, one.care_of_address, one.prefixes, one.mobility_sequence)
        for index, agent in world.agents.items()
        for one in agent.bindings
    }
    wanted = [
        (agent.wanted.routes(), agent.wanted.announcements(), agent.wanted.permits())
        for agent in world.agents.values()
    ]
    held = registration and (registration.home_agent, registration.care_of_address)
    return mobile_router.state, held, bindings, wanted


def _lose_icmpv6(packet: bytes) -> bool:
    return packet[6] == 58


def _deliver_icmpv6(world: World, packet: IcmpPacket) -> None:
    for agent in world.agents.values():
        agent.receive_discovery(packet, world.now)
        agent.receive_solicitation(packet, world.now)
    try:
        message = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
    except MalformedPacket:
        return
    if isinstance(message, HomeAgentDiscoveryReply):
        world.mobile_router.receive_discovery(message, world.now)
    elif isinstance(message, MobilePrefixAdvertisement):
        world.mobile_router.receive_prefixes(packet, message, world.now)


def addresses() -> list[Address]:
    """Those that mean something in these worlds."""
    world = World(sites=3)
    known = [HOA, *(one for config in world.configs.values() for one in (config.outer, config.haha))]
    return [*known, *(peer.outer for peer in world.configs[1].peers)]
