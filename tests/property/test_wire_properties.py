"""What holds for every message: it comes back as it went, and no octets whatever raise a surprise."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast, is_home_agents_anycast
from haha_exabgp.wire.authentication import find_authentication, sign, verify
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.haha_options import RelayedBindingUpdate, join_relayed, split_relayed
from haha_exabgp.wire.icmpv6 import IcmpMessage, decode_icmpv6, encode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, build_mobility, parse_from, parse_packet
from haha_exabgp.wire.messages import BY_MESSAGE, BindingUpdate
from haha_exabgp.wire.mobility import MobilityMessage, decode_mobility, decode_unchecked, encode_mobility
from haha_exabgp.wire.options import MobilityOption
from haha_exabgp.wire.timestamp import from_unix, to_unix
from tests.property.wire_strategies import (
    ICMP_MESSAGES,
    OPTIONS,
    addresses,
    messages,
    messages_by_class,
    option_lists,
    prefixes,
    routable,
    u32,
    unsigned_lists,
)

# A busy machine must not make a right result a failure: no deadlines.
some = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(some, max_examples=800)

MESSAGES = messages_by_class(option_lists)
SOURCE = Address.parse("2001:db8:1:1::10")
DESTINATION = Address.parse("3fff:101::a")


def value_or_malformed(read: Callable[[], object]) -> object:
    """What `read` returns, or the reason of its MalformedPacket; any other exception is a failure."""
    try:
        return read()
    except MalformedPacket as error:
        assert isinstance(error.reason, DropReason)
        return error.reason


def read_everything(header: bytes) -> None:
    """Everything that is done to a Mobility Header of a stranger."""
    value_or_malformed(lambda: decode_mobility(header, SOURCE, DESTINATION))
    message = value_or_malformed(lambda: decode_unchecked(header))
    if type(message) in BY_MESSAGE:
        value_or_malformed(lambda: join_relayed(message.options))  # type: ignore[attr-defined]
    found = value_or_malformed(lambda: find_authentication(header))
    if found is not None and not isinstance(found, DropReason):
        verify(header, found, b"key", SOURCE, DESTINATION)  # type: ignore[arg-type]


def test_every_class_of_the_codecs_has_a_strategy() -> None:
    assert set(MESSAGES) == set(BY_MESSAGE)
    assert set(OPTIONS) == set(get_args(MobilityOption))
    assert set(ICMP_MESSAGES) == set(get_args(IcmpMessage))


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@some
@given(st.data(), addresses, addresses)
def test_every_mobility_message_comes_back(
    kind: type, data: st.DataObject, source: Address, destination: Address
) -> None:
    message = data.draw(MESSAGES[kind])
    assert type(message) is kind
    header = encode_mobility(message, source, destination)
    assert len(header) % 8 == 0
    assert decode_mobility(header, source, destination) == message


@pytest.mark.parametrize("kind", OPTIONS, ids=lambda kind: kind.__name__)
@some
@given(st.data(), unsigned_lists)
def test_every_option_comes_back_behind_any_others(
    kind: type, data: st.DataObject, others: tuple[MobilityOption, ...]
) -> None:
    option = data.draw(OPTIONS[kind])
    assert type(option) is kind
    message = BindingUpdate(1, BindingUpdateFlag.HOME_REGISTRATION, 60, (*others, option))
    header = encode_mobility(message, SOURCE, DESTINATION)
    assert decode_mobility(header, SOURCE, DESTINATION) == message


@pytest.mark.parametrize("kind", ICMP_MESSAGES, ids=lambda kind: kind.__name__)
@some
@given(st.data(), addresses, addresses)
def test_every_icmpv6_message_comes_back(
    kind: type, data: st.DataObject, source: Address, destination: Address
) -> None:
    message = data.draw(ICMP_MESSAGES[kind])
    assert type(message) is kind
    octets = encode_icmpv6(message, source, destination)
    assert decode_icmpv6(octets, source, destination) == message


@some
@given(messages(unsigned_lists), st.none() | routable, st.none() | routable, routable, routable)
def test_every_packet_comes_back_whole_and_from_a_raw_socket(
    message: MobilityMessage,
    home_address: Address | None,
    routing_home_address: Address | None,
    source: Address,
    destination: Address,
) -> None:
    header = encode_mobility(message, home_address or source, routing_home_address or destination)
    packet = build_mobility(
        source,
        destination,
        header,
        home_address=home_address,
        routing_home_address=routing_home_address,
    )
    parsed = parse_packet(packet)
    offset = len(packet) - len(header)
    assert parsed == MobilityPacket(source, destination, home_address, routing_home_address, offset, header)
    assert parse_from(packet[6], packet[40:], source, destination) == parsed
    assert decode_mobility(header, parsed.checksum_source, parsed.checksum_destination) == message


@some
@given(messages(unsigned_lists), st.binary(min_size=1, max_size=32), u32, addresses, addresses)
@pytest.mark.requirement("M-AUTH")
def test_every_signed_message_verifies_and_says_the_same(
    message: MobilityMessage, key: bytes, spi: int, care_of_address: Address, home_address: Address
) -> None:
    header = sign(
        message,
        SOURCE,
        DESTINATION,
        key=key,
        spi=spi,
        care_of_address=care_of_address,
        home_address=home_address,
    )
    found = find_authentication(header)
    assert found is not None
    assert found.option.spi == spi
    assert verify(header, found, key, care_of_address, home_address)
    assert not verify(header, found, key + b"x", care_of_address, home_address)
    decoded = decode_mobility(header, SOURCE, DESTINATION)
    assert decoded.options == (*message.options, found.option)


@many
@given(st.binary(max_size=300))
def test_arbitrary_octets_give_a_value_or_a_named_reason(octets: bytes) -> None:
    read_everything(octets)
    value_or_malformed(lambda: parse_packet(octets))
    for next_header in (0, 43, 44, 58, 60, 135):
        value_or_malformed(lambda: parse_from(next_header, octets, SOURCE, DESTINATION))  # noqa: B023
    value_or_malformed(lambda: decode_icmpv6(octets, SOURCE, DESTINATION))


@many
@given(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16]), st.binary(min_size=5, max_size=261))
def test_arbitrary_octets_behind_a_good_frame_give_a_value_or_a_named_reason(
    code: int, octets: bytes
) -> None:
    length = (len(octets) + 3) // 8 * 8
    header = bytearray(bytes((59, length // 8 - 1, code)) + octets)[:length]
    header[4:6] = bytes(2)
    header[4:6] = internet_checksum(SOURCE, DESTINATION, 135, header).to_bytes(2, "big")
    read_everything(bytes(header))


@many
@given(messages(option_lists), st.data())
def test_flipped_bits_give_a_value_or_a_named_reason(message: MobilityMessage, data: st.DataObject) -> None:
    header = encode_mobility(message, SOURCE, DESTINATION)
    packet = build_mobility(
        SOURCE, DESTINATION, header, home_address=SOURCE, routing_home_address=DESTINATION
    )
    bits = data.draw(st.lists(st.integers(0, len(packet) * 8 - 1), min_size=1, max_size=4, unique=True))
    flipped = bytearray(packet)
    for bit in bits:
        flipped[bit // 8] ^= 1 << bit % 8
    octets = bytes(flipped)
    read_everything(octets[-len(header) :])
    parsed = value_or_malformed(lambda: parse_packet(octets))
    assert isinstance(parsed, MobilityPacket | IcmpPacket | DropReason)
    if isinstance(parsed, MobilityPacket):
        read_everything(parsed.header)


@some
@given(messages(unsigned_lists), st.data())
def test_one_flipped_bit_in_a_mobility_header_is_a_bad_checksum(
    message: MobilityMessage, data: st.DataObject
) -> None:
    header = bytearray(encode_mobility(message, SOURCE, DESTINATION))
    # Header Len (octet 1) says which octets are summed at all.
    bit = data.draw(st.integers(0, len(header) * 8 - 1).filter(lambda bit: bit // 8 != 1))
    header[bit // 8] ^= 1 << bit % 8
    outcome = value_or_malformed(lambda: decode_mobility(bytes(header), SOURCE, DESTINATION))
    assert outcome is DropReason.BAD_CHECKSUM


@some
@given(addresses, st.binary(max_size=2040))
@pytest.mark.requirement("M-HAHA-RELAY")
def test_every_relayed_update_is_put_together_again(care_of_address: Address, body: bytes) -> None:
    units = len(body) // 8
    header = bytes((59, units, 5, 0, 0, 0, 0, 0)) + body[: units * 8]
    relayed = RelayedBindingUpdate(care_of_address, header)
    parts = split_relayed(relayed)
    assert all(0 < len(part.content) <= 250 for part in parts)
    assert join_relayed(parts) == relayed


@some
@given(prefixes.filter(lambda prefix: prefix.length <= 120), st.integers(0, 120))
@pytest.mark.requirement("M-ANYCAST", "M-ANYCAST-HOME")
def test_every_anycast_address_lies_in_its_subnet_and_is_recognised(home: Prefix, longer: int) -> None:
    subnet = Prefix.of(home.address, max(home.length, longer))
    anycast = home_agents_anycast(subnet)
    assert subnet.contains(anycast)
    assert is_home_agents_anycast(anycast, home)


@some
@given(st.floats(0, 4_200_000_000))
def test_every_moment_until_2103_comes_back_from_ntp(seconds: float) -> None:
    assert abs(to_unix(from_unix(seconds)) - seconds) < 1e-6
