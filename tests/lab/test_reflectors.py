"""Three sites whose routes two FRR route reflectors pass on: leaks, who wins, what is left when something
dies, and leaks on traffic."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import DETACHED, Lab
from haha_exabgp.lab.trace import trace
from tests.lab.home_world import (
    MNP,
    OUTER,
    SECONDS,
    bind_at,
    bound,
    home_in_bgp,
    home_lab,
    kernel,
    nodes_on_the_way,
    ping,
    plug,
    show,
    tunnels_to,
    write_home,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

REFLECTORS = ("rr1", "rr2")
PARTITIONS = {f"2001:db8:{number}::/48" for number in (1, 2, 3)}
MNP2, LFN2 = "2001:db8:2:100::/64", IPv6Address("2001:db8:2:100::10")


def edit(text: str) -> str:
    """What is waited for comes sooner; mr2 binds again every eight seconds."""
    text = text.replace("leak_idle: 10", "leak_idle: 5").replace("lease: 10", "lease: 5")
    return text.replace("spi: 4097", "spi: 4097\n    lifetime: 16")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    config = write_home(
        tmp_path_factory.mktemp("reflectors"),
        "rr",
        edit,
        config="route-reflectors.yaml",
    )
    with home_lab(config) as lab:
        for reflector in REFLECTORS:
            eventually(lambda r=reflector: home_in_bgp(lab, r) == PARTITIONS, SECONDS, "partitions")
        for home_agent in ("ha1", "ha2", "ha3"):
            # What the reflectors have they still have to pass on.
            eventually(lambda h=home_agent: reaches_all(lab, h), SECONDS, f"{home_agent} reaches all")
        yield lab


def reaches_all(lab: Lab, home_agent: str) -> bool:
    sites = [row["reached"] for row in show(lab, home_agent, "sites")]
    peers = [row["session"] for row in show(lab, home_agent, "peers")]
    return sorted(sites) == ["self", "yes", "yes"] and set(peers) == {"up"}


def path(lab: Lab, reflector: str, prefix: str = MNP) -> tuple[str, int, str] | None:
    """What a reflector's FRR has as the best path: next hop, LOCAL_PREF, large communities."""
    paths = lab.vtysh(reflector, f"show bgp ipv6 unicast {prefix} json").get("paths", [])
    best = next((one for one in paths if "bestpath" in one), None)
    if best is None:
        return None
    return best["nexthops"][0]["ip"], best["locPrf"], best["largeCommunity"]["string"]


def follows(lab: Lab, site: int, holder: int | None) -> bool:
    """Whether the kernel of a Home Agent has the leak of that one, or none."""
    leaked = [route for route in kernel(lab, f"ha{site}", MNP) if route["metric"] == 200]
    if holder is None:
        return not leaked
    return bool(leaked) and tunnels_to(lab, f"ha{site}", MNP)[0] == OUTER[holder]


def is_leaked_by(lab: Lab, holder: int) -> bool:
    sequence = show(lab, f"ha{holder}", "bindings")[0]["mobility_sequence"]
    expected = (f"2001:db8:ffff::{holder}", sequence, f"64500:1:5 64500:2:{sequence}")
    others = {1, 2, 3} - {holder}
    return all(path(lab, one) == expected for one in REFLECTORS) and all(
        follows(lab, other, holder) for other in others
    )


