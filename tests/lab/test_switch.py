"""`haha switch` on the real thing: a mobile router that is told to leaves for the other site, and no packet
is lost on the way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from haha_exabgp.agent.control import ask
from haha_exabgp.cli.main import main
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from tests.lab.home_world import (
    LFN,
    OUTER,
    SECONDS,
    bind_at,
    bound,
    counter,
    home_lab,
    show,
    write_home,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with home_lab(write_home(tmp_path_factory.mktemp("switch"), "sw")) as lab:
        yield lab


def haha(lab: Lab, node: str, *arguments: str) -> int:
    return main(["switch", *arguments, "--run-dir", str(lab.run_dir(node))])


@pytest.mark.requirement("H-11")
@pytest.mark.parametrize(("here", "there"), [(1, 2), (2, 1)])
def test_a_mobile_router_that_is_sent_to_the_other_site_moves_without_loss(
    lab: Lab, capsys: pytest.CaptureFixture[str], here: int, there: int
) -> None:
    bind_at(lab, here)
    sent = counter(lab, f"ha{here}", "switch_sent")
    pings = lab.spawn(f"cn{here}", ["ping", "-6", "-q", "-c", "300", "-i", "0.01", str(LFN)])
    assert haha(lab, f"ha{here}", "mr1", "--to", f"ha{there}") == 0
    assert capsys.readouterr().out == f"to switch to ha{there}: mr1\n"
    row = eventually(lambda: bound(lab, there), SECONDS, f"mr1 bound at ha{there}, though it is at {here}")
    assert lab.attachment("mr1") == f"access{here}"
    assert row["care_of_address"] and row["home_agent"] == OUTER[there]
    summary = pings.communicate(timeout=SECONDS)[0]
    transmitted, received = map(
        int, re.search(r"(\d+) packets transmitted, (\d+) received", summary).groups()
    )
    assert transmitted == received, summary
    # Told once: it has gone, and is let in again when it comes back.
    assert counter(lab, f"ha{here}", "switch_sent") == sent + 1
    assert haha(lab, f"ha{there}", "--all", "--to", f"ha{here}") == 0
    eventually(lambda: bound(lab, here), SECONDS, f"mr1 back at ha{here}")


@pytest.mark.requirement("H-11")
def test_discovery_finds_where_to_when_nothing_is_said(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    bind_at(lab, 1)
    assert haha(lab, "ha1", "mr1") == 0
    assert capsys.readouterr().out == "to switch to whom discovery finds: mr1\n"
    eventually(lambda: bound(lab, 2), SECONDS, "mr1 bound at the next Home Agent that discovery names")


def test_who_cannot_do_it_says_why(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    bind_at(lab, 2)
    assert haha(lab, "ha1", "mr1", "--to", "ha2") == 1
    assert capsys.readouterr().err == "haha: mr1 is not bound here but at ha2: switch it there\n"
    assert haha(lab, "mr1", "mr1", "--to", "ha1") == 1
    assert "this is a mobile router" in capsys.readouterr().err
    assert main(["reload", "--run-dir", str(lab.run_dir("mr1"))]) == 1
    assert "restart haha mr" in capsys.readouterr().err
    (row,) = ask(lab.run_dir("mr1"), "mobile-router", of="mr1")
    assert row == {
        **show(lab, "mr1", "mobile-router")[0],
        **{k: row[k] for k in ("refresh_in", "expires_in")},
    }
    assert main(["show", "mobile-router", "mr2", "--run-dir", str(lab.run_dir("mr1"))]) == 1
    assert "this is the daemon of mr1" in capsys.readouterr().err
