"""Where each mobility option starts, what its octets are, and which ones are refused."""

from __future__ import annotations

from typing import get_args

import pytest

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.haha_options import HAHA_OPTIONS
from haha_exabgp.wire.mobility import (
    BindingUpdate,
    BindingUpdateFlag,
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
    every_option,
    first_option,
)

SOURCE = Address.parse("2001:db8:1::10")
DESTINATION = Address.parse("2001:db8:1::1")
CARE_OF = Address.parse("2001:db8:f0::10")
PREFIX = Prefix.parse("2001:db8:1:100::/64")
C = "20010db800f000000000000000000010"

# Option, octets of its TLV, step and rest of its alignment.
TABLE: list[tuple[MobilityOption, str, int, int]] = [
    (BindingRefreshAdvice(40), "0202000a", 2, 0),
    (AlternateCareOfAddress(CARE_OF), f"0310{C}", 8, 6),
    (NonceIndices(1, 0x203), "040400010203", 2, 0),
    (BindingAuthorizationData(bytes(range(12))), "050c000102030405060708090a0b", 8, 2),
    (MobileNetworkPrefix(PREFIX), "0612004020010db8000101000000000000000000", 8, 4),
    (MobileNodeIdentifier(1, b"mr@home"), "0808016d7240686f6d65", 1, 0),
    (Authentication(1, 0x1000, b"\xaa" * 12), "09110100001000" + "aa" * 12, 4, 1),
    (ReplayProtection(0x83AA7E8080000000), "0a0883aa7e8080000000", 8, 2),
    (VendorSpecific(64500, 7, b"x"), "13060000fbf40778", 4, 2),
    (ProxyTimestamp(0x000065A0B1C2D3E4), "1b08000065a0b1c2d3e4", 8, 2),
    (RestartCounter(5), "1c0400000005", 4, 2),
    (BindingIdentifier(9, 0, True), "230400090080", 2, 0),
    (BindingIdentifier(9, 4, False, bytes((192, 0, 2, 1))), "230800090400c0000201", 8, 2),
    (BindingIdentifier(9, 0, False, CARE_OF), f"231400090000{C}", 8, 2),
]
PARAMETERS = [
    pytest.param(
        *row,
        marks=pytest.mark.requirement(f"M-OPT-{int(row[1][:2], 16)}", "M-OPT"),
        id=f"{type(row[0]).__name__}-{len(row[1]) // 2}",
    )
    for row in TABLE
]
KNOWN = {0, 1, 18, *(int(row[1][:2], 16) for row in TABLE)}


def update(*options: MobilityOption) -> BindingUpdate:
    return BindingUpdate(1, BindingUpdateFlag.HOME_REGISTRATION, 60, options)


