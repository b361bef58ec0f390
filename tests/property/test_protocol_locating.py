"""Whatever happens between sites that share a partition: afterwards one of them is primary, before the mobile
router has to refresh, and packets that come to any site get to it."""

from __future__ import annotations

from random import Random

import pytest

from haha_exabgp.protocol.home import Locate
from haha_exabgp.wire.address import Address
from tests.unit.conftest import peer
from tests.unit.shared_world import ACCESS, SharedWorld, sharing

SITES = 4


class Faults:
    """What a seed does to a world: moves, cuts, restarts, lost packets."""

    def __init__(self, world: SharedWorld, seed: int) -> None:
        self._world = world
        self._random = Random(seed)
        self._loss = 0.0
        world.drop = self._is_lost

    def go(self) -> None:
        self._move()
        for _ in range(self._random.randrange(3, 12)):
            self._random.choice((self._move, self._move, self._cut, self._mend, self._restart, self._lose))()
            self._world.pass_time(self._random.choice((0.05, 0.3, 1, 3, 10, 70)))
        self._loss = 0.0
        while self._world.cut:
            self._mend()

    def _move(self) -> None:
        place = self._random.randrange(1, SITES + 1)
        self._world.closest = place
        self._world.mobile_router.attached(ACCESS[place], self._world.now)
        self._world.settle()

    def _cut(self) -> None:
        one, other = self._random.sample(range(1, SITES + 1), 2)
        self._world.separate(one, other)

    def _mend(self) -> None:
        if self._world.cut:
            one, other = self._random.choice(sorted(map(sorted, self._world.cut)))
            self._world.rejoin(one, other)

    def _restart(self) -> None:
        index = self._random.randrange(1, SITES + 1)
        self._world.restart(index)
        for other in self._world.agents:
            if other != index and frozenset((index, other)) not in self._world.cut:
                self._world.join(index, other)
                self._world.join(other, index)
        self._world.settle()

    def _lose(self) -> None:
        self._loss = self._random.choice((0.0, 0.1, 0.5))

    def _is_lost(self, packet: bytes) -> bool:
        return self._world.is_cut(packet) or self._random.random() < self._loss


def gets_there(world: SharedWorld, index: int, care_of_address: Address) -> bool:
    """Follow a packet from one Home Agent to the next."""
    for _ in range(SITES):
        exit_ = world.way(index)
        if exit_ == care_of_address:
            return True
        found = [other for other in world.agents if peer(other).outer == exit_]
        if not found:
            return False
        index = found[0]
    return False


@pytest.mark.requirement("Q-1", "Q-2", "Q-3", "Q-5")
@pytest.mark.parametrize("between", [(1, 2), (1, 2, 3)])
@pytest.mark.parametrize("method", [Locate.PROACTIVE, Locate.REACTIVE])
@pytest.mark.parametrize("seed", range(8))
def test_one_is_primary_and_all_ways_lead_to_the_mobile_router(
    seed: int, method: Locate, between: tuple[int, ...]
) -> None:
    world = SharedWorld(method, SITES, sharing(method, between=between))
    Faults(world, seed).go()
    world.pass_time(45)
    assert len(world.primaries()) == 1
    world.pass_time(700)
    assert len(world.primaries()) == 1
    care_of_address = world.mobile_router.care_of_address
    assert world.mobile_router.registration is not None and care_of_address is not None
    assert [index for index in world.agents if not gets_there(world, index, care_of_address)] == []
