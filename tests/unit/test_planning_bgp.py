"""BGP messages that are counted, as ExaBGP reads them; and that none of them concerns the Internet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from haha_exabgp.bgp.communities import path_attributes
from haha_exabgp.protocol.routes import Announcement, Audience, RouteKind
from haha_exabgp.sim.planning import bgp_update, rehearsal
from haha_exabgp.sim.planning.estimate import as_json, estimate
from haha_exabgp.sim.planning.kinds import Kind
from haha_exabgp.sim.planning.rehearsal import rehearse
from haha_exabgp.sim.planning.topology import load_topology
from haha_exabgp.sim.planning.variants import Variant
from haha_exabgp.wire.address import Address, Prefix
from tests.unit.planning_world import SHIPPED

MNP = Prefix.parse("2001:db8:1:100::/64")
LEAK = Announcement(Audience.MESH, RouteKind.LEAK, MNP, Address.parse("2001:db8:ffff::2"), 1_700_000_000)


def decoded(message: bytes) -> dict[str, object]:
    """What `exabgp decode` says of a message."""
    exabgp = Path(sys.executable).parent / "exabgp"
    done = subprocess.run(
        [exabgp, "decode", message.hex()], capture_output=True, text=True, timeout=60, check=True
    )
    update: dict[str, object] = json.loads(done.stdout)["neighbor"]["message"]["update"]
    return update


def test_exabgp_reads_the_announcement() -> None:
    assert decoded(bgp_update.announcement(MNP, path_attributes(LEAK, 64500))) == {
        "attribute": {
            "origin": "igp",
            "local-preference": 1_700_000_000,
            "large-community": [[64500, 1, 5], [64500, 2, 1_700_000_000]],
        },
        "announce": {"ipv6 unicast": {"2001:db8:ffff::2": [{"nlri": "2001:db8:1:100::/64"}]}},
    }


def test_exabgp_reads_the_withdrawal() -> None:
    update = decoded(bgp_update.withdrawal(MNP))
    assert update == {"withdraw": {"ipv6 unicast": [{"nlri": "2001:db8:1:100::/64"}]}}


def test_no_move_is_seen_by_the_internet() -> None:
    result = estimate(load_topology(SHIPPED), 3000, 7200, seed=5)
    assert result.run.updates.mobile.size > 10_000
    assert {one.internet_updates for one in result.variants.values()} == {0.0}
    assert result.updates_if_announced_globally > 0
    assert result.variants[Variant.LEAKS].load.rate((Kind.LEAK,)) > 0


def test_a_move_that_the_internet_sees_would_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with every announcement to an own site's router taken for one that this passes on."""
    monkeypatch.setitem(rehearsal._ANNOUNCED, RouteKind.MNP, Kind.HOME_ROUTE)
    rehearse.cache_clear()
    try:
        result = estimate(load_topology(SHIPPED), 1000, 7200, seed=5)
    finally:
        rehearse.cache_clear()
    assert result.variants[Variant.PARTITIONED].internet_updates > 0
    assert result.variants[Variant.BASIC_NEMO].internet_updates == 0


def test_equal_seeds_are_equal_results() -> None:
    loaded = load_topology(SHIPPED)
    first, again, other = (as_json(estimate(loaded, 500, 1800, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["variants"] != other["variants"]
