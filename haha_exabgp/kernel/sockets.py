"""Sockets for mobility signalling: what the kernel would otherwise judge itself, or refuse to send.

A kernel without Mobile IPv6 takes the Home Address option and the type 2 routing header for errors. Raw
sockets see such packets before it does, packets that came through a tunnel too; the guard keeps it silent.

Privilege: CAP_NET_RAW to open, CAP_NET_ADMIN for the full receive buffer. All are non-blocking; give
their `fileno()` to the event loop's `add_reader` and call `receive_batch`; what is left over wakes the
loop again.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Self

from ..protocol.nesting import MOST_NESTED
from ..wire.address import Address, Prefix
from ..wire.checksum import MOBILITY_HEADER
from ..wire.ipv6 import DESTINATION_OPTIONS, ROUTING
from .message_batches import Datagram, ReceiveBatch, SendBatch
from .netlink import force_receive_buffer, force_send_buffer
from .packet_filter import attach, icmpv6_behind, icmpv6_to, mobility_behind, tunnel_error

_RECEIVE_BUFFER = 4 << 20
"""Octets; the default of 208 KiB lost 16 % of a burst of 512 Binding Updates."""
_SEND_BUFFER = 4 << 20
"""Octets; the default of 208 KiB has no room for more than 277 acknowledgements that wait for a device."""
_LARGEST = 65536
_ETH_P_IPV6 = 0x86DD
_IPV6_CHECKSUM = 7
_ICMPV6_FILTER = 1
_DISCOVERY_REQUEST = 144
_DISCOVERY_REPLY = 145
_ERRORS = frozenset({1, 2, 3})
_PACKET_INFO = struct.Struct("@16si")


class _Readable:
    """A socket for an event loop."""

    def __init__(self, socket_: socket.socket) -> None:
        socket_.setblocking(False)
        self._socket = socket_

    def fileno(self) -> int:
        """For `add_reader`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the file descriptor back."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawSocket(_Readable):
    """Packets to this host with one next header, whichever address of ours and tunnel they came by; with a
    BPF program only those that it lets through."""

    def __init__(self, protocol: int, program: bytes | None = None) -> None:
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        super().__init__(raw)
        self.protocol = protocol
        if program is not None:
            attach(raw, program)
        force_receive_buffer(raw, _RECEIVE_BUFFER)
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._batch = ReceiveBatch(protocol)

    @property
    def truncated(self) -> int:
        """Packets that `receive_batch` has dropped for being longer than any Mobility Header message."""
        return self._batch.truncated

    def set_option(self, level: int, option: int, value: int | bytes) -> None:
        """setsockopt. Raises OSError."""
        self._socket.setsockopt(level, option, value)

    def receive_batch(self) -> list[Datagram]:
        """What is waiting, 256 packets at most, in one system call. Raises OSError."""
        return self._batch.receive(self._socket.fileno())

    def receive(self) -> Datagram | None:
        """The next packet; None when there is none. Raises OSError."""
        try:
            data, ancillary, _, sender = self._socket.recvmsg(_LARGEST, _ANCILLARY_SIZE)
        except BlockingIOError:
            return None
        # PKTINFO was asked for before anything could arrive, and is the only thing that was.
        destination, device = _PACKET_INFO.unpack_from(ancillary[0][2])
        source = Address(socket.inet_pton(socket.AF_INET6, sender[0].partition("%")[0]))
        return Datagram(self.protocol, data, source, Address(destination), device)


class MobilitySocket:
    """Binding Updates, acknowledgements and their like, in and out.

    Every packet comes in by exactly one of three sockets, by its first header: 60 (Home Address option), 43
    (type 2 routing header) or 135. Checksums are not looked at: with a home address in play the kernel
    would get them wrong (RFC 6275 s.6.1.1).
    """

    def __init__(self) -> None:
        self.receivers = tuple(
            RawSocket(protocol, mobility_behind(protocol))
            for protocol in (DESTINATION_OPTIONS, ROUTING, MOBILITY_HEADER)
        )
        self.receivers[-1].set_option(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, -1)
        self._sender = socket.socket(
            socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW
        )
        force_send_buffer(self._sender, _SEND_BUFFER)
        self._send_batch = SendBatch()

    def send_batch(self, packets: Sequence[bytes]) -> list[tuple[int, OSError]]:
        """Send whole IPv6 packets as they are, 256 a system call, each to the destination in its header; a
        tunnel is entered where the route says so. Policy rules see no source address.

        Gives those not sent, by position: no route, larger than the MTU (it is not fragmented). They do not
        stop the others, but when the send buffer is full the rest fails with EAGAIN.
        """
        return self._send_batch.send(self._sender.fileno(), packets)

    def close(self) -> None:
        """Give the file descriptors back."""
        for receiver in self.receivers:
            receiver.close()
        self._sender.close()


class DhaadSocket(_Readable):
    """Home Agent Address Discovery requests to anywhere inside the Home prefix, in transit too.

    No host owns the Home-Agents anycast address of every subnet (RFC 2526), so the requests are taken off
    the link before the kernel routes them; the guard drops the originals. Those in tunnels are seen with all
    their headers, whoever they are from, as the guard has not looked at them yet. What this host sends is
    not seen.
    """

    def __init__(self, home: Prefix) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        packets = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_IPV6))
        super().__init__(packets)
        attach(packets, icmpv6_to(_DISCOVERY_REQUEST, home, MOST_NESTED))
        force_receive_buffer(packets, _RECEIVE_BUFFER)
        # What came in before there was a filter.
        while self.receive() is not None:
            continue

    def receive(self) -> bytes | None:
        """The next request as a whole IPv6 packet, perhaps with padding of the link behind it; None when
        there is none. Raises OSError, ENETDOWN once after a device went down."""
        try:
            return self._socket.recv(_LARGEST)
        except BlockingIOError:
            return None


def open_discovery_replies() -> RawSocket:
    """Home Agent Address Discovery replies (ICMPv6 145) to this host, for a mobile router."""
    return _icmpv6_socket({_DISCOVERY_REPLY})


def open_prefix_advertisements() -> RawSocket:
    """ICMPv6 messages to the home address of this host, a mobile router, which is away (RFC 6275 s.6.8)."""
    return RawSocket(ROUTING, icmpv6_behind(ROUTING))


def open_prefix_solicitations() -> RawSocket:
    """ICMPv6 messages with a Home Address option to this host, a Home Agent (RFC 6275 s.6.7)."""
    return RawSocket(DESTINATION_OPTIONS, icmpv6_behind(DESTINATION_OPTIONS))


def open_tunnel_errors() -> RawSocket:
    """Destination Unreachable, Packet Too Big and Time Exceeded about tunnelled packets to this host, which
    are those that it has put into tunnels; its kernel's own complaints among them."""
    return _icmpv6_socket(_ERRORS, tunnel_error())


def _icmpv6_socket(types: AbstractSet[int], program: bytes | None = None) -> RawSocket:
    receiver = RawSocket(socket.IPPROTO_ICMPV6, program)
    blocked = (1 << 256) - 1 & ~sum(1 << type_ for type_ in types)
    words = struct.pack("=8I", *(blocked >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)))
    receiver.set_option(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, words)
    return receiver


_ANCILLARY_SIZE = socket.CMSG_SPACE(_PACKET_INFO.size)
