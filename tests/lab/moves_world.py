"""A mobile router of site 1 that moves between the proxies of site 2 and site 3, with two uplinks: so that
the old access works on while the new one is taken into use."""

from __future__ import annotations

from pathlib import Path

from haha_exabgp.agent.control import ask
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import DETACHED, Lab
from tests.lab.home_world import MNP, OUTER, SECONDS, bound, kernel, ping, tunnels_to
from tests.lab.streams import Counted, streams

CORRESPONDENTS = ("cn1", "cn2", "cn3")
"""Near the primary's site, and near either proxy."""
RATE = 200
"""Packets a second, each way, to and from each of these."""


def set_leaks(lab: Lab, path: Path, policy: str) -> None:
    """`leak` of the mobile router, at all Home Agents at once; `path` is the lab's configuration."""
    head, name, rest = path.read_text().partition("  mr1:\n")
    lines = [line for line in rest.splitlines(keepends=True) if not line.startswith("    leak:")]
    path.write_text("".join([head, name, f"    leak: {policy}\n", *lines]))
    for agent in ("ha1", "ha2", "ha3"):
        ask(lab.run_dir(agent), "reload", "do")


def is_at(lab: Lab, place: int, uplink: str) -> bool:
    """Bound to the Home Agent of this place by that uplink."""
    row = bound(lab, place)
    access = str(lab.topology.access(f"access{place}").prefix.network_address).rstrip(":")
    return row is not None and row["egress"] == uplink and row["care_of_address"].startswith(access)


def begin_at(lab: Lab, place: int) -> None:
    """Bound by the second uplink, the first one out of use: what was is of no matter."""
    if lab.attachment("mr1", "lte0") != f"access{place}":
        lab.move("mr1", f"access{place}", "lte0")
    lab.move("mr1", DETACHED)
    eventually(lambda: is_at(lab, place, "lte0"), SECONDS, f"mr1 is bound at {place} by lte0")
    for one in CORRESPONDENTS:
        eventually(lambda one=one: ping(lab, one), SECONDS, f"{one} reaches it")


def move(lab: Lab, place: int, *, old_access_works: bool = True) -> dict[tuple[str, str], Counted]:
    """From the proxy where it is, by its second uplink, to another by its first, while packets flow."""
    with streams(lab, "mr1-lfn", CORRESPONDENTS, RATE) as counted:
        if not old_access_works:
            lab.move("mr1", DETACHED, "lte0")
        lab.move("mr1", f"access{place}")
        eventually(lambda: is_at(lab, place, "wan0"), SECONDS, f"mr1 is bound at {place} by wan0")
        other = 5 - place
        eventually(lambda: not leaked_by(lab, other), SECONDS, "nobody follows the proxy that it has left")
    return counted


def leaked_by(lab: Lab, place: int) -> bool:
    """Whether the primary or a proxy sends it packets by the Home Agent of this place."""
    others = [f"ha{one}" for one in (1, 2, 3) if one != place]
    return any(OUTER[place] in tunnels_to(lab, one, MNP) for one in others) or any(
        route["metric"] == 100 for route in kernel(lab, f"ha{place}", MNP)
    )
