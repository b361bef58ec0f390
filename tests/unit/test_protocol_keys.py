"""Security associations at a Home Agent: several at a time, and with HMAC-SHA256."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.home import HomeAgentConfig, SecurityAssociation
from haha_exabgp.protocol.messages import binding_update_packet
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig, State
from haha_exabgp.wire.authentication import Algorithm, find_authentication, verify
from haha_exabgp.wire.ipv6 import MobilityPacket
from haha_exabgp.wire.mobility import BindingUpdate
from haha_exabgp.wire.options import MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MNP, World, peer
from tests.unit.mobility_messages import UPDATE_FLAGS, acknowledgements

NEW = SecurityAssociation(4097, bytes(range(50, 82)), Algorithm.HMAC_SHA256)


def world_with(*associations: SecurityAssociation) -> World:
    def adapt(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = replace(config.mobile_routers[HOA], associations=associations)
        return replace(config, mobile_routers={HOA: policy})

    return World(adapt=adapt)


def register(world: World, site: int, sequence: int, association: SecurityAssociation) -> int | None:
    """The status that a Binding Update signed so is answered with, None when there is no answer."""
    stamp = ReplayProtection(from_unix(world.now.wall))
    update = BindingUpdate(sequence, UPDATE_FLAGS, 600, (MobileNetworkPrefix(MNP), stamp))
    seen = len(acknowledgements(world, ACCESS[site]))
    world.inject(binding_update_packet(ACCESS[site], peer(site).outer, HOA, update, association))
    answers = acknowledgements(world, ACCESS[site])[seen:]
    return answers[0].status if answers else None


def last_answer(world: World, site: int) -> MobilityPacket:
    packets = [one for one in world.wire if isinstance(one, MobilityPacket)]
    return next(one for one in reversed(packets) if one.destination == ACCESS[site])


@pytest.mark.requirement("M-AUTH-ROLLOVER", "M-AUTH-SHA256")
@pytest.mark.parametrize("site", [1, 2])
@pytest.mark.parametrize("association", [ASSOCIATION, NEW])
def test_either_of_two_keys_binds_and_signs_the_answer(site: int, association: SecurityAssociation) -> None:
    world = world_with(ASSOCIATION, NEW)
    assert register(world, site, 1, association) == 0
    answer = last_answer(world, site)
    found = find_authentication(answer.header)
    assert found is not None and found.option.spi == association.spi
    key, algorithm = association.key, association.algorithm
    assert verify(answer.header, found, key, ACCESS[site], HOA, algorithm=algorithm)


@pytest.mark.requirement("M-AUTH-ROLLOVER")
def test_a_binding_goes_on_from_the_old_key_to_the_new_one() -> None:
    world = world_with(ASSOCIATION, NEW)
    assert register(world, 1, 1, ASSOCIATION) == 0
    assert register(world, 1, 2, NEW) == 0
    assert register(world, 2, 3, NEW) == 0
    assert {index: len(agent.bindings) for index, agent in world.agents.items()} == {1: 1, 2: 1}


@pytest.mark.requirement("M-AUTH-ROLLOVER", "M-AUTH-SILENT")
def test_a_key_that_has_been_taken_out_opens_nothing() -> None:
    world = world_with(NEW)
    assert register(world, 1, 1, ASSOCIATION) is None
    assert world.agents[1].counters["dropped_unknown_spi"] == 1
    assert len(world.agents[1].bindings) == 0


@pytest.mark.requirement("M-AUTH-SHA256")
def test_the_same_key_with_the_other_digest_is_a_wrong_authenticator() -> None:
    world = world_with(ASSOCIATION, NEW)
    wrong = (
        replace(NEW, algorithm=Algorithm.HMAC_SHA1),
        replace(ASSOCIATION, algorithm=Algorithm.HMAC_SHA256),
    )
    assert [register(world, 1, number, one) for number, one in enumerate(wrong)] == [146, 146]
    assert len(world.agents[1].bindings) == 0


@pytest.mark.requirement("M-AUTH-SHA256")
def test_a_mobile_router_with_sha256_binds_moves_and_leaves() -> None:
    world = world_with(NEW)
    config = MobileRouterConfig("mr1", HOA, (MNP,), NEW, lifetime=600)
    world.mobile_router = MobileRouter(config, first_sequence=1)
    for site in (1, 2, 1):
        world.attach(site)
        assert world.mobile_router.state is State.BOUND
    world.mobile_router.stop(world.now)
    world.settle()
    world.pass_time(5)
    assert [len(agent.bindings) for agent in world.agents.values()] == [0, 0]
