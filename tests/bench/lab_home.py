"""A Home in the lab with as many sites as wanted: what the benchmarks of moves have in common.

Site N has the Home Agent haN, the access network accessN and the correspondent cnN; mr1 is at home at site 1.
Everybody may move as often as it likes (`flap_moves: 0`).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from haha_exabgp.agent.control import ControlError, ask
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.lab.batches import namespace
from haha_exabgp.lab.build import run
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.topology import LabError
from haha_exabgp.lab.trace import wait_until_listening
from haha_exabgp.rollout.frr import AccessNetwork, render_zebra

MOBILE_ROUTER = "mr1"
HOME = "2001:db8::/32"
MNP = "2001:db8:1:100::/64"
LFN = IPv6Address("2001:db8:1:100::10")
MOST_SITES = 15
SECONDS = 30.0
_STAMPED = re.compile(r"(\[[-0-9T:.]+\]|\d+\.\d+) ?(.*)")
"""A line of `ip -ts monitor` or of `tcpdump -tt`."""
_EXIT = re.compile(r"encap (?:seg6 .*segs 1 \[ (\S+) \]|ip6 .*dst (\S+))")


def outer(site: int) -> str:
    """Of the Home Agent of a site."""
    return f"3fff:1{site:02x}::a"


def partition(site: int) -> str:
    """Of Home."""
    return f"2001:db8:{site:x}::/48"


def write_home(
    directory: Path,
    name: str,
    sites: int,
    *,
    leak: str = "always",
    home: Mapping[str, Any] = MappingProxyType({}),
    mobile_routers: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """A configuration, with keys: `leak` of every site, more of the section `home`, more mobile routers."""
    if not 2 <= sites <= MOST_SITES:
        raise SystemExit(f"{sites} sites: give 2 to {MOST_SITES}")
    config = {
        "home": {
            "prefix": HOME,
            "asn": 64500,
            "mesh_prefix": "2001:db8:ffff::/48",
            "mesh_key_file": "keys/mesh.key",
            "bgp_key_file": "keys/bgp.key",
            "insecure_tunnel": True,
            "flap_moves": 0,
            **home,
        },
        "sites": {f"site{site}": _site(site, leak) for site in range(1, sites + 1)},
        "mobile_routers": {
            MOBILE_ROUTER: {
                "home_address": "2001:db8:1:1::10",
                "prefixes": [MNP],
                "key_file": "keys/mr1.key",
                "spi": 4096,
            },
            **mobile_routers,
        },
        # With the usual first one they would soon meet Home's own.
        "lab": {"first_asn": 64512},
    }
    path = directory / f"{name}{os.getpid()}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    loaded = load(path, no_key)
    list(make_missing(loaded.key_path(file) for _, file in key_files(loaded.config)))
    return path


def _site(site: int, leak: str) -> dict[str, Any]:
    provider = f"3fff:1{site:02x}::"
    return {
        "partition": partition(site),
        "provider_prefix": f"{provider}/48",
        "leak": leak,
        "router": {"address": f"{provider}1"},
        "home_agents": {f"ha{site}": {"outer": outer(site), "haha": f"2001:db8:ffff::{site:x}"}},
    }


@contextmanager
def lab_of(path: Path, sites: int) -> Iterator[Lab]:
    """The lab, once every site can reach every other; the mobile router is plugged in nowhere."""
    with Lab.up(path, plugged=False) as lab:
        lab.wait_until_ready(SECONDS * 2)
        for site in range(1, sites + 1):
            others = {partition(other) for other in range(1, sites + 1)} - {partition(site)}
            what = f"the partitions of all others in the kernel of ha{site}"
            eventually(lambda s=site, o=others: o <= _tunnelled(lab, f"ha{s}"), SECONDS, what)
        yield lab


def _tunnelled(lab: Lab, node: str) -> set[str]:
    shown = lab.exec(node, ["ip", "-6", "route", "show"], check=True).stdout
    return {line.split()[0] for line in shown.splitlines() if _EXIT.search(line)}


def show(lab: Lab, node: str, view: str) -> list[dict[str, Any]]:
    """What `haha show` has to say there. Raises LabError while nobody answers."""
    try:
        return ask(lab.run_dir(node), view)
    except ControlError as error:
        raise LabError(f"{node}: {error}") from error


def is_bound(lab: Lab, site: int, mobile_router: str = MOBILE_ROUTER) -> bool:
    """Whether it is bound to the Home Agent of this site."""
    row = show(lab, mobile_router, "mobile-router")[0]
    return bool(row["state"] == "bound" and row["home_agent"] == outer(site))


def bind_at(lab: Lab, site: int, mobile_router: str = MOBILE_ROUTER, access: str = "") -> None:
    """Move to an access network of a site, until bound there."""
    lab.move(mobile_router, access or f"access{site}")
    eventually(
        lambda: is_bound(lab, site, mobile_router), SECONDS, f"{mobile_router} is bound at site {site}"
    )


def add_access(lab: Lab, name: str, site: int) -> None:
    """One more access network at the door of a site, beside the one that every site has."""
    first = lab.topology.access(f"access{site}")
    prefix = IPv6Network((int(first.prefix.network_address) + (1 << 64), 64))
    space = namespace(lab.name, first.router)
    bridge = ("type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
    for command in (
        ("link", "add", name, *bridge),
        ("address", "add", f"{prefix[1]}/64", "dev", name, "nodad"),
        ("link", "set", name, "up"),
    ):
        run(("ip", "-n", space, *command))
    zebra = render_zebra(first.router, (AccessNetwork(name, prefix),))
    commands = [line for line in zebra.splitlines() if not line.startswith(("!", "hostname", "log"))]
    said = [option for line in ("configure terminal", *commands) for option in ("-c", line)]
    run(("vtysh", "--vty_socket", str(lab.run_dir(first.router)), "-H", os.devnull, *said))
    accesses = (*lab.topology.accesses, replace(first, name=name, bridge=name, prefix=prefix))
    lab.topology = replace(lab.topology, accesses=accesses)


class Listener:
    """A program in a node that writes a line for each thing it sees, `ip monitor` or `tcpdump`."""

    def __init__(self, lab: Lab, node: str, argv: Sequence[str]) -> None:
        self.lines: list[tuple[float, str]] = []
        """Each with its time, the seconds of the wall clock."""
        self._child = lab.spawn(node, argv)
        if argv[0] == "tcpdump":
            wait_until_listening({node: self._child})
        threading.Thread(target=self._read, daemon=True).start()

    def since(self, when: float) -> Iterator[tuple[float, str]]:
        """What it has seen since then, in order."""
        for at, text in tuple(self.lines):
            if at >= when:
                yield at, text

    def _read(self) -> None:
        assert self._child.stdout is not None
        # When the lab goes down, it closes what is read here.
        with suppress(ValueError):
            for line in self._child.stdout:
                if match := _STAMPED.match(line):
                    stamp, text = match.groups()
                    is_date = stamp.startswith("[")
                    at = datetime.fromisoformat(stamp[1:-1]).timestamp() if is_date else float(stamp)
                    self.lines.append((at, text))


def route_listener(lab: Lab, node: str) -> Listener:
    """Sees every change of the node's routes."""
    return Listener(lab, node, ["ip", "-6", "-ts", "-o", "monitor", "route"])


def packet_listener(lab: Lab, node: str, interface: str, expression: str) -> Listener:
    """Sees every packet that the expression of pcap-filter(7) takes."""
    options = ["-n", "-tt", "-l", "--immediate-mode", "-i", interface]
    return Listener(lab, node, ["tcpdump", *options, expression])


def leaked_to(line: str) -> str | None:
    """Where the mobile network now leads, by a line of `ip monitor route` about its leak; None for others."""
    if not line.startswith(f"{MNP} ") or " metric 200 " not in f"{line} ":
        return None
    match = _EXIT.search(line)
    return match and (match[1] or match[2])


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def machine() -> str:
    """What stands above every table: what else the machine did."""
    loads = "/".join(f"{load:.1f}" for load in os.getloadavg())
    return f"load {loads}, {os.cpu_count()} cores"
