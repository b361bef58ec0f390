"""The story of route-reflectors.sh: what two FRR route reflectors have as the best path, and the way that a
packet takes through the kernels, before and after each step."""

from __future__ import annotations

import signal
import sys

from story import Story, tell

from haha_exabgp.agent.control import Rows
from haha_exabgp.lab.lab import Lab

NETWORKS = {"mr1": "2001:db8:1:100::/64", "mr2": "2001:db8:2:100::/64"}
PRIMARIES = {"mr1": "ha1", "mr2": "ha2"}
HOPS = {f"2001:db8:ffff::{number}": f"ha{number}" for number in (1, 2, 3)}
BOTH = ("rr1", "rr2")


class RouteReflectors(Story):
    """Three sites; mr1 is of site1, mr2 of site2."""

    def run(self) -> None:
        """All of it."""
        self.title("Every Home Agent has sessions with rr1 and rr2, and none with another Home Agent")
        for home_agent in HOPS.values():
            rows = self.until(f"sessions of {home_agent} are up", lambda h=home_agent: self.sessions(h))
            print(f"   {home_agent}: " + ", ".join(f"{row['name']} {row['session']}" for row in rows))

        self.title("mr1 at home, near site1: nothing is leaked, packets go to its primary site")
        self.move("mr1", 1)
        self.look("mr1", "cn3", None)

        self.title("mr1 moves to site2: ha2 leaks it, both reflectors pass that on")
        self.move("mr1", 2)
        self.look("mr1", "cn3", "ha2")

        self.title("mr1 moves on to site3: LOCAL_PREF is the mobility sequence, so FRR takes the newest")
        self.move("mr1", 3)
        self.look("mr1", "cn2", "ha3")

        self.title("rr1's bgpd is killed, and mr1 moves back to site2: rr2 is enough")
        self.lab.stop("rr1", "bgpd", signal.SIGKILL)
        self.move("mr1", 2)
        self.look("mr1", "cn3", "ha2", reflectors=("rr2",))
        self.lab.start("rr1", "bgpd")

        self.title("mr2, at site3, is leaked on traffic only; without it packets go by its primary site")
        self.move("mr2", 3)
        self.look("mr2", "cn1", None)
        print("   now cn1 sends 50 packets a second")
        with self.stream("cn1", "mr2"):
            self.until("rr2 has the leak of ha3", lambda: self.leak("rr2", "mr2", "ha3"))
        self.look("mr2", "cn1", "ha3")
        print("   it has stopped, and ten seconds later")
        self.look("mr2", "cn1", None)

    def look(
        self, mobile_router: str, source: str, holder: str | None, reflectors: tuple[str, ...] = BOTH
    ) -> None:
        """What the reflectors have of it, the route in the kernel next to the source, and the way there."""
        for reflector in reflectors:
            what = f"{reflector} has the leak of {holder}"
            best = self.until(what, lambda r=reflector: self.leak(r, mobile_router, holder))
            print(f"   FRR of {reflector}: {best}")
        entry, expected = f"ha{source[-1]}", holder or PRIMARIES[mobile_router]
        self.until(f"{entry} leads to {expected}", lambda: self.leads(entry, mobile_router, expected))
        self.path(source, mobile_router)

    def leak(self, reflector: str, mobile_router: str, holder: str | None) -> str | None:
        """What is the best path of a reflector, once it is that of this Home Agent; of nobody: none."""
        prefix = NETWORKS[mobile_router]
        table = self.lab.vtysh(reflector, f"show bgp ipv6 unicast {prefix} json")
        best = next((one for one in table.get("paths", ()) if "bestpath" in one), None)
        if best is None:
            return f"{prefix} is not there" if holder is None else None
        if HOPS[best["nexthops"][0]["ip"]] != holder:
            return None
        communities = best["largeCommunity"]["string"]
        return f"{prefix} next hop {holder}, LOCAL_PREF {best['locPrf']}, large communities {communities}"

    def leads(self, home_agent: str, mobile_router: str, to: str) -> bool:
        """Whether a kernel sends packets for a mobile router into the tunnel to this Home Agent."""
        host = str(self.host(mobile_router))
        route = self.lab.exec(home_agent, ["ip", "-6", "-oneline", "route", "get", host], check=True)
        return f" {self.outer[to]} " in route.stdout

    def sessions(self, home_agent: str) -> Rows | None:
        """All, once they are up."""
        rows = self.show(home_agent, "peers")
        return rows if all(row["session"] == "up" for row in rows) else None


def story(lab: Lab) -> None:
    """The whole story."""
    RouteReflectors(lab).run()


if __name__ == "__main__":
    sys.exit(tell(story))