@pytest.mark.requirement("I-7", "S-7")
def test_home_agents_have_sessions_with_the_reflectors_and_not_with_each_other(lab):
    for site in (1, 2, 3):
        sessions = {row["name"]: row["session"] for row in show(lab, f"ha{site}", "peers")}
        assert sessions == {"rr1": "up", "rr2": "up", f"site{site} router": "up"}
        reached = {row["site"]: row["reached"] for row in show(lab, f"ha{site}", "sites")}
        assert set(reached.values()) == {"self", "yes"} and len(reached) == 3
        partitions = {
            prefix: tunnels_to(lab, f"ha{site}", prefix) for prefix in PARTITIONS - {f"2001:db8:{site}::/48"}
        }
        assert partitions == {
            f"2001:db8:{other}::/48": [OUTER[other]] for other in (1, 2, 3) if other != site
        }
        assert home_in_bgp(lab, f"inet{site}") == {"2001:db8::/32"}
        for reflector in REFLECTORS:
            shown = lab.vtysh(reflector, f"show bgp ipv6 neighbors {OUTER[site]} json")[OUTER[site]]
            family = shown["addressFamilyInfo"]["ipv6Unicast"]
            assert family["routeReflectorClient"] and family["acceptedPrefixCounter"] == 1
            assert family["prefixAllowedMaxWarning"] and family["prefixAllowedMax"] == 250_000


@pytest.mark.requirement("I-7", "K-1", "K-2", "H-9")
def test_reflectors_choose_the_newest_place_and_all_sites_follow(lab):
    bind_at(lab, 1)
    assert path(lab, "rr1") is None
    before = nodes_on_the_way(lab, "cn3")
    assert "ha1" in before and "site1-router" in before
    sequences = []
    for place, other in ((2, 3), (3, 2), (2, 3)):
        bind_at(lab, place)
        eventually(lambda p=place: is_leaked_by(lab, p), SECONDS, f"all follow to site {place}")
        found = path(lab, "rr1")
        assert found is not None
        sequences.append(found[1])
        way = nodes_on_the_way(lab, f"cn{other}")
        assert f"ha{place}" in way and not {"ha1", "site1-router", "rr1", "rr2"} & set(way)
    assert sequences == sorted(set(sequences))
    assert all(home_in_bgp(lab, f"inet{site}") == {"2001:db8::/32"} for site in (1, 2, 3))


@pytest.mark.requirement("I-7", "F-6")
def test_one_reflector_is_enough_and_the_other_comes_back(lab):
    bind_at(lab, 2)
    lab.stop("rr1", "bgpd", signal.SIGKILL)

    def is_down(home_agent: str) -> bool:
        rows = show(lab, home_agent, "peers")
        return any(row["name"] == "rr1" and row["session"] == "down" for row in rows)

    eventually(lambda: is_down("ha1") and is_down("ha3"), SECONDS, "the sessions to rr1 are down")
    assert follows(lab, 1, 2) and follows(lab, 3, 2), "rr2 still tells"
    bind_at(lab, 3)
    eventually(lambda: follows(lab, 1, 3) and follows(lab, 2, 3), SECONDS, "all follow by rr2 alone")
    assert {row["reached"] for row in show(lab, "ha1", "sites")} == {"self", "yes"}
    lab.start("rr1", "bgpd")
    eventually(lambda: is_leaked_by(lab, 3), SECONDS, "rr1 has it again")


@pytest.mark.requirement("K-5", "H-5", "L-4")
def test_a_mobile_router_that_leaves_leaves_no_leak(lab):
    bind_at(lab, 3)
    eventually(lambda: is_leaked_by(lab, 3), SECONDS, "leaked")
    lab.stop("mr1", "mr")
    eventually(lambda: all(path(lab, one) is None for one in REFLECTORS), SECONDS, "withdrawn at FRR")
    eventually(lambda: follows(lab, 1, None) and follows(lab, 2, None), SECONDS, "withdrawn in the kernels")
    assert all(home_in_bgp(lab, one) == PARTITIONS for one in REFLECTORS)
    lab.move("mr1", DETACHED)
    lab.start("mr1", "mr")


