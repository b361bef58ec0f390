"""What agent and hook say to each other arrives as it was meant, and bad data is named, not died of."""

from __future__ import annotations

import json

import pytest

from haha_exabgp.bgp.communities import MarkRefusal, learned_route, path_attributes
from haha_exabgp.bgp.events import ReceivedRoute
from haha_exabgp.bgp.learned import Fill, LimitState
from haha_exabgp.bgp.message_lines import (
    LINE_LIMIT,
    ROUTES_A_LINE,
    MessageError,
    decode_agent_message,
    decode_hook_message,
    encode_acknowledged,
    encode_change,
    encode_end_of_rib,
    encode_hello,
    encode_learned,
    encode_limit,
    encode_session,
    encode_wanted,
)
from haha_exabgp.bgp.messages import (
    Acknowledged,
    BadRoute,
    Change,
    EndOfRib,
    Hello,
    Learned,
    Limit,
    More,
    Session,
    Wanted,
)
from haha_exabgp.protocol.routes import Announcement, Audience, LearnedRoute, RouteKind
from haha_exabgp.wire.address import Address, Prefix

ASN = 64500
HA1, HA2 = Address.parse("2001:db8:ffff::1"), Address.parse("2001:db8:ffff::2")
ROUTER = Address.parse("3fff:101::1")
MNP = Prefix.parse("2001:db8:1:100::/64")
LEAK = Announcement(Audience.MESH, RouteKind.LEAK, MNP, HA1, 4_000_000_000)
BOUND = Announcement(Audience.SITE, RouteKind.MNP, MNP, HA1)
GROUPS = {Audience.MESH: (HA2,), Audience.SITE: (ROUTER,)}


def test_the_lines_are_those_of_the_protocol() -> None:
    """Another implementation of either side reads and writes exactly this."""
    (wanted,) = encode_wanted(ASN, 180, GROUPS, [LEAK])
    assert json.loads(wanted) == {
        "type": "wanted",
        "asn": 64500,
        "lease": 180,
        "groups": {"mesh": ["2001:db8:ffff::2"], "site": ["3fff:101::1"]},
        "routes": [
            {
                "group": "mesh",
                "prefix": "2001:db8:1:100::/64",
                "next_hop": "2001:db8:ffff::1",
                "kind": 5,
                "sequence": 4_000_000_000,
            }
        ],
        "more": False,
    }
    assert wanted.endswith(b"}\n")
    (learned,) = encode_learned(HA2, [ReceivedRoute(str(MNP), str(HA2), 7, ((ASN, 1, 5), (ASN, 2, 7)))])
    assert json.loads(learned) == {
        "type": "learned",
        "peer": "2001:db8:ffff::2",
        "announce": [
            {
                "prefix": "2001:db8:1:100::/64",
                "next_hop": "2001:db8:ffff::2",
                "local_preference": 7,
                "large_communities": [[64500, 1, 5], [64500, 2, 7]],
            }
        ],
        "withdraw": [],
    }


def test_a_whole_set_arrives_in_parts_that_fit_a_line() -> None:
    routes = [
        Announcement(Audience.MESH, RouteKind.LEAK, Prefix.parse(f"2001:db8:{n:x}::/48"), HA1, n)
        for n in range(1, 2 * ROUTES_A_LINE + 2)
    ]
    lines = encode_wanted(ASN, 180, GROUPS, routes)
    assert max(map(len, lines)) < LINE_LIMIT
    first, *others = map(decode_agent_message, lines)
    assert isinstance(first, Wanted)
    assert (first.asn, first.lease, first.groups) == (ASN, 180, GROUPS)
    assert all(isinstance(one, More) for one in others)
    assert [one.more for one in (first, *others)] == [True, True, False]
    assert [route for one in (first, *others) for route in one.routes] == routes


def test_an_empty_set_is_said_too() -> None:
    (line,) = encode_wanted(ASN, 180, {}, [])
    assert decode_agent_message(line) == Wanted(ASN, 180, {}, ())
    (line,) = encode_wanted(ASN, 180, {}, [], limit=1000)
    assert decode_agent_message(line) == Wanted(ASN, 180, {}, (), limit=1000)


@pytest.mark.requirement("H-9")
def test_a_change_announces_before_it_withdraws() -> None:
    changes = list(map(decode_agent_message, encode_change([LEAK, BOUND], [(Audience.SITE, MNP)])))
    assert changes == [Change((LEAK, BOUND), ()), Change((), ((Audience.SITE, MNP),))]
    assert encode_change([], []) == []


