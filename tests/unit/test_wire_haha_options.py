"""The options between Home Agents, octet for octet, and Binding Updates relayed in parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import find_authentication, sign, verify
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.haha_options import (
    AddressRole,
    BindingCacheInformation,
    Egress,
    HahaAddress,
    HahaOption,
    HeardHomeAgent,
    HelloInformation,
    HomePrefix,
    LeakDamping,
    MobilitySequence,
    PrefixRole,
    RelayedAcknowledgement,
    RelayedBindingUpdate,
    RelayedPart,
    RoutedPrefix,
    UpdateTimestamp,
    join_relayed,
    split_relayed,
)
from haha_exabgp.wire.mobility import (
    BindingUpdate,
    BindingUpdateFlag,
    HahaFlag,
    HahaMessage,
    HahaOperation,
    decode_mobility,
    decode_unchecked,
    encode_mobility,
)
from haha_exabgp.wire.options import MobileNetworkPrefix, RestartCounter

HOME = Address.parse("2001:db8:1:1::10")
CARE_OF = Address.parse("3fff:f00::10")
HA1 = Address.parse("3fff:101::a")
HA2 = Address.parse("3fff:102::a")
HOME_HEX = "20010db8000100010000000000000010"
CARE_OF_HEX = "3fff0f00000000000000000000000010"
KEY = bytes(range(16))

LAYOUTS: list[tuple[HahaOption, str]] = [
    (HelloInformation(1, 0x3E8, 2, 3), "120c 01 00 0001 000003e8 0002 0003"),
    (
        HomePrefix(Prefix.parse("2001:db8:1::/48"), PrefixRole.PRIMARY_PARTITION),
        f"1213 02 30 02 20010db80001{'00' * 10}",
    ),
    (HahaAddress(AddressRole.HOME_ADDRESS, HOME), f"1212 03 01 {HOME_HEX}"),
    (
        BindingCacheInformation(BindingUpdateFlag(0xC400), 7, 600, HOME, CARE_OF),
        f"1229 04 c400 0000 0007 0096 {HOME_HEX} {CARE_OF_HEX}",
    ),
    (Egress(41, HA1), "1212 05 29 3fff010100000000000000000000000a"),
    (RoutedPrefix(Prefix.parse("2001:db8:1:100::/64")), f"1212 06 40 20010db800010100{'00' * 8}"),
    (MobilitySequence(0xDEADBEEF), "1205 07 deadbeef"),
    (UpdateTimestamp(0x0123456789ABCDEF), "1209 09 0123456789abcdef"),
    (LeakDamping(180), "1205 10 000000b4"),
    (HeardHomeAgent(HA1, 0x102, 1), "1214 14 01 0102 3fff010100000000000000000000000a"),
    (RelayedPart(1, 2, b"abc"), "1206 08 01 02 616263"),
    (RelayedAcknowledgement(bytes.fromhex("3b000600aabb0000")), "1209 11 3b000600aabb0000"),
]
IDS = [type(row[0]).__name__ for row in LAYOUTS]


def message(*options: HahaOption) -> HahaMessage:
    return HahaMessage(HahaOperation.HELLO, HahaFlag(0), 0, 0, options)


def unsealed(tail: bytes) -> bytes:
    tail += bytes(-(len(tail) + 12) % 8)
    return bytes((59, (len(tail) + 4) // 8, 11, 0, 0, 0, 1, 0x10, 0, 0, 0, 0)) + tail


@pytest.mark.parametrize(("option", "layout"), LAYOUTS, ids=IDS)
@pytest.mark.requirement("M-HAHA-OPT", "M-OPT-18")
def test_layout_both_ways(option: HahaOption, layout: str) -> None:
    octets = bytes.fromhex(layout)
    header = encode_mobility(message(option), HA1, HA2)
    assert header[12 : 12 + len(octets)] == octets
    assert decode_mobility(header, HA1, HA2) == message(option)


@pytest.mark.parametrize(("option", "layout"), LAYOUTS[:7], ids=IDS[:7])
@pytest.mark.requirement("M-HAHA-OPT")
def test_a_known_kind_of_a_wrong_length_is_malformed(option: HahaOption, layout: str) -> None:
    octets = bytes.fromhex(layout)
    for length in range(1, 60):
        if length == octets[1]:
            continue
        body = (octets[2:] + bytes(60))[:length]
        with pytest.raises(MalformedPacket) as caught:
            decode_unchecked(unsealed(bytes((18, length)) + body))
        assert (caught.value.reason, caught.value.offset) == (DropReason.BAD_OPTION, 13)


@pytest.mark.parametrize("octets", ["120111", "1208113b0006000000", "1209113b010600aabb0000"])
def test_a_relayed_acknowledgement_that_is_no_whole_mobility_header_is_malformed(octets: str) -> None:
    tail = bytes.fromhex(octets)
    with pytest.raises(MalformedPacket) as caught:
        decode_unchecked(unsealed(tail))
    assert (caught.value.reason, caught.value.offset) == (DropReason.BAD_OPTION, 13)


def test_a_relayed_acknowledgement_fits_into_one_option() -> None:
    with pytest.raises(ValueError, match="250 is the most"):
        encode_mobility(message(RelayedAcknowledgement(bytes((59, 31)) + bytes(254))), HA1, HA2)


@pytest.mark.parametrize("octets", ["120102", "12020801", "12030801ff", "12ff0801ff" + "00" * 252])
def test_a_relayed_part_without_content_or_with_too_much_is_malformed(octets: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        decode_unchecked(unsealed(bytes.fromhex(octets)))
    assert caught.value.reason is DropReason.BAD_OPTION


@pytest.mark.parametrize("octets", [f"1213 02 81 01 {'00' * 16}", f"1212 06 ff {'00' * 16}"])
def test_a_prefix_longer_than_an_address_is_malformed(octets: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        decode_unchecked(unsealed(bytes.fromhex(octets)))
    assert caught.value.reason is DropReason.BAD_OPTION


@pytest.mark.parametrize(
    "option",
    [
        MobilitySequence(1 << 32),
        HelloInformation(65536, 0, 0),
        BindingCacheInformation(BindingUpdateFlag(0), 1, 6, HOME, CARE_OF),
        RelayedPart(1, 1, b""),
        RelayedPart(1, 1, bytes(251)),
        RelayedPart(1, 256, b"a"),
    ],
)
def test_a_value_out_of_range_is_not_sent(option: HahaOption) -> None:
    with pytest.raises(ValueError):
        encode_mobility(message(option), HA1, HA2)


def relayed(prefixes: int) -> RelayedBindingUpdate:
    update = BindingUpdate(
        5,
        BindingUpdateFlag(0xC400),
        600,
        tuple(MobileNetworkPrefix(Prefix.of(HOME, length)) for length in range(40, 40 + prefixes)),
    )
    header = sign(update, HOME, HA2, key=KEY, spi=4096, care_of_address=CARE_OF, home_address=HOME)
    return RelayedBindingUpdate(CARE_OF, header)


@pytest.mark.parametrize("prefixes", [0, 1, 8, 9, 20, 75])
@pytest.mark.requirement("M-HAHA-RELAY", "S-4")
def test_a_relayed_update_arrives_whole_and_its_authenticator_still_verifies(prefixes: int) -> None:
    original = relayed(prefixes)
    parts = split_relayed(original)
    upstream = BindingUpdate(77, BindingUpdateFlag(0xC400), 600, (*parts, MobilitySequence(3)))
    received = decode_mobility(encode_mobility(upstream, HOME, HA1), HOME, HA1)
    assert isinstance(received, BindingUpdate)
    joined = join_relayed(received.options)
    assert joined == original
    found = find_authentication(joined.header)
    assert found is not None
    assert verify(joined.header, found, KEY, joined.care_of_address, HOME)
    inner = decode_unchecked(joined.header)
    assert isinstance(inner, BindingUpdate)
    assert inner.sequence == 5


@pytest.mark.requirement("M-HAHA-RELAY")
def test_parts_are_cut_at_250_octets() -> None:
    parts = split_relayed(relayed(20))
    assert [len(part.content) for part in parts] == [250, 250, len(relayed(20).header) + 16 - 500]
    assert [(part.part, part.parts) for part in parts] == [(1, 3), (2, 3), (3, 3)]


def test_a_message_without_parts_relays_nothing() -> None:
    assert join_relayed((RestartCounter(1), MobilitySequence(1))) is None


def broken_parts() -> dict[str, list[RelayedPart]]:
    first, second, third = split_relayed(relayed(20))
    return {
        "last missing": [first, second],
        "first missing": [second, third],
        "middle missing": [first, third],
        "twice": [first, second, second, third],
        "out of order": [second, first, third],
        "disagree on the number": [first, replace(second, parts=4), third],
        "numbered from 0": [replace(first, part=0), replace(second, part=1), replace(third, part=2)],
        "content missing": [first, replace(second, content=second.content[:-1]), third],
        "content too much": [first, second, replace(third, content=third.content + b"x")],
        "shorter than an address": [RelayedPart(1, 1, bytes(15))],
        "shorter than a header": [RelayedPart(1, 1, bytes(23))],
        "parts of none": [RelayedPart(1, 0, bytes(24))],
    }


@pytest.mark.parametrize("how", broken_parts())
@pytest.mark.requirement("M-HAHA-RELAY")
def test_parts_that_do_not_fit_are_malformed(how: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        join_relayed(broken_parts()[how])
    assert caught.value.reason is DropReason.BAD_RELAYED_PARTS
