"""The mobility messages and how each is laid out from octet 6 of its Mobility Header on.

`mobility` adds the frame around them, and is what other packages import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple

from .address import Address
from .codes import (
    BindingAcknowledgementFlag,
    BindingUpdateFlag,
    HahaFlag,
    HahaOperation,
    MobilityType,
    RevocationFlag,
)
from .errors import DropReason, MalformedPacket
from .options import MobilityOption, pull_options

Options = tuple[MobilityOption, ...]
_NO_REVOCATION_FLAG = RevocationFlag(0)


@dataclass(frozen=True, slots=True)
class BindingRefreshRequest:
    """RFC 6275 s.6.1.2."""

    options: Options = ()


@dataclass(frozen=True, slots=True)
class HomeTestInit:
    """RFC 6275 s.6.1.3. `cookie`: 8 octets."""

    cookie: bytes
    options: Options = ()


@dataclass(frozen=True, slots=True)
class CareOfTestInit:
    """RFC 6275 s.6.1.4. `cookie`: 8 octets."""

    cookie: bytes
    options: Options = ()


@dataclass(frozen=True, slots=True)
class HomeTest:
    """RFC 6275 s.6.1.5. `cookie` and `keygen_token`: 8 octets each."""

    nonce_index: int
    cookie: bytes
    keygen_token: bytes
    options: Options = ()


@dataclass(frozen=True, slots=True)
class CareOfTest:
    """RFC 6275 s.6.1.6. `cookie` and `keygen_token`: 8 octets each."""

    nonce_index: int
    cookie: bytes
    keygen_token: bytes
    options: Options = ()


@dataclass(frozen=True, slots=True)
class BindingUpdate:
    """RFC 6275 s.6.1.7. `lifetime` in seconds, a multiple of 4, 0 (de-registration) to 262140."""

    sequence: int
    flags: BindingUpdateFlag
    lifetime: int
    options: Options = ()


@dataclass(frozen=True, slots=True)
class BindingAcknowledgement:
    """RFC 6275 s.6.1.8. `status` is a `Status` when known; `lifetime` as in `BindingUpdate`."""

    status: int
    flags: BindingAcknowledgementFlag
    sequence: int
    lifetime: int
    options: Options = ()


@dataclass(frozen=True, slots=True)
class BindingError:
    """RFC 6275 s.6.1.9. `home_address` is unspecified when the packet at fault had none."""

    status: int
    home_address: Address
    options: Options = ()


@dataclass(frozen=True, slots=True)
class HomeAgentSwitch:
    """RFC 5142 s.4. Without addresses the mobile node runs discovery."""

    addresses: tuple[Address, ...] = ()
    options: Options = ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """RFC 5847 s.3.3. `sequence`: 32 bits."""

    sequence: int
    response: bool = False
    unsolicited: bool = False
    options: Options = ()


@dataclass(frozen=True, slots=True)
class BindingRevocationIndication:
    """RFC 5846 s.5.1. `trigger` is a `RevocationTrigger` when known."""

    trigger: int
    sequence: int
    flags: RevocationFlag = _NO_REVOCATION_FLAG
    options: Options = ()


@dataclass(frozen=True, slots=True)
class BindingRevocationAcknowledgement:
    """RFC 5846 s.5.2. `status` is a `RevocationStatus` when known."""

    status: int
    sequence: int
    flags: RevocationFlag = _NO_REVOCATION_FLAG
    options: Options = ()


@dataclass(frozen=True, slots=True)
class HahaMessage:
    """Between Home Agents, in the Experimental message (RFC 5096 s.3).

    Off 6 operation, 7 version 1 (4 bits) and flags (4 bits), 8 identifier (16 bits, 0: unsolicited),
    10 argument (16 bits, its meaning at `HahaOperation`), 12 options.
    """

    operation: HahaOperation
    flags: HahaFlag
    identifier: int
    argument: int
    options: Options = ()


MobilityMessage = (
    BindingRefreshRequest
    | HomeTestInit
    | CareOfTestInit
    | HomeTest
    | CareOfTest
    | BindingUpdate
    | BindingAcknowledgement
    | BindingError
    | HomeAgentSwitch
    | Heartbeat
    | BindingRevocationIndication
    | BindingRevocationAcknowledgement
    | HahaMessage
)

_TEST_INIT = Struct("!6xxx8s")
_TEST = Struct("!6xH8s8s")
_UPDATE = Struct("!6xHHH")
_ACKNOWLEDGEMENT = Struct("!6xBBHH")
_ERROR = Struct("!6xBx16s")
_HEARTBEAT = Struct("!6xHI")
_REVOCATION = Struct("!6xBBHH")
_HAHA = Struct("!6xBBHH")

# Reserved bits are ignored by a receiver, so they are masked off before the enums see them: the enums
# keep every combination they meet, and a stranger must not make them grow.
_UPDATE_FLAGS = sum(BindingUpdateFlag)
_ACKNOWLEDGEMENT_FLAGS = sum(BindingAcknowledgementFlag)
_REVOCATION_FLAGS = sum(RevocationFlag)


def _in_units(lifetime: int) -> int:
    units, rest = divmod(lifetime, 4)
    if rest:
        raise ValueError(f"lifetime {lifetime} s is not a multiple of 4 s")
    return units


def _octets(value: bytes, count: int) -> bytes:
    if len(value) != count:
        raise ValueError(f"{count} octets wanted, not {len(value)}")
    return value


def _pull_refresh_request(header: bytes) -> BindingRefreshRequest:
    return BindingRefreshRequest(pull_options(header, 8))


def _push_refresh_request(message: BindingRefreshRequest) -> bytes:
    return bytes(8)


def _pull_home_test_init(header: bytes) -> HomeTestInit:
    return HomeTestInit(header[8:16], pull_options(header, 16))


def _pull_care_of_test_init(header: bytes) -> CareOfTestInit:
    return CareOfTestInit(header[8:16], pull_options(header, 16))


def _push_test_init(message: HomeTestInit | CareOfTestInit) -> bytes:
    return _TEST_INIT.pack(_octets(message.cookie, 8))


def _pull_home_test(header: bytes) -> HomeTest:
    nonce_index, cookie, keygen_token = _TEST.unpack_from(header)
    return HomeTest(nonce_index, cookie, keygen_token, pull_options(header, 24))


def _pull_care_of_test(header: bytes) -> CareOfTest:
    nonce_index, cookie, keygen_token = _TEST.unpack_from(header)
    return CareOfTest(nonce_index, cookie, keygen_token, pull_options(header, 24))


def _push_test(message: HomeTest | CareOfTest) -> bytes:
    return _TEST.pack(message.nonce_index, _octets(message.cookie, 8), _octets(message.keygen_token, 8))


def _pull_update(header: bytes) -> BindingUpdate:
    sequence, flags, lifetime = _UPDATE.unpack_from(header)
    return BindingUpdate(
        sequence, BindingUpdateFlag(flags & _UPDATE_FLAGS), lifetime * 4, pull_options(header, 12)
    )


def _push_update(message: BindingUpdate) -> bytes:
    return _UPDATE.pack(message.sequence, message.flags, _in_units(message.lifetime))


def _pull_acknowledgement(header: bytes) -> BindingAcknowledgement:
    status, flags, sequence, lifetime = _ACKNOWLEDGEMENT.unpack_from(header)
    known = BindingAcknowledgementFlag(flags & _ACKNOWLEDGEMENT_FLAGS)
    return BindingAcknowledgement(status, known, sequence, lifetime * 4, pull_options(header, 12))


def _push_acknowledgement(message: BindingAcknowledgement) -> bytes:
    units = _in_units(message.lifetime)
    return _ACKNOWLEDGEMENT.pack(message.status, message.flags, message.sequence, units)


def _pull_error(header: bytes) -> BindingError:
    status, home_address = _ERROR.unpack_from(header)
    return BindingError(status, Address(home_address), pull_options(header, 24))


def _push_error(message: BindingError) -> bytes:
    return _ERROR.pack(message.status, _octets(message.home_address, 16))


def _pull_switch(header: bytes) -> HomeAgentSwitch:
    end = 8 + 16 * header[6]
    if end > len(header):
        raise MalformedPacket(DropReason.HEADER_LEN_TOO_SHORT, 1)
    addresses = tuple(Address(header[at : at + 16]) for at in range(8, end, 16))
    return HomeAgentSwitch(addresses, pull_options(header, end))


def _push_switch(message: HomeAgentSwitch) -> bytes:
    addresses = b"".join(_octets(address, 16) for address in message.addresses)
    return bytes((0, 0, 0, 0, 0, 0, len(message.addresses), 0)) + addresses


def _pull_heartbeat(header: bytes) -> Heartbeat:
    flags, sequence = _HEARTBEAT.unpack_from(header)
    return Heartbeat(sequence, bool(flags & 1), bool(flags & 2), pull_options(header, 12))


def _push_heartbeat(message: Heartbeat) -> bytes:
    return _HEARTBEAT.pack(message.unsolicited << 1 | message.response, message.sequence)


def _pull_revocation(
    header: bytes,
) -> BindingRevocationIndication | BindingRevocationAcknowledgement:
    kind, value, sequence, word = _REVOCATION.unpack_from(header)
    flags = RevocationFlag(word & _REVOCATION_FLAGS)
    if kind == 1:
        return BindingRevocationIndication(value, sequence, flags, pull_options(header, 12))
    if kind == 2:
        return BindingRevocationAcknowledgement(value, sequence, flags, pull_options(header, 12))
    raise MalformedPacket(DropReason.UNKNOWN_REVOCATION_TYPE, 6)


def _push_revocation_indication(message: BindingRevocationIndication) -> bytes:
    return _REVOCATION.pack(1, message.trigger, message.sequence, message.flags)


def _push_revocation_acknowledgement(message: BindingRevocationAcknowledgement) -> bytes:
    return _REVOCATION.pack(2, message.status, message.sequence, message.flags)


_HAHA_VERSION = 1
_HAHA_OPERATIONS = frozenset(HahaOperation)


def _pull_haha(header: bytes) -> HahaMessage:
    operation, version_and_flags, identifier, argument = _HAHA.unpack_from(header)
    if version_and_flags >> 4 != _HAHA_VERSION:
        raise MalformedPacket(DropReason.UNKNOWN_HAHA_VERSION, 7)
    if operation not in _HAHA_OPERATIONS:
        raise MalformedPacket(DropReason.UNKNOWN_HAHA_OPERATION, 6)
    flags = HahaFlag(version_and_flags & 0x0F)
    return HahaMessage(HahaOperation(operation), flags, identifier, argument, pull_options(header, 12))


def _push_haha(message: HahaMessage) -> bytes:
    version_and_flags = _HAHA_VERSION << 4 | message.flags
    return _HAHA.pack(message.operation, version_and_flags, message.identifier, message.argument)


class Codec(NamedTuple):
    """One row of the table of messages."""

    code: MobilityType
    message: type
    fixed: int
    """Octets in front of the options; a Home Agent Switch has its addresses there as well."""
    pull: Callable[[bytes], MobilityMessage]
    push: Callable[[Any], bytes]
    """Gives the fixed part with six zero octets in place of the frame."""


_CODECS = (
    Codec(
        MobilityType.BINDING_REFRESH_REQUEST,
        BindingRefreshRequest,
        8,
        _pull_refresh_request,
        _push_refresh_request,
    ),
    Codec(MobilityType.HOME_TEST_INIT, HomeTestInit, 16, _pull_home_test_init, _push_test_init),
    Codec(MobilityType.CARE_OF_TEST_INIT, CareOfTestInit, 16, _pull_care_of_test_init, _push_test_init),
    Codec(MobilityType.HOME_TEST, HomeTest, 24, _pull_home_test, _push_test),
    Codec(MobilityType.CARE_OF_TEST, CareOfTest, 24, _pull_care_of_test, _push_test),
    Codec(MobilityType.BINDING_UPDATE, BindingUpdate, 12, _pull_update, _push_update),
    Codec(
        MobilityType.BINDING_ACKNOWLEDGEMENT,
        BindingAcknowledgement,
        12,
        _pull_acknowledgement,
        _push_acknowledgement,
    ),
    Codec(MobilityType.BINDING_ERROR, BindingError, 24, _pull_error, _push_error),
    Codec(MobilityType.EXPERIMENTAL, HahaMessage, 12, _pull_haha, _push_haha),
    Codec(MobilityType.HOME_AGENT_SWITCH, HomeAgentSwitch, 8, _pull_switch, _push_switch),
    Codec(MobilityType.HEARTBEAT, Heartbeat, 12, _pull_heartbeat, _push_heartbeat),
    Codec(
        MobilityType.BINDING_REVOCATION,
        BindingRevocationIndication,
        12,
        _pull_revocation,
        _push_revocation_indication,
    ),
    Codec(
        MobilityType.BINDING_REVOCATION,
        BindingRevocationAcknowledgement,
        12,
        _pull_revocation,
        _push_revocation_acknowledgement,
    ),
)
BY_CODE: dict[int, Codec] = {codec.code: codec for codec in _CODECS}
BY_MESSAGE: dict[type, Codec] = {codec.message: codec for codec in _CODECS}