def raw(tail: str) -> bytes:
    """A Binding Update with these octets behind its fixed part, checksum not set."""
    octets = bytes.fromhex(tail)
    assert len(octets) % 8 == 4
    return bytes((59, (len(octets) + 4) // 8, 5, 0, 0, 0, 0, 1, 0x40, 0, 0, 15)) + octets


@pytest.mark.parametrize("before", range(8))
@pytest.mark.parametrize(("option", "octets", "step", "rest"), PARAMETERS)
def test_starts_at_its_alignment_wherever_the_one_before_ends(
    option: MobilityOption, octets: str, step: int, rest: int, before: int
) -> None:
    if isinstance(option, BindingAuthorizationData):
        filler: tuple[MobilityOption, ...] = (MobileNodeIdentifier(1, bytes(before)),)
    else:
        filler = (MobileNodeIdentifier(1, b"\x55" * before),)
    end = 12 + 3 + before
    header = encode_mobility(update(*filler, option), SOURCE, DESTINATION)
    start = end + (rest - end) % step
    tlv = bytes.fromhex(octets)
    assert header[start : start + len(tlv)] == tlv
    gap = start - end
    assert header[end:start] == (b"", b"\0")[gap] if gap < 2 else bytes((1, gap - 2)) + bytes(gap - 2)
    tail = len(header) - start - len(tlv)
    assert tail < 8
    assert header[len(header) - tail :] == (
        (b"", b"\0")[tail] if tail < 2 else bytes((1, tail - 2)) + bytes(tail - 2)
    )
    assert decode_mobility(header, SOURCE, DESTINATION) == update(*filler, option)


@pytest.mark.parametrize(("option", "octets", "step", "rest"), PARAMETERS)
def test_a_known_option_of_a_wrong_length_is_malformed(
    option: MobilityOption, octets: str, step: int, rest: int
) -> None:
    code, right = bytes.fromhex(octets)[:2]
    least = {8: 1, 9: 5, 19: 5}
    for length in range(0, 40):
        if code == 5 or length == right or (code == 35 and length in (4, 8, 20)):
            continue
        if code in least and length >= least[code]:
            continue
        tail = bytes((code, length)) + bytes(length)
        tail += bytes(-(len(tail) + 12) % 8)
        with pytest.raises(MalformedPacket) as caught:
            decode_unchecked(raw(tail.hex()))
        # The length of the option is at fault, behind the 12 octets of the message.
        assert (caught.value.reason, caught.value.offset) == (DropReason.BAD_OPTION, 13)


@pytest.mark.requirement("M-CAPACITY")
def test_the_first_prefix_needs_no_padding_and_each_further_one_takes_24_octets() -> None:
    prefixes = [MobileNetworkPrefix(Prefix.of(PREFIX.address, length)) for length in range(48, 48 + 75)]
    for count in (1, 2, 75):
        header = encode_mobility(update(*prefixes[:count]), SOURCE, DESTINATION)
        assert header[12] == 6
        assert len(header) == 12 + 20 + 24 * (count - 1)


@pytest.mark.requirement("M-CAPACITY", "M-FRAME")
def test_85_prefixes_fit_and_86_do_not() -> None:
    options = [MobileNetworkPrefix(PREFIX)] * 86
    assert len(encode_mobility(update(*options[:85]), SOURCE, DESTINATION)) == 2048
    with pytest.raises(ValueError, match="2048"):
        encode_mobility(update(*options), SOURCE, DESTINATION)


@pytest.mark.requirement("M-OPT", "M-OPT-0", "M-OPT-1")
def test_unknown_types_and_padding_are_skipped_without_a_word() -> None:
    # type 200 of 3 octets, Pad1, PadN with content, then a Restart Counter
    message = decode_unchecked(raw("c803aabbcc" + "00" + "0102ffff" + "1c0400000007" + "00000000"))
    assert message.options == (RestartCounter(7),)


@pytest.mark.requirement("M-OPT")
@pytest.mark.parametrize("code", sorted(set(range(256)) - KNOWN))
def test_every_type_that_is_not_known_is_skipped_wherever_it_stands(code: int) -> None:
    unknown = bytes((code, 3)).hex() + "0605ff"
    message = decode_unchecked(raw(unknown + "1c0400000007" + unknown + "00" * 4))
    assert message.options == (RestartCounter(7),)


def test_every_option_has_a_row_here_or_among_those_between_home_agents() -> None:
    assert {type(row[0]) for row in TABLE} | set(HAHA_OPTIONS) == set(get_args(MobilityOption))


@pytest.mark.requirement("M-OPT-18")
def test_unknown_haha_kinds_and_empty_experimental_options_are_skipped() -> None:
    message = decode_unchecked(raw("1200" + "1203c80102" + "1c0400000007" + "00" * 7))
    assert message.options == (RestartCounter(7),)


@pytest.mark.parametrize("tail", ["0000001c", "000000c8", "0b030000", "1c040000"])
def test_an_option_past_the_end_is_malformed(tail: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        decode_unchecked(raw(tail))
    assert caught.value.reason is DropReason.TRUNCATED_OPTION


def test_a_prefix_longer_than_an_address_is_malformed() -> None:
    with pytest.raises(MalformedPacket) as caught:
        decode_unchecked(raw("06120081" + "00" * 16))
    assert caught.value.reason is DropReason.BAD_OPTION


def test_host_bits_of_a_prefix_are_cleared() -> None:
    message = decode_unchecked(raw("0612003f" + "20010db8000101010000000000000001"))
    assert message.options == (MobileNetworkPrefix(Prefix.parse("2001:db8:1:100::/63")),)


@pytest.mark.parametrize(
    "option",
    [
        BindingRefreshAdvice(41),
        BindingRefreshAdvice(262144),
        RestartCounter(1 << 32),
        ReplayProtection(-1),
        MobileNodeIdentifier(1, bytes(255)),
        MobileNodeIdentifier(256, b""),
        AlternateCareOfAddress(Address(bytes(15))),
        BindingIdentifier(1, 0, False, bytes(5)),
        MobileNetworkPrefix(Prefix(PREFIX.address, 256)),
    ],
)
def test_a_value_out_of_range_is_not_sent(option: MobilityOption) -> None:
    with pytest.raises(ValueError):
        encode_mobility(update(option), SOURCE, DESTINATION)


@pytest.mark.requirement("M-OPT-5")
def test_nothing_is_sent_behind_binding_authorization_data() -> None:
    with pytest.raises(ValueError, match="last"):
        encode_mobility(update(BindingAuthorizationData(bytes(12)), RestartCounter(1)), SOURCE, DESTINATION)


@pytest.mark.requirement("M-OPT-5")
def test_binding_authorization_data_gets_no_padding_behind_it() -> None:
    header = encode_mobility(update(BindingAuthorizationData(b"\xaa" * 12)), SOURCE, DESTINATION)
    assert header.endswith(b"\xaa" * 12)
    with pytest.raises(ValueError, match="padding"):
        encode_mobility(update(BindingAuthorizationData(b"\xaa" * 11)), SOURCE, DESTINATION)


def test_options_are_found_by_class() -> None:
    options = (RestartCounter(1), MobileNetworkPrefix(PREFIX), RestartCounter(2))
    assert first_option(options, RestartCounter) == RestartCounter(1)
    assert first_option(options, NonceIndices) is None
    assert every_option(options, RestartCounter) == [RestartCounter(1), RestartCounter(2)]
