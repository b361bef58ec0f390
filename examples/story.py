"""What the stories of the examples have in common: one lab, what is asked of it, how it is told."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, TypeVar

from haha_exabgp.agent.control import ControlError, Rows, ask
from haha_exabgp.lab.eventually import NotInTime, eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.topology import LabError, Role
from haha_exabgp.lab.trace import describe, trace

SECONDS = 30.0
"""How long anything may take."""
T = TypeVar("T")
_PINGS = re.compile(r"(\d+) packets transmitted, (\d+) received")


class Story:
    """One walk through one lab; every step fails loudly when something is not as it should be."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        home_agents = lab.topology.with_role(Role.HOME_AGENT)
        self.outer = {node.name: node.address for node in home_agents}
        """Name of each Home Agent -> its outer address."""
        self.names = {outer: name for name, outer in self.outer.items()}
        """Of tunnel ends."""
        self._step = 0

    def title(self, text: str) -> None:
        """The next step begins."""
        self._step += 1
        print(f"\n{self._step}. {text}")

    def until(self, what: str, check: Callable[[], T]) -> T:
        """Wait for something. Raises NotInTime."""
        return eventually(check, SECONDS, what)

    def show(self, node: str, what: str) -> Rows:
        """What a daemon says. Raises LabError, so that `until` asks again."""
        try:
            return ask(self.lab.run_dir(node), what)
        except ControlError as error:
            raise LabError(str(error)) from error

    def home_agent_of(self, mobile_router: str) -> str | None:
        """Whom a mobile router is bound to."""
        (row,) = self.show(mobile_router, "mobile-router")
        if row["state"] != "bound":
            return None
        return next((name for name, outer in self.outer.items() if str(outer) == row["home_agent"]), None)

    def move(self, mobile_router: str, place: int) -> str:
        """Plug it in near the site of this number; gives whom it is bound to then."""
        self.lab.move(mobile_router, f"access{place}")
        at = str(self.lab.topology.access(f"access{place}").prefix.network_address).rstrip(":")

        def bound() -> str | None:
            (row,) = self.show(mobile_router, "mobile-router")
            return self.home_agent_of(mobile_router) if str(row["care_of_address"]).startswith(at) else None

        return self.until(f"{mobile_router} is bound", bound)

    def host(self, mobile_router: str) -> IPv6Address:
        """A host in its network."""
        return self.lab.topology.address(f"{mobile_router}-lfn")

    def path(self, source: str, mobile_router: str) -> list[str]:
        """Print the way of one packet to a host behind a mobile router, as it is seen on the wire; gives
        its nodes."""
        host = self.host(mobile_router)
        ping = ["ping", "-6", "-c1", "-W1", str(host)]
        self.until(f"{source} reaches {host}", lambda: self.lab.exec(source, ping).returncode == 0)
        (row,) = self.show(mobile_router, "mobile-router")
        self.names[IPv6Address(row["care_of_address"])] = mobile_router
        hops = trace(self.lab, source, host)
        print(f"   path: {describe(hops, self.names)}")
        return [hop.node for hop in hops]

    def kinds(self, mobile_router: str) -> dict[str, str]:
        """What each Home Agent that answers has: kind of binding, through whom."""
        found: dict[str, str] = {}
        for name in self.outer:
            try:
                rows = self.show(name, "bindings")
            except LabError:
                continue
            for row in rows:
                if row["mobile_router"] == mobile_router:
                    found[name] = f"{row['kind']} {row['through']}".strip()
        return found

    @contextmanager
    def stream(
        self, source: str, mobile_router: str, per_second: int = 50, packets: int | None = None
    ) -> Iterator[None]:
        """Packets meanwhile, or so many; how many were lost is printed. Without `packets` the last one may
        count as lost though it is only under way."""
        count = [] if packets is None else ["-c", str(packets)]
        ping = ["ping", "-6", "-q", "-i", str(1 / per_second), *count, str(self.host(mobile_router))]
        running = self.lab.spawn(source, ping)
        yield
        if packets is None:
            running.send_signal(signal.SIGINT)
        counted = _PINGS.search(running.communicate(timeout=SECONDS)[0])
        if counted is None:
            raise LabError("ping has not counted")
        sent, received = map(int, counted.groups())
        lost = sent - received
        print(f"   {sent} packets, {lost} lost: {lost / per_second:.2f} s")


def tell(story: Callable[[Lab], Any], config: Path | None = None) -> int:
    """Bring the lab of a configuration up, the one named on the command line unless given; tell the story,
    take it down."""
    try:
        with Lab.up(config or Path(sys.argv[1]), plugged=False) as lab:
            lab.wait_until_ready(SECONDS)
            story(lab)
    except (LabError, NotInTime) as error:
        print(f"example: {error}", file=sys.stderr)
        return 1
    return 0
