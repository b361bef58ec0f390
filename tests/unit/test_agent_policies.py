"""The policies of a running agent follow its database and its configuration file."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from haha_exabgp.agent.control import ControlError, ask, serve_control
from haha_exabgp.agent.policies import Policies
from haha_exabgp.agent.policy_keeper import PolicyKeeper
from haha_exabgp.agent.policy_table import PolicyTable
from haha_exabgp.agent.settings import configured_policies
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.mobile_routers.database import DatabaseError, MobileRouterDatabase
from haha_exabgp.mobile_routers.edit import Edit
from haha_exabgp.protocol.home import (
    LeakPolicy,
    MobileRouterPolicy,
    ReplayProtectionMode,
    SecurityAssociation,
)
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import Algorithm

GOOD = (Path(__file__).parents[1] / "cases" / "config" / "good.yaml").read_text()
MR1 = Address.parse("2001:db8:1:1::10")
MR2 = Address.parse("2001:db8:2:1::10")


def policy(number: int, **fields: object) -> MobileRouterPolicy:
    home_address = Address.parse(f"2001:db8:1:2::{number:x}")
    prefix = Prefix.parse(f"2001:db8:1:{0x1000 + number:x}::/64")
    key = SecurityAssociation(4096, number.to_bytes(16, "big"))
    plain = MobileRouterPolicy(f"a{number}", home_address, (prefix,), (key,))
    return replace(plain, **fields)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with two mobile routers of its own and an empty database."""
    file = tmp_path / "home.yaml"
    file.write_text(GOOD.replace("  asn:", "  mobile_router_db: mr.db\n  asn:"))
    loaded = load(file, no_key)
    list(make_missing(loaded.key_path(one) for _, one in key_files(loaded.config)))
    MobileRouterDatabase(tmp_path / "mr.db", make=True).close()
    return file


def edit(file: Path, change: Callable[[Edit], object]) -> None:
    with closing(MobileRouterDatabase(file.parent / "mr.db")) as database, database.editing() as open_edit:
        change(open_edit)


def add(file: Path, *policies: MobileRouterPolicy) -> None:
    edit(file, lambda one: [one.add(policy) for policy in policies])


def taken(policies: Policies) -> set[Address]:
    """What a look at the database takes up."""
    if not policies.stale():
        return set()
    update = policies.read_changes()
    return policies.apply(update) if update is not None else set()


@pytest.mark.requirement("P-5", "S-3")
def test_both_sources_are_in_one_table(file: Path) -> None:
    special = policy(
        2,
        prefixes=(),
        replay=ReplayProtectionMode.SEQUENCE,
        proxies=frozenset({"ha2"}),
        leak=LeakPolicy.ON_TRAFFIC,
        associations=(
            SecurityAssociation(4294967295, bytes(range(64)), Algorithm.HMAC_SHA256),
            SecurityAssociation(256, bytes(16)),
        ),
    )
    add(file, policy(1), special, policy(3, proxies=frozenset()))
    loaded = load(file)
    table = Policies(loaded).table
    expected = configured_policies(loaded) | {
        one.home_address: one for one in (policy(1), special, policy(3, proxies=frozenset()))
    }
    assert dict(table) == expected
    assert len(table) == 5 and list(table) == list(expected)
    assert table[special.home_address] == special
    assert special.home_address in table and Address.parse("2001:db8:1:2::9") not in table
    assert table.get(Address.parse("2001:db8:1:2::9")) is None
    with pytest.raises(KeyError):
        table[Address.parse("2001:db8:1:2::9")]
    for one in expected.values():
        assert table.named(one.name) == one
    assert table.named("1") is None and table.named("zz") is None


def test_length_counts_every_home_address_once() -> None:
    table = PolicyTable({policy(1).home_address: policy(1)})
    for change, expected in (
        (lambda: table.fill({bytes(policy(n).home_address): table.pack(policy(n)) for n in (1, 2)}), 2),
        (lambda: table.configure({policy(3).home_address: policy(3)}), 3),
        (lambda: table.change({bytes(policy(3).home_address): table.pack(policy(3))}, []), 3),
        (lambda: table.change({}, [policy(1).home_address]), 2),
        (lambda: table.change_all({}), 1),
    ):
        change()
        assert len(table) == len(list(table)) == expected


