"""A whole Home on the real thing: ExaBGP, FRR, kernel, packets. Every test says where the mobile router is
to be, so that each can run alone; they share one lab because it takes seconds to come up."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from haha_exabgp.agent.settings import home_agent_config
from haha_exabgp.config.loader import load
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import DETACHED, Lab
from haha_exabgp.lab.trace import trace, wait_until_listening
from haha_exabgp.protocol.messages import binding_update_packet
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.messages import BindingUpdate
from haha_exabgp.wire.options import AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.lab.home_world import (
    HOA,
    HOME,
    LFN,
    MNP,
    OUTER,
    SECONDS,
    best_path,
    bind_at,
    counter,
    home_in_bgp,
    home_lab,
    kernel,
    nodes_on_the_way,
    ping,
    show,
    tunnels_to,
    write_home,
)

TCP_INSIDE = "ip6 proto 41 and ip6[46] == 6"
"""For tcpdump: the inner next header is TCP."""

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("home"), "home")


@pytest.fixture(scope="module")
def lab(config_path: Path) -> Iterator[Lab]:
    with home_lab(config_path) as lab:
        for home_agent, other in (("ha1", "2001:db8:2::/48"), ("ha2", "2001:db8:1::/48")):
            eventually(lambda h=home_agent, o=other: kernel(lab, h, o), SECONDS, f"{other} in {home_agent}")
        yield lab


@pytest.mark.requirement("E-1", "E-2", "E-4", "I-2")
def test_frr_and_the_kernel_show_home_and_nothing_more(lab):
    lab.move("mr1", DETACHED)
    for place in (1, 2):
        other = 64495 + 3 - place

        def paths(place: int = place) -> list[tuple[bool, str]]:
            table = lab.vtysh(f"inet{place}", f"show bgp ipv6 unicast {HOME} json")
            return sorted(("bestpath" in path, path["aspath"]["string"]) for path in table.get("paths", ()))

        expected = [(False, f"{other} 64500"), (True, "64500")]
        eventually(lambda p=paths, e=expected: p() == e, SECONDS, f"both paths at inet{place}")
        assert home_in_bgp(lab, f"inet{place}") == {HOME}
        route = lab.vtysh(f"site{place}-router", f"show bgp ipv6 unicast {HOME} json")["paths"][0]
        assert route["nexthops"][0]["ip"] == OUTER[place]
        assert route["largeCommunity"]["string"] == "64500:1:1"
    assert tunnels_to(lab, "ha1", "2001:db8:2::/48") == [OUTER[2]]
    assert tunnels_to(lab, "ha2", "2001:db8:1::/48") == [OUTER[1]]
    discards = {route["dst"] for route in kernel(lab, "ha1", "type", "unreachable")}
    assert discards == {HOME, "2001:db8:1::/48"}


@pytest.mark.requirement("I-1", "I-3", "I-4", "S-7")
def test_bgp_between_home_agents_is_inside_the_tunnel_and_signed(lab):
    capture = lab.spawn("site1-router", ["tcpdump", "-i", "lan0", "-nn", "-c2", "-l", TCP_INSIDE])
    wait_until_listening({"site1-router": capture})
    # Keepalives come every three seconds; beside them, HELLOs of the Home Agents.
    output = capture.communicate(timeout=SECONDS)[0]
    assert re.search(
        r"3fff:10[12]::a > 3fff:10[12]::a: IP6 2001:db8:ffff::\d\.\d+ > 2001:db8:ffff::\d\.\d+: Flags", output
    )
    assert "md5" in output


@pytest.mark.requirement("B-2", "T-1", "E-4")
def test_a_mobile_router_binds_near_its_site_and_is_reached_through_a_tunnel(lab, tmp_path):
    lab.move("mr1", DETACHED)
    capture_file = tmp_path / "access.pcap"
    capture_file.touch(mode=0o666)
    capture = lab.spawn(
        "inet1", ["tcpdump", "--immediate-mode", "-i", "access1", "-U", "-w", str(capture_file), "ip6"]
    )
    wait_until_listening({"inet1": capture})
    bind_at(lab, 1)
    # The ping that `bind_at` saw answered is on its way into the file.
    tunnelled = ("ipv6.nxt == 41 && icmpv6.type == 128", "ipv6.dst")
    eventually(lambda: tshark(capture_file, *tunnelled, whole=False), SECONDS, "an echo request in a tunnel")
    capture.terminate()
    capture.communicate()
    assert tunnels_to(lab, "ha1", MNP) == [show(lab, "mr1", "mobile-router")[0]["care_of_address"]]
    assert MNP in home_in_bgp(lab, "site1-router")
    assert home_in_bgp(lab, "inet1") == {HOME}
    fields = tshark(
        capture_file,
        "mip6.mhtype == 5",
        "mip6.bu.a_flag",
        "mip6.bu.h_flag",
        "mip6.nemo.bu.r_flag",
        "mip6.nemo.mnp.mnp",
    )
    a_flag, h_flag, r_flag, prefix = fields[-1]
    assert {a_flag, h_flag, r_flag} <= {"1", "True"}
    assert prefix == "2001:db8:1:100::"
    assert tshark(capture_file, "mip6.mhtype == 6", "mip6.ba.status")[-1] == ["0"]
    assert not tshark(capture_file, "icmpv6.type == 4", "ipv6.src"), (
        "the kernel complains about mobility headers"
    )


def tshark(capture_file: Path, display_filter: str, *fields: str, whole: bool = True) -> list[list[str]]:
    """The fields of each packet that passes the filter; unless `whole`, of a file that is being written."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    options = [part for field in fields for part in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(capture_file), "-Y", display_filter, "-T", "fields", *options],
        capture_output=True, text=True, check=whole,
    )  # fmt: skip
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.requirement("K-1", "K-2", "K-4", "E-4")
def test_a_move_binds_by_proxy_leaks_and_shortens_the_path(lab):
    bind_at(lab, 1)
    before = nodes_on_the_way(lab, "cn2")
    assert "ha1" in before and "site1-router" in before
    bind_at(lab, 2)
    after = nodes_on_the_way(lab, "cn2")
    assert "ha2" in after
    assert not {"ha1", "site1-router", "inet1"} & set(after)
    row = next(row for row in show(lab, "ha1", "bindings") if row["mobile_router"] == "mr1")
    assert (row["kind"], row["through"]) == ("proxied", "ha2")
    leak = next(
        row for row in show(lab, "ha1", "routes") if row["kind"] == "leak" and row["state"] == "learned"
    )
    assert leak["sequence"] == row["mobility_sequence"]
    assert any(route["metric"] == 200 for route in kernel(lab, "ha1", MNP))
    assert tunnels_to(lab, "ha1", MNP)[0] == OUTER[2]
    # What is leaked stays among the Home Agents.
    for router in ("inet1", "inet2"):
        assert home_in_bgp(lab, router) == {HOME}


