"""`haha switch`: an operator sends mobile routers to other Home Agents by their names."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from haha_exabgp.agent.control import serve_control
from haha_exabgp.agent.known_mobile_routers import mobile_router_rows
from haha_exabgp.agent.switching import Switching
from haha_exabgp.cli import switch
from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy
from haha_exabgp.wire.address import Address
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, World, peer
from tests.unit.mobility_messages import update_to

MR9 = MobileRouterPolicy("mr9", Address.parse("2001:db8:3:1::9"), (), (ASSOCIATION,))


def two(config: HomeAgentConfig) -> HomeAgentConfig:
    return replace(config, mobile_routers={**config.mobile_routers, MR9.home_address: MR9})


@pytest.fixture
def world() -> World:
    return World(sites=3, adapt=two)


def switching(world: World, index: int) -> Switching:
    return Switching(world.agents[index], world.configs[index], world.settle)


def told_by(world: World, index: int, *arguments: str, run_dir: Path) -> int:
    """`haha switch` in another thread than the daemon."""

    async def story() -> int:
        server = await serve_control(run_dir, {}, {"switch": switching(world, index).switch})
        try:
            return await asyncio.to_thread(haha, *arguments, "--run-dir", str(run_dir))
        finally:
            server.close()

    return asyncio.run(story())


def haha(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    switch.register(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["switch", *arguments])
    status: int = parsed.run(parsed)
    return status


@pytest.fixture
def run(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def run_it(index: int, *arguments: str) -> tuple[int, str, str]:
        status = told_by(world, index, *arguments, run_dir=tmp_path)
        return status, *capsys.readouterr()

    return run_it


@pytest.mark.requirement("H-11")
@pytest.mark.parametrize("towards", ["ha3", str(peer(3).outer)])
def test_a_mobile_router_is_sent_by_name_and_goes(world: World, run, towards: str) -> None:
    world.attach(1)
    assert run(1, "mr1", "--to", towards) == (0, "to switch to ha3: mr1\n", "")
    (row,) = mobile_router_rows(world.agents[1], world.configs[1], "mr1", world.now)
    assert row["told_to_switch"]
    world.pass_time(2)
    assert world.mobile_router.registration is not None
    assert world.mobile_router.registration.home_agent == peer(3).outer
    (row,) = mobile_router_rows(world.agents[1], world.configs[1], "mr1", world.now)
    assert row["through"] == "proxy ha3" and "told_to_switch" not in row


@pytest.mark.requirement("H-11")
def test_without_a_name_discovery_finds_where_to(world: World, run) -> None:
    world.attach(1)
    world.closest = 2
    assert run(1, str(HOA)) == (0, "to switch to whom discovery finds: mr1\n", "")
    world.pass_time(3)
    assert world.mobile_router.registration is not None
    assert world.mobile_router.registration.home_agent == peer(2).outer


def test_all_are_those_that_are_bound_here(world: World, run) -> None:
    assert run(2, "--all", "--to", "ha3") == (0, "nobody is told; nobody is bound here\n", "")
    world.attach(2)
    # At the primary it is bound as well, through the proxy, which is who can tell it.
    assert run(1, "--all") == (0, "nobody is told; nobody is bound here\n", "")
    assert run(2, "--all", "--to", "ha3", "ha1") == (0, "to switch to ha3, ha1: mr1\n", "")


def test_who_is_to_stay_is_extended_again(world: World, run) -> None:
    world.attach(1)
    assert run(1, "mr1", "--stay") == (0, "nobody had been told to switch\n", "")
    run(1, "mr1", "--to", "ha2")
    assert run(1, "--all", "--stay") == (0, "to stay: mr1\n", "")
    number = world.agents[1].bindings.get(HOA).order.sequence + 1
    before = world.agents[1].bindings.get(HOA).expires
    world.inject(update_to(world, 1, ACCESS[1], number))
    assert world.agents[1].bindings.get(HOA).expires > before


def test_a_home_agent_that_is_not_reached_is_said(world: World, run) -> None:
    world.attach(1)
    world.agents[1].routes.session_changed(peer(2).haha, False, world.now.monotonic)
    assert run(1, "mr1", "--to", "ha2") == (
        0,
        "to switch to ha2: mr1; ha2 is not reached from here\n",
        "",
    )


NO_OTHER = "no other Home Agent has the name or outer address"


@pytest.mark.parametrize(
    ("index", "arguments", "told"),
    [
        (1, ["mr7"], "no mobile router has the name or home address mr7"),
        (1, ["mr1", "--to", "ha9"], f"{NO_OTHER} ha9; there are: ha2, ha3"),
        (1, ["mr1", "--to", "ha1"], f"{NO_OTHER} ha1; there are: ha2, ha3"),
        (1, ["mr1"], "mr1 is not bound here but at ha2: switch it there"),
        (3, ["mr1"], "mr1 is not bound here but at ha2: switch it there"),
        (1, ["mr9"], "mr9 is not bound here; its primary is ha3"),
        (3, ["mr9"], "mr9 is not bound here; its primary is ha3"),
        (2, ["mr1", "mr9"], "mr9 is not bound here; its primary is ha3"),
        (1, [], "name the mobile routers, or write --all for all that are bound there"),
        (1, ["mr1", "--all"], "name the mobile routers, or write --all for all that are bound there"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_readable_line_and_nobody_is_told(
    world: World, run, index: int, arguments: list[str], told: str
) -> None:
    world.attach(2)
    assert run(index, *arguments) == (1, "", f"haha: {told}\n")
    assert not any(agent.leaving for agent in world.agents.values())


def test_nobody_is_sent_to_a_home_agent_that_would_refuse_it(world: World, run) -> None:
    """It would be extended nowhere."""
    world.attach(1)
    for config in world.configs.values():
        policies = config.mobile_routers
        assert isinstance(policies, dict)
        policies[HOA] = replace(policies[HOA], proxies=frozenset({"ha2"}))
    assert run(1, "mr1", "--to", "ha2", "ha3") == (
        1,
        "",
        "haha: mr1 may not be bound by ha3: it is not among its proxies\n",
    )
    assert run(1, "--all", "--to", "ha3") == (
        0,
        "nobody is told; 1 left alone: ha3 is not among their proxies\n",
        "",
    )
    assert run(1, "mr1", "--to", "ha2")[0] == 0


def test_without_a_daemon_it_says_where_it_looked(tmp_path: Path, capsys) -> None:
    assert haha("mr1", "--run-dir", str(tmp_path)) == 1
    assert "is the daemon running?" in capsys.readouterr().err


def test_very_many_names_are_cut() -> None:
    names = [f"a{number}" for number in range(50)]
    assert switch.told(names, "ha2", stay=False).endswith("a9 and 40 more")


def test_whose_key_only_its_primary_has_cannot_be_told(world: World, run) -> None:
    world.attach(2)
    binding = world.agents[2].bindings.get(HOA)
    world.stored[2] = {HOA: binding._replace(is_vouched=True)}
    world.restart(2)
    assert run(2, "mr1") == (1, "", "haha: mr1 cannot be told from here: only its primary has its key\n")
    assert run(2, "--all") == (0, "nobody is told; nobody is bound here\n", "")
