"""A satellite on the real thing: ExaBGP, FRR, kernel, packets. Two primary sites, both are parents; mr2 is at
home in the second, so that under the first parent it needs a secondary binding, or the detour."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import DETACHED, Lab
from haha_exabgp.lab.trace import Hop, trace
from tests.lab.home_world import (
    HOME,
    SECONDS,
    best_path,
    counter,
    home_in_bgp,
    kernel,
    show,
    tunnels_to,
    write_home,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

OUTER = {1: "3fff:101::a", 2: "3fff:102::a", 3: "3fff:103::a"}
LENT = {1: "2001:db8:1:f000::/64", 2: "2001:db8:2:f000::/64"}
LENT_ADDRESS = {1: "2001:db8:1:f000::3", 2: "2001:db8:2:f000::3"}
MNP2 = "2001:db8:2:100::/64"
LFN2 = ipaddress.IPv6Address("2001:db8:2:100::10")


def edit(text: str) -> str:
    """Without secondary bindings at first, and with an area inside the first site."""
    text = text.replace("role: satellite", "role: satellite\n    secondary_bindings: false")
    return f"{text}\nlab:\n  ospf6_sites: [site1]\n"


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("satellite")
    return write_home(directory, "sat", edit, config="satellite.yaml")


@pytest.fixture(scope="module")
def lab(config_path: Path) -> Iterator[Lab]:
    with Lab.up(config_path, plugged=False) as lab:
        lab.wait_until_ready(SECONDS)
        eventually(lambda: parent(lab) == "site1", SECONDS, "the satellite hangs under site1")
        yield lab


def parent(lab: Lab) -> str:
    """The site that the satellite hangs under."""
    rows = show(lab, "ha3", "sites")
    return next((row["site"] for row in rows if row["reached"] == "yes, as parent"), "")


def bind_at_satellite(lab: Lab) -> None:
    if lab.attachment("mr2") != "access3":
        lab.move("mr2", "access3")

    def bound() -> bool:
        row = show(lab, "mr2", "mobile-router")[0]
        return row["state"] == "bound" and row["home_agent"] == OUTER[3]

    eventually(bound, SECONDS, "mr2 bound at the satellite")


def way(lab: Lab, source: str, destination: ipaddress.IPv6Address = LFN2) -> list[Hop]:
    """The Home Agents that a packet passes, with the tunnels that they put it into."""
    return [hop for hop in trace(lab, source, destination) if hop.node in ("ha1", "ha2", "ha3")]


def tunnels(hops: list[Hop]) -> list[tuple[str, list[str]]]:
    return [(hop.node, list(map(str, hop.tunnels))) for hop in hops]


@pytest.mark.requirement("E-5", "I-5", "I-6", "E-4")
def test_the_satellite_announces_home_and_its_prefix_stays_in_the_parents_site(lab):
    def paths(router: str) -> set[str]:
        table = lab.vtysh(router, f"show bgp ipv6 unicast {HOME} json")
        return {path["aspath"]["string"] for path in table.get("paths", ())}

    eventually(lambda: "64500" in paths("inet3"), SECONDS, "Home from the satellite at inet3")
    assert best_path(lab, "inet3") == "64500"
    assert tunnels_to(lab, "ha3", HOME) == [OUTER[1]]
    for site in (1, 2):
        assert tunnels_to(lab, f"ha{site}", LENT[site]) == [OUTER[3]]
        route = lab.vtysh(f"site{site}-router", f"show bgp ipv6 unicast {LENT[site]} json")["paths"][0]
        assert route["nexthops"][0]["ip"] == OUTER[site]
        assert route["largeCommunity"]["string"] == "64500:1:3"
        assert home_in_bgp(lab, f"site{site}-router") == {HOME, LENT[site]}
    for router in ("inet1", "inet2", "inet3", "sat1-router"):
        assert home_in_bgp(lab, router) == {HOME}
    # What primaries tell each other the satellite does not hear of, nor the other way round.
    learned = [row["kind"] for row in show(lab, "ha3", "routes") if row["state"] == "learned"]
    assert set(learned) == {"home"}
    assert not kernel(lab, "ha3", "2001:db8:1::/48") and not kernel(lab, "ha3", "2001:db8:2::/48")


@pytest.mark.requirement("B-2", "I-5", "I-8", "E-4")
def test_inside_a_site_ospf_tells_what_is_bound_and_lent_there(lab):
    def external() -> dict[str, str]:
        """Prefixes of Home that the router inside site1 has learned by OSPFv3, with their types."""
        routes = lab.vtysh("site1-inner", "show ipv6 ospf6 route json")["routes"]
        return {
            prefix: route["pathType"] for prefix, route in routes.items() if prefix.startswith("2001:db8:")
        }

    lent = {HOME: "E2", LENT[1]: "E2"}
    eventually(lambda: external() == lent, SECONDS, "Home and what is lent, and no more")
    lab.move("mr1", "access1")
    bound = {"2001:db8:1:100::/64": "E2", "2001:db8:1:1::10/128": "E2"}
    eventually(lambda: external() == lent | bound, SECONDS, "what mr1 has bound")

    def in_kernel() -> set[str]:
        return {route["dst"] for route in kernel(lab, "site1-inner", "proto", "ospf")}

    expected = {*lent, "2001:db8:1:100::/64", "2001:db8:1:1::10"}
    eventually(lambda: in_kernel() == expected, SECONDS, "the kernel has it")
    ping = ["ping", "-6", "-c1", "-W1", "2001:db8:1:100::10"]
    eventually(lambda: lab.exec("site1-inner", ping).returncode == 0, SECONDS, "the way by the area")
    assert home_in_bgp(lab, "inet1") == {HOME}
    assert kernel(lab, "site2-router", "2001:db8:1:100::/64") == []
    lab.stop("mr1", "mr")  # it de-registers
    eventually(lambda: external() == lent, SECONDS, "what was bound is gone")
    lab.start("mr1", "mr")
    lab.move("mr1", DETACHED)


@pytest.mark.requirement("B-3", "B-9", "K-1", "K-2", "T-1")
def test_a_secondary_binding_takes_the_primary_site_out_of_the_way(lab, config_path):
    bind_at_satellite(lab)
    assert tunnels_to(lab, "ha2", MNP2) == [LENT_ADDRESS[1]]
    detour = way(lab, "cn1")
    assert tunnels(detour)[:3] == [
        ("ha1", [OUTER[2]]),
        # Figure 7 of the draft: a tunnel to the proxy, inside the one to its parent's site.
        ("ha2", [OUTER[1], LENT_ADDRESS[1]]),
        ("ha1", [OUTER[3], LENT_ADDRESS[1]]),
    ]
    assert [hop.node for hop in detour] == ["ha1", "ha2", "ha1", "ha3"]

    text = config_path.read_text()
    config_path.write_text(text.replace("secondary_bindings: false", "secondary_bindings: true"))
    lab.stop("ha3", "agent")
    lab.start("ha3", "agent")
    eventually(lambda: tunnels_to(lab, "ha2", MNP2)[:1] == [OUTER[1]], SECONDS, "the leak of ha1 at ha2")
    assert tunnels_to(lab, "ha1", MNP2) == [OUTER[3]]
    eventually(lambda: MNP2 in home_in_bgp(lab, "site1-router"), SECONDS, "FRR of site1 has the prefix")
    straight = way(lab, "cn1")
    assert [hop.node for hop in straight] == ["ha1", "ha3"]
    assert tunnels(straight)[0] == ("ha1", [OUTER[3]])
    assert [hop.node for hop in way(lab, "cn2")] == ["ha2", "ha1", "ha3"]
    assert [hop.node for hop in way(lab, "cn3")] == ["ha3"]
    assert home_in_bgp(lab, "inet1") == {HOME}


FORGE = """
import socket, struct, sys
def header(source, destination, payload, next_header):
    pton = lambda one: socket.inet_pton(socket.AF_INET6, one)
    fixed = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return fixed + pton(source) + pton(destination) + payload
