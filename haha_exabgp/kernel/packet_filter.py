"""Classic BPF programs that let a socket see only what is meant for it (packet(7), Linux's
networking/filter.rst).

A program runs for every packet before it is queued, so strangers' traffic costs no wake-up.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Final

from ..wire.address import Prefix
from ..wire.checksum import ICMPV6, MOBILITY_HEADER
from ..wire.ipv6 import DESTINATION_OPTIONS, IPV6_IN_IPV6

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")

_LOAD_OCTET = 0x30
_LOAD_WORD = 0x20
_AND = 0x54
_JUMP_EQUAL = 0x15
_RETURN = 0x06

_FROM_IPV6_HEADER: Final = 0xFFF00000
"""Offsets from here on count from the IPv6 header, wherever the socket's data starts (SKF_NET_OFF)."""
_PACKET_TYPE = 0xFFFFF000 + 4
"""PACKET_HOST, _OTHERHOST, _OUTGOING … of the frame (SKF_AD_OFF + SKF_AD_PKTTYPE)."""
_PACKET_HOST = 0
_NEXT_HEADER = 6
_DESTINATION = 24
_PAYLOAD = 40
_WHOLE_PACKET = 0xFFFFFFFF

_QUOTED = 8
"""Where the packet at fault begins in an ICMPv6 error (RFC 4443 s.3)."""

Check = tuple[int, int, int, int]
"""How to load, from where, the mask (all ones for none), the value it must have."""


def mobility_behind(first: int) -> bytes:
    """For a raw socket of next header `first` (60, 43 or 135): packets whose first header that is, with a
    Mobility Header right behind it or itself.

    A packet with 60 and 135 is seen by both raw sockets where the kernel accepts its options: looking at
    the IPv6 header leaves it to one of them.
    """
    checks: list[Check] = [(_LOAD_OCTET, _FROM_IPV6_HEADER + _NEXT_HEADER, 0xFF, first)]
    if first != MOBILITY_HEADER:
        checks.append((_LOAD_OCTET, 0, 0xFF, MOBILITY_HEADER))
    return _program(checks)


def icmpv6_behind(first: int) -> bytes:
    """For a raw socket of next header `first` (60 or 43): packets whose first header that is, with an ICMPv6
    message right behind it."""
    return _program(
        [(_LOAD_OCTET, _FROM_IPV6_HEADER + _NEXT_HEADER, 0xFF, first), (_LOAD_OCTET, 0, 0xFF, ICMPV6)]
    )


def icmpv6_to(type_: int, destination: Prefix) -> bytes:
    """For a packet socket whose data starts at the IPv6 header: ICMPv6 messages of one type, in frames
    addressed to this host, to a destination inside the prefix."""
    checks: list[Check] = [
        (_LOAD_WORD, _PACKET_TYPE, _WHOLE_PACKET, _PACKET_HOST),
        (_LOAD_OCTET, _NEXT_HEADER, 0xFF, ICMPV6),
        (_LOAD_OCTET, _PAYLOAD, 0xFF, type_),
    ]
    mask = ((1 << destination.length) - 1) << (128 - destination.length)
    wanted = int.from_bytes(destination.address, "big")
    for word in range(4):
        shift = 96 - 32 * word
        word_mask = mask >> shift & 0xFFFFFFFF
        if word_mask:
            checks.append((_LOAD_WORD, _DESTINATION + 4 * word, word_mask, wanted >> shift & 0xFFFFFFFF))
    return _program(checks)


def tunnel_error() -> bytes:
    """For a raw ICMPv6 socket: messages that quote a packet of next header 41, perhaps behind destination
    options (RFC 2473 s.4.1.1), as an error about a tunnelled packet does."""
    steps = (
        (_LOAD_OCTET, 0, 0, _QUOTED + _NEXT_HEADER),
        (_JUMP_EQUAL, 3, 0, IPV6_IN_IPV6),
        (_JUMP_EQUAL, 0, 3, DESTINATION_OPTIONS),
        (_LOAD_OCTET, 0, 0, _QUOTED + _PAYLOAD),
        (_JUMP_EQUAL, 0, 1, IPV6_IN_IPV6),
        (_RETURN, 0, 0, _WHOLE_PACKET),
        (_RETURN, 0, 0, 0),
    )
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)


def attach(receiver: socket.socket, program: bytes) -> None:
    """Run this program in front of a socket. Raises OSError."""
    instructions = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION.size
    receiver.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(instructions))
    )


def _program(checks: Sequence[Check]) -> bytes:
    """All checks must hold, else the packet is not for this socket."""
    steps: list[tuple[int, int | None, int]] = []
    for load, offset, mask, value in checks:
        steps.append((load, None, offset))
        if load == _LOAD_WORD and mask != _WHOLE_PACKET:
            steps.append((_AND, None, mask))
        steps.append((_JUMP_EQUAL, 0, value))
    steps.append((_RETURN, None, _WHOLE_PACKET))
    steps.append((_RETURN, None, 0))
    refuse = len(steps) - 1
    return b"".join(
        _INSTRUCTION.pack(code, 0, 0 if true is None else refuse - index - 1, operand)
        for index, (code, true, operand) in enumerate(steps)
    )
