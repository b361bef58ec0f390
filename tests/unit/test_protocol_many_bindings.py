"""What many mobile routers do at once costs each of them what it costs one."""

from __future__ import annotations

import time

from haha_exabgp.protocol.bindings import MAX_DELETE_BCE_TIMEOUT
from haha_exabgp.protocol.request import read_request
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.messages import BindingUpdate
from tests.unit.conftest import ACCESS, HOA, WALL, World

MANY = 100_000


def _leaves(world: World, home_address: Address, monotonic: float) -> None:
    update = BindingUpdate(1, BindingUpdateFlag.HOME_REGISTRATION, 0)
    request = read_request(update, ACCESS[1], home_address)
    world.agents[1]._bindings.deregister(request, Now(monotonic, WALL))


def test_one_more_that_leaves_does_not_wait_for_all_that_have_left(world: World) -> None:
    for number in range(MANY):
        _leaves(world, Address(HOA[:12] + number.to_bytes(4, "big")), 1000.0 + number / MANY)
    began = time.perf_counter()
    _leaves(world, HOA, 1002.0 + MAX_DELETE_BCE_TIMEOUT)
    assert time.perf_counter() - began < 0.4
