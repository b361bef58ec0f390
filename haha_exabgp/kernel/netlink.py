"""Netlink: framing, attributes, and a socket whose requests are answered before they return.

The kernel works a request off inside `sendmsg` and queues the answers to the same socket, so nothing here
waits for anything but the kernel's own work: it may be called inline from an event loop. pyroute2's
synchronous socket cannot (it runs a loop of its own inside and raises RuntimeError), and costs 360-580 us
of CPU a route where this costs about 20 us.

Privilege: dumps need none, changes need CAP_NET_ADMIN, `SO_RCVBUFFORCE` too.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

NETLINK_NETFILTER = 12
NETLINK_GENERIC = 16

REQUEST = 0x001
ACK = 0x004
REPLACE = 0x100
CREATE = 0x400
DUMP = 0x300

_SOL_NETLINK = 270
_CAP_ACK = 10
_EXT_ACK = 11
_GET_STRICT_CHK = 12

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_DUMP_INTERRUPTED = 0x10
_CAPPED = 0x100
_ACK_TLVS = 0x200
_ERROR_TEXT = 1
_SUCCESS = bytes(4)

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

BATCH = 32
"""Messages a `sendmsg`. With 500 the kernel's per-cpu allocator, which seg6 routes draw on, ran dry 383
times in 100,000 routes; with 32 once."""
_OUT_OF_MEMORY_PAUSE = 0.001
_OUT_OF_MEMORY_TRIES = 100
_RECEIVE_BUFFER = 8 << 20
_RECEIVE_SIZE = 1 << 18
_DUMP_TRIES = 10


class Message(NamedTuple):
    """A netlink message: type, flags (without REQUEST), everything after the netlink header."""

    type: int
    flags: int
    body: bytes


class Refusal(NamedTuple):
    """The kernel's no to one message: its place in the batch, errno, and the kernel's own words if any."""

    position: int
    errno: int
    text: str

    def __str__(self) -> str:
        return f"{os.strerror(self.errno)}: {self.text}" if self.text else os.strerror(self.errno)


def attribute(type_: int, data: bytes) -> bytes:
    """One attribute with its padding."""
    length = 4 + len(data)
    return _ATTRIBUTE.pack(length, type_) + data + _PADDING[length & 3]


def nested(type_: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(type_ | _NESTED, b"".join(attributes))


def attribute_u32(type_: int, value: int) -> bytes:
    """A 32-bit attribute in host order, the usual kind of rtnetlink."""
    return _U32.pack(8, type_, value)


_U32 = struct.Struct("=HHI")


def pull_attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on: type to data. Of a repeated type the last one stays.

    Raises ValueError on a length that does not fit.
    """
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, type_ = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"netlink attribute of {length} octets at {offset} of {end}")
        found[type_ & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def u32(data: bytes) -> int:
    """The value of a 32-bit attribute in host order."""
    return int.from_bytes(data, sys.byteorder)


def pull_messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of one datagram, each as (type, flags, sequence, body)."""
    offset = 0
    while offset + 16 <= len(data):
        length, type_, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield type_, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


class NetlinkSocket:
    """A netlink socket in the network namespace of the thread that makes it."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        force_receive_buffer(self._socket, _RECEIVE_BUFFER)
        self._sequence = 0

    def close(self) -> None:
        """Give the file descriptor back."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Send messages, 32 a call, and give back what the kernel refused.

        Messages that met ENOMEM are sent again after 1 ms, behind the others of their batch: two messages
        about one object do not belong in one call.
        """
        refusals: list[Refusal] = []
        for start in range(0, len(messages), BATCH):
            waiting = list(range(start, min(start + BATCH, len(messages))))
            for _ in range(_OUT_OF_MEMORY_TRIES):
                refused = self._exchange(messages, waiting)
                waiting = [refusal.position for refusal in refused if refusal.errno == errno.ENOMEM]
                refusals.extend(refusal for refusal in refused if refusal.errno != errno.ENOMEM)
                if not waiting:
                    break
                time.sleep(_OUT_OF_MEMORY_PAUSE)
            refusals.extend(Refusal(index, errno.ENOMEM, "") for index in waiting)
        return refusals

    def request(self, message: Message) -> None:
        """Send one message. Raises OSError when the kernel refuses it."""
        for refusal in self.send([message]):
            raise OSError(refusal.errno, str(refusal))

    def commit(self, messages: Sequence[Message], *, begin: Message, end: Message) -> list[Refusal]:
        """Send messages as one transaction between `begin` and `end`: all of them or, with any refusal
        given back, none. nfnetlink's form; each message must carry ACK. Raises OSError when the
        transaction as a whole is refused."""
        first = self._transmit([begin, *messages, end]) + 1
        refused: list[Refusal] = []
        missing = len(messages)
        while missing:
            for _, flags, sequence, body in self._answers(first - 1):
                refusal = _pull_refusal(sequence - first, flags, body)
                if not 0 <= refusal.position < len(messages):
                    raise OSError(refusal.errno, str(refusal))
                missing -= 1
                if refusal.errno:
                    refused.append(refusal)
        return refused

    def ask(self, message: Message) -> bytes:
        """Send a request that has one answer, and give the answer's body. Raises OSError."""
        first = self._transmit([message])
        while True:
            for type_, flags, _, body in self._answers(first):
                if type_ == _NLMSG_ERROR:
                    refusal = _pull_refusal(0, flags, body)
                    raise OSError(refusal.errno, str(refusal))
                return body

    def dump(self, message: Message) -> list[bytes]:
        """Every object that the request asks for, as message bodies.

        Starts again when the table changed under the dump. Raises OSError.
        """
        for _ in range(_DUMP_TRIES):
            bodies, whole = self._dump_once(message)
            if whole:
                return bodies
        raise OSError(errno.EINTR, f"netlink dump interrupted {_DUMP_TRIES} times in a row")

    def _dump_once(self, message: Message) -> tuple[list[bytes], bool]:
        first = self._transmit([message._replace(flags=message.flags | DUMP)])
        bodies: list[bytes] = []
        whole = True
        while True:
            for type_, flags, _, body in self._answers(first):
                whole = whole and not flags & _DUMP_INTERRUPTED
                if type_ == _NLMSG_DONE:
                    return bodies, whole
                if type_ == _NLMSG_ERROR:
                    refusal = _pull_refusal(0, flags, body)
                    raise OSError(refusal.errno, str(refusal))
                bodies.append(body)

    def _exchange(self, messages: Sequence[Message], indexes: Sequence[int]) -> list[Refusal]:
        first = self._transmit([messages[index] for index in indexes])
        refused: list[Refusal] = []
        missing = len(indexes)
        while missing:
            for _, flags, sequence, body in self._answers(first):
                missing -= 1
                if body[:4] != _SUCCESS:
                    refused.append(_pull_refusal(indexes[sequence - first], flags, body))
        return refused

    def _transmit(self, messages: Sequence[Message]) -> int:
        """Send in one call; gives the sequence number of the first message."""
        first = self._sequence + 1
        self._sequence += len(messages)
        parts: list[bytes] = []
        for sequence, (type_, flags, body) in enumerate(messages, first):
            parts.append(_HEADER.pack(16 + len(body), type_, flags | REQUEST, sequence, 0))
            parts.append(body)
            parts.append(_PADDING[len(body) & 3])
        self._socket.send(b"".join(parts))
        return first

    def _answers(self, first: int) -> Iterator[tuple[int, int, int, bytes]]:
        """The messages of the next datagram that answer sequence number `first` or a later one; what an
        exchange that failed half-way left behind is passed over."""
        data = self._socket.recv(_RECEIVE_SIZE, socket.MSG_DONTWAIT)
        return (message for message in pull_messages(data) if message[2] >= first)


def force_receive_buffer(receiver: socket.socket, size: int) -> None:
    """Set a receive buffer past the system's limit, or up to it without CAP_NET_ADMIN."""
    so_rcvbufforce = 33
    try:
        receiver.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, size)
    except PermissionError:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _pull_refusal(position: int, flags: int, body: bytes) -> Refusal:
    (code,) = struct.unpack_from("=i", body)
    text = ""
    if flags & _ACK_TLVS:
        # The request's own header follows the code, and its body too unless the flag says it was cut off.
        length = 16 if flags & _CAPPED else (u32(body[4:8]) + 3) & ~3
        text = (
            pull_attributes(body, 4 + length).get(_ERROR_TEXT, b"").rstrip(b"\0").decode("utf-8", "replace")
        )
    return Refusal(position, -code, text)
