"""A site with two Home Agents, 1 and 2, and another site with one, 3; all say HELLO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from haha_exabgp.protocol.binding import Binding
from haha_exabgp.protocol.home import HomeAgentConfig, Peer
from haha_exabgp.protocol.ownership import best
from haha_exabgp.wire.address import Address
from tests.unit.conftest import HOA, World, peer

Adapt = Callable[[HomeAgentConfig], HomeAgentConfig]
ACCESS = {index: Address.parse(f"3fff:f0{index}::aa") for index in (1, 2, 3)}


def place(one: Peer) -> Peer:
    """The second Home Agent belongs to the first one's site."""
    return replace(one, site="site1", partition=peer(1).partition) if one.name == "ha2" else one


def of_two_sites(config: HomeAgentConfig) -> HomeAgentConfig:
    """The configuration of one of the three."""
    own = place(peer(int(config.name[-1])))
    return replace(
        config,
        site=own.site,
        partition=own.partition,
        peers=tuple(map(place, config.peers)),
        hello_interval=1.0,
    )


class SiteWorld(World):
    """`owner` and `other` are the Home Agents of the site that owns the mobile router's home address or not
    while both are up."""

    def __init__(self, adapt: Adapt = lambda config: config) -> None:
        super().__init__(3, lambda config: adapt(of_two_sites(config)))
        winner = best((peer(1), peer(2)), HOA)
        assert winner is not None
        self.owner = int(winner.name[-1])
        self.other = 3 - self.owner
        self.pass_time(5)

    def kill(self, index: int) -> None:
        """Its process and its host are gone; BGP has not noticed yet."""
        del self.agents[index]

    def revive(self, index: int) -> None:
        """It starts with what it had stored."""
        self.restart(index)
        self.reconnect(index)

    def attach_to(self, index: int) -> None:
        """The mobile router attaches near this Home Agent and binds to it; discovery may name another."""
        self.closest = index
        self.mobile_router.attached(ACCESS[index], self.now)
        self.settle()
        for here, agent in self.agents.items():
            if here != index:
                agent.switch([HOA], [peer(index).outer])
        self.pass_time(3)
        registration = self.mobile_router.registration
        assert registration is not None and registration.home_agent == peer(index).outer

    def binding(self, index: int) -> Binding | None:
        return self.agents[index].bindings.get(HOA)
