"""The story of satellite.sh: the ways that packets take to a mobile router next to a satellite, and what the
loss of its parent means."""

from __future__ import annotations

import signal
import sys
import tempfile
from ipaddress import IPv6Address
from pathlib import Path

from story import Story, tell

from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.lab.lab import Lab

NETWORK = "2001:db8:2:100::/64"
"""Of mr2, whose primary site is site2."""
LENT = {IPv6Address(f"2001:db8:{site}:f000::3"): f"ha3 under site{site}" for site in (1, 2)}


class Satellite(Story):
    """sat1 with ha3 hangs under site1, or else site2."""

    def __init__(self, lab: Lab, config: Path, with_secondary_bindings: str) -> None:
        super().__init__(lab)
        self.names |= LENT
        self._config = config
        self._with_secondary_bindings = with_secondary_bindings

    def run(self) -> None:
        """All of it."""
        self.title("The satellite has Home from its parent, and announces it to the Internet")
        self.until("the satellite hangs under site1", lambda: self.parent() == "site1")
        paths = self.until("Home in inet3's RIB", self.home_paths)
        print(f"   FRR in inet3 has Home by AS path {', else '.join(paths)}: the first one is the satellite")

        self.title("mr2, of site2, is bound to the satellite; its primary sends through that one's parent")
        self.move("mr2", 3)
        self.path("cn1", "mr2")

        self.title("ha3 makes a secondary binding with its parent ha1, which leaks the prefix to all sites")
        self._config.write_text(self._with_secondary_bindings)
        self.lab.stop("ha3", "agent")
        self.lab.start("ha3", "agent")
        self.until("the parent leaks the prefix", lambda: "leak" in self.kinds_of_route("ha2"))
        self.path("cn1", "mr2")

        self.title("ExaBGP of ha1 is killed: the satellite hangs under site2, which has it for itself")
        with self.stream("cn2", "mr2", 100):
            self.lab.stop("ha1", "exabgp", signal.SIGKILL)
            self.until("the satellite hangs under site2", lambda: self.parent() == "site2")
            self.until("no leak any more", lambda: "leak" not in self.kinds_of_route("ha2"))
        self.path("cn2", "mr2")

    def parent(self) -> str:
        """The site that the satellite hangs under."""
        rows = self.show("ha3", "sites")
        return next((row["site"] for row in rows if row["reached"] == "yes, as parent"), "")

    def kinds_of_route(self, home_agent: str) -> set[str]:
        """What routes the kernel of a Home Agent has for the network of the mobile router."""
        rows = self.show(home_agent, "routes")
        return {row["kind"] for row in rows if row["state"] == "kernel" and row["prefix"] == NETWORK}

    def home_paths(self) -> list[str]:
        """AS paths of Home near the satellite, once the best leads to that."""
        table = self.lab.vtysh("inet3", "show bgp ipv6 unicast 2001:db8::/32 json")
        found = sorted(table.get("paths", ()), key=lambda path: "bestpath" not in path)
        paths = [path["aspath"]["string"] for path in found]
        return paths if paths[:1] == ["64500"] else []


def main() -> int:
    """The whole story; at first without secondary bindings."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "satellite.yaml"
        text = Path(sys.argv[1]).read_text()
        config.write_text(text.replace("role: satellite", "role: satellite\n    secondary_bindings: false"))
        home = load(config, no_key)
        list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
        return tell(lambda lab: Satellite(lab, config, text).run(), config)


if __name__ == "__main__":
    sys.exit(main())
