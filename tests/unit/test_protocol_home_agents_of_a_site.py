"""Several Home Agents of one site: who owns a home address, who is the border Home Agent, what happens when
one goes and comes back."""

from __future__ import annotations

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.routes import Audience
from haha_exabgp.wire.address import Address, Prefix
from tests.unit.conftest import HOA, HOME, MNP, peer
from tests.unit.site_world import ACCESS, SiteWorld


@pytest.fixture
def site() -> SiteWorld:
    return SiteWorld()


def kinds(site: SiteWorld) -> dict[int, BindingKind]:
    return {i: one.kind for i in site.agents if (one := site.binding(i)) is not None}


def exit_of(site: SiteWorld, index: int, prefix: Prefix = MNP) -> object:
    routes = [one for one in site.agents[index].wanted.routes() if one.prefix == prefix and one.tunnel_exit]
    return min(routes, key=lambda route: route.metric).tunnel_exit


def epochs(site: SiteWorld) -> dict[int, int]:
    """What each Home Agent of the site announces its partition with."""
    partition, site_agents = peer(1).partition, {1, 2} & site.agents.keys()
    told = {i: site.agents[i].wanted.announcement(Audience.OTHER_SITES, partition) for i in site_agents}
    return {index: one.sequence for index, one in told.items() if one is not None}


def test_bound_to_the_owner_it_is_direct_and_a_replica_at_the_other(site: SiteWorld) -> None:
    site.attach_to(site.owner)
    site.pass_time(1)
    assert kinds(site) == {site.owner: BindingKind.DIRECT, site.other: BindingKind.REPLICA}
    assert exit_of(site, site.owner) == ACCESS[site.owner]
    assert exit_of(site, site.other) == peer(site.owner).outer


def test_bound_to_the_other_it_is_proxied_inside_the_site_and_no_other_site_hears(site: SiteWorld) -> None:
    site.attach_to(site.other)
    site.pass_time(1)
    assert kinds(site) == {site.owner: BindingKind.PROXIED, site.other: BindingKind.PROXY}
    assert exit_of(site, site.owner) == peer(site.other).outer
    assert exit_of(site, site.other) == ACCESS[site.other]
    leaks = [told for agent in site.agents.values() for told in agent.wanted.announcements()]
    assert not [told for told in leaks if told.prefix == MNP and told.audience is not Audience.SITE]
    # The site's router hears of it from who holds it.
    assert site.agents[site.other].wanted.announcement(Audience.SITE, MNP) is None
    told = [one for one in leaks if one.prefix == MNP]
    assert [one.next_hop for one in told] == [peer(site.other).outer]


def test_bound_at_another_site_both_know_the_way(site: SiteWorld) -> None:
    site.attach_to(3)
    site.pass_time(1)
    expected = {
        site.owner: BindingKind.PROXIED,
        site.other: BindingKind.REPLICA,
        3: BindingKind.PROXY,
    }
    assert kinds(site) == expected
    for index in (1, 2):
        assert exit_of(site, index) == peer(3).outer


@pytest.mark.requirement("F-2", "Q-4")
def test_the_other_takes_over_from_an_owner_that_fails_and_the_mobile_router_is_called(
    site: SiteWorld,
) -> None:
    site.attach_to(site.owner)
    site.pass_time(1)
    site.kill(site.owner)
    site.pass_time(5)
    assert kinds(site) == {site.other: BindingKind.DIRECT}
    assert exit_of(site, site.other) == ACCESS[site.owner]
    registration = site.mobile_router.registration
    assert registration is not None and registration.home_agent == peer(site.other).outer


@pytest.mark.requirement("F-2")
def test_a_proxy_binding_becomes_direct_when_its_owner_fails_without_a_message(site: SiteWorld) -> None:
    site.attach_to(site.other)
    site.pass_time(1)
    before = site.mobile_router.registration
    site.kill(site.owner)
    site.pass_time(5)
    assert kinds(site) == {site.other: BindingKind.DIRECT}
    assert site.mobile_router.registration == before


@pytest.mark.requirement("F-2")
def test_the_primary_of_one_that_is_elsewhere_fails_and_it_goes_on_and_moves(site: SiteWorld) -> None:
    site.attach_to(3)
    site.pass_time(1)
    site.kill(site.owner)
    site.pass_time(5)
    assert kinds(site) == {site.other: BindingKind.PROXIED, 3: BindingKind.PROXY}
    site.attach_to(site.other)
    site.pass_time(5)
    assert kinds(site) == {site.other: BindingKind.DIRECT}


