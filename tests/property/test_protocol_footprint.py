"""What follows from a change of binding is the difference of two footprints, whichever way it is found."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from haha_exabgp.protocol.binding import Binding, BindingKind, Order
from haha_exabgp.protocol.effects import (
    Admit,
    Announce,
    DeleteRoute,
    Dismiss,
    Permit,
    Revoke,
    SetRoute,
    Withdraw,
)
from haha_exabgp.protocol.footprint import NOTHING, consequences, footprint
from haha_exabgp.wire.address import Prefix
from tests.unit.conftest import ACCESS, HOA, home_agent_config, peer

CONFIG = home_agent_config(1, sites=3)
PREFIXES = [Prefix.parse(f"2001:db8:1:{number:x}00::/{length}") for number in (1, 2) for length in (56, 64)]


@st.composite
def bindings(draw: st.DrawFn) -> Binding | None:
    if draw(st.integers(0, 5)) == 0:
        return None
    kind = draw(st.sampled_from(BindingKind))
    at = draw(st.sampled_from([peer(2).haha, peer(3).haha] if kind.is_elsewhere else [*ACCESS.values()]))
    return Binding(
        home_address=HOA,
        care_of_address=at,
        prefixes=tuple(draw(st.lists(st.sampled_from(PREFIXES), unique=True, max_size=3))),
        mobile_router=True,
        kind=kind,
        order=Order(1, 1),
        mobility_sequence=draw(st.integers(1, 2)),
        peer=None if kind is BindingKind.DIRECT else at if kind.is_elsewhere else peer(2).haha,
        registered=0.0,
        expires=100.0,
    )


def apply(effects, state):
    """Carry effects out on plain sets."""
    routes, told, permits, admitted = state
    for effect in effects:
        match effect:
            case SetRoute(route=route):
                routes[route.prefix, route.metric] = route
            case DeleteRoute(route=route):
                del routes[route.prefix, route.metric]
            case Announce(announcement=one):
                told[one.audience, one.prefix] = one
            case Withdraw(announcement=one):
                del told[one.audience, one.prefix]
            case Permit(outer=outer, inner=inner):
                permits.add((outer, inner))
            case Revoke(outer=outer, inner=inner):
                permits.discard((outer, inner))
            case Admit(inner=inner):
                admitted.add(inner)
            case Dismiss(inner=inner):
                admitted.discard(inner)
            case other:
                raise AssertionError(other)


@given(st.lists(bindings(), min_size=1, max_size=6))
@settings(max_examples=300)
def test_after_any_changes_the_world_is_as_the_last_binding_wants_it(steps):
    state = ({}, {}, set(), set())
    before = None
    for after in steps:
        apply(consequences(before, after, CONFIG), state)
        wanted = footprint(after, CONFIG) if after is not None else NOTHING
        routes, told, permits, admitted = state
        assert set(routes.values()) == set(wanted.routes)
        assert set(told.values()) == set(wanted.announcements)
        assert permits == set(wanted.permits)
        assert admitted == set(wanted.admitted)
        before = after
