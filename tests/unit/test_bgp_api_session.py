"""Answers are matched with commands; those of an earlier process are not."""

from __future__ import annotations

import pytest

from haha_exabgp.bgp.api_session import ANSWER_TIMEOUT, WINDOW, Answered, ApiSession, Output, Ready
from haha_exabgp.bgp.commands import (
    Announce,
    PathAttributes,
    RequestRefresh,
    SendEndOfRib,
    ShowNeighbors,
    ShowRoutes,
    encode,
)
from haha_exabgp.bgp.events import EndOfRib
from haha_exabgp.wire.address import Address, Prefix

PEER = Address.parse("2001:db8:ffff::2")
END_OF_RIB = (
    b'{ "type": "update", "neighbor": { "address": { "peer": "2001:db8:ffff::2" }, "direction": "receive", '
    b'"message": { "eor": { "afi" : "ipv6", "safi" : "unicast" } } } }\n'
)


def announce(number: int) -> Announce:
    prefix = Prefix.parse(f"2001:db8:1:{number:x}::/64")
    return Announce((PEER,), PathAttributes(PEER, 100, ()), (prefix,))


@pytest.fixture
def session() -> ApiSession:
    """After the handshake."""
    session = ApiSession(0)
    assert session.data_to_send() == b"reset\nversion\n"
    assert session.receive(b"exabgp 5.0.15\ndone\n", 0) == [Ready("5.0.15")]
    return session


def test_answers_from_before_the_handshake_are_of_another_process() -> None:
    session = ApiSession(0)
    stale = b"done\nerror\nneighbor 2001:db8:ffff::2 ipv6 unicast\ndone\n"
    assert session.receive(stale, 0) == []
    assert not session.ready
    assert session.receive(b"exabgp 5.0.15\n", 0) == []
    assert not session.ready
    assert session.receive(b"done\n", 0) == [Ready("5.0.15")]
    assert session.ready


def test_events_count_even_before_the_handshake() -> None:
    assert ApiSession(0).receive(END_OF_RIB, 0) == [EndOfRib(PEER)]


def test_answers_come_in_the_order_of_the_commands(session: ApiSession) -> None:
    commands = [announce(number) for number in range(3)]
    for command in commands:
        session.send(command, 0)
    assert session.data_to_send() == b"".join(map(encode, commands))
    assert session.receive(b"done\n" + END_OF_RIB + b"error\ndo", 0) == [
        Answered(commands[0], True),
        EndOfRib(PEER),
        Answered(commands[1], False),
    ]
    assert session.receive(b"ne\n", 0) == [Answered(commands[2], True)]


def test_the_window_has_an_end(session: ApiSession) -> None:
    for number in range(WINDOW):
        assert session.room()
        session.send(announce(number), 0)
    assert not session.room()
    with pytest.raises(ValueError, match="no room"):
        session.send(announce(WINDOW), 0)
    session.receive(b"done\n", 0)
    assert session.room()


@pytest.mark.parametrize("command", [SendEndOfRib(PEER), RequestRefresh(PEER)])
def test_what_may_be_answered_out_of_order_is_sent_alone(
    session: ApiSession, command: SendEndOfRib | RequestRefresh
) -> None:
    session.send(announce(1), 0)
    assert not session.room(exclusive=True)
    session.receive(b"done\n", 0)
    session.send(command, 0)
    assert not session.room()
    assert session.receive(b"error\n", 0) == [Answered(command, False)]
    assert session.room()


def test_output_belongs_to_the_command_that_is_answered_next(session: ApiSession) -> None:
    session.send(announce(1), 0)
    session.send(ShowNeighbors(), 0)
    session.send(ShowRoutes(), 0)
    text = b"done\n[]\ndone\nneighbor a\n" + END_OF_RIB + b"neighbor b\ndone\nstray\n"
    assert session.receive(text, 0) == [
        Answered(announce(1), True),
        Output(ShowNeighbors(), "[]"),
        Answered(ShowNeighbors(), True),
        Output(ShowRoutes(), "neighbor a"),
        EndOfRib(PEER),
        Output(ShowRoutes(), "neighbor b"),
        Answered(ShowRoutes(), True),
    ]
    assert session.counters["unexpected_line"] == 1


def test_an_answer_to_nothing_begins_everything_again(session: ApiSession) -> None:
    assert session.receive(b"done\n", 5) == []
    assert not session.ready
    assert session.data_to_send() == b"reset\nversion\n"
    assert session.receive(b"exabgp 5.0.15\ndone\n", 5) == [Ready("5.0.15")]


def test_an_overdue_answer_begins_everything_again(session: ApiSession) -> None:
    assert session.next_timer() is None
    session.send(announce(1), 10)
    session.send(announce(2), 10)
    session.receive(b"done\n", 30)
    assert session.next_timer() == 30 + ANSWER_TIMEOUT
    session.handle_timer(30 + ANSWER_TIMEOUT - 1)
    assert session.ready
    session.data_to_send()
    session.handle_timer(30 + ANSWER_TIMEOUT)
    assert not session.ready
    assert session.data_to_send() == b"reset\nversion\n"
    assert session.receive(b"done\nexabgp 5.0.15\ndone\n", 95) == [Ready("5.0.15")], (
        "the late one is not ours"
    )


def test_a_handshake_that_takes_long_is_not_made_twice(session: ApiSession) -> None:
    waiting = ApiSession(0)
    waiting.data_to_send()
    due = waiting.next_timer()
    assert due is not None
    waiting.handle_timer(due)
    assert waiting.data_to_send() == b""
    assert waiting.next_timer() == due + ANSWER_TIMEOUT
    assert waiting.receive(b"exabgp 5.0.15\ndone\n", 100) == [Ready("5.0.15")]


def test_a_line_of_megabytes_in_small_portions(session: ApiSession) -> None:
    nlris = ", ".join(f'{{ "nlri": "2001:db8:{n >> 8:x}:{n & 255:x}::/64" }}' for n in range(20_000))
    update = f'"announce": {{ "ipv6 unicast": {{ "2001:db8::1": [ {nlris} ] }} }}'
    message = f'"direction": "receive", "message": {{ "update": {{ {update} }} }}'
    peer = '"address": { "peer": "2001:db8:ffff::2" }'
    line = f'{{ "type": "update", "neighbor": {{ {peer}, {message} }} }}\n'.encode()
    results = []
    for first in range(0, len(line), 4096):
        results += session.receive(line[first : first + 4096], 0)
    (event,) = results
    assert len(event.announced) == 20_000
