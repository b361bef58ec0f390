"""Which destinations packets leave for by the tunnels to other Home Agents: the guard logs one packet now and
then (`guard_traffic`), and here it arrives, by netlink (NFLOG).

Privilege: CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

from ..wire.address import Address
from .netlink import (
    ACK,
    NETLINK_NETFILTER,
    REQUEST,
    attribute,
    force_receive_buffer,
    pull_attributes,
    pull_messages,
)

LOG_GROUP: Final = 5096
"""Of the network namespace: no other program's, one hopes; a second listener is refused."""
SNAP_LENGTH: Final = 96
"""Octets of a packet that are logged: two IPv6 headers, and a destination option between them."""

_LOG_PACKET = 4 << 8
_LOG_CONFIG = 4 << 8 | 1
_CONFIG_COMMAND = 1
_CONFIG_MODE = 2
_BIND = b"\x01"
_COPY_PACKET = struct.Struct("!IBB")
_COPY_MODE_PACKET = 2
_PAYLOAD = 9
_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("!BBH")

_IPV6_OCTETS = 40
_NEXT_HEADER = 6
_DESTINATION = slice(24, 40)
_TUNNEL = 41
_DESTINATION_OPTIONS = 60
_RECEIVE_BUFFER = 1 << 18
_RECEIVE_SIZE = 1 << 16


class TrafficLog:
    """For an event loop: `add_reader(log.fileno(), ...)`. Raises OSError, EBUSY when another process listens
    already."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        try:
            self._socket.bind((0, 0))
            force_receive_buffer(self._socket, _RECEIVE_BUFFER)
            self._configure(attribute(_CONFIG_COMMAND, _BIND))
            mode = _COPY_PACKET.pack(SNAP_LENGTH, _COPY_MODE_PACKET, 0)
            self._configure(attribute(_CONFIG_MODE, mode))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For `add_reader`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the file descriptor back; the guard's log then goes nowhere."""
        self._socket.close()

    def receive(self) -> Iterator[Address]:
        """The inner destinations of what has been logged and not been given yet. Of what did not fit into
        the receive buffer nothing is known: there will be more."""
        while True:
            try:
                data = self._socket.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            for type_, _, _, body in pull_messages(data):
                if type_ == _LOG_PACKET:
                    found = pull_attributes(body, _GENERIC.size)
                    destination = inner_destination(found.get(_PAYLOAD, b""))
                    if destination is not None:
                        yield destination

    def _configure(self, option: bytes) -> None:
        body = _GENERIC.pack(socket.AF_UNSPEC, 0, LOG_GROUP) + option
        header = _HEADER.pack(_HEADER.size + len(body), _LOG_CONFIG, REQUEST | ACK, 1, 0)
        self._socket.send(header + body)
        # The kernel has answered by now (see `netlink`); the answer may stand behind packets.
        while True:
            for type_, _, _, answer in pull_messages(self._socket.recv(_RECEIVE_SIZE)):
                if type_ != _ERROR:
                    continue
                (code,) = struct.unpack_from("=i", answer)
                if code:
                    raise OSError(-code, f"log group {LOG_GROUP}: {os.strerror(-code)}")
                return


def inner_destination(packet: bytes) -> Address | None:
    """The destination of the packet inside a tunnel packet (RFC 2473); None when it is none."""
    if len(packet) < _IPV6_OCTETS:
        return None
    start, next_header = _IPV6_OCTETS, packet[_NEXT_HEADER]
    if next_header == _DESTINATION_OPTIONS and len(packet) >= start + 2:
        next_header, start = packet[start], start + 8 * (packet[start + 1] + 1)
    inner = packet[start : start + _IPV6_OCTETS]
    if next_header != _TUNNEL or len(inner) < _IPV6_OCTETS or inner[0] >> 4 != 6:
        return None
    return Address(inner[_DESTINATION])
