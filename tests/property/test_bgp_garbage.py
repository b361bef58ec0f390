"""Whatever bytes come in, nothing raises but what is promised."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.bgp.bridge import Bridge
from haha_exabgp.bgp.commands import parse_shown_route
from haha_exabgp.bgp.events import parse_event, parse_neighbors
from haha_exabgp.bgp.lines import LineSplitter
from haha_exabgp.bgp.message_lines import MessageError, decode_agent_message, decode_hook_message

KEYS = [
    "type",
    "neighbor",
    "address",
    "peer",
    "state",
    "reason",
    "direction",
    "message",
    "update",
    "announce",
    "withdraw",
    "attribute",
    "nlri",
    "eor",
    "afi",
    "safi",
    "route-refresh",
    "subtype",
    "large-community",
    "local-preference",
    "groups",
    "routes",
    "prefix",
    "next_hop",
    "kind",
    "mesh",
    "lease",
    "sequence",
    "asn",
    "more",
    "large_communities",
]
WORDS = [
    "state",
    "update",
    "refresh",
    "notification",
    "up",
    "down",
    "receive",
    "2001:db8::1",
    "2001:db8::/64",
    "fe80::1",
    "end",
    "begin",
    "shutdown",
    "mesh",
    "wanted",
    "more",
    "change",
    "learned",
    "session",
    "eor",
    "acknowledged",
    "hello",
    "ipv6 unicast",
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=5
        )
    ),
    max_leaves=20,
)
lines = st.one_of(
    st.binary(max_size=60),
    values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [b"done", b"error", b"exabgp 5.0.15", b"exabgp x", b"neighbor a ipv6 unicast b next-hop c"]
    ),
)


@given(lines)
def test_lines_are_read_or_refused(line: bytes) -> None:
    parse_event(line)
    text = line.decode("utf-8", "replace")
    parse_shown_route(text)
    with contextlib.suppress(ValueError):
        parse_neighbors(text)
    with contextlib.suppress(MessageError):
        decode_agent_message(line)
    with contextlib.suppress(MessageError):
        decode_hook_message(line, 64500)


@given(st.lists(st.tuples(st.booleans(), lines), max_size=20), st.integers(1, 50))
def test_the_bridge_survives_both_sides(story: list[tuple[bool, bytes]], portion: int) -> None:
    bridge = Bridge(0)
    bridge.agent_connected(0)
    bridge.receive_from_exabgp(b"exabgp 5.0.15\ndone\n", 0)
    for now, (from_agent, line) in enumerate(story):
        if from_agent:
            bridge.receive_from_agent(line, now)
        else:
            data = line + b"\n"
            for first in range(0, len(data), portion):
                bridge.receive_from_exabgp(data[first : first + portion], now)
        bridge.take_commands().decode("ascii")
        for told in bridge.take_messages():
            decode_hook_message(told, 64500)
        due = bridge.next_timer()
        if due is not None and due <= now:
            bridge.handle_timer(now)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_portions_make_no_difference(data: bytes, cuts: list[int]) -> None:
    whole, cut = LineSplitter(20), LineSplitter(20)
    edges = sorted({0, len(data), *(one for one in cuts if one <= len(data))})
    pieces = [line for first, last in pairwise(edges) for line in cut.feed(data[first:last])]
    assert pieces == whole.feed(data)
    assert cut.overlong == whole.overlong
