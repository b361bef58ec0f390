"""What is done to the kernel's routes, without a kernel."""

from __future__ import annotations

import pytest

from haha_exabgp.kernel.routes import RouteChanges, plan
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix

PREFIX = Prefix.parse("2001:db8:1::/48")
ONE, TWO = Address.parse("3fff::1"), Address.parse("3fff::2")


@pytest.mark.requirement("H-2")
def test_moved_binding_is_one_replacement_and_no_deletion() -> None:
    before = KernelRoute(PREFIX, Metric.BINDING, ONE)
    after = KernelRoute(PREFIX, Metric.BINDING, TWO)
    assert plan({after}, {before}) == RouteChanges((after,), ())


def test_what_is_present_already_is_no_change_and_surplus_goes() -> None:
    kept = KernelRoute(PREFIX, Metric.BINDING, ONE)
    surplus = KernelRoute(PREFIX, Metric.LEAK, ONE)
    assert plan({kept}, {kept, surplus}) == RouteChanges((), (surplus,))
    assert plan({kept, surplus}, {kept}) == RouteChanges((surplus,), ())
    assert not plan({kept}, {kept})
    assert not plan(set(), set())
