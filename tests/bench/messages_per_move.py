"""How many messages and octets a move costs, by kind, counted on the wire.

    sudo .venv/bin/python -m tests.bench.messages_per_move [ROUNDS]      3 rounds

Four sites, one Home Agent each; the mobile router is at home at site 1, goes to 2 and 3 and back, and a
correspondent at site 4 sends to it while it is away. Twice the same: with leaks always, and with never and
routes on demand. tcpdump takes what each Home Agent sends and what passes the mobile router's access link;
tshark says what it is. Octets are those of whole IPv6 packets, with the tunnel's header where they have one.
TCP's acknowledgements are not counted, nor what is said all the time (HELLO, BGP KEEPALIVE).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.topology import Role
from haha_exabgp.lab.trace import wait_until_listening

from .lab_home import (
    HOME,
    LFN,
    MNP,
    MOBILE_ROUTER,
    SECONDS,
    add_access,
    bind_at,
    lab_of,
    machine,
    outer,
    write_home,
)
from .packet_kinds import Kind, Packet, read_packets
from .stream import Stream

SITES = 4
RATE = 20
"""Packets a second, more than make a Home Agent ask for a route on demand."""
MOVES = ("primary -> proxy", "within a proxy", "proxy -> proxy", "proxy -> primary")
REFRESHES = ("at the primary", "at a proxy")
_REFRESHING = "mr2"
_LIFETIME = 12
"""Of its binding, in seconds: it refreshes it every few."""
_QUIET = 1.5
"""Seconds after which nothing more comes of a move."""
_NOT_DATA = "ip6 and not (ip6 proto 41 and ip6[46] == 17)"
_INGRESS = "ha4"
_PROJECTED = " metric 150 "


class Place(StrEnum):
    """Where a message is counted."""

    ACCESS = "access link"
    BETWEEN = "between sites"
    INSIDE = "inside a site"


@dataclass
class Sums:
    """Messages and octets."""

    messages: int = 0
    octets: int = 0

    def add(self, packet: Packet) -> None:
        self.messages += packet.messages
        self.octets += packet.octets


Count = dict[tuple[Place, Kind], Sums]


def _nothing() -> Count:
    return defaultdict(Sums)


@dataclass
class Counted:
    """Of one way to tell where a mobile router is."""

    moves: dict[str, Count] = field(default_factory=lambda: defaultdict(_nothing))
    """All rounds together."""
    refreshes: dict[str, dict[tuple[Place, Kind], set[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    """The octets of each message."""
    hello: set[int] = field(default_factory=set)
    internet: tuple[int, int] = (0, 0)
    """UPDATEs that the Internet's routers received, and changes of their tables, while it moved."""


@dataclass(frozen=True, slots=True)
class Window:
    """What happened from then to then."""

    name: str
    began: float
    ended: float


class Story:
    """What the mobile routers of one lab do, and when."""

    def __init__(self, lab: Lab, on_demand: bool) -> None:
        self._lab = lab
        self._on_demand = on_demand
        self.windows: list[Window] = []

    def refresh(self) -> None:
        """Another mobile router refreshes its binding at its primary, and at a proxy, and leaves."""
        for name, site in zip(REFRESHES, (1, 2), strict=True):
            bind_at(self._lab, site, _REFRESHING)
            time.sleep(_QUIET)
            with self._window(name):
                time.sleep(_LIFETIME)
        self._lab.stop(_REFRESHING, "mr")
        time.sleep(_QUIET)

    def round(self) -> None:
        """Every kind of move, from site 1 to site 1.

        Traffic begins after the first one: who has heard from the primary that there is no shorter way asks
        again only after half a minute.
        """
        to_proxy, within, to_other_proxy, back = MOVES
        with ExitStack() as traffic:
            with self._window(to_proxy):
                bind_at(self._lab, 2)
                traffic.enter_context(Stream(self._lab, "cn4", f"{MOBILE_ROUTER}-lfn", LFN, RATE))
                self._until_projected(2)
            with self._window(within):
                bind_at(self._lab, 2, access="access2b")
            with self._window(to_other_proxy):
                bind_at(self._lab, 3)
                self._until_projected(3)
        with self._window(back):
            bind_at(self._lab, 1)

    def _until_projected(self, site: int) -> None:
        def projected() -> bool:
            shown = self._lab.exec(_INGRESS, ["ip", "-6", "route", "show", MNP], check=True).stdout
            return any(outer(site) in line and _PROJECTED in line for line in shown.splitlines())

        if self._on_demand:
            eventually(projected, SECONDS, f"a route of {_INGRESS} on demand to site {site}")

    @contextmanager
    def _window(self, name: str) -> Iterator[None]:
        began = time.time()
        yield
        time.sleep(_QUIET)
        self.windows.append(Window(name, began, time.time()))


@contextmanager
def _captures(lab: Lab, directory: Path) -> Iterator[list[Path]]:
    """tcpdump at every Home Agent, of what it sends, and at both mobile routers."""
    agents = {node.name: ("-i", "lan0", "-Q", "out") for node in lab.topology.with_role(Role.HOME_AGENT)}
    points = agents | {router: ("-i", "wan0") for router in (MOBILE_ROUTER, _REFRESHING)}
    files = {node: directory / f"{lab.name}-{node}.pcap" for node in points}
    children = {
        node: lab.spawn(
            node, ["tcpdump", "-n", "-U", "-Z", "root", *options, "-w", str(files[node]), _NOT_DATA]
        )
        for node, options in points.items()
    }
    wait_until_listening(children)
    yield list(files.values())
    for child in children.values():
        child.terminate()
        child.wait()


