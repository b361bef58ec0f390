"""A site with two Home Agents: real daemons, FRR and kernels; one of them is cut off, or killed, and comes
back."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from haha_exabgp.cli.main import main
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from tests.lab.home_world import LFN, MNP, SECONDS, home_lab, kernel, ping, plug, show, tunnels_to, write_home

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

OUTER = {"ha1a": "3fff:101::a", "ha1b": "3fff:101::b", "ha2": "3fff:102::a"}
PARTITION = "2001:db8:1::/48"
OTHER = {"ha1a": "ha1b", "ha1b": "ha1a"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = write_home(tmp_path_factory.mktemp("two"), "two", config="two-home-agents.yaml")
    with home_lab(path) as lab:
        for name in ("ha1a", "ha1b"):
            eventually(lambda n=name: kernel(lab, n, "2001:db8:2::/48"), SECONDS, f"site2 in {name}")
        eventually(lambda: tunnels_to(lab, "ha2", PARTITION) == [OUTER["ha1a"]], SECONDS, "ha1a leads")
        yield lab


def kind(lab: Lab, home_agent: str) -> str | None:
    """Of the binding of mr1."""
    rows = show(lab, home_agent, "bindings")
    return next((row["kind"] for row in rows if row["mobile_router"] == "mr1"), None)


def home_agent_of(lab: Lab) -> str | None:
    """Whom mr1 is bound to."""
    row = show(lab, "mr1", "mobile-router")[0]
    known = {outer: name for name, outer in OUTER.items()}
    return known.get(row["home_agent"] or "") if row["state"] == "bound" else None


def bind_to(lab: Lab, home_agent: str) -> None:
    """Have mr1, at the first site, bound to this Home Agent of it."""
    lab.move("mr1", "access1")
    holder = eventually(lambda: home_agent_of(lab), SECONDS, "mr1 is bound")
    if holder != home_agent:
        run_dir = str(lab.run_dir(holder))
        assert main(["switch", "mr1", "--to", home_agent, "--run-dir", run_dir]) == 0
    eventually(lambda: home_agent_of(lab) == home_agent, SECONDS, f"mr1 is bound to {home_agent}")
    eventually(lambda: ping(lab, "cn1") and ping(lab, "cn2"), SECONDS, "both correspondents reach it")


def next_hop(lab: Lab) -> str:
    """Where the site's router sends packets for mr1's network."""
    table = lab.vtysh("site1-router", f"show bgp ipv6 unicast {MNP} json")
    best = next((path for path in table.get("paths", ()) if "bestpath" in path), None)
    return best["nexthops"][0]["ip"] if best else ""


def owner(lab: Lab) -> str:
    """Whose home address mr1's is while both are up: it has it direct or proxied."""
    return next(name for name in OTHER if kind(lab, name) in ("direct", "proxied"))


@pytest.mark.requirement("B-1", "B-2", "Q-4")
@pytest.mark.parametrize("holder", ["ha1a", "ha1b"])
def test_both_know_the_way_and_the_sites_router_takes_the_direct_one(lab: Lab, holder: str) -> None:
    bind_to(lab, holder)
    other = OTHER[holder]
    eventually(lambda: tunnels_to(lab, other, MNP)[:1] == [OUTER[holder]], SECONDS, f"{other} knows")
    kinds = {kind(lab, holder), kind(lab, other)}
    assert kinds in ({"direct", "replica"}, {"proxy", "proxied"})
    eventually(lambda: next_hop(lab) == OUTER[holder], SECONDS, "the router knows")
    # Other sites see nothing of it: the partition is all they follow.
    assert not kernel(lab, "ha2", MNP)


@pytest.mark.requirement("F-2")
@pytest.mark.parametrize("which", ["owner", "other"])
def test_the_other_takes_over_from_one_that_is_cut_off_and_gives_back(lab: Lab, which: str) -> None:
    bind_to(lab, "ha1a")
    own = owner(lab)
    victim = own if which == "owner" else OTHER[own]
    bind_to(lab, victim)
    survivor = OTHER[victim]
    pings = lab.spawn("cn2", ["ping", "-6", "-q", "-c", "250", "-i", "0.02", str(LFN)])
    plug(lab, "site1-router", victim, in_=False)
    eventually(lambda: home_agent_of(lab) == survivor, SECONDS, f"mr1 is called to {survivor}")
    eventually(lambda: ping(lab, "cn1") and ping(lab, "cn2"), SECONDS, "both correspondents reach it")
    assert kind(lab, survivor) == "direct"
    assert tunnels_to(lab, "ha2", PARTITION)[:1] == [OUTER[survivor]]
    summary = pings.communicate(timeout=SECONDS)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", summary).groups())
    # Three seconds of silence, then one message and a Binding Update.
    assert sent - received < 200, summary
    pings = lab.spawn("cn2", ["ping", "-6", "-q", "-c", "200", "-i", "0.02", str(LFN)])
    plug(lab, "site1-router", victim, in_=True)
    kinds = ("proxied" if victim == own else "replica", "proxy" if victim == own else "direct")
    eventually(lambda: (kind(lab, victim), kind(lab, survivor)) == kinds, SECONDS, f"both know: {kinds}")
    eventually(lambda: tunnels_to(lab, "ha2", PARTITION)[:1] == [OUTER["ha1a"]], SECONDS, "ha1a leads again")
    assert home_agent_of(lab) == survivor
    assert tunnels_to(lab, victim, MNP)[:1] == [OUTER[survivor]]
    summary = pings.communicate(timeout=SECONDS)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", summary).groups())
    assert sent - received <= 1, summary


@pytest.mark.requirement("F-7", "F-2")
@pytest.mark.parametrize("away", [0.0, 5.0])
def test_a_killed_agent_comes_back_to_what_has_become_of_its_bindings(lab: Lab, away: float) -> None:
    bind_to(lab, "ha1a")
    own = owner(lab)
    bind_to(lab, own)
    pings = lab.spawn("cn2", ["ping", "-6", "-q", "-c", str(250 if away else 60), "-i", "0.02", str(LFN)])
    lab.stop(own, "agent", signal.SIGKILL)
    if away:
        eventually(lambda: home_agent_of(lab) == OTHER[own], SECONDS, f"mr1 is called to {OTHER[own]}")
    lab.start(own, "agent")
    holder = OTHER[own] if away else own
    kinds = {own: "proxied", OTHER[own]: "proxy"} if away else {own: "direct", OTHER[own]: "replica"}
    eventually(lambda: all(kind(lab, name) == one for name, one in kinds.items()), SECONDS, f"{kinds}")
    summary = pings.communicate(timeout=SECONDS)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", summary).groups())
    # The kernel goes on while the agent is away, and the new tunnel stands before the old one goes.
    assert sent - received <= 2, summary
    eventually(lambda: next_hop(lab) == OUTER[holder], SECONDS, "the router knows")
