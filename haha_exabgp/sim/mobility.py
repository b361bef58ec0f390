"""How mobile routers move, and who talks to them. Neither is a fault."""

from __future__ import annotations

from collections.abc import Callable

from ..protocol.mobility import State
from ..wire.address import Address, Prefix
from .home import correspondent_address
from .mobile_router import MobileRouterHost
from .packet_invariants import PacketInvariants
from .packets import Flow, Packet
from .world import World

_STAYS = (0.3, 40.0)
"""Seconds between two moves; short ones are as frequent as long ones."""
_POINTS = 3
"""Access points in a region."""
_RESTART = (0.2, 8.0)
"""Seconds that a mobile router is away after it has stopped."""
_PAUSE = 30.0
_CONVERSATION = 0.6
_NEW_CONVERSATION = 0.03
"""Shares of packets: of a conversation that goes on, so that there is much traffic on one way; and those that
begin another. All others go to and fro between anybody."""


class Movement:
    """Of one mobile router."""

    def __init__(
        self, host: MobileRouterHost, regions: int, world: World, goes_on: Callable[[], bool]
    ) -> None:
        """`goes_on()`: whether there are moves now."""
        self._host = host
        self._regions = regions
        self._loop = world.loop
        self._random = world.random
        self._goes_on = goes_on
        self._loop.after(self._random.uniform(0.0, 2.0), self._move)

    def _move(self) -> None:
        random, host = self._random, self._host
        if self._goes_on() or not host.is_live:
            choice = random.random()
            if not host.is_live or choice < 0.74:
                self._attach()
            elif choice < 0.8:
                host.detach()
            elif choice < 0.95:
                host.stop()
            else:
                host.restart()
        low, high = _STAYS
        if not host.is_live:
            low, high = _RESTART
        stay = low * (high / low) ** random.random()
        self._loop.after(stay if self._goes_on() else min(stay, _PAUSE), self._move)

    def _attach(self) -> None:
        random, host = self._random, self._host
        overlap = random.choice((0.0, 0.0, 0.5, 5.0))
        if host.core.state in (State.LEAVING, State.STOPPED):
            host.restart()
        host.attach(random.randrange(self._regions), random.randint(1, _POINTS), overlap)


class Correspondent:
    """Beside a site: what comes here has arrived."""

    def __init__(self, region: int) -> None:
        self.region = region
        self.address = correspondent_address(region)

    def arrive(self, packet: Packet) -> None:
        """A packet from a mobile network."""
        if packet.flow is not None:
            packet.flow.arrived = True


class Traffic:
    """Data packets between correspondents and one mobile router."""

    def __init__(
        self,
        host: MobileRouterHost,
        regions: int,
        world: World,
        invariants: PacketInvariants,
        interval: Callable[[], float],
    ) -> None:
        """`interval()`: seconds between two packets, about."""
        self._host = host
        self._loop = world.loop
        self._network = world.network
        self._random = world.random
        self._invariants = invariants
        self._interval = interval
        self._regions = regions
        self._targets = [host.home_address, *map(_first_host, host.networks)]
        self._correspondents = [correspondent_address(region) for region in range(regions)]
        self._number = 0
        self._conversation = 0, 0
        """With the correspondent of a region, who sends to one of the networks."""
        self._loop.after(self._random.uniform(0.0, 1.0), self._send)

    def _send(self) -> None:
        random, host = self._random.random, self._host
        self._number += 1
        if random() < _NEW_CONVERSATION:
            self._conversation = int(random() * len(self._targets)), int(random() * self._regions)
        target, region = self._conversation
        if random() > _CONVERSATION:
            target, region = int(random() * len(self._targets)), int(random() * self._regions)
        inside = self._targets[target]
        inbound = random() < 0.75
        flow = Flow(self._number, host.home_address, inbound, self._loop.now)
        if inbound:
            self._network.send(Packet(self._correspondents[region], inside, flow=flow), region)
        else:
            host.send_data(inside, self._correspondents[region], flow)
        self._invariants.watch(flow, host)
        self._loop.after(self._interval() * (0.5 + random()), self._send)


def _first_host(prefix: Prefix) -> Address:
    return Address((int.from_bytes(prefix.address, "big") + 1).to_bytes(16, "big"))
