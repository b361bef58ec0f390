"""What `haha show` is told, where there are very many mobile routers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace

import pytest

from haha_exabgp.agent.home_agent_views import home_agent_views
from haha_exabgp.protocol.home import MobileRouterPolicy
from haha_exabgp.wire.address import Address
from tests.unit.conftest import HOA, World, peer
from tests.unit.hello import says_hello, without
from tests.unit.satellite_world import SATELLITE, SatelliteWorld


class VeryMany(Mapping[Address, MobileRouterPolicy]):
    """Policies that nobody may walk through."""

    def __init__(self, policies: Mapping[Address, MobileRouterPolicy]) -> None:
        self._policies = policies

    def __getitem__(self, home_address: Address) -> MobileRouterPolicy:
        return self._policies[home_address]

    def __iter__(self) -> Iterator[Address]:
        raise AssertionError("somebody looks at every mobile router")

    def __len__(self) -> int:
        return 100_000


def test_names_are_looked_up(world: World, monkeypatch) -> None:
    world.attach(2)
    monkeypatch.setattr(time, "monotonic", lambda: world.now.monotonic)
    config = replace(world.configs[1], mobile_routers=VeryMany(world.configs[1].mobile_routers))
    views = home_agent_views(
        SimpleNamespace(config=config, core=world.agents[1], draining=SimpleNamespace(rows=None))
    )
    (row,) = views["bindings"]()
    assert (row["mobile_router"], row["home_address"], row["through"]) == ("mr1", str(HOA), "ha2")


@pytest.mark.requirement("D-7")
def test_it_is_shown_from_whom_a_home_agent_is_heard_that_no_tunnel_joins_us_to() -> None:
    world = SatelliteWorld(2, 4, adapt=says_hello)
    world.pass_time(5)
    assert reached(world, SATELLITE) == {
        "ha3": "self",
        "ha1": "by site2, heard from ha2",
        "ha2": "yes, as parent",
        "ha4": "yes",
    }
    assert reached(world, 1)["ha3"] == "by its parent, heard from ha2"
    world.gone.add(1)
    world.pass_time(5)
    assert reached(world, SATELLITE)["ha1"] == "by site2, not heard by any"


@pytest.mark.requirement("D-7")
def test_a_home_agent_that_the_configuration_does_not_have_is_shown_by_its_address() -> None:
    world = World(3, without("ha3", "ha1"))
    world.pass_time(5)
    *_, unknown = sites(world, 1)
    assert (unknown["role"], unknown["outer"]) == ("not in the configuration", str(peer(3).outer))
    assert unknown["reached"] == "heard from ha2"
    assert {tuple(row) for row in sites(world, 1)} == {tuple(unknown)}


def sites(world: World, index: int) -> list[dict[str, str]]:
    daemon = SimpleNamespace(
        config=world.configs[index], core=world.agents[index], draining=SimpleNamespace(rows=None)
    )
    return home_agent_views(daemon)["sites"]()


def reached(world: World, index: int) -> dict[str, str]:
    return {row["home_agent"]: row["reached"] for row in sites(world, index)}
