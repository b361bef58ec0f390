"""What `haha show` is told, where there are very many mobile routers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace

from haha_exabgp.agent.home_agent_views import home_agent_views
from haha_exabgp.protocol.home import MobileRouterPolicy
from haha_exabgp.wire.address import Address
from tests.unit.conftest import HOA, World


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
