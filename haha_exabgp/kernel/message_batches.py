"""Many datagrams a system call: recvmmsg(2) and sendmmsg(2), which Python's socket module has not.

The arrays that the kernel reads and writes are laid out once; what differs between two calls is written into
them and read out of them by `struct`. The kernel works while other threads run: a call through ctypes gives
the interpreter lock away. One thread at a time may use one object.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from ..wire.address import Address

BATCH: Final = 256
"""Datagrams a call."""
LARGEST_RECEIVED: Final = 4096
"""Octets: a Mobility Header (RFC 6275 s.6.1.1) and one extension header before it (RFC 8200 s.4), each as
long as its length field of 8 bits allows."""

_AF_INET6 = int(socket.AF_INET6)
_DONT_WAIT = int(socket.MSG_DONTWAIT)
_TRUNCATED = int(socket.MSG_TRUNC)
"""As plain numbers: `&` with a member of an enum costs as much as all else about a datagram."""

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

_HEADER = struct.Struct("@PIPNPNi0PI0P")
"""struct mmsghdr: name and its length, iovec and its length, control and its length, flags; octets."""
_VECTOR = struct.Struct("@PN")
_OUTCOME = struct.Struct(f"@{struct.calcsize('@PIPNPN')}xi0PI0P")
"""Of an mmsghdr, the flags and the octets."""
_SOCKET_ADDRESS = struct.Struct("=HHI16sI")
_ORIGIN = struct.Struct(f"@8x16s4x4x{socket.CMSG_LEN(0)}x16si")
"""A socket address, aligned, and behind it the one control message: source, destination, device."""
_NAME_ROOM = 32
_CONTROL_ROOM = socket.CMSG_SPACE(20)
_ORIGIN_ROOM = _NAME_ROOM + _CONTROL_ROOM
_SLOT = _ORIGIN_ROOM + LARGEST_RECEIVED


class Datagram(NamedTuple):
    """What a raw socket received: everything from the header of number `protocol` on, and where it came
    from, went to and came in. Addresses are those of the IPv6 header."""

    protocol: int
    data: bytes
    source: Address
    destination: Address
    device: int


class ReceiveBatch:
    """Room for what one call receives from a raw IPv6 socket that has IPV6_RECVPKTINFO set.

    1 MiB, of which only what is used becomes resident. `protocol`: of the socket, for the datagrams.
    """

    def __init__(self, protocol: int) -> None:
        self._protocol = protocol
        vectors, slots = BATCH * _HEADER.size, BATCH * (_HEADER.size + _VECTOR.size)
        self._slots = range(slots, slots + BATCH * _SLOT, _SLOT)
        self._memory = mmap.mmap(-1, self._slots.stop)
        base = self._base = _address(self._memory)
        self._memory[vectors:slots] = b"".join(
            _VECTOR.pack(base + slot + _ORIGIN_ROOM, LARGEST_RECEIVED) for slot in self._slots
        )
        self._headers = b"".join(
            _HEADER.pack(
                base + slot,
                _NAME_ROOM,
                base + vectors + index * _VECTOR.size,
                1,
                base + slot + _NAME_ROOM,
                _CONTROL_ROOM,
                0,
                0,
            )
            for index, slot in enumerate(self._slots)
        )
        self.truncated = 0
        """Datagrams dropped because they were longer than `LARGEST_RECEIVED`."""

    def receive(self, fd: int) -> list[Datagram]:
        """What is waiting, `BATCH` datagrams at most; nothing when nothing is. Raises OSError."""
        memory = self._memory
        # The kernel has written lengths over the room that it had.
        memory[: len(self._headers)] = self._headers
        count = _recvmmsg(fd, self._base, BATCH, _DONT_WAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code == errno.EAGAIN:
                return []
            raise _os_error(code)
        received = []
        protocol, unpack = self._protocol, _ORIGIN.unpack_from
        outcomes = _OUTCOME.iter_unpack(memory[: count * _HEADER.size])
        for (flags, length), slot in zip(outcomes, self._slots, strict=False):
            if flags & _TRUNCATED:
                self.truncated += 1
                continue
            source, destination, device = unpack(memory, slot)
            data = memory[slot + _ORIGIN_ROOM : slot + _ORIGIN_ROOM + length]
            received.append(Datagram(protocol, data, Address(source), Address(destination), device))
        return received


class SendBatch:
    """Room for the headers of what one call sends on a raw IPv6 socket of IPPROTO_RAW."""

    def __init__(self) -> None:
        self._vectors = BATCH * _HEADER.size
        self._names = self._vectors + BATCH * _VECTOR.size
        self._memory = mmap.mmap(-1, self._names + BATCH * _SOCKET_ADDRESS.size)
        self._base = _address(self._memory)
        self._memory[: self._vectors] = b"".join(
            _HEADER.pack(
                self._base + self._names + index * _SOCKET_ADDRESS.size,
                _SOCKET_ADDRESS.size,
                self._base + self._vectors + index * _VECTOR.size,
                1,
                0,
                0,
                0,
                0,
            )
            for index in range(BATCH)
        )

    def send(self, fd: int, packets: Sequence[bytes]) -> list[tuple[int, OSError]]:
        """Send whole IPv6 packets, each to the destination in its header; gives those not sent, by position.

        Waits for nothing: when the send buffer is full, the rest fails with EAGAIN.
        """
        failures: list[tuple[int, OSError]] = []
        for start in range(0, len(packets), BATCH):
            for index, code in self._send(fd, packets[start : start + BATCH]):
                failures.append((start + index, _os_error(code)))
        return failures

    def _send(self, fd: int, packets: Sequence[bytes]) -> list[tuple[int, int]]:
        count = len(packets)
        data = bytearray().join(packets) or bytearray(1)
        start = _address(data)
        lengths = [len(packet) for packet in packets]
        self._memory[self._vectors : self._vectors + count * _VECTOR.size] = b"".join(
            _VECTOR.pack(place, length)
            for place, length in zip(accumulate(lengths, initial=start), lengths, strict=False)
        )
        # A packet that is too short to hold a destination is refused by the kernel.
        self._memory[self._names : self._names + count * _SOCKET_ADDRESS.size] = b"".join(
            [_SOCKET_ADDRESS.pack(_AF_INET6, 0, 0, packet[24:40], 0) for packet in packets]
        )
        refused: list[tuple[int, int]] = []
        done = 0
        while done < count:
            sent = _sendmmsg(fd, self._base + done * _HEADER.size, count - done, _DONT_WAIT)
            if sent > 0:
                # Where it is fewer than asked for, the next call tells why.
                done += sent
                continue
            code = ctypes.get_errno()
            if code == errno.EAGAIN:
                return refused + [(index, code) for index in range(done, count)]
            refused.append((done, code))
            done += 1
        return refused


ANSWER_ROOM: Final = 1024
"""Octets: a netlink acknowledgement with the kernel's words is shorter."""


