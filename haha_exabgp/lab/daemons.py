"""Which daemons run in a lab, with which files. Pure but for the paths of programs on this machine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..config.loader import LoadedHome
from ..rollout.exabgp import exabgp_environment, render_exabgp
from ..rollout.frr import (
    render_internet_bgpd,
    render_ospf6d,
    render_reflector_bgpd,
    render_site_bgpd,
    render_zebra,
)
from .prerequisites import find_program, group_of
from .state import State
from .topology import UPLINKS, LabError, Role, Topology

FRR_USER = "frr"
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])

PYTHON_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(filter(None, (_PACKAGE_PARENT, os.environ.get("PYTHONPATH")))),
    "PYTHONUNBUFFERED": "1",
}
"""Makes `python -m haha_exabgp` work from any directory."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file in a node's directory, mode 0640: it may hold a key. `group` must be able to read it."""

    node: str
    name: str
    text: str
    group: str


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program to start in a node. It is up once the socket file `ready` of its node directory is there."""

    node: str
    name: str
    argv: tuple[str, ...]
    ready: str | None = None
    environment: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """Files to write first, then daemons in stages: those of one stage start side by side, the next stage
    once they are ready. Directories of `frr_nodes` belong to FRR's user, which makes its sockets there."""

    files: tuple[ConfigFile, ...]
    stages: tuple[tuple[Daemon, ...], ...]
    frr_nodes: frozenset[str] = frozenset()

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that need a directory."""
        return frozenset(daemon.node for stage in self.stages for daemon in stage)


def plan_routers(home: LoadedHome, topology: Topology, state: State) -> Plan:
    """FRR on the Internet routers, the routers of the sites, and mobile routers that others can be behind.
    bgpd and ospf6d need zebra to be there: they would try again only after ten seconds. Raises ConfigError
    when the BGP key cannot be read."""
    password = home.bgp_key().hex()
    files: list[ConfigFile] = []
    for internet_router in topology.internet_routers:
        zebra = render_zebra(internet_router.hostname, internet_router.access_networks)
        files.append(ConfigFile(internet_router.hostname, "zebra.conf", zebra, FRR_USER))
        bgpd = render_internet_bgpd(internet_router)
        files.append(ConfigFile(internet_router.hostname, "bgpd.conf", bgpd, FRR_USER))
    for site_router in topology.site_routers:
        zebra = render_zebra(site_router.hostname)
        files.append(ConfigFile(site_router.hostname, "zebra.conf", zebra, FRR_USER))
        bgpd = render_site_bgpd(site_router, password)
        files.append(ConfigFile(site_router.hostname, "bgpd.conf", bgpd, FRR_USER))
    for reflector in topology.reflectors:
        files.append(ConfigFile(reflector.hostname, "zebra.conf", render_zebra(reflector.hostname), FRR_USER))
        bgpd = render_reflector_bgpd(reflector, password)
        files.append(ConfigFile(reflector.hostname, "bgpd.conf", bgpd, FRR_USER))
    for area_router in topology.area_routers:
        name = area_router.hostname
        files.append(ConfigFile(name, "ospf6d.conf", render_ospf6d(area_router), FRR_USER))
        if name not in topology.bgp_routers:
            files.append(ConfigFile(name, "zebra.conf", render_zebra(name), FRR_USER))
    for name, network in topology.mobile_access.items():
        files.append(ConfigFile(name, "zebra.conf", render_zebra(name, (network,)), FRR_USER))
    zebras = tuple(_frr("zebra", node, state) for node in topology.frr_nodes)
    bgpds = tuple(_frr("bgpd", node, state) for node in topology.bgp_routers)
    ospf6ds = tuple(_frr("ospf6d", one.hostname, state) for one in topology.area_routers)
    return Plan(tuple(files), (zebras, bgpds + ospf6ds), frozenset(topology.frr_nodes))


def _frr(name: str, node: str, state: State) -> Daemon:
    """In the foreground, with every path given: a FRR of the machine's own is not touched."""
    directory = state.node_directory(node)
    paths = {"-f": f"{name}.conf", "-i": f"{name}.pid", "-z": "zserv.api", "--vty_socket": ""}
    options = (part for option, file in paths.items() for part in (option, str(directory / file)))
    return Daemon(node, name, (find_program(name), *options, "-P", "0"), ready=f"{name}.vty")


def plan_home(home: LoadedHome, topology: Topology, state: State, exabgp_user: str) -> Plan:
    """The Home's own daemons: agents first, because ExaBGP's hook talks to their sockets.

    ExaBGP drops to `exabgp_user`. Raises ConfigError when the BGP key cannot be read, LabError for what
    cannot be written in ExaBGP's configuration.
    """
    group = group_of(exabgp_user)
    password = home.bgp_key().hex()
    files, agents, exabgps = [], [], []
    for node in topology.with_role(Role.HOME_AGENT):
        directory = state.node_directory(node.name)
        try:
            text = render_exabgp(home.config, node.name, directory, password, sys.executable)
        except ValueError as error:
            raise LabError(f"ExaBGP's configuration cannot be written: {error}") from error
        files.append(ConfigFile(node.name, "exabgp.conf", text, group))
        agents.append(
            _haha(home, node.name, state, "agent", "--home-agent", node.name, "--hook-group", group)
        )
        argv = (sys.executable, "-m", "exabgp", "server", str(directory / "exabgp.conf"))
        environment = PYTHON_ENVIRONMENT | exabgp_environment(exabgp_user)
        exabgps.append(Daemon(node.name, "exabgp", argv, environment=environment))
    devices = (*(part for uplink in UPLINKS for part in ("--interface", uplink)), "--lan", "lan0")
    mobile_routers = [
        _haha(home, node.name, state, "mr", "--mobile-router", node.name, *devices)
        for node in topology.with_role(Role.MOBILE_ROUTER)
    ]
    return Plan(tuple(files), (tuple(agents), (*exabgps, *mobile_routers)))


_READY = {"agent": "hook.sock", "mr": "control.sock"}


def _haha(home: LoadedHome, node: str, state: State, verb: str, *options: str) -> Daemon:
    files = ("--config", str(home.path), "--run-dir", str(state.node_directory(node)))
    argv = (sys.executable, "-m", "haha_exabgp", verb, *files, *options)
    return Daemon(node, verb, argv, _READY[verb], PYTHON_ENVIRONMENT)
