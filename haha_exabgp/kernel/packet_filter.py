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
_LOAD_OCTET_FROM_X = 0x50
_LOAD_WORD = 0x20
_LOAD_WORD_FROM_X = 0x40
_AND = 0x54
_ADD = 0x04
_SHIFT_LEFT = 0x64
_TO_X = 0x07
_FROM_X = 0x87
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
_WHOLE = 0xFFFFFFFF

_QUOTED = 8
"""Where the packet at fault begins in an ICMPv6 error (RFC 4443 s.3)."""

Check = tuple[int, int, int, int]
"""How to load, from where, the mask (all ones for none), the value it must have."""
Step = tuple[int, int, str, str]
"""An instruction, its operand, and the labels where a comparison goes on when it holds and when not; without
one, behind it."""
_REFUSE = "refuse"


def mobility_behind(first: int) -> bytes:
    """For a raw socket of next header `first` (60, 43 or 135): packets whose first header that is, with a
    Mobility Header right behind it or itself.

    A packet with 60 and 135 is seen by both raw sockets where the kernel accepts its options: looking at
    the IPv6 header leaves it to one of them.
    """
    checks: list[Check] = [(_LOAD_OCTET, _FROM_IPV6_HEADER + _NEXT_HEADER, _WHOLE, first)]
    if first != MOBILITY_HEADER:
        checks.append((_LOAD_OCTET, 0, _WHOLE, MOBILITY_HEADER))
    return _program(_checks(checks))


def icmpv6_behind(first: int) -> bytes:
    """For a raw socket of next header `first` (60 or 43): packets whose first header that is, with an ICMPv6
    message right behind it."""
    return _program(
        _checks(
            [
                (_LOAD_OCTET, _FROM_IPV6_HEADER + _NEXT_HEADER, _WHOLE, first),
                (_LOAD_OCTET, 0, _WHOLE, ICMPV6),
            ]
        )
    )


def icmpv6_to(type_: int, destination: Prefix, most_tunnels: int) -> bytes:
    """For a packet socket whose data starts at the IPv6 header: ICMPv6 messages of one type to a destination
    inside the prefix, in frames addressed to this host; in tunnels too, so many one in the other at most, the
    outermost perhaps with destination options (RFC 2473 s.4.1.1)."""
    # X, 0 at first: where the header begins that is looked at.
    steps: list[Step | str] = [
        *_checks([(_LOAD_WORD, _PACKET_TYPE, _WHOLE, _PACKET_HOST)]),
        (_LOAD_OCTET, _NEXT_HEADER, "", ""),
        (_JUMP_EQUAL, ICMPV6, "message", ""),
        (_JUMP_EQUAL, IPV6_IN_IPV6, "tunnel 1", ""),
        (_JUMP_EQUAL, DESTINATION_OPTIONS, "", _REFUSE),
        *_checks([(_LOAD_OCTET, _PAYLOAD, _WHOLE, IPV6_IN_IPV6)]),
        (_LOAD_OCTET, _PAYLOAD + 1, "", ""),
        (_ADD, 1, "", ""),
        (_SHIFT_LEFT, 3, "", ""),
        (_TO_X, 0, "", ""),
    ]
    for tunnel in range(1, most_tunnels + 1):
        is_last = tunnel == most_tunnels
        steps += [
            f"tunnel {tunnel}",
            (_FROM_X, 0, "", ""),
            (_ADD, _PAYLOAD, "", ""),
            (_TO_X, 0, "", ""),
            (_LOAD_OCTET_FROM_X, _NEXT_HEADER, "", ""),
            (_JUMP_EQUAL, ICMPV6, "message", _REFUSE if is_last else ""),
            *([] if is_last else [(_JUMP_EQUAL, IPV6_IN_IPV6, f"tunnel {tunnel + 1}", _REFUSE)]),
        ]
    checks: list[Check] = [(_LOAD_OCTET_FROM_X, _PAYLOAD, _WHOLE, type_)]
    mask = ((1 << destination.length) - 1) << (128 - destination.length)
    wanted = int.from_bytes(destination.address, "big")
    for word in range(4):
        shift = 96 - 32 * word
        word_mask = mask >> shift & 0xFFFFFFFF
        if word_mask:
            at = _DESTINATION + 4 * word
            checks.append((_LOAD_WORD_FROM_X, at, word_mask, wanted >> shift & 0xFFFFFFFF))
    return _program([*steps, "message", *_checks(checks)])


def tunnel_error() -> bytes:
    """For a raw ICMPv6 socket: messages that quote a packet of next header 41, perhaps behind destination
    options (RFC 2473 s.4.1.1), as an error about a tunnelled packet does."""
    steps = (
        (_LOAD_OCTET, 0, 0, _QUOTED + _NEXT_HEADER),
        (_JUMP_EQUAL, 3, 0, IPV6_IN_IPV6),
        (_JUMP_EQUAL, 0, 3, DESTINATION_OPTIONS),
        (_LOAD_OCTET, 0, 0, _QUOTED + _PAYLOAD),
        (_JUMP_EQUAL, 0, 1, IPV6_IN_IPV6),
        (_RETURN, 0, 0, _WHOLE),
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


def _checks(checks: Sequence[Check]) -> list[Step]:
    """All of them must hold, else the packet is not for this socket."""
    steps: list[Step] = []
    for load, offset, mask, value in checks:
        steps.append((load, offset, "", ""))
        if mask != _WHOLE:
            steps.append((_AND, mask, "", ""))
        steps.append((_JUMP_EQUAL, value, "", _REFUSE))
    return steps


def _program(steps: Sequence[Step | str]) -> bytes:
    """These instructions, labels among them; whoever comes to their end is let through."""
    places: dict[str, int] = {}
    instructions: list[Step] = []
    for one in (*steps, (_RETURN, _WHOLE, "", ""), _REFUSE, (_RETURN, 0, "", "")):
        if isinstance(one, str):
            places[one] = len(instructions)
        else:
            instructions.append(one)

    def jump(at: int, label: str) -> int:
        return places[label] - at - 1 if label else 0

    return b"".join(
        _INSTRUCTION.pack(code, jump(at, true), jump(at, false), operand)
        for at, (code, operand, true, false) in enumerate(instructions)
    )
