"""A Home with primary sites 1, 2 and 4 and a satellite, 3, which hangs under two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import HomeAgentConfig, LentPrefix, Peer
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import parse_packet
from tests.unit.conftest import HOA, World, home_agent_config, peer
from tests.unit.proxying import attach_at

SATELLITE = 3
Adapt = Callable[[HomeAgentConfig], HomeAgentConfig]


def lent_prefix(parent: int) -> Prefix:
    return Prefix.parse(f"2001:db8:{parent}:f000::/64")


def lent_address(parent: int) -> Address:
    return Address.parse(f"2001:db8:{parent}:f000::3")


def satellite_home(*parents: int, adapt: Adapt = lambda config: config) -> Adapt:
    """What makes the third of the sites a satellite under these parents, best first."""
    lent = tuple(LentPrefix(f"site{one}", lent_prefix(one), lent_address(one)) for one in parents)

    def adapted(config: HomeAgentConfig) -> HomeAgentConfig:
        is_satellite = config.site == f"site{SATELLITE}"

        def seen(other: Peer) -> Peer:
            if is_satellite:
                return replace(other, is_adjacent=other.site in [one.parent for one in lent])
            if other.site != f"site{SATELLITE}":
                return other
            near = config.site in [one.parent for one in lent]
            return replace(other, partition=None, lent=lent, is_adjacent=near)

        changed = replace(config, peers=tuple(map(seen, config.peers)))
        return adapt(replace(changed, partition=None, lent=lent) if is_satellite else changed)

    return adapted


class SatelliteWorld(World):
    """Parents as they are told; nothing of BGP or mobility gets in or out of `gone` Home Agents, nor anything
    to an address that one of them lends."""

    def __init__(self, *parents: int, adapt: Adapt = lambda config: config) -> None:
        super().__init__(sites=4, adapt=satellite_home(*parents, adapt=adapt))
        self.gone: set[int] = set()
        self.drop = self._is_lost
        self.pass_time(1)

    def bind_at_satellite(self) -> None:
        """The mobile router is bound to the satellite, and everybody has been told."""
        attach_at(self, SATELLITE)
        self.pass_time(2)
        assert self.agents[SATELLITE].bindings.get(HOA).kind is BindingKind.PROXY

    def lose(self, index: int) -> None:
        """A Home Agent is gone without a word; the sessions to it are down."""
        self.gone.add(index)
        self.deaf.add(index)
        for other in self.configs[index].adjacent:
            there = next(i for i in self.agents if peer(i).haha == other.haha)
            self.agents[there].routes.session_changed(peer(index).haha, False, self.now.monotonic)
        self.settle()

    def regain(self, index: int) -> None:
        """It is back, with all that it knew."""
        self.gone.discard(index)
        self.deaf.discard(index)
        for other in self.configs[index].adjacent:
            there = next(i for i in self.agents if peer(i).haha == other.haha)
            if there in self.gone:
                continue
            self.join(index, there)
            self.join(there, index)
        self.settle()

    def addresses_of(self, index: int) -> set[Address]:
        """All by which others speak to it, and what it lends."""
        config = self.configs[index]
        lent = {one.address for other in config.peers for one in other.lent if one.parent == config.site}
        return {config.outer, *config.addresses, *lent}

    def _is_lost(self, packet: bytes) -> bool:
        parsed = parse_packet(packet)
        ends = {parsed.source, parsed.destination}
        return any(self.addresses_of(index) & ends for index in self.gone)


def home_configs(*parents: int) -> dict[int, HomeAgentConfig]:
    adapt = satellite_home(*parents)
    return {index: adapt(home_agent_config(index, 4)) for index in range(1, 5)}
