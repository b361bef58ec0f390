"""Routes of the kernel plane: comparing, and writing and reading."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.kernel.ip6_tunnel_messages import Ip6Encapsulate
from haha_exabgp.kernel.route_messages import (
    Decapsulate,
    Encapsulate,
    Forward,
    Route,
    Unreachable,
    pull_route,
    push_replace,
)
from haha_exabgp.kernel.routes import RouteChanges, plan
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix

addresses = st.binary(min_size=16, max_size=16).map(Address)
devices = st.integers(1, 2**31 - 1)
prefixes = st.builds(Prefix.of, addresses, st.integers(0, 128))
actions = st.one_of(
    st.builds(Encapsulate, addresses, devices),
    st.builds(Ip6Encapsulate, addresses, st.none() | addresses.filter(any), devices),
    st.builds(Decapsulate, devices, st.integers(0, 2**32 - 1)),
    st.builds(Unreachable),
    st.builds(Forward, devices, st.none() | addresses),
)
routes = st.builds(
    Route,
    prefix=prefixes,
    action=actions,
    metric=st.integers(1, 2**32 - 1),
    table=st.integers(1, 2**32 - 1),
    source=st.none() | addresses,
)


@given(routes)
def test_route_survives_the_round_trip(route: Route) -> None:
    assert pull_route(push_replace(route).body) == route


PREFIXES = [Prefix.parse(f"2001:db8:{n}::/48") for n in range(4)]
EXITS = [None, *(Address.parse(f"3fff::{n}") for n in range(3))]
one_route = st.builds(
    KernelRoute,
    prefix=st.sampled_from(PREFIXES),
    metric=st.sampled_from([Metric.BINDING, Metric.LEAK]),
    tunnel_exit=st.sampled_from(EXITS),
)


def _unique(routes: list[KernelRoute]) -> frozenset[KernelRoute]:
    """A table as it can be: one route a prefix and metric."""
    return frozenset({(route.prefix, route.metric): route for route in routes}.values())


tables = st.lists(one_route).map(_unique)


def _apply(present: frozenset[KernelRoute], changes: RouteChanges[KernelRoute]) -> frozenset[KernelRoute]:
    """What the kernel does with changes, in their order."""
    table = {(route.prefix, route.metric): route for route in present}
    for route in changes.replace:
        table[route.prefix, route.metric] = route
    for route in changes.delete:
        del table[route.prefix, route.metric]
    return frozenset(table.values())


@given(wanted=tables, present=tables)
def test_plan_leads_to_what_is_wanted_and_then_to_nothing_more(
    wanted: frozenset[KernelRoute], present: frozenset[KernelRoute]
) -> None:
    after = _apply(present, plan(wanted, present))
    assert after == wanted
    assert not plan(wanted, after)


@given(wanted=tables, present=tables)
def test_plan_touches_nothing_that_is_right_already(
    wanted: frozenset[KernelRoute], present: frozenset[KernelRoute]
) -> None:
    changes = plan(wanted, present)
    assert not set(changes.replace) & present
    assert not set(changes.delete) & wanted
