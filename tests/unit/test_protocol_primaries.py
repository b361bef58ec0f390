"""Every Home Agent knows by itself which one is primary for a home address: the partitions say so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy
from haha_exabgp.protocol.messages import binding_update_packet
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.ipv6 import MobilityPacket
from haha_exabgp.wire.mobility import BindingUpdate
from haha_exabgp.wire.options import ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ASSOCIATION, World, peer

SITES = (1, 2, 3)
HOME_ADDRESSES = {site: Address.parse(f"2001:db8:{site}:1::10") for site in SITES}
CARE_OF = Address.parse("3fff:f01::aa")
FLAGS = BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER


def with_a_mobile_router_of_each_site(config: HomeAgentConfig) -> HomeAgentConfig:
    policies = {
        address: MobileRouterPolicy(
            f"mr{site}", address, (Prefix.parse(f"2001:db8:{site}:100::/64"),), (ASSOCIATION,)
        )
        for site, address in HOME_ADDRESSES.items()
    }
    return replace(config, mobile_routers=policies)


@pytest.fixture
def world() -> World:
    return World(sites=3, adapt=with_a_mobile_router_of_each_site)


def update(world: World, home: int, at: int, sequence: int = 1) -> bytes:
    """A Binding Update of the mobile router of site `home`, to the Home Agent of site `at`."""
    stamp = ReplayProtection(from_unix(world.now.wall))
    message = BindingUpdate(sequence, FLAGS, 600, (stamp,))
    return binding_update_packet(CARE_OF, peer(at).outer, HOME_ADDRESSES[home], message, ASSOCIATION)


def between_home_agents(world: World) -> list[tuple[Address, Address]]:
    sites = {peer(site).haha for site in SITES}
    ends = [(one.source, one.destination) for one in world.wire if isinstance(one, MobilityPacket)]
    return [(source, destination) for source, destination in ends if {source, destination} <= sites]


@pytest.mark.requirement("Q-1", "Q-4")
@pytest.mark.parametrize("at", SITES)
@pytest.mark.parametrize("home", SITES)
def test_every_home_agent_computes_the_same_primary(world: World, home: int, at: int) -> None:
    config, address = world.configs[at], HOME_ADDRESSES[home]
    assert config.is_primary_for(address) == (home == at)
    assert [one.haha for one in config.primary_for(address)] == ([] if home == at else [peer(home).haha])


@pytest.mark.requirement("Q-1", "Q-4", "B-8")
@pytest.mark.parametrize("at", SITES)
@pytest.mark.parametrize("home", SITES)
def test_an_update_anywhere_reaches_its_primary_and_nobody_else(world: World, home: int, at: int) -> None:
    world.inject(update(world, home, at))
    kinds = {index: one.kind for index, agent in world.agents.items() for one in agent.bindings}
    if home == at:
        assert kinds == {at: BindingKind.DIRECT}
        assert between_home_agents(world) == []
    else:
        assert kinds == {home: BindingKind.PROXIED, at: BindingKind.PROXY}
        here, there = peer(at).haha, peer(home).haha
        assert between_home_agents(world) == [(here, there), (there, here)]


@pytest.mark.requirement("B-1", "Q-1")
@pytest.mark.parametrize("at", [2, 3])
def test_what_is_bound_directly_is_found_from_everywhere(world: World, at: int) -> None:
    """Nobody was told of the direct binding, and everybody asks the one who has it."""
    world.inject(update(world, home=1, at=1))
    assert between_home_agents(world) == []
    world.inject(update(world, home=1, at=at, sequence=2))
    assert between_home_agents(world)[0] == (peer(at).haha, peer(1).haha)
    binding = world.agents[1].bindings.get(HOME_ADDRESSES[1])
    assert binding is not None
    assert (binding.kind, binding.peer) == (BindingKind.PROXIED, peer(at).haha)
