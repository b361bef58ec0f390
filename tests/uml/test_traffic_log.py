"""Traffic towards other sites is noticed with ip6tnl as with seg6; inside user-mode Linux."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from haha_exabgp.kernel.choose_datapath import AUTO
from tests.lab.kernel_world import World, kernel_world
from tests.lab.test_kernel_traffic_log import (
    test_a_busy_destination_of_another_site_is_noticed_once,
    test_traffic_is_noticed_on_a_projected_route_too,
    test_what_comes_out_of_a_mobile_routers_tunnel_is_noticed,
    test_what_goes_elsewhere_is_not_noticed,
)
from tests.uml.bridged_world import put_on_bridge

__all__ = [
    "test_a_busy_destination_of_another_site_is_noticed_once",
    "test_traffic_is_noticed_on_a_projected_route_too",
    "test_what_comes_out_of_a_mobile_routers_tunnel_is_noticed",
    "test_what_goes_elsewhere_is_not_noticed",
]

pytestmark = pytest.mark.uml


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with kernel_world("tTu", AUTO) as built:
        put_on_bridge(built)
        yield built
