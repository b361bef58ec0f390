"""The table of the packet filter: it changes in whole steps, is mended, and leaves others' rules alone."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from haha_exabgp.kernel.guard import HomeAgentGuard
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.effects import Admit, Dismiss, Permit, Revoke
from haha_exabgp.wire.address import Address, Prefix
from tests.lab.guard_world import PERMITS, arrives, guarded, holds
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HOME_ADDRESS,
    LFN,
    MNP,
    OUTER,
    World,
    kernel_world,
    seen,
    sniffer,
    tunnelled,
    udp,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with kernel_world("tDy") as built:
        yield built


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with guarded(shared) as world:
        yield world


def test_many_permits_change_in_one_transaction(world: World) -> None:
    guard = world.ha1.guard
    pairs = [
        (
            Address(CARE_OF[:14] + n.to_bytes(2, "big")),
            Prefix(Address(LFN[:6] + n.to_bytes(2, "big") + bytes(8)), 64),
        )
        for n in range(0x2000, 0x2800)
    ]
    guard.apply((Permit(*pair) for pair in pairs), ())
    assert _count(world, "permit64") == len(pairs) + 1
    assert _count(world, "bound64") == 0
    guard.apply((), (Revoke(*pair) for pair in pairs))
    assert _count(world, "permit64") == 1


def test_letting_in_counts_more_than_keeping_out(world: World) -> None:
    world.ha1.guard.apply([Permit(CARE_OF, MNP), Admit(MNP)], [Revoke(CARE_OF, MNP), Dismiss(MNP)])
    assert (_count(world, "permit64"), _count(world, "bound64")) == (1, 1)
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)


def test_what_is_so_already_is_no_failure(world: World) -> None:
    """And does not keep the rest of the changes from being made."""
    there, missing, new = MNP, Prefix.parse("2001:db8:1:200::/64"), Prefix.parse("2001:db8:1:300::/64")
    world.ha1.guard.apply(
        [Permit(CARE_OF, there), Permit(CARE_OF, new), Admit(new)],
        [Revoke(CARE_OF, missing), Dismiss(missing), Revoke(CARE_OF, Prefix.host(HOME_ADDRESS))],
    )
    assert [_count(world, name) for name in ("permit64", "bound64", "permit128")] == [2, 1, 0]


def test_guard_notices_a_flushed_ruleset_and_mends_it(world: World) -> None:
    guard = world.ha1.guard
    other = Prefix.parse("2001:db8:1:200::/64")
    assert guard.intact()
    world.ha1.namespace.nft("flush ruleset\n")
    assert not guard.intact()
    with pytest.raises(FileNotFoundError):
        guard.apply([Permit(CARE_OF, other)], [])
    guard.setup({*PERMITS, (CARE_OF, other)}, frozenset())
    assert guard.intact()
    assert _count(world, "permit64") == 2
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    assert not arrives(world, world.evil, tunnelled(EVIL, inner), inner)


def test_refused_change_changes_nothing(world: World) -> None:
    """No set is there for prefixes of this length: they are made by `setup`."""
    odd, usual = Prefix.parse("2001:db8::/40"), Prefix.parse("2001:db8:1:200::/64")
    guard = world.ha1.guard
    with pytest.raises(FileNotFoundError):
        guard.apply([Permit(CARE_OF, usual), Permit(CARE_OF, odd)], [Revoke(CARE_OF, MNP)])
    assert _count(world, "permit64") == 1
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)


def test_new_prefix_length_is_judged_by_from_setup_on(world: World) -> None:
    odd = Prefix.parse("2001:db8::/40")
    inner = udp(Address.parse("2001:db8:9:9::9"), CN)
    guard = world.ha1.guard
    guard.setup({*PERMITS, (CARE_OF, odd)}, frozenset())
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    guard.setup(PERMITS, frozenset())
    assert not arrives(world, world.mr, tunnelled(CARE_OF, inner), inner), "it is wanted no more"
    guard.apply([Permit(CARE_OF, odd)], [])
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner), "its length stays known"


def test_setup_leaves_nothing_of_what_was(world: World) -> None:
    other = Prefix.parse("2001:db8:1:200::/64")
    world.ha1.guard.setup({(CARE_OF, other)}, {other})
    world.ha1.guard.setup(PERMITS, {MNP})
    listed = world.ha1.namespace.run("nft", "list", "table", "ip6", "haha")
    assert "0x20010db800010200" not in listed
    assert listed.count("0x20010db800010100") == 2


def test_loading_again_lets_nothing_through_and_keeps_nothing_out(world: World) -> None:
    good, bad = udp(LFN, CN), udp(LFN, CN, port=6666)
    many = {
        (CARE_OF, Prefix(Address(LFN[:4] + n.to_bytes(4, "big") + bytes(8)), 64))
        for n in range(0x20000, 0x22000)
    }
    passed, found = 0, list[bytes]()
    with sniffer(world.core, "c-cn") as packets:
        for turn in range(20):
            loading = threading.Thread(
                target=world.ha1.guard.setup, args=({*PERMITS, *many} if turn % 2 else PERMITS, frozenset())
            )
            loading.start()
            while loading.is_alive():
                world.mr.sends(tunnelled(CARE_OF, good))
                world.evil.sends(tunnelled(EVIL, bad))
                passed += 1
                found += seen(packets)
            loading.join()
        last = udp(LFN, CN, port=9999)
        world.mr.sends(tunnelled(CARE_OF, last))

        def all_came() -> bool:
            found.extend(seen(packets))
            return holds(found, last)

        eventually(all_came, 2, "the last packet arrives", interval=0.002)
    assert passed > 100
    assert not holds(found, bad)
    assert sum(holds([one], good) for one in found) == passed


def test_table_of_another_shape_is_made_anew(world: World) -> None:
    world.ha1.namespace.nft(
        "delete table ip6 haha\ntable ip6 haha {\nset permit64 {\ntype ipv6_addr\n}\n"
        "chain forward {\ntype filter hook output priority 7; policy accept;\n}\n}\n"
    )
    world.ha1.guard.setup(PERMITS, frozenset())
    inner = udp(LFN, CN)
    assert arrives(world, world.mr, tunnelled(CARE_OF, inner), inner)
    assert not arrives(world, world.evil, tunnelled(EVIL, inner), inner)


def test_new_peers_take_the_place_of_the_old_and_counters_go_on(world: World) -> None:
    inner = udp(LFN, CN)
    assert not arrives(world, world.evil, tunnelled(EVIL, inner), inner)
    config = dataclasses.replace(world.ha1.guard_config, peers=frozenset({EVIL}))
    with closing(HomeAgentGuard(config)) as renewed:
        renewed.setup(PERMITS, frozenset())
        assert renewed.counters()["spoofed"] == 1
        assert not arrives(world, world.ha2.namespace, tunnelled(OUTER[2], inner), inner)
        assert renewed.counters()["spoofed"] == 2, "it is no peer any more"
        listed = world.ha1.namespace.run("nft", "list", "set", "ip6", "haha", "peers")
        assert re.findall(r"elements = { (.*) }", listed) == [str(EVIL)]


def test_rules_of_others_stay(world: World) -> None:
    ha1 = world.ha1.namespace
    ha1.nft("table ip6 other {\n}\n")
    world.ha1.guard.setup(PERMITS, frozenset())
    world.ha1.guard.flush()
    world.ha1.guard.flush()
    assert ha1.run("nft", "list", "tables").split("\n") == ["table ip6 other", ""]
    ha1.nft("delete table ip6 other\n")


def test_operator_can_list_the_rules(world: World) -> None:
    listed = world.ha1.namespace.run("nft", "list", "table", "ip6", "haha")
    assert 'counter name "spoofed" drop' in listed
    assert set(world.ha1.guard.counters()) == set(re.findall(r"counter name \"(\w+)\"", listed))


def _count(world: World, name: str) -> int:
    text = world.ha1.namespace.run("nft", "-j", "list", "set", "ip6", "haha", name)
    return sum(len(entry["set"].get("elem", [])) for entry in json.loads(text)["nftables"] if "set" in entry)