def test_length_of_a_large_table_takes_no_time() -> None:
    """Whoever sends Binding Updates that are refused has it asked for each."""
    table = PolicyTable({policy(number).home_address: policy(number) for number in range(1, 5000)})
    began = time.perf_counter()
    assert {len(table) for _ in range(2000)} == {4999}
    assert time.perf_counter() - began < 0.2


@pytest.mark.requirement("P-5")
def test_a_change_of_the_database_is_seen_and_nothing_else_is_read(file: Path) -> None:
    add(file, *map(policy, range(1, 50)))
    policies = Policies(load(file))
    assert not policies.stale()
    add(file, policy(50))
    assert taken(policies) == {policy(50).home_address}
    assert policies.table[policy(50).home_address] == policy(50)
    assert not policies.stale()
    assert [policies.table[policy(number).home_address].name for number in (7, 8)] == ["a7", "a8"]
    longer = policy(7, prefixes=(Prefix.parse("2001:db8:1:2000::/56"),))
    edit(file, lambda one: (one.remove("a7"), one.add(longer), one.remove("a8")))
    assert taken(policies) == {policy(7).home_address, policy(8).home_address}
    assert policies.table[longer.home_address] == longer
    assert policies.table.get(policy(8).home_address) is None
    update = None
    add(file, policy(60))
    if policies.stale():
        update = policies.read_changes()
    assert update is not None and len(update.records) == 1


@pytest.mark.requirement("P-5")
def test_older_state_that_is_put_back_into_the_file_is_taken_up(file: Path, tmp_path: Path) -> None:
    """As `.restore` of the sqlite3 shell does."""
    add(file, policy(1))
    with closing(sqlite3.connect(tmp_path / "mr.db")) as live, closing(sqlite3.connect(":memory:")) as copy:
        live.backup(copy)
        edit(file, lambda one: one.remove("a1"))
        add(file, *map(policy, range(2, 5)))
        policies = Policies(load(file))
        copy.backup(live)
    assert taken(policies) == {policy(number).home_address for number in range(1, 5)}
    assert policies.table.named("a1") == policy(1) and policies.table.named("a4") is None
    add(file, policy(6))
    assert taken(policies) == {policy(6).home_address}


def test_very_many_changes_at_once_are_taken_up_as_well(file: Path) -> None:
    add(file, *map(policy, range(1, 100)))
    policies = Policies(load(file))
    edit(file, lambda one: [one.remove(f"a{number}") for number in range(50, 100)])
    add(file, *map(policy, range(100, 1200)))
    changed = {policy(number).home_address for number in range(50, 1200)}
    assert taken(policies) == changed
    assert len(policies.table) == 2 + 49 + 1100
    add(file, policy(50))
    assert taken(policies) == {policy(50).home_address}


def test_a_hand_that_changes_nothing_changes_nothing(file: Path) -> None:
    add(file, policy(1))
    policies = Policies(load(file))
    with closing(sqlite3.connect(file.parent / "mr.db", isolation_level=None)) as hand:
        hand.execute("UPDATE mobile_router SET replay = 'timestamp'")
    assert policies.stale()
    assert taken(policies) == set()
    assert not policies.stale()


