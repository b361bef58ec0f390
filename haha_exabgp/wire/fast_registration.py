"""The usual Binding Update and its acknowledgement in one pass each.

What `mobility`, `options` and `authentication` do for any message takes three times as long, and a Home Agent
does nothing else 25,000 times a second. Whatever is unusual about an update is left to them; for the
rest the tests hold this file against them, octet by octet.
"""

from __future__ import annotations

import hmac
from struct import Struct
from typing import NamedTuple

from .address import Address, Prefix
from .authentication import Algorithm
from .checksum import MOBILITY_HEADER, internet_checksum

_UPDATE = Struct("!6xHHH")
_U64 = Struct("!Q")
_NO_NEXT_HEADER = 59
_BINDING_UPDATE = 5
_MAC_OCTETS = 12
_HOME_AGENT = bytes((3, 3))
"""Kind 3 of the options between Home Agents with role 3: the Home Agent that the update is meant for."""


class UsualUpdate(NamedTuple):
    """A Binding Update (RFC 6275 s.6.1.7) with the options of a home registration and an MN-HA option at
    its end. `lifetime` in seconds."""

    sequence: int
    flags: int
    """The 16-bit word, reserved bits among them."""
    lifetime: int
    prefixes: tuple[Prefix, ...]
    alternate_care_of_address: Address | None
    timestamp: int | None
    home_agent: Address | None
    """For whom it is, where it says so."""
    spi: int
    signed: int
    """Octets in front of the authenticator."""


def pull_usual_update(header: bytes) -> UsualUpdate | None:  # noqa: PLR0912, PLR0911  (a call costs more than a branch)
    """Read a Mobility Header whose length is what its Header Len says and whose checksum is right. None
    when it is something else than a usual update, a malformed one for example."""
    end = len(header)
    if end < 32 or header[0] != _NO_NEXT_HEADER or header[2] != _BINDING_UPDATE:
        return None
    prefixes: tuple[Prefix, ...] = ()
    care_of_address = home_agent = timestamp = None
    position = 12
    while True:
        if position + 2 > end:
            return None
        code = header[position]
        if code == 0:
            position += 1
            continue
        length = header[position + 1]
        start = position + 2
        position = start + length
        if position > end:
            return None
        if code == 1:
            continue
        if code == 9:
            break
        if code == 6 and length == 18:
            bits = header[start + 1]
            if bits > 128:
                return None
            prefixes = (*prefixes, _prefix(header[start + 2 : position], bits))
        elif code == 10 and length == 8:
            (timestamp,) = _U64.unpack_from(header, start)
        elif code == 3 and length == 16:
            care_of_address = Address(header[start:position])
        elif code == 18 and length == 18 and header[start : start + 2] == _HOME_AGENT:
            home_agent = Address(header[start + 2 : position])
        else:
            return None
    signed = position - _MAC_OCTETS
    if length != 5 + _MAC_OCTETS or header[start] != 1 or header[position:].strip(b"\0"):
        return None
    sequence, flags, units = _UPDATE.unpack_from(header)
    spi = int.from_bytes(header[start + 1 : start + 5], "big")
    return UsualUpdate(
        sequence, flags, units * 4, prefixes, care_of_address, timestamp, home_agent, spi, signed
    )


def _prefix(address: bytes, length: int) -> Prefix:
    # Most are a /64 without host bits.
    if length == 64 and address[8:] == _NO_HOST_BITS:
        return Prefix(Address(address), 64)
    return Prefix.of(Address(address), length)


_NO_HOST_BITS = bytes(8)


def is_signed_with(  # noqa: PLR0917  (positions are cheaper than names)
    header: bytes,
    signed: int,
    key: bytes,
    algorithm: Algorithm,
    care_of_address: bytes,
    home_address: bytes,
) -> bool:
    """As `authentication.verify`, for the MN-HA option behind the first `signed` octets; takes constant
    time."""
    covered = b"".join((care_of_address, home_address, header[:4], b"\0\0", header[6:signed]))
    own = hmac.digest(key, covered, algorithm)[:_MAC_OCTETS]
    return hmac.compare_digest(own, header[signed : signed + _MAC_OCTETS])


_IPV6 = Struct("!IHBB16s16s")
_ROUTING = bytes((2, 2, 1, 0, 0, 0, 0))
_BODY = Struct("!BBBBHBBHH6sBBQBBBBI")
_NO_ADVICE = bytes((1, 4, 0, 0, 0, 0))
"""Padding up to the timestamp, which is aligned at 8n+2."""
_ADVICE = Struct("!BBHH")
_BODY_OCTETS = _BODY.size + _MAC_OCTETS
_UNITS = _BODY_OCTETS // 8 - 1


class Acknowledgement(NamedTuple):
    """What a Binding Acknowledgement of the usual form says (RFC 6275 s.6.1.8). `lifetime` and `advice` in
    seconds, multiples of 4."""

    status: int
    flags: int
    sequence: int
    lifetime: int
    timestamp: int
    advice: int | None


def push_usual_acknowledgement(  # noqa: PLR0917
    acknowledgement: Acknowledgement,
    source: bytes,
    destination: bytes,
    home_address: bytes,
    care_of_address: bytes,
    spi: int,
    key: bytes,
    algorithm: Algorithm,
) -> bytes:
    """The whole packet: IPv6, type 2 routing header unless `destination` is the home address, Mobility
    Header with [Binding Refresh Advice,] MESG-ID and MN-HA options. Raises struct.error when a field is out
    of range."""
    status, flags, sequence, lifetime, timestamp, advice = acknowledgement
    body = _BODY.pack(
        _NO_NEXT_HEADER,
        _UNITS,
        6,
        0,
        0,
        status,
        flags,
        sequence,
        lifetime >> 2,
        # PadN of none behind the advice, so that the timestamp is aligned.
        _NO_ADVICE if advice is None else _ADVICE.pack(2, 2, advice >> 2, 0x0100),
        10,
        8,
        timestamp,
        0,
        9,
        5 + _MAC_OCTETS,
        1,
        spi,
    )
    mac = hmac.digest(key, b"".join((care_of_address, home_address, body)), algorithm)[:_MAC_OCTETS]
    checksum = internet_checksum(source, home_address, MOBILITY_HEADER, body + mac).to_bytes(2, "big")
    if destination == home_address:
        ipv6 = _IPV6.pack(6 << 28, _BODY_OCTETS, MOBILITY_HEADER, 64, source, destination)
        return b"".join((ipv6, body[:4], checksum, body[6:], mac))
    ipv6 = _IPV6.pack(6 << 28, 24 + _BODY_OCTETS, 43, 64, source, destination)
    return b"".join((ipv6, b"\x87", _ROUTING, home_address, body[:4], checksum, body[6:], mac))
