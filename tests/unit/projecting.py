"""Route projection in the tiny world: one mobile router at a proxy, traffic towards it at another site."""

from __future__ import annotations

from dataclasses import replace

from haha_exabgp.protocol.effects import Announce, Transmit
from haha_exabgp.protocol.home import HomeAgentConfig, OnDemand
from haha_exabgp.protocol.messages import decode
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import HahaOperation
from haha_exabgp.wire.ipv6 import MobilityPacket, parse_packet
from haha_exabgp.wire.messages import HahaMessage
from tests.unit.conftest import HOA, MNP, World, peer
from tests.unit.proxying import attach_at

HOST = Address.parse("2001:db8:1:100::42")
"""Behind the mobile router."""
HOLDING_TIME = 90
PROJECTED = {Prefix.host(HOA), MNP}
"""All that is routed to the mobile router."""


def on_demand(config: HomeAgentConfig) -> HomeAgentConfig:
    return replace(config, on_demand=OnDemand(holding_time=HOLDING_TIME))


def unleaked_world(sites: int = 3) -> World:
    """Nobody hears of leaks; the mobile router, whose primary is the first, is bound at the second."""
    world = World(sites, adapt=on_demand)
    world.deaf = set(world.agents)
    attach_at(world, 2)
    return world


def notice(world: World, at: int, destination: Address = HOST) -> None:
    """A packet has left a site for another one."""
    world.agents[at].notice_traffic(destination, world.now)
    world.settle()


def projected(world: World, at: int) -> dict[Prefix, Address | None]:
    """Where the projected routes of a Home Agent lead."""
    routes = world.agents[at].wanted.routes()
    return {route.prefix: route.tunnel_exit for route in routes if route.metric == Metric.PROJECTED}


def way(world: World, at: int, destination: Address) -> KernelRoute:
    """The route that the kernel of a Home Agent would take."""
    fitting = [route for route in world.agents[at].wanted.routes() if route.prefix.contains(destination)]
    return min(fitting, key=lambda route: (-route.prefix.length, route.metric))


def said(world: World, *operations: HahaOperation) -> list[tuple[Address, Address, HahaMessage]]:
    """(Source, destination, message) of what Home Agents have sent each other."""
    packets = [parse_packet(effect.packet) for effect in world.log if isinstance(effect, Transmit)]
    messages = [
        (packet.source, packet.destination, decode(packet))
        for packet in packets
        if isinstance(packet, MobilityPacket)
    ]
    return [
        (source, destination, message)
        for source, destination, message in messages
        if isinstance(message, HahaMessage) and (not operations or message.operation in operations)
    ]


def announced(world: World) -> list[Announce]:
    return [effect for effect in world.log if isinstance(effect, Announce)]


def keep_traffic(world: World, at: int, seconds: int, destination: Address = HOST) -> None:
    """Traffic goes on, noticed every five seconds."""
    for _ in range(0, seconds, 5):
        notice(world, at, destination)
        world.pass_time(5)


OUTER = {index: peer(index).outer for index in range(1, 4)}