@pytest.mark.parametrize("holder", ["owner", "other", "3"])
@pytest.mark.parametrize("seconds", [0.5, 30])
def test_an_owner_that_comes_back_is_what_it_was(site: SiteWorld, holder: str, seconds: float) -> None:
    index = {"owner": site.owner, "other": site.other, "3": 3}[holder]
    site.attach_to(index)
    site.pass_time(1)
    site.kill(site.owner)
    site.pass_time(seconds)
    site.revive(site.owner)
    site.pass_time(15)
    registration = site.mobile_router.registration
    assert registration is not None
    held_by = next(i for i in (1, 2, 3) if peer(i).outer == registration.home_agent)
    found = kinds(site)
    assert found[site.owner] is (BindingKind.DIRECT if held_by == site.owner else BindingKind.PROXIED)
    for i in (1, 2, 3):
        if i in found and i != held_by:
            assert exit_of(site, i) == peer(held_by).outer
    assert exit_of(site, held_by) == site.mobile_router.care_of_address
    # Its next Binding Updates are accepted.
    site.pass_time(700)
    again = site.mobile_router.registration
    assert again is not None and again.home_agent == registration.home_agent


@pytest.mark.requirement("Q-5", "Q-6")
def test_who_is_cut_off_from_the_other_and_claims_too_gives_in_to_the_later(site: SiteWorld) -> None:
    site.attach_to(site.other)
    site.pass_time(1)
    lost = site.drop
    haha = {peer(1).haha, peer(2).haha}
    site.drop = lambda packet: {packet[8:24], packet[24:40]} == haha
    site.pass_time(6)
    # Each takes the other for dead, and both own it now: it has been called by the owner.
    assert kinds(site) == {site.owner: BindingKind.DIRECT, site.other: BindingKind.DIRECT}
    site.drop = lost
    site.pass_time(5)
    assert kinds(site) == {site.owner: BindingKind.DIRECT, site.other: BindingKind.REPLICA}
    sequences = {site.binding(index).mobility_sequence for index in (1, 2)}
    assert len(sequences) == 1


def test_a_de_registration_is_known_to_both(site: SiteWorld) -> None:
    site.attach_to(site.owner)
    site.pass_time(1)
    order = site.binding(site.owner).order
    site.mobile_router.stop(site.now)
    site.settle()
    site.pass_time(1)
    assert kinds(site) == {}
    for index in (1, 2):
        last = site.agents[index].bindings.last(HOA)
        assert last is not None and last.order.is_newer_than(order)


@pytest.mark.requirement("D-3")
def test_one_of_the_site_is_its_border_home_agent_and_the_other_when_it_fails(site: SiteWorld) -> None:
    # Of equal preference the lowest HAHA address decides.
    assert epochs(site)[1] > epochs(site)[2] == 0
    assert exit_of(site, 3, peer(1).partition) == peer(1).outer
    before = epochs(site)[1]
    site.kill(1)
    site.pass_time(4)
    assert epochs(site)[2] > before
    assert exit_of(site, 3, peer(1).partition) == peer(2).outer
    site.revive(1)
    site.pass_time(5)
    assert epochs(site)[1] > epochs(site)[2] == 0
    assert exit_of(site, 3, peer(1).partition) == peer(1).outer
    home = {i: site.agents[i].wanted.announcement(Audience.SITE, HOME) for i in (1, 2)}
    assert {i: one.sequence for i, one in home.items() if one is not None} == epochs(site)


def test_nobody_sends_to_the_other_what_neither_has(site: SiteWorld) -> None:
    partition = peer(1).partition
    for index in (1, 2):
        routes = [route for route in site.agents[index].wanted.routes() if route.prefix == partition]
        assert [route.tunnel_exit for route in routes] == [None]


def test_one_home_agent_alone_in_its_site_announces_without_an_epoch(site: SiteWorld) -> None:
    told = site.agents[3].wanted.announcement(Audience.OTHER_SITES, peer(3).partition)
    assert told is not None and told.sequence == 0


@pytest.mark.requirement("F-2")
@pytest.mark.parametrize("moved", [False, True])
def test_a_proxy_of_the_site_fails_and_the_owner_calls_its_mobile_router(
    site: SiteWorld, moved: bool
) -> None:
    site.attach_to(site.other)
    if moved:
        # Under the same proxy, which need not ask its primary.
        site.mobile_router.attached(Address.parse("3fff:f09::aa"), site.now)
        site.settle()
    site.pass_time(1)
    site.kill(site.other)
    site.pass_time(5)
    assert kinds(site) == {site.owner: BindingKind.DIRECT}
    assert exit_of(site, site.owner) == site.mobile_router.care_of_address
