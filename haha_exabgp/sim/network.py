"""The Internet between everybody: delays, what faults do to packets, and anycast.

A region is the Internet beside a site. A packet takes the way's delay with some jitter, so that those of one
sender may overtake each other. What faults add is in `Weather`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from ..wire.address import Address, Prefix
from .loop import EventLoop
from .packets import Packet

JITTER = 0.2
"""Share of the delay that is added at most."""


class Place(Protocol):
    """Where packets to an address arrive."""

    region: int

    def arrive(self, packet: Packet) -> None: ...


class Weather:
    """What is wrong with the network now; nothing, at first."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.duplication = 0.0
        self.reordering = 0.0
        """Shares of all packets."""
        self.longest_delay = 0.0
        """Seconds that one that is reordered is late at most."""
        self.cuts: dict[tuple[int, int], int] = {}
        """How many faults cut a pair of regions off from each other."""
        self.mesh_cuts: dict[tuple[int, int], int] = {}
        """The same of a pair of Home Agents; all else gets through."""

    @property
    def is_fine(self) -> bool:
        """Packets are neither lost nor worse."""
        return not (self.loss or self.duplication or self.reordering or self.cuts or self.mesh_cuts)

    @staticmethod
    def change(cuts: dict[tuple[int, int], int], one: int, other: int, by: int) -> None:
        """One more fault, or one less, both ways."""
        for pair in ((one, other), (other, one)):
            cuts[pair] = cuts.get(pair, 0) + by
            if not cuts[pair]:
                del cuts[pair]


class Network:
    """Delivers packets by their outermost destination."""

    def __init__(
        self,
        loop: EventLoop,
        random: Random,
        home: Prefix,
        delays: tuple[tuple[float, ...], ...],
        lost: Callable[[Packet, str], None],
    ) -> None:
        """`lost(packet, why)` hears of what does not arrive."""
        self._loop = loop
        self._random = random.random
        self._home = home
        self.delays = delays
        self._lost = lost
        self.weather = Weather()
        self._places: dict[Address, Place] = {}
        self._closest = [sorted(range(len(delays)), key=row.__getitem__) for row in delays]
        self._entrances: list[Place] = []
        self.exports = [False] * len(delays)
        """Whether a site announces Home to the Internet."""
        self._home_agents: dict[Address, int] = {}

    def add(self, address: Address, place: Place, home_agent: int | None = None) -> None:
        """Packets to this address arrive there; `home_agent`: the number of the one that is there."""
        self._places[address] = place
        if home_agent is not None:
            self._home_agents[address] = home_agent

    def add_entrance(self, place: Place) -> None:
        """The next site's way in for packets to Home."""
        self._entrances.append(place)

    def closest_site(self, region: int) -> int | None:
        """Where packets to Home from a region arrive."""
        for site in self._closest[region]:
            if self.exports[site]:
                return site
        return None

    def separates(self, one: Address, other: Address) -> bool:
        """Whether these are the outer addresses of two Home Agents that are cut off from each other."""
        numbers = self._home_agents
        return (numbers.get(one, -1), numbers.get(other, -1)) in self.weather.mesh_cuts

    def send(self, packet: Packet, region: int) -> None:
        """A packet leaves a host in a region."""
        source, destination = packet.tunnels[-1] if packet.tunnels else (packet.source, packet.destination)
        place = self._places.get(destination)
        if place is None:
            site = self.closest_site(region) if self._home.contains(destination) else None
            if site is None:
                self._lost(packet, "no route in the Internet")
                return
            place = self._entrances[site]
        delay = self.delays[region][place.region] * (1.0 + JITTER * self._random())
        weather = self.weather
        if not weather.is_fine:
            if (region, place.region) in weather.cuts or self.separates(source, destination):
                self._lost(packet, "cut off")
                return
            if self._random() < weather.loss:
                self._lost(packet, "lost")
                return
            if self._random() < weather.duplication:
                self._loop.after(delay * (1.0 + self._random()), place.arrive, packet.copy())
            if self._random() < weather.reordering:
                delay += weather.longest_delay * self._random()
        self._loop.after(delay, place.arrive, packet)
