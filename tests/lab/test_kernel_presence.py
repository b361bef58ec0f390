"""Whether the kernel still has what a binding needs is seen by a look at that binding alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from haha_exabgp.kernel.routes import RouteChanges
from haha_exabgp.protocol.effects import Permit
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from tests.lab.kernel_world import CARE_OF, HOME_ADDRESS, MNP, OUTER, World, kernel_world

pytestmark = pytest.mark.lab

ROUTES = (
    KernelRoute(MNP, Metric.BINDING, CARE_OF),
    KernelRoute(Prefix.host(HOME_ADDRESS), Metric.BINDING, CARE_OF),
)
PERMITS = ((CARE_OF, MNP), (CARE_OF, Prefix.host(HOME_ADDRESS)))


@pytest.fixture(scope="module")
def kernels() -> Iterator[World]:
    with kernel_world("presence") as world:
        yield world


def test_routes_that_are_gone_or_lead_elsewhere_are_missing(kernels: World) -> None:
    table, namespace = kernels.ha1.table, kernels.ha1.namespace
    assert table.apply(RouteChanges(ROUTES)) == []
    assert table.missing(ROUTES) == []
    namespace.ip(f"-6 route del {MNP} metric 100")
    assert table.missing(ROUTES) == [ROUTES[0]]
    elsewhere = ROUTES[0]._replace(tunnel_exit=Address.parse("3fff:f02::10"))
    table.apply(RouteChanges((elsewhere,)))
    assert table.missing(ROUTES) == [ROUTES[0]]
    assert table.missing([elsewhere]) == []


def test_a_route_behind_a_better_or_a_longer_one_is_not_missing(kernels: World) -> None:
    table = kernels.ha1.table
    leak = KernelRoute(MNP, Metric.LEAK, OUTER[2])
    host = KernelRoute(Prefix.host(MNP.address), Metric.BINDING, CARE_OF)
    table.apply(RouteChanges((*ROUTES, leak)))
    assert table.missing([*ROUTES, leak]) == []
    table.apply(RouteChanges((host,)))
    assert table.missing([*ROUTES, leak, host]) == []


def test_a_permit_that_somebody_has_flushed_is_missed(kernels: World) -> None:
    guard, namespace = kernels.ha1.guard, kernels.ha1.namespace
    with namespace.entered():
        guard.setup(frozenset(), frozenset())
    guard.apply([Permit(*permit) for permit in PERMITS], [])
    assert guard.lets_in(PERMITS)
    assert not guard.lets_in([*PERMITS, (OUTER[2], MNP)])
    namespace.nft("flush set ip6 haha permit64\n")
    assert not guard.lets_in(PERMITS) and guard.lets_in(PERMITS[1:])
    with namespace.entered():
        guard.flush()
    assert not guard.lets_in(PERMITS)
