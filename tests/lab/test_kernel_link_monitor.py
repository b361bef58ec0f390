"""The uplink of a mobile router that is carried from one access network to another."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from haha_exabgp.kernel import link_monitor
from haha_exabgp.kernel.link_monitor import (
    AddressGone,
    AddressTentative,
    AddressUsable,
    CarrierLost,
    CarrierUp,
    LinkEvent,
    LinkMonitor,
    RouterAppeared,
    RouterGone,
    RouterHeard,
    RouterSilent,
)
from haha_exabgp.kernel.sysctl import enable_forwarding
from haha_exabgp.kernel.uplink import (
    forget_attachment,
    prepare_uplink,
    probe_router,
    solicit_routers,
    use_optimistically,
)
from haha_exabgp.wire.address import Address, Prefix
from tests.lab.access_router import AccessRouter
from tests.lab.kernel_world import Namespace, run, wait_for_link_local

pytestmark = pytest.mark.lab

PREFIXES = (Prefix.parse("3fff:f01::/64"), Prefix.parse("3fff:f02::/64"))
SECONDS = 8.0


class Place:
    """A mobile router's namespace, its cable, and two access routers to plug it into."""

    def __init__(self, mobile: Namespace, routers: tuple[AccessRouter, AccessRouter]) -> None:
        self.mobile = mobile
        self.routers = routers
        self._at = 0

    def plug(self, index: int) -> None:
        at, to = self.routers[self._at].namespace, self.routers[index].namespace
        if at is not to:
            run("ip", "-n", at.name, "link", "set", "acc0", "netns", to.name)
        self._at = index
        to.run("sysctl", "-qw", "net.ipv6.conf.acc0.accept_ra=0")
        to.ip("link set acc0 up")
        wait_for_link_local(to, "acc0")

    def unplug(self) -> None:
        self.routers[self._at].namespace.ip("link set acc0 down")


@pytest.fixture
def place() -> Iterator[Place]:
    mobile = Namespace("tDl-mr")
    routers = (AccessRouter("tDl-one", PREFIXES[0]), AccessRouter("tDl-two", PREFIXES[1]))
    try:
        run(
            *("ip", "link", "add", "wan0", "netns", mobile.name, "type", "veth"),
            *("peer", "name", "acc0", "netns", routers[0].namespace.name),
        )
        mobile.run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=1", "net.ipv6.conf.wan0.accept_dad=1")
        with mobile.entered():
            enable_forwarding()
            prepare_uplink("wan0")
        with routers[0].answering(), routers[1].answering():
            yield Place(mobile, routers)
    finally:
        for namespace in (mobile, *(router.namespace for router in routers)):
            namespace.delete()


class Listener:
    """Collects a monitor's events while a story is told."""

    def __init__(self, monitor: LinkMonitor) -> None:
        self._monitor = monitor
        self._queue: asyncio.Queue[tuple[float, LinkEvent]] = asyncio.Queue()

    async def collect(self) -> None:
        async for event in self._monitor.events():
            self._queue.put_nowait((time.monotonic(), event))

    async def until(self, *kinds: type) -> tuple[float, list[LinkEvent]]:
        """Events until each kind has come once; the time of the last, and all of them."""
        missing, found, at = set(kinds), [], 0.0
        while missing:
            at, event = await asyncio.wait_for(self._queue.get(), SECONDS)
            found.append(event)
            missing.discard(type(event))
        return at, found

    async def until_comes(self, wanted: LinkEvent) -> None:
        """Events until this very one."""
        while (await asyncio.wait_for(self._queue.get(), SECONDS))[1] != wanted:
            continue

    def silent(self) -> bool:
        return self._queue.empty()


def tell(place: Place, story: Callable[[Listener], Awaitable[None]]) -> None:
    """Run a story beside a monitor of wan0, inside the mobile router's namespace."""

    async def both() -> None:
        monitor = LinkMonitor("wan0")
        listener = Listener(monitor)
        collecting = asyncio.create_task(listener.collect())
        try:
            await story(listener)
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)

    with place.mobile.entered():
        asyncio.run(both())


def test_attaching_brings_carrier_router_and_address_in_well_under_a_second(place: Place) -> None:
    async def story(listener: Listener) -> None:
        place.mobile.ip("link set wan0 up")
        started = time.monotonic()
        place.plug(0)
        at, events = await listener.until(CarrierUp, RouterAppeared, AddressUsable)
        assert isinstance(events[0], CarrierUp)
        (usable,) = [event.address for event in events if isinstance(event, AddressUsable)]
        assert PREFIXES[0].contains(usable)
        # DAD of two addresses, one after the other, with 0.1 s each; the kernel's defaults take 2 s and more.
        assert at - started < 0.7

    tell(place, story)


def test_moving_forgets_the_old_place_and_finds_the_new(place: Place) -> None:
    async def story(listener: Listener) -> None:
        place.mobile.ip("link set wan0 up")
        place.plug(0)
        _, events = await listener.until(CarrierUp, RouterAppeared, AddressUsable)
        (old,) = [event.address for event in events if isinstance(event, AddressUsable)]
        place.unplug()
        _, events = await listener.until(CarrierLost)
        assert events == [CarrierLost()]
        # The kernel keeps all of it.
        assert str(old) in place.mobile.ip("-6 addr show dev wan0")
        await forget_attachment(socket.if_nametoindex("wan0"))
        _, events = await listener.until(AddressGone, RouterGone)
        assert AddressGone(old) in events
        assert place.mobile.ip("-6 route show dev wan0").split()[:1] == ["fe80::/64"]
        place.plug(1)
        await listener.until(CarrierUp)
        started = time.monotonic()
        solicit_routers("wan0")
        at, events = await listener.until(RouterAppeared, AddressUsable)
        (new,) = [event.address for event in events if isinstance(event, AddressUsable)]
        assert PREFIXES[1].contains(new)
        assert at - started < 1.0
        assert listener.silent()

    tell(place, story)


