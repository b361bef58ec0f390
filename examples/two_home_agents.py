"""The story of two-home-agents.sh: a site with two Home Agents loses one of them, and gets it back."""

from __future__ import annotations

import sys

from story import Story, tell

from haha_exabgp.lab.batches import namespace
from haha_exabgp.lab.build import run
from haha_exabgp.lab.lab import Lab

OTHER = {"ha1a": "ha1b", "ha1b": "ha1a"}
PARTITION = "2001:db8:1::/48"


class TwoHomeAgents(Story):
    """mr1 is at home, near site1, which has ha1a and ha1b; cn2 talks to it from near site2."""

    def run(self) -> None:
        """All of it."""
        self.title("mr1 binds near site1; a hash says who owns its home address, the other has a replica")
        self.until("ha1a is the border Home Agent", lambda: self.border() == "ha1a")
        holder = self.move("mr1", 1)
        self.until("both know of it", lambda: len(self.kinds("mr1")) == len(OTHER))
        self.tell_bindings()
        self.path("cn2", "mr1")

        self.title(f"{holder} is cut off: no HELLO for 3 s, and {OTHER[holder]} takes over and calls mr1")
        with self.stream("cn2", "mr1"):
            self.plug(holder, "down")
            self.until("mr1 is bound to the other", lambda: self.home_agent_of("mr1") == OTHER[holder])
            self.until("site2 follows the other", lambda: self.border() == OTHER[holder])
        self.path("cn2", "mr1")

        self.title(f"{holder} is back: it catches up, and no packet is lost")
        with self.stream("cn2", "mr1"):
            self.plug(holder, "up")
            self.until("both know of it", lambda: len(self.kinds("mr1")) == len(OTHER))
            self.until("ha1a leads again", lambda: self.border() == "ha1a")
        self.tell_bindings()
        self.path("cn2", "mr1")

    def border(self) -> str | None:
        """The Home Agent of site1 that ha2's kernel sends to."""
        route = self.lab.exec("ha2", ["ip", "-6", "route", "show", PARTITION], check=True).stdout
        return next((name for name, outer in self.outer.items() if f"{outer} " in route), None)

    def plug(self, home_agent: str, state: str) -> None:
        """Take a Home Agent off its site's link, or put it back."""
        run(("ip", "-netns", namespace(self.lab.name, "site1-router"), "link", "set", home_agent, state))

    def tell_bindings(self) -> None:
        """Who has what."""
        for name, kind in self.kinds("mr1").items():
            print(f"   {name}: {kind}")


def story(lab: Lab) -> None:
    """The whole story."""
    TwoHomeAgents(lab).run()


if __name__ == "__main__":
    sys.exit(tell(story))
