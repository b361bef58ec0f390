"""Packets known octet for octet: made with scapy, their checksums and authenticator recomputed by hand."""

from __future__ import annotations

import pytest

from haha_exabgp.wire.address import UNSPECIFIED, Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.authentication import find_authentication, sign, verify
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    decode_icmpv6,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import (
    IcmpPacket,
    MobilityPacket,
    build_icmpv6,
    build_mobility,
    parse_from,
    parse_packet,
)
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingAcknowledgementFlag,
    BindingError,
    BindingUpdate,
    BindingUpdateFlag,
    Status,
    decode_mobility,
    encode_mobility,
)
from haha_exabgp.wire.options import AlternateCareOfAddress, Authentication, MobileNetworkPrefix

HOME = Address.parse("2001:db8:1::10")
CARE_OF = Address.parse("2001:db8:f0::10")
HOME_AGENT = Address.parse("2001:db8:1::1")
ANYCAST = home_agents_anycast(Prefix.parse("2001:db8:1::/64"))
KEY = bytes(range(16))
FLAGS = BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER

UPDATE_PACKET = bytes.fromhex(
    "6000000000503c4020010db800f00000000000000000001020010db8000100000000000000000001870201020000c910"
    "20010db80001000000000000000000103b06050036c70007c400000f0100031020010db800f000000000000000000010"
    "010200000612004020010db8000101000000000000000000"
)
UPDATE = BindingUpdate(
    sequence=7,
    flags=FLAGS,
    lifetime=60,
    options=(AlternateCareOfAddress(CARE_OF), MobileNetworkPrefix(Prefix.parse("2001:db8:1:100::/64"))),
)

ACKNOWLEDGEMENT_PACKET = bytes.fromhex(
    "6000000000282b4020010db800010000000000000000000120010db800f0000000000000000000108702020100000000"
    "20010db80001000000000000000000103b010600618a00400007000f01020000"
)
ACKNOWLEDGEMENT = BindingAcknowledgement(
    status=Status.ACCEPTED, flags=BindingAcknowledgementFlag.MOBILE_ROUTER, sequence=7, lifetime=60
)

REQUEST_PACKET = bytes.fromhex(
    "6000000000083a4020010db800f00000000000000000001020010db800010000fdfffffffffffffe9000831612348000"
)
REPLY_PACKET = bytes.fromhex(
    "6000000000283a4020010db800010000000000000000000120010db800f0000000000000000000109100247d12348000"
    "20010db800010000000000000000000120010db8000200000000000000000001"
)
REPLY = HomeAgentDiscoveryReply(0x1234, True, (HOME_AGENT, Address.parse("2001:db8:2::1")))

ERROR_HEADER = bytes.fromhex("3b0207005eea020000000000000000000000000000000000")
SIGNED_HEADER = bytes.fromhex("3b030500f1bb0008c400000f00091101000001008e26dd83e31b1a3e31e4010a")


@pytest.mark.requirement("M-GOLD-BU", "M-BU", "M-HAO", "M-CHECKSUM")
def test_binding_update_is_built_octet_for_octet() -> None:
    header = encode_mobility(UPDATE, HOME, HOME_AGENT)
    assert build_mobility(CARE_OF, HOME_AGENT, header, home_address=HOME) == UPDATE_PACKET


@pytest.mark.requirement("M-GOLD-BU", "M-HAO")
def test_binding_update_is_read() -> None:
    packet = parse_packet(UPDATE_PACKET)
    assert isinstance(packet, MobilityPacket)
    assert (packet.source, packet.destination, packet.home_address) == (CARE_OF, HOME_AGENT, HOME)
    assert packet.routing_home_address is None
    assert packet.offset == 64
    assert decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination) == UPDATE


@pytest.mark.requirement("M-CHECKSUM")
def test_binding_update_with_the_checksum_over_the_care_of_address_is_dropped() -> None:
    assert encode_mobility(UPDATE, CARE_OF, HOME_AGENT)[4:6].hex() == "35d8"
    wrong = UPDATE_PACKET.replace(bytes.fromhex("36c7"), bytes.fromhex("35d8"))
    packet = parse_packet(wrong)
    assert isinstance(packet, MobilityPacket)
    with pytest.raises(MalformedPacket) as caught:
        decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
    assert caught.value.reason is DropReason.BAD_CHECKSUM


@pytest.mark.requirement("M-GOLD-BA", "M-BA", "M-RH2", "M-CHECKSUM")
def test_binding_acknowledgement_is_built_octet_for_octet() -> None:
    header = encode_mobility(ACKNOWLEDGEMENT, HOME_AGENT, HOME)
    packet = build_mobility(HOME_AGENT, CARE_OF, header, routing_home_address=HOME)
    assert packet == ACKNOWLEDGEMENT_PACKET


@pytest.mark.requirement("M-GOLD-BA", "M-RH2")
def test_binding_acknowledgement_is_read() -> None:
    packet = parse_packet(ACKNOWLEDGEMENT_PACKET)
    assert isinstance(packet, MobilityPacket)
    assert packet.home_address is None
    assert packet.routing_home_address == HOME
    message = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
    assert message == ACKNOWLEDGEMENT


