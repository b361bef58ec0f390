"""Addresses and prefixes in the form of the packet path, against the standard library's."""

from __future__ import annotations

import random
from ipaddress import IPv6Address, IPv6Network

import pytest

from haha_exabgp.wire.address import UNSPECIFIED, Address, Prefix


def test_an_address_is_its_16_octets_and_reads_like_any_other() -> None:
    address = Address.parse("2001:DB8:0:0::00:10")
    assert address == bytes.fromhex("20010db8000000000000000000000010")
    assert (str(address), repr(address)) == ("2001:db8::10", "Address('2001:db8::10')")
    assert bytes(16) == UNSPECIFIED
    for text in ("2001:db8::g", "192.0.2.1", "2001:db8::/64", ""):
        with pytest.raises(ValueError):
            Address.parse(text)


@pytest.mark.parametrize(
    ("text", "multicast", "routable"),
    [
        ("::", False, False),
        ("::1", False, False),
        ("::2", False, False),
        ("::1:0", False, True),
        ("fe7f:ffff::1", False, True),
        ("fe80::1", False, False),
        ("febf:ffff::1", False, False),
        ("fec0::1", False, True),
        ("fd00::1", False, True),
        ("feff::1", False, True),
        ("ff00::", True, False),
        ("ff02::1", True, False),
        ("2001:db8::1", False, True),
        ("7f80::1", False, True),
    ],
)
def test_which_addresses_can_be_routed_to(text: str, multicast: bool, routable: bool) -> None:
    address = Address.parse(text)
    assert address.is_multicast is multicast
    assert address.is_routable_unicast is routable


def test_prefixes_contain_and_cover_as_in_the_standard_library() -> None:
    chance = random.Random(4291)
    for _ in range(3000):
        number = chance.getrandbits(128)
        near = number ^ (1 << chance.randrange(128))
        length, other = chance.randrange(129), chance.randrange(129)
        network = IPv6Network((number, length), strict=False)
        prefix = Prefix.of(Address(number.to_bytes(16, "big")), length)
        assert str(prefix) == str(network)
        assert Prefix.parse(str(prefix)) == prefix
        assert prefix.contains(near.to_bytes(16, "big")) == (IPv6Address(near) in network)
        inner = IPv6Network((near, other), strict=False)
        assert prefix.covers(Prefix.parse(str(inner))) == inner.subnet_of(network)


def test_the_prefix_of_one_address() -> None:
    address = Address.parse("2001:db8::10")
    assert Prefix.host(address) == Prefix(address, 128)
    assert str(Prefix.host(address)) == "2001:db8::10/128"


@pytest.mark.parametrize("text", ["2001:db8::1/64", "2001:db8::/129", "2001:db8::/x", "192.0.2.0/24"])
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Prefix.parse(text)
