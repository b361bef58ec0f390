"""The story of foreign-proxy.sh: a mobile router is bound away from its primary site, and moves from
one proxy to another."""

from __future__ import annotations

import sys

from story import Story, tell

from haha_exabgp.lab.lab import DETACHED, Lab

PINGS_A_SECOND = 200
PINGS = 1400
"""Seven seconds: a better uplink is used once it has been good for three."""
NETWORK = "2001:db8:1:100::/64"
"""Of mr1."""


class ForeignProxy(Story):
    """mr1 is of site 1, whose ha1 is its primary; ha2 and ha3 are proxies for it."""

    def run(self) -> None:
        """All of it."""
        self.title("mr1 is near its own site: bound to ha1, its primary, by itself")
        self.move("mr1", 1)
        self.tell_bindings()
        self.path("cn2", "mr1")

        self.title("It is carried to site 2: ha2 asks ha1, accepts, and tells all sites (a leak)")
        self.move("mr1", 2)
        self.until("ha2 is followed", lambda: self.leaked_by("ha2"))
        self.tell_bindings()
        self.path("cn2", "mr1")
        self.path("cn3", "mr1")

        self.title("Its better uplink comes near site 3, and the other one works on: make before break")
        self.lab.move("mr1", "access2", "lte0")
        self.lab.move("mr1", DETACHED)
        self.until("mr1 is bound to ha2 by lte0", lambda: self.is_bound_by("lte0", "ha2"))
        with self.stream("cn1", "mr1", PINGS_A_SECOND, PINGS):
            print(f"   bound to {self.move('mr1', 3)}, while cn1 sends {PINGS_A_SECOND} packets/s")
            self.until("ha3 is followed", lambda: self.leaked_by("ha3"))
        self.tell_bindings()
        self.path("cn2", "mr1")

        self.title("That uplink is cut off without warning: back to ha2 by the other one")
        with self.stream("cn1", "mr1", PINGS_A_SECOND, PINGS // 3):
            self.lab.move("mr1", DETACHED)
            self.until("mr1 is bound to ha2", lambda: self.is_bound_by("lte0", "ha2"))
        self.until("ha2 is followed", lambda: self.leaked_by("ha2"))
        self.path("cn2", "mr1")

    def is_bound_by(self, uplink: str, home_agent: str) -> bool:
        """Whether that is where mr1 is."""
        (row,) = self.show("mr1", "mobile-router")
        return row["egress"] == uplink and self.home_agent_of("mr1") == home_agent

    def leaked_by(self, home_agent: str) -> bool:
        """Whether the kernels of all others have its leak, and of no other."""
        found = {
            (name, row["via"].partition(" ")[0])
            for name in self.outer
            for row in self.show(name, "routes")
            if (row["state"], row["kind"], row["prefix"]) == ("kernel", "leak", NETWORK)
        }
        outer = str(self.outer[home_agent])
        return found == {(name, outer) for name in self.outer if name != home_agent}

    def tell_bindings(self) -> None:
        """Who has what."""
        for name, kind in self.kinds("mr1").items():
            print(f"   {name}: {kind}")


def story(lab: Lab) -> None:
    """The whole story."""
    ForeignProxy(lab).run()


if __name__ == "__main__":
    sys.exit(tell(story))
