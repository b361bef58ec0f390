"""The Internet checksum over an IPv6 pseudo-header and an upper-layer packet (RFC 8200 s.8.1).

2^16 is 1 modulo 65535, so the ones-complement sum of all 16-bit words is the whole octet string, read
as one number, modulo 65535. Python divides such a number in one call.
"""

from __future__ import annotations

MOBILITY_HEADER = 135
ICMPV6 = 58


def internet_checksum(source: bytes, destination: bytes, next_header: int, payload: bytes | bytearray) -> int:
    """Checksum to write into `payload`, whose checksum field is zero.

    `source` and `destination` are those of the pseudo-header (16 octets each): the home address takes
    the place of the source when the packet has a Home Address option, and of the destination when it
    has a type 2 routing header (RFC 6275 s.6.1.1).
    """
    return -_pseudo_sum(source, destination, next_header, payload) % 0xFFFF


def checksum_is_right(
    source: bytes, destination: bytes, next_header: int, payload: bytes | bytearray
) -> bool:
    """True when the checksum that `payload` carries is right; addresses as in `internet_checksum`."""
    return _pseudo_sum(source, destination, next_header, payload) % 0xFFFF == 0


def _pseudo_sum(source: bytes, destination: bytes, next_header: int, payload: bytes | bytearray) -> int:
    odd = b"\0" if len(payload) & 1 else b""
    octets = b"".join((source, destination, payload, odd))
    return int.from_bytes(octets, "big") + len(payload) + next_header
