"""The story of examples/on-demand.sh, on real daemons and kernel. Needs root.

python examples/on_demand.py configs/on-demand.yaml
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from haha_exabgp.agent.control import ask
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.trace import describe, trace

SECONDS = 20.0
"""How long anything may take."""
HOME_AGENTS = {1: IPv6Address("3fff:101::a"), 2: IPv6Address("3fff:102::a"), 3: IPv6Address("3fff:103::a")}
PINGS_A_SECOND = 20


class Story:
    """mr1, of site 1, is near site 2; cn3, near site 3, talks to a host behind it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._host = lab.topology.address("mr1-lfn")

    def tell(self) -> None:
        """All of it. Raises LabError or NotInTime at the first thing that is not as it should be."""
        print("1. mr1, whose primary is ha1, binds at ha2; nothing is leaked")
        self._bind(2)
        self._print_path()
        print(
            f"2. cn3 sends {PINGS_A_SECOND} packets/s: ha3 notices, asks ha1 where mr1 is, and ha2 to confirm"
        )
        began = time.monotonic()
        with self._traffic():
            self._until(self._projections, "a projected route at ha3")
            print(f"   projected {time.monotonic() - began:.2f} s after ping was started")
        for node in ("ha3", "ha2"):
            self._print_state(node)
        print(f"   FRR of site3-router has of all this: {', '.join(self._home_routes('site3-router'))}")
        self._print_path()
        print("3. mr1 moves to site 1 while packets flow: ha2 takes back what it said")
        with self._traffic():
            self._bind(1)
            self._until(lambda: not self._projections(), "no projected route at ha3")
            self._until(self._pings, "cn3 reaches it")
        print("   ha3 has no projected route any more, and packets take the partition's route")
        self._print_path()

    def _bind(self, place: int) -> None:
        self._lab.move("mr1", f"access{place}")
        outer = str(HOME_AGENTS[place])

        def bound() -> bool:
            (row,) = ask(self._lab.run_dir("mr1"), "mobile-router")
            return (row["state"], row["home_agent"]) == ("bound", outer)

        self._until(bound, f"mr1 is bound to ha{place}")
        self._until(self._pings, "cn3 reaches it")

    def _pings(self) -> bool:
        return self._lab.exec("cn3", ["ping", "-6", "-c1", "-W1", str(self._host)]).returncode == 0

    @contextmanager
    def _traffic(self) -> Iterator[None]:
        stream = self._lab.spawn("cn3", ["ping", "-6", "-q", "-i", str(1 / PINGS_A_SECOND), str(self._host)])
        yield
        stream.send_signal(signal.SIGINT)
        summary = stream.communicate(timeout=SECONDS)[0]
        print(f"   ping: {next(line for line in summary.splitlines() if 'received' in line)}")

    def _projections(self) -> list[dict[str, Any]]:
        return ask(self._lab.run_dir("ha3"), "projections")

    def _home_routes(self, router: str) -> list[str]:
        routes = self._lab.vtysh(router, "show bgp ipv6 unicast json")["routes"]
        return [prefix for prefix in routes if prefix.startswith("2001:db8:")]

    def _print_state(self, node: str) -> None:
        for row in ask(self._lab.run_dir(node), "projections"):
            way = "to" if row["end"] == "ingress" else "from"
            print(
                f"   {node} is {row['end']}: {row['mobile_router']} {way} {row['home_agent']},"
                f" {', '.join(row['prefixes'])}, {row['expires_in']:.0f} s left"
            )

    def _print_path(self) -> None:
        names = {address: f"ha{place}" for place, address in HOME_AGENTS.items()}
        (row,) = ask(self._lab.run_dir("mr1"), "mobile-router")
        names[IPv6Address(row["care_of_address"])] = "mr1"
        print(f"   path: {describe(trace(self._lab, 'cn3', self._host), names)}")

    def _until(self, check: Callable[[], Any], what: str) -> None:
        eventually(check, SECONDS, what)


def main() -> None:
    """Bring the lab up, tell the story, take it down."""
    (config,) = sys.argv[1:]
    print("Three sites in network namespaces")
    with Lab.up(Path(config), plugged=False) as lab:
        lab.wait_until_ready(SECONDS)
        Story(lab).tell()


if __name__ == "__main__":
    main()
