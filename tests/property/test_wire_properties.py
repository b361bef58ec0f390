"""What holds for every message: it comes back as it went, and no octets whatever raise a surprise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast, is_home_agents_anycast
from haha_exabgp.wire.authentication import find_authentication, sign, verify
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.codes import (
    BindingAcknowledgementFlag,
    BindingUpdateFlag,
    HahaFlag,
    HahaOperation,
    RevocationFlag,
)
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.haha_options import (
    BindingCacheInformation,
    Egress,
    HahaAddress,
    HelloInformation,
    HomePrefix,
    MobilitySequence,
    RelayedBindingUpdate,
    RelayedPart,
    RoutedPrefix,
    join_relayed,
    split_relayed,
)
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
)
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, build_mobility, parse_from, parse_packet
from haha_exabgp.wire.messages import BY_MESSAGE
from haha_exabgp.wire.mobility import (
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
    decode_mobility,
    decode_unchecked,
    encode_mobility,
)
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    BindingAuthorizationData,
    BindingIdentifier,
    BindingRefreshAdvice,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    MobilityOption,
    NonceIndices,
    ProxyTimestamp,
    ReplayProtection,
    RestartCounter,
    VendorSpecific,
)
from haha_exabgp.wire.timestamp import from_unix_ns, to_unix_ns

# A busy machine must not make a right result a failure: no deadlines.
some = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(some, max_examples=800)

u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
addresses = st.binary(min_size=16, max_size=16).map(Address)
routable = st.binary(min_size=15, max_size=15).map(lambda rest: Address(b"\x20" + rest))
prefixes = st.builds(Prefix.of, addresses, st.integers(0, 128))
lifetimes = u16.map(lambda units: units * 4)
cookies = st.binary(min_size=8, max_size=8)
update_flags = st.integers(0, 0xFFF).map(lambda bits: BindingUpdateFlag(bits << 4))
acknowledgement_flags = st.integers(0, 0x7F).map(lambda bits: BindingAcknowledgementFlag(bits << 1))
revocation_flags = st.integers(0, 7).map(lambda bits: RevocationFlag(bits << 13))
small = st.binary(max_size=40)

haha_options = st.one_of(
    st.builds(HelloInformation, u16, u32, u16, u16),
    st.builds(HomePrefix, prefixes, u8),
    st.builds(HahaAddress, u8, addresses),
    st.builds(BindingCacheInformation, update_flags, u16, lifetimes, addresses, addresses),
    st.builds(Egress, u8, addresses),
    st.builds(RoutedPrefix, prefixes),
    st.builds(MobilitySequence, u32),
    st.builds(RelayedPart, u8, u8, st.binary(min_size=1, max_size=250)),
)
unsigned_options = st.one_of(
    st.builds(BindingRefreshAdvice, lifetimes),
    st.builds(AlternateCareOfAddress, addresses),
    st.builds(NonceIndices, u16, u16),
    st.builds(MobileNetworkPrefix, prefixes),
    st.builds(MobileNodeIdentifier, u8, small),
    st.builds(ReplayProtection, u64),
    st.builds(VendorSpecific, u32, u8, small),
    st.builds(ProxyTimestamp, u64),
    st.builds(RestartCounter, u32),
    st.builds(
        BindingIdentifier,
        u16,
        u8,
        st.booleans(),
        st.one_of(st.just(b""), st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    ),
    haha_options,
)
authentications = st.builds(Authentication, u8, u32, small)
unsigned_lists = st.lists(unsigned_options, max_size=5).map(tuple)
option_lists = st.tuples(
    st.lists(unsigned_options | authentications, max_size=5),
    st.lists(st.builds(BindingAuthorizationData, st.binary(min_size=12, max_size=12)), max_size=1),
).map(lambda lists: (*lists[0], *lists[1]))


def messages(options: st.SearchStrategy[tuple[MobilityOption, ...]]) -> st.SearchStrategy[MobilityMessage]:
    return st.one_of(
        st.builds(BindingRefreshRequest, options),
        st.builds(HomeTestInit, cookies, options),
        st.builds(CareOfTestInit, cookies, options),
        st.builds(HomeTest, u16, cookies, cookies, options),
        st.builds(CareOfTest, u16, cookies, cookies, options),
        st.builds(BindingUpdate, u16, update_flags, lifetimes, options),
        st.builds(BindingAcknowledgement, u8, acknowledgement_flags, u16, lifetimes, options),
        st.builds(BindingError, u8, addresses, options),
        st.builds(HomeAgentSwitch, st.lists(addresses, max_size=5).map(tuple), options),
        st.builds(Heartbeat, u32, st.booleans(), st.booleans(), options),
        st.builds(BindingRevocationIndication, u8, u16, revocation_flags, options),
        st.builds(BindingRevocationAcknowledgement, u8, u16, revocation_flags, options),
        st.builds(
            HahaMessage,
            st.sampled_from(HahaOperation),
            st.integers(0, 15).map(HahaFlag),
            u16,
            u16,
            options,
        ),
    )


prefix_information = st.builds(
    PrefixInformation,
    addresses,
    st.integers(0, 128),
    u32,
    u32,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
icmp_messages = st.one_of(
    st.builds(HomeAgentDiscoveryRequest, u16, st.booleans()),
    st.builds(HomeAgentDiscoveryReply, u16, st.booleans(), st.lists(addresses, max_size=6).map(tuple)),
    st.builds(MobilePrefixSolicitation, u16),
    st.builds(
        MobilePrefixAdvertisement,
        u16,
        st.booleans(),
        st.booleans(),
        st.lists(prefix_information, max_size=4).map(tuple),
    ),
    st.builds(IcmpError, st.sampled_from(IcmpErrorType), u8, u32, st.binary(max_size=1232)),
)

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


@many
@given(messages(option_lists), addresses, addresses)
def test_every_mobility_message_comes_back(
    message: MobilityMessage, source: Address, destination: Address
) -> None:
    header = encode_mobility(message, source, destination)
    assert len(header) % 8 == 0
    assert decode_mobility(header, source, destination) == message


@some
@given(icmp_messages, addresses, addresses)
def test_every_icmpv6_message_comes_back(message: IcmpMessage, source: Address, destination: Address) -> None:
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
@given(st.integers(0, 4_200_000_000 * 10**9))
def test_every_nanosecond_until_2103_comes_back_from_ntp(nanoseconds: int) -> None:
    assert to_unix_ns(from_unix_ns(nanoseconds)) == nanoseconds