def test_monitor_begins_with_what_is_there(place: Place) -> None:
    place.mobile.ip("link set wan0 up")
    place.plug(0)
    place.mobile.ip("addr add 3fff:f01::99/64 dev wan0 nodad")

    async def story(listener: Listener) -> None:
        await listener.until_comes(AddressUsable(Address.parse("3fff:f01::99")))

    tell(place, story)


def test_device_that_vanishes_takes_everything_along(place: Place) -> None:
    async def story(listener: Listener) -> None:
        place.mobile.ip("link set wan0 up")
        place.plug(0)
        await listener.until(CarrierUp, RouterAppeared, AddressUsable)
        place.mobile.ip("link del wan0")
        _, events = await listener.until(CarrierLost, AddressGone, RouterGone)
        assert isinstance(events[0], CarrierLost)
        place.mobile.ip("link add wan0 type veth peer name other")
        place.mobile.ip("link set other up")
        place.mobile.ip("link set wan0 up")
        await listener.until(CarrierUp)

    tell(place, story)


def test_forgetting_a_device_that_is_gone_touches_no_other(place: Place) -> None:
    place.mobile.ip("link set wan0 up")
    place.mobile.ip("addr add 3fff:f01::99/64 dev wan0 valid_lft 1000 preferred_lft 1000")
    with place.mobile.entered():
        asyncio.run(forget_attachment(0))
    assert "3fff:f01::99" in place.mobile.ip("-6 addr show dev wan0")


def test_lost_notices_lose_no_change(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    smallest = 2304
    monkeypatch.setattr(link_monitor, "_RECEIVE_BUFFER", smallest)

    async def story(listener: Listener) -> None:
        place.mobile.ip("link set wan0 up")
        place.plug(0)
        await listener.until(CarrierUp, RouterAppeared, AddressUsable)
        # Nobody reads while these come, far more than the buffer takes.
        lines = "".join(f"addr add 3fff:f01::{number:x}/128 dev wan0 nodad\n" for number in range(1, 200))
        subprocess.run(place.mobile.command("ip", "-batch", "-"), input=lines, text=True, check=True)
        await listener.until_comes(AddressUsable(Address.parse("3fff:f01::c7")))

    tell(place, story)


def test_an_autoconfigured_address_is_used_optimistically(place: Place) -> None:
    """RFC 4429, though the kernel makes no address optimistic by itself on a host that forwards."""

    async def story(listener: Listener) -> None:
        place.mobile.run("sysctl", "-qw", "net.ipv6.neigh.wan0.retrans_time_ms=3000")
        place.mobile.ip("link set wan0 up")
        place.plug(0)
        solicit_routers("wan0")
        _, events = await listener.until(CarrierUp, RouterAppeared, AddressTentative)
        (entry,) = [event.entry for event in events if isinstance(event, AddressTentative)]
        assert PREFIXES[0].contains(entry.address)
        started = time.monotonic()
        await use_optimistically(entry)
        at, events = await listener.until(AddressUsable)
        assert AddressUsable(entry.address) in events and at - started < 0.5
        shown = place.mobile.ip("-6 addr show dev wan0 scope global")
        assert "optimistic" in shown and "forever" not in shown
        # An advertisement renews it as any autoconfigured address, and makes no second one.
        place.routers[0].advertise()
        await asyncio.sleep(0.1)
        assert place.mobile.ip("-6 addr show dev wan0 scope global").count("inet6") == 1
        await forget_attachment(socket.if_nametoindex("wan0"))
        await listener.until_comes(AddressGone(entry.address))

    tell(place, story)


def test_a_router_that_falls_silent_is_noticed(place: Place) -> None:
    async def story(listener: Listener) -> None:
        place.mobile.ip("link set wan0 up")
        place.plug(0)
        solicit_routers("wan0")
        _, events = await listener.until(CarrierUp, RouterAppeared, AddressUsable)
        (router,) = [event.router for event in events if isinstance(event, RouterAppeared)]
        place.routers[0].is_mute = True
        place.routers[0].namespace.nft(
            "table ip6 t {\nchain c {\ntype filter hook prerouting priority raw;\niifname acc0 drop;\n}\n}"
        )
        await probe_router(socket.if_nametoindex("wan0"), router)
        started = time.monotonic()
        at, _ = await listener.until(RouterSilent)
        assert at - started < 2.0
        place.routers[0].namespace.nft("delete table ip6 t")
        place.routers[0].is_mute = False
        place.routers[0].advertise()
        await listener.until(RouterHeard)

    tell(place, story)


def test_a_router_that_never_was_there_is_found_out(place: Place) -> None:
    """What the kernel remembers of an earlier place has no link-layer address any more."""
    gone = Address.parse("fe80::bad")

    async def story(listener: Listener) -> None:
        place.mobile.ip("link set wan0 up")
        place.plug(0)
        solicit_routers("wan0")
        await listener.until(CarrierUp, RouterAppeared, AddressUsable)
        place.mobile.ip(f"-6 route append default via {gone} dev wan0 proto ra metric 1024")
        await listener.until_comes(RouterAppeared(gone))
        await probe_router(socket.if_nametoindex("wan0"), gone)
        await listener.until_comes(RouterSilent(gone))

    tell(place, story)
