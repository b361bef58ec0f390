"""Moments by key: the first of them, and what is due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.protocol.deadlines import Deadlines

KEYS = st.sampled_from([bytes((number,)) for number in range(6)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(0, 20)),
        st.tuples(st.just("cancel"), KEYS, st.just(0)),
        st.tuples(st.just("due"), st.just(b""), st.integers(0, 20)),
    )
)


@given(steps=STEPS)
def test_it_is_a_table_of_moments(steps: list[tuple[str, bytes, int]]) -> None:
    deadlines: Deadlines[bytes] = Deadlines()
    table: dict[bytes, float] = {}
    for what, key, moment in steps:
        if what == "set":
            deadlines.set(key, moment)
            table[key] = moment
        elif what == "cancel":
            deadlines.cancel(key)
            table.pop(key, None)
        else:
            due = list(deadlines.due(moment))
            assert sorted(due) == sorted(one for one, at in table.items() if at <= moment)
            moments = [table.pop(one) for one in due]
            assert moments == sorted(moments)
        assert deadlines.next() == min(table.values(), default=None)
        assert all((one in deadlines) == (one in table) for one in (b"\0", b"\1"))


def test_what_is_set_again_while_it_is_due_waits_for_its_new_moment() -> None:
    deadlines: Deadlines[bytes] = Deadlines()
    for key in (b"a", b"b"):
        deadlines.set(key, 1.0)
    seen = []
    for key in deadlines.due(2.0):
        seen.append(key)
        deadlines.set(key, 3.0)
    assert seen == [b"a", b"b"]
    assert deadlines.next() == 3.0
