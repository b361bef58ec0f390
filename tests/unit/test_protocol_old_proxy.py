"""A proxy that a mobile router has left, and that has not been told so: it can end nothing."""

from __future__ import annotations

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.mobility import BindingRevocationIndication, BindingUpdate
from tests.unit.conftest import ACCESS, HOA, World, peer
from tests.unit.mobility_messages import acknowledgements, message_of, update_to

ACCESS3 = Address.parse("3fff:f03::aa")


def move(world: World, site: int, care_of_address: Address) -> None:
    world.closest = site
    world.mobile_router.attached(care_of_address, world.now)
    world.settle()


def kinds(world: World) -> dict[int, BindingKind]:
    return {index: one.kind for index, agent in world.agents.items() for one in agent.bindings}


def is_revocation(packet: bytes) -> bool:
    return isinstance(message_of(packet), BindingRevocationIndication)


@pytest.fixture
def left(three_sites: World) -> World:
    """Bound at site 3, and site 2 still holds the binding from before."""
    world = three_sites
    move(world, 2, ACCESS[2])
    world.deaf.add(2)
    world.pass_time(3)
    world.drop = lambda packet: packet[24:40] == peer(2).outer or is_revocation(packet)
    move(world, 3, ACCESS3)
    world.drop = is_revocation
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY, 3: BindingKind.PROXY}
    return world


@pytest.mark.requirement("H-7", "H-6")
def test_a_late_deregistration_through_it_does_not_end_the_new_binding(left: World) -> None:
    """What the mobile router said before it moved, held up on its way to the old proxy."""
    stored = left.agents[2].bindings.get(HOA)
    assert stored is not None
    before = [left.agents[index].bindings.get(HOA) for index in (1, 3)]
    late = update_to(left, 2, ACCESS[2], (stored.order.sequence + 1) % 65536, lifetime=0, ago=2.0)
    left.inject(late)
    assert [left.agents[index].bindings.get(HOA) for index in (1, 3)] == before
    assert [one.status for one in acknowledgements(left, ACCESS[2])][-1] == 135
    assert kinds(left) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}


@pytest.mark.requirement("H-7", "L-7")
def test_its_binding_running_out_ends_nothing_elsewhere(left: World) -> None:
    sent: list[bytes] = []

    def watch(packet: bytes) -> bool:
        if packet[8:24] == peer(2).haha and isinstance(message_of(packet), BindingUpdate):
            sent.append(packet)
        return is_revocation(packet)

    left.drop = watch
    left.pass_time(620)
    assert kinds(left) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    assert sent == []


@pytest.mark.requirement("M-CONST-BRI", "H-4")
def test_a_revocation_is_repeated_after_1_s_doubling_up_to_32_s(three_sites: World) -> None:
    world = three_sites
    move(world, 2, ACCESS[2])
    times: list[float] = []

    def lose(packet: bytes) -> bool:
        if is_revocation(packet):
            times.append(world.now.monotonic)
        return is_revocation(packet)

    world.drop = lose
    world.deaf.add(2)
    move(world, 1, ACCESS[1])
    world.pass_time(130)
    assert [round(time - times[0], 1) for time in times] == [0, 1, 3, 7, 15, 31, 63, 95, 127]