@pytest.mark.requirement("K-5", "F-1")
def test_what_a_dead_agent_leaks_ends_with_its_lease_and_the_partitions_route_is_there(lab):
    """Its kernel still carries packets: they only take the long way."""
    bind_at(lab, 3)
    eventually(lambda: is_leaked_by(lab, 3), SECONDS, "leaked")
    lab.stop("ha3", "agent", signal.SIGKILL)
    killed = time.monotonic()
    assert follows(lab, 2, 3)
    eventually(lambda: all(path(lab, one) is None for one in REFLECTORS), SECONDS, "the lease is over")
    assert time.monotonic() - killed > 4
    eventually(lambda: follows(lab, 1, None) and follows(lab, 2, None), SECONDS, "no leak is left")
    assert tunnels_to(lab, "ha2", "2001:db8:1::/48") == [OUTER[1]]
    assert tunnels_to(lab, "ha1", MNP) == [OUTER[3]], "the primary knows where it is"
    way = nodes_on_the_way(lab, "cn2")
    assert way.index("ha2") < way.index("ha1") < way.index("ha3")
    lab.start("ha3", "agent")
    eventually(lambda: is_leaked_by(lab, 3), SECONDS, "it tells what it has stored")


@pytest.mark.requirement("K-6")
def test_on_traffic_the_way_gets_shorter_while_there_is_some(lab):
    lab.move("mr2", "access3")
    eventually(lambda: bound(lab, 3, "mr2"), SECONDS, "mr2 is bound at site 3")
    assert path(lab, "rr1", MNP2) is None
    way = [hop.node for hop in trace(lab, "cn1", LFN2)]
    assert way.index("ha2") < way.index("ha3"), "by its primary site"

    def leak_state() -> str:
        rows = show(lab, "ha3", "bindings")
        return next(row["leak"] for row in rows if row["mobile_router"] == "mr2")

    assert leak_state() == "held back: no traffic"
    traffic = lab.spawn("cn1", ["ping", "-6", "-q", "-i", "0.02", str(LFN2)])
    eventually(lambda: all(path(lab, one, MNP2) for one in REFLECTORS), SECONDS, "it is leaked")
    eventually(lambda: tunnels_to(lab, "ha1", MNP2) == [OUTER[3]], SECONDS, "in ha1's kernel")
    assert leak_state() == "leaked"
    way = [hop.node for hop in trace(lab, "cn1", LFN2)]
    assert "ha3" in way and "ha2" not in way
    # Longer than it lasts without traffic: what comes straight is counted as well.
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 7, 10, "seven seconds", interval=0.5)
    assert path(lab, "rr1", MNP2)
    traffic.terminate()
    traffic.communicate()
    eventually(lambda: path(lab, "rr1", MNP2) is None, SECONDS, "withdrawn")
    eventually(lambda: not tunnels_to(lab, "ha1", MNP2), SECONDS, "gone from ha1's kernel")


@pytest.mark.requirement("F-3", "K-5", "D-6")
def test_when_its_proxy_dies_a_mobile_router_finds_another_and_the_leak_is_followed_no_more(lab):
    lab.move("mr2", "access3")
    eventually(lambda: bound(lab, 3, "mr2"), SECONDS, "mr2 is bound at site 3")
    traffic = lab.spawn("cn1", ["ping", "-6", "-q", "-i", "0.05", str(LFN2)])
    eventually(lambda: tunnels_to(lab, "ha1", MNP2) == [OUTER[3]], SECONDS, "leaked")
    plug(lab, "site3-router", "ha3", in_=False)
    try:
        # By HELLO; BGP would notice in 9 s, and keep the route for a graceful restart of another 120.
        eventually(lambda: tunnels_to(lab, "ha1", MNP2) == [], 6, "ha1 does not follow it")
        # It is refreshed at 8 s, at the latest; then two silent seconds.
        eventually(lambda: bound(lab, 1, "mr2") or bound(lab, 2, "mr2"), SECONDS, "mr2 is bound elsewhere")
        eventually(lambda: ping(lab, "cn1", LFN2) and ping(lab, "cn2", LFN2), SECONDS, "and reached")
    finally:
        traffic.terminate()
        traffic.communicate()
        plug(lab, "site3-router", "ha3", in_=True)
    eventually(
        lambda: all(row["mobile_router"] != "mr2" for row in show(lab, "ha3", "bindings")),
        40,
        "ha3 has given it up",
    )
