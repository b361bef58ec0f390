"""Reading a dump of routes: the short way gives what the long way gives."""

from __future__ import annotations

import struct

import pytest

from haha_exabgp.kernel.route_dump import pull_present_routes
from haha_exabgp.kernel.route_messages import Encapsulate, Route, Unreachable, pull_route, push_replace
from haha_exabgp.kernel.seg6 import Seg6Datapath
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix

RECORDED = bytes.fromhex(
    "0a400000fe680001000000000800 0f00fe0000001400010020010db8000000010000000000000000 0800060064000000"
    "0800040002000000 2400160020000100030000000002040000000000 3fff0f01000000010000000000000000"
    "0600150005000000 24000c00" + "00" * 32 + "0500140000000000"
)
"""A route to 3fff:f01:0:1:: through device 2, as Linux 6.18 dumps it."""
EXIT = Address.parse("3fff:f01:0:1::")
KERNEL_ROUTE = KernelRoute(Prefix.parse("2001:db8:0:1::/64"), Metric.BINDING, EXIT)


UNREADABLE = (ValueError, KeyError, struct.error)


class _Datapath(Seg6Datapath):
    """One whose device has index 2 without being there."""

    def __init__(self) -> None:
        self._device = 2


def long_way(bodies: list[bytes]) -> tuple[set[KernelRoute], list[Route]]:
    routes = [route for route in map(pull_route, bodies) if route is not None]
    known = {route: _Datapath().kernel_route(route) for route in routes}
    return {one for one in known.values() if one}, [route for route, one in known.items() if one is None]


def test_recorded_route_is_read() -> None:
    assert pull_present_routes([RECORDED], _Datapath()) == ({KERNEL_ROUTE}, [])


def test_one_bit_more_or_less_is_read_as_the_long_way_reads_it() -> None:
    """Behind a route of the same shape, which opens the short way."""
    differences, unreadable = 0, 0
    for bit in range(8 * len(RECORDED)):
        changed = bytearray(RECORDED)
        changed[bit // 8] ^= 1 << bit % 8
        bodies = [RECORDED, bytes(changed)]
        try:
            expected = long_way(bodies)
        except UNREADABLE:
            unreadable += 1
            with pytest.raises(UNREADABLE):
                pull_present_routes(bodies, _Datapath())
            continue
        assert pull_present_routes(bodies, _Datapath()) == expected, f"bit {bit}"
        differences += expected != ({KERNEL_ROUTE}, [])
    assert differences > 8 * (1 + 16 + 4 + 16) - 8
    assert unreadable < 300


def test_routes_of_another_form_are_kept_apart() -> None:
    elsewhere = Route(KERNEL_ROUTE.prefix, Encapsulate(EXIT, 7), Metric.LEAK)
    discard = Route(Prefix.parse("2001:db8::/32"), Unreachable(), Metric.DISCARD)
    sourced = Route(Prefix.host(EXIT), Encapsulate(EXIT, 2), Metric.HAHA, source=EXIT)
    bodies = [RECORDED, *(push_replace(one).body for one in (elsewhere, discard, sourced))]
    assert pull_present_routes(bodies, _Datapath()) == (
        {
            KERNEL_ROUTE,
            KernelRoute(discard.prefix, Metric.DISCARD, None),
            KernelRoute(sourced.prefix, Metric.HAHA, EXIT, EXIT),
        },
        [elsewhere],
    )


def test_another_order_of_attributes_is_read_as_what_it_is() -> None:
    """As long as usual, and not what the short way would take it for."""
    table, destination, metric, rest = RECORDED[12:20], RECORDED[20:40], RECORDED[40:48], RECORDED[48:]
    turned = RECORDED[:12] + metric + destination + table + rest
    other = turned.replace(KERNEL_ROUTE.prefix.address, Address.parse("2001:db8:0:2::"))
    also = KERNEL_ROUTE._replace(prefix=Prefix.parse("2001:db8:0:2::/64"))
    assert pull_present_routes([turned, other], _Datapath()) == ({KERNEL_ROUTE, also}, [])


def test_other_programs_routes_are_left_out() -> None:
    static = 4
    theirs = RECORDED[:5] + bytes([static]) + RECORDED[6:]
    assert pull_present_routes([theirs, RECORDED, theirs], _Datapath()) == ({KERNEL_ROUTE}, [])
