"""The Mobility Header: the frame around every mobility message (RFC 6275 s.6.1.1).

Off 0 Payload Proto (59), 1 Header Len (8-octet units, the first not counted), 2 MH Type, 3 reserved,
4 checksum (16 bits), 6 message data. The whole is a multiple of 8 octets, 2048 at most.

    message = decode_mobility(header, source, destination)
    header = encode_mobility(message, source, destination)

`source` and `destination` are those of the checksum's pseudo-header: of a received packet,
`checksum_source` and `checksum_destination` of `ipv6.MobilityPacket`.
"""

from __future__ import annotations

import struct

from .checksum import MOBILITY_HEADER, checksum_is_right, internet_checksum
from .codes import (
    BindingAcknowledgementFlag,
    BindingErrorStatus,
    BindingUpdateFlag,
    HahaFlag,
    HahaOperation,
    MobilityType,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
    Status,
)
from .errors import DropReason, MalformedPacket
from .messages import (
    BY_CODE,
    BY_MESSAGE,
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HahaMessage,
    Heartbeat,
    HomeAgentSwitch,
    HomeTest,
    HomeTestInit,
    MobilityMessage,
)
from .options import push_options, push_padding

__all__ = [
    "BindingAcknowledgement",
    "BindingAcknowledgementFlag",
    "BindingError",
    "BindingErrorStatus",
    "BindingRefreshRequest",
    "BindingRevocationAcknowledgement",
    "BindingRevocationIndication",
    "BindingUpdate",
    "BindingUpdateFlag",
    "CareOfTest",
    "CareOfTestInit",
    "HahaFlag",
    "HahaMessage",
    "HahaOperation",
    "Heartbeat",
    "HomeAgentSwitch",
    "HomeTest",
    "HomeTestInit",
    "MobilityMessage",
    "MobilityType",
    "RevocationFlag",
    "RevocationStatus",
    "RevocationTrigger",
    "Status",
    "cut_to_length",
    "decode_mobility",
    "decode_unchecked",
    "encode_mobility",
    "options_offset",
    "push_message",
    "seal",
]

NO_NEXT_HEADER = 59
MAX_LENGTH = 2048
"""Octets of the longest Mobility Header."""


def cut_to_length(header: bytes, offset: int = 0) -> bytes:
    """The Mobility Header at `offset`, cut to what its Header Len says.

    Raises MalformedPacket when less is there; what follows no-next-header is ignored (RFC 8200 s.4.7).
    """
    if len(header) < offset + 8:
        raise MalformedPacket(DropReason.TRUNCATED, len(header))
    end = offset + (header[offset + 1] + 1) * 8
    if end > len(header):
        raise MalformedPacket(DropReason.TRUNCATED, len(header))
    return header[offset:end]


def decode_mobility(header: bytes, source: bytes, destination: bytes) -> MobilityMessage:
    """Check and read a Mobility Header. Raises MalformedPacket; its `offset` is from octet 0 here.

    The checks come in the order of RFC 6275 s.9.2: checksum, MH Type, Payload Proto, Header Len. A
    message of a type that is known to IANA but not here counts as unknown.
    """
    header = cut_to_length(header)
    if not checksum_is_right(source, destination, MOBILITY_HEADER, header):
        raise MalformedPacket(DropReason.BAD_CHECKSUM, 4)
    return decode_unchecked(header)


def decode_unchecked(header: bytes) -> MobilityMessage:
    """`decode_mobility` without the checksum, for a message that was relayed to here: its checksum is
    over addresses of another packet, and its authenticator protects it better."""
    header = cut_to_length(header)
    codec = BY_CODE.get(header[2])
    if codec is None:
        raise MalformedPacket(DropReason.UNKNOWN_MOBILITY_TYPE, 2)
    if header[0] != NO_NEXT_HEADER:
        raise MalformedPacket(DropReason.BAD_PAYLOAD_PROTO, 0)
    if len(header) < codec.fixed:
        raise MalformedPacket(DropReason.HEADER_LEN_TOO_SHORT, 1)
    return codec.pull(header)


def options_offset(header: bytes) -> int:
    """Where the options of a Mobility Header start, in octets. Raises MalformedPacket for a type not
    known here; the result can be past the end of a header that is too short."""
    codec = BY_CODE.get(header[2])
    if codec is None:
        raise MalformedPacket(DropReason.UNKNOWN_MOBILITY_TYPE, 2)
    addresses = header[6] if codec.message is HomeAgentSwitch else 0
    return codec.fixed + 16 * addresses


def encode_mobility(message: MobilityMessage, source: bytes, destination: bytes) -> bytes:
    """The whole Mobility Header: options aligned, padded to 8 octets, checksum set.

    Raises ValueError when a field is out of range or the message does not fit.
    """
    return seal(push_message(message), source, destination)


def push_message(message: MobilityMessage) -> bytearray:
    """The message with its options, Header Len and checksum still zero and not yet padded."""
    codec = BY_MESSAGE[type(message)]
    try:
        header = bytearray(codec.push(message))
    except struct.error as error:
        raise ValueError(f"{message}: {error}") from error
    header[0] = NO_NEXT_HEADER
    header[2] = codec.code
    push_options(header, message.options)
    return header


def seal(header: bytearray, source: bytes, destination: bytes) -> bytes:
    """Pad to 8 octets, set Header Len and checksum. Raises ValueError past 2048 octets."""
    push_padding(header, 8)
    if len(header) > MAX_LENGTH:
        raise ValueError(f"a Mobility Header of {len(header)} octets; {MAX_LENGTH} is the most")
    header[1] = len(header) // 8 - 1
    checksum = internet_checksum(source, destination, MOBILITY_HEADER, header)
    header[4:6] = checksum.to_bytes(2, "big")
    return bytes(header)
