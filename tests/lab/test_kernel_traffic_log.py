"""Traffic towards other sites is noticed: one packet in a while, of what is worth it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from haha_exabgp.kernel.guard import HomeAgentGuard
from haha_exabgp.kernel.guard_traffic import NOTICES
from haha_exabgp.kernel.routes import RouteChanges
from haha_exabgp.kernel.traffic_log import TrafficLog
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    LFN,
    MNP,
    OUTER,
    PARTITION,
    World,
    kernel_world,
    tunnelled,
    udp,
)

pytestmark = pytest.mark.lab

OVER = 10
"""Packets a second."""
MARK = Address.parse("2001:db8:2:eeee::1")
"""Whose traffic is noticed last, to know when to stop waiting."""


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with kernel_world("tTl") as built:
        # The first packets would wait for neighbours to be found, and some be lost.
        eventually(lambda: built.cn.pings(OUTER[1]) and built.mr.pings(OUTER[1]), 5, "the links are in use")
        yield built


@pytest.fixture
def world(shared: World) -> World:
    return shared


def host(number: int, subnet: int = 0) -> Address:
    """Of the other site's partition."""
    return Address(PARTITION[2].address[:6] + subnet.to_bytes(2, "big") + number.to_bytes(8, "big"))


@contextmanager
def noticing(world: World) -> Iterator[TrafficLog]:
    """The first Home Agent's guard logs, and somebody listens."""
    config = replace(world.ha1.guard_config, noticed=(PARTITION[2],), notice_over=OVER)
    with world.ha1.namespace.entered():
        guard = HomeAgentGuard(config)
        traffic = TrafficLog()
    with closing(guard), closing(traffic), world.ha1.namespace.entered():
        guard.setup({(CARE_OF, MNP)}, frozenset())
        yield traffic
        guard.flush()


@contextmanager
def routed(world: World, route: KernelRoute) -> Iterator[None]:
    """The first Home Agent has one route more."""
    assert world.ha1.table.apply(RouteChanges((route,), ())) == []
    yield
    assert world.ha1.table.apply(RouteChanges((), (route,))) == []


def noticed(world: World, traffic: TrafficLog) -> list[Address]:
    """Everything that was logged until now."""
    found: list[Address] = []

    def marked() -> bool:
        world.cn.sends(*[udp(CN, MARK)] * (2 * OVER))
        found.extend(traffic.receive())
        return MARK in found

    eventually(marked, 5, "the last packets are noticed")
    return [one for one in found if one != MARK]


@pytest.mark.requirement("O-1", "O-2")
def test_a_busy_destination_of_another_site_is_noticed_once(world: World) -> None:
    with noticing(world) as traffic:
        world.cn.sends(*[udp(CN, host(1))] * (20 * OVER))
        assert noticed(world, traffic) == [host(1)]
        world.cn.sends(*[udp(CN, host(1))] * (20 * OVER))
        assert noticed(world, traffic) == [], "not again within five seconds"


@pytest.mark.requirement("O-2")
def test_a_few_packets_are_not_worth_it(world: World) -> None:
    with noticing(world) as traffic:
        world.cn.sends(*[udp(CN, host(1))] * (OVER // 2))
        assert noticed(world, traffic) == []


@pytest.mark.requirement("O-2")
def test_many_hosts_of_one_prefix_count_together(world: World) -> None:
    with noticing(world) as traffic:
        world.cn.sends(*(udp(CN, host(number)) for number in range(2 * OVER)))
        found = noticed(world, traffic)
        assert 0 < len(found) <= OVER + 1
        assert set(found) <= {host(number) for number in range(2 * OVER)}


@pytest.mark.requirement("O-2")
def test_what_goes_elsewhere_is_not_noticed(world: World) -> None:
    """To a mobile router bound here, to a discard route, to Home Agents, to the Internet."""
    with noticing(world) as traffic, routed(world, KernelRoute(MNP, Metric.BINDING, CARE_OF)):
        here = Address.parse("2001:db8:1:eeee::1")
        world.cn.sends(*[udp(CN, one) for one in (LFN, here) for _ in range(5 * OVER)])
        world.ha1.namespace.sends(*[udp(OUTER[1], CN)] * (5 * OVER))
        assert noticed(world, traffic) == []


@pytest.mark.requirement("O-1", "O-11")
def test_what_comes_out_of_a_mobile_routers_tunnel_is_noticed(world: World) -> None:
    with noticing(world) as traffic:
        world.mr.sends(*[tunnelled(CARE_OF, udp(LFN, host(7)))] * (5 * OVER))
        assert noticed(world, traffic) == [host(7)]


@pytest.mark.requirement("O-2")
def test_towards_ever_new_destinations_not_more_is_noticed_than_so_much(world: World) -> None:
    with noticing(world) as traffic:
        flood = [udp(CN, host(number, subnet)) for subnet in range(200) for number in range(2 * OVER)]
        world.cn.sends(*flood)
        found = list(traffic.receive())
        assert OVER < len(found) <= 3 * NOTICES


@pytest.mark.requirement("O-2")
def test_traffic_is_noticed_on_a_projected_route_too(world: World) -> None:
    """Else nobody would know that it is still used."""
    projected = KernelRoute(Prefix.host(host(9)), Metric.PROJECTED, OUTER[2])
    with noticing(world) as traffic, routed(world, projected):
        world.cn.sends(*[udp(CN, host(9))] * (5 * OVER))
        assert noticed(world, traffic) == [host(9)]


def test_a_second_listener_is_told_that_there_is_one(world: World) -> None:
    with noticing(world), pytest.raises(OSError, match="log group"):
        TrafficLog()
