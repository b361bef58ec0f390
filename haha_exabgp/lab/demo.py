"""The guided tour: a mobile router binds, moves to another site, and leaves, on real daemons and kernel.

Every step asks FRR, the kernel and the wire what is there, says it in plain words, and fails loudly when it
is not what it should be.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from rich.markup import escape

from ..agent.control import ControlError, Rows, ask
from ..config.schema import HomeConfig
from ..protocol.routes import Metric
from .build import Checkpoint
from .eventually import eventually
from .kernel_routes import read_routes, tunnel_exit
from .lab import Lab
from .topology import LabError
from .trace import describe, trace, wait_until_listening

STEP_SECONDS = 20.0
"""How long anything may take before the tour gives up."""
PINGS_A_SECOND = 100
PING_TAIL_SECONDS = 1.0
"""The stream of echo requests goes on for so long after the move has settled."""

_SIGNALLING = "icmp6[0] == 144 or icmp6[0] == 145 or ip6 proto 60 or ip6 proto 43"
"""Discovery request and reply, Binding Update and acknowledgement."""
_LOST = re.compile(r"(\d+) packets transmitted, (\d+) received")


@dataclass(frozen=True, slots=True)
class _Place:
    """A site as the tour sees it: the site, its Home Agent, and who stands near."""

    site: str
    home_agent: str
    router: str
    internet: str
    correspondent: str
    access: str
    partition: IPv6Network


class Demo:
    """One tour through one lab, in four steps."""

    def __init__(
        self, lab: Lab, config: HomeConfig, say: Callable[[str], None], checkpoint: Checkpoint
    ) -> None:
        """`say` gets lines with rich's markup; `checkpoint` may raise to end the tour. Raises LabError when
        the Home is too small for one."""
        if len(list(config.partitions())) < 2 or not config.mobile_routers:
            raise LabError(
                "the tour needs two primary sites and a mobile router; haha lab up has no such needs"
            )
        self._lab = lab
        self._config = config
        self._say = say
        self._checkpoint = checkpoint
        self._places = [
            _Place(
                name,
                next(iter(site.home_agents)),
                f"{name}-router",
                f"inet{number}",
                f"cn{number}",
                f"access{number}",
                site.partition,
            )
            for number, (name, site) in enumerate(config.sites.items(), 1)
            if site.partition is not None
        ]
        self._mr, router = next(iter(config.mobile_routers.items()))
        self._mnp = router.prefixes[0]
        self._home_address = router.home_address
        self._lfn = lab.topology.address(f"{self._mr}-lfn")
        self._near = next(p for p in self._places if router.home_address in p.partition)
        self._far = next(p for p in self._places if p is not self._near)
        self.figures: dict[str, float] = {}
        """What was measured, in the unit that the key ends in."""

    def run(self) -> None:
        """All steps. Raises LabError or NotInTime at the first thing that is not as it should be."""
        for step in (self.sites_come_up, self.attach, self.move, self.leave):
            began = time.monotonic()
            step()
            self._say(f"   [dim]({time.monotonic() - began:.1f} s)[/dim]\n")

    # The four steps

    def sites_come_up(self) -> None:
        """Step 1, once."""
        self._title("1. The sites come up: Home is announced from all of them")
        home = self._config.home.prefix
        self._lab.wait_until_ready(STEP_SECONDS)
        for place in self._places:
            what = f"{home} in {place.internet}'s RIB"
            paths = self._until(partial(self._home_paths, place.internet), what)
            self._say(f"   FRR in {place.internet} has {home}: best " + ", else ".join(paths))
        for place in self._places:
            for other in self._others(place):
                route = self._until(
                    partial(self._tunnel_of, place.home_agent, other.partition),
                    f"{other.partition} in the kernel of {place.home_agent}",
                )
                self._say(
                    f"   kernel of {place.home_agent}: {other.partition} of {other.site}"
                    f" through the HAHA tunnel to {self._name(route)}"
                )
        for place in self._places:
            self._expect(self._home_routes(place.router), {str(home)}, f"FRR of {place.router}")
            self._expect(self._home_routes(place.internet), {str(home)}, f"FRR of {place.internet}")
        self._say(f"   FRR everywhere shows {home} and nothing longer of Home")

    def attach(self) -> None:
        """Step 2, from anywhere."""
        near = self._near
        self._title(f"2. {self._mr} attaches at {near.access}, near its own {near.site}")
        signalling = self._listen(near.internet, near.access, _SIGNALLING)
        registration = self._bind(near)
        self.figures["direct_bu_to_ba_ms"] = registration["round_trip_ms"]
        self._say(
            f"   bound to {near.home_agent}, Binding Update acknowledged after"
            f" {registration['round_trip_ms']:.1f} ms; the signalling on the wire:"
        )
        self._until(lambda: signalling.poll() is not None, "tcpdump saw discovery and binding")
        for line in _told(_heard(signalling)):
            self._say(f"   [cyan]{line}[/cyan]")
        line = self._ping_and_capture()
        self._say(f"   {near.correspondent} pings the host behind it ({self._lfn}): answered; on the wire:")
        self._say(f"   [cyan]{line}[/cyan]")
        mnp = self._until(
            lambda: self._home_routes(near.router) & {str(self._mnp)}, f"{self._mnp} in {near.router}"
        )
        self._say(f"   FRR of {near.router} now has {', '.join(mnp)}; the Internet still has Home only")
        self._expect(self._home_routes(near.internet), {str(self._config.home.prefix)}, near.internet)

    def move(self) -> None:
        """Step 3, after step 2; steps 2 and 3 may be repeated."""
        near, far = self._near, self._far
        self._title(f"3. {self._mr} moves to {far.access}, near {far.site}: bound by proxy, leaked by BGP")
        before = self._path(far.correspondent)
        self._say(f"   before: {before}")
        pings = self._lab.spawn(
            near.correspondent, ["ping", "-6", "-q", "-i", str(1 / PINGS_A_SECOND), str(self._lfn)]
        )
        update = self._listen(far.home_agent, "lan0", f"ip6 proto 60 and dst host {self._outer(far)}", 1)
        routes = self._lab.spawn(near.home_agent, ["ip", "-6", "-ts", "-o", "monitor", "route"])
        began = time.monotonic()
        registration = self._bind(far)
        self.figures["proxied_bu_to_ba_ms"] = registration["round_trip_ms"]
        self.figures["unplugged_to_bound_ms"] = (time.monotonic() - began) * 1000
        self._say(
            f"   bound to {far.home_agent} {time.monotonic() - began:.2f} s after the cable was pulled;"
            f" Binding Update acknowledged after {registration['round_trip_ms']:.1f} ms,"
            f" the round to {near.home_agent} in it"
        )
        leak = self._until(
            lambda: self._leak(near.home_agent), f"the leak in the kernel of {near.home_agent}"
        )
        delay = self._leak_delay(update, routes)
        self._say(
            f"   kernel of {near.home_agent} has the leaked {self._mnp} to {self._name(leak)},"
            f" {delay * 1000:.0f} ms after the Binding Update reached {far.home_agent}"
        )
        self._until(lambda: self._lab.exec(far.correspondent, self._ping()).returncode == 0, "a ping")
        time.sleep(PING_TAIL_SECONDS)
        self._report_loss(pings)
        after = self._path(far.correspondent)
        self._say(f"   after:  {after}")
        if f"-> {near.router} ->" in after or f" {near.home_agent} " in after:
            raise LabError(f"the path from {far.correspondent} still passes {near.site}: {after}")
        self._say(f"   {far.correspondent} now reaches the host without passing {near.site}")

    def leave(self) -> None:
        """Step 4, the last."""
        self._title(f"4. {self._mr} de-registers: nothing is left over")
        self._lab.stop(self._mr, "mr")
        home = self._config.home.prefix
        for place in self._places:
            self._until(partial(self._nothing_left, place), f"nothing is left at {place.site}")
            self._say(
                f"   {place.site}: no binding, no tunnel, no leak; FRR of {place.router} has {home} only"
            )

    # What is looked at

    def _home_paths(self, router: str) -> list[str]:
        """The AS paths of Home in a router of the Internet, best first."""
        home = str(self._config.home.prefix)
        table = self._lab.vtysh(router, f"show bgp ipv6 unicast {home} json")
        paths = sorted(table.get("paths", ()), key=lambda path: "bestpath" not in path)
        if len(paths) < 2:
            return []
        return [f"AS path {path['aspath']['string']}" for path in paths]

    def _home_routes(self, router: str) -> set[str]:
        """Every BGP route of a FRR that lies in Home."""
        routes = self._lab.vtysh(router, "show bgp ipv6 unicast json")["routes"]
        home = self._config.home.prefix
        return {
            prefix
            for prefix in routes
            if IPv6Network(prefix).prefixlen >= home.prefixlen and IPv6Network(prefix).subnet_of(home)
        }

    def _kernel(self, node: str, *selector: str) -> list[dict[str, Any]]:
        done = self._lab.exec(node, ["ip", "-6", "-json", "route", "show", *selector], check=True)
        return read_routes(done.stdout)

    def _tunnel_of(self, node: str, prefix: IPv6Network) -> str | None:
        """Where the kernel's best route for a prefix tunnels to."""
        routes = sorted(self._kernel(node, str(prefix)), key=lambda route: route["metric"])
        return next(filter(None, map(tunnel_exit, routes)), None)

    def _leak(self, node: str) -> str | None:
        rows = self._show(node, "routes")
        leaked = any(r["kind"] == "leak" and r["state"] == "kernel" for r in rows)
        return self._tunnel_of(node, self._mnp) if leaked else None

    def _mobile_routes(self, node: str) -> list[str]:
        inside = [IPv6Network(self._home_address), *self._config.mobile_routers[self._mr].prefixes]
        present = self._kernel(node)
        return [
            route["dst"]
            for route in present
            if ":" in route["dst"] and any(IPv6Network(route["dst"]).subnet_of(one) for one in inside)
        ]

    def _nothing_left(self, place: _Place) -> bool:
        return (
            not self._show(place.home_agent, "bindings")
            and not self._mobile_routes(place.home_agent)
            and self._home_routes(place.router) == {str(self._config.home.prefix)}
        )

    def _show(self, node: str, view: str) -> Rows:
        try:
            return ask(self._lab.run_dir(node), view)
        except ControlError as error:
            raise LabError(f"{node}: {error}") from error

    # What is done

    def _bind(self, place: _Place) -> dict[str, Any]:
        """Attach at a place and wait until the binding is with its Home Agent."""
        self._lab.move(self._mr, place.access)

        def bound() -> dict[str, Any] | None:
            for row in self._show(self._mr, "mobile-router"):
                if row["state"] == "bound" and row["home_agent"] == str(self._outer(place)):
                    return row
            return None

        row: dict[str, Any] = self._until(bound, f"{self._mr} is bound to {place.home_agent}")
        return row

    def _ping(self) -> list[str]:
        return ["ping", "-6", "-c", "1", "-W", "1", str(self._lfn)]

    def _ping_and_capture(self) -> str:
        """Ping from near, and one line of what tcpdump saw between Home Agent and mobile router."""
        capture = self._listen(self._near.internet, self._near.access, "ip6 proto 41", 1)
        self._until(
            lambda: (
                self._lab.exec(self._near.correspondent, self._ping()).returncode == 0
                and capture.poll() is not None
            ),
            f"{self._near.correspondent} pings {self._lfn}, and tcpdump sees IPv6 in IPv6",
        )
        return _told(_heard(capture))[0]

    def _listen(self, node: str, interface: str, expression: str, packets: int = 4) -> subprocess.Popen[str]:
        """A tcpdump that is listening, and ends after so many packets."""
        capture = self._lab.spawn(
            node, ["tcpdump", "-i", interface, "-ntt", "-l", "-c", str(packets), expression]
        )
        wait_until_listening({node: capture})
        return capture

    def _leak_delay(self, update: subprocess.Popen[str], routes: subprocess.Popen[str]) -> float:
        """Seconds from the first Binding Update that reached the proxy to the leaked route in the other
        kernel."""
        self._until(lambda: update.poll() is not None, "tcpdump saw the Binding Update")
        received = float(_heard(update)[0].split()[0])
        routes.terminate()
        metric = f"metric {Metric.LEAK.value}"
        for line in routes.communicate()[0].splitlines():
            stamp, _, route = line.partition("]")
            if f"{self._mnp} " in route and metric in route and "Deleted" not in route:
                delay = datetime.fromisoformat(stamp[1:]).timestamp() - received
                self.figures["bu_to_leak_in_kernel_ms"] = delay * 1000
                return delay
        raise LabError(f"ip monitor in {self._near.home_agent} did not see the leaked route")

    def _path(self, source: str) -> str:
        hops = trace(self._lab, source, self._lfn)
        return escape(describe(hops, self._names()))

    def _report_loss(self, pings: subprocess.Popen[str]) -> None:
        pings.send_signal(2)
        summary = pings.communicate(timeout=STEP_SECONDS)[0]
        match = _LOST.search(summary)
        if match is None:
            raise LabError(f"ping has no summary: {summary.strip()}")
        sent, received = map(int, match.groups())
        self.figures["lost_of_100_a_second"] = sent - received
        self._say(
            f"   ping at {PINGS_A_SECOND} packets/s during the move: {sent - received} of {sent} lost"
            f" (about {(sent - received) * 1000 // PINGS_A_SECOND} ms)"
        )

    # How it is said

    def _title(self, text: str) -> None:
        self._say(f"[bold]{text}[/bold]")

    def _until(self, check: Callable[[], Any], what: str) -> Any:
        def checked() -> Any:
            self._checkpoint()
            return check()

        return eventually(checked, STEP_SECONDS, what)

    def _expect(self, seen: object, wanted: object, where: str) -> None:
        if seen != wanted:
            raise LabError(f"{where} shows {seen}, expected {wanted}")

    def _others(self, place: _Place) -> list[_Place]:
        return [other for other in self._places if other is not place]

    def _outer(self, place: _Place) -> IPv6Address:
        return self._config.sites[place.site].home_agents[place.home_agent].outer

    def _names(self) -> dict[IPv6Address, str]:
        names = {self._outer(place): place.home_agent for place in self._places}
        for row in self._show(self._mr, "mobile-router"):
            if row["care_of_address"]:
                names[IPv6Address(row["care_of_address"])] = self._mr
        return names

    def _name(self, address: str) -> str:
        return self._names().get(IPv6Address(address), address)


def _heard(capture: subprocess.Popen[str]) -> list[str]:
    """The packets that a tcpdump wrote, a line each."""
    return [line for line in capture.communicate()[0].splitlines() if " IP6 " in line]


def _told(packets: list[str]) -> list[str]:
    """Lines of tcpdump with times from the first one on."""
    first = float(packets[0].split()[0])
    told = []
    for line in packets:
        stamp, _, rest = line.partition(" ")
        told.append(escape(f"+{(float(stamp) - first) * 1000:4.1f} ms {rest}"))
    return told
