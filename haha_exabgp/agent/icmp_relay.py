"""Passing ICMPv6 errors about tunnelled packets on to the packets' senders, for a datapath whose kernel does
not do it (`kernel.datapath.Datapath.translates_errors`)."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from ..kernel.sockets import open_tunnel_errors
from ..kernel.tunnel_lookup import TunnelLookup
from ..protocol.icmp_relay import ErrorRelay, Tunnelled
from ..wire.address import Address
from ..wire.errors import MalformedPacket
from ..wire.icmpv6 import IcmpError, decode_icmpv6

_log = logging.getLogger(__name__)

ERRORS_A_TURN: Final = 16
"""Received errors before the event loop looks after something else: anybody may send them."""


class IcmpRelay:
    """For an event loop: `add_reader(relay.fileno(), relay.receive)`. Raises OSError."""

    def __init__(
        self,
        source: Address,
        entry_point: Callable[[], Address | None],
        send_batch: Callable[[Sequence[bytes]], list[tuple[int, OSError]]],
        counters: Counter[str],
    ) -> None:
        """Errors go out from `source`, an address of this host, by `MobilitySocket.send_batch`.
        `entry_point()` gives the outer source address of tunnels, None while there is no tunnel."""
        self._entry_point = entry_point
        self._send_batch = send_batch
        self._counters = counters
        self._relay = ErrorRelay(source, self._is_tunnelled, counters)
        self._lookup = TunnelLookup()
        self._errors = open_tunnel_errors()

    def fileno(self) -> int:
        """For `add_reader`."""
        return self._errors.fileno()

    def receive(self) -> None:
        """Pass on what has arrived."""
        now = time.monotonic()
        packets = []
        for datagram in islice(iter(self._errors.receive, None), ERRORS_A_TURN):
            try:
                error = decode_icmpv6(datagram.data, datagram.source, datagram.destination)
            except MalformedPacket as malformed:
                self._counters[f"icmp_relay_dropped_{malformed.reason}"] += 1
                continue
            packet = self._relay.receive(error, now) if isinstance(error, IcmpError) else None
            if packet is not None:
                packets.append(packet)
        for place, failure in self._send_batch(packets):
            self._counters["icmp_relay_send_failures"] += 1
            _log.warning("cannot tell %s of an error: %s", Address(packets[place][24:40]), failure)

    def close(self) -> None:
        """Give the file descriptors back."""
        self._errors.close()
        self._lookup.close()

    def _is_tunnelled(self, packet: Tunnelled) -> bool:
        if packet.entry != self._entry_point():
            return False
        return packet.exit == self._lookup.exit_point(packet.source, packet.destination)
