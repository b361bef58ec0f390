"""What the kernel's part of a binding costs: packets, routes, guard elements, one table of figures.

    sudo .venv/bin/python tests/bench/kernel_io.py [BINDINGS]

Runs in a network namespace of its own, which ends with it. A binding has two routes and two permits; changes
are made 512 bindings at a time. CPU is this thread's, with the kernel's part; `alone` is wall time.
"""

from __future__ import annotations

import ctypes
import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from haha_exabgp.kernel.guard import HomeAgentGuard
from haha_exabgp.kernel.guard_config import HomeAgentGuardConfig
from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.routes import RouteChanges, RouteTable
from haha_exabgp.kernel.seg6 import Seg6Datapath
from haha_exabgp.kernel.sockets import MobilitySocket
from haha_exabgp.protocol.effects import Permit, Revoke
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import build_mobility

HOME = Prefix.parse("2001:db8::/32")
HAHA = Address.parse("2001:db8:ffff::1")
OUTER = Address.parse("3fff:101::a")
FAR = Address.parse("3fff:f01::10")
HOME_ADDRESS = Address.parse("2001:db8:1:1::10")
MESSAGE = bytes.fromhex("3b010500ffff00070000000f01020000") + bytes(64)
NETWORK = """
link set lo up
link add near type veth peer name far
link set near up
link set far up
addr add 3fff:101::a/64 dev near nodad
neigh add 3fff:101::1 lladdr 02:00:00:00:00:01 dev near nud permanent
route add default via 3fff:101::1 dev near
"""
BATCH = 512
PACKETS = 2000
CLONE_NEWNET = 0x40000000


def enter_namespace() -> None:
    """With one uplink, whose other end throws away what it gets."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")
    # Address duplicates are looked for by nobody, and the other end is deaf.
    for name, value in (("default/accept_dad", "0"), ("default/addr_gen_mode", "1")):
        with open(f"/proc/sys/net/ipv6/conf/{name}", "w", encoding="ascii") as setting:
            setting.write(value)
    subprocess.run(["ip", "-6", "-batch", "-"], input=NETWORK, text=True, check=True)


def report(name: str, count: int, do: Callable[[], object], rounds: int = 1) -> None:
    """Print the best of some rounds, microseconds each of `count` things."""
    best = (float("inf"), float("inf"))
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.thread_time()
        do()
        best = min(best, (time.thread_time() - cpu, time.perf_counter() - wall))
    cpu_each, wall_each = (seconds / count * 1e6 for seconds in best)
    print(f"{name:44}{cpu_each:10.2f}{wall_each:10.2f}", flush=True)


def measure_packets() -> None:
    """Received and sent, one by one and by the batch."""
    mobility = MobilitySocket()
    options = mobility.receivers[0]
    updates = [build_mobility(OUTER, OUTER, MESSAGE, home_address=HOME_ADDRESS)] * PACKETS
    answers = [build_mobility(OUTER, FAR, MESSAGE, routing_home_address=HOME_ADDRESS)] * PACKETS

    def fill() -> None:
        assert mobility.send_batch(updates) == []

    def receive() -> None:
        assert sum(len(batch) for batch in iter(options.receive_batch, [])) == PACKETS

    def receive_singly() -> None:
        assert sum(1 for _ in iter(options.receive, None)) == PACKETS

    for name, do in (("received singly", receive_singly), ("received", receive)):
        best: list[tuple[float, float]] = []
        for _ in range(10):
            fill()
            wall, cpu = time.perf_counter(), time.thread_time()
            do()
            best.append((time.thread_time() - cpu, time.perf_counter() - wall))
        cpu, wall = min(best)
        print(f"{'packet ' + name:44}{cpu / PACKETS * 1e6:10.2f}{wall / PACKETS * 1e6:10.2f}")
    single = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send_singly() -> None:
        for packet in answers:
            single.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))

    report("packet sent singly", PACKETS, send_singly, 10)
    report("packet sent", PACKETS, lambda: mobility.send_batch(answers), 10)
    single.close()
    mobility.close()


def address(group: bytes, number: int, last: int) -> Address:
    """One of 2^32 addresses of a /32."""
    return Address(group + number.to_bytes(4, "big") + bytes(7) + bytes([last]))


def prefixes(number: int) -> tuple[Prefix, Prefix]:
    """The mobile network prefix and the home address of a binding."""
    network, home = address(HOME.address[:4], number, 0), address(HOME.address[:4], number, 1)
    return Prefix(network, 64), Prefix.host(home)


def measure_routes(bindings: int, datapath: Seg6Datapath, netlink: NetlinkSocket) -> None:
    """Set, moved, read back, compared, deleted."""
    table = RouteTable(netlink, datapath)

    def routes(generation: int) -> list[KernelRoute]:
        return [
            KernelRoute(prefix, Metric.BINDING.value, address(FAR[:4], number, generation))
            for number in range(bindings)
            for prefix in prefixes(number)
        ]

    def in_batches(wanted: Sequence[KernelRoute], delete: bool = False) -> None:
        for start in range(0, len(wanted), 2 * BATCH):
            part = tuple(wanted[start : start + 2 * BATCH])
            assert table.apply(RouteChanges((), part) if delete else RouteChanges(part)) == []

    first, second = routes(1), routes(2)
    every = frozenset(second)
    report("route set", len(first), lambda: in_batches(first))
    report("route moved", len(second), lambda: in_batches(second))
    report("route read back", len(second), table.present)
    report("route compared, none to change", len(second), lambda: table.reconcile(every))
    assert table.present() == every
    report("route deleted", len(second), lambda: in_batches(second, delete=True))
    report("route set by comparing", len(second), lambda: table.reconcile(every))
    table.reconcile(frozenset())


def measure_guard(bindings: int, guard: HomeAgentGuard) -> None:
    """Permitted, moved, revoked, set up as a whole."""
    nobody: frozenset[Prefix] = frozenset()
    guard.setup(frozenset(), nobody)

    def permits(generation: int) -> list[tuple[Address, Prefix]]:
        return [
            (address(FAR[:4], number, generation), prefix)
            for number in range(bindings)
            for prefix in prefixes(number)
        ]

    first, second = permits(1), permits(2)

    def change(letting_in: Sequence[tuple[Address, Prefix]], out: Sequence[tuple[Address, Prefix]]) -> None:
        for start in range(0, len(first), 2 * BATCH):
            part = slice(start, start + 2 * BATCH)
            guard.apply([Permit(*one) for one in letting_in[part]], [Revoke(*one) for one in out[part]])

    every = frozenset(second)
    report("permit set", len(first), lambda: change(first, ()))
    report("permit moved (one set, one revoked)", len(first), lambda: change(second, first))
    report("permit of a setup of all, over the same", len(first), lambda: guard.setup(every, nobody))
    report("permit revoked", len(first), lambda: change((), second))
    guard.flush()
    report("permit of a setup of all, no table before", len(first), lambda: guard.setup(every, nobody))
    guard.flush()


def main() -> None:
    """Measure and print."""
    bindings = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    enter_namespace()
    gc.disable()
    netlink = NetlinkSocket()
    datapath = Seg6Datapath(netlink)
    datapath.setup()
    guard = HomeAgentGuard(
        HomeAgentGuardConfig(HOME, HOME, HAHA, frozenset({OUTER}), frozenset(), frozenset(), 10**6, 10**6)
    )
    print(f"{bindings} bindings, {os.uname().release}\n{'microseconds each':44}{'CPU':>10}{'alone':>10}")
    measure_packets()
    measure_routes(bindings, datapath, netlink)
    measure_guard(bindings, guard)


if __name__ == "__main__":
    main()
