"""What a satellite tells of many mobile routers at once, it tells in small portions, each until it is
acknowledged."""

from __future__ import annotations

from itertools import pairwise

from haha_exabgp.protocol.paced_updates import BATCH_INTERVAL, MAX_TIMEOUT, UPDATES_A_SECOND, PacedUpdates
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address

HAHA = Address.parse("2001:db8:ffff::1")


def key(number: int) -> tuple[Address, Address]:
    return Address.parse(f"2001:db8:1:1::{number:x}"), HAHA


def at(seconds: float) -> Now:
    return Now(1000.0 + seconds, 0.0)


def test_a_thousand_a_second_and_none_twice() -> None:
    updates = PacedUpdates(65535)
    for number in range(1, 3001):
        updates.want(key(number))
    first = [sending.key for sending in updates.due(at(0))]
    assert first == [key(number) for number in range(1, 51)], "in the order in which they were wanted"
    assert list(updates.due(at(BATCH_INTERVAL / 2))) == []
    told = first
    for step in range(1, 20):
        told += [one.key for one in updates.due(at(step * BATCH_INTERVAL + 0.001))]
    assert len(told) == len(set(told)) == UPDATES_A_SECOND


def test_told_again_with_the_same_number_until_the_answer_brings_a_timestamp_back() -> None:
    updates = PacedUpdates(65535)
    updates.want(key(1))
    (first,) = updates.due(at(0))
    assert first.sequence == 0
    updates.sent(key(1), 77)
    assert list(updates.due(at(0.9))) == []
    (again,) = updates.due(at(1.0))
    assert (again.sequence, again.attempt) == (0, 2)
    updates.sent(key(1), 88)
    assert not updates.acknowledged(key(1), 1, 88)
    assert not updates.acknowledged(key(1), 0, 99)
    assert key(1) in updates
    assert updates.acknowledged(key(1), 0, 77)
    assert updates.next_timer() is None and key(1) not in updates


def test_the_time_between_two_doubles_up_to_a_limit() -> None:
    updates = PacedUpdates(0)
    updates.want(key(1))
    moments = []
    while len(moments) < 8:
        moment = updates.next_timer() or 1000.0
        moments.append(moment)
        assert len(list(updates.due(Now(moment, 0.0)))) == 1
    gaps = [after - before for before, after in pairwise(moments)]
    assert gaps == [1, 2, 4, 8, 16, MAX_TIMEOUT, MAX_TIMEOUT]


def test_wanted_again_it_is_told_anew_and_an_answer_of_before_counts_for_nothing() -> None:
    updates = PacedUpdates(0)
    updates.want(key(1))
    list(updates.due(at(0)))
    updates.sent(key(1), 5)
    updates.want(key(1))
    assert not updates.acknowledged(key(1), 1, 5)
    (anew,) = updates.due(at(1))
    assert (anew.sequence, anew.attempt) == (2, 1)
    updates.cancel(key(1))
    assert list(updates.due(at(100))) == []
