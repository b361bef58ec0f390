"""Mobile routers behind mobile routers, on the real thing: all of them together cost one tunnel between the
sites while they are bound to the same Home Agent."""

from __future__ import annotations

import ipaddress
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haha_exabgp.agent.control import ask
from haha_exabgp.config.key_file import read_key
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import DETACHED, Lab
from haha_exabgp.lab.topology import LabError
from haha_exabgp.lab.trace import trace
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.authentication import sign
from haha_exabgp.wire.ipv6 import build_mobility
from haha_exabgp.wire.mobility import BindingUpdate
from haha_exabgp.wire.options import AlternateCareOfAddress, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.lab.home_world import OUTER, SECONDS, counter, home_lab, ping, show, tunnels_to, write_home
from tests.unit.mobility_messages import UPDATE_FLAGS

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

MNP = {"mr1": "2001:db8:1:100::/64", "mr2": "2001:db8:1:200::/64", "mr3": "2001:db8:2:300::/64"}
LFN = {name: ipaddress.IPv6Network(prefix)[0x10] for name, prefix in MNP.items()}
SEND = """
import socket, sys
out = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
out.sendto(bytes.fromhex(sys.argv[1]), (sys.argv[2], 0))
"""


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("nested"), "nest", config="nested.yaml")


@pytest.fixture(scope="module")
def lab(config_path: Path) -> Iterator[Lab]:
    """The first near site 2, which is the primary site of the third; the second behind the first, the third
    behind the second."""
    with home_lab(config_path) as lab:
        for mobile_router, place in (("mr1", "access2"), ("mr2", "mr1"), ("mr3", "mr2")):
            lab.move(mobile_router, place)
            eventually(lambda name=mobile_router: home_agent(lab, name) == OUTER[2], SECONDS, "bound at ha2")
        yield lab


def home_agent(lab: Lab, mobile_router: str) -> str:
    """Whom it is bound to."""
    (row,) = show(lab, mobile_router, "mobile-router")
    return row["home_agent"] if row["state"] == "bound" else ""


def care_of_address(lab: Lab, mobile_router: str) -> str:
    return show(lab, mobile_router, "mobile-router")[0]["care_of_address"]


def way(lab: Lab, source: str, destination: object) -> list[tuple[str, list[str]]]:
    """The Home Agents and mobile routers on a packet's way, with the tunnels that it leaves them in."""
    hops = trace(lab, source, ipaddress.IPv6Address(str(destination)))
    ends = ("ha1", "ha2", *MNP)
    return [(hop.node, list(map(str, hop.tunnels))) for hop in hops if hop.node in ends]


def wait_for_way(lab: Lab, source: str, mobile_router: str) -> None:
    eventually(lambda: ping(lab, source, LFN[mobile_router]), SECONDS, f"{source} reaches {mobile_router}")


@pytest.mark.requirement("N-1", "N-2", "D-1")
def test_all_levels_are_bound_to_the_home_agent_of_the_outermost(lab: Lab) -> None:
    for mobile_router, around in (("mr2", "mr1"), ("mr3", "mr2")):
        address = care_of_address(lab, mobile_router)
        assert ipaddress.IPv6Address(address) in ipaddress.IPv6Network(MNP[around])
        assert tunnels_to(lab, "ha2", MNP[mobile_router])[0] == address
    # Their discovery came by tunnels, one of them by two, and went no further.
    assert counter(lab, "ha2", "discovery_answered") == 3
    assert counter(lab, "ha2", "guard_discovery_in_tunnel") == 2
    assert counter(lab, "ha1", "discovery_answered") == 0
    assert counter(lab, "ha2", "guard_spoofed") == counter(lab, "ha2", "guard_nested") == 0


@pytest.mark.requirement("N-2", "T-1")
def test_one_tunnel_between_the_sites_and_none_towards_the_internet(lab: Lab) -> None:
    care_of = [care_of_address(lab, one) for one in ("mr1", "mr2", "mr3")]
    wait_for_way(lab, "cn1", "mr2")
    assert way(lab, "cn1", LFN["mr2"]) == [
        ("ha1", [OUTER[2]]),
        ("ha2", care_of[:2]),
        ("mr1", care_of[1:2]),
        ("mr2", []),
    ]
    assert way(lab, "cn2", LFN["mr3"]) == [
        ("ha2", care_of),
        ("mr1", care_of[1:]),
        ("mr2", care_of[2:]),
        ("mr3", []),
    ]
    assert way(lab, "mr3-lfn", lab.topology.address("cn1")) == [
        ("mr3", [OUTER[2]]),
        ("mr2", [OUTER[2]] * 2),
        ("mr1", [OUTER[2]] * 3),
        ("ha2", []),
    ]
    # From one network inside the other to the one around it, by the Home Agent.
    assert way(lab, "mr3-lfn", LFN["mr1"])[-2:] == [("ha2", care_of[:1]), ("mr1", [])]


