"""The authenticators of RFC 4285.

MN-HA (s.5.1): an HMAC, SHA1 unless the two sides agree on SHA256, cut to 96 bits, with a key that mobile node
and Home Agent share. It covers the care-of address, the home address, and the Mobility Header from its first
octet to the end of the option's SPI field, with the checksum taken as zero. Nothing behind it is protected,
so nothing but padding (or an MN-AAA option) may stand there.

MN-AAA (s.5.2): of a Binding Update only, behind MN-HA, for somebody in the mobile node's home who has another
key of it. HMAC-SHA1 of the SHA1 of the same, up to this option's own SPI; not cut.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum

from .errors import DropReason, MalformedPacket
from .mobility import MobilityMessage, cut_to_length, options_offset, push_message, seal
from .options import Authentication, AuthenticationSubtype, first_option, push_padding

_TYPE = 9
_PADDING_TYPES = (0, 1)
_SUBTYPES = frozenset(AuthenticationSubtype)
_MAC_OCTETS = 12
_AAA_MAC_OCTETS = 20
HMAC_SHA1_SPI = 3
"""What an MN-AAA option has as SPI (RFC 4285 s.5.2, s.8): it stands for the algorithm, and the key follows
from the home address."""
_HEAD = 7
"""Octets of the option up to and including its SPI."""


class Algorithm(StrEnum):
    """What a security parameter index stands for, apart from its key; the value is what `hmac` calls it."""

    HMAC_SHA1 = "sha1"
    """RFC 4285 s.5.1."""
    HMAC_SHA256 = "sha256"
    """The same construction over SHA-256, cut to the same 96 bits, where both sides are told so."""


@dataclass(frozen=True, slots=True)
class FoundAuthentication:
    """An authentication option and where it starts, in octets from the start of the Mobility Header."""

    option: Authentication
    offset: int


def find_authentication(
    header: bytes, subtype: AuthenticationSubtype = AuthenticationSubtype.MN_HA
) -> FoundAuthentication | None:
    """The authentication option of this subtype in a Mobility Header, or None.

    Raises MalformedPacket when there are two of one subtype, when they are out of order, or when
    anything but padding follows them (RFC 4285 s.5, s.5.1, s.5.2).
    """
    header = cut_to_length(header)
    found: list[FoundAuthentication] = []
    for code, offset, end in _walk(header, options_offset(header)):
        if code == _TYPE and end - offset < _HEAD:
            raise MalformedPacket(DropReason.BAD_OPTION, offset + 1)
        if code == _TYPE and header[offset + 2] in _SUBTYPES:
            spi = int.from_bytes(header[offset + 3 : offset + _HEAD], "big")
            option = Authentication(header[offset + 2], spi, header[offset + _HEAD : end])
            # MN-HA (1) stands before MN-AAA (2), and each once.
            if found and option.subtype <= found[-1].option.subtype:
                raise MalformedPacket(DropReason.AUTHENTICATION_NOT_LAST, offset)
            found.append(FoundAuthentication(option, offset))
        elif found and code not in _PADDING_TYPES:
            raise MalformedPacket(DropReason.AUTHENTICATION_NOT_LAST, offset)
    return next((each for each in found if each.option.subtype == subtype), None)


def _walk(header: bytes, position: int) -> list[tuple[int, int, int]]:
    """(type, first octet, octet past the last) of every option, padding included."""
    options = []
    while position < len(header):
        code = header[position]
        end = position + 1
        if code:
            if end == len(header):
                raise MalformedPacket(DropReason.TRUNCATED_OPTION, position)
            end += 1 + header[end]
        if end > len(header):
            raise MalformedPacket(DropReason.TRUNCATED_OPTION, position)
        options.append((code, position, end))
        position = end
    return options


def verify(
    header: bytes,
    found: FoundAuthentication,
    key: bytes,
    care_of_address: bytes,
    home_address: bytes,
    *,
    algorithm: Algorithm = Algorithm.HMAC_SHA1,
) -> bool:
    """True when the MN-HA option `found` in `header` was made with `key`; takes constant time."""
    covered = bytearray(header[: found.offset + _HEAD])
    covered[4:6] = b"\0\0"
    own = _authenticator(covered, key, algorithm, care_of_address, home_address)
    return hmac.compare_digest(own, found.option.data)


def sign(
    message: MobilityMessage,
    source: bytes,
    destination: bytes,
    *,
    key: bytes,
    spi: int,
    care_of_address: bytes,
    home_address: bytes,
    algorithm: Algorithm = Algorithm.HMAC_SHA1,
    aaa_key: bytes | None = None,
) -> bytes:
    """The whole Mobility Header of `message` with an MN-HA option behind its other options, and with
    `aaa_key` an MN-AAA option behind that.

    `source` and `destination` are those of the checksum's pseudo-header, as for `encode_mobility`;
    `care_of_address` and `home_address` are those of the binding, for a Binding Acknowledgement too.
    Raises ValueError when the message has an authentication option already or does not fit.
    """
    if first_option(message.options, Authentication) is not None:
        raise ValueError("the message has an authentication option already")
    header = push_message(message)
    push_padding(header, 4, 1)
    header += bytes((_TYPE, _HEAD - 2 + _MAC_OCTETS, AuthenticationSubtype.MN_HA))
    header += spi.to_bytes(4, "big")
    # Header Len is covered, and it counts the octets still to come.
    octets = len(header) + _MAC_OCTETS
    if aaa_key is not None:
        octets += 1 + _HEAD + _AAA_MAC_OCTETS
    units = (octets + 7) // 8
    if units > 256:
        raise ValueError(f"a Mobility Header of {units * 8} octets; 2048 is the most")
    header[1] = units - 1
    header += _authenticator(header, key, algorithm, care_of_address, home_address)
    if aaa_key is not None:
        # The MN-HA option ends at 4n, MN-AAA begins at 4n+1: one octet of padding.
        push_padding(header, 4, 1)
        header += bytes((_TYPE, _HEAD - 2 + _AAA_MAC_OCTETS, AuthenticationSubtype.MN_AAA))
        header += HMAC_SHA1_SPI.to_bytes(4, "big")
        header += _aaa_authenticator(header, aaa_key, care_of_address, home_address)
    return seal(header, source, destination)


def verify_aaa(
    header: bytes, found: FoundAuthentication, key: bytes, care_of_address: bytes, home_address: bytes
) -> bool:
    """True when the MN-AAA option `found` in `header` was made with `key` and HMAC-SHA1; takes constant
    time."""
    if found.option.spi != HMAC_SHA1_SPI:
        return False
    covered = bytearray(header[: found.offset + _HEAD])
    covered[4:6] = b"\0\0"
    own = _aaa_authenticator(covered, key, care_of_address, home_address)
    return hmac.compare_digest(own, found.option.data)


def _authenticator(
    covered: bytearray, key: bytes, algorithm: Algorithm, care_of_address: bytes, home_address: bytes
) -> bytes:
    mobility_data = b"".join((care_of_address, home_address, covered))
    return hmac.digest(key, mobility_data, algorithm.value)[:_MAC_OCTETS]


def _aaa_authenticator(covered: bytearray, key: bytes, care_of_address: bytes, home_address: bytes) -> bytes:
    mobility_data = hashlib.sha1(b"".join((care_of_address, home_address, covered)), usedforsecurity=False)
    return hmac.digest(key, mobility_data.digest(), "sha1")
