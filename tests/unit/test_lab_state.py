from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from haha_exabgp.lab import state as state_module
from haha_exabgp.lab.processes import Process, start_time
from haha_exabgp.lab.state import State, check_name, known_labs, load_state, remove_directory
from haha_exabgp.lab.topology import LabError


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "run" / "lab"
    directory.parent.mkdir()
    monkeypatch.setattr(state_module, "RUN_DIR", directory)
    return directory


def _process(pid: int, started: int) -> Process:
    return Process("inet1", "zebra", ("zebra", "-f", "x"), {"A": "1"}, "/log", pid, started)


def test_a_state_is_read_back_as_it_was_written() -> None:
    state = State("demo", "/etc/demo.yaml", True, ("demo.cn1",))
    state.claim()
    state = state.with_process(_process(1, 2))
    state.save()
    assert load_state("demo") == state
    assert known_labs() == ("demo",)


def test_starting_a_daemon_again_replaces_its_record() -> None:
    state = (
        State("demo", "/etc/demo.yaml", True, ()).with_process(_process(1, 2)).with_process(_process(3, 4))
    )
    assert [one.pid for one in state.processes] == [3]


def test_a_name_is_claimed_once() -> None:
    state = State("demo", "/etc/demo.yaml", True, ())
    state.claim()
    with pytest.raises(LabError, match="haha lab down demo"):
        state.claim()


def test_every_user_may_pass_through_the_directories_whatever_the_umask(run_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        State("demo", "/etc/demo.yaml", True, ()).claim()
    finally:
        os.umask(before)
    assert run_dir.stat().st_mode & 0o777 == 0o755
    assert (run_dir / "demo").stat().st_mode & 0o777 == 0o755


def test_removing_leaves_no_directory_but_those_of_other_labs(run_dir: Path) -> None:
    for name in ("one", "two"):
        State(name, "/etc/demo.yaml", True, ()).claim()
    assert remove_directory("one")
    assert known_labs() == ("two",)
    assert not remove_directory("one")
    assert remove_directory("two")
    assert not run_dir.parent.exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "two sites", "a.b", "-x", "x" * 33])
def test_names_that_no_namespace_could_carry_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="--name"):
        check_name(name)


def test_an_unknown_lab_is_answered_with_those_that_are_up() -> None:
    State("demo", "/etc/demo.yaml", True, ()).claim()
    with pytest.raises(LabError, match="no lab dmeo is up; labs that are: demo"):
        load_state("dmeo")


def test_a_lab_without_a_state_file_was_left_half_made(run_dir: Path) -> None:
    (run_dir / "demo").mkdir(parents=True)
    with pytest.raises(LabError, match="half-made: run haha lab down demo"):
        load_state("demo")


def test_a_process_is_alive_until_it_ends_even_if_nobody_waits_for_it() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = _process(child.pid, start_time(child.pid) or 0)
    try:
        assert process.alive
        assert not _process(child.pid, process.started - 1).alive, "another process had that pid before"
    finally:
        child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive, "a zombie"
    child.wait()
    assert not process.alive
