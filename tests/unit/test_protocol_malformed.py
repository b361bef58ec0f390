"""What a Home Agent answers to a Mobility Header out of form (RFC 6275 s.9.2)."""

from __future__ import annotations

import pytest

from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.icmpv6 import IcmpError, IcmpErrorType, decode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, build_mobility, parse_packet
from haha_exabgp.wire.mobility import BindingError, decode_mobility
from tests.unit.conftest import ACCESS, HOA, World, peer

SOURCE, OUTER = ACCESS[1], peer(1).outer


def packet_with(header: str, *, source: Address = SOURCE, home_address: Address | None = HOA) -> bytes:
    """A packet with this Mobility Header, its checksum made right."""
    octets = bytearray.fromhex(header)
    octets[4:6] = internet_checksum(home_address or source, OUTER, 135, octets).to_bytes(2, "big")
    return build_mobility(source, OUTER, bytes(octets), home_address=home_address)


def answers(world: World, packet: bytes) -> list[bytes]:
    received = parse_packet(packet)
    assert isinstance(received, MobilityPacket)
    world.agents[1].receive_mobility(received, world.now)
    return [one.packet for one in world.agents[1].take_effects() if isinstance(one, Transmit)]


@pytest.mark.requirement("M-RECEIVE")
@pytest.mark.parametrize("home_address", [HOA, None])
@pytest.mark.parametrize(
    ("header", "reason", "offset"),
    [
        ("060105 00 0000 0001 c400 0096 01020000", "bad_payload_proto", 0),
        ("06010d 00 0000 0000 00000001 01020000", "bad_payload_proto", 0),
        ("3b0005 00 0000 0001", "header_len_too_short", 1),
        ("3b0010 00 0000 0100", "header_len_too_short", 1),
    ],
)
def test_a_parameter_problem_points_at_the_octet_and_goes_straight_to_the_source(
    world: World, header: str, reason: str, offset: int, home_address: Address | None
) -> None:
    source = SOURCE if home_address else HOA
    sent = packet_with(header, source=source, home_address=home_address)
    before = world.snapshot()
    (answer,) = answers(world, sent)
    packet = parse_packet(answer)
    assert isinstance(packet, IcmpPacket)
    assert (packet.source, packet.destination, packet.routing_home_address) == (OUTER, source, None)
    pointer = len(sent) - len(bytes.fromhex(header)) + offset
    expected = IcmpError(IcmpErrorType.PARAMETER_PROBLEM, 0, pointer, sent)
    assert decode_icmpv6(packet.message, packet.source, packet.destination) == expected
    assert world.agents[1].counters[f"dropped_{reason}"] == 1
    assert world.snapshot() == before


@pytest.mark.requirement("M-RECEIVE", "M-BE")
def test_an_unknown_type_comes_before_the_payload_proto_and_gets_a_binding_error(world: World) -> None:
    (answer,) = answers(world, packet_with("060063 00 0000 0000"))
    packet = parse_packet(answer)
    assert isinstance(packet, MobilityPacket)
    error = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
    assert error == BindingError(2, HOA)


@pytest.mark.requirement("M-RECEIVE")
@pytest.mark.parametrize("header", ["060005 00 0000 0001", "3b010d 00 0000 0000 00000001 01020000"])
def test_a_wrong_checksum_gets_no_answer_whatever_else_is_wrong(world: World, header: str) -> None:
    packet = bytearray(packet_with(header))
    packet[-len(bytes.fromhex(header)) + 5] ^= 1
    assert answers(world, bytes(packet)) == []
    assert world.agents[1].counters["dropped_bad_checksum"] == 1


@pytest.mark.requirement("M-RECEIVE")
@pytest.mark.parametrize("source", ["ff02::1", "::", "fe80::1"])
def test_nobody_is_told_who_cannot_be_reached(world: World, source: str) -> None:
    packet = packet_with("06010d 00 0000 0000 00000001 01020000", source=Address.parse(source))
    assert answers(world, packet) == []
    assert world.agents[1].counters["dropped_bad_payload_proto"] == 1


@pytest.mark.requirement("M-RECEIVE")
def test_answers_to_strangers_have_a_limit(world: World) -> None:
    packet = packet_with("06010d 00 0000 0000 00000001 01020000")
    sent = sum(len(answers(world, packet)) for _ in range(5000))
    assert 0 < sent < 1000
    assert world.agents[1].counters["dropped_too_many_errors"] == 5000 - sent
