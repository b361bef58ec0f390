"""Real ExaBGPs with the real hook, for tests: they peer with each other and with FRR over TCP MD5.

namespace a: ExaBGP ha1 ── iBGP ── namespace b: ExaBGP ha2      ha2's own router does not exist
  └── iBGP ── namespace r: FRR, the router of ha1's site
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from haha_exabgp.bgp.lines import LineSplitter
from haha_exabgp.bgp.message_lines import LINE_LIMIT, decode_hook_message, encode_change, encode_wanted
from haha_exabgp.bgp.messages import Acknowledged, Learned, Session
from haha_exabgp.config.schema import HomeConfig
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.routes import Announcement, Audience, LearnedRoute, RouteKind
from haha_exabgp.rollout.exabgp import exabgp_environment, render_exabgp
from haha_exabgp.wire.address import Address, Prefix

ASN = 64500
KEY = "0123456789abcdef0123456789abcdef"
HA1, HA2 = Address.parse("2001:db8:ffff::1"), Address.parse("2001:db8:ffff::2")
OUTER1 = Address.parse("3fff:101::a")
ROUTER1, ROUTER2 = Address.parse("3fff:101::1"), Address.parse("3fff:102::1")
NOBODY = 65534
NAMESPACES = A, B, R = tuple(f"bgp{os.getpid()}-{name}" for name in "abr")
PACKAGE = Path(__file__).parents[2]

CONFIG = HomeConfig.model_validate(
    {
        "home": {
            "prefix": "2001:db8::/32",
            "asn": ASN,
            "mesh_prefix": "2001:db8:ffff::/48",
            "mesh_key_file": "mesh.key",
            "bgp_key_file": "bgp.key",
        },
        "sites": {
            f"site{n}": {
                "partition": f"2001:db8:{n}::/48",
                "provider_prefix": f"3fff:10{n}::/48",
                "router": {"address": f"3fff:10{n}::1"},
                "home_agents": {f"ha{n}": {"outer": f"3fff:10{n}::a", "haha": f"2001:db8:ffff::{n}"}},
            }
            for n in (1, 2)
        },
    }
)

BGPD = f"""
router bgp {ASN}
 bgp router-id 192.0.2.1
 no bgp default ipv4-unicast
 neighbor {OUTER1} remote-as {ASN}
 neighbor {OUTER1} password {KEY}
 neighbor {OUTER1} timers 3 9
 neighbor {OUTER1} passive
 address-family ipv6 unicast
  neighbor {OUTER1} activate
 exit-address-family
"""


def hook_python() -> str:
    """The interpreter that runs the hook: ours, or the system's of the same version if ours lies where only
    root may go, for ExaBGP runs the hook as nobody. `haha_exabgp` must be importable for it.

    Raises FileNotFoundError when there is none: ExaBGP would start and stop again at once.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = (Path(sys.executable), Path("/usr/bin") / version, Path("/usr/local/bin") / version)
    for candidate in candidates:
        if _open_to_others(candidate):
            return str(candidate)
    raise FileNotFoundError(f"nobody cannot run any of {', '.join(map(str, candidates))}")


def _open_to_others(program: Path) -> bool:
    try:
        real = program.resolve(strict=True)
        return all(one.stat().st_mode & stat.S_IXOTH for one in (real, *real.parents, *program.parents))
    except OSError:
        return False


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def leak(text: str, sequence: int, next_hop: Address = HA1) -> Announcement:
    return Announcement(Audience.MESH, RouteKind.LEAK, Prefix.parse(text), next_hop, sequence)


def bound(text: str) -> Announcement:
    return Announcement(Audience.SITE, RouteKind.MNP, Prefix.parse(text), OUTER1)


class Agent:
    """What the agent does on its side of `hook.sock`, and nothing more."""

    def __init__(self, path: Path, groups: dict[Audience, list[Address]]) -> None:
        self.path = path
        self.groups = groups
        self.wanted: dict[tuple[Audience, Prefix], Announcement] = {}
        self.lease = 600.0
        self.limit: int | None = None
        """Prefixes that one of its peers may announce."""
        self.heard: list[Any] = []
        self._listener: socket.socket | None = None
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        os.chown(self.path, 0, NOBODY)
        os.chmod(self.path, 0o660)
        self._listener.listen()
        self.heard = []
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        with self._lock:
            for one in (self._listener, self._connection):
                if one is not None:
                    one.shutdown(socket.SHUT_RDWR)
                    one.close()
            self._listener = self._connection = None

    def want(self, *announcements: Announcement) -> None:
        """State the whole set, on the next connection if there is none now."""
        self.wanted = {(one.audience, one.prefix): one for one in announcements}
        self._send(self._statement())

    def change(
        self, announce: tuple[Announcement, ...] = (), withdraw: tuple[Announcement, ...] = ()
    ) -> None:
        self.wanted.update({(one.audience, one.prefix): one for one in announce})
        for one in withdraw:
            del self.wanted[one.audience, one.prefix]
        self._send(encode_change(announce, [(one.audience, one.prefix) for one in withdraw]))

    def of_type(self, kind: type) -> list[Any]:
        return [one for one in list(self.heard) if isinstance(one, kind)]

    def session(self, peer: Address) -> bool | None:
        """The state last told."""
        return next((one.up for one in reversed(self.of_type(Session)) if one.peer == peer), None)

    def learned(self, peer: Address) -> dict[Prefix, LearnedRoute]:
        routes: dict[Prefix, LearnedRoute] = {}
        for one in self.of_type(Learned):
            if one.peer == peer:
                for prefix in one.withdrawn:
                    routes.pop(prefix, None)
                routes.update((route.prefix, route) for route in one.announced)
        return routes

    def acknowledged(self) -> Acknowledged | None:
        return next(iter(reversed(self.of_type(Acknowledged))), None)

    def _statement(self) -> list[bytes]:
        return encode_wanted(ASN, self.lease, self.groups, self.wanted.values(), self.limit)

    def _send(self, lines: list[bytes]) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.sendall(b"".join(lines))

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connection = connection
            self._send(self._statement())
            lines = LineSplitter(LINE_LIMIT)
            try:
                while data := connection.recv(65536):
                    self.heard += [decode_hook_message(line, ASN) for line in lines.feed(data)]
            except OSError:
                pass


