"""Which addresses discovery requests go to (RFC 2526)."""

from __future__ import annotations

import pytest

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast, is_home_agents_anycast


@pytest.mark.parametrize(
    ("prefix", "anycast"),
    [
        ("2001:db8:1::/64", "2001:db8:1:0:fdff:ffff:ffff:fffe"),
        ("2001:db8::/32", "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe"),
        ("2001:db8:1::/48", "2001:db8:1:ffff:ffff:ffff:ffff:fffe"),
        ("2001:db8:1:2::/63", "2001:db8:1:3:ffff:ffff:ffff:fffe"),
        ("2001:db8:1:2::/65", "2001:db8:1:2:7fff:ffff:ffff:fffe"),
        ("2001:db8:1:2::/120", "2001:db8:1:2::fe"),
        ("2001:db8:1:2::/121", "2001:db8:1:2::7e"),
    ],
)
@pytest.mark.requirement("M-ANYCAST")
def test_address_of_a_home_subnet(prefix: str, anycast: str) -> None:
    home = Prefix.parse(prefix)
    assert home_agents_anycast(home) == Address.parse(anycast)
    assert is_home_agents_anycast(Address.parse(anycast), home)


@pytest.mark.parametrize("length", [122, 127, 128])
def test_a_subnet_without_room_for_the_identifier_has_none(length: int) -> None:
    prefix = Prefix.of(Address.parse("2001:db8::7e"), length)
    with pytest.raises(ValueError, match="no room"):
        home_agents_anycast(prefix)
    assert not is_home_agents_anycast(prefix.address, prefix)


@pytest.mark.requirement("M-ANYCAST-HOME")
def test_every_home_subnet_of_any_length_is_recognised_inside_the_aggregate() -> None:
    home = Prefix.parse("2001:db8::/32")
    somewhere = Address.parse("2001:db8:1:2:3:4:5:0600")
    for length in range(32, 121):
        assert is_home_agents_anycast(home_agents_anycast(Prefix.of(somewhere, length)), home)


@pytest.mark.parametrize(
    "address",
    [
        "2001:db9:1:0:fdff:ffff:ffff:fffe",  # another Home
        "2001:db8:1:0:fdff:ffff:ffff:ffff",  # identifier 127
        "2001:db8:1:0:fdff:ffff:ffff:fffd",
        "2001:db8:1:0:fdff:ffff:ffff:ff7e",  # the bit in front of the identifier is clear
        "2001:db8:1::1",
        "2001:db8::",
    ],
)
def test_other_addresses_are_not_taken(address: str) -> None:
    assert not is_home_agents_anycast(Address.parse(address), Prefix.parse("2001:db8::/32"))


def test_a_partition_does_not_take_the_aggregate_form() -> None:
    aggregate = home_agents_anycast(Prefix.parse("2001:db8::/32"))
    assert not is_home_agents_anycast(aggregate, Prefix.parse("2001:db8:1::/48"))
