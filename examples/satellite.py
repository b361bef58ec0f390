"""Run by satellite.sh: a lab of a satellite, and the ways that packets take through it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from haha_exabgp.agent.control import ControlError, Rows, ask
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.topology import LabError
from haha_exabgp.lab.trace import describe, trace

SECONDS = 30.0
PINGS_A_SECOND = 100
NAMES = {IPv6Address(f"3fff:10{number}::a"): f"ha{number}" for number in (1, 2, 3)}
NAMES |= {IPv6Address(f"2001:db8:{site}:f000::3"): f"ha3 under site{site}" for site in (1, 2)}
HOST = IPv6Address("2001:db8:2:100::10")
"""Behind mr2, whose primary site is site2."""


def main(pattern: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "satellite.yaml"
        text = pattern.read_text()
        config.write_text(text.replace("role: satellite", "role: satellite\n    secondary_bindings: false"))
        home = load(config, no_key)
        list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
        with Lab.up(config) as lab:
            lab.wait_until_ready()
            tour(lab, config, text)


def tour(lab: Lab, config: Path, with_secondary_bindings: str) -> None:
    until(lambda: parent(lab) == "site1", "the satellite hangs under site1")
    paths = until(lambda: home_paths(lab, "inet3"), "Home in inet3's RIB")
    print(f"The satellite sat1 hangs under site1. FRR in inet3 has Home by AS path {', else '.join(paths)}:")
    print("the first one is the satellite, which has Home from its parent.\n")

    lab.move("mr2", "access3")
    until(lambda: bound_at(lab) == "3fff:103::a", "mr2 is bound to the satellite")
    print("mr2, at home in site2, is bound to the satellite ha3. From a correspondent near site1:")
    print(f"  before: {way(lab, 'cn1')}\n")

    config.write_text(with_secondary_bindings)
    lab.stop("ha3", "agent")
    lab.start("ha3", "agent")
    until(lambda: "leak" in kinds(lab, "ha2"), "the parent leaks the prefix")
    print("ha3 makes a secondary binding with its parent ha1, which leaks the prefix to all sites:")
    print(f"  after:  {way(lab, 'cn1')}\n")

    pings = lab.spawn("cn2", ["ping", "-6", "-q", "-i", str(1 / PINGS_A_SECOND), str(HOST)])
    lab.stop("ha1", "exabgp", signal.SIGKILL)
    until(lambda: parent(lab) == "site2", "the satellite hangs under site2")
    until(lambda: "leak" not in kinds(lab, "ha2"), "site2 has the satellite for itself")
    print(f"ExaBGP of ha1 is killed: the satellite hangs under site2, {lost(pings)}:")
    print(f"  from near site2: {way(lab, 'cn2')}")


def until(check: Callable[[], Any], what: str) -> Any:
    return eventually(check, SECONDS, what)


def show(lab: Lab, node: str, what: str) -> Rows:
    try:
        return ask(lab.run_dir(node), what)
    except ControlError as error:
        raise LabError(str(error)) from error


def parent(lab: Lab) -> str:
    return next((row["site"] for row in show(lab, "ha3", "sites") if row["reached"] == "yes, as parent"), "")


def bound_at(lab: Lab) -> str:
    row = show(lab, "mr2", "mobile-router")[0]
    return str(row["home_agent"]) if row["state"] == "bound" else ""


def kinds(lab: Lab, node: str) -> set[str]:
    """The kinds of routes that the kernel of a Home Agent has for the prefix of the mobile router."""
    rows = show(lab, node, "routes")
    return {
        row["kind"] for row in rows if row["state"] == "kernel" and row["prefix"] == "2001:db8:2:100::/64"
    }


def home_paths(lab: Lab, router: str) -> list[str]:
    table = lab.vtysh(router, "show bgp ipv6 unicast 2001:db8::/32 json")
    found = sorted(table.get("paths", ()), key=lambda path: "bestpath" not in path)
    paths = [path["aspath"]["string"] for path in found]
    return paths if paths[:1] == ["64500"] else []


def way(lab: Lab, source: str) -> str:
    return describe(trace(lab, source, HOST), NAMES)


def lost(pings: subprocess.Popen[str]) -> str:
    pings.send_signal(signal.SIGINT)
    match = re.search(r"(\d+) packets transmitted, (\d+) received", pings.communicate()[0])
    sent, received = map(int, match.groups()) if match else (0, 0)
    return f"and of {sent} pings at {PINGS_A_SECOND} a second {sent - received} were lost"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
