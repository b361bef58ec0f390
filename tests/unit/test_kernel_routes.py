"""What is done to the kernel's routes, without a kernel."""

from __future__ import annotations

import pytest

from haha_exabgp.kernel.routes import RouteChanges, changes_of, plan
from haha_exabgp.protocol.effects import DeleteRoute, SetRoute
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix

PREFIX = Prefix.parse("2001:db8:1::/48")
ONE, TWO = Address.parse("3fff::1"), Address.parse("3fff::2")


@pytest.mark.requirement("H-2")
def test_moved_binding_is_one_replacement_and_no_deletion() -> None:
    before = KernelRoute(PREFIX, Metric.BINDING, ONE)
    after = KernelRoute(PREFIX, Metric.BINDING, TWO)
    assert plan({after}, {before}) == RouteChanges((after,), ())


def test_of_several_effects_for_one_route_the_last_counts() -> None:
    first = KernelRoute(PREFIX, Metric.BINDING, ONE)
    second = KernelRoute(PREFIX, Metric.BINDING, TWO)
    other = KernelRoute(PREFIX, Metric.LEAK, ONE)
    assert changes_of([SetRoute(first), DeleteRoute(first), SetRoute(second)]) == RouteChanges((second,), ())
    effects = [SetRoute(first), DeleteRoute(first), SetRoute(other)]
    assert changes_of(effects) == RouteChanges((other,), (first,))
    assert not changes_of([])
