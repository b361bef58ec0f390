"""The story of route-reflectors.sh, which sets everything up and runs it: what two FRR route reflectors have
as the best path, and the way that a packet takes through the kernels, before and after each step."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from haha_exabgp.agent.control import ControlError, ask
from haha_exabgp.lab.eventually import NotInTime, eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.topology import LabError
from haha_exabgp.lab.trace import describe, trace

CONFIG = Path(__file__).parents[1] / "configs" / "route-reflectors.yaml"
NETWORKS = {"mr1": "2001:db8:1:100::/64", "mr2": "2001:db8:2:100::/64"}
PRIMARIES = {"mr1": "ha1", "mr2": "ha2"}
NAMES = {IPv6Address(f"3fff:10{number}::a"): f"ha{number}" for number in (1, 2, 3)}
HOPS = {f"2001:db8:ffff::{number}": f"ha{number}" for number in (1, 2, 3)}
BOTH = ("rr1", "rr2")
SECONDS = 30.0
P = ParamSpec("P")
T = TypeVar("T")


class Story:
    """One walk through one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def run(self) -> None:
        """All of it. Raises LabError or NotInTime at the first thing that is not as it should be."""
        lab = self._lab
        lab.wait_until_ready(SECONDS)
        self._title("1. Every Home Agent has sessions with rr1 and rr2, and none with another Home Agent")
        for home_agent in HOPS.values():
            rows = self._until(f"sessions of {home_agent} are up", self._sessions, home_agent)
            print(f"   {home_agent}: " + ", ".join(f"{row['name']} {row['session']}" for row in rows))

        self._title("2. mr1 at home, near site1: nothing is leaked, packets go to its primary site")
        self._move("mr1", 1)
        self._look("mr1", "cn3", None)

        self._title("3. mr1 moves to site2: ha2 leaks it, both reflectors pass that on")
        self._move("mr1", 2)
        self._look("mr1", "cn3", "ha2")

        self._title("4. mr1 moves on to site3: LOCAL_PREF is the mobility sequence, so FRR takes the newest")
        self._move("mr1", 3)
        self._look("mr1", "cn2", "ha3")

        self._title("5. rr1's bgpd is killed, and mr1 moves back to site2: rr2 is enough")
        lab.stop("rr1", "bgpd", signal.SIGKILL)
        self._move("mr1", 2)
        self._look("mr1", "cn3", "ha2", reflectors=("rr2",))
        lab.start("rr1", "bgpd")

        self._title("6. mr2, at site3, is leaked on traffic only; without it packets go by its primary site")
        self._move("mr2", 3)
        self._look("mr2", "cn1", None)
        print("   now cn1 sends 50 packets a second")
        ping = lab.spawn("cn1", ["ping", "-6", "-q", "-i", "0.02", str(self._fixed_node("mr2"))])
        self._until("rr2 has the leak of ha3", self._leak, "rr2", "mr2", "ha3")
        ping.terminate()
        ping.communicate()
        self._look("mr2", "cn1", "ha3")
        print("   it has stopped, and ten seconds later")
        self._look("mr2", "cn1", None)

    def _title(self, text: str) -> None:
        print(f"\n{text}")

    def _look(
        self, mobile_router: str, source: str, holder: str | None, reflectors: tuple[str, ...] = BOTH
    ) -> None:
        """What the reflectors have of it, the route in the kernel next to the source, and the way there."""
        for reflector in reflectors:
            what = f"{reflector} has the leak of {holder}"
            print(f"   FRR of {reflector}:", self._until(what, self._leak, reflector, mobile_router, holder))
        entry, expected = f"ha{source[-1]}", holder or PRIMARIES[mobile_router]
        route = self._until(f"{entry} leads to {expected}", self._route, entry, mobile_router, expected)
        print(f"   kernel of {entry}: {route}")
        hops = trace(self._lab, source, self._fixed_node(mobile_router))
        print(f"   a packet: {describe(hops, NAMES)}")

    def _leak(self, reflector: str, mobile_router: str, holder: str | None) -> str | None:
        prefix = NETWORKS[mobile_router]
        table = self._lab.vtysh(reflector, f"show bgp ipv6 unicast {prefix} json")
        best = next((one for one in table.get("paths", ()) if "bestpath" in one), None)
        if best is None:
            return f"{prefix} is not there" if holder is None else None
        if HOPS[best["nexthops"][0]["ip"]] != holder:
            return None
        communities = best["largeCommunity"]["string"]
        return f"{prefix} next hop {holder}, LOCAL_PREF {best['locPrf']}, large communities {communities}"

    def _route(self, home_agent: str, mobile_router: str, tunnel_to: str) -> str | None:
        destination = str(self._fixed_node(mobile_router))
        done = self._lab.exec(home_agent, ["ip", "-6", "-oneline", "route", "get", destination], check=True)
        (outer,) = (str(address) for address, name in NAMES.items() if name == tunnel_to)
        return (
            f"{destination} into the tunnel to {tunnel_to}, {outer}" if f" {outer} " in done.stdout else None
        )

    def _move(self, mobile_router: str, place: int) -> None:
        self._lab.move(mobile_router, f"access{place}")

        def bound() -> str | None:
            (row,) = self._show(mobile_router, "mobile-router")
            is_there = row["state"] == "bound" and NAMES[IPv6Address(row["home_agent"])] == f"ha{place}"
            return str(row["care_of_address"]) if is_there else None

        care_of_address = self._until(f"{mobile_router} is bound to ha{place}", bound)
        NAMES[IPv6Address(care_of_address)] = mobile_router

    def _sessions(self, home_agent: str) -> list[dict[str, Any]] | None:
        rows = self._show(home_agent, "peers")
        return rows if all(row["session"] == "up" for row in rows) else None

    def _show(self, node: str, view: str) -> list[dict[str, Any]]:
        try:
            return ask(self._lab.run_dir(node), view)
        except ControlError as error:
            raise LabError(f"{node}: {error}") from error

    def _fixed_node(self, mobile_router: str) -> IPv6Address:
        return self._lab.topology.address(f"{mobile_router}-lfn")

    def _until(self, what: str, check: Callable[P, T | None], *args: P.args, **kwargs: P.kwargs) -> T:
        found: T | None = eventually(lambda: check(*args, **kwargs), SECONDS, what)
        assert found is not None  # it waits for something that is true
        return found


def main() -> int:
    """Bring the lab up, tell the story, take the lab down. Exit status 1 when it does not go as told."""
    print(f"Bringing {CONFIG} up in network namespaces")
    try:
        with Lab.up(CONFIG, plugged=False) as lab:
            Story(lab).run()
    except (LabError, NotInTime) as error:
        print(f"route_reflectors: {error}", file=sys.stderr)
        return 1
    print("\nDone; nothing is left of the lab.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
