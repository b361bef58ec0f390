"""Sends Binding Updates as many mobile routers would, and times the acknowledgements.

    python -m tests.bench.load        reads one JSON request a line, answers one JSON line each

Runs in a namespace whose kernel takes every care-of address for its own. Packets are put together from a
template that the project's codec made, and signed here, by `hmac` alone.
"""

from __future__ import annotations

import hmac
import json
import os
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

from haha_exabgp.kernel.sockets import MobilitySocket
from haha_exabgp.protocol.messages import binding_update_packet
from haha_exabgp.wire.checksum import MOBILITY_HEADER, internet_checksum
from haha_exabgp.wire.codes import Status
from haha_exabgp.wire.mobility import BindingUpdate, BindingUpdateFlag
from haha_exabgp.wire.options import AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix

from .bench_home import ASSOCIATION, LIFETIME, OUTER, care_of_address, home_address, network, number_of

_HEADER = 64
"""Where the Mobility Header starts: behind the IPv6 header and the Home Address option."""
_FLAGS = BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER
_LEAD = 3.0
"""Seconds that timestamps are ahead while packets are still being made; the window is 7."""
_PATIENCE = 3.0
"""Seconds without an acknowledgement until what is missing counts as lost."""
_ROUTING_HEADER = 1
"""The receiver of what comes with a type 2 routing header, among those of a `MobilitySocket`."""


class Load:
    """The mobile routers of the benchmark."""

    def __init__(self) -> None:
        self._socket = MobilitySocket()
        self._receiver = self._socket.receivers[_ROUTING_HEADER]
        self._sequence = 0
        self._stamp = 0

    def build(self, indexes: Sequence[int], place: int, lifetime: int = LIFETIME) -> list[bytes]:
        """A Binding Update of each, all with one sequence number and one timestamp."""
        self._sequence += 1
        self._stamp = max(from_unix(time.time() + _LEAD), self._stamp + 1)
        options = (
            AlternateCareOfAddress(care_of_address(0, place)),
            *([MobileNetworkPrefix(network(0))] if lifetime else ()),
            ReplayProtection(self._stamp),
        )
        update = BindingUpdate(self._sequence, _FLAGS, lifetime, options)
        source, home = care_of_address(0, place), home_address(0)
        template = binding_update_packet(source, OUTER, home, update, ASSOCIATION)
        return [self._personal(template, index, place, bool(lifetime)) for index in indexes]

    @staticmethod
    def _personal(template: bytes, index: int, place: int, with_prefix: bool) -> bytes:
        care_of, home = care_of_address(index, place), home_address(index)
        header = template[_HEADER:]
        parts = [header[:4], b"\0\0", header[6:16], care_of]
        parts += [header[32:40], network(index).address, header[56:-12]] if with_prefix else [header[32:-12]]
        covered = b"".join(parts)
        body = covered + hmac.digest(ASSOCIATION.key, care_of + home + covered, "sha1")[:12]
        checksum = internet_checksum(home, OUTER, MOBILITY_HEADER, body).to_bytes(2, "big")
        return b"".join((template[:8], care_of, template[24:48], home, body[:4], checksum, body[6:]))

    def run(self, packets: Sequence[bytes], window: int) -> dict[str, Any]:
        """Keep `window` of them unanswered until all are answered."""
        sent_at: dict[int, float] = {}
        latencies: list[float] = []
        statuses: dict[int, int] = {}
        position, heard = 0, time.monotonic()
        began = time.monotonic()
        while len(latencies) < len(packets):
            room = min(window - (position - len(latencies)), len(packets) - position)
            if room >= min(window, 32) or (room and position == len(latencies)):
                batch = packets[position : position + room]
                now = time.monotonic()
                sent_at |= {number_of(packet[48:64]): now for packet in batch}
                # Those for which the send buffer had no room come next.
                position += room - len(self._socket.send_batch(batch))
            if self._receive(sent_at, latencies, statuses):
                heard = time.monotonic()
            elif time.monotonic() - heard > _PATIENCE:
                break
        return _figures(began, heard, latencies, statuses, len(packets))

    def pace(self, packets: Sequence[bytes], rate: float) -> dict[str, Any]:
        """Send `rate` of them a second, whatever is answered."""
        sent_at: dict[int, float] = {}
        latencies: list[float] = []
        statuses: dict[int, int] = {}
        position, began = 0, time.monotonic()
        heard = began
        while len(latencies) < len(packets) and time.monotonic() - heard < _PATIENCE:
            now = time.monotonic()
            due = min(int((now - began) * rate), len(packets))
            if due > position:
                batch = packets[position:due]
                sent_at |= {number_of(packet[48:64]): now for packet in batch}
                self._socket.send_batch(batch)
                position = due
            if self._receive(sent_at, latencies, statuses, 0.0005):
                heard = time.monotonic()
        return _figures(began, heard, latencies, statuses, len(packets))

    def flood(self, packets: Sequence[bytes], rate: float, seconds: float) -> int:
        """Send these again and again, `rate` a second; gives how many."""
        began, sent = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds:
            due = int((now - began) * rate)
            while sent < due:
                batch = packets[sent % len(packets) :][: due - sent]
                self._socket.send_batch(batch)
                sent += len(batch)
            time.sleep(0.0005)
        return sent

    def _receive(
        self, sent_at: dict[int, float], latencies: list[float], statuses: dict[int, int], wait: float = 0.001
    ) -> bool:
        select.select([self._receiver.fileno()], [], [], wait)
        datagrams = self._receiver.receive_batch()
        now = time.monotonic()
        sequence = self._sequence % 65536
        for datagram in datagrams:
            data = datagram.data
            if int.from_bytes(data[32:34], "big") != sequence or data[30] == Status.AUTHENTICATION_FAILED:
                # Of an earlier run, or to somebody who forges.
                continue
            since = sent_at.pop(number_of(data[8:24]), None)
            if since is not None:
                latencies.append(now - since)
                statuses[data[30]] = statuses.get(data[30], 0) + 1
        return bool(datagrams)


def _figures(
    began: float, ended: float, latencies: list[float], statuses: dict[int, int], sent: int
) -> dict[str, Any]:
    latencies.sort()
    count = len(latencies)
    return {
        "sent": sent,
        "answered": count,
        "statuses": statuses,
        "seconds": ended - began,
        "rate": count / (ended - began) if ended > began else 0.0,
        "p50": latencies[count // 2] if count else None,
        "p99": latencies[count * 99 // 100] if count else None,
        "max": latencies[-1] if count else None,
    }


def _forged(count: int) -> list[bytes]:
    """Binding Updates with wrong authenticators, of known home addresses, from strange places."""
    load = Load()
    made = []
    for packet in load.build(range(count), 9):
        forged = bytearray(packet)
        forged[-12:] = os.urandom(12)
        forged[68:70] = b"\0\0"
        home, body = bytes(forged[48:64]), bytes(forged[64:])
        forged[68:70] = internet_checksum(home, OUTER, MOBILITY_HEADER, body).to_bytes(2, "big")
        made.append(bytes(forged))
    return made


def main() -> None:
    """Serve requests: {"do": "run"|"pace"|"flood", "first":, "count":, "place":, …}."""
    load = Load()
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any
        if request["do"] == "flood":
            answer = load.flood(_forged(request["count"]), request["rate"], request["seconds"])
        else:
            first, count = request["first"], request["count"]
            lifetime = request.get("lifetime", LIFETIME)
            packets = load.build(range(first, first + count), request["place"], lifetime)
            if request["do"] == "run":
                answer = load.run(packets, request["window"])
            else:
                answer = load.pace(packets, request["rate"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
