"""The network around a Home: real FRR, real kernel, without the Home's own daemons."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

CONFIGS = Path(__file__).parents[2] / "configs"
HOME = "2001:db8::/32"
FAKE_HOME_AGENT = """\
neighbor 3fff:101::1 {{
    router-id 10.0.0.9;
    local-address 3fff:101::a;
    local-as 64500;
    peer-as 64500;
    hold-time 9;
    md5-password "{password}";
    family {{ ipv6 unicast; }}
    static {{
{routes}
    }}
}}
"""


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lab") / "two-sites.yaml"
    shutil.copyfile(CONFIGS / path.name, path)
    home = load(path, no_key)
    assert list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
    return path


@pytest.fixture(scope="module")
def lab(config_path: Path) -> Iterator[Lab]:
    with Lab.up(config_path, name=f"net{os.getpid()}", start_daemons=False) as lab:
        lab.wait_until_ready()
        yield lab


def _ping(lab: Lab, source: str, destination: str) -> None:
    argv = ["ping", "-c1", "-W1", destination]
    eventually(lambda: not lab.exec(source, argv).returncode, 15, f"{source} reaches {destination}")


def _bgp_table(lab: Lab, node: str) -> dict[str, Any]:
    routes: dict[str, Any] = lab.vtysh(node, "show bgp ipv6 unicast json")["routes"]
    return routes


def _wan_addresses(lab: Lab, mobile_router: str) -> set[str]:
    argv = ["ip", "-json", "-6", "address", "show", "dev", "wan0", "scope", "global", "-tentative"]
    interfaces = json.loads(lab.exec(mobile_router, argv, check=True).stdout)
    return {one["local"] for interface in interfaces for one in interface["addr_info"] if one}


def _wan_counters(lab: Lab, mobile_router: str) -> dict[str, int]:
    names = ("ifindex", "carrier_down_count", "carrier_up_count")
    done = lab.exec(mobile_router, ["cat", *(f"/sys/class/net/wan0/{name}" for name in names)], check=True)
    return dict(zip(names, map(int, done.stdout.split()), strict=True))


def test_sessions_between_routers_are_up_and_those_of_home_agents_wait(lab: Lab) -> None:
    assert lab.bgp_sessions("inet1") == {"site1-router": "Established", "inet2": "Established"}
    assert lab.bgp_sessions("site2-router") == {"inet2": "Established", "ha2": "Active"}


def test_correspondents_and_sites_reach_each_other(lab: Lab) -> None:
    _ping(lab, "cn1", str(lab.topology.address("cn2")))
    _ping(lab, "ha1", str(lab.topology.address("ha2")))
    _ping(lab, "site2-host", str(lab.topology.address("cn1")))


def test_home_ends_at_the_site_router_until_a_home_agent_announces_it(lab: Lab) -> None:
    (route,) = lab.vtysh("site1-router", f"show ipv6 route {HOME} json")[HOME]
    assert route["distance"] == 254
    assert route["nexthops"][0]["unreachable"]
    answer = lab.exec("site1-host", ["ping", "-c1", "-W2", "2001:db8:1:100::10"]).stdout
    assert "From 3fff:101:0:1::1" in answer
    assert "nreachable" in answer


def test_the_internet_has_provider_prefixes_but_nothing_of_home(lab: Lab) -> None:
    expected = {"3fff:101::/48", "3fff:102::/48", "3fff:f01::/32", "3fff:f02::/32"}
    for router in ("inet1", "inet2"):
        table = eventually(
            lambda router=router: expected <= _bgp_table(lab, router).keys() and _bgp_table(lab, router),
            15,
            f"{router} knows both sites and both regions",
        )
        assert table.keys() == expected


def test_next_hops_are_global_addresses(lab: Lab) -> None:
    (path,) = _bgp_table(lab, "inet2")["3fff:101::/48"]
    used = [one["ip"] for one in path["nexthops"] if one.get("used")]
    assert used == ["3fff:f01:0:2::1"]


def test_a_mobile_router_moves_and_gets_an_address_at_each_place(lab: Lab) -> None:
    assert lab.attachment("mr1") == "access1"
    before = _wan_counters(lab, "mr1")
    (first,) = eventually(lambda: _wan_addresses(lab, "mr1"), 15, "mr1 has an address")
    assert first.startswith("3fff:f01:0:a:")

    lab.move("mr1", "access2")
    assert lab.attachment("mr1") == "access2"
    second = eventually(lambda: _wan_addresses(lab, "mr1") - {first}, 15, "mr1 has a second address")
    assert [one.startswith("3fff:f02:0:a:") for one in second] == [True]
    argv = ["ping", "-c1", "-W1", "-I", *second, str(lab.topology.address("cn1"))]
    eventually(lambda: not lab.exec("mr1", argv).returncode, 15, "mr1 reaches cn1 from its second address")

    after = _wan_counters(lab, "mr1")
    assert after["ifindex"] == before["ifindex"], "the same interface"
    assert after["carrier_down_count"] == before["carrier_down_count"] + 1
    assert after["carrier_up_count"] == before["carrier_up_count"] + 1


def test_a_mobile_router_can_be_nowhere(lab: Lab) -> None:
    lab.move("mr2", "none")
    assert lab.attachment("mr2") == "none"
    assert "NO-CARRIER" in lab.exec("mr2", ["ip", "link", "show", "wan0"]).stdout
    lab.move("mr2", "access1")
    assert lab.attachment("mr2") == "access1"
    eventually(
        lambda: any(one.startswith("3fff:f01:0:a:") for one in _wan_addresses(lab, "mr2")),
        15,
        "mr2 has an address of access1",
    )


def test_local_nodes_reach_their_mobile_router(lab: Lab) -> None:
    _ping(lab, "mr1-lfn", "2001:db8:1:100::1")


def _fake_home_agent(config_path: Path, directory: Path) -> Path:
    kinds = {
        "2001:db8:1:200::/64": "64500:1:2",
        "2001:db8:1:300::/64": "64500:1:1",
        "2001:db8:1:400::/64": None,
        "3fff:bad::/32": "64500:1:4",
        "2001:db8:1:100::/64": "64500:1:4",
        HOME: "64500:1:1",
    }
    routes = "\n".join(
        f"        route {prefix} next-hop 3fff:101::a{f' large-community [ {kind} ]' if kind else ''};"
        for prefix, kind in kinds.items()
    )
    path = directory / "fake.conf"
    password = load(config_path, no_key).bgp_key().hex()
    path.write_text(FAKE_HOME_AGENT.format(password=password, routes=routes))
    return path


@pytest.mark.requirement("E-4", "K-4")
def test_home_and_nothing_longer_gets_out_to_the_internet(
    lab: Lab, config_path: Path, tmp_path: Path
) -> None:
    before = _bgp_table(lab, "inet1").keys()
    environment = ("env", "exabgp_daemon_user=root", "exabgp_api_cli=false", "exabgp_log_enable=false")
    fake = _fake_home_agent(config_path, tmp_path)
    exabgp = lab.spawn("ha1", [*environment, sys.executable, "-m", "exabgp", "server", str(fake)])

    def table_with_home(node: str) -> dict[str, Any]:
        return eventually(
            lambda: HOME in _bgp_table(lab, node) and _bgp_table(lab, node), 20, f"{node} has Home"
        )

    own = table_with_home("site1-router").keys()
    assert {one for one in own if one.startswith("2001:db8:")} == {HOME, "2001:db8:1:100::/64"}
    assert "3fff:bad::/32" not in own
    internet = table_with_home("inet1")
    assert internet.keys() - before == {HOME}
    assert table_with_home("inet2")[HOME][0]["path"] == "64496 64500"
    marked = {
        node: "largeCommunity" in lab.vtysh(node, f"show bgp ipv6 unicast {HOME} json")["paths"][0]
        for node in ("site1-router", "inet1")
    }
    assert marked == {"site1-router": True, "inet1": False}, "the Home's marks are its own business"

    exabgp.terminate()
    exabgp.communicate()
    eventually(lambda: HOME not in _bgp_table(lab, "inet2"), 30, "Home is withdrawn with its Home Agent")


def test_a_daemon_can_be_stopped_and_started_again(lab: Lab) -> None:
    lab.stop("inet2", "bgpd", signal.SIGKILL)
    assert lab.missing()[0] == "bgpd in inet2 ended"
    lab.start("inet2", "bgpd")
    lab.wait_until_ready()
    _ping(lab, "cn1", str(lab.topology.address("cn2")))


def test_exec_gives_the_exit_status_and_both_outputs(lab: Lab) -> None:
    done = lab.exec("cn1", ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    with pytest.raises(subprocess.TimeoutExpired):
        lab.exec("cn1", ["sleep", "60"], timeout=0.1)
