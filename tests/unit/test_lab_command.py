"""`haha lab` where it decides something by itself; the rest is tested on real labs."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from haha_exabgp.cli import lab as command
from haha_exabgp.lab.topology import LabError

Labs = Callable[..., None]


@pytest.fixture
def labs(monkeypatch: pytest.MonkeyPatch) -> Labs:
    """Sets which labs are up."""
    monkeypatch.setattr(command, "check_root", lambda: None)

    def are_up(*names: str) -> None:
        monkeypatch.setattr(command, "known_labs", lambda: names)
        monkeypatch.setattr(command, "remove", lambda name: name in names)

    return are_up


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    parsed = parser.parse_args(["lab", *arguments])
    status: int = parsed.run(parsed)
    return status


def test_down_takes_the_only_lab_and_all_labs_when_told_so(
    labs: Labs, capsys: pytest.CaptureFixture[str]
) -> None:
    labs("one")
    assert _run("down") == 0
    labs("one", "two")
    assert _run("down", "--all") == 0
    assert capsys.readouterr().out == "lab one is down\nlab one is down\nlab two is down\n"


def test_down_does_not_guess_which_of_several_labs(labs: Labs, capsys: pytest.CaptureFixture[str]) -> None:
    labs("one", "two")
    assert _run("down") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "say which, or --all: one two" in shown.err


def test_down_takes_only_the_labs_that_are_named(labs: Labs, capsys: pytest.CaptureFixture[str]) -> None:
    labs("one", "two")
    assert _run("down", "two", "configs/three.yaml") == 0
    assert capsys.readouterr().out == "lab two is down\nno lab three was up\n"


def test_which_lab_is_asked_only_where_there_are_several(
    labs: Labs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labs("one", "two")
    assert _run("status") == 1
    assert "say which: --lab one or --lab two" in capsys.readouterr().err

    def attach(name: str) -> None:
        raise LabError(f"attached to {name}")

    monkeypatch.setattr(command.Lab, "attach", attach)
    for up, arguments in {("one", "two"): ("--lab", "two"), ("two",): ()}.items():
        labs(*up)
        assert _run("move", *arguments, "mr1", "none") == 1
        assert capsys.readouterr().err == "haha lab: attached to two\n"


def test_without_a_lab_the_way_to_one_is_told(labs: Labs, capsys: pytest.CaptureFixture[str]) -> None:
    labs()
    assert _run("exec", "cn1", "--", "true") == 1
    assert "haha lab up CONFIG" in capsys.readouterr().err


def test_a_failure_after_a_signal_counts_as_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal may reach a program that the lab runs, too: that program fails."""
    signals: dict[int, Callable[[int, None], None]] = {}
    monkeypatch.setattr(command.signal, "signal", signals.__setitem__)

    def up(*arguments: object, **options: object) -> None:
        for number, handler in signals.items():
            handler(number, None)
        raise LabError("ip failed (-2)")

    monkeypatch.setattr(command.Lab, "up", up)
    assert _run("up", "demo.yaml") == 130
    assert capsys.readouterr().err == "haha lab: interrupted; nothing is left of the lab\n"
