"""What happens to one network device, for a mobile router that follows its uplink from place to place:
movement detection (RFC 6275 s.11.5.1) by what the kernel's Neighbour Discovery knows.

Netlink messages only say that something happened; what it was comes from reading the device's state and
comparing. So lost messages (ENOBUFS) cost nothing but another reading. Privilege: none.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTM_DELNEIGH,
    RTM_NEWNEIGH,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_PREFIX,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
    RTMGRP_NEIGH,
)

from ..wire.address import Address
from .links import InterfaceAddress, read_address, read_link
from .rtnetlink import RECEIVE_BUFFER, open_in_loop
from .uplink import default_routers, heard_and_failed

# The kernel tells of an address only when duplicate address detection is done with it; of the prefix that
# made it, at once.
_GROUPS = RTMGRP_LINK | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_PREFIX | RTMGRP_IPV6_ROUTE | RTMGRP_NEIGH
_RECEIVE_BUFFER = RECEIVE_BUFFER


@dataclass(frozen=True, slots=True)
class CarrierUp:
    """The device is up and plugged in."""


@dataclass(frozen=True, slots=True)
class CarrierLost:
    """The device is down or unplugged, or was for a moment."""


@dataclass(frozen=True, slots=True)
class AddressTentative:
    """A global address has been autoconfigured; duplicate address detection runs."""

    entry: InterfaceAddress


@dataclass(frozen=True, slots=True)
class AddressUsable:
    """A global address has passed duplicate address detection, or is optimistic (RFC 4429)."""

    address: Address


@dataclass(frozen=True, slots=True)
class AddressGone:
    """A global address is not to be used any more: removed or deprecated."""

    address: Address


@dataclass(frozen=True, slots=True)
class RouterAppeared:
    """A router on the link offers a default route by Router Advertisement."""

    router: Address


@dataclass(frozen=True, slots=True)
class RouterGone:
    """It offers none any more."""

    router: Address


@dataclass(frozen=True, slots=True)
class RouterSilent:
    """It does not answer Neighbour Solicitations (RFC 4861 s.7.3)."""

    router: Address


@dataclass(frozen=True, slots=True)
class RouterHeard:
    """It has been heard again."""

    router: Address


LinkEvent = (
    CarrierUp
    | CarrierLost
    | AddressTentative
    | AddressUsable
    | AddressGone
    | RouterAppeared
    | RouterGone
    | RouterSilent
    | RouterHeard
)


@dataclass(frozen=True, slots=True)
class LinkState:
    """A device as a mobile router sees it: addresses are global and usable, the newest first; routers offer a
    default route, of some of which it is known whether they answer."""

    index: int = 0
    carrier: bool = False
    carrier_losses: int = 0
    addresses: tuple[Address, ...] = ()
    routers: tuple[Address, ...] = ()
    tentative: tuple[InterfaceAddress, ...] = ()
    heard: frozenset[Address] = frozenset()
    failed: frozenset[Address] = frozenset()


UNPLUGGED = LinkState()


def changes(before: LinkState, after: LinkState) -> Iterator[LinkEvent]:
    """What happened between two states, what ended first.

    A carrier that went and came back in between counts as lost and up: it may be another link now.
    """
    replugged = (before.index, before.carrier_losses) != (after.index, after.carrier_losses)
    lost = before.carrier and (replugged or not after.carrier)
    if lost:
        yield CarrierLost()
    yield from (AddressGone(address) for address in before.addresses if address not in after.addresses)
    yield from (RouterGone(router) for router in before.routers if router not in after.routers)
    if after.carrier and (lost or not before.carrier):
        yield CarrierUp()
    yield from (RouterAppeared(router) for router in after.routers if router not in before.routers)
    yield from (RouterSilent(router) for router in after.routers if router in after.failed - before.failed)
    yield from (RouterHeard(router) for router in after.routers if router in after.heard & before.failed)
    known = {entry.address for entry in before.tentative}
    yield from (AddressTentative(entry) for entry in after.tentative if entry.address not in known)
    yield from (AddressUsable(address) for address in after.addresses if address not in before.addresses)


class LinkMonitor:
    """Follows one device by name, in the namespace of the thread whose event loop runs `events`."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.state = UNPLUGGED

    async def events(self) -> AsyncIterator[LinkEvent]:
        """Every change, beginning with what there is already; `state` is the state after it and all
        events that are due with it. Sockets are open as long as the iteration lasts. Raises OSError."""
        noticed = asyncio.Event()
        listening = asyncio.create_task(self._listen(noticed))
        listening.add_done_callback(lambda _: noticed.set())
        try:
            async with open_in_loop() as ipr:
                while not listening.done():
                    await noticed.wait()
                    noticed.clear()
                    before, self.state = self.state, await self._read(ipr)
                    for event in changes(before, self.state):
                        yield event
            listening.result()
        finally:
            listening.cancel()

    async def _read(self, ipr: AsyncIPRoute) -> LinkState:
        """About 5 ms. The device itself comes last, so that nothing is seen to end before the carrier that
        it ends with."""
        try:
            index = socket.if_nametoindex(self._device)
        except OSError:
            return UNPLUGGED
        try:
            found = await ipr.get_addr(family=socket.AF_INET6, index=index)
            entries = [read_address(message) async for message in found]
            routers = tuple(await default_routers(ipr, index))
            heard, failed = await heard_and_failed(ipr, index)
            (message,) = await ipr.link("get", index=index)
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return UNPLUGGED
            raise
        link = read_link(message)
        entries = sorted((one for one in entries if one.is_global), key=lambda one: one.created, reverse=True)
        return LinkState(
            index,
            link.carrier,
            link.carrier_losses,
            tuple(entry.address for entry in entries if entry.usable),
            routers,
            tuple(entry for entry in entries if entry.tentative and entry.dynamic),
            heard & set(routers),
            failed & set(routers),
        )

    async def _listen(self, noticed: asyncio.Event) -> None:
        """Set the event at first, as something may have been missed before, and whenever something happens.

        A socket of pyroute2 is of no use any more once it has lost notices (ENOBUFS); the next one takes
        over. Raises OSError.
        """
        while True:
            try:
                async with open_in_loop(_RECEIVE_BUFFER) as notices:
                    await notices.bind(_GROUPS)
                    while True:
                        noticed.set()
                        async for notice in notices.get():
                            if self._concerns(notice):
                                noticed.set()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _concerns(self, notice: Any) -> bool:
        """False for neighbours on other devices, of which there may be many that come and go."""
        neighbours = notice["header"]["type"] in (RTM_NEWNEIGH, RTM_DELNEIGH)
        return not neighbours or notice["ifindex"] == self.state.index
