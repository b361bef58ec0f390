"""The ICMPv6 messages of mobility, and the errors quoting a packet."""

from __future__ import annotations

import pytest

from haha_exabgp.wire.address import Address
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    IcmpError,
    IcmpErrorType,
    IcmpMessage,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    decode_icmpv6,
    encode_icmpv6,
    parameter_problem,
)
from haha_exabgp.wire.ipv6 import build_icmpv6

SOURCE = Address.parse("3fff:101::a")
DESTINATION = Address.parse("3fff:f00::10")
PREFIX = Address.parse("2001:db8:1:1::1")
PREFIX_HEX = "20010db8000100010000000000000001"

LAYOUTS: list[tuple[IcmpMessage, str]] = [
    (HomeAgentDiscoveryRequest(7), "90000000 0007 0000"),
    (HomeAgentDiscoveryRequest(7, True), "90000000 0007 8000"),
    (HomeAgentDiscoveryReply(7, False, ()), "91000000 0007 0000"),
    (HomeAgentDiscoveryReply(7, True, (PREFIX,)), f"91000000 0007 8000 {PREFIX_HEX}"),
    (MobilePrefixSolicitation(0xFFFF), "92000000 ffff 0000"),
    (MobilePrefixAdvertisement(1, False, True, ()), "93000000 0001 4000"),
    (
        MobilePrefixAdvertisement(
            1, True, False, (PrefixInformation(PREFIX, 64, 2592000, 604800, router_address=True),)
        ),
        f"93000000 0001 8000 0304 40 20 00278d00 00093a80 00000000 {PREFIX_HEX}",
    ),
    (
        MobilePrefixAdvertisement(1, True, True, (PrefixInformation(PREFIX, 128, 1, 2, True, True, False),)),
        f"93000000 0001 c000 0304 80 c0 00000001 00000002 00000000 {PREFIX_HEX}",
    ),
    (parameter_problem(2, 46, b"packet"), "04020000 0000002e" + b"packet".hex()),
    (IcmpError(IcmpErrorType.PACKET_TOO_BIG, 0, 1460, b"odd"), "02000000 000005b4" + b"odd".hex()),
]
PROVES = {
    HomeAgentDiscoveryRequest: "M-DHAAD",
    HomeAgentDiscoveryReply: "M-DHAAD",
    MobilePrefixSolicitation: "M-MPS",
    MobilePrefixAdvertisement: "M-MPS",
    IcmpError: "M-RECEIVE",
}
PARAMETERS = [pytest.param(*row, marks=pytest.mark.requirement(PROVES[type(row[0])])) for row in LAYOUTS]


def checked(message: bytes) -> bytes:
    octets = bytearray(message)
    octets[2:4] = internet_checksum(SOURCE, DESTINATION, 58, octets).to_bytes(2, "big")
    return bytes(octets)


def dropped(message: bytes) -> DropReason:
    with pytest.raises(MalformedPacket) as caught:
        decode_icmpv6(message, SOURCE, DESTINATION)
    return caught.value.reason


@pytest.mark.parametrize(("message", "layout"), PARAMETERS)
def test_layout_both_ways(message: IcmpMessage, layout: str) -> None:
    octets = checked(bytes.fromhex(layout))
    assert encode_icmpv6(message, SOURCE, DESTINATION) == octets
    assert decode_icmpv6(octets, SOURCE, DESTINATION) == message


@pytest.mark.parametrize(("message", "layout"), PARAMETERS)
def test_a_wrong_checksum_is_dropped(message: IcmpMessage, layout: str) -> None:
    octets = bytearray(checked(bytes.fromhex(layout)))
    octets[3] ^= 0x10
    assert dropped(bytes(octets)) is DropReason.BAD_CHECKSUM


def test_reserved_bits_are_ignored() -> None:
    octets = checked(bytes.fromhex("90000000 0007 7fff"))
    assert decode_icmpv6(octets, SOURCE, DESTINATION) == HomeAgentDiscoveryRequest(7)


@pytest.mark.requirement("M-MPS")
def test_other_options_of_an_advertisement_are_skipped() -> None:
    options, layout = LAYOUTS[6]
    assert isinstance(options, MobilePrefixAdvertisement)
    octets = checked(bytes.fromhex(f"93000000 0001 0000 0801000000000000 {layout[19:]}"))
    expected = MobilePrefixAdvertisement(1, False, False, options.prefixes)
    assert decode_icmpv6(octets, SOURCE, DESTINATION) == expected


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("80000000 0007 0000", DropReason.UNKNOWN_ICMPV6_TYPE),
        ("90010000 0007 0000", DropReason.BAD_ICMPV6),
        ("91000000 0007 0000 20010db8", DropReason.BAD_ICMPV6),
        ("91000000 0007 0000 20010db800000000", DropReason.BAD_ICMPV6),
        ("93000000 0001 0000 03", DropReason.BAD_ICMPV6),
        ("93000000 0001 0000 0800000000000000", DropReason.BAD_ICMPV6),
        ("93000000 0001 0000 0802000000000000", DropReason.BAD_ICMPV6),
        ("93000000 0001 0000 0301000000000000", DropReason.BAD_ICMPV6),
        ("93000000 0001 0000 0304 81" + "00" * 29, DropReason.BAD_ICMPV6),
    ],
)
def test_messages_out_of_form_are_named(octets: str, reason: DropReason) -> None:
    assert dropped(checked(bytes.fromhex(octets))) is reason


def test_an_error_never_makes_a_packet_over_1280_octets() -> None:
    error = IcmpError(IcmpErrorType.TIME_EXCEEDED, 0, 0, b"\xaa" * 3000)
    for message in (error, parameter_problem(0, 41, b"\xaa" * 3000)):
        octets = encode_icmpv6(message, SOURCE, DESTINATION)
        assert len(build_icmpv6(SOURCE, DESTINATION, octets)) == 1280
        received = decode_icmpv6(octets, SOURCE, DESTINATION)
        assert isinstance(received, IcmpError)
        assert received.quoted == b"\xaa" * 1232


@pytest.mark.parametrize(
    "message",
    [HomeAgentDiscoveryRequest(65536), MobilePrefixSolicitation(-1), parameter_problem(256, 0, b"")],
)
def test_a_value_out_of_range_is_not_sent(message: IcmpMessage) -> None:
    with pytest.raises(ValueError):
        encode_icmpv6(message, SOURCE, DESTINATION)
