"""`haha agent` and `haha mr` on a kernel that has ip6tnl and not seg6: bound, killed, flushed. Their guards
are loaded, and judge nothing here (see `inside/sitecustomize.py`)."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from haha_exabgp.agent.control import ControlError, ask
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.wire.address import Address
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    HAHA,
    HOME_ADDRESS,
    LFN,
    OUTER,
    Namespace,
    connect,
    run,
    seen,
    sniffer,
)
from tests.uml.machine import ROOT

pytestmark = pytest.mark.uml

SECONDS = 20.0
ADVERTISEMENT = (
    struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    + struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 1800, 0)
    + Address.parse("3fff:f01::")
)


class Place:
    """A correspondent and the Home Agent ha1 of site1 around one router, and a mobile router with its network
    elsewhere, each with its daemon when started."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack

        def namespace(name: str, forwards: bool = False) -> Namespace:
            made = Namespace(f"tDw-{name}", forwards)
            stack.callback(made.delete)
            return made

        self.core, self.mr = namespace("core", True), namespace("mr", True)
        self.cn, self.lfn, self.ha1 = namespace("cn"), namespace("lfn"), namespace("ha1", True)
        connect((self.core, "c-ha1", "3fff:101::1/64"), (self.ha1, "eth0", f"{OUTER[1]}/64"))
        connect((self.core, "c-cn", "3fff:c::1/64"), (self.cn, "eth0", f"{CN}/64"))
        connect((self.core, "c-mr", "3fff:f01::1/64"), (self.mr, "wan0", f"{CARE_OF}/64"))
        connect((self.mr, "lan0", "2001:db8:1:100::1/64"), (self.lfn, "eth0", f"{LFN}/64"))
        self.cn.ip("-6 route add default via 3fff:c::1")
        self.lfn.ip("-6 route add default via 2001:db8:1:100::1")
        self.core.ip(f"-6 route add 2001:db8::/32 via {OUTER[1]}")
        self.ha1.ip("-6 route add default via 3fff:101::1")
        self._config = directory / "home.yaml"
        shutil.copyfile(ROOT / "configs" / "two-sites.yaml", self._config)
        home = load(self._config, no_key)
        assert list(make_missing(home.key_path(file) for _, file in key_files(home.config)))

    def start_agent(self) -> subprocess.Popen[bytes]:
        group = grp.getgrgid(os.getgid()).gr_name
        return self._start(self.ha1, "agent", "--home-agent", "ha1", "--hook-group", group)

    def start_mobile_router(self) -> subprocess.Popen[bytes]:
        return self._start(self.mr, "mr", "--mobile-router", "mr1", "--interface", "wan0", "--lan", "lan0")

    def flush(self, namespace: Namespace) -> None:
        namespace.run(*_haha("flush"))

    def ask(self, verb: str, view: str) -> list[dict[str, object]]:
        return ask(self.directory / verb, view)

    def said(self, verb: str) -> str:
        return (self.directory / f"{verb}.log").read_text()

    def _start(self, namespace: Namespace, verb: str, *arguments: str) -> subprocess.Popen[bytes]:
        run_dir = self.directory / verb
        files = ("--config", str(self._config), "--run-dir", str(run_dir))
        with (self.directory / f"{verb}.log").open("ab") as log:
            process = subprocess.Popen(
                namespace.command(*_haha(verb, *files, *arguments)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)

        def up() -> bool:
            assert process.poll() is None, self.said(verb)
            try:
                ask(run_dir, "counters")
            except ControlError:
                return False
            return True

        eventually(up, SECONDS, f"haha {verb} is up")
        return process


def _haha(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "haha_exabgp", *arguments)


@contextmanager
def advertising(namespace: Namespace, device: str) -> Iterator[None]:
    """A router that advertises itself on a device, five times a second."""
    with namespace.entered():
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        index = socket.if_nametoindex(device)
    stop = threading.Event()

    def advertise() -> None:
        while not stop.wait(0.2):
            raw.sendto(ADVERTISEMENT, ("ff02::1", 0, 0, index))

    thread = threading.Thread(target=advertise, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        raw.close()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    # On a tmpfs: the store waits for its disk.
    directory = Path("/run/tDw")
    directory.mkdir()
    with ExitStack() as stack:
        made = Place(directory, stack)
        stack.enter_context(advertising(made.core, "c-mr"))
        yield made


def test_mobile_router_binds_and_its_network_is_reached_through_ip6tnl(place: Place) -> None:
    place.start_agent()
    place.start_mobile_router()
    (row,) = eventually(lambda: place.ask("agent", "bindings"), SECONDS, "a binding")
    assert row["home_address"] == str(HOME_ADDRESS)
    eventually(lambda: place.cn.pings(LFN), SECONDS, "the network is reached")
    with sniffer(place.core, "c-mr") as packets:
        assert place.lfn.pings(CN)
        assert place.cn.pings(HOME_ADDRESS)
        through = [one for one in seen(packets) if LFN in one or HOME_ADDRESS in one]
    assert {one[6] for one in through} == {41}
    for host in (place.ha1, place.mr):
        assert "ip6tnl external" in host.ip("-d link show haha0")


def test_killed_agent_goes_on_where_it_was(place: Place) -> None:
    before = place.ha1.ip("-6 route show proto 104")
    (process,) = _pids(place.ha1)
    os.kill(process, 9)
    assert place.cn.pings(LFN)
    place.start_agent()
    (row,) = place.ask("agent", "bindings")
    assert row["home_address"] == str(HOME_ADDRESS)
    assert place.ha1.ip("-6 route show proto 104") == before
    assert place.cn.pings(LFN)


def test_flush_after_the_daemons_leaves_nothing(place: Place) -> None:
    for host in (place.ha1, place.mr):
        for pid in _pids(host):
            os.kill(pid, 9)
        eventually(lambda host=host: not _pids(host), SECONDS, "the daemon is gone")
        place.flush(host)
        assert "haha0" not in host.ip("link show")
        assert not host.ip("-6 route show table all proto 104")
        assert str(HAHA[1]) not in host.ip("-6 addr")
        assert "haha" not in host.run("nft", "list", "tables")


def _pids(namespace: Namespace) -> list[int]:
    return list(map(int, run("ip", "netns", "pids", namespace.name).split()))
