"""The text of the packet filter, and what permits put into its sets."""

from __future__ import annotations

import re

import pytest

from haha_exabgp.kernel.guard_config import TUNNEL_MSS, HomeAgentGuardConfig, MobileRouterGuardConfig
from haha_exabgp.kernel.guard_mobile_router import render_mobile_router
from haha_exabgp.kernel.guard_rules import render_home_agent
from haha_exabgp.kernel.guard_sets import (
    bound_elements,
    in_whole_octets,
    permit_elements,
    set_lengths,
    watched_elements,
    watched_lengths,
    watched_piece,
)
from haha_exabgp.kernel.guard_text import without_table
from haha_exabgp.protocol.nesting import MOST_NESTED
from haha_exabgp.wire.address import Address, Prefix

CARE_OF = Address.parse("3fff:f01::10")
CONFIG = HomeAgentGuardConfig(
    home=Prefix.parse("2001:db8::/32"),
    partition=Prefix.parse("2001:db8::/46"),
    haha=Address.parse("2001:db8:ffff::1"),
    tunnel_ends=frozenset({Address.parse("3fff:101::a")}),
    peers=frozenset(),
    peer_hahas=frozenset(),
)


@pytest.mark.parametrize(("length", "pieces"), [(128, 1), (64, 1), (60, 16), (57, 128), (56, 1), (0, 1)])
def test_prefix_in_whole_octets_covers_the_same_addresses(length: int, pieces: int) -> None:
    prefix = Prefix.of(Address.parse("2001:db8:1:23f0:ffff:ffff:ffff:ffff"), length)
    found = list(in_whole_octets(prefix))
    assert len(set(found)) == pieces
    assert all(piece.length % 8 == 0 and prefix.covers(piece) for piece in found)
    assert sum(2 ** (128 - piece.length) for piece in found) == 2 ** (128 - length)


def test_permit_is_a_pair_of_outer_address_and_inner_octets() -> None:
    assert permit_elements(
        [
            (CARE_OF, Prefix.parse("2001:db8:1:100::/64")),
            (CARE_OF, Prefix.parse("2001:db8:1::10/128")),
            (CARE_OF, Prefix.parse("2001:db8:1:200::/64")),
        ]
    ) == {
        "permit64": [
            CARE_OF + bytes.fromhex("20010db800010100"),
            CARE_OF + bytes.fromhex("20010db800010200"),
        ],
        "permit128": [CARE_OF + Address.parse("2001:db8:1::10")],
    }


def test_admitted_prefix_is_its_octets() -> None:
    assert bound_elements([Prefix.parse("2001:db8:1:100::/64"), Prefix.parse("2001:db8:1:2fe::/63")]) == {
        "bound64": [
            bytes.fromhex("20010db800010100"),
            bytes.fromhex("20010db8000102fe"),
            bytes.fromhex("20010db8000102ff"),
        ]
    }


def test_watched_prefix_is_its_octets_and_back() -> None:
    prefixes = [Prefix.parse("2001:db8:1:100::/64"), Prefix.parse("2001:db8:1:200::/55")]
    elements = watched_elements(prefixes)
    assert elements == {
        "watched64": [bytes.fromhex("20010db800010100")],
        "watched56": [bytes.fromhex("20010db800010200"), bytes.fromhex("20010db800010300")],
    }
    found = [watched_piece(int(name[7:]), one) for name, keys in elements.items() for one in keys]
    pieces = [piece for prefix in prefixes for piece in in_whole_octets(prefix)]
    assert found == pieces


def test_only_where_prefixes_are_watched_packets_are_looked_up_for_it() -> None:
    assert "watched" not in render_home_agent(CONFIG, {64, 128})
    text = render_home_agent(CONFIG, {64, 128}, {64})
    assert text.index("@watched64 continue") < text.index("@bound64 accept")
    assert watched_lengths(re.findall(r"^\tset (\w+) {", text, re.MULTILINE)) == {64}


