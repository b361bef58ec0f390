"""Who is behind a mobile router that has gone to another Home Agent is sent after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from haha_exabgp.protocol.following import DELAY, FOLLOWERS_A_SECOND, PAUSES
from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import MobilityPacket
from haha_exabgp.wire.messages import HomeAgentSwitch
from haha_exabgp.wire.mobility import decode_mobility
from tests.unit.conftest import ACCESS, ASSOCIATION, World, peer
from tests.unit.mobility_messages import acknowledgements, update_to
from tests.unit.proxying import ACCESS3

pytestmark = pytest.mark.requirement("N-2")

NUMBERS = range(1, 6)
HOME_ADDRESSES = {number: Address.parse(f"2001:db8:1:1::{number}0") for number in NUMBERS}
NETWORKS = {number: Prefix.parse(f"2001:db8:1:{number}00::/64") for number in NUMBERS}
CARE_OF = {**ACCESS, 3: ACCESS3}
OUTER = {site: peer(site).outer for site in (1, 2, 3)}


def nested_world(proxies: frozenset[str] | None = None) -> World:
    """Mobile routers of site 1; the second may be bound by these proxies."""

    def policies(config: HomeAgentConfig) -> HomeAgentConfig:
        known = {
            home_address: MobileRouterPolicy(
                f"mr{n}", home_address, (NETWORKS[n],), (ASSOCIATION,), proxies=proxies if n == 2 else None
            )
            for n, home_address in HOME_ADDRESSES.items()
        }
        return replace(config, mobile_routers=known)

    return World(sites=3, adapt=policies)


def inside(number: int, host: int = 0x77) -> Address:
    return Address(NETWORKS[number].address[:15] + bytes((host,)))


def bind(world: World, number: int, care_of_address: Address, site: int, sequence: int = 1) -> None:
    prefix, home_address = NETWORKS[number], HOME_ADDRESSES[number]
    seen = len(acknowledgements(world, care_of_address))
    world.inject(update_to(world, site, care_of_address, sequence, prefix=prefix, home_address=home_address))
    assert [one.status for one in acknowledgements(world, care_of_address)[seen:]] == [0]


def told(world: World) -> list[tuple[Address, Address, tuple[Address, ...]]]:
    """Of every Home Agent Switch: from whom, to which home address, towards whom."""
    found = []
    for packet in world.wire:
        if isinstance(packet, MobilityPacket):
            ends = packet.checksum_source, packet.checksum_destination
            message = decode_mobility(packet.header, *ends)
            if isinstance(message, HomeAgentSwitch):
                found.append((packet.source, ends[1], message.addresses))
    return found


@pytest.mark.parametrize(("here", "there"), [(1, 2), (2, 1), (2, 3)])
def test_who_is_behind_it_is_told_where_it_has_gone(here, there):
    world = nested_world()
    bind(world, 1, CARE_OF[here], here)
    bind(world, 2, inside(1), here)
    bind(world, 3, inside(2), here)
    world.pass_time(2.0)
    bind(world, 1, CARE_OF[there], there, 2)
    world.pass_time(DELAY / 2)
    assert told(world) == []
    world.pass_time(DELAY)
    assert told(world) == [(OUTER[here], HOME_ADDRESSES[2], (OUTER[there], OUTER[here]))]
    # Then those behind that one.
    bind(world, 2, inside(1), there, 2)
    world.pass_time(2 * DELAY)
    assert told(world)[1:] == [(OUTER[here], HOME_ADDRESSES[3], (OUTER[there], OUTER[here]))]


def test_it_is_told_a_few_times_and_may_stay():
    world = nested_world()
    bind(world, 1, CARE_OF[2], 2)
    bind(world, 2, inside(1), 2)
    bind(world, 1, CARE_OF[3], 3, 2)
    world.pass_time(100.0)
    assert len(told(world)) == 1 + len(PAUSES)
    bind(world, 2, inside(1), 2, 2)
    world.pass_time(100.0)
    assert len(told(world)) == 1 + len(PAUSES)


def test_who_has_followed_and_is_back_is_not_told_again():
    world = nested_world()
    bind(world, 1, CARE_OF[2], 2)
    bind(world, 2, inside(1), 2)
    bind(world, 1, CARE_OF[3], 3, 2)
    world.pass_time(2 * DELAY)
    bind(world, 2, inside(1), 3, 2)
    bind(world, 2, inside(1), 2, 3)
    world.pass_time(100.0)
    assert len(told(world)) == 1


def test_many_of_them_are_told_one_after_the_other():
    world = nested_world()
    bind(world, 1, CARE_OF[2], 2)
    for number in (2, 3, 4, 5):
        bind(world, number, inside(1, number), 2)
    bind(world, 1, CARE_OF[3], 3, 2)
    world.pass_time(DELAY + 1.5 / FOLLOWERS_A_SECOND)
    assert 1 <= len(told(world)) < 4
    world.pass_time(1.0)
    assert {home_address for _, home_address, _ in told(world)} == {HOME_ADDRESSES[n] for n in (2, 3, 4, 5)}


def back(world: World) -> None:
    bind(world, 1, CARE_OF[2], 2, 3)


def out(world: World) -> None:
    bind(world, 2, Address.parse("3fff:f02::bb"), 2, 2)


def silent(world: World) -> None:
    world.agents[2].routes.session_changed(peer(3).haha, False, world.now.monotonic)


def sent_elsewhere(world: World) -> None:
    world.agents[2].switch([HOME_ADDRESSES[2]], [OUTER[1]])


@pytest.mark.parametrize("meanwhile", [back, out, silent, sent_elsewhere])
def test_nobody_is_told_what_is_no_good(meanwhile: Callable[[World], None]):
    world = nested_world()
    bind(world, 1, CARE_OF[2], 2)
    bind(world, 2, inside(1), 2)
    bind(world, 1, CARE_OF[3], 3, 2)
    meanwhile(world)
    world.pass_time(2 * DELAY)
    assert [towards for _, _, towards in told(world) if OUTER[3] in towards] == []


@pytest.mark.parametrize("why", ["not allowed there", "it has only left"])
def test_nobody_is_sent_where_it_cannot_be_bound(why: str):
    world = nested_world(frozenset({"ha2"}))
    bind(world, 1, CARE_OF[2], 2)
    bind(world, 2, inside(1), 2)
    if why == "not allowed there":
        bind(world, 1, CARE_OF[3], 3, 2)
    else:
        prefix, home_address = NETWORKS[1], HOME_ADDRESSES[1]
        world.inject(update_to(world, 2, CARE_OF[2], 2, lifetime=0, prefix=prefix, home_address=home_address))
    world.pass_time(100.0)
    assert told(world) == []
