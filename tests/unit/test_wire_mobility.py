"""The frame and the fixed parts of the mobility messages, and the checks on what is received."""

from __future__ import annotations

import pytest

from haha_exabgp.wire.address import UNSPECIFIED, Address
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingAcknowledgementFlag,
    BindingError,
    BindingRefreshRequest,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    BindingUpdateFlag,
    CareOfTest,
    CareOfTestInit,
    HahaFlag,
    HahaMessage,
    HahaOperation,
    Heartbeat,
    HomeAgentSwitch,
    HomeTest,
    HomeTestInit,
    MobilityMessage,
    RevocationFlag,
    RevocationTrigger,
    Status,
    decode_mobility,
    decode_unchecked,
    encode_mobility,
)
from haha_exabgp.wire.options import BindingRefreshAdvice, RestartCounter

SOURCE = Address.parse("2001:db8:1::10")
DESTINATION = Address.parse("2001:db8:1::1")
OTHER = Address.parse("2001:db8:2::1")
OTHER_HEX = "20010db8000200000000000000000001"

# Message, and its octets with the checksum zeroed.
LAYOUTS: list[tuple[MobilityMessage, str]] = [
    (BindingRefreshRequest(), "3b000000 0000 0000"),
    (HomeTestInit(b"cookie01"), "3b010100 0000 0000 636f6f6b69653031"),
    (CareOfTestInit(b"cookie01"), "3b010200 0000 0000 636f6f6b69653031"),
    (HomeTest(3, b"cookie01", b"token001"), "3b020300 0000 0003 636f6f6b69653031 746f6b656e303031"),
    (CareOfTest(4, b"cookie01", b"token001"), "3b020400 0000 0004 636f6f6b69653031 746f6b656e303031"),
    (
        BindingUpdate(65535, BindingUpdateFlag.ACKNOWLEDGE, 262140),
        "3b010500 0000 ffff 8000 ffff 01020000",
    ),
    (
        BindingAcknowledgement(
            Status.INVALID_PREFIX, BindingAcknowledgementFlag.KEY_MANAGEMENT_MOBILITY, 2, 0
        ),
        "3b010600 0000 8d 80 0002 0000 01020000",
    ),
    (BindingError(1, OTHER), f"3b020700 0000 01 00 {OTHER_HEX}"),
    (HomeAgentSwitch(), "3b000c00 0000 00 00"),
    (
        HomeAgentSwitch((OTHER, UNSPECIFIED), (BindingRefreshAdvice(400),)),
        f"3b050c00 0000 02 00 {OTHER_HEX} {'00' * 16} 02020064 01020000",
    ),
    (Heartbeat(0x01020304), "3b010d00 0000 0000 01020304 01020000"),
    (
        Heartbeat(9, response=True, unsolicited=True, options=(RestartCounter(3),)),
        "3b020d00 0000 0003 00000009 0100 1c0400000003 01020000",
    ),
    (
        BindingRevocationIndication(RevocationTrigger.HANDOVER_UNKNOWN, 5, RevocationFlag.GLOBAL),
        "3b011000 0000 01 04 0005 2000 01020000",
    ),
    (BindingRevocationAcknowledgement(128, 5), "3b011000 0000 02 80 0005 0000 01020000"),
    (
        HahaMessage(
            HahaOperation.BINDING_INFORMATION_UPDATE, HahaFlag.GLOBAL | HahaFlag.MORE_FRAGMENTS, 0x1234, 2
        ),
        "3b010b00 0000 03 1a 1234 0002 01020000",
    ),
]
IDS = [f"{type(row[0]).__name__}-{number}" for number, row in enumerate(LAYOUTS)]


def checked(header: bytes | bytearray) -> bytes:
    """`header` with the right checksum."""
    octets = bytearray(header)
    octets[4:6] = bytes(2)
    octets[4:6] = internet_checksum(SOURCE, DESTINATION, 135, octets).to_bytes(2, "big")
    return bytes(octets)


def dropped(header: bytes) -> MalformedPacket:
    with pytest.raises(MalformedPacket) as caught:
        decode_mobility(header, SOURCE, DESTINATION)
    return caught.value


@pytest.mark.parametrize(("message", "layout"), LAYOUTS, ids=IDS)
def test_layout_both_ways(message: MobilityMessage, layout: str) -> None:
    header = checked(bytes.fromhex(layout))
    assert encode_mobility(message, SOURCE, DESTINATION) == header
    assert decode_mobility(header, SOURCE, DESTINATION) == message


@pytest.mark.parametrize(("message", "layout"), LAYOUTS, ids=IDS)
@pytest.mark.requirement("M-RECEIVE")
def test_a_wrong_checksum_is_dropped_and_a_relayed_message_read_without_one(
    message: MobilityMessage, layout: str
) -> None:
    header = bytearray(checked(bytes.fromhex(layout)))
    header[5] ^= 1
    error = dropped(bytes(header))
    assert error.reason is DropReason.BAD_CHECKSUM
    assert error.parameter_problem_code is None
    assert decode_unchecked(bytes(header)) == message


@pytest.mark.requirement("M-RECEIVE")
def test_checks_come_in_the_order_of_rfc_6275() -> None:
    # Wrong in every way at once; each repair brings up the next reason.
    header = bytearray.fromhex("060008 ff 0000 0000")
    assert dropped(bytes(header)).reason is DropReason.BAD_CHECKSUM
    header[:] = checked(header)
    assert dropped(bytes(header)).reason is DropReason.UNKNOWN_MOBILITY_TYPE
    header[2] = 5
    header[:] = checked(header)
    assert dropped(bytes(header)).reason is DropReason.BAD_PAYLOAD_PROTO
    header[0] = 59
    header[:] = checked(header)
    assert dropped(bytes(header)).reason is DropReason.HEADER_LEN_TOO_SHORT