def test_bad_routes_are_named_and_the_others_taken() -> None:
    (line,) = encode_wanted(ASN, 180, GROUPS, [LEAK])
    message = json.loads(line)
    good = message["routes"][0]
    message["routes"] += [
        good | {"prefix": "2001:db8::1/64"},
        good | {"prefix": 64},
        good | {"next_hop": "fe80::1"},
        good | {"kind": 99},
        good | {"sequence": 1 << 32},
        good | {"group": "everybody"},
        "route",
    ]
    decoded = decode_agent_message(json.dumps(message).encode())
    assert isinstance(decoded, Wanted)
    assert decoded.routes == (LEAK,)
    assert [one.prefix for one in decoded.bad] == ["2001:db8::1/64", "64", *[str(MNP)] * 4, "route"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"type": "unknown"}',
        b'{"type": "wanted", "asn": 64500, "lease": 180, "routes": []}',
        b'{"type": "wanted", "asn": -1, "lease": 180, "groups": {}, "routes": []}',
        b'{"type": "wanted", "asn": 64500, "lease": NaN, "groups": {}, "routes": []}',
        b'{"type": "wanted", "asn": 64500, "lease": 1e999, "groups": {}, "routes": []}',
        b'{"type": "wanted", "asn": 64500, "lease": 180, "groups": {"mesh": ["x"]}, "routes": []}',
        b'{"type": "change", "announce": 1}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        decode_agent_message(line)
    with pytest.raises(MessageError):
        decode_hook_message(line, ASN)


def test_hook_messages_arrive() -> None:
    acknowledged = Acknowledged(12, (BadRoute("2001:db8::/64", "refused"),), 3)
    for line, message in (
        (encode_hello("5.0.15"), Hello(1, "5.0.15")),
        (encode_session(HA2, True, ""), Session(HA2, True, "")),
        (encode_session(HA2, False, "peer reset"), Session(HA2, False, "peer reset")),
        (encode_end_of_rib(HA2), EndOfRib(HA2)),
        (encode_acknowledged(acknowledged), acknowledged),
        (encode_limit(HA2, LimitState(Fill.EXCEEDED, 7)), Limit(HA2, LimitState(Fill.EXCEEDED, 7))),
    ):
        assert decode_hook_message(line, ASN) == message


@pytest.mark.parametrize("announcement", [LEAK, BOUND])
def test_what_one_home_agent_announces_another_learns(announcement: Announcement) -> None:
    attributes = path_attributes(announcement, ASN)
    route = ReceivedRoute(
        str(announcement.prefix),
        str(attributes.next_hop),
        attributes.local_preference,
        attributes.large_communities,
    )
    (line,) = encode_learned(HA2, [route])
    learned = LearnedRoute(HA2, announcement.kind, MNP, HA1, announcement.sequence)
    assert decode_hook_message(line, ASN) == Learned(HA2, (learned,), ())


def test_local_preference_follows_the_sequence() -> None:
    assert path_attributes(LEAK, ASN).local_preference == 4_000_000_000
    assert path_attributes(BOUND, ASN).local_preference == 100


@pytest.mark.parametrize(
    ("communities", "refusal"),
    [
        ([], MarkRefusal.NO_KIND),
        ([(ASN, 2, 5)], MarkRefusal.NO_KIND),
        ([(64999, 1, 5)], MarkRefusal.FOREIGN_ASN),
        ([(ASN, 1, 99)], MarkRefusal.UNKNOWN_KIND),
        ([(ASN, 1, 0)], MarkRefusal.UNKNOWN_KIND),
        ([(ASN, 1, 5), (ASN, 1, 2)], MarkRefusal.SEVERAL_KINDS),
        ([(ASN, 1, 5), (ASN, 2, 8), (ASN, 2, 9)], MarkRefusal.SEVERAL_SEQUENCES),
    ],
)
def test_a_route_without_clear_marks_is_refused(
    communities: list[tuple[int, int, int]], refusal: MarkRefusal
) -> None:
    assert learned_route(HA2, MNP, HA1, communities, ASN) is refusal


def test_marks_of_others_do_not_disturb_ours() -> None:
    communities = [(64999, 1, 2), (ASN, 9, 9), (ASN, 1, 5), (ASN, 1, 5), (ASN, 2, 8)]
    assert learned_route(HA2, MNP, HA1, communities, ASN) == LearnedRoute(HA2, RouteKind.LEAK, MNP, HA1, 8)


def test_a_refused_route_replaces_what_the_peer_said_before() -> None:
    (line,) = encode_learned(HA2, [ReceivedRoute(str(MNP), str(HA2), 100, ())])
    assert decode_hook_message(line, ASN) == Learned(HA2, (), (MNP,), ((MNP, MarkRefusal.NO_KIND),))


def test_unreadable_learned_routes_are_named() -> None:
    routes = [ReceivedRoute("nonsense", str(HA2), 100, ()), ReceivedRoute(str(MNP), "::nonsense", 100, ())]
    (line,) = encode_learned(HA2, routes)
    decoded = decode_hook_message(line, ASN)
    assert isinstance(decoded, Learned)
    assert [one.prefix for one in decoded.bad] == ["nonsense", str(MNP)]
