"""Netlink: framing, attributes, and a socket whose requests are answered before they return.

The kernel works a request off inside `sendmsg` and queues the answers to the same socket, so nothing here
waits for anything but the kernel's own work: it may be called inline from an event loop. pyroute2's
synchronous socket cannot (it runs a loop of its own inside and raises RuntimeError), and costs 360-580 us
of CPU a route where this costs about 4 us.

The kernel reports what it refuses, asked or not; so only the last message of a call asks for an
acknowledgement, which says that all before it have been worked off.

Safe in any thread: one exchange at a time.
Privilege: dumps need none, changes need CAP_NET_ADMIN, `SO_RCVBUFFORCE` too.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Self

from .message_batches import AnswerBatch, send_together

NETLINK_NETFILTER = 12
NETLINK_GENERIC = 16

REQUEST = 0x001
ACK = 0x004
REPLACE = 0x100
EXCLUSIVE = 0x200
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

_DATAGRAM = 32
"""Messages a datagram. seg6 routes draw on the kernel's per-cpu allocator, which is filled up between
datagrams only: with 32 it runs dry once in 40,000 routes, with 1024 every time (measured, Linux 6.18)."""
_CALL = 4096
"""Messages a `sendmmsg`; the answers to so many, were they all refused, fit into the receive buffer. Few
calls, because each gives the interpreter lock away and waits to get it back."""
_OUT_OF_MEMORY_PAUSE = 0.001
_OUT_OF_MEMORY_TRIES = 100
_RECEIVE_BUFFER = 8 << 20
_SEND_BUFFER = 64 << 20
"""Octets: the limit of one transaction; memory is taken only while one is sent."""
_RECEIVE_SIZE = 1 << 18
_DUMP_TRIES = 10


class Message(NamedTuple):
    """A netlink message: type, flags (without REQUEST and ACK), everything after the netlink header."""

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
    # Without `pull_list`, for every route that is read comes through here.
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, type_ = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"netlink attribute of {length} octets at {offset} of {end}")
        found[type_ & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def pull_list(data: bytes) -> Iterator[bytes]:
    """The data of each attribute in a list, in order. Raises ValueError as `pull_attributes`."""
    offset, end = 0, len(data)
    while offset + 4 <= end:
        length, _ = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"netlink attribute of {length} octets at {offset} of {end}")
        yield data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


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
        force_send_buffer(self._socket, _SEND_BUFFER)
        self._sequence = 0
        self._answer_batch = AnswerBatch()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give the file descriptor back."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Send messages, 4096 a system call, and give back what the kernel refused, in their order.

        Messages that met ENOMEM are sent again after 1 ms, later 20, behind the others: two messages about
        one object do not belong in one `send`. Raises OSError when netlink itself fails.
        """
        refusals: list[Refusal] = []
        waiting: Sequence[int] = range(len(messages))
        for attempt in range(_OUT_OF_MEMORY_TRIES):
            refused: list[Refusal] = []
            for start in range(0, len(waiting), _CALL):
                refused += self._exchange(messages, waiting[start : start + _CALL])
            waiting = [refusal.position for refusal in refused if refusal.errno == errno.ENOMEM]
            refusals += [refusal for refusal in refused if refusal.errno != errno.ENOMEM]
            if not waiting:
                break
            # The kernel fetches more in a thread of its own, which a busy machine lets wait.
            time.sleep(_OUT_OF_MEMORY_PAUSE * (1 + attempt // 5))
        refusals += [Refusal(index, errno.ENOMEM, "") for index in waiting]
        return sorted(refusals)

    def request(self, message: Message) -> None:
        """Send one message. Raises OSError when the kernel refuses it."""
        for refusal in self.send([message]):
            raise OSError(refusal.errno, str(refusal))

    def commit(self, messages: Sequence[Message], *, begin: Message, end: Message) -> list[Refusal]:
        """Send messages as one transaction between `begin` and `end`: all of them or, with any refusal
        given back, none. nfnetlink's form. Raises OSError when the transaction as a whole is refused."""
        whole = [begin, *messages, end]
        # What `begin` and `end` are answered, older kernels do not tell.
        asking = len(messages)
        with self._lock:
            first = self._number(len(whole))
            self._socket.send(_pack(whole, range(len(whole)), first, asking))
            refused: list[Refusal] = []
            for refusal in self._refusals(first, asking):
                if not 1 <= refusal.position <= len(messages):
                    raise OSError(refusal.errno, str(refusal))
                refused.append(refusal._replace(position=refusal.position - 1))
        return refused

    def ask(self, message: Message) -> bytes:
        """Send a request that has one answer, and give the answer's body. Raises OSError."""
        with self._lock:
            first = self._transmit(message)
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
            with self._lock:
                bodies, whole = self._dump_once(message)
            if whole:
                return bodies
        raise OSError(errno.EINTR, f"netlink dump interrupted {_DUMP_TRIES} times in a row")

    def _dump_once(self, message: Message) -> tuple[list[bytes], bool]:
        first = self._transmit(message._replace(flags=message.flags | DUMP))
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
        last = len(indexes) - 1
        with self._lock:
            first = self._number(len(indexes))
            datagrams = [
                _pack(messages, indexes[start : start + _DATAGRAM], first + start, last - start)
                for start in range(0, len(indexes), _DATAGRAM)
            ]
            send_together(self._socket.fileno(), datagrams)
            refused = list(self._refusals(first, last))
        return [refusal._replace(position=indexes[refusal.position]) for refusal in refused]

    def _number(self, count: int) -> int:
        """The first of so many fresh sequence numbers."""
        first = self._sequence + 1
        self._sequence += count
        return first

    def _refusals(self, first: int, last: int) -> Iterator[Refusal]:
        """What is refused of the messages numbered from `first` on, up to the answer to the one at position
        `last`. The kernel has answered everything by now, in order; an answer that is missing did not fit
        into the receive buffer, and EAGAIN is raised for it."""
        while True:
            for data in self._answer_batch.receive(self._socket.fileno()):
                for _, flags, sequence, body in pull_messages(data):
                    # What an exchange that failed half-way left behind is passed over.
                    if sequence < first:
                        continue
                    if body[:4] != _SUCCESS:
                        yield _pull_refusal(sequence - first, flags, body)
                    if sequence - first == last:
                        return

    def _transmit(self, message: Message) -> int:
        """Send one message; gives its sequence number."""
        first = self._number(1)
        self._socket.send(_pack([message], (0,), first, None))
        return first

    def _answers(self, first: int) -> Iterator[tuple[int, int, int, bytes]]:
        """The messages of the next datagram that answer sequence number `first` or a later one; what an
        exchange that failed half-way left behind is passed over."""
        data = self._socket.recv(_RECEIVE_SIZE, socket.MSG_DONTWAIT)
        return (message for message in pull_messages(data) if message[2] >= first)


def _pack(messages: Sequence[Message], indexes: Iterable[int], first: int, asking: int | None) -> bytes:
    """The messages at some places as one datagram, numbered from `first` on; the one at place `asking` among
    them asks for an acknowledgement."""
    parts: list[bytes] = []
    for place, index in enumerate(indexes):
        type_, flags, body = messages[index]
        flags |= REQUEST | ACK if place == asking else REQUEST
        parts += (_HEADER.pack(16 + len(body), type_, flags, first + place, 0), body, _PADDING[len(body) & 3])
    return b"".join(parts)


def force_receive_buffer(receiver: socket.socket, size: int) -> None:
    """Set a receive buffer past the system's limit, or up to it without CAP_NET_ADMIN."""
    so_rcvbufforce = 33
    _force_buffer(receiver, so_rcvbufforce, socket.SO_RCVBUF, size)


def force_send_buffer(sender: socket.socket, size: int) -> None:
    """Set a send buffer past the system's limit, or up to it without CAP_NET_ADMIN."""
    so_sndbufforce = 32
    _force_buffer(sender, so_sndbufforce, socket.SO_SNDBUF, size)


def _force_buffer(owner: socket.socket, forced: int, limited: int, size: int) -> None:
    try:
        owner.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        owner.setsockopt(socket.SOL_SOCKET, limited, size)


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
