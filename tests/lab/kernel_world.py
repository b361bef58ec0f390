"""Namespaces for the tests of the kernel plane: two Home Agents, a mobile router and strangers around one
router, everything with an MTU of 1500.

    cn ──┐      ┌── ha1   3fff:101::a, HAHA 2001:db8:ffff::1, partition 2001:db8:1::/48
    evil ─ core ─── ha2   3fff:102::a, HAHA 2001:db8:ffff::2, partition 2001:db8:2::/48
                └── mr ── lfn
                    wan0 3fff:f01::10, lan0 2001:db8:1:100::1

The router sends all of Home to ha1. The test process enters namespaces itself: sockets stay where they were
made.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from haha_exabgp.kernel.choose_datapath import SEG6, choose_datapath
from haha_exabgp.kernel.guard import HomeAgentGuard
from haha_exabgp.kernel.guard_config import HomeAgentGuardConfig
from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.routes import RouteTable
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import build_ipv6

HOME = Prefix.parse("2001:db8::/32")
HOME_ADDRESS = Address.parse("2001:db8:1:1::10")
MNP = Prefix.parse("2001:db8:1:100::/64")
CARE_OF = Address.parse("3fff:f01::10")
LFN = Address.parse("2001:db8:1:100::10")
CN = Address.parse("3fff:c::10")
EVIL = Address.parse("3fff:e::10")
OUTER = {1: Address.parse("3fff:101::a"), 2: Address.parse("3fff:102::a")}
HAHA = {1: Address.parse("2001:db8:ffff::1"), 2: Address.parse("2001:db8:ffff::2")}
PARTITION = {1: Prefix.parse("2001:db8:1::/48"), 2: Prefix.parse("2001:db8:2::/48")}

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Run the block with this thread in the namespace of this name."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    inside = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
    try:
        _setns(inside)
        yield
    finally:
        _setns(before)
        os.close(inside)
        os.close(before)


class Namespace:
    """One network namespace; lo is up, duplicate address detection off."""

    def __init__(self, name: str, forwards: bool = False) -> None:
        self.name = name
        run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")
        settings = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"]
        if forwards:
            settings.append("net.ipv6.conf.all.forwarding=1")
        self.run("sysctl", "-qw", *settings)

    def delete(self) -> None:
        run("ip", "netns", "delete", self.name)

    def command(self, *argv: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name, *argv)

    def run(self, *argv: str) -> str:
        """The command's output; raises AssertionError with its complaint."""
        return run(*self.command(*argv))

    def ip(self, text: str) -> str:
        """`ip TEXT` inside."""
        return run("ip", "-n", self.name, *text.split())

    def nft(self, text: str) -> None:
        """`nft -f -` inside."""
        subprocess.run(self.command("nft", "-f", "-"), input=text, text=True, check=True)

    def pings(self, destination: Address, source: Address | None = None, octets: int = 104) -> bool:
        """True when one echo, an IPv6 packet of so many octets, comes back within a second."""
        return "1 received" in self.ping(destination, source, octets)

    def ping(self, destination: Address, source: Address | None = None, octets: int = 104) -> str:
        """What `ping` says of one echo."""
        extra = ("-I", str(source)) if source else ()
        size = ("-M", "do", "-s", str(octets - 48))
        command = self.command("ping", "-n", "-c", "1", "-W", "1", *size, *extra, str(destination))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def entered(self) -> AbstractContextManager[None]:
        """Run the block with this thread inside."""
        return entered(self.name)

    def sends(self, *packets: bytes) -> None:
        """Whole IPv6 packets, as they are."""
        with self.entered(), socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for packet in packets:
                raw.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))


class HomeAgentKernel:
    """The kernel plane of one Home Agent, put together as its agent does."""

    def __init__(self, namespace: Namespace, index: int, datapath: str) -> None:
        self.namespace = namespace
        self.outer, self.haha = OUTER[index], HAHA[index]
        other = 3 - index
        with namespace.entered():
            self.netlink = NetlinkSocket()
            self.datapath = choose_datapath(datapath, self.netlink)
            self.guard_config = HomeAgentGuardConfig(
                home=HOME,
                partition=PARTITION[index],
                haha=self.haha,
                tunnel_ends=frozenset({self.outer, self.haha}),
                peers=frozenset({OUTER[other]}),
                peer_hahas=frozenset({HAHA[other]}),
            )
            self.guard = HomeAgentGuard(self.guard_config)
        self.table = RouteTable(self.netlink, self.datapath)
        self.routes = {
            KernelRoute(HOME, Metric.DISCARD, None),
            KernelRoute(PARTITION[index], Metric.DISCARD, None),
            KernelRoute(Prefix.host(HAHA[other]), Metric.HAHA, OUTER[other], self.haha),
            KernelRoute(PARTITION[other], Metric.SITE, OUTER[other]),
        }

    def setup(self) -> None:
        with self.namespace.entered():
            self.datapath.setup()
            self.datapath.set_inner_addresses({self.haha})
            self.datapath.set_tunnel_ends({self.outer, self.haha}, self.outer)
            assert self.table.reconcile(self.routes) == []

    def close(self) -> None:
        self.guard.close()
        self.datapath.close()
        self.netlink.close()


@dataclass
class World:
    core: Namespace
    cn: Namespace
    evil: Namespace
    mr: Namespace
    lfn: Namespace
    ha1: HomeAgentKernel
    ha2: HomeAgentKernel


