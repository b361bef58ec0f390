"""A steady stream of packets between two nodes of a lab: which came, when, and which did not."""

from __future__ import annotations

import socket
import struct
import threading
import time
from bisect import bisect_left
from contextlib import AbstractContextManager
from ipaddress import IPv6Address
from types import TracebackType

from haha_exabgp.lab.batches import namespace
from haha_exabgp.lab.lab import Lab
from tests.lab.kernel_world import entered

_PORT = 4000
_NUMBER = struct.Struct("!I")
_TIMESPEC = struct.Struct("qq")
_SO_TIMESTAMPNS = 35
_PATIENCE = 0.2


class Stream(AbstractContextManager["Stream"]):
    """UDP datagrams of 4 octets, `rate` a second, one way. All times are seconds of the wall clock."""

    def __init__(self, lab: Lab, source: str, target: str, destination: IPv6Address, rate: int) -> None:
        self.sent: list[float] = []
        """When each was sent, by its number."""
        self.came: list[tuple[float, int]] = []
        """When a packet came, by the kernel there, and its number; in this order."""
        self._numbers: set[int] = set()
        self._rate = rate
        self._stop = threading.Event()
        with entered(namespace(lab.name, source)):
            self._out = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with entered(namespace(lab.name, target)):
            self._in = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._in.bind(("::", _PORT))
        self._in.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._in.settimeout(_PATIENCE)
        self._destination = (str(destination), _PORT)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def number_at(self, when: float) -> int:
        """Of the first that was not sent before then."""
        return bisect_left(self.sent, when)

    def lost(self, first: int, end: int) -> int:
        """How many of these numbers have not come, `end` not among them."""
        return sum(number not in self._numbers for number in range(first, end))

    def around(self, when: float) -> tuple[tuple[float, int], tuple[float, int]]:
        """The last packet that had come by then, and the next one. Raises IndexError where there is none."""
        position = bisect_left(self.came, (when, 0))
        return self.came[max(position - 1, 0)], self.came[position]

    def _send(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.sent.append(time.time())
            try:
                self._out.sendto(_NUMBER.pack(len(self.sent) - 1), self._destination)
            except OSError:
                # An error that came for one before: this one has not left.
                self._out.sendto(_NUMBER.pack(len(self.sent) - 1), self._destination)
            due += 1 / self._rate
            time.sleep(max(0.0, due - time.monotonic()))

    def _receive(self) -> None:
        while not self._stop.is_set():
            try:
                data, ((_, _, stamp), *_), _, _ = self._in.recvmsg(
                    _NUMBER.size, socket.CMSG_SPACE(_TIMESPEC.size)
                )
            except TimeoutError:
                continue
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            (number,) = _NUMBER.unpack(data)
            self._numbers.add(number)
            self.came.append((seconds + nanoseconds / 1e9, number))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._in.close()
        self._out.close()