def _internet(lab: Lab) -> tuple[int, int]:
    updates = versions = 0
    for node in lab.topology.with_role(Role.INTERNET_ROUTER):
        neighbours = lab.vtysh(node.name, "show bgp neighbors json")
        updates += sum(one["messageStats"]["updatesRecv"] for one in neighbours.values())
        table = lab.vtysh(node.name, "show bgp ipv6 unicast json")
        versions += table["tableVersion"]
        longer = [prefix for prefix in table["routes"] if prefix.startswith(HOME[:8]) and prefix != HOME]
        assert not longer, f"{node.name} has {longer}"
    return updates, versions


def measure(directory: Path, rounds: int, *, on_demand: bool) -> Counted:
    """So many rounds."""
    refreshing = {
        "home_address": "2001:db8:1:2::10",
        "prefixes": ["2001:db8:1:200::/64"],
        "key_file": "keys/mr2.key",
        "spi": 4097,
        "lifetime": _LIFETIME,
    }
    path = write_home(
        directory,
        "on-demand" if on_demand else "always",
        SITES,
        leak="never" if on_demand else "always",
        # Such a short binding would be asked for before its refresh is due.
        home={"refresh_requests": False} | ({"on_demand": {}} if on_demand else {}),
        mobile_routers={_REFRESHING: refreshing},
    )
    counted = Counted()
    with lab_of(path, SITES) as lab:
        add_access(lab, "access2b", 2)
        story = Story(lab, on_demand)
        with _captures(lab, directory) as files:
            story.refresh()
            bind_at(lab, 1)
            time.sleep(_QUIET)
            before = _internet(lab)
            for _ in range(rounds):
                story.round()
            after = _internet(lab)
        counted.internet = after[0] - before[0], after[1] - before[1]
        for file in files:
            _count(file, story.windows, counted)
    return counted


def _count(capture: Path, windows: list[Window], counted: Counted) -> None:
    at_access = capture.stem.endswith((MOBILE_ROUTER, _REFRESHING))
    home_agents = {outer(site) for site in range(1, SITES + 1)}
    for packet in read_packets(capture):
        if packet.kind is Kind.HELLO:
            counted.hello.add(packet.octets)
            continue
        window = next((one for one in windows if one.began <= packet.at <= one.ended), None)
        if at_access:
            place = Place.ACCESS
        elif packet.destination in home_agents:
            place = Place.BETWEEN
        elif packet.kind is Kind.BGP_UPDATE:
            place = Place.INSIDE
        else:
            # To the mobile router, and counted there.
            continue
        if window is None:
            continue
        if window.name in REFRESHES:
            counted.refreshes[window.name][place, packet.kind].add(packet.octets)
        else:
            counted.moves[window.name][place, packet.kind].add(packet)


def _table(counted: Counted, rounds: int) -> None:
    print("| messages / octets a move | " + " | ".join(MOVES) + " |")
    print("|---|" + "---|" * len(MOVES))
    for place in Place:
        kinds = [kind for kind in Kind if any((place, kind) in counted.moves[move] for move in MOVES)]
        for kind in kinds:
            cells = [_cell([counted.moves[move].get((place, kind), Sums())], rounds) for move in MOVES]
            print(f"| {place}: {kind} | " + " | ".join(cells) + " |")
        if len(kinds) > 1:
            cells = [
                _cell([s for (p, _), s in counted.moves[m].items() if p is place], rounds) for m in MOVES
            ]
            print(f"| **{place}, all** | " + " | ".join(cells) + " |")


def _cell(sums: list[Sums], rounds: int) -> str:
    messages = sum(one.messages for one in sums) / rounds
    octets = sum(one.octets for one in sums) / rounds
    return f"{messages:.3g} / {octets:.0f}" if messages else "0"


def _refreshes(counted: Counted) -> None:
    for name in REFRESHES:
        for (place, kind), octets in sorted(counted.refreshes[name].items()):
            print(f"refresh {name}, {place}: {kind} {_octets(octets)} octets")
    print(f"HELLO: {_octets(counted.hello)} octets, each second from each Home Agent to each other")


def _octets(octets: set[int]) -> str:
    return " or ".join(map(str, sorted(octets)))


def main(rounds: int) -> None:
    """Measure and print."""
    if shutil.which("tshark") is None:
        raise SystemExit("tshark is not installed: apt-get install tshark")
    print(f"{SITES} sites, {rounds} rounds; {machine()}")
    with tempfile.TemporaryDirectory(prefix="haha-bench-") as directory:
        for on_demand in (False, True):
            counted = measure(Path(directory), rounds, on_demand=on_demand)
            print(f"\n{'leaks never, routes on demand' if on_demand else 'leaks always'}:\n")
            _table(counted, rounds)
            updates, versions = counted.internet
            print(f"\nat the Internet's routers: {updates} BGP UPDATEs, {versions} changes of the tables")
    _refreshes(counted)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
