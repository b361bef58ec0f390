"""The frame and the fixed parts of the mobility messages, and the checks on what is received."""

from __future__ import annotations

import pytest

from haha_exabgp.wire.address import UNSPECIFIED, Address
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.messages import BY_MESSAGE
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
    RevocationStatus,
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
PROVES = {
    BindingRefreshRequest: "M-BRR",
    HomeTestInit: "M-TEST",
    CareOfTestInit: "M-TEST",
    HomeTest: "M-TEST",
    CareOfTest: "M-TEST",
    BindingUpdate: "M-BU",
    BindingAcknowledgement: "M-BA",
    BindingError: "M-BE",
    HomeAgentSwitch: "M-SWITCH",
    Heartbeat: "M-HEARTBEAT",
    BindingRevocationIndication: "M-BRI",
    BindingRevocationAcknowledgement: "M-BRI",
    HahaMessage: "M-HAHA",
}
PARAMETERS = [
    pytest.param(
        *row,
        marks=pytest.mark.requirement(PROVES[type(row[0])], "M-FRAME"),
        id=f"{type(row[0]).__name__}-{number}",
    )
    for number, row in enumerate(LAYOUTS)
]


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


@pytest.mark.parametrize(("message", "layout"), PARAMETERS)
def test_layout_both_ways(message: MobilityMessage, layout: str) -> None:
    header = checked(bytes.fromhex(layout))
    assert encode_mobility(message, SOURCE, DESTINATION) == header
    assert decode_mobility(header, SOURCE, DESTINATION) == message


@pytest.mark.parametrize(("message", "layout"), PARAMETERS)
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
    def fault() -> tuple[DropReason, int]:
        error = dropped(bytes(header))
        return error.reason, error.offset

    # Wrong in every way at once; each repair brings up the next reason.
    header = bytearray.fromhex("060008 ff 0000 0000")
    assert fault() == (DropReason.BAD_CHECKSUM, 4)
    header[:] = checked(header)
    assert fault() == (DropReason.UNKNOWN_MOBILITY_TYPE, 2)
    header[2] = 5
    header[:] = checked(header)
    assert fault() == (DropReason.BAD_PAYLOAD_PROTO, 0)
    header[0] = 59
    header[:] = checked(header)
    assert fault() == (DropReason.HEADER_LEN_TOO_SHORT, 1)


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


def test_every_message_that_is_spoken_has_a_layout_here() -> None:
    assert {type(message) for message, _ in LAYOUTS} == set(BY_MESSAGE) == set(PROVES)


@pytest.mark.requirement("M-LIFETIME")
@pytest.mark.parametrize(("seconds", "units"), [(0, "0000"), (4, "0001"), (600, "0096"), (262140, "ffff")])
def test_lifetimes_are_in_units_of_4_seconds(seconds: int, units: str) -> None:
    for message in (
        BindingUpdate(1, BindingUpdateFlag(0), seconds),
        BindingAcknowledgement(0, BindingAcknowledgementFlag(0), 1, seconds),
    ):
        header = encode_mobility(message, SOURCE, DESTINATION)
        assert header[10:12].hex() == units
        assert decode_mobility(header, SOURCE, DESTINATION) == message


@pytest.mark.requirement("M-BU-FLAGS")
def test_each_flag_of_an_update_has_its_bit() -> None:
    """The letters of RFC 6275, 4140, 3963, 5213, 5555, 6602 and 7109 in their order."""
    letters = dict(zip("AHLKMRPFTBSD", BindingUpdateFlag, strict=True))
    assert {name: f"{flag:04x}" for name, flag in letters.items()} == {
        "A": "8000", "H": "4000", "L": "2000", "K": "1000", "M": "0800", "R": "0400",
        "P": "0200", "F": "0100", "T": "0080", "B": "0040", "S": "0020", "D": "0010",
    }  # fmt: skip
    for flag in BindingUpdateFlag:
        header = encode_mobility(BindingUpdate(1, flag, 0), SOURCE, DESTINATION)
        assert header[8:10] == flag.to_bytes(2, "big")
        assert decode_mobility(header, SOURCE, DESTINATION) == BindingUpdate(1, flag, 0)


@pytest.mark.requirement("M-BA-FLAGS")
def test_each_flag_of_an_acknowledgement_has_its_bit() -> None:
    letters = dict(zip("KRPTBSD", BindingAcknowledgementFlag, strict=True))
    assert {name: f"{flag:02x}" for name, flag in letters.items()} == {
        "K": "80", "R": "40", "P": "20", "T": "10", "B": "08", "S": "04", "D": "02",
    }  # fmt: skip
    for flag in BindingAcknowledgementFlag:
        header = encode_mobility(BindingAcknowledgement(0, flag, 1, 0), SOURCE, DESTINATION)
        assert header[7] == flag
        assert decode_mobility(header, SOURCE, DESTINATION) == BindingAcknowledgement(0, flag, 1, 0)


@pytest.mark.requirement("M-BRI")
def test_each_flag_of_a_revocation_has_its_bit() -> None:
    for letter, word, flag in zip("PVG", ("8000", "4000", "2000"), RevocationFlag, strict=True):
        for message in (
            BindingRevocationIndication(0, 1, flag),
            BindingRevocationAcknowledgement(0, 1, flag),
        ):
            header = encode_mobility(message, SOURCE, DESTINATION)
            assert header[10:12].hex() == word, letter
            assert decode_mobility(header, SOURCE, DESTINATION) == message


@pytest.mark.requirement("M-BRI-CODES")
def test_codes_of_revocation_are_those_of_rfc_5846() -> None:
    assert [int(trigger) for trigger in RevocationTrigger] == [0, 1, 2, 3, 4, 5, 6, 7, 128, 129]
    assert RevocationTrigger(4).name == "HANDOVER_UNKNOWN"
    assert RevocationTrigger(7).name == "POSSIBLE_OUT_OF_SYNC"
    assert [int(status) for status in RevocationStatus] == [0, 1, 128, 129, 130, 131, 132, 133, 134, 135]
    assert RevocationStatus(128).name == "BINDING_DOES_NOT_EXIST"
    assert RevocationStatus(132).name == "MOBILE_NODE_IS_ATTACHED"


@pytest.mark.requirement("M-HAHA")
def test_operations_between_home_agents_are_numbered_as_they_stand() -> None:
    assert [operation.name for operation in sorted(HahaOperation)] == [
        "HELLO",
        "BINDING_INFORMATION_REQUEST",
        "BINDING_INFORMATION_UPDATE",
        "BINDING_INFORMATION_ACKNOWLEDGEMENT",
        "RESOLUTION_REQUEST",
        "RESOLUTION_REPLY",
        "RESOLUTION_PURGE",
    ]
    assert sorted(map(int, HahaOperation)) == [1, 2, 3, 4, 5, 6, 7]
    for operation in HahaOperation:
        message = HahaMessage(operation, HahaFlag.ACKNOWLEDGE | HahaFlag.DELETE, 0xABCD, 0xFFFF)
        header = encode_mobility(message, SOURCE, DESTINATION)
        assert header[6:12].hex() == f"{operation:02x}15abcdffff"
        assert decode_mobility(header, SOURCE, DESTINATION) == message


def test_status_below_128_is_accepted_by_name() -> None:
    accepted = {status.name for status in Status if status < 128}
    assert accepted == {
        "ACCEPTED",
        "ACCEPTED_PREFIX_DISCOVERY_NECESSARY",
        "MULTIPLE_CARE_OF_NOT_COMPLETE",
        "MULTIPLE_CARE_OF_RETURN_HOME_WITHOUT_ND",
    }