class Speaker:
    """An ExaBGP in its namespace, configured and started as in production, and its agent."""

    def __init__(self, namespace: str, name: str, directory: Path, agent: Agent) -> None:
        self.namespace = namespace
        self.agent = agent
        self.directory = directory
        self.configuration = directory / "exabgp.conf"
        self.configuration.write_text(render_exabgp(CONFIG, name, directory, KEY, hook_python()))
        self.configuration.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        exabgp = str(Path(sys.executable).with_name("exabgp"))
        with (self.directory / "exabgp.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, exabgp, "server", str(self.configuration)],
                env={**os.environ, **exabgp_environment(), "PYTHONPATH": str(PACKAGE)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(10)

    def hook(self) -> int | None:
        """The process id of the hook."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def log(self) -> str:
        return (self.directory / "exabgp.log").read_text()


class World:
    def __init__(self, directory: Path) -> None:
        self.frr = directory / "frr"
        both = {Audience.MESH: [HA2], Audience.SITE: [ROUTER1]}
        self.agent1 = Agent(directory / "a" / "hook.sock", both)
        self.agent2 = Agent(directory / "b" / "hook.sock", {Audience.MESH: [HA1], Audience.SITE: [ROUTER2]})
        for one in ("a", "b"):
            (directory / one).mkdir()
        self.one = Speaker(A, "ha1", directory / "a", self.agent1)
        self.two = Speaker(B, "ha2", directory / "b", self.agent2)

    def vtysh(self, command: str) -> Any:
        return json.loads(run("vtysh", "--vty_socket", str(self.frr), "-c", command))

    def path(self, prefix: str) -> dict[str, Any] | None:
        """The one path FRR has for a prefix."""
        paths = self.vtysh(f"show bgp ipv6 unicast {prefix} json").get("paths", [])
        assert len(paths) <= 1
        return paths[0] if paths else None

    def received(self, kind: str) -> int:
        """How many messages of a kind FRR has received; End-of-RIB counts as an UPDATE."""
        command = f"show bgp ipv6 neighbors {OUTER1} json"
        return self.vtysh(command)[str(OUTER1)]["messageStats"][f"{kind}Recv"]

    def table(self) -> set[str]:
        return set(self.vtysh("show bgp ipv6 unicast json")["routes"])

    def tables_until(self, last: set[str]) -> list[set[str]]:
        """What FRR's table was, again and again, until it was `last`."""
        seen: list[set[str]] = []

        def reached() -> bool:
            seen.append(self.table())
            return seen[-1] == last

        eventually(reached, 10, f"FRR's table is {last}")
        return seen

    def settle(self) -> None:
        """Agents there, sessions up, nothing announced."""
        self.agent1.want()
        self.agent2.want()
        eventually(lambda: self.agent1.session(HA2) and self.agent1.session(ROUTER1), 20, "sessions of ha1")
        eventually(lambda: self.agent2.session(HA1), 20, "session of ha2")
        eventually(lambda: not self.table(), 5, "FRR's table empty")
        eventually(lambda: not self.agent2.learned(HA1), 5, "nothing learned by ha2")

    def set_up(self) -> None:
        for name in NAMESPACES:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self._link(A, f"{HA1}/64", B, f"{HA2}/64")
        self._link(A, f"{OUTER1}/64", R, f"{ROUTER1}/64")
        self.frr.mkdir()
        (self.frr / "zebra.conf").touch()
        (self.frr / "bgpd.conf").write_text(BGPD)
        shutil.chown(self.frr, "frr", "frr")
        self.start("zebra")
        self.start("bgpd")
        for speaker in (self.one, self.two):
            speaker.agent.start()
            speaker.start()

    def start(self, daemon: str) -> None:
        """Start a daemon of FRR; it goes to the background when it is ready."""
        files = ["-f", f"{self.frr}/{daemon}.conf", "-i", f"{self.frr}/{daemon}.pid"]
        sockets = ["-z", f"{self.frr}/zserv", "--vty_socket", str(self.frr)]
        run("ip", "netns", "exec", R, f"/usr/lib/frr/{daemon}", "-d", *files, *sockets)

    def kill(self, daemon: str) -> None:
        os.kill(int((self.frr / f"{daemon}.pid").read_text()), signal.SIGKILL)

    def tear_down(self) -> None:
        for speaker in (self.one, self.two):
            speaker.agent.stop()
            if speaker.process is not None and speaker.process.poll() is None:
                speaker.kill()
        for daemon in ("bgpd", "zebra"):
            with suppress(FileNotFoundError, ProcessLookupError):
                self.kill(daemon)
        for name in NAMESPACES:
            subprocess.run(("ip", "netns", "delete", name), check=False, capture_output=True)

    @staticmethod
    def _link(one: str, address_one: str, two: str, address_two: str) -> None:
        device_one, device_two = f"to-{two[-1]}", f"to-{one[-1]}"
        run("ip", "link", "add", device_one, "netns", one, "type", "veth", "peer", device_two, "netns", two)
        for name, device, address in ((one, device_one, address_one), (two, device_two, address_two)):
            run("ip", "-n", name, "address", "add", address, "dev", device, "nodad")
            run("ip", "-n", name, "link", "set", device, "up")
