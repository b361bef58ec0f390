"""Lines recorded from ExaBGP 5.0.15, and what they mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from haha_exabgp.bgp.events import (
    EndOfRib,
    Event,
    ReceivedRoute,
    RefreshMarker,
    RoutesReceived,
    SessionChanged,
    ShuttingDown,
    parse_event,
    parse_neighbors,
)
from haha_exabgp.wire.address import Address

CASES = Path(__file__).parents[1] / "cases" / "bgp"
HA1, HA2 = Address.parse("2001:db8:ffff::1"), Address.parse("2001:db8:ffff::2")
ROUTER = Address.parse("3fff:101::1")
LEAK = ReceivedRoute("2001:db8:1:100::/64", str(HA1), 77, ((64500, 1, 5), (64500, 2, 77)))

MEANINGS: dict[str, Event | None] = {
    "connected": None,
    "up": SessionChanged(ROUTER, True),
    "down-by-notification": SessionChanged(ROUTER, False, "notification received (6,4)"),
    "notification": None,
    "announce-two-next-hops": RoutesReceived(
        ROUTER,
        tuple(ReceivedRoute(f"2001:db8:{n}::/64", str(ROUTER), 100, ()) for n in (77, 79)),
        (),
    ),
    "announce-with-communities": RoutesReceived(
        ROUTER,
        (ReceivedRoute("2001:db8:78::/64", str(ROUTER), 4294967295, ((64500, 1, 1), (64500, 9, 9))),),
        (),
    ),
    "leak": RoutesReceived(HA1, (LEAK,), ()),
    "withdraw": RoutesReceived(HA1, (), ("2001:db8:1:100::/64",)),
    "end-of-rib": EndOfRib(ROUTER),
    "refresh-begin": RefreshMarker(HA1, ended=False),
    "refresh-end": RefreshMarker(HA1, ended=True),
    "shutdown": ShuttingDown(),
}


def recorded(name: str) -> bytes:
    return (CASES / f"{name}.json").read_bytes().rstrip(b"\n")


def test_every_recorded_line_has_its_meaning_here() -> None:
    assert {file.stem for file in CASES.glob("*.json")} == set(MEANINGS)


@pytest.mark.parametrize("name", MEANINGS)
def test_recorded_line(name: str) -> None:
    assert parse_event(recorded(name)) == MEANINGS[name]


def test_a_route_with_a_link_local_next_hop_only_is_counted() -> None:
    line = json.loads(recorded("announce-two-next-hops"))
    del line["neighbor"]["message"]["update"]["announce"]["ipv6 unicast"][str(ROUTER)]
    assert parse_event(json.dumps(line).encode()) == RoutesReceived(ROUTER, (), (), without_global_next_hop=2)


def test_what_we_send_ourselves_is_not_learned() -> None:
    assert parse_event(recorded("leak").replace(b'"receive"', b'"send"')) is None


def test_other_address_families_are_not_ours() -> None:
    assert parse_event(recorded("leak").replace(b"ipv6 unicast", b"ipv4 unicast")) is None
    assert parse_event(recorded("end-of-rib").replace(b"unicast", b"multicast")) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"type": ["update"]}',
        b'{"type": "update"}',
        b'{"type": "state", "neighbor": {"address": {"peer": "nobody"}, "state": "up"}}',
        b'{"type": "unheard-of", "neighbor": {}}',
        b"[" * 100_000,
    ],
)
def test_other_lines_mean_nothing(line: bytes) -> None:
    assert parse_event(line) is None


def test_neighbors_and_their_states() -> None:
    line = (CASES / "show-neighbor.txt").read_text()
    assert parse_neighbors(line) == {HA2: True, ROUTER: False}


@pytest.mark.parametrize(
    "line", ["", "{}x", "[1]", '[{"peer": {}}]', '[{"peer": {"address": "x"}, "fsm": ""}]']
)
def test_other_answers_are_not_neighbors(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_neighbors(line)
