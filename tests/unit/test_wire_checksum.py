"""The one-call checksum against the loop of RFC 1071, word by word."""

from __future__ import annotations

import random

import pytest

from haha_exabgp.wire.checksum import checksum_is_right, internet_checksum


def word_by_word(source: bytes, destination: bytes, next_header: int, payload: bytes) -> int:
    octets = source + destination + len(payload).to_bytes(4, "big") + bytes((0, 0, 0, next_header)) + payload
    octets += b"\0" * (len(octets) % 2)
    total = 0
    for at in range(0, len(octets), 2):
        total += octets[at] << 8 | octets[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.mark.requirement("M-CHECKSUM")
def test_agrees_with_the_loop_for_every_length() -> None:
    chance = random.Random(1071)
    for length in [*range(200), 2048, 65535]:
        source, destination = chance.randbytes(16), chance.randbytes(16)
        payload = chance.randbytes(length)
        expected = word_by_word(source, destination, 135, payload)
        assert internet_checksum(source, destination, 135, payload) == expected


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_agrees_with_the_loop_on_all_zeros_and_all_ones(fill: bytes) -> None:
    for length in range(0, 48):
        arguments = (fill * 16, fill * 16, 135, fill * length)
        assert internet_checksum(*arguments) == word_by_word(*arguments)


def test_a_sum_of_all_ones_gives_checksum_zero() -> None:
    payload = (0xFFFF - 135 - 8).to_bytes(2, "big") + bytes(6)
    assert internet_checksum(bytes(16), bytes(16), 135, payload) == 0
    assert checksum_is_right(bytes(16), bytes(16), 135, payload)


def test_any_single_flipped_bit_is_noticed() -> None:
    chance = random.Random(8)
    source, destination = chance.randbytes(16), chance.randbytes(16)
    payload = bytearray(chance.randbytes(40))
    payload[4:6] = bytes(2)
    payload[4:6] = internet_checksum(source, destination, 135, payload).to_bytes(2, "big")
    assert checksum_is_right(source, destination, 135, payload)
    for bit in range(len(payload) * 8):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not checksum_is_right(source, destination, 135, flipped)
    assert not checksum_is_right(source, destination, 58, payload)
