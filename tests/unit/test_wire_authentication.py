"""RFC 4285: what the authenticator covers, and what may not stand behind it."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import (
    Algorithm,
    FoundAuthentication,
    find_authentication,
    sign,
    verify,
    verify_aaa,
)
from haha_exabgp.wire.checksum import internet_checksum
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingAcknowledgementFlag,
    BindingUpdate,
    BindingUpdateFlag,
    HomeAgentSwitch,
    MobilityMessage,
    decode_mobility,
    encode_mobility,
)
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    AuthenticationSubtype,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    ReplayProtection,
    RestartCounter,
)

HOME = Address.parse("2001:db8:1::10")
CARE_OF = Address.parse("2001:db8:f0::10")
HOME_AGENT = Address.parse("2001:db8:1::1")
KEY = bytes(range(16))
UPDATE = BindingUpdate(
    9,
    BindingUpdateFlag(0xC400),
    600,
    (
        AlternateCareOfAddress(CARE_OF),
        MobileNetworkPrefix(Prefix.parse("2001:db8:1:100::/64")),
        ReplayProtection(0xEC00000012345678),
    ),
)
ACKNOWLEDGEMENT = BindingAcknowledgement(
    0, BindingAcknowledgementFlag.MOBILE_ROUTER, 9, 600, (ReplayProtection(0xEC00000012345678),)
)


def signed(message: MobilityMessage, source: Address = HOME, destination: Address = HOME_AGENT) -> bytes:
    return sign(message, source, destination, key=KEY, spi=4096, care_of_address=CARE_OF, home_address=HOME)


def found_in(header: bytes) -> FoundAuthentication:
    found = find_authentication(header)
    assert found is not None
    return found


def padded(header: bytearray) -> bytes:
    """Close a hand-made Mobility Header: pad with Pad1, set Header Len and checksum."""
    header += bytes(-len(header) % 8)
    header[1] = len(header) // 8 - 1
    header[4:6] = bytes(2)
    header[4:6] = internet_checksum(HOME, HOME_AGENT, 135, header).to_bytes(2, "big")
    return bytes(header)


@pytest.mark.parametrize(
    "message",
    [UPDATE, ACKNOWLEDGEMENT, HomeAgentSwitch((HOME_AGENT,)), BindingUpdate(1, BindingUpdateFlag(0), 0)],
)
@pytest.mark.requirement("M-AUTH", "M-OPT-9")
def test_the_authenticator_is_as_rfc_4285_says(message: MobilityMessage) -> None:
    header = signed(message)
    offset = found_in(header).offset
    assert offset % 4 == 1
    assert header[offset : offset + 7].hex() == "0911" + "01" + "00001000"
    mh_data = header[:4] + b"\0\0" + header[6 : offset + 7]
    expected = hmac.new(KEY, CARE_OF + HOME + mh_data, hashlib.sha1).digest()[:12]
    assert header[offset + 7 : offset + 19] == expected
    assert set(header[offset + 19 :]) <= {0, 1, 2}


@pytest.mark.requirement("M-AUTH-SHA256")
@pytest.mark.parametrize("message", [UPDATE, ACKNOWLEDGEMENT])
def test_with_sha256_everything_but_the_digest_is_the_same(message: MobilityMessage) -> None:
    header = sign(
        message,
        HOME,
        HOME_AGENT,
        key=KEY,
        spi=4096,
        care_of_address=CARE_OF,
        home_address=HOME,
        algorithm=Algorithm.HMAC_SHA256,
    )
    found = found_in(header)
    offset = found.offset
    mh_data = header[:4] + b"\0\0" + header[6 : offset + 7]
    expected = hmac.new(KEY, CARE_OF + HOME + mh_data, hashlib.sha256).digest()[:12]
    assert header[offset + 7 : offset + 19] == expected
    assert header[6 : offset + 7] == signed(message)[6 : offset + 7]
    assert verify(header, found, KEY, CARE_OF, HOME, algorithm=Algorithm.HMAC_SHA256)
    assert not verify(header, found, KEY, CARE_OF, HOME)
    other = signed(message)
    assert not verify(other, found_in(other), KEY, CARE_OF, HOME, algorithm=Algorithm.HMAC_SHA256)


@pytest.mark.requirement("M-AUTH-LAST")
def test_the_option_is_the_last_and_the_rest_is_unchanged() -> None:
    decoded = decode_mobility(signed(UPDATE), HOME, HOME_AGENT)
    assert isinstance(decoded, BindingUpdate)
    assert decoded.options[:-1] == UPDATE.options
    assert isinstance(decoded.options[-1], Authentication)
    assert decoded.options[-1].spi == 4096


@pytest.mark.parametrize(
    ("key", "care_of_address", "home_address"),
    [(bytes(16), CARE_OF, HOME), (KEY, HOME_AGENT, HOME), (KEY, CARE_OF, HOME_AGENT), (KEY, HOME, CARE_OF)],
)
@pytest.mark.requirement("M-AUTH")
def test_another_key_or_address_does_not_verify(
    key: bytes, care_of_address: Address, home_address: Address
) -> None:
    header = signed(UPDATE)
    assert verify(header, found_in(header), KEY, CARE_OF, HOME)
    assert not verify(header, found_in(header), key, care_of_address, home_address)


@pytest.mark.parametrize("message", [UPDATE, ACKNOWLEDGEMENT])
@pytest.mark.requirement("M-AUTH")
def test_no_flipped_bit_changes_what_an_authenticated_message_says(message: MobilityMessage) -> None:
    header = signed(message)
    meaning = decode_mobility(header, HOME, HOME_AGENT)
    survivors = 0
    for bit in range(len(header) * 8):
        octets = bytearray(header)
        octets[bit // 8] ^= 1 << bit % 8
        octets[4:6] = bytes(2)
        octets[4:6] = internet_checksum(HOME, HOME_AGENT, 135, octets).to_bytes(2, "big")
        try:
            changed = bytes(octets)
            found = find_authentication(changed)
            if found is None or not verify(changed, found, KEY, CARE_OF, HOME):
                continue
            decoded = decode_mobility(changed, HOME, HOME_AGENT)
        except MalformedPacket:
            continue
        survivors += 1
        assert decoded == meaning
    # Only the repaired checksum and trailing padding may be touched.
    assert survivors <= 16 + 32


def test_the_checksum_may_be_rewritten_on_the_way() -> None:
    header = signed(ACKNOWLEDGEMENT, HOME_AGENT, HOME)
    elsewhere = signed(ACKNOWLEDGEMENT, HOME_AGENT, CARE_OF)
    assert header != elsewhere
    assert header[6:] == elsewhere[6:]


@pytest.mark.parametrize(
    "smuggled",
    [
        "12050700000009",  # a mobility sequence: small enough for the room that padding has
        "c800",  # a type not known here
        "1c0400000001",
        "09050000000000",  # an authentication option of a subtype not known here
        "0911010000100000000000000000000000000000",  # a second MN-HA
    ],
)
@pytest.mark.requirement("M-AUTH-LAST")
def test_nothing_may_stand_behind_the_authenticator(smuggled: str) -> None:
    header = signed(UPDATE)
    offset = found_in(header).offset
    forged = padded(bytearray(header[: offset + 19]) + bytes.fromhex(smuggled))
    with pytest.raises(MalformedPacket) as caught:
        find_authentication(forged)
    assert caught.value.reason is DropReason.AUTHENTICATION_NOT_LAST


def with_options(*options: Authentication | RestartCounter) -> bytes:
    return encode_mobility(BindingUpdate(1, BindingUpdateFlag(0), 60, options), HOME, HOME_AGENT)


@pytest.mark.requirement("M-AUTH-LAST")
def test_mn_aaa_may_follow_mn_ha_and_each_is_found() -> None:
    home, aaa = Authentication(1, 256, bytes(12)), Authentication(2, 3, bytes(20))
    header = with_options(home, aaa)
    assert found_in(header).option == home
    found = find_authentication(header, AuthenticationSubtype.MN_AAA)
    assert found is not None
    assert found.option == aaa
    assert header[found.offset : found.offset + 3].hex() == "091902"


@pytest.mark.requirement("M-AUTH-LAST")
def test_mn_ha_after_mn_aaa_is_malformed() -> None:
    with pytest.raises(MalformedPacket) as caught:
        find_authentication(with_options(Authentication(2, 3, bytes(20)), Authentication(1, 256, bytes(12))))
    assert caught.value.reason is DropReason.AUTHENTICATION_NOT_LAST


def test_a_message_without_the_option_has_none() -> None:
    assert find_authentication(encode_mobility(UPDATE, HOME, HOME_AGENT)) is None
    assert find_authentication(with_options(Authentication(2, 3, bytes(20)))) is None
    assert find_authentication(with_options(Authentication(7, 3, b""), RestartCounter(1))) is None


@pytest.mark.parametrize("octets", [0, 11, 13, 20])
def test_an_authenticator_of_another_length_does_not_verify(octets: int) -> None:
    header = with_options(Authentication(1, 256, bytes(octets)))
    assert not verify(header, found_in(header), KEY, CARE_OF, HOME)


def test_options_with_the_look_of_an_authenticator_inside_are_not_mistaken_for_one() -> None:
    identifier = MobileNodeIdentifier(1, bytes.fromhex("0911010000100000000000"))
    message = BindingUpdate(1, BindingUpdateFlag(0), 60, (identifier,))
    assert find_authentication(encode_mobility(message, HOME, HOME_AGENT)) is None
    assert found_in(signed(message)).offset > 12 + 14


def test_an_address_list_in_front_of_the_options_is_skipped() -> None:
    header = signed(HomeAgentSwitch((Address(bytes.fromhex("0911") * 8),) * 3))
    assert found_in(header).offset == 8 + 48 + 1


def test_a_message_is_not_signed_twice_nor_past_its_length() -> None:
    with pytest.raises(ValueError, match="already"):
        signed(BindingUpdate(1, BindingUpdateFlag(0), 60, (Authentication(1, 256, bytes(12)),)))
    prefixes = (MobileNetworkPrefix(Prefix.parse("2001:db8:1:100::/64")),) * 85
    with pytest.raises(ValueError, match="2048"):
        signed(BindingUpdate(1, BindingUpdateFlag(0), 60, prefixes))
    assert len(signed(BindingUpdate(1, BindingUpdateFlag(0), 60, prefixes[1:]))) == 2048


# MN-AAA (RFC 4285 s.5.2)

AAA_KEY = bytes(range(100, 116))


def signed_twice(message: MobilityMessage = UPDATE) -> bytes:
    return sign(
        message,
        HOME,
        HOME_AGENT,
        key=KEY,
        spi=4096,
        care_of_address=CARE_OF,
        home_address=HOME,
        aaa_key=AAA_KEY,
    )


def aaa_in(header: bytes) -> FoundAuthentication:
    found = find_authentication(header, AuthenticationSubtype.MN_AAA)
    assert found is not None
    return found


@pytest.mark.requirement("M-AUTH-AAA")
def test_mn_aaa_is_what_the_rfc_says_worked_out_by_hand() -> None:
    """The layout octet by octet, the authenticator with nothing but hashlib."""
    header = signed_twice(BindingUpdate(8, BindingUpdateFlag(0xC400), 60))
    # Frame, Binding Update, Pad1, MN-HA (19 octets), Pad1, MN-AAA (27 octets), padding to 64.
    assert len(header) == 64 and header[1] == 7
    assert header[12:20].hex() == "00 09 11 01 00001000".replace(" ", "")
    assert header[32:40].hex() == "00 09 19 02 00000003".replace(" ", "")
    covered = header[:4] + bytes(2) + header[6:40]
    inner = hashlib.sha1(CARE_OF + HOME + covered).digest()
    pad = AAA_KEY.ljust(64, b"\0")
    outer = bytes(octet ^ 0x5C for octet in pad)
    mac = hashlib.sha1(outer + hashlib.sha1(bytes(octet ^ 0x36 for octet in pad) + inner).digest()).digest()
    assert header[40:60] == mac
    assert header[60:].hex() == "01020000"
    assert internet_checksum(HOME, HOME_AGENT, 135, header) == 0


@pytest.mark.requirement("M-AUTH-AAA", "M-AUTH-LAST")
def test_both_authenticators_are_right_each_for_its_own_key() -> None:
    header = signed_twice()
    assert verify(header, found_in(header), KEY, CARE_OF, HOME)
    assert verify_aaa(header, aaa_in(header), AAA_KEY, CARE_OF, HOME)
    assert not verify_aaa(header, aaa_in(header), KEY, CARE_OF, HOME)
    assert not verify_aaa(header, aaa_in(header), AAA_KEY, HOME, CARE_OF)
    message = decode_mobility(header, HOME, HOME_AGENT)
    assert message.options[:3] == UPDATE.options


@pytest.mark.requirement("M-AUTH-AAA")
def test_another_spi_than_that_of_hmac_sha1_is_never_right() -> None:
    header = signed_twice()
    found = aaa_in(header)
    changed = bytearray(header)
    changed[found.offset + 6] = 4
    assert not verify_aaa(bytes(changed), aaa_in(bytes(changed)), AAA_KEY, CARE_OF, HOME)


def test_a_message_too_long_for_the_second_authenticator_is_refused() -> None:
    options = tuple(MobileNodeIdentifier(1, bytes(240)) for _ in range(8))
    room = (MobileNodeIdentifier(1, bytes(54)),)
    message = BindingUpdate(1, BindingUpdateFlag(0xC400), 60, (*options, *room))
    signed(message)
    with pytest.raises(ValueError, match="2048 is the most"):
        signed_twice(message)
