"""Extension headers around a mobility message: where they stand, and which ones are refused."""

from __future__ import annotations

import pytest

from haha_exabgp.wire.address import Address
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.ipv6 import (
    IcmpPacket,
    MobilityPacket,
    build_icmpv6,
    build_ipv6,
    build_mobility,
    parse_from,
    parse_packet,
)
from haha_exabgp.wire.mobility import Heartbeat, encode_mobility

SOURCE = Address.parse("3fff:101::a")
DESTINATION = Address.parse("3fff:102::a")
HOME = Address.parse("2001:db8:1:1::10")
HEADER = encode_mobility(Heartbeat(1), SOURCE, DESTINATION)
HAO = b"\xc9\x10" + HOME


def options_header(*options: bytes, next_header: int = 135) -> bytes:
    """A destination options header with these options, closed by Pad1."""
    body = b"".join(options)
    body += bytes(-(len(body) + 2) % 8)
    return bytes((next_header, (len(body) + 2) // 8 - 1)) + body


def routing_header(
    *,
    routing_type: int = 2,
    segments_left: int = 1,
    units: int = 2,
    home: bytes = HOME,
    next_header: int = 135,
) -> bytes:
    return bytes((next_header, units, routing_type, segments_left, 0, 0, 0, 0)) + home[: units * 8]


def packet_of(next_header: int, *parts: bytes) -> bytes:
    return build_ipv6(SOURCE, DESTINATION, next_header, b"".join(parts))


def dropped(packet: bytes) -> MalformedPacket:
    with pytest.raises(MalformedPacket) as caught:
        parse_packet(packet)
    with pytest.raises(MalformedPacket) as again:
        parse_from(packet[6], packet[40:], SOURCE, DESTINATION)
    assert (again.value.reason, again.value.offset) == (caught.value.reason, caught.value.offset)
    return caught.value


def test_header_fields() -> None:
    packet = build_mobility(SOURCE, DESTINATION, HEADER, hop_limit=3)
    assert packet[:8].hex() == "6000000000108703"
    assert packet[8:40] == SOURCE + DESTINATION
    assert packet[40:] == HEADER


@pytest.mark.requirement("M-HAO", "M-RH2")
def test_the_home_address_option_stands_at_8n_plus_6_behind_the_routing_header() -> None:
    packet = build_mobility(SOURCE, DESTINATION, HEADER, home_address=HOME, routing_home_address=DESTINATION)
    assert packet[6] == 43
    assert packet[40:48].hex() == "3c02020100000000"
    assert packet[48:64] == DESTINATION
    assert packet[64:72].hex() == "870201020000c910"
    assert packet[72:88] == HOME
    assert packet[88:] == HEADER
    parsed = parse_packet(packet)
    assert parsed == MobilityPacket(SOURCE, DESTINATION, HOME, DESTINATION, 88, HEADER)
    assert (parsed.checksum_source, parsed.checksum_destination) == (HOME, DESTINATION)


def test_icmpv6_can_carry_both_headers_as_well() -> None:
    packet = build_icmpv6(SOURCE, DESTINATION, b"message", home_address=HOME)
    parsed = parse_packet(packet)
    assert parsed == IcmpPacket(SOURCE, DESTINATION, HOME, None, 64, b"message")
    assert parsed.checksum_source == HOME
    assert parsed.checksum_destination == DESTINATION


@pytest.mark.requirement("M-HAO")
def test_the_home_address_option_is_found_among_others() -> None:
    limit = bytes((4, 1, 4))  # Tunnel Encapsulation Limit (RFC 2473 s.4.1.1)
    parsed = parse_packet(packet_of(60, options_header(limit, b"\0", b"\x1e\x02ab", HAO), HEADER))
    assert parsed.home_address == HOME
    assert isinstance(parsed, MobilityPacket)
    assert parsed.header == HEADER


def test_a_header_with_the_look_of_a_home_address_option_is_none_behind_another_type() -> None:
    looks = options_header(b"\x01\x02\0\0", HAO)
    assert looks[:8].hex() == "870201020000c910"
    parsed = parse_from(135, looks + HEADER, SOURCE, DESTINATION)
    assert parsed == MobilityPacket(SOURCE, DESTINATION, None, None, 40, looks)


def test_two_destination_options_headers_and_a_hop_by_hop_header_are_followed() -> None:
    packet = packet_of(
        0,
        options_header(next_header=60),
        options_header(next_header=43),
        routing_header(next_header=60),
        options_header(HAO),
        HEADER,
    )
    parsed = parse_packet(packet)
    assert (parsed.home_address, parsed.routing_home_address) == (HOME, HOME)
    assert parsed.offset == len(packet) - len(HEADER)


def test_another_routing_header_that_is_used_up_is_skipped() -> None:
    parsed = parse_packet(packet_of(43, routing_header(routing_type=4, segments_left=0), HEADER))
    assert parsed.routing_home_address is None


def test_another_routing_header_with_segments_left_gets_a_parameter_problem() -> None:
    error = dropped(packet_of(43, routing_header(routing_type=4, segments_left=1), HEADER))
    assert (error.reason, error.parameter_problem_code, error.offset) == ("unknown_routing_type", 0, 42)


@pytest.mark.parametrize(
    "header",
    [
        routing_header(segments_left=0),
        routing_header(segments_left=2),
        routing_header(units=1),
        routing_header(units=4, home=HOME + HOME),
        routing_header(home=bytes(16)),
        routing_header(home=Address.parse("ff02::1")),
        routing_header(home=Address.parse("fe80::1")),
        routing_header(next_header=43) + routing_header(),
    ],
)
@pytest.mark.requirement("M-RH2")
def test_a_type_2_routing_header_out_of_form_is_dropped_in_silence(header: bytes) -> None:
    error = dropped(packet_of(43, header, HEADER))
    assert error.reason is DropReason.BAD_ROUTING_HEADER
    assert error.parameter_problem_code is None


@pytest.mark.parametrize("home", ["::", "::1", "ff02::1", "fe80::10"])
@pytest.mark.requirement("M-HAO")
def test_a_home_address_that_cannot_be_one_is_dropped(home: str) -> None:
    option = b"\xc9\x10" + Address.parse(home)
    assert dropped(packet_of(60, options_header(option), HEADER)).reason is DropReason.BAD_HOME_ADDRESS


@pytest.mark.parametrize(
    "header",
    [
        options_header(HAO, HAO),
        options_header(HAO, next_header=60) + options_header(HAO),
        options_header(b"\xc9\x0f" + bytes(15)),
        options_header(b"\xc9\x00"),
        options_header(b"\x01\x20"),
        options_header(b"\0\0\0\0\0\x04"),
    ],
)
@pytest.mark.requirement("M-HAO")
def test_destination_options_out_of_form_are_dropped(header: bytes) -> None:
    assert dropped(packet_of(60, header, HEADER)).reason is DropReason.BAD_DESTINATION_OPTION


def test_an_option_without_its_length_at_the_end_of_the_packet_is_dropped() -> None:
    packet = packet_of(60, options_header(b"\0\0\0\0\0\x04"))
    assert dropped(packet).reason is DropReason.BAD_DESTINATION_OPTION


@pytest.mark.parametrize("kind", [0x40, 0x80, 0xC0, 0xFF])
def test_an_unknown_option_that_asks_for_a_discard_gets_it(kind: int) -> None:
    error = dropped(packet_of(60, options_header(b"\x01\x00", bytes((kind, 0))), HEADER))
    assert error.reason is DropReason.UNKNOWN_DESTINATION_OPTION
    assert error.parameter_problem_code == 2
    assert error.offset == 44


@pytest.mark.parametrize("next_header", [6, 17, 41, 50, 51, 59, 132])
def test_other_upper_layers_are_none_of_our_business(next_header: int) -> None:
    assert dropped(packet_of(next_header, HEADER)).reason is DropReason.NOT_MOBILITY
    packet = packet_of(60, options_header(HAO, next_header=next_header), HEADER)
    assert dropped(packet).reason is DropReason.NOT_MOBILITY


def test_a_fragment_is_named_as_one() -> None:
    assert dropped(packet_of(44, bytes(8), HEADER)).reason is DropReason.FRAGMENTED


def test_a_header_len_past_the_packet_is_truncated() -> None:
    assert dropped(packet_of(135, HEADER[:8])).reason is DropReason.TRUNCATED


def test_another_ip_version_is_refused() -> None:
    packet = bytearray(packet_of(135, HEADER))
    packet[0] = 0x45
    with pytest.raises(MalformedPacket) as caught:
        parse_packet(bytes(packet))
    assert caught.value.reason is DropReason.NOT_IPV6


def test_what_is_too_long_for_a_packet_is_not_sent() -> None:
    with pytest.raises(ValueError, match="65536"):
        build_ipv6(SOURCE, DESTINATION, 59, bytes(65536))