@contextmanager
def kernel_world(prefix: str, datapath: str = SEG6) -> Iterator[World]:
    """Build it all, Home Agents set up without a guard, and take it away at the end."""
    with ExitStack() as stack:

        def namespace(name: str, forwards: bool = False) -> Namespace:
            made = Namespace(f"{prefix}-{name}", forwards)
            stack.callback(made.delete)
            return made

        core, mr = namespace("core", True), namespace("mr", True)
        cn, evil, lfn = namespace("cn"), namespace("evil"), namespace("lfn")
        ha1, ha2 = namespace("ha1", True), namespace("ha2", True)
        for device, host, near, far in (
            ("c-ha1", ha1, "3fff:101::1/64", f"{OUTER[1]}/64"),
            ("c-ha2", ha2, "3fff:102::1/64", f"{OUTER[2]}/64"),
            ("c-cn", cn, "3fff:c::1/64", f"{CN}/64"),
            ("c-evil", evil, "3fff:e::1/64", f"{EVIL}/64"),
            ("c-mr", mr, "3fff:f01::1/64", f"{CARE_OF}/64"),
        ):
            connect((core, device, near), (host, "wan0" if host is mr else "eth0", far))
            host.ip(f"-6 route add default via {near.removesuffix('/64')}")
        connect((mr, "lan0", "2001:db8:1:100::1/64"), (lfn, "eth0", f"{LFN}/64"))
        lfn.ip("-6 route add default via 2001:db8:1:100::1")
        core.ip(f"-6 route add {HOME} via {OUTER[1]}")
        agents = []
        for index, one in ((1, ha1), (2, ha2)):
            agents.append(HomeAgentKernel(one, index, datapath))
            stack.callback(agents[-1].close)
            agents[-1].setup()
        yield World(core, cn, evil, mr, lfn, *agents)


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr or done.stdout}"
    return done.stdout


End = tuple[Namespace, str, str]
"""Where a cable ends: namespace, device, address with length."""


def connect(one: End, two: End) -> None:
    """A veth pair between two namespaces, addresses on both ends, up and with link-local addresses too."""
    (near, near_device, _), (far, far_device, _) = one, two
    run(
        *f"ip link add {near_device} netns {near.name} type veth".split(),
        *f"peer name {far_device} netns {far.name}".split(),
    )
    for namespace, device, address in (one, two):
        namespace.ip(f"addr add {address} dev {device} nodad")
        namespace.ip(f"link set {device} up")
    for namespace, device, _ in (one, two):
        wait_for_link_local(namespace, device)


def wait_for_link_local(namespace: Namespace, device: str) -> None:
    def there() -> bool:
        return "local fe80" in namespace.ip(f"-6 route show table local type local dev {device}")

    eventually(there, 5, f"{device} has its link-local address", interval=0.01)


def udp(source: Address, destination: Address, port: int = 7) -> bytes:
    return build_ipv6(source, destination, 17, struct.pack("!HHHH", port, port, 8, 0xFFFF))


def tunnelled(source: Address, inner: bytes, destination: Address = OUTER[1]) -> bytes:
    return build_ipv6(source, destination, 41, inner)


def syn(source: Address, destination: Address, segment_size: int) -> bytes:
    """A TCP SYN that offers a segment size; its checksum is none."""
    header = struct.pack("!HHIIBBHHHBBH", 5, 5, 1, 0, 6 << 4, 2, 1000, 0, 0, 2, 4, segment_size)
    return build_ipv6(source, destination, 6, header)


LARGE = 1_000_000
_TRANSFER_SECONDS = 10.0


def transfer(
    server: Namespace, address: Address, client: Namespace, source: Address, octets: int = LARGE
) -> int:
    """Send octets over TCP from client to server, then as many back; gives how many came back."""
    with server.entered():
        listener = socket.create_server((str(address), 0), family=socket.AF_INET6)
    listener.settimeout(_TRANSFER_SECONDS)

    def echo() -> None:
        with listener, listener.accept()[0] as peer:
            peer.settimeout(_TRANSFER_SECONDS)
            received = b"".join(iter(lambda: peer.recv(65536), b""))
            peer.sendall(received)

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    with client.entered(), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TRANSFER_SECONDS)
        connection.bind((str(source), 0))
        connection.connect((str(address), listener.getsockname()[1]))
        connection.sendall(bytes(octets))
        connection.shutdown(socket.SHUT_WR)
        back = sum(len(part) for part in iter(lambda: connection.recv(65536), b""))
    thread.join(_TRANSFER_SECONDS)
    return back


@contextmanager
def sniffer(namespace: Namespace, device: str) -> Iterator[socket.socket]:
    """A packet socket that sees every IPv6 packet of a device, both ways, from the IPv6 header on."""
    eth_p_all = 3
    with namespace.entered():
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(eth_p_all))
    with packets:
        packets.bind((device, eth_p_all))
        packets.setblocking(False)
        yield packets


def seen(packets: socket.socket, timeout: float = 0) -> list[bytes]:
    """What a socket has received; with a timeout, after waiting for the first."""
    select.select([packets], [], [], timeout)
    found = []
    while True:
        try:
            found.append(packets.recv(65536))
        except BlockingIOError:
            return found


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
