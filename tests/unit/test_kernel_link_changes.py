"""What a mobile router is told of its uplink."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from haha_exabgp.kernel.link_monitor import (
    UNPLUGGED,
    AddressGone,
    AddressTentative,
    AddressUsable,
    CarrierLost,
    CarrierUp,
    LinkState,
    RouterAppeared,
    RouterGone,
    RouterHeard,
    RouterSilent,
    changes,
)
from haha_exabgp.kernel.links import InterfaceAddress, read_address
from haha_exabgp.wire.address import Address

HERE, THERE = Address.parse("3fff:f01::10"), Address.parse("3fff:f02::10")
ROUTER = Address.parse("fe80::1")
ATTACHED = LinkState(index=2, carrier=True, carrier_losses=1, addresses=(HERE,), routers=(ROUTER,))


def test_first_look_tells_everything_that_is_there() -> None:
    assert list(changes(UNPLUGGED, ATTACHED)) == [CarrierUp(), RouterAppeared(ROUTER), AddressUsable(HERE)]


def test_nothing_new_is_no_event() -> None:
    assert not list(changes(ATTACHED, ATTACHED))


def test_lost_carrier_comes_before_what_it_takes_along() -> None:
    gone = [CarrierLost(), AddressGone(HERE), RouterGone(ROUTER)]
    assert list(changes(ATTACHED, UNPLUGGED)) == gone
    assert list(changes(ATTACHED, replace(ATTACHED, carrier=False, carrier_losses=2))) == gone[:1]


def test_carrier_that_came_back_before_anybody_looked_is_told() -> None:
    again = replace(ATTACHED, carrier_losses=3)
    assert list(changes(ATTACHED, again)) == [CarrierLost(), CarrierUp()]


def test_device_that_was_replaced_counts_as_unplugged() -> None:
    assert list(changes(ATTACHED, replace(ATTACHED, index=7))) == [CarrierLost(), CarrierUp()]


def test_renumbering_tells_the_old_address_first() -> None:
    assert list(changes(ATTACHED, replace(ATTACHED, addresses=(THERE,)))) == [
        AddressGone(HERE),
        AddressUsable(THERE),
    ]


@pytest.mark.parametrize(
    ("flags", "usable"),
    [(0x80, True), (0x40, False), (0x44, True), (0x08, False), (0x20, False), (0x300, True)],
    ids=["permanent", "tentative", "optimistic", "duplicate", "deprecated", "other-flags"],
)
def test_address_is_usable_once_nothing_speaks_against_it(flags: int, usable: bool) -> None:
    message = ifaddrmsg()
    message["index"], message["prefixlen"], message["scope"] = 2, 64, 0
    message["attrs"] = [("IFA_ADDRESS", str(HERE)), ("IFA_FLAGS", flags)]
    found = read_address(message)
    assert (found.address, found.device, found.is_global, found.usable) == (HERE, 2, True, usable)
    assert found.dynamic == (flags & 0x80 == 0)


def test_a_router_that_stops_and_starts_to_answer_is_told() -> None:
    silent = replace(ATTACHED, failed=frozenset({ROUTER}))
    assert list(changes(ATTACHED, silent)) == [RouterSilent(ROUTER)]
    assert list(changes(silent, silent)) == []
    assert list(changes(silent, ATTACHED)) == [], "forgotten by the kernel is not heard"
    assert list(changes(silent, replace(ATTACHED, heard=frozenset({ROUTER})))) == [RouterHeard(ROUTER)]


def test_an_address_that_is_being_looked_at_is_told_once() -> None:
    entry = InterfaceAddress(2, THERE, 64, True, False, True, True, False)
    looked_at = replace(ATTACHED, tentative=(entry,))
    assert list(changes(ATTACHED, looked_at)) == [AddressTentative(entry)]
    assert list(changes(looked_at, replace(looked_at, tentative=(replace(entry, created=5),)))) == []