*pairs, last = [pair.split(",") for pair in sys.argv[1:]]
packet = header(last[0], last[1], bytes(8), 17)
for source, destination in reversed(pairs):
    packet = header(source, destination, packet, 41)
out = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
out.sendto(packet, ((pairs[0] if pairs else last)[1], 0))
"""
"""Sends a UDP packet inside tunnels: arguments source,destination, outermost first."""


@pytest.mark.requirement("S-1", "S-5")
def test_nobody_gets_into_the_inner_tunnel_but_primaries(lab):
    bind_at_satellite(lab)
    inside = f"2001:db8:1:1::66,{LFN2}"
    cases = [
        # From anywhere, as if a primary had sent it: by the anycast of Home, and to the satellite itself.
        ("cn1", "ha1", "outside_tunnel", [f"{OUTER[2]},{LENT_ADDRESS[1]}", inside]),
        ("cn3", "ha3", "outside_tunnel", [f"{OUTER[2]},{LENT_ADDRESS[1]}", inside]),
        # By the parent's tunnel, but not from a primary; from a primary, but for somebody who is not there.
        ("ha1", "ha3", "nested", [f"{OUTER[1]},{OUTER[3]}", f"{OUTER[3]},{LENT_ADDRESS[1]}", inside]),
        (
            "ha1",
            "ha3",
            "misdirected",
            [f"{OUTER[1]},{OUTER[3]}", f"{OUTER[2]},{LENT_ADDRESS[1]}", "2001:db8:1:1::66,2001:db8:1:1::10"],
        ),
        # As another Home Agent, by the tunnel of one that may not bring it.
        ("ha3", "ha1", "spoofed", [f"{OUTER[3]},{OUTER[1]}", "2001:db8:ffff::2,2001:db8:ffff::1"]),
    ]
    for source, at, reason, headers in cases:
        before = counter(lab, at, f"guard_{reason}")
        lab.exec(source, [sys.executable, "-c", FORGE, *headers], check=True)
        eventually(
            lambda at=at, reason=reason, before=before: counter(lab, at, f"guard_{reason}") == before + 1,
            SECONDS,
            f"{at} drops as {reason} what {source} has sent",
        )


@pytest.mark.requirement("F-3", "K-5", "E-5", "E-6")
def test_another_parent_takes_over_and_without_any_home_is_withdrawn(lab):
    bind_at_satellite(lab)
    accepted = counter(lab, "ha3", "accepted")
    lab.stop("ha1", "exabgp", signal.SIGKILL)
    eventually(lambda: parent(lab) == "site2", SECONDS, "the satellite hangs under site2")
    eventually(lambda: tunnels_to(lab, "ha2", MNP2)[0] == OUTER[3], SECONDS, "ha2 tunnels to the satellite")
    assert [hop.node for hop in way(lab, "cn2")] == ["ha2", "ha3"]
    eventually(lambda: not tunnels_to(lab, "ha1", MNP2), SECONDS, "the former parent has ended what it held")
    assert counter(lab, "ha3", "accepted") == accepted  # the mobile router has had no part in it
    assert best_path(lab, "inet3") == "64500"

    lab.stop("ha2", "exabgp", signal.SIGKILL)
    eventually(lambda: best_path(lab, "inet3") not in ("", "64500"), SECONDS, "the satellite withdraws Home")
    for home_agent in ("ha1", "ha2"):
        lab.start(home_agent, "exabgp")
    eventually(lambda: best_path(lab, "inet3") == "64500", SECONDS, "the satellite announces Home again")
    eventually(lambda: parent(lab), SECONDS, "a parent")
    assert way(lab, "cn3")
    lab.move("mr2", DETACHED)