@pytest.mark.requirement("M-CHECKSUM")
def test_binding_acknowledgement_with_the_checksum_over_the_care_of_address_is_dropped() -> None:
    assert encode_mobility(ACKNOWLEDGEMENT, HOME_AGENT, CARE_OF)[4:6].hex() == "609b"
    header = bytearray(ACKNOWLEDGEMENT_PACKET[64:])
    header[4:6] = bytes.fromhex("609b")
    with pytest.raises(MalformedPacket) as caught:
        decode_mobility(bytes(header), HOME_AGENT, HOME)
    assert caught.value.reason is DropReason.BAD_CHECKSUM


@pytest.mark.parametrize(
    ("next_header", "packet"), [(60, UPDATE_PACKET), (43, ACKNOWLEDGEMENT_PACKET), (58, REPLY_PACKET)]
)
def test_what_a_raw_socket_gives_reads_like_the_whole_packet(next_header: int, packet: bytes) -> None:
    whole = parse_packet(packet)
    assert parse_from(next_header, packet[40:], whole.source, whole.destination) == whole


@pytest.mark.requirement("M-GOLD-DHAAD", "M-DHAAD")
def test_discovery_request_both_ways() -> None:
    request = HomeAgentDiscoveryRequest(0x1234, mobile_router=True)
    message = encode_icmpv6(request, CARE_OF, ANYCAST)
    assert build_icmpv6(CARE_OF, ANYCAST, message) == REQUEST_PACKET
    packet = parse_packet(REQUEST_PACKET)
    assert isinstance(packet, IcmpPacket)
    assert (packet.source, packet.destination, packet.offset) == (CARE_OF, ANYCAST, 40)
    assert decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination) == request


@pytest.mark.requirement("M-GOLD-DHAAD", "M-DHAAD")
def test_discovery_reply_both_ways() -> None:
    message = encode_icmpv6(REPLY, HOME_AGENT, CARE_OF)
    assert build_icmpv6(HOME_AGENT, CARE_OF, message) == REPLY_PACKET
    packet = parse_packet(REPLY_PACKET)
    assert isinstance(packet, IcmpPacket)
    assert decode_icmpv6(packet.message, packet.source, packet.destination) == REPLY


@pytest.mark.requirement("M-GOLD-BE", "M-BE")
def test_binding_error_both_ways() -> None:
    error = BindingError(2, UNSPECIFIED)
    # The vector's addresses are not told; its checksum comes out between the Home Agent and the
    # mobile router.
    assert encode_mobility(error, HOME_AGENT, CARE_OF) == ERROR_HEADER
    assert decode_mobility(ERROR_HEADER, HOME_AGENT, CARE_OF) == error


@pytest.mark.requirement("M-GOLD-AUTH", "M-AUTH")
def test_signed_binding_update_both_ways() -> None:
    update = BindingUpdate(sequence=8, flags=FLAGS, lifetime=60)
    signed = sign(update, HOME, HOME_AGENT, key=KEY, spi=256, care_of_address=CARE_OF, home_address=HOME)
    assert signed == SIGNED_HEADER
    found = find_authentication(SIGNED_HEADER)
    assert found is not None
    assert (found.option.spi, found.offset) == (256, 13)
    assert verify(SIGNED_HEADER, found, KEY, CARE_OF, HOME)
    decoded = decode_mobility(SIGNED_HEADER, HOME, HOME_AGENT)
    assert decoded == BindingUpdate(8, FLAGS, 60, (Authentication(1, 256, SIGNED_HEADER[20:]),))


PACKETS = [UPDATE_PACKET, ACKNOWLEDGEMENT_PACKET, REQUEST_PACKET, REPLY_PACKET]
HEADERS = [UPDATE_PACKET[64:], ACKNOWLEDGEMENT_PACKET[64:], ERROR_HEADER, SIGNED_HEADER]


@pytest.mark.parametrize("packet", PACKETS)
def test_a_packet_cut_anywhere_is_malformed(packet: bytes) -> None:
    for length in range(len(packet)):
        with pytest.raises(MalformedPacket):
            parse_packet(packet[:length])


@pytest.mark.parametrize(("next_header", "packet"), [(60, UPDATE_PACKET), (43, ACKNOWLEDGEMENT_PACKET)])
def test_raw_socket_data_cut_anywhere_is_malformed(next_header: int, packet: bytes) -> None:
    for length in range(40, len(packet)):
        with pytest.raises(MalformedPacket) as caught:
            parse_from(next_header, packet[40:length], CARE_OF, HOME_AGENT)
        assert caught.value.reason is DropReason.TRUNCATED


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.requirement("M-FRAME")
def test_a_mobility_header_cut_anywhere_is_malformed(header: bytes) -> None:
    for length in range(len(header)):
        for read in (lambda cut: decode_mobility(cut, HOME, HOME_AGENT), find_authentication):
            with pytest.raises(MalformedPacket) as caught:
                read(header[:length])
            assert caught.value.reason is DropReason.TRUNCATED


@pytest.mark.parametrize("packet", [REQUEST_PACKET, REPLY_PACKET])
def test_an_icmpv6_message_cut_anywhere_is_malformed(packet: bytes) -> None:
    for length in range(40, len(packet)):
        with pytest.raises(MalformedPacket):
            decode_icmpv6(packet[40:length], packet[8:24], packet[24:40])


@pytest.mark.parametrize("packet", PACKETS)
def test_padding_of_the_link_layer_is_ignored(packet: bytes) -> None:
    assert parse_packet(packet + bytes(10)) == parse_packet(packet)
