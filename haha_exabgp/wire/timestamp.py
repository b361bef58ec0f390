"""64-bit NTP timestamps, as the Replay Protection option carries them (RFC 4285 s.6).

The high 32 bits are seconds since 1900, the low 32 bits a fraction of a second. The seconds wrap in
February 2036; a value whose first bit is clear is taken as of the era that starts there (RFC 4330
s.3), which covers 1968 to 2104.
"""

from __future__ import annotations

_UNIX_EPOCH = 2_208_988_800
"""1 January 1970, in seconds since 1900."""
_MASK = (1 << 64) - 1


def from_unix(seconds: float) -> int:
    """Seconds since the Unix epoch -> timestamp; a float holds about a quarter of a microsecond."""
    return (int(seconds * (1 << 32)) + (_UNIX_EPOCH << 32)) & _MASK


def to_unix(timestamp: int) -> float:
    """Timestamp -> seconds since the Unix epoch."""
    return (in_order(timestamp) - (_UNIX_EPOCH << 32)) / (1 << 32)


def in_order(timestamp: int) -> int:
    """Units of 2^-32 s since 1900, with the era resolved: compare these, not the timestamps, since a
    timestamp of 2037 is a smaller number than one of 2035."""
    return timestamp if timestamp >> 63 else timestamp + (1 << 64)


def correction(received: int, own: int) -> int:
    """What a Home Agent answers to a timestamp it refuses (status 144): the sender's low 32 bits below
    its own high 32 bits (RFC 4285 s.6)."""
    return own >> 32 << 32 | received & 0xFFFFFFFF
