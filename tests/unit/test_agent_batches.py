"""An acknowledgement leaves when what it promises is in the kernel and on disk; failures are made up for."""

from __future__ import annotations

import asyncio
import sqlite3
from random import Random
from types import SimpleNamespace

import pytest

from haha_exabgp.agent import home_agent as shell
from haha_exabgp.agent.home_agent import HomeAgentDaemon
from haha_exabgp.kernel.routes import RouteFailure
from haha_exabgp.protocol.effects import Permit
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.wire.ipv6 import MobilityPacket


class Kernel:
    """The route table and the guard of a kernel that can refuse."""

    def __init__(self) -> None:
        self.refuses = False
        self.routes = frozenset()
        self.permits = frozenset()

    def apply(self, changes):
        if hasattr(changes, "replace"):
            return self._routes(self.routes | set(changes.replace))
        if self.refuses:
            raise OSError("no memory")
        self.permits |= {(one.outer, one.inner) for one in changes if isinstance(one, Permit)}
        return []

    def reconcile(self, wanted):
        return self._routes(wanted)

    def setup(self, permits):
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


class Peers:
    def __init__(self) -> None:
        self.told = set()

    def change(self, announce, withdraw):
        self.told |= {one.prefix for one in announce}


class Wire:
    def __init__(self) -> None:
        self.sent = []

    def send(self, packet):
        self.sent.append(packet)


@pytest.fixture
def daemon(world, monkeypatch: pytest.MonkeyPatch) -> HomeAgentDaemon:
    monkeypatch.setattr(shell, "RETRY_DELAY", 0.01)
    monkeypatch.setattr(shell, "read_clocks", lambda: world.now)
    monkeypatch.setattr(shell, "time", SimpleNamespace(monotonic=lambda: world.now.monotonic))
    made = HomeAgentDaemon.__new__(HomeAgentDaemon)
    made.config = world.agents[1]._config
    made.core = HomeAgent(made.config, Random(1))
    made.core.start((), world.now)
    made.table = made.guard = Kernel()
    made.store, made.hook, made._mobility = Disk(), Peers(), Wire()
    made._held, made._timer, made._kernel_in_doubt = [], None, False
    return made


def update_of(world) -> MobilityPacket:
    """A Binding Update as the mobile router sends it, delivered to nobody yet."""
    world.attach(1)
    return next(one for one in world.wire if isinstance(one, MobilityPacket))


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
    assert len(daemon._mobility.sent) == 1
    assert daemon.table.routes == daemon.core.wanted.routes()
    assert daemon.guard.permits == daemon.core.wanted.permits() != frozenset()
    assert len(daemon.store.saved) == 1


@pytest.mark.parametrize("broken", ["table", "store"])
def test_nothing_is_acknowledged_or_lost_while_kernel_or_store_refuse(world, daemon, broken):
    update = update_of(world)
    fault = getattr(daemon, broken)

    def receive_in_vain() -> None:
        fault.refuses = True
        daemon.core.receive_mobility(update, world.now)
        daemon._carry_out()
        assert daemon._mobility.sent == []

    def recover() -> None:
        assert daemon._mobility.sent == []
        if broken == "table":
            # Nobody is sent here while the kernel could not deliver.
            assert not {one.prefix for one in daemon.core.wanted.announcements()} <= daemon.hook.told
        fault.refuses = False

    run(world, daemon, receive_in_vain, recover)
    assert daemon.core.counters["answers_withheld"] == 1
    assert daemon.table.routes == daemon.core.wanted.routes()
    assert daemon.guard.permits == daemon.core.wanted.permits() != frozenset()
    assert {one.prefix for one in daemon.core.wanted.announcements()} == daemon.hook.told
    assert set(daemon.store.saved) == {binding.home_address for binding in daemon.core.bindings}
    assert daemon._held == []
