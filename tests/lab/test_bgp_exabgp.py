"""Real ExaBGPs with the real hook, peering with each other and with FRR over TCP MD5; the agents are ours.

namespace a: ExaBGP ha1 ── iBGP ── namespace b: ExaBGP ha2      ha2's own router does not exist
  └── iBGP ── namespace r: FRR, the router of ha1's site
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haha_exabgp.bgp.learned import Fill
from haha_exabgp.bgp.messages import Acknowledged, EndOfRib, Hello, Limit, Session
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.protocol.routes import Announcement, Audience, LearnedRoute, RouteKind
from haha_exabgp.wire.address import Prefix
from tests.lab.exabgp_world import HA1, HA2, NOBODY, OUTER1, ROUTER1, World, bound, leak

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    directory = Path(f"/run/haha-bgp-test-{os.getpid()}")
    directory.mkdir(mode=0o755)
    world = World(directory)
    try:
        world.set_up()
        yield world
    finally:
        for speaker in (world.one, world.two):
            print(speaker.log())
        world.tear_down()
        shutil.rmtree(directory)


@pytest.fixture
def world(running: World) -> World:
    running.settle()
    return running


def test_exabgp_and_its_hook_run_as_nobody(world: World) -> None:
    for pid in (world.one.process.pid, world.one.hook()):
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
        assert "CapEff:\t0000000000000000" in status
    assert world.agent1.of_type(Hello)[-1].exabgp.startswith("5.")


@pytest.mark.requirement("K-4")
def test_a_leak_reaches_the_mesh_and_not_the_site(world: World) -> None:
    world.agent1.change(announce=(leak("2001:db8:2:100::/64", 1234),))
    expected = LearnedRoute(HA1, RouteKind.LEAK, Prefix.parse("2001:db8:2:100::/64"), HA1, 1234)
    eventually(lambda: world.agent2.learned(HA1) == {expected.prefix: expected}, 5, "learned by ha2")
    assert world.table() == set()
    world.agent1.change(withdraw=(leak("2001:db8:2:100::/64", 1234),))
    eventually(lambda: not world.agent2.learned(HA1), 5, "withdrawn at ha2")


@pytest.mark.requirement("S-7-MAX")
def test_beyond_the_limit_nothing_is_learned_until_there_is_room_again(world: World) -> None:
    """The session stays as it is; what was passed over comes by a route refresh."""
    leaks = [leak(f"2001:db8:2:{number}00::/64", 1) for number in range(1, 8)]
    sessions = len(world.agent2.of_type(Session))
    world.agent2.limit = 4
    world.agent2.want()
    try:
        world.agent1.change(announce=tuple(leaks))
        limits = eventually(lambda: world.agent2.of_type(Limit)[-1:], 5, "told of the limit")
        eventually(lambda: world.agent2.of_type(Limit)[-1].state == (Fill.EXCEEDED, 3), 5, "three too many")
        assert limits[0].peer == HA1 and len(world.agent2.learned(HA1)) == 4
        left = [one for one in leaks if one.prefix not in world.agent2.learned(HA1)]
        learned = [one for one in leaks if one not in left]
        world.agent1.change(withdraw=tuple(learned))
        expected = {one.prefix for one in left}
        eventually(lambda: set(world.agent2.learned(HA1)) == expected, 5, "the others are there")
        assert world.agent2.of_type(Limit)[-1].state.fill is not Fill.EXCEEDED
    finally:
        world.agent2.limit = None
    assert len(world.agent2.of_type(Session)) == sessions


def test_frr_sees_next_hop_communities_and_local_preference(world: World) -> None:
    moving = Announcement(
        Audience.SITE, RouteKind.LEAK, Prefix.parse("2001:db8:1:7::/64"), OUTER1, 4_000_000_000
    )
    world.agent1.change(announce=(bound("2001:db8:1:100::/64"), moving))
    path = eventually(lambda: world.path("2001:db8:1:100::/64"), 5, "the route at FRR")
    assert [hop["ip"] for hop in path["nexthops"]] == [str(OUTER1)]
    assert path["largeCommunity"]["list"] == ["64500:1:4"]
    assert path["locPrf"] == 100
    path = eventually(lambda: world.path("2001:db8:1:7::/64"), 5, "the route at FRR")
    assert path["largeCommunity"]["list"] == ["64500:1:5", "64500:2:4000000000"]
    assert path["locPrf"] == 4_000_000_000


def test_a_prefix_that_flaps_within_one_line_ends_as_it_was_last_wanted(world: World) -> None:
    other, flapping = bound("2001:db8:1:200::/64"), bound("2001:db8:1:201::/64")
    world.agent1.change(announce=(flapping,))
    eventually(lambda: world.path("2001:db8:1:201::/64"), 5, "the route at FRR")
    for _ in range(5):
        world.agent1.change(announce=(other,), withdraw=(flapping,))
        world.agent1.change(announce=(flapping,), withdraw=(other,))
    eventually(lambda: world.agent1.acknowledged().pending == 0, 5, "all acknowledged")
    world.agent1.change(announce=(bound("2001:db8:1:2ff::/64"),))
    eventually(lambda: world.path("2001:db8:1:2ff::/64"), 5, "a sentinel after them")
    assert world.table() == {"2001:db8:1:201::/64", "2001:db8:1:2ff::/64"}


def test_a_killed_hook_is_replaced_and_only_the_difference_is_sent(world: World) -> None:
    stays, goes, comes = (bound(f"2001:db8:1:{n}::/64") for n in (300, 301, 302))
    from_two = leak("2001:db8:1:400::/64", 7, HA2)
    world.agent2.change(announce=(from_two,))
    world.agent1.want(stays, goes)
    eventually(lambda: world.table() == {str(stays.prefix), str(goes.prefix)}, 5, "both at FRR")
    eventually(lambda: from_two.prefix in world.agent1.learned(HA2), 5, "learned by ha1")

    killed, refreshes = world.one.hook(), world.received("routeRefresh")
    world.agent1.stop()
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: world.received("routeRefresh") > refreshes, 10, "the new hook has read all back")
    assert world.one.hook() != killed
    assert world.table() == {str(stays.prefix), str(goes.prefix)}
    world.agent1.wanted = {(one.audience, one.prefix): one for one in (stays, comes)}
    world.agent1.start()

    tables = world.tables_until({str(stays.prefix), str(comes.prefix)})
    assert all(str(stays.prefix) in one for one in tables)
    eventually(lambda: world.agent1.session(HA2) and world.agent1.session(ROUTER1), 5, "sessions told again")
    eventually(lambda: from_two.prefix in world.agent1.learned(HA2), 5, "route learned again")
    for peer in (HA2, ROUTER1):
        eventually(lambda peer=peer: EndOfRib(peer) in world.agent1.heard, 5, "the end of the refresh")


def test_an_agent_that_comes_back_in_time_finds_all_as_it_was(world: World) -> None:
    route, from_two = bound("2001:db8:1:500::/64"), leak("2001:db8:1:501::/64", 9, HA2)
    world.agent2.change(announce=(from_two,))
    world.agent1.want(route)
    eventually(lambda: world.path(str(route.prefix)), 5, "the route at FRR")
    eventually(lambda: from_two.prefix in world.agent1.learned(HA2), 5, "learned by ha1")
    before = world.received("updates")

    world.agent1.stop()
    eventually(lambda: "connection to the agent is gone" in world.one.log()[-400:], 5, "the loss noticed")
    world.agent1.start()
    eventually(lambda: EndOfRib(HA2) in world.agent1.heard, 10, "everything told again")
    assert from_two.prefix in world.agent1.learned(HA2)
    eventually(lambda: world.agent1.acknowledged() == Acknowledged(1, (), 0), 5, "the count")
    assert world.received("updates") == before


def test_without_an_agent_routes_stay_for_the_lease_and_no_longer(world: World) -> None:
    route = bound("2001:db8:1:600::/64")
    world.agent1.lease = 2
    world.agent1.want(route)
    eventually(lambda: world.path(str(route.prefix)), 5, "the route at FRR")
    world.agent1.stop()
    stopped = time.monotonic()
    eventually(lambda: not world.table(), 10, "withdrawn at the end of the lease")
    assert time.monotonic() - stopped >= 2
    world.agent1.lease = 600
    world.agent1.start()
    eventually(lambda: world.path(str(route.prefix)), 10, "announced again for the agent that came back")


def test_what_changes_while_a_session_is_down_is_right_when_it_comes_up(world: World) -> None:
    stays, goes, moves, fleeting = (f"2001:db8:1:{n}::/64" for n in (700, 701, 702, 703))
    world.agent1.want(bound(stays), bound(goes), bound(moves))
    eventually(lambda: len(world.table()) == 3, 5, "three at FRR")
    world.kill("bgpd")
    eventually(lambda: world.agent1.session(ROUTER1) is False, 10, "the session down")

    def moved(prefix: str, sequence: int) -> Announcement:
        return Announcement(Audience.SITE, RouteKind.LEAK, Prefix.parse(prefix), OUTER1, sequence)

    world.agent1.change(announce=(moved("2001:db8:1:704::/64", 1),), withdraw=(bound(goes),))
    for announcement in (moved(fleeting, 2), moved(fleeting, 3), moved(moves, 2), moved(moves, 1)):
        world.agent1.change(announce=(announcement,))
        eventually(lambda: world.agent1.acknowledged().pending == 0, 5, "acknowledged")
    world.agent1.change(withdraw=(moved(fleeting, 3),))
    world.start("bgpd")
    eventually(lambda: world.agent1.session(ROUTER1), 20, "the session up")

    world.agent1.change(announce=(bound("2001:db8:1:7ff::/64"),))
    eventually(lambda: world.path("2001:db8:1:7ff::/64"), 10, "a sentinel after it")
    assert world.table() == {stays, moves, "2001:db8:1:704::/64", "2001:db8:1:7ff::/64"}
    assert world.path(moves)["locPrf"] == 1


@pytest.mark.requirement("F-6")
def test_a_restarted_exabgp_keeps_its_routes_at_frr(world: World) -> None:
    stays, goes = bound("2001:db8:1:800::/64"), bound("2001:db8:1:801::/64")
    to_mesh = leak("2001:db8:2:800::/64", 8)
    world.agent1.want(stays, goes, to_mesh)
    eventually(lambda: len(world.table()) == 2, 5, "both at FRR")
    eventually(lambda: to_mesh.prefix in world.agent2.learned(HA1), 5, "learned by ha2")
    world.agent2.heard.clear()

    world.one.kill()
    eventually(lambda: (world.path(str(stays.prefix)) or {}).get("stale"), 5, "kept as stale")
    eventually(lambda: world.agent2.session(HA1) is False, 5, "the loss told to ha2's agent")
    world.agent1.wanted = {(one.audience, one.prefix): one for one in (stays, to_mesh)}
    # Until its agent is back, End-of-RIB must not come: it would end the stale routes.
    world.agent1.stop()
    world.one.start()
    established = f"show bgp ipv6 neighbors {OUTER1} json"
    eventually(
        lambda: world.vtysh(established)[str(OUTER1)]["bgpState"] == "Established", 20, "the session again"
    )
    assert world.table() == {str(stays.prefix), str(goes.prefix)}
    assert EndOfRib(HA1) not in world.agent2.heard
    world.agent1.start()

    tables = world.tables_until({str(stays.prefix)})
    assert all(str(stays.prefix) in one for one in tables)
    assert not world.path(str(stays.prefix)).get("stale")
    eventually(lambda: EndOfRib(HA1) in world.agent2.heard, 20, "End-of-RIB at ha2")
    assert set(world.agent2.learned(HA1)) == {to_mesh.prefix}
