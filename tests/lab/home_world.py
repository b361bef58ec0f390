"""What the tests of a whole Home ask it: its daemons, FRR, kernels and packets, by the names of
`configs/two-sites.yaml`."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from haha_exabgp.agent.control import ControlError, ask
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.kernel_routes import read_routes, tunnel_exit
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.topology import LabError
from haha_exabgp.lab.trace import trace

CONFIGS = Path(__file__).parents[2] / "configs"
HOME = "2001:db8::/32"
MNP = "2001:db8:1:100::/64"
HOA = "2001:db8:1:1::10"
LFN = ipaddress.IPv6Address("2001:db8:1:100::10")
OUTER = {1: "3fff:101::a", 2: "3fff:102::a", 3: "3fff:103::a"}
SECONDS = 20.0


def write_home(
    directory: Path,
    name: str,
    edit: Callable[[str], str] = lambda text: text,
    *,
    config: str = "two-sites.yaml",
) -> Path:
    """One of `configs/`, edited, under a name of this process's own, with keys. Mobile routers may move as
    often as the tests have them do."""
    path = directory / f"{name}{os.getpid()}.yaml"
    text = (CONFIGS / config).read_text().replace("  flap_moves: 5\n", "")
    path.write_text(edit(text.replace("home:\n", "home:\n  flap_moves: 0\n", 1)))
    home = load(path, no_key)
    assert list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
    return path


@contextmanager
def home_lab(path: Path) -> Iterator[Lab]:
    """A lab that is ready, its mobile routers plugged in nowhere."""
    with Lab.up(path, plugged=False) as lab:
        lab.wait_until_ready(SECONDS)
        yield lab


def show(lab: Lab, node: str, what: str) -> list[dict]:
    try:
        return ask(lab.run_dir(node), what)
    except ControlError as error:
        # So that `eventually` asks again: a daemon may be just starting.
        raise LabError(str(error)) from error


def counter(lab: Lab, node: str, name: str) -> int:
    return next((row["value"] for row in show(lab, node, "counters") if row["counter"] == name), 0)


def kernel(lab: Lab, node: str, *selector: str) -> list[dict]:
    return read_routes(lab.exec(node, ["ip", "-6", "-json", "route", "show", *selector], check=True).stdout)


def tunnels_to(lab: Lab, node: str, prefix: str) -> list[str]:
    """Tunnel exits of the kernel's routes for a prefix, best first."""
    routes = sorted(kernel(lab, node, prefix), key=lambda route: route["metric"])
    return [exit_ for exit_ in map(tunnel_exit, routes) if exit_ is not None]


def bound(lab: Lab, home_agent: int, mobile_router: str = "mr1") -> dict | None:
    row = show(lab, mobile_router, "mobile-router")[0]
    return row if row["state"] == "bound" and row["home_agent"] == OUTER[home_agent] else None


def bind_at(lab: Lab, place: int, mobile_router: str = "mr1") -> dict:
    """Have the mobile router bound to the Home Agent of this place."""
    if lab.attachment(mobile_router) != f"access{place}":
        lab.move(mobile_router, f"access{place}")
    row = eventually(lambda: bound(lab, place, mobile_router), SECONDS, f"{mobile_router} bound at {place}")
    if mobile_router == "mr1":
        eventually(lambda: ping(lab, "cn1") and ping(lab, "cn2"), SECONDS, "both correspondents reach it")
    return row


def plug(lab: Lab, router: str, home_agent: str, *, in_: bool) -> None:
    """Take a Home Agent off the link of its site, or put it back: its end of the cable stays as it is."""
    state = "up" if in_ else "down"
    lab.exec(router, ["ip", "link", "set", home_agent, state], check=True)


def ping(lab: Lab, node: str, destination: object = LFN) -> bool:
    return lab.exec(node, ["ping", "-6", "-c1", "-W1", str(destination)]).returncode == 0


def home_in_bgp(lab: Lab, router: str) -> set[str]:
    routes = lab.vtysh(router, "show bgp ipv6 unicast json")["routes"]
    return {prefix for prefix in routes if prefix.startswith("2001:db8:")}


def best_path(lab: Lab, router: str) -> str:
    """The AS path that a router of the Internet takes to Home."""
    table = lab.vtysh(router, f"show bgp ipv6 unicast {HOME} json")
    return next((path["aspath"]["string"] for path in table.get("paths", ()) if "bestpath" in path), "")


def nodes_on_the_way(lab: Lab, source: str) -> list[str]:
    return [hop.node for hop in trace(lab, source, LFN)]
