"""Delay on links of a lab, also where the kernel has no netem.

What leaves by an interface is redirected (tc, mirred) into a TAP device beside it, read there by a process of
its own, and put back behind the redirection when its time has come (a packet socket that bypasses the queue).
The kernel computes checksums and cuts large segments on the way into the TAP device.

    python -m tests.bench.delayed_links NAMESPACE:INTERFACE …     reads one-way delays, a line each, in ms
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from haha_exabgp.lab.batches import namespace
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.topology import Role
from tests.lab.kernel_world import entered

_DEVICE = "delay"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20
_FRAME = 65536
_URGENT = -10
"""Nice value: who delays packets must be on time."""


class InternetLinks(AbstractContextManager["InternetLinks"]):
    """The links between the Internet's routers of a lab: what is between sites passes at least one."""

    def __init__(self, lab: Lab) -> None:
        routers = {node.name for node in lab.topology.with_role(Role.INTERNET_ROUTER)}
        ends = [
            f"{namespace(lab.name, node)}:{interface}"
            for link in lab.topology.links
            if {node for node, _ in link.ends} <= routers
            for node, interface in link.ends
        ]
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.bench.delayed_links", *ends),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for who started this; the end of its input ends it.
            start_new_session=True,
        )

    def set_round_trip(self, milliseconds: float) -> None:
        """Of each link. 0: packets take the kernel's way, as if nothing were there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{milliseconds / 2}\n")
            self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise SystemExit("packets cannot be delayed: see above")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()


class _Direction:
    """One direction of a link: what leaves by this interface."""

    def __init__(self, where: str, number: int) -> None:
        self.space, self.interface = where.split(":")
        self.device = f"{_DEVICE}{number}"
        self.waiting: deque[tuple[float, bytes]] = deque()
        with entered(self.space):
            self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(
                self.tap, _TUNSETIFF, struct.pack("16sH22x", self.device.encode(), _IFF_TAP | _IFF_NO_PI)
            )
            self.out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.out.bind((self.interface, 0))
            self.out.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
            # It shall say nothing of its own.
            quiet = f"net.ipv6.conf.{self.device}.disable_ipv6=1"
            subprocess.run(("sysctl", "-qw", quiet), check=True)
        subprocess.run(("ip", "-n", self.space, "link", "set", self.device, "up"), check=True)

    def redirect(self) -> None:
        self._tc("qdisc", "add", "dev", self.interface, "clsact")
        everything = ("protocol", "all", "u32", "match", "u32", "0", "0")
        to_device = ("action", "mirred", "egress", "redirect", "dev", self.device)
        self._tc("filter", "add", "dev", self.interface, "egress", *everything, *to_device)

    def pass_by(self) -> None:
        self._tc("qdisc", "delete", "dev", self.interface, "clsact")

    def take(self, due: float) -> None:
        try:
            while True:
                self.waiting.append((due, os.read(self.tap, _FRAME)))
        except BlockingIOError:
            return

    def send_what_is_due(self, now: float) -> None:
        while self.waiting and self.waiting[0][0] <= now:
            self.out.send(self.waiting.popleft()[1])

    def _tc(self, *arguments: str) -> None:
        subprocess.run(("tc", "-n", self.space, *arguments), check=True)


def main(interfaces: list[str]) -> None:
    """Delay packets until the input ends."""
    os.nice(_URGENT)
    directions = {one.tap: one for one in map(_Direction, interfaces, range(len(interfaces)))}
    delay = 0.0
    while True:
        due = min((one.waiting[0][0] for one in directions.values() if one.waiting), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        for ready in select.select([sys.stdin, *directions], [], [], wait)[0]:
            if ready is not sys.stdin:
                directions[ready].take(time.monotonic() + delay)
                continue
            line = sys.stdin.readline()
            if not line:
                return
            before, delay = delay, float(line) / 1000
            for one in directions.values() if bool(before) != bool(delay) else ():
                one.redirect() if delay else one.pass_by()
            print("set", flush=True)
        now = time.monotonic()
        for one in directions.values():
            one.send_what_is_due(now)


if __name__ == "__main__":
    main(sys.argv[1:])
