"""An acknowledgement leaves when what it promises is in the kernel and on disk; failures are made up for."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace

import pytest

from haha_exabgp.agent import delivery
from haha_exabgp.agent.batch import Batch
from haha_exabgp.agent.delivery import Delivery
from haha_exabgp.agent.enforcer import Enforcer, Outcome
from haha_exabgp.agent.grace import Grace
from haha_exabgp.kernel.guard_sets import in_whole_octets
from haha_exabgp.kernel.routes import RouteFailure
from haha_exabgp.protocol.binding import Binding, BindingKind, Order
from haha_exabgp.protocol.effects import Admit, Dismiss, Permit, Rebind, Revoke
from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import MobilityPacket
from tests.unit.conftest import ACCESS, HOA, MNP


class Kernel:
    """The route table and the guard of a kernel that can refuse."""

    def __init__(self) -> None:
        self.refuses = False
        self.has_guard = False
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

    def setup(self, permits, admitted, watched=frozenset()):
        if self.refuses:
            raise OSError("no memory")
        self.permits = frozenset(permits)
        self.has_guard = True

    def intact(self):
        return self.has_guard

    def _routes(self, wanted):
        if self.refuses:
            return [RouteFailure(route, "no memory") for route in wanted - self.routes]
        self.routes = frozenset(wanted)
        return []


class Tunnels:
    """A datapath, as far as it takes packets out of tunnels."""

    def __init__(self) -> None:
        self.ends = frozenset()

    def setup(self):
        pass

    def set_inner_addresses(self, addresses):
        pass

    def set_tunnel_ends(self, ends, source):
        self.ends = frozenset(ends)


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
    def __init__(self) -> None:
        self.sent = []

    def send_batch(self, packets):
        self.sent += packets
        return []


class Agent:
    """A core and its way out, with a kernel, a disk, peers and a wire that the test holds in its hand."""

    def __init__(self, world) -> None:
        config = world.agents[1]._config
        self.core = HomeAgent(config, Random(1))
        self.core.start((), world.now)
        self.kernel, self.disk, self.wire, self.peers = Kernel(), Disk(), Wire(), Peers()
        self.enforcer = Enforcer(config, None, self.kernel, self.kernel, self.disk)
        self.failures: list[BaseException] = []
        self.delivery = Delivery(
            self.core,
            self.enforcer,
            tell=self.peers.change,
            send=self.wire.send_batch,
            done=lambda: None,
            failed=self.failures.append,
        )


@pytest.fixture
def agent(world, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setattr(delivery, "RETRY_DELAY", 0.01)
    monkeypatch.setattr(delivery, "read_clocks", lambda: world.now)
    monkeypatch.setattr(delivery, "time", SimpleNamespace(monotonic=lambda: world.now.monotonic))
    made = Agent(world)
    yield made
    made.enforcer.close()


def update_of(world, access: int = 1) -> MobilityPacket:
    """A Binding Update as the mobile router sends it, delivered to nobody yet."""
    world.wire.clear()
    world.attach(access)
    to = world.agents[1]._config.outer
    return next(one for one in world.wire if isinstance(one, MobilityPacket) and one.destination == to)


def run(world, agent, *steps) -> None:
    async def story() -> None:
        agent.delivery.carry_out()
        for step in steps:
            step()
            await asyncio.sleep(0.05)
        await agent.delivery.finish()

    asyncio.run(story())


def test_all_in_order_is_acknowledged(world, agent):
    update = update_of(world)

    def receive() -> None:
        agent.core.receive_mobility(update, world.now)
        agent.delivery.carry_out()

    run(world, agent, receive)
    assert len(agent.wire.sent) == 1
    assert agent.kernel.routes == agent.core.wanted.routes()
    assert agent.kernel.permits == agent.core.wanted.permits() != frozenset()
    assert len(agent.disk.saved) == 1


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize("broken", ["kernel", "disk"])
def test_nothing_is_acknowledged_or_lost_while_kernel_or_store_refuse(
    world, agent, monkeypatch, broken, idle
):
    monkeypatch.setattr(Enforcer, "is_idle", idle)
    update = update_of(world)
    fault = getattr(agent, broken)

    def receive_in_vain() -> None:
        fault.refuses = True
        agent.core.receive_mobility(update, world.now)
        agent.delivery.carry_out()
        assert agent.wire.sent == []

    def recover() -> None:
        assert agent.wire.sent == []
        if broken == "kernel":
            # Nobody is sent here while the kernel could not deliver.
            assert not {one.prefix for one in agent.core.wanted.announcements()} <= agent.peers.told
        fault.refuses = False

    run(world, agent, receive_in_vain, recover)
    assert agent.core.counters["answers_withheld"] == 1
    assert agent.kernel.routes == agent.core.wanted.routes()
    assert agent.kernel.permits == agent.core.wanted.permits() != frozenset()
    assert {one.prefix for one in agent.core.wanted.announcements()} == agent.peers.told
    assert set(agent.disk.saved) == {binding.home_address for binding in agent.core.bindings}
    assert agent.delivery._held == []


@pytest.mark.parametrize("broken", ["kernel", "disk"])
def test_what_is_refused_is_tried_again_after_a_pause(world, agent, monkeypatch, broken):
    monkeypatch.setattr(Enforcer, "is_idle", False)
    monkeypatch.setattr(delivery, "RETRY_DELAY", 0.04)
    update, fault = update_of(world), getattr(agent, broken)

    def receive_in_vain() -> None:
        fault.refuses = True
        agent.core.receive_mobility(update, world.now)
        agent.delivery.carry_out()

    tries = []
    for name in ("enforce", "enforce_all"):
        do = getattr(agent.enforcer, name)
        monkeypatch.setattr(agent.enforcer, name, lambda *args, do=do: tries.append(do) or do(*args))
    run(world, agent, lambda: None, tries.clear, receive_in_vain, lambda: None, lambda: None)
    assert 2 <= len(tries) <= 6


def test_refusal_of_many_routes_is_a_few_lines(world, agent, caplog):
    refusals = [f"route {number}: no device" for number in range(1000)]

    def refused() -> None:
        agent.delivery.enforced(Outcome(Batch((), agent.core._config), refusals))

    run(world, agent, refused)
    lines = [line for line in caplog.messages if "the kernel refuses" in line]
    assert len(lines) < 20 and lines[-1] == "the kernel refuses 990 more"
    assert agent.core.counters["kernel_refusals"] == 1000


def test_tunnels_stay_closed_until_the_guard_stands(world, agent):
    """At the start, say, when `nft` is not there: whoever came by a tunnel would be let in."""
    config, tunnels = agent.core._config, Tunnels()
    enforcer = Enforcer(config, tunnels, agent.kernel, agent.kernel, agent.disk)
    wanted = agent.core.wanted.snapshot()
    agent.kernel.refuses = True
    assert not enforcer.enforce_all((), wanted, world.now).in_force
    enforcer.open_tunnels()
    assert not enforcer.mend() and not tunnels.ends
    agent.kernel.refuses = False
    assert enforcer.enforce_all((), wanted, world.now).in_force
    assert enforcer.mend() and tunnels.ends == {config.outer}
    enforcer.close()


def test_what_is_decided_meanwhile_is_the_next_batch(world, agent, monkeypatch):
    """While the kernel works the core goes on deciding; what it promises waits for its own batch."""
    monkeypatch.setattr(Enforcer, "is_idle", False)
    first, second = update_of(world), update_of(world, access=2)
    agent.kernel.busy.clear()

    def receive(update: MobilityPacket) -> None:
        agent.core.receive_mobility(update, world.now)
        agent.delivery.carry_out()

    def both_wait() -> None:
        receive(second)
        assert agent.wire.sent == []
        assert agent.core.bindings.get(HOA).care_of_address == ACCESS[2]
        agent.kernel.busy.set()

    run(world, agent, lambda: receive(first), both_wait)
    assert len(agent.wire.sent) == 2
    assert agent.kernel.routes == agent.core.wanted.routes()
    assert agent.disk.saved[HOA].care_of_address == ACCESS[2]


def test_what_was_under_way_when_a_binding_changed_is_let_in_for_a_while(world, agent):
    first, second = update_of(world), update_of(world, access=2)

    def receive(update: MobilityPacket) -> None:
        agent.core.receive_mobility(update, world.now)
        agent.delivery.carry_out()

    def still_in() -> None:
        assert {outer for outer, _ in agent.kernel.permits} == {ACCESS[1], ACCESS[2]}
        passed = delivery.IN_FLIGHT_TIME + 0.1
        world.now = Now(world.now.monotonic + passed, world.now.wall + passed)
        agent.delivery.carry_out()

    run(world, agent, lambda: receive(first), lambda: receive(second), still_in)
    assert {outer for outer, _ in agent.kernel.permits} == {ACCESS[2]}


def test_who_comes_back_within_that_while_is_not_kept_out(world, agent):
    grace = Grace(2.0)
    permit, revoke = Permit(ACCESS[1], MNP), Revoke(ACCESS[1], MNP)
    grace.take([revoke, permit], 10.0)
    assert grace.next_due() is None
    grace.take([revoke], 11.0)
    assert grace.next_due() == pytest.approx(13.0, abs=0.1)
    grace.take([permit], 12.0)
    assert grace.pop_due(20.0) == [] and grace.next_due() is None


def test_many_that_have_been_kept_out_slow_nobody_down():
    """Whether something is due is asked in every turn."""
    grace = Grace(2.0)
    grace.take([Revoke(Address(number.to_bytes(16, "big")), MNP) for number in range(170_000)], 10.0)
    assert len(grace.pop_due(20.0)) == 170_000
    began = time.perf_counter()
    for _ in range(2000):
        assert grace.next_due() is None and grace.pop_due(30.0) == []
    assert time.perf_counter() - began < 0.2


def test_what_is_let_in_as_a_part_of_another_prefix_is_not_kept_out():
    """A /60 stands as sixteen /64 in the guard."""
    grace = Grace(2.0)
    wide, narrow = Prefix.parse("2001:db8:1:100::/60"), Prefix.parse("2001:db8:1:105::/64")
    grace.take([Revoke(ACCESS[1], wide), Dismiss(wide)], 10.0)
    grace.take([Permit(ACCESS[1], narrow), Admit(narrow)], 11.0)
    kept_out = grace.pop_due(20.0)
    assert {one.inner for one in kept_out} == set(in_whole_octets(wide)) - {narrow}
    assert len(kept_out) == 30


def test_what_changes_within_a_tenth_of_a_second_is_kept_out_by_one_transaction():
    grace = Grace(2.0)
    gone = [Revoke(ACCESS[place], MNP) for place in (1, 2)]
    grace.take(gone[:1], 10.01)
    grace.take(gone[1:], 10.09)
    assert grace.pop_due(12.0) == []
    assert grace.pop_due(grace.next_due()) == gone and grace.next_due() is None


def test_who_is_to_be_kept_out_once_more_holds_up_nobody_else():
    grace = Grace(2.0)
    first, second = (Revoke(ACCESS[place], MNP) for place in (1, 2))
    for effect, now in ((first, 10.0), (second, 11.0), (first, 12.0)):
        grace.take([effect], now)
    assert grace.pop_due(13.5) == [second]
    assert grace.pop_due(14.5) == [first]


@pytest.mark.parametrize("idle", [True, False])
def test_a_mistake_of_ours_ends_the_process_instead_of_standing_still(world, agent, monkeypatch, idle):
    monkeypatch.setattr(Enforcer, "is_idle", idle)
    update = update_of(world)
    agent.disk.save = None

    def receive() -> None:
        agent.core.receive_mobility(update, world.now)
        agent.delivery.carry_out()

    run(world, agent, receive)
    assert [type(failure) for failure in agent.failures] == [TypeError]
    assert agent.wire.sent == []


@pytest.mark.parametrize("idle", [True, False])
def test_a_mistake_after_a_batch_ends_the_process_as_well(world, agent, monkeypatch, idle):
    """Else who had been paused for the batch would wait for ever, and the next would be answered all the
    same."""
    monkeypatch.setattr(Enforcer, "is_idle", idle)
    updates = [update_of(world), update_of(world, access=2)]
    agent.delivery._tell = None

    def receive() -> None:
        agent.core.receive_mobility(updates.pop(0), world.now)
        agent.delivery.carry_out()

    run(world, agent, receive, receive)
    assert [type(failure) for failure in agent.failures] == [TypeError]
    assert agent.wire.sent == []


def test_binding_that_goes_on_with_a_part_of_its_prefix_keeps_that_part(world, agent):
    """A proxy learns from the primary that the mobile router has a /64 now, of the /60 that it had."""
    config = agent.core._config
    part = Prefix.of(MNP.address, 64)
    before = Binding(
        HOA, ACCESS[1], (Prefix.of(MNP.address, 60),), True, BindingKind.PROXY, Order(1, 1), 7, None, 0.0, 9.0
    )
    grace = Grace(2.0)
    grace.take(Batch([Rebind(before, before._replace(prefixes=(part,)))], config).guard, 10.0)
    kept_out = grace.pop_due(20.0)
    assert len(kept_out) == 30 and part not in {one.inner for one in kept_out}