@pytest.mark.requirement("T-2", "N-2")
def test_senders_learn_what_all_the_headers_leave_of_a_packet(lab: Lab) -> None:
    """Towards the mobile routers one Home Agent adds all of them, and says so at once; from there each mobile
    router says what it cannot add."""
    largest = 1500 - 3 * 40
    for source, destination in (("cn2", LFN["mr3"]), ("mr3-lfn", lab.topology.address("cn2"))):
        large = ["ping", "-6", "-c1", "-W1", "-s", str(1500 - 48), str(destination)]
        eventually(lambda s=source, p=large: lab.exec(s, p).returncode == 0, SECONDS, "it learns the MTU")
        route = lab.exec(source, ["ip", "-6", "route", "get", str(destination)], check=True).stdout
        assert f"mtu {largest}" in route
        whole = ["ping", "-6", "-c1", "-W1", "-M", "do", "-s", str(largest - 48), str(destination)]
        assert lab.exec(source, whole).returncode == 0


@pytest.mark.requirement("N-3")
def test_circle_is_refused(lab: Lab, config_path: Path) -> None:
    """What mr1 would say if its uplink were in the network of mr3: sent from where it is, for from there it
    could not be."""
    home_address, home_agent_ = Address.parse("2001:db8:1:1::10"), Address.parse(OUTER[2])
    at, claimed = (Address.parse(one) for one in (care_of_address(lab, "mr1"), "2001:db8:2:300::66"))
    options = (AlternateCareOfAddress(claimed), ReplayProtection(from_unix(time.time())))
    header = sign(
        BindingUpdate(1, UPDATE_FLAGS, 600, options),
        home_address,
        home_agent_,
        key=read_key(config_path.parent / "keys" / "mr1.key"),
        spi=4096,
        care_of_address=claimed,
        home_address=home_address,
    )
    packet = build_mobility(at, home_agent_, header, home_address=home_address)
    lab.exec("mr1", [sys.executable, "-c", SEND, packet.hex(), OUTER[2]], check=True)
    eventually(lambda: counter(lab, "ha2", "refused_174") == 1, SECONDS, "it is refused")
    assert tunnels_to(lab, "ha2", MNP["mr1"])[0] == str(at)
    with pytest.raises(LabError, match="its own network"):
        lab.move("mr1", "mr1")


@pytest.mark.requirement("N-2")
def test_when_the_outermost_moves_to_another_site_those_behind_it_follow(lab: Lab) -> None:
    before = care_of_address(lab, "mr2")
    lab.move("mr1", "access1")
    for mobile_router in MNP:
        eventually(lambda one=mobile_router: home_agent(lab, one) == OUTER[1], SECONDS, "bound at ha1")
    assert care_of_address(lab, "mr2") == before
    assert counter(lab, "ha2", "switch_sent") == 2
    wait_for_way(lab, "cn2", "mr3")
    assert way(lab, "cn2", LFN["mr2"])[:2] == [
        ("ha2", [OUTER[1]]),
        ("ha1", [care_of_address(lab, "mr1"), before]),
    ]


@pytest.mark.requirement("N-1")
def test_bound_to_two_home_agents_they_are_reached_by_tunnels_in_tunnels(lab: Lab) -> None:
    def switch(home_agent_: str, to: str) -> None:
        those = {"mobile_routers": ["mr2"], "to": [to], "everyone": False, "stay": False}
        ask(lab.run_dir(home_agent_), "switch", "do", **those)
        there = str(lab.topology.address(to))
        for mobile_router in ("mr2", "mr3"):
            eventually(lambda one=mobile_router: home_agent(lab, one) == there, SECONDS, f"bound at {to}")
        wait_for_way(lab, "cn1", "mr3")

    switch("ha1", "ha2")
    assert home_agent(lab, "mr1") == OUTER[1]
    outer, inner = (care_of_address(lab, one) for one in ("mr1", "mr2"))
    assert way(lab, "cn2", LFN["mr2"])[:2] == [("ha2", [OUTER[1], inner]), ("ha1", [outer, inner])]
    switch("ha2", "ha1")


@pytest.mark.requirement("N-1", "N-3")
def test_when_the_outermost_is_back_all_are(lab: Lab) -> None:
    """Also after it was plugged in behind the one that is behind it, from where nothing gets out."""
    updates = counter(lab, "ha1", "accepted")
    lab.move("mr1", DETACHED)
    assert not ping(lab, "cn1", LFN["mr2"])
    lab.move("mr1", "mr2")
    eventually(lambda: not home_agent(lab, "mr1"), SECONDS, "mr1 is not bound there")
    assert not ping(lab, "cn1", LFN["mr2"])
    lab.move("mr1", "access1")
    for mobile_router in MNP:
        wait_for_way(lab, "cn1", mobile_router)
    # Its binding still stood: packets may be there before it has asked again.
    eventually(lambda: counter(lab, "ha1", "accepted") > updates, SECONDS, "mr1 has bound again")
    assert counter(lab, "ha1", "guard_spoofed") == 0
