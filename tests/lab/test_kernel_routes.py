"""Many routes at once: every one is in force or given back with the reason, whoever else is writing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.routes import RouteChanges, RouteTable
from haha_exabgp.kernel.seg6 import Seg6Datapath
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from tests.lab.kernel_world import Namespace

pytestmark = pytest.mark.lab

NOT_OURS = Address.parse("3fff:bad::1")


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    made = Namespace("tDr", forwards=True)
    yield made
    made.delete()


@pytest.fixture
def table(namespace: Namespace) -> Iterator[RouteTable]:
    with namespace.entered(), NetlinkSocket() as netlink, closing(Seg6Datapath(netlink)) as datapath:
        datapath.setup()
        yield RouteTable(netlink, datapath)
        datapath.flush()


def network(number: int) -> Prefix:
    return Prefix(Address(b"\x20\x01\x0d\xb8" + number.to_bytes(4, "big") + bytes(8)), 64)


def routes(count: int, generation: int = 1, start: int = 0) -> list[KernelRoute]:
    return [
        KernelRoute(
            network(number),
            Metric.BINDING,
            Address(b"\x3f\xff\x0f\x01" + number.to_bytes(4, "big") + bytes(7) + bytes([generation])),
        )
        for number in range(start, start + count)
    ]


def spoil(wanted: list[KernelRoute], places: list[int]) -> None:
    """Give routes a source address that is none of this host."""
    for place in places:
        wanted[place] = wanted[place]._replace(source=NOT_OURS)


def test_refusals_are_those_of_the_routes_refused(table: RouteTable) -> None:
    wanted = routes(10_000)
    places = [0, 31, 32, 4095, 4096, 9_999]
    spoil(wanted, places)
    failures = table.apply(RouteChanges(tuple(wanted)))
    assert [failure.route for failure in failures] == [wanted[place] for place in places]
    assert {failure.reason for failure in failures} == {"Invalid argument: Invalid source address"}
    assert table.present() == {route for route in wanted if route.source is None}


def test_every_route_refused_is_told(table: RouteTable) -> None:
    """So many answers fit into the receive buffer."""
    wanted = routes(5000)
    spoil(wanted, list(range(5000)))
    failures = table.apply(RouteChanges(tuple(wanted)))
    assert [failure.route for failure in failures] == wanted
    assert table.present() == frozenset()


def test_more_routes_than_the_kernel_has_memory_ready_for(
    table: RouteTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In so large datagrams they end in ENOMEM at first (measured, Linux 6.18).
    monkeypatch.setattr("haha_exabgp.kernel.netlink._DATAGRAM", 4096)
    wanted = routes(20_000)
    assert table.apply(RouteChanges(tuple(wanted))) == []
    assert table.present() == set(wanted)
    moved = routes(20_000, generation=2)
    assert table.reconcile(frozenset(moved)) == []
    assert table.present() == set(moved)


def test_deleting_what_is_not_there_is_no_failure(table: RouteTable) -> None:
    wanted = routes(100)
    assert table.apply(RouteChanges(tuple(wanted[:50]))) == []
    assert table.apply(RouteChanges((), tuple(wanted[25:]))) == []
    assert table.present() == set(wanted[:25])


def test_routes_of_another_form_are_replaced_or_deleted(table: RouteTable, namespace: Namespace) -> None:
    wanted, surplus = routes(2)
    for route in (wanted, surplus):
        namespace.ip(f"-6 route add {route.prefix} dev haha0 metric {route.metric} proto 104")
    namespace.ip(f"-6 route add {network(7)} dev haha0 metric 9 proto static")
    assert table.present() == frozenset()
    assert table.reconcile(frozenset({wanted})) == []
    assert table.present() == {wanted}
    listed = namespace.ip("-6 route show dev haha0 proto 104").splitlines()
    assert len(listed) == 1
    assert namespace.ip("-6 route show dev haha0 proto static").startswith(str(network(7)))


def test_threads_do_not_get_each_others_answers(table: RouteTable) -> None:
    def write(start: int) -> tuple[list[KernelRoute], list[KernelRoute]]:
        refused, bad = [], []
        for turn in range(20):
            wanted = routes(200, generation=turn + 1, start=start)
            spoil(wanted, [turn, 150 + turn])
            bad += [wanted[turn], wanted[150 + turn]]
            refused += [failure.route for failure in table.apply(RouteChanges(tuple(wanted)))]
            assert table.present().issuperset(route for route in wanted if route.source is None)
        return refused, bad

    with ThreadPoolExecutor(3) as threads:
        for refused, bad in threads.map(write, (0, 1000, 2000)):
            assert refused == bad