@pytest.mark.requirement("E-3", "E-2")
def test_packets_come_in_at_the_closest_site_and_leave_where_the_mobile_router_is_bound(lab):
    bind_at(lab, 2)
    cn1 = lab.topology.address("cn1")
    inwards = nodes_on_the_way(lab, "cn1")
    outwards = [hop.node for hop in trace(lab, "mr1-lfn", cn1)]
    assert "site1-router" in inwards and "ha2" in outwards
    assert not {"ha1", "site1-router"} & set(outwards)


@pytest.mark.requirement("E-3")
def test_tcp_passes_the_tunnels_in_both_directions(lab):
    bind_at(lab, 2)
    receive = (
        "import hashlib, socket; l = socket.create_server(('::', 5201), family=10)\n"
        "print('ready', flush=True)\n"
        "c, _ = l.accept(); h = hashlib.sha256(); n = 0\n"
        "while data := c.recv(65536): h.update(data); n += len(data)\n"
        "c.sendall(f'{n} {h.hexdigest()}'.encode())"
    )
    send = (
        "import hashlib, os, socket, sys; data = os.urandom(2_000_000); c = socket.create_connection("
        "(sys.argv[1], 5201), timeout=20); c.sendall(data); c.shutdown(1)\n"
        "assert c.recv(200).decode() == f'{len(data)} {hashlib.sha256(data).hexdigest()}'"
    )
    for receiver, sender in (("mr1-lfn", "cn1"), ("cn1", "mr1-lfn")):
        server = lab.spawn(receiver, [sys.executable, "-c", receive])
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        address = str(lab.topology.address(receiver))
        lab.exec(sender, [sys.executable, "-c", send, address], check=True, timeout=60)
        server.communicate(timeout=SECONDS)


