"""A move between two proxies, neither of them the primary, on real daemons, FRR and kernel: make before break
loses no packet, whoever the correspondent is near, leaked or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from tests.lab.home_world import MNP, OUTER, SECONDS, home_lab, kernel, tunnels_to, write_home
from tests.lab.moves_world import RATE, begin_at, move, set_leaks

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("moves"), "mv", config="three-sites.yaml")


@pytest.fixture(scope="module")
def lab(path: Path) -> Iterator[Lab]:
    with home_lab(path) as lab:
        begin_at(lab, 2)
        yield lab


@pytest.mark.requirement("H-3", "H-5", "H-5-ON", "H-9", "H-12", "H-12-MBB")
@pytest.mark.parametrize("policy", ["always", "never"])
def test_make_before_break_between_two_proxies_loses_nothing(lab: Lab, path: Path, policy: str) -> None:
    set_leaks(lab, path, policy)
    begin_at(lab, 2)
    leak = [OUTER[2]] if policy == "always" else []
    eventually(lambda: tunnels_to(lab, "ha3", MNP) == leak, SECONDS, f"leaks of ha2 at ha3: {leak}")
    counted = move(lab, 3)
    assert all(one.sent > RATE for one in counted.values())
    assert {ends: one.lost for ends, one in counted.items() if one.lost} == {}
    assert {ends: one.duplicates for ends, one in counted.items() if one.duplicates} == {}
    for home_agent in ("ha1", "ha2", "ha3"):
        assert not [one for one in kernel(lab, home_agent) if one["metric"] == 110]
