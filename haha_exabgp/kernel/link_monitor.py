"""What happens to one network device, for a mobile router that follows its uplink from place to place.

Netlink messages only say that something happened; what it was comes from reading the device's state and
comparing. So lost messages (ENOBUFS) cost nothing but another reading. Privilege: none.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from ..wire.address import Address
from .links import addresses, find_link
from .netlink import NetlinkSocket, force_receive_buffer
from .uplink import default_routers

_GROUPS = 1 << 0 | 1 << 8 | 1 << 10
"""RTNLGRP_LINK, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE."""
_RECEIVE_BUFFER = 1 << 20
_RECEIVE_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class CarrierUp:
    """The device is up and plugged in."""


@dataclass(frozen=True, slots=True)
class CarrierLost:
    """The device is down or unplugged, or was for a moment."""


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


LinkEvent = CarrierUp | CarrierLost | AddressUsable | AddressGone | RouterAppeared | RouterGone


@dataclass(frozen=True, slots=True)
class LinkState:
    """A device as a mobile router sees it: addresses are global and usable, routers offer a default route."""

    index: int = 0
    carrier: bool = False
    carrier_losses: int = 0
    addresses: tuple[Address, ...] = ()
    routers: tuple[Address, ...] = ()


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
    yield from (AddressUsable(address) for address in after.addresses if address not in before.addresses)


class LinkMonitor:
    """Follows one device by name, in the namespace in which this was made."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._netlink = NetlinkSocket()
        self._notices = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        self._notices.bind((0, _GROUPS))
        force_receive_buffer(self._notices, _RECEIVE_BUFFER)
        self.state = UNPLUGGED

    def close(self) -> None:
        """Give file descriptors back; ends no iteration by itself."""
        self._notices.close()
        self._netlink.close()

    async def events(self) -> AsyncIterator[LinkEvent]:
        """Every change, beginning with what there is already; `state` is the state after it and all
        events that are due with it. Raises OSError."""
        while True:
            before, self.state = self.state, self._read()
            for event in changes(before, self.state):
                yield event
            await self._notice()

    def _read(self) -> LinkState:
        """About 0.2 ms."""
        link = find_link(self._netlink, self._device)
        if link is None:
            return UNPLUGGED
        found = addresses(self._netlink, link.index)
        usable = tuple(entry.address for entry in found if entry.is_global and entry.usable)
        routers = tuple(default_routers(self._netlink, link.index))
        return LinkState(link.index, link.carrier, link.carrier_losses, usable, routers)

    async def _notice(self) -> None:
        """Wait until something happened, then take all notices there are: one reading answers them."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_recv(self._notices, _RECEIVE_SIZE)
            while self._notices.recv(_RECEIVE_SIZE):
                continue
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
