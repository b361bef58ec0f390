"""Sites 1 and 2, with a Home Agent each, share a partition; sites from 3 on have their own. All say HELLO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from haha_exabgp.protocol.binding import Binding, BindingKind
from haha_exabgp.protocol.effects import Announce, Withdraw
from haha_exabgp.protocol.home import HomeAgentConfig, Locate, Peer
from haha_exabgp.wire.address import Address, Prefix
from tests.unit.conftest import HOA, MNP, World, peer

ACCESS = {index: Address.parse(f"3fff:f0{index}::aa") for index in range(1, 5)}
SHARING = (1, 2)
PARTITION = peer(1).partition
Adapt = Callable[[HomeAgentConfig], HomeAgentConfig]


def sharing(method: Locate, *, between: tuple[int, ...] = SHARING, adapt: Adapt = lambda one: one) -> Adapt:
    """What makes these sites share the first one's partition, each pair by this method."""
    names = {f"site{index}" for index in between}

    def adapted(config: HomeAgentConfig) -> HomeAgentConfig:
        def seen(other: Peer) -> Peer:
            if other.site not in names:
                return other
            how = method if config.site in names and config.site != other.site else Locate.PREDICTIVE
            return replace(other, partition=PARTITION, locate=how)

        changed = replace(
            config,
            peers=tuple(map(seen, config.peers)),
            hello_interval=1.0,
            asked_for=(PARTITION,) if method is Locate.REACTIVE else (),
        )
        return adapt(replace(changed, partition=PARTITION) if config.site in names else changed)

    return adapted


class SharedWorld(World):
    """`cut` holds pairs of Home Agents that neither packets nor BGP reach each other."""

    def __init__(self, method: Locate, sites: int = 3, adapt: Adapt | None = None) -> None:
        self.cut: set[frozenset[int]] = set()
        super().__init__(sites, adapt or sharing(method))
        self.drop = self.is_cut
        self.pass_time(15)

    def bind_at(self, index: int) -> None:
        """The mobile router is bound there, and everybody has been told."""
        self.closest = index
        self.mobile_router.attached(ACCESS[index], self.now)
        self.settle()
        self.pass_time(4)
        registration = self.mobile_router.registration
        assert registration is not None and registration.home_agent == peer(index).outer

    def binding(self, index: int) -> Binding | None:
        return self.agents[index].bindings.get(HOA)

    def separate(self, here: int, there: int) -> None:
        """Neither hears the other any more."""
        self.cut.add(frozenset((here, there)))
        for one, other in ((here, there), (there, here)):
            self.agents[one].routes.session_changed(peer(other).haha, False, self.now.monotonic)
        self.settle()

    def rejoin(self, here: int, there: int) -> None:
        self.cut.discard(frozenset((here, there)))
        self.join(here, there)
        self.join(there, here)
        self.settle()

    def kill(self, index: int) -> None:
        """Its process and its host are gone; BGP has not noticed yet."""
        del self.agents[index]

    def way(self, index: int, prefix: Prefix = MNP) -> Address | None:
        """Where the kernel of a Home Agent sends what is for the mobile router."""
        routes = [one for one in self.agents[index].wanted.routes() if one.prefix.covers(prefix)]
        best = min(routes, key=lambda route: (-route.prefix.length, route.metric))
        return best.tunnel_exit

    def primaries(self) -> list[int]:
        """Who is primary for the mobile router."""
        kinds = {index: one.kind for index in self.agents if (one := self.binding(index)) is not None}
        return [index for index, kind in kinds.items() if kind in (BindingKind.DIRECT, BindingKind.PROXIED)]

    def is_cut(self, packet: bytes) -> bool:
        """Whether a packet is between two that do not reach each other."""
        ends = {packet[8:24], packet[24:40]}
        return any(ends == {bytes(peer(index).haha) for index in pair} for pair in self.cut)

    def _tell_one(self, to: int, by: int, effect: Announce | Withdraw) -> None:
        if frozenset((to, by)) not in self.cut:
            super()._tell_one(to, by, effect)
