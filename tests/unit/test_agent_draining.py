"""`haha drain`: what an operator writes, and is told."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from haha_exabgp.agent import draining as module
from haha_exabgp.agent.control import ask, serve_control
from haha_exabgp.agent.draining import FILE_NAME, Draining
from haha_exabgp.cli import drain
from haha_exabgp.protocol.home import HomeAgentConfig
from tests.unit.conftest import ACCESS, HOA, World, peer
from tests.unit.mobility_messages import update_to
from tests.unit.site_world import SiteWorld

pytestmark = pytest.mark.requirement("F-8")

Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return on_its_clock(World(), monkeypatch)


def on_its_clock(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "read_clocks", lambda: world.now)
    return world


def draining(world: World, index: int, run_dir: Path) -> Draining:
    return Draining(world.agents[index], world.configs[index], run_dir, world.settle)


def drain_at(
    world: World, index: int, run_dir: Path, *arguments: str, between: float = 10.0
) -> tuple[int, dict[str, object]]:
    """`haha drain` in another thread than the daemon, for which time passes whenever it is asked; exit
    status, and the last view."""
    here = draining(world, index, run_dir)

    def rows() -> list[dict[str, object]]:
        world.pass_time(between)
        return here.rows()

    async def story() -> tuple[int, dict[str, object]]:
        server = await serve_control(run_dir, {"drain": rows}, {"drain": here.drain})
        try:
            status = await asyncio.to_thread(haha, *arguments, "--run-dir", str(run_dir))
            return status, (await asyncio.to_thread(ask, run_dir, "drain"))[0]
        finally:
            server.close()

    return asyncio.run(story())


def haha(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    drain.register(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["drain", *arguments])
    status: int = parsed.run(parsed)
    return status


@pytest.fixture
def run(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setattr(drain, "_POLL", 0.01)

    def run_it(index: int, *arguments: str, world: World = world) -> tuple[int, list[str], str]:
        status, _ = drain_at(world, index, tmp_path, *arguments)
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return run_it


def test_who_waits_is_told_when_everybody_has_left(world: World, run: Run) -> None:
    world.closest = 2
    world.attach(2)
    assert run(2, "--wait") == (
        0,
        ["1 bound here, 1 of them not told yet", "drained: 0 bindings"],
        "",
    )
    assert world.mobile_router.registration is not None
    assert world.mobile_router.registration.home_agent == peer(1).outer


def test_what_is_bound_through_a_proxy_stays_and_that_is_said(world: World, run: Run) -> None:
    world.attach(1)
    status, lines, _ = run(1, "--wait")
    assert (status, lines[1]) == (0, "drained: 0 bindings")
    assert lines[2].startswith(
        "note: 1 bound through proxies stay, as no other primary of theirs is reached: without this one their"
        " bindings end in 5"
    )


def test_who_has_another_primary_is_not_in_that_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    site = SiteWorld()
    on_its_clock(site, monkeypatch)
    site.attach_to(3)
    status, lines, _ = run(site.owner, "--wait", world=site)
    assert (status, lines) == (0, ["drained: 0 bindings"])
    site.pass_time(2)
    assert draining(site, site.owner, tmp_path).rows()[0]["through_proxies"] == 0


def test_who_does_not_listen_is_named_with_the_end_of_its_binding(world: World, run: Run) -> None:
    world.inject(update_to(world, 2, ACCESS[2], 1, lifetime=600))
    status, lines, _ = run(2, "--wait")
    assert status == 1
    assert lines[:3] == [
        "1 bound here, 1 of them not told yet",
        "draining: 1 bindings, 0 not told yet, 0 with nowhere to go",
        "stays: mr1: told to switch 4 times, and has not; its binding ends in 556 s",
    ]


def test_who_has_nowhere_to_go_is_named(monkeypatch: pytest.MonkeyPatch, world: World, run: Run) -> None:
    def nowhere(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = replace(config.mobile_routers[HOA], proxies=frozenset())
        return replace(config, mobile_routers={HOA: policy})

    alone = on_its_clock(World(adapt=nowhere), monkeypatch)
    alone.attach(1)
    status, lines, _ = run(1, "--wait", world=alone)
    assert status == 1
    assert lines[-2:] == [
        "draining: 1 bindings, 0 not told yet, 1 with nowhere to go",
        "stays: mr1: no other Home Agent that may bind it is reached; its binding ends in 590 s",
    ]


def test_no_longer_than_was_said(world: World, run: Run) -> None:
    world.inject(update_to(world, 2, ACCESS[2], 1, lifetime=600))
    status, lines, _ = run(2, "--wait", "--timeout", "0")
    assert (status, lines) == (1, ["draining: 1 bindings, 1 not told yet, 0 with nowhere to go"])


def test_that_nobody_else_is_reached_is_said(world: World, run: Run) -> None:
    world.agents[1].routes.session_changed(peer(2).haha, False, world.now.monotonic)
    assert run(1)[1][1] == (
        "note: no other Home Agent is reached, so Home stays announced from here and nobody is sent away"
    )


def test_a_restarted_agent_goes_on_and_one_that_was_put_back_does_not(
    world: World, run: Run, tmp_path: Path
) -> None:
    assert run(1, "--rate", "5") == (0, ["drained: 0 bindings"], "")
    since = world.now.wall
    world.pass_time(60)
    world.restart(1)
    assert not world.agents[1].is_draining
    again = draining(world, 1, tmp_path)
    again.resume(world.now)
    assert world.agents[1].is_draining
    (row,) = again.rows()
    assert row["state"] == "drained" and since - 20 < row["since"] <= since
    assert run(1, "--cancel") == (0, ["in service"], "")
    world.restart(1)
    draining(world, 1, tmp_path).resume(world.now)
    assert not world.agents[1].is_draining
    assert run(1, "--cancel") == (0, ["in service"], "")


@pytest.mark.parametrize("content", ["", "[]", '{"since": 1, "rate": 0}', '{"rate": 5}', "nonsense"])
def test_a_file_that_cannot_be_read_still_says_out_of_service(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    draining(world, 1, tmp_path).resume(world.now)
    assert world.agents[1].is_draining
    assert FILE_NAME in caplog.text


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "1001", "inf"])
def test_a_rate_that_is_none_changes_nothing(world: World, run: Run, tmp_path: Path, rate: str) -> None:
    status, _, problem = run(1, "--rate", rate)
    assert status == 1 and "more than 0 and at most 1000" in problem
    assert not world.agents[1].is_draining
    assert not (tmp_path / FILE_NAME).exists()


def test_what_cannot_be_written_down_is_not_begun(world: World, run: Run, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    status, _, problem = run(1)
    assert status == 1 and FILE_NAME in problem
    assert not world.agents[1].is_draining


def test_options_that_do_not_go_together_are_refused(run: Run) -> None:
    assert run(1, "--timeout", "3")[0] == 1
    assert run(1, "--cancel", "--wait")[0] == 1


def test_an_agent_that_is_gone_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert haha("--run-dir", str(tmp_path)) == 1
    assert "is the daemon running?" in capsys.readouterr().err