def test_fields_of_a_key_are_padded_to_words() -> None:
    prefix = Prefix.parse("2001:db8:1:100::/56")
    assert permit_elements([(CARE_OF, prefix)]) == {
        "permit56": [CARE_OF + bytes.fromhex("20010db8000101 00")]
    }
    assert bound_elements([prefix]) == {"bound56": [bytes.fromhex("20010db8000101 00")]}


def test_lengths_are_read_off_the_names_of_sets() -> None:
    text = render_home_agent(CONFIG, {48, 128})
    assert set_lengths(re.findall(r"^\tset (\w+) {", text, re.MULTILINE)) == {48, 128}


def test_table_of_a_home_agent_keeps_the_elements_of_its_bindings() -> None:
    text = render_home_agent(CONFIG, {64, 128})
    assert "delete" not in text
    assert set(re.findall(r"flush set ip6 haha (\w+)", text)) == {"tunnel_ends", "peers", "peer_hahas"}
    assert re.findall(r"set (\w+) {[^}]*elements", text) == ["tunnel_ends"]
    assert text.count("{") == text.count("}")


def test_table_can_take_the_place_of_another_in_one_transaction() -> None:
    text = without_table(render_home_agent(CONFIG, {64, 128}))
    assert text.startswith("table ip6 haha {\n}\ndelete table ip6 haha\ntable ip6 haha {\n")


def test_partition_of_any_length_is_accepted_from_peers() -> None:
    text = render_home_agent(CONFIG, {64})
    assert "@th,192,48 { 0x20010db80000, 0x20010db80001, 0x20010db80002, 0x20010db80003 } accept" in text


def test_every_drop_is_counted_under_a_name_that_exists() -> None:
    router = MobileRouterGuardConfig(CARE_OF, (Prefix.parse("2001:db8:1:100::/64"),), "lan0")
    for text in (render_home_agent(CONFIG, {64}), render_mobile_router(router, frozenset(), frozenset())):
        declared = set(re.findall(r"^\tcounter (\w+) {", text, re.MULTILINE))
        drops = re.findall(r"^\t\t.* drop$", text, re.MULTILINE)
        used = {name for line in drops for name in re.findall(r"counter name (\w+) drop$", line)}
        assert all("counter name" in line for line in drops)
        assert used == declared


@pytest.mark.requirement("N-2")
def test_every_chain_that_is_jumped_to_is_there() -> None:
    text = render_home_agent(CONFIG, {64, 128})
    chains = set(re.findall(r"^\tchain (\w+) {", text, re.MULTILINE))
    assert set(re.findall(r"(?:jump|goto) (\w+)$", text, re.MULTILINE)) <= chains
    assert {f"tunnelled{level}" for level in range(2, MOST_NESTED + 1)} <= chains
    assert f"tunnelled{MOST_NESTED + 1}" not in chains


def test_packets_in_one_tunnel_are_looked_up_once_for_each_length() -> None:
    text = render_home_agent(CONFIG, {64, 128})
    (chain,) = re.findall(r"^\tchain tunnelled {\n(.*?)^\t}", text, re.MULTILINE | re.DOTALL)
    assert re.findall(r"@permit\d+", chain) == ["@permit128", "@permit64"]
    assert len(chain.splitlines()) == 7


def test_the_kernel_reads_raw_payload_of_the_first_255_octets_only() -> None:
    """nft_payload has one octet for the offset."""
    text = render_home_agent(CONFIG, {64, 128})
    assert max(int(at) for at in re.findall(r"@th,(\d+),", text)) <= 255 * 8


@pytest.mark.parametrize("networks", [(), (Prefix.parse("2001:db8:1:100::/64"),)], ids=["none", "one"])
def test_mobile_router_without_networks_has_a_filter_too(networks: tuple[Prefix, ...]) -> None:
    text = render_mobile_router(MobileRouterGuardConfig(CARE_OF, networks, "lan0"), frozenset(), frozenset())
    assert not re.search(r"{ *}", text)
    assert "meta l4proto 41 jump tunnelled" in text


@pytest.mark.requirement("T-1")
def test_two_tunnel_layers_and_tcp_fit_into_an_ethernet_packet() -> None:
    ipv6, tcp = 40, 20
    assert TUNNEL_MSS + tcp + ipv6 + 2 * ipv6 == 1500