class AnswerBatch:
    """Room for what one call receives from a netlink socket whose answers are short. 256 KiB."""

    def __init__(self) -> None:
        vectors, slots = BATCH * _HEADER.size, BATCH * (_HEADER.size + _VECTOR.size)
        self._slots = range(slots, slots + BATCH * ANSWER_ROOM, ANSWER_ROOM)
        self._memory = mmap.mmap(-1, self._slots.stop)
        self._base = _address(self._memory)
        self._memory[vectors:slots] = b"".join(
            _VECTOR.pack(self._base + slot, ANSWER_ROOM) for slot in self._slots
        )
        self._memory[:vectors] = b"".join(
            _HEADER.pack(0, 0, self._base + vectors + index * _VECTOR.size, 1, 0, 0, 0, 0)
            for index in range(BATCH)
        )

    def receive(self, fd: int) -> list[bytes]:
        """What is waiting, `BATCH` answers at most. Raises OSError, EAGAIN when nothing is, EMSGSIZE when one
        was longer than `ANSWER_ROOM`."""
        count = _recvmmsg(fd, self._base, BATCH, _DONT_WAIT, None)
        if count < 0:
            raise _os_error(ctypes.get_errno())
        outcomes = list(_OUTCOME.iter_unpack(self._memory[: count * _HEADER.size]))
        if any(flags & _TRUNCATED for flags, _ in outcomes):
            raise _os_error(errno.EMSGSIZE)
        return [
            self._memory[slot : slot + length]
            for (_, length), slot in zip(outcomes, self._slots, strict=False)
        ]


def send_together(fd: int, datagrams: Sequence[bytes]) -> None:
    """Send up to 1024 datagrams on a socket that knows where to, in one call. Raises OSError."""
    count = len(datagrams)
    data = bytearray().join(datagrams)
    lengths = [len(datagram) for datagram in datagrams]
    vectors = bytearray().join(
        _VECTOR.pack(place, length)
        for place, length in zip(accumulate(lengths, initial=_address(data)), lengths, strict=False)
    )
    first = _address(vectors)
    headers = bytearray().join(
        _HEADER.pack(0, 0, first + index * _VECTOR.size, 1, 0, 0, 0, 0) for index in range(count)
    )
    done = 0
    while done < count:
        sent = _sendmmsg(fd, _address(headers) + done * _HEADER.size, count - done, 0)
        if sent < 0:
            raise _os_error(ctypes.get_errno())
        done += sent


def _os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _address(memory: mmap.mmap | bytearray) -> int:
    """Where writable memory lies; it must outlive the use of the number, and a bytearray keep its length."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
