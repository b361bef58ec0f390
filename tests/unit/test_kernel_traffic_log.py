"""Whom a logged tunnel packet was for, and what is logged."""

from __future__ import annotations

import pytest

from haha_exabgp.kernel.guard_config import HomeAgentGuardConfig
from haha_exabgp.kernel.guard_rules import render_home_agent
from haha_exabgp.kernel.traffic_log import SNAP_LENGTH, inner_destination
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import build_ipv6

SOURCE, EXIT = Address.parse("3fff:103::a"), Address.parse("3fff:101::a")
HOST = Address.parse("2001:db8:1:100::10")
INNER = build_ipv6(Address.parse("3fff:c::10"), HOST, 17, bytes(8))
LIMIT = bytes((41, 0, 4, 1, 4, 1, 1, 0))
"""Destination options with a Tunnel Encapsulation Limit (RFC 2473 s.4.1.1)."""


@pytest.mark.parametrize(
    "packet", [build_ipv6(SOURCE, EXIT, 41, INNER), build_ipv6(SOURCE, EXIT, 60, LIMIT + INNER)]
)
def test_the_inner_destination_of_a_tunnel_packet(packet: bytes) -> None:
    assert inner_destination(packet) == inner_destination(packet[:SNAP_LENGTH]) == HOST


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes(200),
        INNER,
        build_ipv6(SOURCE, EXIT, 41, INNER)[:79],
        build_ipv6(SOURCE, EXIT, 60, LIMIT + INNER)[:41],
        build_ipv6(SOURCE, EXIT, 60, b"\x29\xff" + bytes(6) + INNER),
        build_ipv6(SOURCE, EXIT, 60, b"\x3a" + LIMIT[1:] + INNER),
        build_ipv6(SOURCE, EXIT, 41, b"\x45" + INNER[1:]),
    ],
)
def test_what_is_no_whole_tunnel_packet_has_none(packet: bytes) -> None:
    assert inner_destination(packet) is None


def test_nothing_is_logged_where_nobody_asks_for_it() -> None:
    config = HomeAgentGuardConfig(
        home=Prefix.parse("2001:db8::/32"),
        partition=Prefix.parse("2001:db8:1::/48"),
        haha=Address.parse("2001:db8:ffff::1"),
        tunnel_ends=frozenset({EXIT}),
        peers=frozenset({SOURCE}),
        peer_hahas=frozenset({Address.parse("2001:db8:ffff::3")}),
    )
    assert "log group" not in render_home_agent(config, {64})
