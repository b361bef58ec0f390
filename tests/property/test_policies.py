"""Whatever is done to the database of mobile routers, a running agent's table is what a fresh one would load,
and everything that differs from before has been told to the core."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haha_exabgp.agent.policies import Policies
from haha_exabgp.agent.policy_table import PolicyTable
from haha_exabgp.config.errors import ConfigError
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import LoadedHome, load
from haha_exabgp.mobile_routers.database import MobileRouterDatabase
from haha_exabgp.mobile_routers.files import Entry, read_entries, write_entries
from haha_exabgp.mobile_routers.intake import take_in
from haha_exabgp.mobile_routers.records import read_record
from haha_exabgp.protocol.home import (
    LeakPolicy,
    MobileRouterPolicy,
    ReplayProtectionMode,
    SecurityAssociation,
)
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import Algorithm

GOOD = (Path(__file__).parents[1] / "cases" / "config" / "good.yaml").read_text()

NUMBERS = st.integers(1, 6)
PROXIES = st.none() | st.frozensets(st.sampled_from(["ha1", "ha2", "ha9"]))
KEYS = st.tuples(
    st.integers(256, 4294967295),
    st.sampled_from([(16, Algorithm.HMAC_SHA1), (16, Algorithm.HMAC_SHA256), (64, Algorithm.HMAC_SHA256)]),
    st.integers(0, 255),
).map(lambda one: SecurityAssociation(one[0], bytes([one[2]]) * one[1][0], one[1][1]))
PREFIXES = st.lists(
    st.tuples(NUMBERS, st.sampled_from([62, 64, 72])).map(
        lambda one: Prefix.of(Address.parse(f"2001:db8:1:{0x100 * one[0]:x}::"), one[1])
    ),
    max_size=3,
    unique=True,
)


@st.composite
def policies(draw: st.DrawFn) -> MobileRouterPolicy:
    """Some in the partition of site1, some clashing with each other or the configuration."""
    site = draw(st.sampled_from([1, 1, 1, 3]))
    return MobileRouterPolicy(
        draw(NUMBERS.map(lambda number: f"a{number}") | st.just("mr1")),
        Address.parse(f"2001:db8:{site}:7::{draw(NUMBERS):x}"),
        tuple(sorted(draw(PREFIXES))),
        tuple(draw(st.lists(KEYS, min_size=1, max_size=2, unique_by=lambda one: one.spi))),
        draw(st.sampled_from(ReplayProtectionMode)),
        draw(PROXIES),
        draw(st.none() | st.sampled_from(LeakPolicy)),
    )


EDITS = st.one_of(
    st.tuples(st.just("import"), st.lists(policies(), max_size=4), st.booleans()),
    st.tuples(st.just("remove"), NUMBERS),
    st.tuples(st.just("replay"), NUMBERS),
)
BATCHES = st.lists(st.lists(EDITS, min_size=1, max_size=3), max_size=5)
"""Between two looks of the agent."""


_DIRECTORY = tempfile.TemporaryDirectory(prefix="haha-policies-")


@cache
def home() -> LoadedHome:
    file = Path(_DIRECTORY.name) / "home.yaml"
    file.write_text(GOOD.replace("  asn:", "  mobile_router_db: mr.db\n  asn:"))
    loaded = load(file, no_key)
    list(make_missing(loaded.key_path(one) for _, one in key_files(loaded.config)))
    return load(file)


def carry_out(file: Path, edit: tuple) -> None:
    match edit:
        case ("import", many, instead):
            entries = [Entry(number, _raw(one)) for number, one in enumerate(many, 1)]
            with closing(MobileRouterDatabase(file)) as database:
                before = list(database.every())
                try:
                    take_in(database, file, entries, rules=None, instead=instead)
                except ConfigError:
                    assert list(database.every()) == before
        case ("remove", number):
            with closing(MobileRouterDatabase(file)) as database, database.editing() as change:
                change.remove(f"a{number}")
        case ("replay", number):
            with closing(sqlite3.connect(file, isolation_level=None)) as hand:
                hand.execute("UPDATE mobile_router SET replay = 'sequence' WHERE name = ?", (f"a{number}",))


def _raw(policy: MobileRouterPolicy) -> dict[str, object]:
    return {
        "name": policy.name,
        "home_address": str(policy.home_address),
        "prefixes": list(map(str, policy.prefixes)),
        "keys": [
            {"spi": one.spi, "algorithm": f"hmac-{one.algorithm}", "key": one.key.hex()}
            for one in policy.associations
        ],
        "replay": str(policy.replay),
        "proxies": None if policy.proxies is None else sorted(policy.proxies),
    }


@pytest.mark.requirement("P-5")
@settings(max_examples=60, deadline=None)
@given(BATCHES)
def test_a_running_agents_table_is_what_a_fresh_one_loads(batches: list[list[tuple]]) -> None:
    file = home().path.parent / "mr.db"
    for left in file.parent.glob("mr.db*"):
        left.unlink()
    with closing(MobileRouterDatabase(file, make=True)) as database, database.editing() as edit:
        for number in (1, 2, 3):
            home_address = Address.parse(f"2001:db8:1:7::{number}")
            key = SecurityAssociation(4096, bytes(16))
            edit.add(MobileRouterPolicy(f"a{number}", home_address, (), (key,)))
    running = Policies(home())
    known = dict(running.table)
    for batch in batches:
        for one in batch:
            carry_out(file, one)
        changed = set()
        if running.stale():
            update = running.read_changes()
            assert update is not None
            changed = running.apply(update)
        fresh = Policies(home())
        assert dict(running.table) == dict(fresh.table)
        fresh.close()
        now = dict(running.table)
        assert changed == {one for one in known.keys() | now.keys() if known.get(one) != now.get(one)}
        known = now
    running.close()


@given(st.lists(policies(), unique_by=lambda one: one.home_address))
def test_what_is_packed_comes_out_as_it_was(many: list[MobileRouterPolicy]) -> None:
    table = PolicyTable({})
    table.fill({bytes(one.home_address): table.pack(one) for one in many})
    assert dict(table) == {one.home_address: one for one in many}


@pytest.mark.parametrize("suffix", [".csv", ".json", ".yaml"])
@settings(max_examples=30)
@given(many=st.lists(policies(), max_size=3, unique_by=lambda one: one.name))
def test_every_form_of_file_holds_everything(suffix: str, many: list[MobileRouterPolicy]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"out{suffix}"
        file.write_text("".join(write_entries(many, suffix, with_keys=True)))
        read = [read_record(entry.raw, file.parent) for entry in read_entries(file)]
    whole = [one for one in read if not one.problems]
    expected = [one for one in many if not _overlaps_itself(one)]
    assert [one.policy for one in whole] == expected


SYMBOLS = ["[", "]", "{", "}", ",", ":", '"', "\n", " ", "\\", "\\ud800", "\0", "null", "true", "1e999", "-1"]
FIELDS = [
    "name",
    "home_address",
    "prefixes",
    "keys",
    "replay",
    "proxies",
    "leak",
    "spi",
    "key",
    "key_file",
    "algorithm",
]
VALUES = [
    "a1",
    "2001:db8:1:7::1",
    "2001:db8:1:100::/64",
    "::/129",
    "4096:hmac-sha1:",
    "ab" * 16,
    "9" * 5000,
    "é",
]
PARTS = ['{"name": "a1", "keys": [{"spi": 4096, "key_file": ', '"}]}', '"keys": [[]]', "mobile_routers:"]
PIECES = st.sampled_from([*SYMBOLS, *FIELDS, *VALUES, *PARTS])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | PIECES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PIECES, inner, max_size=6),
    max_leaves=12,
)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".yaml"])
@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=80)
    | st.lists(PIECES, max_size=20).map("".join)
    | st.lists(JSON).map(json.dumps)
)
def test_any_file_is_read_or_told_about_with_a_line(suffix: str, content: bytes | str) -> None:
    raw = content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
    if suffix == ".csv" and isinstance(content, str):
        raw = b"name,home_address,prefixes,keys,replay,proxies\n" + raw
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"in{suffix}"
        file.write_bytes(raw)
        try:
            entries = read_entries(file)
        except ConfigError as error:
            assert error.findings
            assert all(one.line >= 1 and "\n" not in str(one) for one in error.findings)
            return
        for entry in entries:
            record = read_record(entry.raw, file.parent)
            assert entry.line >= 1
            assert record.problems or record.policy.name
            assert all(one.problem and one.remedy for one in record.problems)


def _overlaps_itself(policy: MobileRouterPolicy) -> bool:
    return any(one is not two and one.covers(two) for one in policy.prefixes for two in policy.prefixes)
