"""Every other message as a whole packet, octet for octet, both ways.

Those of RFC 6275 were made with scapy. It does not know Home Agent Switch, Heartbeat and Binding Revocation:
these were put together by hand from the figures of RFC 5142, RFC 5847 and RFC 5846, their checksums with
the loop of RFC 1071, and tshark reads them so.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from haha_exabgp.wire.address import Address
from haha_exabgp.wire.icmpv6 import (
    IcmpMessage,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    decode_icmpv6,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, build_icmpv6, build_mobility, parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingAcknowledgementFlag,
    BindingError,
    BindingRefreshRequest,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    CareOfTest,
    CareOfTestInit,
    Heartbeat,
    HomeAgentSwitch,
    HomeTest,
    HomeTestInit,
    MobilityMessage,
    RevocationStatus,
    RevocationTrigger,
    Status,
    decode_mobility,
    encode_mobility,
)
from haha_exabgp.wire.options import BindingRefreshAdvice, RestartCounter

HOME = Address.parse("2001:db8:1::10")
CARE_OF = Address.parse("2001:db8:f0::10")
HOME_AGENT = Address.parse("2001:db8:1::1")
OTHER = Address.parse("2001:db8:2::1")
ANOTHER = Address.parse("2001:db8:3::1")


class Golden(NamedTuple):
    """A packet and what it says."""

    proves: tuple[str, ...]
    source: Address
    destination: Address
    message: MobilityMessage | IcmpMessage
    packet: str
    from_home: Address | None = None
    """In a Home Address option."""
    to_home: Address | None = None
    """In a type 2 routing header."""


GOLDEN = [
    Golden(
        ("M-BRR",),
        HOME_AGENT,
        CARE_OF,
        BindingRefreshRequest(),
        "6000000000202b4020010db800010000000000000000000120010db800f0000000000000000000108702020100000000"
        "20010db80001000000000000000000103b00000068eb0000",
        to_home=HOME,
    ),
    Golden(
        ("M-TEST",),
        HOME,
        HOME_AGENT,
        HomeTestInit(b"cookie01"),
        "600000000010874020010db800010000000000000000001020010db8000100000000000000000001"
        "3b010100fb700000636f6f6b69653031",
    ),
    Golden(
        ("M-TEST",),
        CARE_OF,
        HOME_AGENT,
        CareOfTestInit(b"cookie02"),
        "600000000010874020010db800f00000000000000000001020010db8000100000000000000000001"
        "3b010200f9800000636f6f6b69653032",
    ),
    Golden(
        ("M-TEST",),
        HOME_AGENT,
        HOME,
        HomeTest(3, b"cookie01", b"token001"),
        "600000000018874020010db800010000000000000000000120010db8000100000000000000000010"
        "3b0203007b2e0003636f6f6b69653031746f6b656e303031",
    ),
    Golden(
        ("M-TEST",),
        HOME_AGENT,
        CARE_OF,
        CareOfTest(4, b"cookie02", b"token002"),
        "600000000018874020010db800010000000000000000000120010db800f000000000000000000010"
        "3b020400793c0004636f6f6b69653032746f6b656e303032",
    ),
    Golden(
        ("M-BA", "M-OPT-2"),
        HOME_AGENT,
        CARE_OF,
        BindingAcknowledgement(
            Status.ACCEPTED_PREFIX_DISCOVERY_NECESSARY,
            BindingAcknowledgementFlag.MOBILE_ROUTER,
            9,
            600,
            (BindingRefreshAdvice(200),),
        ),
        "6000000000282b4020010db800010000000000000000000120010db800f0000000000000000000108702020100000000"
        "20010db80001000000000000000000103b0106005ecf01400009009602020032",
        to_home=HOME,
    ),
    Golden(
        ("M-BE",),
        HOME_AGENT,
        CARE_OF,
        BindingError(1, HOME),
        "600000000018874020010db800010000000000000000000120010db800f000000000000000000010"
        "3b0207003220010020010db8000100000000000000000010",
    ),
    Golden(
        ("M-SWITCH",),
        HOME_AGENT,
        CARE_OF,
        HomeAgentSwitch((OTHER, ANOTHER)),
        "6000000000402b4020010db800010000000000000000000120010db800f0000000000000000000108702020100000000"
        "20010db80001000000000000000000103b040c00ff4d020020010db80002000000000000000000012001"
        "0db8000300000000000000000001",
        to_home=HOME,
    ),
    Golden(
        ("M-SWITCH",),
        HOME_AGENT,
        CARE_OF,
        HomeAgentSwitch(),
        "6000000000202b4020010db800010000000000000000000120010db800f0000000000000000000108702020100000000"
        "20010db80001000000000000000000103b000c005ceb0000",
        to_home=HOME,
    ),
    Golden(
        ("M-HEARTBEAT",),
        HOME_AGENT,
        OTHER,
        Heartbeat(5),
        "600000000010874020010db800010000000000000000000120010db8000200000000000000000001"
        "3b010d005ae900000000000501020000",
    ),
    Golden(
        ("M-HEARTBEAT", "M-OPT-28"),
        OTHER,
        HOME_AGENT,
        Heartbeat(5, response=True, options=(RestartCounter(7),)),
        "600000000018874020010db800020000000000000000000120010db8000100000000000000000001"
        "3b020d003dd400010000000501001c040000000701020000",
    ),
    Golden(
        ("M-BRI",),
        HOME_AGENT,
        CARE_OF,
        BindingRevocationIndication(RevocationTrigger.HANDOVER_UNKNOWN, 0x0102),
        "6000000000282b4020010db800010000000000000000000120010db800f0000000000000000000108702020100000000"
        "20010db80001000000000000000000103b01100055da01040102000001020000",
        to_home=HOME,
    ),
    Golden(
        ("M-BRI",),
        CARE_OF,
        HOME_AGENT,
        BindingRevocationAcknowledgement(RevocationStatus.BINDING_DOES_NOT_EXIST, 0x0102),
        "6000000000283c4020010db800f00000000000000000001020010db8000100000000000000000001870201020000c910"
        "20010db80001000000000000000000103b011000545e02800102000001020000",
        from_home=HOME,
    ),
    Golden(
        ("M-MPS", "M-HAO"),
        CARE_OF,
        HOME_AGENT,
        MobilePrefixSolicitation(0x1234),
        "6000000000203c4020010db800f00000000000000000001020010db80001000000000000000000013a0201020000c910"
        "20010db80001000000000000000000109200000412340000",
        from_home=HOME,
    ),
    Golden(
        ("M-MPS", "M-RH2"),
        HOME_AGENT,
        CARE_OF,
        MobilePrefixAdvertisement(
            0x1234,
            managed=True,
            other=False,
            prefixes=(
                PrefixInformation(Address.parse("2001:db8:1::"), 64, 2592000, 604800, autonomous=True),
            ),
        ),
        "6000000000402b4020010db800010000000000000000000120010db800f0000000000000000000103a02020100000000"
        "20010db800010000000000000000001093004634123480000304404000278d0000093a800000000020010db800010000"
        "0000000000000000",
        to_home=HOME,
    ),
]
PARAMETERS = [
    pytest.param(
        golden, marks=pytest.mark.requirement(*golden.proves), id=f"{type(golden.message).__name__}-{number}"
    )
    for number, golden in enumerate(GOLDEN)
]


@pytest.mark.parametrize("golden", PARAMETERS)
def test_packet_is_built_octet_for_octet(golden: Golden) -> None:
    source, destination = golden.from_home or golden.source, golden.to_home or golden.destination
    ends = {"home_address": golden.from_home, "routing_home_address": golden.to_home}
    if isinstance(golden.message, MobilePrefixSolicitation | MobilePrefixAdvertisement):
        octets = encode_icmpv6(golden.message, source, destination)
        packet = build_icmpv6(golden.source, golden.destination, octets, **ends)
    else:
        header = encode_mobility(golden.message, source, destination)
        packet = build_mobility(golden.source, golden.destination, header, **ends)
    assert packet.hex() == golden.packet


@pytest.mark.parametrize("golden", PARAMETERS)
def test_packet_is_read(golden: Golden) -> None:
    packet = parse_packet(bytes.fromhex(golden.packet))
    assert (packet.source, packet.destination) == (golden.source, golden.destination)
    assert (packet.home_address, packet.routing_home_address) == (golden.from_home, golden.to_home)
    source, destination = packet.checksum_source, packet.checksum_destination
    if isinstance(packet, IcmpPacket):
        assert decode_icmpv6(packet.message, source, destination) == golden.message
    else:
        assert isinstance(packet, MobilityPacket)
        assert decode_mobility(packet.header, source, destination) == golden.message