@pytest.mark.requirement("H-4", "H-5", "H-10")
def test_moving_back_revokes_the_proxy_and_its_leak(lab):
    bind_at(lab, 2)
    bind_at(lab, 1)
    eventually(
        lambda: not any(r["mobile_router"] == "mr1" for r in show(lab, "ha2", "bindings")), SECONDS, "revoked"
    )
    eventually(lambda: not kernel(lab, "ha2", MNP), SECONDS, "no route of its own at ha2")
    eventually(lambda: all(r["kind"] != "leak" for r in show(lab, "ha1", "routes")), SECONDS, "no leak")
    assert "ha1" in nodes_on_the_way(lab, "cn2")


@pytest.mark.requirement("S-2")
def test_a_binding_update_that_is_not_authentic_changes_nothing_and_is_counted(lab, config_path):
    bind_at(lab, 1)
    before = show(lab, "ha1", "bindings")[0], kernel(lab, "ha1")
    config = home_agent_config(load(config_path), "ha1")
    association = config.mobile_routers[Address.parse(HOA)].associations[0]
    attacker = Address.parse(str(lab.topology.address("cn1")))
    update = BindingUpdate(
        9999,
        BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER,
        600,
        (
            AlternateCareOfAddress(attacker),
            MobileNetworkPrefix(Prefix.parse(MNP)),
            ReplayProtection(from_unix(time.time())),
        ),
    )
    forged = binding_update_packet(
        attacker, config.outer, Address.parse(HOA), update, replace(association, key=bytes(16))
    )
    wrong_checksum = bytearray(forged)
    wrong_checksum[68] ^= 0xFF
    unknown = binding_update_packet(
        attacker, config.outer, Address.parse("2001:db8:1:1::99"), update, association
    )
    reasons = {"bad_authenticator": forged, "bad_checksum": wrong_checksum, "unknown_home_address": unknown}
    counted = {reason: counter(lab, "ha1", f"dropped_{reason}") for reason in reasons}
    for packet in reasons.values():
        send = "import socket,sys; socket.socket(10,3,255).sendto(bytes.fromhex(sys.argv[1]),(sys.argv[2],0))"
        lab.exec("cn1", [sys.executable, "-c", send, bytes(packet).hex(), str(config.outer)], check=True)
    for reason in reasons:
        eventually(
            lambda r=reason: counter(lab, "ha1", f"dropped_{r}") == counted[r] + 1,
            SECONDS,
            f"{reason} counted",
        )
    after = show(lab, "ha1", "bindings")[0], kernel(lab, "ha1")
    assert after[0]["care_of_address"] == before[0]["care_of_address"]
    assert after[0]["mobility_sequence"] == before[0]["mobility_sequence"]
    assert after[1] == before[1]


@pytest.mark.requirement("S-5")
def test_spoofed_inner_sources_are_dropped_and_counted(lab):
    bind_at(lab, 1)
    before = counter(lab, "ha1", "guard_spoofed")
    care_of = show(lab, "mr1", "mobile-router")[0]["care_of_address"]
    # The mobile router tries to send with an address that is not bound to it.
    forge = (
        "from scapy.all import *; import socket, sys\n"
        "inner = IPv6(src='2001:db8:2:100::66', dst=sys.argv[2]) / ICMPv6EchoRequest()\n"
        "packet = IPv6(src=sys.argv[1], dst='3fff:101::a') / inner\n"
        "socket.socket(10, 3, 255).sendto(bytes(packet), ('3fff:101::a', 0))"
    )
    lab.exec("mr1", [sys.executable, "-c", forge, care_of, str(lab.topology.address("cn1"))], check=True)
    eventually(lambda: counter(lab, "ha1", "guard_spoofed") > before, SECONDS, "the spoofed packet counted")


