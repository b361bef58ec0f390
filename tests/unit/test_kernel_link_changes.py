"""What a mobile router is told of its uplink."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from haha_exabgp.kernel.link_monitor import (
    UNPLUGGED,
    AddressGone,
    AddressUsable,
    CarrierLost,
    CarrierUp,
    LinkState,
    RouterAppeared,
    RouterGone,
    changes,
)
from haha_exabgp.kernel.links import read_address
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
