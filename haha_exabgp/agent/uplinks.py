"""The uplinks of a mobile router: watched, made ready, and kept so that packets leave by the right one.

Which one is used is decided by `protocol.egress`; this carries news there, and what follows to the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable, Sequence

from ..kernel.egress import EgressRoutes
from ..kernel.link_monitor import (
    AddressTentative,
    AddressUsable,
    CarrierLost,
    CarrierUp,
    LinkEvent,
    LinkMonitor,
    LinkState,
    RouterAppeared,
)
from ..kernel.netlink import NetlinkSocket
from ..kernel.uplink import (
    advertise_address,
    forget_attachment,
    prepare_uplink,
    probe_router,
    solicit_routers,
    use_optimistically,
)
from ..protocol.egress import Attachment, EgressChoice, Uplink
from ..wire.address import Address

_log = logging.getLogger(__name__)

SOLICIT_INTERVAL = 4.0
MAX_SOLICIT_INTERVAL = 64.0
"""Seconds between the first two Router Solicitations (RFC 4861 s.10), and between any two in the end where
none is answered (RFC 7559 s.2)."""


class Uplinks:
    """All uplinks of one mobile router."""

    def __init__(
        self,
        devices: Sequence[str],
        home_address: Address,
        netlink: NetlinkSocket,
        changed: Callable[[Attachment | None], None],
    ) -> None:
        """`devices` in order of preference. `changed` is called in the event loop, with where packets are to
        leave from now on; their way is made by then."""
        self._monitors = {device: LinkMonitor(device) for device in devices}
        self._choice = EgressChoice(devices, home_address)
        self._routes = EgressRoutes(netlink, devices)
        self._changed = changed
        self._told: Attachment | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._prepared: dict[str, int] = {}
        """Interface index that each device had when it was made ready."""
        self._optimistic: dict[str, set[Address]] = {device: set() for device in devices}
        """What has been made optimistic since the carrier came up: once. If another node has the address,
        the kernel takes it away, and what comes after has to pass."""

    @property
    def current(self) -> Attachment | None:
        """What is in use."""
        return self._told

    @property
    def index(self) -> int:
        """Interface index of the uplink in use, else 0."""
        return 0 if self._told is None else self._monitors[self._told.device].state.index

    def setup(self) -> None:
        """Make the devices ready; one that is not there yet is made ready when it comes. Blocks, before an
        event loop runs or in a thread. Raises OSError, ENODEV when none is there."""
        self._routes.setup()
        there = {name: index for index, name in socket.if_nameindex() if name in self._monitors}
        if not there:
            raise OSError(errno.ENODEV, f"no device {' or '.join(self._monitors)} for an uplink")
        for device in self._monitors:
            if device in there:
                prepare_uplink(device)
            else:
                _log.warning("no device %s yet", device)
        self._prepared = there

    def flush(self) -> None:
        """Take rules and routes away. As `setup`."""
        self._routes.flush()

    async def watch(self) -> None:
        """Follow all devices until cancelled. Raises OSError when the kernel fails to tell."""
        items = self._monitors.items()
        jobs = [
            job(device, monitor) for device, monitor in items for job in (self._follow, self._solicit_silent)
        ]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            if self._timer is not None:
                self._timer.cancel()

    def doubt(self, care_of_address: Address) -> None:
        """No Home Agent answers what leaves from here."""
        self._choice.doubt(care_of_address, time.monotonic())
        self._choose()

    def mend(self) -> None:
        """Put back what somebody else's hand has taken out of the kernel. Raises OSError."""
        for device, monitor in self._monitors.items():
            self._routes.set(device, monitor.state.index, self._choice.offer_of(device))

    async def _follow(self, device: str, monitor: LinkMonitor) -> None:
        async for event in monitor.events():
            try:
                await self._respond(device, monitor.state.index, event)
            except OSError as error:
                # A device may vanish at any time; what is left undone, the next event or time makes up for.
                _log.warning("%s on %s: %s", type(event).__name__, device, error)
            self._take_over(device, monitor.state)

    async def _respond(self, device: str, index: int, event: LinkEvent) -> None:
        match event:
            case CarrierLost():
                self._optimistic[device].clear()
                # The next link is another place: its routers are to be believed, these no more.
                await forget_attachment(index)
            case CarrierUp():
                self._prepare(device, index)
                solicit_routers(device)
            case AddressTentative(entry=entry) if entry.address not in self._optimistic[device]:
                self._optimistic[device].add(entry.address)
                await use_optimistically(entry)
            case AddressUsable(address=address) if address in self._optimistic[device]:
                advertise_address(device, address)
            case RouterAppeared(router=router):
                await self._probe_other_routers(device, index, router)

    async def _probe_other_routers(self, device: str, index: int, newcomer: Address) -> None:
        """A new router may mean another link, where the one in use is not heard any more."""
        offer = self._choice.offer_of(device)
        if offer is not None and offer.router != newcomer:
            await probe_router(index, offer.router)

    def _take_over(self, device: str, state: LinkState) -> None:
        uplink = None
        if state.carrier:
            uplink = Uplink(state.addresses, state.routers, state.heard, state.failed)
        before = self._choice.offer_of(device)
        self._choice.update(device, uplink, time.monotonic())
        after = self._choice.offer_of(device)
        if after != before:
            try:
                self._routes.set(device, state.index, after)
            except OSError as error:
                # `mend` tries again.
                _log.warning("the way out by %s: %s", device, error)
        self._choose()

    def _choose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        chosen = self._choice.choose(now)
        due = self._choice.next_timer(now)
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(due - now, self._choose)
        if chosen != self._told:
            self._told = chosen
            self._changed(chosen)

    async def _solicit_silent(self, device: str, monitor: LinkMonitor) -> None:
        """Go on asking where there is no router, or one that does not answer."""
        interval = SOLICIT_INTERVAL
        while True:
            carriers = monitor.state.carrier_losses
            await asyncio.sleep(interval)
            state = monitor.state
            if state.carrier and (not state.routers or self._choice.is_silent(device)):
                try:
                    solicit_routers(device)
                except OSError as error:
                    _log.warning("cannot solicit routers on %s: %s", device, error)
                interval = min(interval * 2, MAX_SOLICIT_INTERVAL)
            if state.routers or state.carrier_losses != carriers:
                interval = SOLICIT_INTERVAL

    def _prepare(self, device: str, index: int) -> None:
        """A device that was taken out and put in again has lost its settings."""
        if self._prepared.get(device) != index:
            prepare_uplink(device)
            self._prepared[device] = index