@pytest.mark.requirement("F-7")
def test_killing_the_agent_loses_no_packet_and_no_binding(lab):
    bind_at(lab, 2)
    before = {row["home_address"]: row for row in show(lab, "ha2", "bindings")}
    routes = kernel(lab, "ha2")
    pings = lab.spawn("cn2", ["ping", "-6", "-q", "-c", "300", "-i", "0.01", str(LFN)])
    lab.stop("ha2", "agent", signal.SIGKILL)
    lab.start("ha2", "agent")
    eventually(lambda: show(lab, "ha2", "peers")[0]["session"] == "up", SECONDS, "the hook is back")
    summary = pings.communicate(timeout=SECONDS)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", summary).groups())
    assert sent == 300 and sent - received <= 1, summary
    after = {row["home_address"]: row for row in show(lab, "ha2", "bindings")}
    assert after.keys() == before.keys()
    for home_address, row in after.items():
        assert row["mobility_sequence"] == before[home_address]["mobility_sequence"]
    assert kernel(lab, "ha2") == routes
    assert MNP in home_in_bgp(lab, "site2-router")


@pytest.mark.requirement("F-7", "M-BRR")
@pytest.mark.parametrize("place", [1, 2])
def test_who_has_lost_its_store_has_the_bindings_made_anew(lab, place):
    """At site 1 the kernel of ha1 knows the mobile router; at site 2 its proxy hears what has happened."""
    bind_at(lab, place)
    lab.stop("ha1", "agent", signal.SIGKILL)
    for file in lab.run_dir("ha1").glob("bindings.sqlite*"):
        file.unlink()
    lab.start("ha1", "agent")

    def binding() -> str | None:
        rows = show(lab, "ha1", "bindings")
        return next((row["kind"] for row in rows if row["mobile_router"] == "mr1"), None)

    expected = {1: "direct", 2: "proxied"}[place]
    # By itself the mobile router would refresh after five minutes.
    eventually(lambda: binding() == expected, 8, "ha1 knows it again")
    assert ping(lab, "cn1") and ping(lab, "cn2")


@pytest.mark.requirement("F-6", "F-1")
def test_killing_exabgp_keeps_routes_and_comes_back(lab):
    bind_at(lab, 2)
    pings = lab.spawn("cn1", ["ping", "-6", "-q", "-c", "200", "-i", "0.02", str(LFN)])
    lab.stop("ha2", "exabgp", signal.SIGKILL)
    eventually(lambda: show(lab, "ha1", "peers")[0]["session"] == "down", SECONDS, "ha1 sees it go")
    assert tunnels_to(lab, "ha1", "2001:db8:2::/48") == [OUTER[2]]
    lab.start("ha2", "exabgp")
    eventually(lambda: show(lab, "ha1", "peers")[0]["session"] == "up", SECONDS * 2, "the session is back")
    lab.wait_until_ready(SECONDS)
    eventually(
        lambda: all(r["state"] != "stale" for r in show(lab, "ha1", "routes")), SECONDS, "nothing stale"
    )
    summary = pings.communicate(timeout=SECONDS)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", summary).groups())
    assert sent == 200 and sent - received <= 1, summary
    assert tunnels_to(lab, "ha1", MNP)[0] == OUTER[2]
    assert HOME in home_in_bgp(lab, "site2-router")


@pytest.mark.requirement("B-4", "P-1")
def test_an_implicit_mobile_router_far_from_home(lab):
    """mr2 names no prefixes: the proxy learns them from the primary's acknowledgement."""
    bind_at(lab, 1, "mr2")
    row = next(row for row in show(lab, "ha1", "bindings") if row["mobile_router"] == "mr2")
    assert (row["kind"], row["prefixes"]) == ("proxy", ["2001:db8:2:100::/64"])
    eventually(lambda: ping(lab, "cn1", "2001:db8:2:100::10"), SECONDS, "cn1 reaches the host behind mr2")
    eventually(lambda: ping(lab, "cn2", "2001:db8:2:100::10"), SECONDS, "cn2 reaches the host behind mr2")
    lab.stop("mr2", "mr")
    eventually(lambda: not kernel(lab, "ha1", "2001:db8:2:100::/64"), SECONDS, "gone at ha1")
    lab.start("mr2", "mr")


