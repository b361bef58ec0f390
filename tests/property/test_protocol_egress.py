"""Egress interfaces that come and go in any order: one is in use whenever it can be, and none flaps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from haha_exabgp.protocol.egress import DOUBT, GRACE, STABLE, EgressChoice, Uplink
from haha_exabgp.wire.address import Address

HOA = Address.parse("2001:db8:1:1::10")
DEVICES = ("wan0", "lte0", "sat0")
ADDRESSES = {device: Address.parse(f"3fff:f0{n}::a") for n, device in enumerate(DEVICES)}
ROUTERS = {device: Address.parse(f"fe80::{n + 1}") for n, device in enumerate(DEVICES)}

NEWS = st.tuples(
    st.sampled_from(DEVICES),
    st.sampled_from(["up", "down", "silent", "heard", "doubt", "time"]),
    st.sampled_from([0.0, 0.1, GRACE, STABLE / 2, STABLE, DOUBT]),
)


def uplink(device: str, news: str) -> Uplink | None:
    router = frozenset({ROUTERS[device]})
    if news == "down":
        return None
    return Uplink(
        (ADDRESSES[device],),
        tuple(router),
        answering=router if news == "heard" else frozenset(),
        failed=router if news == "silent" else frozenset(),
    )


@settings(deadline=None)
@given(st.lists(NEWS, max_size=60))
def test_what_is_used_is_usable_and_something_is_used_whenever_it_can_be(story) -> None:
    choice, now = EgressChoice(DEVICES, HOA), 0.0
    lost_at: float | None = None
    for device, news, seconds in story:
        now += seconds
        if news == "doubt":
            choice.doubt(ADDRESSES[device], now)
        elif news != "time":
            choice.update(device, uplink(device, news), now)
        usable = {device: offer for device in DEVICES if (offer := choice.offer_of(device)) is not None}
        chosen = choice.choose(now)
        if usable:
            assert chosen in usable.values()
            lost_at = None
        else:
            lost_at = now if lost_at is None else lost_at
            assert chosen is None or now < lost_at + GRACE


@settings(deadline=None)
@given(st.lists(NEWS, max_size=60))
def test_when_it_is_calm_the_most_preferred_good_one_is_used_and_nothing_is_waited_for(story) -> None:
    choice, now = EgressChoice(DEVICES, HOA), 0.0
    for device, news, seconds in story:
        now += seconds
        if news == "doubt":
            choice.doubt(ADDRESSES[device], now)
        elif news != "time":
            choice.update(device, uplink(device, news), now)
        choice.choose(now)
    for _ in range(20):
        due = choice.next_timer(now)
        if due is None:
            break
        assert due > now
        now = due
        choice.choose(now)
    else:
        raise AssertionError("it waits for ever")
    offers = [(choice.is_silent(d), n, offer) for n, d in enumerate(DEVICES) if (offer := choice.offer_of(d))]
    assert choice.current == (min(offers)[2] if offers else None)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["up", "down"]), min_size=10, max_size=40))
def test_an_interface_that_flaps_faster_than_it_is_trusted_is_not_used(story) -> None:
    choice = EgressChoice(DEVICES, HOA)
    choice.update("lte0", uplink("lte0", "up"), 0.0)
    choice.choose(0.0)
    for step, news in enumerate(story, start=1):
        choice.update("wan0", None, step * STABLE - 1.0)
        choice.choose(step * STABLE - 1.0)
        choice.update("wan0", uplink("wan0", news), step * STABLE - 0.5)
        current = choice.choose(step * STABLE - 0.5)
        assert current is not None and current.device == "lte0"
