"""What an ip6tnl device has taken out of a tunnel passes the guard once more, from `haha0`. A cable of that
name stands for the device here: this holds on kernels without ip6tnl too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from haha_exabgp.kernel.guard import HomeAgentGuard
from haha_exabgp.kernel.guard_config import HomeAgentGuardConfig
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.wire.address import Prefix
from tests.lab.kernel_world import CN, HAHA, HOME, OUTER, PARTITION, Namespace, connect, tunnelled, udp

pytestmark = pytest.mark.lab

CONFIG = HomeAgentGuardConfig(
    home=HOME,
    partition=PARTITION[1],
    haha=HAHA[1],
    tunnel_ends=frozenset({OUTER[1]}),
    peers=frozenset({OUTER[2]}),
    peer_hahas=frozenset({HAHA[2]}),
)


@pytest.fixture
def cables() -> Iterator[tuple[Namespace, Namespace]]:
    """A Home Agent's host, and what is at the other end of its `eth0` and its `haha0`."""
    host, other = Namespace("tDr-ha1", forwards=True), Namespace("tDr-other")
    connect((host, "eth0", f"{OUTER[1]}/64"), (other, "eth0", "3fff:101::1/64"))
    connect((host, "haha0", f"{HAHA[1]}/64"), (other, "out", f"{HAHA[2]}/64"))
    yield host, other
    host.delete()
    other.delete()


def test_haha_address_comes_in_by_the_tunnel_device_only(cables: tuple[Namespace, Namespace]) -> None:
    host, other = cables
    with host.entered(), closing(HomeAgentGuard(CONFIG)) as guard:
        guard.setup(frozenset(), frozenset())
        assert other.pings(HAHA[1], source=HAHA[2]), "as out of a tunnel"
        assert not any(guard.counters().values())
        other.ip(f"-6 route add {HAHA[1]}/128 via {OUTER[1]} dev eth0")
        assert not other.pings(HAHA[1], source=HAHA[2]), "as from a stranger"
        eventually(lambda: guard.counters()["outside_tunnel"] == 1, 2, "it is counted")


def test_tunnel_inside_a_tunnel_is_judged_when_it_comes_out(cables: tuple[Namespace, Namespace]) -> None:
    host, other = cables
    config = replace(CONFIG, peers=frozenset(), peer_hahas=frozenset())
    inner = udp(Prefix.parse("2001:db8:1:100::/64").address, HAHA[1])
    with host.entered(), closing(HomeAgentGuard(config)) as guard:
        guard.setup(frozenset(), frozenset())
        other.ip(f"-6 route add {OUTER[1]}/128 via {HAHA[1]} dev out")
        other.sends(tunnelled(HAHA[2], inner, destination=OUTER[1]))
        eventually(lambda: guard.counters()["spoofed"] == 1, 2, "the second layer is judged as the first")


def test_second_tunnel_to_a_satellite_is_judged_when_it_comes_out_of_the_first(
    cables: tuple[Namespace, Namespace],
) -> None:
    host, other = cables
    lent = Prefix.parse("2001:db8:2:f000::3/128").address
    bound = Prefix.parse("2001:db8:1:100::/64")
    config = replace(
        CONFIG,
        partition=None,
        tunnel_ends=frozenset({OUTER[1], lent}),
        lent_prefixes=(Prefix.of(lent, 64),),
        lent_addresses=frozenset({lent}),
        primaries=frozenset({OUTER[2]}),
    )
    to_bound, to_nobody = udp(CN, Prefix.of(bound.address, 128).address), udp(CN, HAHA[1])
    with host.entered(), closing(HomeAgentGuard(config)) as guard:
        guard.setup(frozenset(), frozenset({bound}))
        host.ip(f"-6 addr add {lent}/128 dev lo nodad")
        other.ip(f"-6 route add {lent}/128 via {HAHA[1]} dev out")
        other.sends(
            tunnelled(OUTER[2], to_bound, destination=lent),
            tunnelled(CN, to_bound, destination=lent),
            tunnelled(OUTER[2], to_nobody, destination=lent),
        )
        eventually(lambda: guard.counters()["misdirected"] == 1, 2, "from a primary, to what is bound here")
        assert guard.counters()["nested"] == 1
        other.ip(f"-6 route replace {lent}/128 via {OUTER[1]} dev eth0")
        other.sends(tunnelled(OUTER[2], to_bound, destination=lent))
        eventually(lambda: guard.counters()["outside_tunnel"] == 1, 2, "not from outside")
        assert sum(guard.counters().values()) == 3, "the first of all has passed"