@pytest.mark.requirement("M-RECEIVE")
def test_what_a_parameter_problem_points_at() -> None:
    payload = dropped(checked(bytes.fromhex("060105 00 0000 0001 8000 0001 01020000")))
    assert (payload.reason, payload.parameter_problem_code, payload.offset) == ("bad_payload_proto", 0, 0)
    short = dropped(checked(bytes.fromhex("3b0005 00 0000 0001")))
    assert (short.reason, short.parameter_problem_code, short.offset) == ("header_len_too_short", 0, 1)
    unknown = dropped(checked(bytes.fromhex("3b0008 00 0000 0001")))
    assert (unknown.reason, unknown.parameter_problem_code) == ("unknown_mobility_type", None)


@pytest.mark.parametrize("code", sorted(set(range(256)) - {0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16}))
@pytest.mark.requirement("M-TYPES")
def test_types_that_are_not_spoken_here_are_unknown(code: int) -> None:
    header = checked(bytes((59, 2, code)) + bytes(21))
    assert dropped(header).reason is DropReason.UNKNOWN_MOBILITY_TYPE


@pytest.mark.parametrize(
    ("code", "least"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 1), (6, 1), (7, 2), (11, 1), (13, 1), (16, 1)]
)
@pytest.mark.requirement("M-FRAME")
def test_least_header_len_of_each_type(code: int, least: int) -> None:
    for units in range(least):
        error = dropped(checked(bytes((59, units, code)) + bytes(5 + 8 * units)))
        assert (error.reason, error.offset) == (DropReason.HEADER_LEN_TOO_SHORT, 1)


def test_a_switch_that_counts_more_addresses_than_it_has_is_too_short() -> None:
    header = checked(bytes.fromhex(f"3b020c00 0000 02 00 {OTHER_HEX}"))
    error = dropped(header)
    assert (error.reason, error.offset) == (DropReason.HEADER_LEN_TOO_SHORT, 1)


def test_reserved_bits_are_ignored() -> None:
    update = decode_unchecked(bytes.fromhex("3b0105ff 0000 0007 c40f 000f 00000000"))
    assert update == BindingUpdate(7, BindingUpdateFlag(0xC400), 60)
    acknowledgement = decode_unchecked(bytes.fromhex("3b010600 0000 0041 0007 000f 00000000"))
    assert acknowledgement == BindingAcknowledgement(0, BindingAcknowledgementFlag.MOBILE_ROUTER, 7, 60)
    heartbeat = decode_unchecked(bytes.fromhex("3b010d00 0000 fffc 00000001 00000000"))
    assert heartbeat == Heartbeat(1)
    revocation = decode_unchecked(bytes.fromhex("3b011000 0000 0100 0001 1fff 00000000"))
    assert revocation == BindingRevocationIndication(0, 1)
    request = decode_unchecked(bytes.fromhex("3b000000 0000 ffff"))
    assert request == BindingRefreshRequest()


def test_octets_behind_the_header_are_ignored() -> None:
    header = encode_mobility(Heartbeat(1), SOURCE, DESTINATION)
    assert decode_mobility(header + b"behind", SOURCE, DESTINATION) == Heartbeat(1)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("3b011000 0000 0300 0001 0000 00000000", DropReason.UNKNOWN_REVOCATION_TYPE),
        ("3b010b00 0000 0128 0001 0000 00000000", DropReason.UNKNOWN_HAHA_VERSION),
        ("3b010b00 0000 0010 0001 0000 00000000", DropReason.UNKNOWN_HAHA_OPERATION),
        ("3b010b00 0000 0810 0001 0000 00000000", DropReason.UNKNOWN_HAHA_OPERATION),
    ],
)
def test_sub_types_that_are_not_known_are_named(octets: str, reason: DropReason) -> None:
    assert dropped(checked(bytes.fromhex(octets))).reason is reason


@pytest.mark.parametrize(
    "message",
    [
        BindingUpdate(65536, BindingUpdateFlag(0), 60),
        BindingUpdate(1, BindingUpdateFlag(0), 61),
        BindingUpdate(1, BindingUpdateFlag(0), 262144),
        BindingUpdate(1, BindingUpdateFlag(0), -4),
        BindingAcknowledgement(256, BindingAcknowledgementFlag(0), 1, 60),
        BindingAcknowledgement(0, BindingAcknowledgementFlag(0), 1, 62),
        BindingError(1, Address(bytes(4))),
        HomeTestInit(b"short"),
        HomeAgentSwitch((UNSPECIFIED,) * 256),
        HomeAgentSwitch((UNSPECIFIED,) * 128),
        Heartbeat(1 << 32),
    ],
)
def test_a_value_out_of_range_is_not_sent(message: MobilityMessage) -> None:
    with pytest.raises(ValueError):
        encode_mobility(message, SOURCE, DESTINATION)


def test_status_below_128_is_accepted_by_name() -> None:
    accepted = {status.name for status in Status if status < 128}
    assert accepted == {
        "ACCEPTED",
        "ACCEPTED_PREFIX_DISCOVERY_NECESSARY",
        "MULTIPLE_CARE_OF_NOT_COMPLETE",
        "MULTIPLE_CARE_OF_RETURN_HOME_WITHOUT_ND",
    }
