"""Packet filter programs, run by a little interpreter of classic BPF on packets as the kernel would."""

from __future__ import annotations

import struct

import pytest

from haha_exabgp.kernel.packet_filter import icmpv6_to, mobility_behind, tunnel_error
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import build_ipv6, build_mobility

SOURCE, DESTINATION = Address.parse("3fff:f01::10"), Address.parse("3fff:101::a")
UPDATE = bytes.fromhex("3b010500ffff00070000000f01020000")
HOST, OTHER_HOST = 0, 3
_NETWORK, _ANCILLARY = 0xFFF00000, 0xFFFFF000


def accepts(program: bytes, packet: bytes, start: int = 0, packet_type: int = HOST) -> bool:
    """Run a program; `start` is where the socket's data begins in the IPv6 packet."""
    steps = list(struct.iter_unpack("=HBBI", program))
    accumulator, index, at = 0, 0, 0
    while True:
        code, true, false, operand = steps[at]
        at += 1
        if code in (0x20, 0x30, 0x40, 0x50):
            size = 4 if code in (0x20, 0x40) else 1
            if code >= 0x40:
                operand += index
            if operand >= _ANCILLARY:
                assert operand == _ANCILLARY + 4
                accumulator = packet_type
                continue
            offset = operand - _NETWORK if operand >= _NETWORK else operand + start
            if offset + size > len(packet):
                return False
            accumulator = int.from_bytes(packet[offset : offset + size], "big")
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x04:
            accumulator += operand
        elif code == 0x64:
            accumulator <<= operand
        elif code == 0x07:
            index = accumulator
        elif code == 0x87:
            accumulator = index
        elif code == 0x15:
            at += true if accumulator == operand else false
        else:
            assert code == 0x06
            return operand > 0


PACKETS = {
    60: build_mobility(SOURCE, DESTINATION, UPDATE, home_address=SOURCE),
    43: build_mobility(SOURCE, DESTINATION, UPDATE, routing_home_address=SOURCE),
    135: build_mobility(SOURCE, DESTINATION, UPDATE),
}


@pytest.mark.parametrize("first", PACKETS)
def test_packet_passes_by_its_own_socket(first: int) -> None:
    assert accepts(mobility_behind(first), PACKETS[first], start=40)


def test_mobility_header_behind_options_is_left_to_the_options_socket() -> None:
    packet = PACKETS[60]
    assert not accepts(mobility_behind(135), packet, start=len(packet) - len(UPDATE))


@pytest.mark.parametrize("first", [60, 43])
def test_other_contents_do_not_pass(first: int) -> None:
    packet = build_ipv6(SOURCE, DESTINATION, first, bytes((17, 0, 1, 4)) + bytes(12))
    assert not accepts(mobility_behind(first), packet, start=40)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 48, 64, 100, 128])
def test_destination_is_compared_to_the_prefixs_last_bit(length: int) -> None:
    inside = Address.parse("2001:db8:1:2:3:4:5:6")
    program = icmpv6_to(144, Prefix.of(inside, length), 2)
    assert accepts(program, _request(inside))
    for bit in range(128):
        flipped = Address((int.from_bytes(inside, "big") ^ 1 << (127 - bit)).to_bytes(16, "big"))
        assert accepts(program, _request(flipped)) == (bit >= length)


def test_frames_for_other_hosts_and_other_messages_do_not_pass() -> None:
    program = icmpv6_to(144, Prefix.parse("2001:db8::/32"), 2)
    inside = Address.parse("2001:db8::1")
    assert accepts(program, _request(inside))
    assert not accepts(program, _request(inside), packet_type=OTHER_HOST)
    assert not accepts(program, build_ipv6(SOURCE, inside, 58, bytes((145,)) + bytes(7)))
    assert not accepts(program, build_ipv6(SOURCE, inside, 17, bytes((144,)) + bytes(7)))
    assert not accepts(program, build_ipv6(SOURCE, inside, 58, b""))


TUNNEL_LIMIT = bytes((41, 0, 4, 1, 4, 1, 1, 0))
"""Destination options with a Tunnel Encapsulation Limit of 4 (RFC 2473 s.4.1.1)."""
LONGER_OPTIONS = bytes((41, 1, 1, 12)) + bytes(12)


def test_messages_are_found_in_so_many_tunnels() -> None:
    program = icmpv6_to(144, Prefix.parse("2001:db8::/32"), 2)
    for destination, wanted in (("2001:db8::1", True), ("2001:db9::1", False)):
        once = build_ipv6(SOURCE, DESTINATION, 41, _request(Address.parse(destination)))
        twice = build_ipv6(SOURCE, DESTINATION, 41, once)
        assert accepts(program, once) == accepts(program, twice) == wanted
        assert not accepts(program, build_ipv6(SOURCE, DESTINATION, 41, twice))
        for options in (TUNNEL_LIMIT, LONGER_OPTIONS):
            assert accepts(program, build_ipv6(SOURCE, DESTINATION, 60, options + once[40:])) == wanted
            assert accepts(program, build_ipv6(SOURCE, DESTINATION, 60, options + once)) == wanted
    assert not accepts(program, build_ipv6(SOURCE, DESTINATION, 41, PACKETS[60]))
    assert not accepts(program, build_ipv6(SOURCE, DESTINATION, 60, bytes((58,)) + TUNNEL_LIMIT[1:]))
    assert not accepts(program, build_ipv6(SOURCE, DESTINATION, 41, b""))


@pytest.mark.parametrize(
    ("quoted", "wanted"),
    [
        (build_ipv6(SOURCE, DESTINATION, 41, PACKETS[135]), True),
        (build_ipv6(SOURCE, DESTINATION, 60, TUNNEL_LIMIT + PACKETS[135]), True),
        (build_ipv6(SOURCE, DESTINATION, 17, bytes((41,)) + bytes(7)), False),
        (PACKETS[60], False),
        (PACKETS[135], False),
        (build_ipv6(SOURCE, DESTINATION, 41, b"")[:6], False),
    ],
    ids=["tunnelled", "limit-in-front", "datagram", "home-address", "mobility", "cut"],
)
def test_only_errors_about_tunnelled_packets_wake_the_program(quoted: bytes, wanted: bool) -> None:
    error = build_ipv6(DESTINATION, SOURCE, 58, bytes((2, 0, 0, 0, 0, 0, 5, 0)) + quoted)
    assert accepts(tunnel_error(), error, start=40) == wanted


def _request(destination: Address) -> bytes:
    return build_ipv6(SOURCE, destination, 58, bytes((144,)) + bytes(7))
