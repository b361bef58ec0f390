"""`haha drain` on the real thing: the mobile router leaves without losing a packet, Home is left to the other
site, and the agent can be stopped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from haha_exabgp.cli.main import main
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from tests.lab.home_world import (
    LFN,
    SECONDS,
    bind_at,
    bound,
    home_lab,
    ping,
    show,
    write_home,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

HOME = "2001:db8::/32"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with home_lab(write_home(tmp_path_factory.mktemp("drain"), "dr")) as lab:
        yield lab


def haha(lab: Lab, node: str, *arguments: str) -> int:
    return main(["drain", *arguments, "--run-dir", str(lab.run_dir(node))])


def lost(summary: str) -> int:
    transmitted, received = map(
        int, re.search(r"(\d+) packets transmitted, (\d+) received", summary).groups()
    )
    return transmitted - received


@pytest.mark.requirement("F-8", "H-11")
@pytest.mark.parametrize(("here", "there"), [(2, 1), (1, 2)])
def test_nobody_loses_a_packet_and_the_agent_can_be_stopped(
    lab: Lab, capsys: pytest.CaptureFixture[str], here: int, there: int
) -> None:
    bind_at(lab, here)
    for place in (1, 2):
        eventually(lambda place=place: "64500" in paths(lab, place), SECONDS, "both sites announce Home")
    both = [
        lab.spawn(f"cn{place}", ["ping", "-6", "-q", "-c", "400", "-i", "0.01", str(LFN)]) for place in (1, 2)
    ]
    assert haha(lab, f"ha{here}", "--wait") == 0
    assert "drained: 0 bindings" in capsys.readouterr().out
    assert bound(lab, there), f"mr1 bound at ha{there}, though it is at {here}"
    assert lab.attachment("mr1") == f"access{here}"
    summaries = [pings.communicate(timeout=SECONDS)[0] for pings in both]
    assert [lost(summary) for summary in summaries] == [0, 0], summaries
    eventually(
        lambda: is_left_to_others(lab, here), SECONDS, "the Internet next to it knows only the other way"
    )
    (row,) = show(lab, f"ha{here}", "drain")
    assert (row["state"], row["bound_here"], row["through_proxies"]) == ("drained", 0, 1 if here == 1 else 0)

    # Out of service is out of service, whoever restarts it; and nobody misses it.
    lab.stop(f"ha{here}", "agent")
    assert all(ping(lab, f"cn{place}") for place in (1, 2))
    lab.start(f"ha{here}", "agent")
    (row,) = eventually(lambda: show(lab, f"ha{here}", "drain"), SECONDS, "the agent answers")
    assert row["state"] == "drained"

    assert haha(lab, f"ha{here}", "--cancel") == 0
    assert capsys.readouterr().out == "in service\n"
    eventually(lambda: "64500" in paths(lab, here), SECONDS, "Home announced to the Internet again")


def is_left_to_others(lab: Lab, site: int) -> bool:
    found = paths(lab, site)
    return bool(found) and "64500" not in found


def paths(lab: Lab, site: int) -> list[str]:
    """The AS paths to Home that the Internet's router next to a site knows: 64500 is that of the site."""
    table = lab.vtysh(f"inet{site}", f"show bgp ipv6 unicast {HOME} json")
    return [path["aspath"]["string"] for path in table.get("paths", ())]
