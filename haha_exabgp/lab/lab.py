"""A Home in network namespaces: bring it up, act in it, take it down.

with Lab.up(Path("configs/two-sites.yaml")) as lab:
    lab.exec("cn1", ["ping", "-c1", str(lab.topology.address("cn2"))], check=True)
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from ..config.keys import every_key, no_key
from ..config.loader import load
from .allocation import allocate
from .batches import namespace, uplink_settings
from .build import Checkpoint, build, inside, remove, run
from .daemons import PYTHON_ENVIRONMENT, plan_home, plan_routers
from .eventually import eventually
from .prerequisites import check_prerequisites, user_for_exabgp
from .processes import Process, end
from .start import Starter
from .state import State, check_name, load_state
from .topology import UPLINKS, LabError, Role, Topology

EXEC_SECONDS = 30.0
CARRIER_SECONDS = 5.0
DETACHED = "none"
"""The name of no access network."""


def _go_on() -> None:
    """The checkpoint of callers that cannot be interrupted."""


class _Plug(NamedTuple):
    """The far end of an uplink: the router that has it, its name there, and what `ip` says of it."""

    router: str
    name: str
    link: dict[str, Any]


class Lab:
    """A lab that is up. Make one with `Lab.up`, or `Lab.attach` to one that another process made."""

    def __init__(self, topology: Topology, state: State) -> None:
        self.topology = topology
        self._starter = Starter(state)
        self._children: list[subprocess.Popen[str]] = []

    @classmethod
    def up(
        cls,
        config_path: Path,
        *,
        name: str | None = None,
        start_daemons: bool = True,
        plugged: bool = True,
        checkpoint: Checkpoint = _go_on,
        warn: Callable[[str], None] = print,
    ) -> Self:
        """Bring a lab up; BGP sessions and bindings come up after this returned (`wait_until_ready`).

        `name` is the configuration file's stem unless given. Without `start_daemons` only FRR runs, none
        of the Home's own daemons; unless `plugged`, mobile routers start without an uplink. `warn` gets
        lines for a person. Whatever is raised, LabError or ConfigError or anything that `checkpoint` raises
        between two steps, nothing of the lab is left.
        """
        check_prerequisites()
        home = load(config_path.resolve(), every_key)
        topology = allocate(home.config)
        lab_name = check_name(name if name is not None else config_path.stem)
        namespaces = tuple(namespace(lab_name, node.name) for node in topology.nodes)
        lab = cls(topology, State(lab_name, str(home.path), start_daemons, namespaces))
        lab.state.claim()
        try:
            shutil.copyfile(home.path, lab.state.config_copy)
            build(lab_name, topology, checkpoint)
            if not plugged:
                for node in topology.with_role(Role.MOBILE_ROUTER):
                    lab.move(node.name, DETACHED)
            lab._starter.carry_out(plan_routers(home, topology, lab.state), checkpoint)
            if start_daemons:
                user = user_for_exabgp(PYTHON_ENVIRONMENT, warn)
                lab._starter.carry_out(plan_home(home, topology, lab.state, user), checkpoint)
            lab._starter.watch(checkpoint)
            checkpoint()
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def attach(cls, name: str) -> Self:
        """The lab of this name, made by another process. Raises LabError if it is not up."""
        state = load_state(name)
        return cls(allocate(load(state.config_copy, no_key).config), state)

    @property
    def state(self) -> State:
        """What was started, and where its files are."""
        return self._starter.state

    @property
    def name(self) -> str:
        """The name that its namespaces begin with."""
        return self.state.name

    def run_dir(self, node: str) -> Path:
        """The directory with sockets, configurations and logs of a node's daemons."""
        return self.state.node_directory(self.topology.node(node).name)

    def log(self, node: str, daemon: str) -> str:
        """What a daemon has written to its log so far."""
        return Path(self.process(node, daemon).log).read_text()

    def process(self, node: str, daemon: str) -> Process:
        """The daemon `zebra`, `bgpd`, `agent`, `exabgp` or `mr` of a node. Raises LabError if it has none."""
        here = {one.name: one for one in self.state.processes if one.node == self.topology.node(node).name}
        if daemon not in here:
            raise LabError(f"no daemon {daemon!r} in {node}; started there: {', '.join(here) or 'none'}")
        return here[daemon]

    def argv(self, node: str, argv: Sequence[str]) -> tuple[str, ...]:
        """The command line that runs `argv` in a node. Raises LabError for an unknown node."""
        return inside(self.name, self.topology.node(node).name, *argv)

    def exec(
        self, node: str, argv: Sequence[str], *, timeout: float = EXEC_SECONDS, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a node to its end. With `check`, LabError shows what it wrote if it fails."""
        done = subprocess.run(
            self.argv(node, argv),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode:
            raise LabError(f"{node}: {' '.join(argv)} failed ({done.returncode}): {done.stdout}{done.stderr}")
        return done

    def spawn(self, node: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a program in a node; standard output and error come together in `stdout`. It ends with
        the lab at the latest."""
        child = subprocess.Popen(
            self.argv(node, argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._children.append(child)
        return child

    def vtysh(self, node: str, command: str) -> Any:
        """The parsed answer of a router's FRR to a `show … json` command. Raises LabError."""
        text = run(("vtysh", "--vty_socket", str(self.run_dir(node)), "-H", os.devnull, "-c", command))
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            raise LabError(f"{node}: {command}: the answer is no JSON: {text.strip()}") from None

    def bgp_sessions(self, node: str) -> dict[str, str]:
        """State ("Established", "Active" …) of each BGP session of a FRR node, by the neighbour's name."""
        peers = self.vtysh(node, "show bgp ipv6 unicast summary json")["peers"]
        return {peer["desc"]: peer["state"] for peer in peers.values()}

    def missing(self) -> list[str]:
        """What is not as it should be: a daemon that ended, a BGP session that is not established."""
        dead = [f"{one.name} in {one.node} ended" for one in self.state.processes if not one.alive]
        home_agents = {node.name for node in self.topology.with_role(Role.HOME_AGENT)}
        sessions = [
            f"BGP between {router} and {neighbour} is {state}"
            for router in self.topology.bgp_routers
            if self.process(router, "bgpd").alive
            for neighbour, state in self.bgp_sessions(router).items()
            if state != "Established" and (self.state.daemons or neighbour not in home_agents)
        ]
        alone = [
            f"{one.hostname} has no neighbour in its area"
            for one in self.topology.area_routers
            if self.process(one.hostname, "ospf6d").alive and not self._has_neighbour(one.hostname)
        ]
        return dead + sessions + alone

    def _has_neighbour(self, node: str) -> bool:
        neighbours = self.vtysh(node, "show ipv6 ospf6 neighbor json").get("neighbors", ())
        return any(one["state"] == "Full" for one in neighbours)

    def wait_until_ready(self, timeout: float = 30.0) -> None:
        """Wait until every daemon runs and every BGP session of FRR is up. Raises NotInTime."""

        def nothing_missing() -> bool:
            if missing := self.missing():
                raise LabError("; ".join(missing))
            return True

        eventually(nothing_missing, timeout, f"the lab {self.name} is ready", interval=0.2)

    def stop(self, node: str, daemon: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End one daemon by a signal and wait until it is gone."""
        end(self.process(node, daemon), number)
        self._starter.reap()

    def start(self, node: str, daemon: str) -> None:
        """Start a stopped daemon again, as it was started before."""
        self._starter.start_again(self.process(node, daemon))

    def attachment(self, mobile_router: str, uplink: str = UPLINKS[0]) -> str:
        """The access network that an uplink of a mobile router is plugged into, or "none"."""
        plug = self._plug(mobile_router, uplink)
        place = None if plug is None else (plug.router, plug.link.get("master"))
        return next(
            (one.name for one in self.topology.accesses if (one.router, one.bridge) == place), DETACHED
        )

    def move(self, mobile_router: str, access: str, uplink: str = UPLINKS[0]) -> None:
        """Unplug an uplink of a mobile router and plug it into an access network, or into "none".

        It stays the same interface: it loses the carrier, and gets it back at the new place. Returns once the
        mobile router's kernel has seen both.
        """
        to = None if access == DETACHED else self.topology.access(access)
        if to is not None and to.router == mobile_router:
            raise LabError(f"{mobile_router} cannot be plugged into its own network")
        plug = self._plug(mobile_router, uplink)
        if plug is None:
            if to is None:
                return
            plug = self._make_uplink(mobile_router, uplink, to.router)
        here = ("ip", "-netns", namespace(self.name, plug.router))
        run((*here, "link", "set", plug.name, "nomaster", "down"))
        self._wait_for_carrier(mobile_router, uplink, False)
        if to is None:
            return
        if to.router != plug.router:
            run((*here, "link", "set", plug.name, "netns", namespace(self.name, to.router)))
        there = ("ip", "-netns", namespace(self.name, to.router))
        run((*there, "link", "set", plug.name, "master", to.bridge, "up"))
        self._wait_for_carrier(mobile_router, uplink, True)

    def down(self) -> None:
        """Take the lab down. A second call does nothing."""
        remove(self.name)
        self._starter.reap()
        for child in self._children:
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        self._children.clear()

    def _plug(self, mobile_router: str, uplink: str) -> _Plug | None:
        """The far end of an uplink; None of the second one before it has been made."""
        name = self._plug_name(mobile_router, uplink)
        for router in dict.fromkeys(access.router for access in self.topology.accesses):
            links = self._links(router)
            if name in links:
                return _Plug(router, name, links[name])
        if uplink == UPLINKS[0]:
            raise LabError(
                f"the uplink of {mobile_router} is nowhere: somebody deleted it; take the lab down"
            )
        return None

    def _plug_name(self, mobile_router: str, uplink: str) -> str:
        names = [node.name for node in self.topology.with_role(Role.MOBILE_ROUTER)]
        if mobile_router not in names:
            raise LabError(f"no mobile router {mobile_router!r} in this lab; there are: {', '.join(names)}")
        if uplink not in UPLINKS:
            raise LabError(f"no uplink {uplink!r} of a mobile router; there are: {', '.join(UPLINKS)}")
        return mobile_router if uplink == UPLINKS[0] else f"{uplink}.{names.index(mobile_router)}"

    def _make_uplink(self, mobile_router: str, uplink: str, router: str) -> _Plug:
        name, mobile = self._plug_name(mobile_router, uplink), namespace(self.name, mobile_router)
        pair = ("type", "veth", "peer", "name", uplink, "netns", mobile)
        run(("ip", "-netns", namespace(self.name, router), "link", "add", name, *pair))
        settings = uplink_settings(uplink)
        run(inside(self.name, mobile_router, "sysctl", "-qw", *settings))
        run(("ip", "-netns", mobile, "link", "set", uplink, "up"))
        return _Plug(router, name, {})

    def _links(self, node: str) -> dict[str, dict[str, Any]]:
        text = run(("ip", "-netns", namespace(self.name, node), "-json", "link", "show"))
        return {link["ifname"]: link for link in json.loads(text)}

    def _wait_for_carrier(self, mobile_router: str, uplink: str, there: bool) -> None:
        """The operational state, not the carrier bit: it changes when listeners were told."""

        def seen() -> bool:
            return (self._links(mobile_router)[uplink]["operstate"] == "UP") is there

        what = f"{uplink} of {mobile_router} {'has' if there else 'lost'} the carrier"
        eventually(seen, CARRIER_SECONDS, what, interval=0.005)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()
