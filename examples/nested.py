"""The story of nested.sh: mobile routers behind a mobile router, and what they cost between the sites."""

from __future__ import annotations

import sys
from ipaddress import IPv6Address

from story import Story, tell

from haha_exabgp.agent.control import ask
from haha_exabgp.lab.lab import DETACHED, Lab
from haha_exabgp.lab.topology import Role
from haha_exabgp.lab.trace import describe, trace

CAR = "2001:db8:1:200::/64"
"""The network of mr2."""


class Nested(Story):
    """mr1 is a train, mr2 a car on it, mr3 somebody's network in the car."""

    def run(self) -> None:
        """All of it."""
        self.title("mr1 is near site 1, mr2 is plugged in behind it: both are bound to ha1")
        self.move("mr1", 1)
        self.enter("mr2", "mr1", "ha1")
        self.path("cn2", "mr2")
        self.path_out("mr2", "cn2")

        self.title("haha switch sends mr2 to ha2, away from mr1: tunnels in tunnels, to and fro")
        self.switch("mr2", "ha1", "ha2")
        self.path("cn2", "mr2")
        self.path_out("mr2", "cn2")

        self.title("haha switch sends it back: one tunnel between the sites")
        self.switch("mr2", "ha2", "ha1")
        self.path("cn2", "mr2")
        self.path_out("mr2", "cn2")

        self.title("mr1 moves to site 2; mr2, which notices nothing, is told by ha1 to follow it to ha2")
        with self.stream("cn2", "mr2"):
            self.move("mr1", 2)
            self.until("mr2 is bound to ha2", lambda: self.home_agent_of("mr2") == "ha2")
            self.wait_for("cn2", "mr2")
        self.path("cn2", "mr2")
        self.path("cn1", "mr2")

        self.title("mr3 is plugged in behind mr2: discovery comes by two tunnels, and finds ha2")
        self.enter("mr3", "mr2", "ha2")
        self.path("cn1", "mr3")
        self.path_out("mr3", "cn1")

        self.title("mr1 loses its uplink, and gets it back: those behind it have nothing to do")
        updates = self.accepted()
        with self.stream("cn1", "mr3"):
            self.lab.move("mr1", DETACHED)
            self.until("mr1 is not bound", lambda: self.home_agent_of("mr1") is None)
            self.move("mr1", 2)
            self.wait_for("cn1", "mr3")
        self.path("cn1", "mr3")
        print(f"   Binding Updates that ha2 has accepted meanwhile: {self.accepted() - updates}, of mr1")

    def switch(self, mobile_router: str, here: str, there: str) -> None:
        """As `haha switch` does it, and until it is done."""
        request = {"mobile_routers": [mobile_router], "to": [there], "everyone": False, "stay": False}
        ask(self.lab.run_dir(here), "switch", "do", **request)
        self.until(f"it is bound to {there}", lambda: self.home_agent_of(mobile_router) == there)
        self.until("the old way has gone", lambda: "binding" not in self.kinds_of_route(here, CAR))

    def kinds_of_route(self, home_agent: str, prefix: str) -> set[str]:
        """What routes the kernel of a Home Agent has for a prefix."""
        rows = [row for row in self.show(home_agent, "routes") if row["prefix"] == prefix]
        return {row["kind"] for row in rows if row["state"] == "kernel"}

    def enter(self, mobile_router: str, around: str, home_agent: str) -> None:
        """Plug it in behind another."""
        self.lab.move(mobile_router, around)
        self.until(f"{mobile_router} is bound", lambda: self.home_agent_of(mobile_router) == home_agent)
        (row,) = self.show(mobile_router, "mobile-router")
        print(f"   {mobile_router} has the care-of address {row['care_of_address']}, and {home_agent}")

    def wait_for(self, source: str, mobile_router: str) -> None:
        """Until the host behind it is reached."""
        ping = ["ping", "-6", "-c1", "-W1", str(self.host(mobile_router))]
        self.until("it is reached", lambda: self.lab.exec(source, ping).returncode == 0)

    def path(self, source: str, mobile_router: str) -> list[str]:
        """As any path; with the names of all mobile routers' tunnel ends."""
        self._learn_names()
        return super().path(source, mobile_router)

    def path_out(self, mobile_router: str, correspondent: str) -> None:
        """The way back."""
        self._learn_names()
        hops = trace(self.lab, f"{mobile_router}-lfn", self.lab.topology.address(correspondent))
        print(f"   back: {describe(hops, self.names)}")

    def accepted(self) -> int:
        """By ha2."""
        return next(row["value"] for row in self.show("ha2", "counters") if row["counter"] == "accepted")

    def _learn_names(self) -> None:
        for node in self.lab.topology.with_role(Role.MOBILE_ROUTER):
            (row,) = self.show(node.name, "mobile-router")
            if row["care_of_address"]:
                self.names[IPv6Address(row["care_of_address"])] = node.name


def story(lab: Lab) -> None:
    """The whole story."""
    Nested(lab).run()


if __name__ == "__main__":
    sys.exit(tell(story))
