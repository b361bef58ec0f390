"""An acknowledgement leaves when what it promises is in the kernel and on disk; failures are made up for."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace

import pytest

from haha_exabgp.agent import home_agent as shell
from haha_exabgp.agent.enforcer import Enforcer
from haha_exabgp.agent.grace import Grace
from haha_exabgp.agent.home_agent import HomeAgentDaemon
from haha_exabgp.agent.notes import NoteLog
from haha_exabgp.kernel.routes import RouteFailure
from haha_exabgp.protocol.effects import Permit, Revoke
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.ipv6 import MobilityPacket
from tests.unit.conftest import ACCESS, HOA, MNP


class Kernel:
    """The route table and the guard of a kernel that can refuse."""

    def __init__(self) -> None:
        self.refuses = False
        self.busy = threading.Event()
        self.busy.set()
        self.routes = frozenset()
        self.permits = frozenset()

    def apply(self, *changes):
        self.busy.wait(5)
        if len(changes) == 1:
            replace, delete = changes[0].replace, changes[0].delete
            gone = {(one.prefix, one.metric) for one in (*replace, *delete)}
            kept = {one for one in self.routes if (one.prefix, one.metric) not in gone}
            return self._routes(kept | set(replace))
        if self.refuses:
            raise OSError("no memory")
        letting_in, keeping_out = changes
        self.permits |= {(one.outer, one.inner) for one in letting_in}
        self.permits -= {(one.outer, one.inner) for one in keeping_out}
        return []

    def reconcile(self, wanted):
        return self._routes(wanted)

    def setup(self, permits, admitted):
        self.permits = frozenset(permits)

    def _routes(self, wanted):
        if self.refuses:
            return [RouteFailure(route, "no memory") for route in wanted - self.routes]
        self.routes = frozenset(wanted)
        return []


class Disk:
    def __init__(self) -> None:
        self.refuses = False
        self.saved = {}

    def save(self, bindings, now):
        if self.refuses:
            raise sqlite3.OperationalError("disk is full")
        self.saved |= {one.home_address: one for one in bindings}

    def close(self):
        pass


class Peers:
    def __init__(self) -> None:
        self.told = set()

    def change(self, announce, withdraw):
        self.told |= {one.prefix for one in announce}


class Wire:
    receivers = ()

    def __init__(self) -> None:
        self.sent = []

    def send_batch(self, packets):
        self.sent += packets
        return []


class Daemon(HomeAgentDaemon):
    """With a kernel, a disk, peers and a wire that the test holds in its hand."""

    def __init__(self, world) -> None:
        self.config = world.agents[1]._config
        self.core = HomeAgent(self.config, Random(1))
        self.core.start((), world.now)
        self.kernel, self.disk, self.wire = Kernel(), Disk(), Wire()
        self._mobility, self.hook = self.wire, Peers()
        self._enforcer = Enforcer(self.config, None, self.kernel, self.kernel, self.disk)
        self._notes = NoteLog(logging.getLogger("test"))
        self._grace = Grace(shell.IN_FLIGHT_TIME)
        self._held, self._timer, self._kernel_in_doubt = [], None, False
        self._under_way, self._decided_ahead, self._paused = False, 0, False
        self._stop, self._failure = asyncio.Event(), None


@pytest.fixture
def daemon(world, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setattr(shell, "RETRY_DELAY", 0.01)
    monkeypatch.setattr(shell, "read_clocks", lambda: world.now)
    monkeypatch.setattr(shell, "time", SimpleNamespace(monotonic=lambda: world.now.monotonic))
    made = Daemon(world)
    yield made
    made._enforcer.close()


def update_of(world, access: int = 1) -> MobilityPacket:
    """A Binding Update as the mobile router sends it, delivered to nobody yet."""
    world.wire.clear()
    world.attach(access)
    to = world.agents[1]._config.outer
    return next(one for one in world.wire if isinstance(one, MobilityPacket) and one.destination == to)


def run(world, daemon, *steps) -> None:
    async def story() -> None:
        daemon._carry_out()
        for step in steps:
            step()
            await asyncio.sleep(0.05)
        if daemon._timer is not None:
            daemon._timer.cancel()

    asyncio.run(story())


def test_all_in_order_is_acknowledged(world, daemon):
    update = update_of(world)

    def receive() -> None:
        daemon.core.receive_mobility(update, world.now)
        daemon._carry_out()

    run(world, daemon, receive)
    assert len(daemon.wire.sent) == 1
    assert daemon.kernel.routes == daemon.core.wanted.routes()
    assert daemon.kernel.permits == daemon.core.wanted.permits() != frozenset()
    assert len(daemon.disk.saved) == 1


@pytest.mark.parametrize("few", [0, 24])
@pytest.mark.parametrize("broken", ["kernel", "disk"])
def test_nothing_is_acknowledged_or_lost_while_kernel_or_store_refuse(
    world, daemon, monkeypatch, broken, few
):
    monkeypatch.setattr(shell, "FEW_BINDINGS", few)
    update = update_of(world)
    fault = getattr(daemon, broken)

    def receive_in_vain() -> None:
        fault.refuses = True
        daemon.core.receive_mobility(update, world.now)
        daemon._carry_out()
        assert daemon.wire.sent == []

    def recover() -> None:
        assert daemon.wire.sent == []
        if broken == "kernel":
            # Nobody is sent here while the kernel could not deliver.
            assert not {one.prefix for one in daemon.core.wanted.announcements()} <= daemon.hook.told
        fault.refuses = False

    run(world, daemon, receive_in_vain, recover)
    assert daemon.core.counters["answers_withheld"] == 1
    assert daemon.kernel.routes == daemon.core.wanted.routes()
    assert daemon.kernel.permits == daemon.core.wanted.permits() != frozenset()
    assert {one.prefix for one in daemon.core.wanted.announcements()} == daemon.hook.told
    assert set(daemon.disk.saved) == {binding.home_address for binding in daemon.core.bindings}
    assert daemon._held == []


def test_what_is_decided_meanwhile_is_the_next_batch(world, daemon, monkeypatch):
    """While the kernel works the core goes on deciding; what it promises waits for its own batch."""
    monkeypatch.setattr(shell, "FEW_BINDINGS", 0)
    first, second = update_of(world), update_of(world, access=2)
    daemon.kernel.busy.clear()

    def receive(update: MobilityPacket) -> None:
        daemon.core.receive_mobility(update, world.now)
        daemon._carry_out()

    def both_wait() -> None:
        receive(second)
        assert daemon.wire.sent == []
        assert daemon.core.bindings.get(HOA).care_of_address == ACCESS[2]
        daemon.kernel.busy.set()

    run(world, daemon, lambda: receive(first), both_wait)
    assert len(daemon.wire.sent) == 2
    assert daemon.kernel.routes == daemon.core.wanted.routes()
    assert daemon.disk.saved[HOA].care_of_address == ACCESS[2]


def test_what_was_under_way_when_a_binding_changed_is_let_in_for_a_while(world, daemon):
    first, second = update_of(world), update_of(world, access=2)

    def receive(update: MobilityPacket) -> None:
        daemon.core.receive_mobility(update, world.now)
        daemon._carry_out()

    def still_in() -> None:
        assert {outer for outer, _ in daemon.kernel.permits} == {ACCESS[1], ACCESS[2]}
        world.now = Now(world.now.monotonic + shell.IN_FLIGHT_TIME, world.now.wall + shell.IN_FLIGHT_TIME)
        daemon._carry_out()

    run(world, daemon, lambda: receive(first), lambda: receive(second), still_in)
    assert {outer for outer, _ in daemon.kernel.permits} == {ACCESS[2]}


def test_who_comes_back_within_that_while_is_not_kept_out(world, daemon):
    grace = Grace(2.0)
    permit, revoke = Permit(ACCESS[1], MNP), Revoke(ACCESS[1], MNP)
    assert grace.take([revoke, permit], 10.0) == [permit]
    assert grace.take([revoke], 11.0) == []
    assert grace.next_due() == 13.0
    assert grace.take([permit], 12.0) == [permit]
    assert grace.pop_due(20.0) == [] and grace.next_due() is None


@pytest.mark.parametrize("few", [0, 24])
def test_a_mistake_of_ours_ends_the_process_instead_of_standing_still(world, daemon, monkeypatch, few):
    monkeypatch.setattr(shell, "FEW_BINDINGS", few)
    update = update_of(world)
    daemon.disk.save = None

    def receive() -> None:
        daemon.core.receive_mobility(update, world.now)
        daemon._carry_out()

    run(world, daemon, receive)
    assert daemon._stop.is_set() and isinstance(daemon._failure, TypeError)
    assert daemon.wire.sent == []
