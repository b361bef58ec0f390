"""rtnetlink routes, octet by octet."""

from __future__ import annotations

import pytest

from haha_exabgp.kernel.ip6_tunnel_messages import Ip6Encapsulate
from haha_exabgp.kernel.netlink import CREATE, REPLACE, attribute, attribute_u32, pull_attributes
from haha_exabgp.kernel.route_messages import (
    Decapsulate,
    Encapsulate,
    Route,
    Unknown,
    Unreachable,
    pull_route,
    push_delete,
    push_replace,
)
from haha_exabgp.wire.address import Address, Prefix

EXIT = Address.parse("3fff:102::a")

ENCAPSULATING = bytes.fromhex(
    "0a400000fe680001000000001400010020010db8000101000000000000000000"
    "2400168020000100030000000002040000000000 3fff010200000000000000000000000a"
    "06001500050000000800060064000000 0800040003000000"
)
"""Recorded from iproute2 6.1: `ip -6 route replace 2001:db8:1:100::/64 encap seg6 mode encap.red
segs 3fff:102::a dev haha0 metric 100 proto 104`, haha0 having index 3."""

BY_IP6TNL = bytes.fromhex(
    "0a400000fe680001000000001400010020010db8000101000000000000000000"
    "34001680140003003fff010100000000000000000000000a140002003fff010200000000000000000000000a0500040040000000"
    "060015000400000008000600640000000800040003000000"
)
"""`ip -6 route replace 2001:db8:1:100::/64 encap ip6 src 3fff:101::a dst 3fff:102::a hoplimit 64 dev haha0
metric 100 proto 104`."""

DECAPSULATING = bytes.fromhex(
    "0a800000c868000100000000140001003fff010200000000000000000000000a"
    "14001680080001000700000008000300000000000600150007000000"
    "0800060001000000 0800040003000000"
)
"""`ip -6 route replace 3fff:102::a/128 encap seg6local action End.DT6 table 0 dev haha0 metric 1 proto 104
table 200`."""


@pytest.mark.parametrize(
    ("recorded", "route"),
    [
        (ENCAPSULATING, Route(Prefix.parse("2001:db8:1:100::/64"), Encapsulate(EXIT, 3), 100)),
        (
            BY_IP6TNL,
            Route(
                Prefix.parse("2001:db8:1:100::/64"),
                Ip6Encapsulate(EXIT, Address.parse("3fff:101::a"), 3),
                100,
            ),
        ),
        (DECAPSULATING, Route(Prefix.host(EXIT), Decapsulate(3), 1, table=200)),
    ],
    ids=["encapsulating", "by-ip6tnl", "decapsulating"],
)
def test_route_is_what_iproute2_sends(recorded: bytes, route: Route) -> None:
    message = push_replace(route)
    assert message.flags == CREATE | REPLACE
    ours, theirs = pull_attributes(message.body, 12), pull_attributes(recorded, 12)
    # We give the table as an attribute too, for numbers that the header's octet does not hold.
    table_attribute = 15
    assert ours.pop(table_attribute) == route.table.to_bytes(4, "little")
    assert (message.body[:12], ours) == (recorded[:12], theirs)
    assert pull_route(recorded) == route


def test_deleting_names_table_prefix_metric_and_our_protocol_only() -> None:
    body = push_delete(Prefix.parse("2001:db8::/32"), 100, 210).body
    destination, priority, table = 1, 6, 15
    assert set(pull_attributes(body, 12)) == {destination, priority, table}
    assert body[5] == 104


def test_routes_of_others_are_not_ours() -> None:
    body = push_replace(Route(Prefix.parse("2001:db8::/32"), Unreachable(), 1)).body
    static = 4
    assert pull_route(body[:5] + bytes([static]) + body[6:]) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"\x03\x00\x00\x00\x00\x02\x04", b"\x01\x00\x00\x00\x00\x02\x04"),
        lambda body: body[:7] + b"\x06" + body[8:],
        lambda body: body + attribute(5, EXIT),
    ],
    ids=["mode-encap", "blackhole", "with-gateway"],
)
def test_route_of_another_form_is_kept_apart_so_that_it_gets_replaced(change: object) -> None:
    assert callable(change)
    wanted = Route(Prefix.parse("2001:db8::/32"), Encapsulate(EXIT, 3), 100)
    found = pull_route(change(push_replace(wanted).body))
    assert found is not None
    assert isinstance(found.action, Unknown)
    assert (found.prefix, found.metric) == (wanted.prefix, wanted.metric)
    with pytest.raises(ValueError, match="only be deleted"):
        push_replace(found)


def test_attributes_that_do_not_fit_are_refused() -> None:
    whole = attribute_u32(1, 7) + attribute(2, b"abc")
    assert pull_attributes(whole) == {1: b"\x07\0\0\0", 2: b"abc"}
    with pytest.raises(ValueError, match="attribute of 8 octets at 0 of 7"):
        pull_attributes(whole[:7])
    with pytest.raises(ValueError, match="attribute of 0 octets"):
        pull_attributes(bytes(8))