def test_what_has_no_place_in_the_home_is_left_out_and_said(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = policy(1, home_address=Address.parse("2001:dead::1"))
    clash = policy(2, prefixes=(Prefix.parse("2001:db8:1:100::/56"),))
    add(file, outside, clash, policy(3))
    policies = Policies(load(file))
    assert set(policies.table) == {MR1, MR2, policy(3).home_address}
    assert "a1 is left out: 2001:dead::1 is outside Home" in caplog.text
    assert "a2 is left out: 2001:db8:1:100::/56 overlaps 2001:db8:1:100::/64, a prefix of mr1" in caplog.text
    edit(file, lambda one: (one.remove("a3"), one.add(policy(3, proxies=frozenset({"ha9"})))))
    assert taken(policies) == {policy(3).home_address}
    assert set(policies.table) == {MR1, MR2}


def test_very_many_left_out_are_counted(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(file, *(policy(n, proxies=frozenset({"ha9"})) for n in range(1, 40)))
    Policies(load(file))
    assert len(caplog.records) == 11
    assert "29 more are left out" in caplog.text


def test_another_file_in_the_place_of_the_database_is_taken_up(file: Path) -> None:
    add(file, policy(1), policy(2))
    policies = Policies(load(file))
    other = file.parent / "other"
    other.mkdir()
    with closing(MobileRouterDatabase(other / "mr.db", make=True)) as database, database.editing() as change:
        change.add(policy(2))
        change.add(policy(3))
    assert not list(file.parent.glob("mr.db-*"))
    shutil.move(other / "mr.db", file.parent / "mr.db")
    assert taken(policies) == {policy(1).home_address, policy(3).home_address}
    add(file, policy(4))
    assert taken(policies) == {policy(4).home_address}


def test_nobody_waits_for_a_change_that_takes_its_time(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    policies = Policies(load(file))
    with closing(sqlite3.connect(file.parent / "mr.db", isolation_level=None)) as hand:
        hand.execute("BEGIN EXCLUSIVE")
        address = bytes(policy(1).home_address)
        hand.execute("INSERT INTO mobile_router (home_address, name) VALUES (?, 'a1')", (address,))
        hand.execute(
            "INSERT INTO key (home_address, position, spi, key) VALUES (?, 0, 256, ?)", (address, bytes(16))
        )
        began = time.monotonic()
        assert not policies.stale()
        assert time.monotonic() - began < 0.1
        hand.execute("COMMIT")
        assert policies.stale()
        hand.execute("BEGIN EXCLUSIVE")
        assert policies.read_changes() is None
        hand.execute("COMMIT")
    assert caplog.text == ""
    assert taken(policies) == {policy(1).home_address}
    assert policies.table[policy(1).home_address].associations[0].spi == 256


def test_whom_somebody_has_left_without_a_key_is_left_out(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(file, policy(1))
    policies = Policies(load(file))
    with closing(sqlite3.connect(file.parent / "mr.db", isolation_level=None)) as hand:
        hand.execute("DELETE FROM key")
    assert taken(policies) == {policy(1).home_address}
    assert policy(1).home_address not in policies.table
    assert "a1 is left out: it has no key" in caplog.text


def test_another_policy_in_another_file_is_taken_up(file: Path) -> None:
    add(file, policy(1))
    policies = Policies(load(file))
    assert policies.table[policy(1).home_address] == policy(1)
    changed = policy(1, replay=ReplayProtectionMode.SEQUENCE)
    edit(file, lambda one: (one.remove("a1"), one.add(changed)))
    assert policies.apply(policies.read_again()) == {changed.home_address}
    assert policies.table[changed.home_address] == changed


def test_a_bad_file_in_its_place_changes_nothing_and_is_said_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(file, policy(1))
    policies = Policies(load(file))
    before = dict(policies.table)
    (file.parent / "bad").write_bytes(b"not a database" * 100)
    (file.parent / "bad").chmod(0o600)
    (file.parent / "bad").rename(file.parent / "mr.db")
    for _ in range(3):
        assert taken(policies) == set()
    assert dict(policies.table) == before
    assert caplog.text.count("the policies stay as they are") == 1
    (file.parent / "mr.db").unlink()
    for _ in range(3):
        assert taken(policies) == set()
    assert dict(policies.table) == before
    gone = f'the database of mobile routers, "{file.parent / "mr.db"}", has gone; put it back'
    assert caplog.messages[-1] == f"the policies stay as they are: {gone}"
    assert caplog.text.count("the policies stay as they are") == 2


def test_an_agent_does_not_start_without_its_database(file: Path) -> None:
    for rest in file.parent.glob("mr.db*"):
        rest.unlink()
    with pytest.raises(DatabaseError, match="does not exist"):
        Policies(load(file))


@pytest.mark.requirement("P-5")
def test_reading_all_again_takes_up_the_configuration_and_its_keys(file: Path) -> None:
    add(file, policy(1))
    policies = Policies(load(file))
    (file.parent / "keys" / "mr1.key").write_text("ab" * 16)
    text = file.read_text()
    file.write_text(text[: text.index("  mr2:")].replace("2001:db8:1:200::/64", "2001:db8:1:300::/64"))
    changed = policies.apply(policies.read_again())
    assert changed == {MR1, MR2}
    assert policies.table[MR1].associations[0].key == b"\xab" * 16
    assert policies.table.get(MR2) is None
    assert policy(1).home_address in policies.table


def test_a_mobile_router_may_move_from_the_configuration_to_the_database(file: Path) -> None:
    policies = Policies(load(file))
    moved = policies.table[MR2]
    add(file, moved)
    assert taken(policies) == set()
    assert policies.table[MR2] == moved
    text = file.read_text()
    file.write_text(text[: text.index("  mr2:")])
    policies.apply(policies.read_again())
    assert policies.table[MR2] == moved and len(policies.table) == 2


def test_the_end_of_a_part_of_home_is_taken_up_without_a_restart(file: Path) -> None:
    policies = Policies(load(file))
    assert policies.subnets == ()
    ends = '  subnets: [{prefix: "2001:db8:1::/48", valid_until: 2027-07-01T00:00:00Z}]\n  asn:'
    file.write_text(file.read_text().replace("  asn:", ends))
    update = policies.read_again()
    policies.apply(update)
    assert update.notes == []
    (subnet,) = policies.subnets
    assert (str(subnet.prefix), subnet.valid_until) == ("2001:db8:1::/48", 1814400000.0)
    assert subnet.preferred_until == subnet.valid_until
    policies.close()


def test_what_takes_a_restart_is_said(file: Path) -> None:
    """Each time, and no more when the file is as the agent was started with."""
    policies = Policies(load(file))
    before = file.read_text()
    file.write_text(before.replace("mesh_spi: 256", "mesh_spi: 257"))
    for _ in range(2):
        update = policies.read_again()
        assert update.notes == [f"home has changed in {file}: restart the agent for that"]
        policies.apply(update)
    file.write_text(before)
    assert policies.read_again().notes == []


# The keeper


def keep(file: Path, story: Callable[[Policies, list[set[Address]], Path], object]) -> None:
    """Run a keeper with its control socket while `story` runs in a thread."""

    async def both() -> None:
        policies = Policies(load(file))
        changes: list[set[Address]] = []
        keeper = PolicyKeeper(policies, changes.append)
        watching = asyncio.create_task(keeper.watch())
        server = await serve_control(file.parent, {}, {"reload": keeper.reload})
        try:
            await asyncio.to_thread(story, policies, changes, file.parent)
        finally:
            watching.cancel()
            server.close()
            keeper.close()

    asyncio.run(both())


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("not within four seconds")


def test_a_running_keeper_sees_a_change_by_itself(file: Path) -> None:
    def story(policies: Policies, changes: list[set[Address]], run_dir: Path) -> None:
        add(file, policy(1))
        eventually(lambda: changes == [{policy(1).home_address}])
        edit(file, lambda one: one.remove("a1"))
        eventually(lambda: len(changes) == 2)
        assert policies.table.get(policy(1).home_address) is None

    keep(file, story)


def test_reload_says_what_came_of_it_and_a_mistake_keeps_everything(file: Path) -> None:
    def story(policies: Policies, changes: list[set[Address]], run_dir: Path) -> None:
        text = file.read_text()
        file.write_text(text.replace("2001:db8:1:200::/64", "2001:db8:9:200::/64"))
        before = dict(policies.table)
        with pytest.raises(ControlError) as caught:
            ask(run_dir, "reload", request="do")
        assert f"{file}:35: mobile_routers.mr1.prefixes[1]: 2001:db8:9:200::/64" in str(caught.value)
        assert dict(policies.table) == before and changes == []
        file.write_text(text.replace("2001:db8:1:200::/64", "2001:db8:1:300::/64"))
        assert ask(run_dir, "reload", request="do") == [
            {"policies_changed": 1, "mobile_routers": 2, "note": ""}
        ]
        assert changes == [{MR1}]
        with pytest.raises(ControlError, match="this daemon cannot show bindings; what it can show: nothing"):
            ask(run_dir, "bindings")

    keep(file, story)