def test_mobile_networks_reach_each_other(lab):
    bind_at(lab, 1)
    bind_at(lab, 2, "mr2")
    eventually(
        lambda: ping(lab, "mr1-lfn", "2001:db8:2:100::10"), SECONDS, "one mobile network pings the other"
    )


@pytest.mark.requirement("L-7")
def test_deregistration_leaves_nothing_anywhere(lab):
    bind_at(lab, 2)
    lab.move("mr2", DETACHED)
    lab.stop("mr1", "mr")
    for place in (1, 2):
        node = f"ha{place}"
        eventually(
            lambda n=node: not any(r["mobile_router"] == "mr1" for r in show(lab, n, "bindings")),
            SECONDS,
            "unbound",
        )
        eventually(lambda n=node: not kernel(lab, n, MNP), SECONDS, f"no route in {node}")
        eventually(
            lambda p=place: MNP not in home_in_bgp(lab, f"site{p}-router"),
            SECONDS,
            f"withdrawn at site {place}",
        )
        eventually(
            lambda n=node: all(r["kind"] != "leak" for r in show(lab, n, "routes")),
            SECONDS,
            f"no leak at {node}",
        )
    assert "haha0" not in lab.exec("mr1", ["ip", "-br", "link"]).stdout
    assert "0:\tfrom all lookup local" in lab.exec("mr1", ["ip", "-6", "rule"]).stdout
    lab.start("mr1", "mr")


@pytest.mark.requirement("F-8")
def test_flush_has_everything_withdrawn_and_puts_the_kernel_back(lab):
    flush = [sys.executable, "-m", "haha_exabgp", "flush"]
    refused = lab.exec("ha1", flush)
    assert refused.returncode == 1
    assert "is running" in refused.stderr
    lab.stop("ha1", "agent")
    learned = [row for row in show(lab, "ha2", "routes") if row["via"].endswith("(ha1)")]
    assert any(row["kind"] == "site" and row["state"] == "learned" for row in learned)
    done = lab.exec("ha1", [*flush, "--run-dir", str(lab.run_dir("ha1"))], check=True)
    assert re.fullmatch(r"\d+ routes withdrawn\n", done.stdout)
    # Nothing of it is stale anywhere: it is gone, at the other site and at FRR.
    rows = [row for row in show(lab, "ha2", "routes") if row["state"] in ("learned", "stale")]
    assert not [row for row in rows if row["via"].endswith("(ha1)")]
    assert tunnels_to(lab, "ha2", "2001:db8:1::/48") == []
    assert HOME not in home_in_bgp(lab, "site1-router")
    lab.stop("ha1", "exabgp")
    late = lab.exec("ha1", [*flush, "--run-dir", str(lab.run_dir("ha1"))])
    assert late.returncode == 1 and "ExaBGP does not answer" in late.stderr
    assert "0:\tfrom all lookup local" in lab.exec("ha1", ["ip", "-6", "rule"]).stdout
    left = lab.exec("ha1", ["ip", "-6", "route", "show", "table", "all", "proto", "104"]).stdout
    assert left.strip() == ""
    assert "haha" not in lab.exec("ha1", ["nft", "list", "tables"]).stdout
    lab.start("ha1", "agent")
    # ExaBGP listens on the HAHA address, which the agent brings back.
    eventually(lambda: show(lab, "ha1", "peers"), SECONDS, "the agent answers")
    lab.start("ha1", "exabgp")
    lab.wait_until_ready(SECONDS)
    eventually(
        lambda: best_path(lab, "inet1") == "64500", SECONDS, "the Internet near site 1 goes there again"
    )
    bind_at(lab, 1)
