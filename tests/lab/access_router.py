"""Routers that a mobile router can be attached to."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from haha_exabgp.wire.address import Prefix
from tests.lab.kernel_world import Namespace


class AccessRouter:
    """A router that answers every Router Solicitation on its device `acc0`, whenever that is there."""

    def __init__(self, name: str, prefix: Prefix) -> None:
        self.namespace = Namespace(name, forwards=True)
        self.prefix = prefix
        self.is_mute = False
        """Solicitations get no answer."""
        self._mac = b""

    def _advertise(self, raw: socket.socket, device: int, lifetime: int = 1800) -> None:
        if not self.is_mute:
            with suppress(OSError):
                raw.sendto(self._message(lifetime), ("ff02::1", 0, 0, device))

    def _message(self, lifetime: int) -> bytes:
        # With the router's link-layer address, as RFC 4429 s.3.1 wants it.
        if not self._mac:
            mac = self.namespace.ip("-br link show dev acc0").split()[2]
            self._mac = bytes.fromhex(mac.replace(":", ""))
        return (
            struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0)
            + struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 1800, 0)
            + self.prefix.address
            + struct.pack("!BB6s", 1, 1, self._mac)
        )

    def advertise(self, lifetime: int = 1800, source: str = "") -> None:
        """One that nobody has asked for, from a link-local address if one is given; lifetime 0: no default
        router any more."""
        with self.namespace.entered(), _raw_icmpv6() as raw:
            if source:
                raw.bind((source, 0, 0, socket.if_nametoindex("acc0")))
            self._advertise(raw, socket.if_nametoindex("acc0"), lifetime)

    @contextmanager
    def answering(self) -> Iterator[None]:
        with self.namespace.entered():
            raw = _raw_icmpv6()
        solicitation = 133
        words = [0xFFFFFFFF] * 8
        words[solicitation // 32] &= ~(1 << solicitation % 32)
        raw.setsockopt(socket.IPPROTO_ICMPV6, 1, struct.pack("=8I", *words))
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        stop, stopped = os.pipe()

        def answer() -> None:
            while raw in select.select([raw, stop], [], [])[0]:
                _, ((_, _, where),), _, _ = raw.recvmsg(2048, socket.CMSG_SPACE(20))
                self._advertise(raw, struct.unpack("@16xi", where)[0])

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.close(stopped)
            thread.join()
            raw.close()
            os.close(stop)


def _raw_icmpv6() -> socket.socket:
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    return raw
