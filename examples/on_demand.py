"""The story of on-demand.sh: a route on demand between two proxies, and its end when the mobile router
moves."""

from __future__ import annotations

import sys
import time

from story import Story, tell

from haha_exabgp.agent.control import Rows
from haha_exabgp.lab.lab import Lab

PINGS_A_SECOND = 20


class OnDemand(Story):
    """mr1, of site 1, is near site 2; cn3, near site 3, talks to a host behind it."""

    def run(self) -> None:
        """All of it."""
        self.title("mr1, whose primary is ha1, binds at ha2; nothing is leaked")
        self.move("mr1", 2)
        self.path("cn3", "mr1")

        self.title(f"cn3 sends {PINGS_A_SECOND} packets/s: ha3 asks ha1 where mr1 is, and ha2 to confirm")
        began = time.monotonic()
        with self.stream("cn3", "mr1", PINGS_A_SECOND):
            self.until("a projected route at ha3", self.projections)
            print(f"   projected {time.monotonic() - began:.2f} s after ping was started")
        for node in ("ha3", "ha2"):
            self.tell_projections(node)
        print(f"   FRR of site3-router has of all this: {', '.join(self.home_routes('site3-router'))}")
        self.path("cn3", "mr1")

        self.title("mr1 moves to site 1 while packets flow: ha2 takes back what it said")
        with self.stream("cn3", "mr1", PINGS_A_SECOND):
            self.move("mr1", 1)
            self.until("no projected route at ha3", lambda: not self.projections())
        print("   ha3 has no projected route any more, and packets take the partition's route")
        self.path("cn3", "mr1")

    def projections(self) -> Rows:
        """Those at the ingress."""
        return self.show("ha3", "projections")

    def tell_projections(self, node: str) -> None:
        """What a Home Agent has of them."""
        for row in self.show(node, "projections"):
            way = "to" if row["end"] == "ingress" else "from"
            print(
                f"   {node} is {row['end']}: {row['mobile_router']} {way} {row['home_agent']},"
                f" {', '.join(row['prefixes'])}, {row['expires_in']:.0f} s left"
            )

    def home_routes(self, router: str) -> list[str]:
        """What is inside Home of a router's BGP table."""
        routes = self.lab.vtysh(router, "show bgp ipv6 unicast json")["routes"]
        return [prefix for prefix in routes if prefix.startswith("2001:db8:")]


def story(lab: Lab) -> None:
    """The whole story."""
    OnDemand(lab).run()


if __name__ == "__main__":
    sys.exit(tell(story))
