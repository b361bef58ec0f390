from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import LoadedHome, load
from haha_exabgp.lab import daemons as daemons_module
from haha_exabgp.lab import prerequisites
from haha_exabgp.lab.allocation import allocate
from haha_exabgp.lab.daemons import PYTHON_ENVIRONMENT, Daemon, plan_home, plan_routers
from haha_exabgp.lab.prerequisites import check_prerequisites, find_program, user_for_exabgp
from haha_exabgp.lab.state import State
from haha_exabgp.lab.topology import LabError, Topology

CONFIGS = Path(__file__).parents[2] / "configs"
STATE = State("demo", "/demo.yaml", True, ())


@pytest.fixture
def home(tmp_path: Path) -> LoadedHome:
    path = tmp_path / "two-sites.yaml"
    shutil.copyfile(CONFIGS / path.name, path)
    loaded = load(path, no_key)
    assert list(make_missing(loaded.key_path(file) for _, file in key_files(loaded.config)))
    return loaded


@pytest.fixture
def topology(home: LoadedHome) -> Topology:
    return allocate(home.config)


def _started(stages: tuple[tuple[Daemon, ...], ...]) -> list[set[tuple[str, str]]]:
    return [{(daemon.node, daemon.name) for daemon in stage} for stage in stages]


def test_zebra_is_there_before_bgpd(
    home: LoadedHome, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemons_module, "find_program", lambda name: f"/frr/{name}")
    plan = plan_routers(home, topology, STATE)
    routers = {"inet1", "inet2", "site1-router", "site2-router"}
    assert _started(plan.stages) == [{(one, "zebra") for one in routers}, {(one, "bgpd") for one in routers}]
    assert plan.frr_nodes == routers
    inet1 = next(one for one in plan.stages[1] if one.node == "inet1")
    directory = "/run/haha/lab/demo/inet1"
    assert " ".join(inet1.argv) == (
        f"/frr/bgpd -f {directory}/bgpd.conf -i {directory}/bgpd.pid -z {directory}/zserv.api"
        f" --vty_socket {directory} -P 0"
    )
    assert inet1.ready == "bgpd.vty"
    password = home.bgp_key().hex()
    secret = {file.node: password in file.text for file in plan.files if file.name == "bgpd.conf"}
    assert secret == {"inet1": False, "inet2": False, "site1-router": True, "site2-router": True}


def test_agents_are_there_before_exabgp_and_mobile_routers(home: LoadedHome, topology: Topology) -> None:
    plan = plan_home(home, topology, STATE, "nobody")
    assert _started(plan.stages) == [
        {("ha1", "agent"), ("ha2", "agent")},
        {("ha1", "exabgp"), ("ha2", "exabgp"), ("mr1", "mr"), ("mr2", "mr")},
    ]


def test_command_lines_of_the_homes_daemons(home: LoadedHome, topology: Topology) -> None:
    plan = plan_home(home, topology, STATE, "nobody")
    lines = {(one.node, one.name): " ".join(one.argv) for stage in plan.stages for one in stage}
    haha = f"{sys.executable} -m haha_exabgp"
    run = "/run/haha/lab/demo"
    assert lines["ha1", "agent"].startswith(
        f"{haha} agent --config {home.path} --run-dir {run}/ha1 --home-agent ha1 --hook-group no"
    )
    assert lines["mr2", "mr"] == (
        f"{haha} mr --config {home.path} --run-dir {run}/mr2 --mobile-router mr2"
        " --interface wan0 --interface lte0 --lan lan0"
    )
    assert lines["ha2", "exabgp"] == f"{sys.executable} -m exabgp server {run}/ha2/exabgp.conf"


@pytest.mark.parametrize("user", ["nobody", "root"])
def test_exabgp_drops_to_a_user_who_can_read_its_configuration(
    home: LoadedHome, topology: Topology, user: str
) -> None:
    plan = plan_home(home, topology, STATE, user)
    exabgp = [one for one in plan.stages[1] if one.name == "exabgp"]
    assert {one.environment["exabgp_daemon_user"] for one in exabgp} == {user}
    assert all("socket" not in (one.ready or "") for one in exabgp)
    assert {file.group for file in plan.files} == {prerequisites.group_of(user)}
    assert f"{STATE.node_directory('ha1')}/hook.sock" in plan.files[0].text


def test_frr_is_found_outside_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zebra").touch(mode=0o755)
    monkeypatch.setattr(prerequisites, "FRR_DIRS", str(tmp_path))
    assert find_program("zebra") == str(tmp_path / "zebra")


def test_missing_programs_are_told_by_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    missing = ("zebra", "bgpd", "nft")
    monkeypatch.setattr(
        prerequisites.shutil, "which", lambda name, path: None if name in missing else f"/bin/{name}"
    )
    with pytest.raises(LabError, match=r"apt-get install frr nftables$"):
        check_prerequisites()


def test_others_than_root_are_told_to_use_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="sudo haha lab"):
        check_prerequisites()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user")
def test_exabgp_runs_as_root_with_one_warning_where_nobody_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "python").symlink_to(sys.executable)
    monkeypatch.setattr(prerequisites.sys, "executable", str(hidden / "python"))
    warnings: list[str] = []
    assert user_for_exabgp(PYTHON_ENVIRONMENT, warnings.append) == "root"
    assert len(warnings) == 1
    assert str(hidden / "python") in warnings[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user")
def test_exabgp_drops_to_nobody_where_nobody_can_run_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prerequisites.sys, "executable", "/bin/true")
    warnings: list[str] = []
    assert user_for_exabgp(PYTHON_ENVIRONMENT, warnings.append) == "nobody"
    assert warnings == []
