from __future__ import annotations

import pytest

from haha_exabgp.lab.eventually import NotInTime, eventually
from haha_exabgp.lab.topology import LabError


def test_gives_the_first_true_value() -> None:
    values = iter([0, "", None, "at last", "too far"])
    assert eventually(lambda: next(values), 5, "a value", interval=0) == "at last"


def test_tells_what_was_seen_last() -> None:
    with pytest.raises(NotInTime, match=r"not within 0 s: seven sheep; last seen: \[\]"):
        eventually(list, 0, "seven sheep", interval=0)


def test_tells_what_was_raised_last() -> None:
    def failing() -> bool:
        raise LabError("the router is asleep")

    with pytest.raises(NotInTime, match="the router is asleep"):
        eventually(failing, 0, "an answer", interval=0)


def test_a_failed_assertion_is_asked_again() -> None:
    asked = []

    def fails_once() -> bool:
        asked.append(1)
        assert len(asked) > 1
        return True

    assert eventually(fails_once, 5, "the second time", interval=0)


def test_other_exceptions_are_mistakes_and_come_through() -> None:
    def broken() -> bool:
        raise KeyError("typo")

    with pytest.raises(KeyError):
        eventually(broken, 5, "never", interval=0)


def test_asks_at_least_twice_however_slow_the_machine() -> None:
    values = iter([False, True])
    assert eventually(lambda: next(values), 0, "the second answer", interval=0)
