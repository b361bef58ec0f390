"""Which commands come out, in which order, and what an error does."""

from __future__ import annotations

import pytest

from haha_exabgp.bgp.commands import MAX_PREFIXES, Announce, PathAttributes, Withdraw
from haha_exabgp.bgp.outgoing import OutgoingRoutes
from haha_exabgp.wire.address import Address, Prefix

ONE, TWO = Address.parse("2001:db8:ffff::2"), Address.parse("2001:db8:ffff::3")
OLD, NEW = (PathAttributes(Address.parse("2001:db8:ffff::1"), n, ()) for n in (1, 2))


def prefix(number: int) -> Prefix:
    return Prefix.parse(f"2001:db8:1:{number:x}::/64")


@pytest.fixture
def routes() -> OutgoingRoutes:
    """Two sessions up, ExaBGP announces nothing."""
    routes = OutgoingRoutes()
    routes.begin_read_back()
    routes.session_changed(ONE, True)
    routes.session_changed(TWO, True)
    routes.end_read_back()
    return routes


def drain(routes: OutgoingRoutes, bad: frozenset[Prefix] = frozenset()) -> list[Announce | Withdraw]:
    """Carry out every command; those with a bad prefix are refused."""
    taken = []
    while (command := routes.next_command()) is not None:
        taken.append(command)
        routes.answered(command, not bad.intersection(command.prefixes))
    return taken


def test_neighbors_that_want_the_same_share_a_command(routes: OutgoingRoutes) -> None:
    routes.want({one: {prefix(1): OLD, prefix(2): OLD} for one in (ONE, TWO)})
    assert drain(routes) == [Announce((ONE, TWO), OLD, (prefix(1), prefix(2)))]
    assert (routes.acknowledged, routes.pending) == (4, 0)


@pytest.mark.requirement("H-9")
def test_a_move_between_neighbors_announces_first(routes: OutgoingRoutes) -> None:
    routes.want({ONE: {prefix(1): OLD}})
    drain(routes)
    routes.want({TWO: {prefix(1): NEW}})
    assert drain(routes) == [Announce((TWO,), NEW, (prefix(1),)), Withdraw((ONE,), OLD, (prefix(1),))]


def test_new_attributes_are_one_announcement(routes: OutgoingRoutes) -> None:
    routes.want({ONE: {prefix(1): OLD}})
    drain(routes)
    routes.want({ONE: {prefix(1): NEW}})
    assert drain(routes) == [Announce((ONE,), NEW, (prefix(1),))]


def test_a_single_change_overtakes_a_full_table(routes: OutgoingRoutes) -> None:
    routes.want({ONE: {prefix(n): OLD for n in range(20 * MAX_PREFIXES)}})
    first = routes.next_command()
    routes.change(TWO, prefix(1), NEW)
    for _ in range(4):
        command = routes.next_command()
        if command == Announce((TWO,), NEW, (prefix(1),)):
            break
    else:
        pytest.fail("it waits behind the table")
    assert first is not None
    assert len(first.prefixes) == MAX_PREFIXES


def test_a_key_is_left_alone_until_its_answer_is_there(routes: OutgoingRoutes) -> None:
    routes.change(ONE, prefix(1), OLD)
    first = routes.next_command()
    routes.change(ONE, prefix(1), NEW)
    routes.change(ONE, prefix(1), None)
    assert routes.next_command() is None
    assert not routes.settled(ONE)
    routes.answered(first, True)
    assert drain(routes) == [Withdraw((ONE,), OLD, (prefix(1),))]
    assert routes.settled(ONE)


def test_an_error_isolates_the_bad_route(routes: OutgoingRoutes) -> None:
    table = {prefix(n): OLD for n in range(300)}
    routes.want({ONE: table, TWO: table})
    commands = drain(routes, frozenset({prefix(123)}))
    assert set(routes.refused()) == {(ONE, prefix(123)), (TWO, prefix(123))}
    assert routes.acknowledged == 598
    assert len(commands) < 30
    assert routes.settled(ONE)
    routes.want({ONE: table, TWO: table})
    assert drain(routes) == [], "not tried again and again"


def test_a_refused_route_is_tried_again_when_it_or_its_session_changes(routes: OutgoingRoutes) -> None:
    bad = frozenset({prefix(1)})
    routes.change(ONE, prefix(1), OLD)
    drain(routes, bad)
    routes.change(ONE, prefix(1), NEW)
    assert len(drain(routes, bad)) == 1
    routes.session_changed(ONE, False)
    routes.session_changed(ONE, True)
    assert len(drain(routes)) == 1
    assert not list(routes.refused())


def test_nothing_is_announced_to_a_session_that_is_down(routes: OutgoingRoutes) -> None:
    routes.want({ONE: {prefix(1): OLD, prefix(2): OLD}})
    drain(routes)
    routes.session_changed(ONE, False)
    assert drain(routes) == [], "what stays as it is, ExaBGP sends again itself"
    routes.want({ONE: {prefix(1): NEW, prefix(3): OLD}})
    assert drain(routes) == [Withdraw((ONE,), OLD, (prefix(1), prefix(2)))]
    routes.session_changed(ONE, True)
    assert drain(routes) == [Announce((ONE,), NEW, (prefix(1),)), Announce((ONE,), OLD, (prefix(3),))]


def test_a_command_that_waits_loses_the_neighbor_whose_session_goes(routes: OutgoingRoutes) -> None:
    routes.want({one: {prefix(n): OLD for n in range(600)} for one in (ONE, TWO)})
    routes.next_command()
    routes.session_changed(ONE, False)
    waiting = routes.next_command()
    assert waiting is not None
    assert waiting.neighbors == (TWO,)


def test_what_exabgp_has_already_is_not_repeated_and_leftovers_are_withdrawn() -> None:
    routes = OutgoingRoutes()
    routes.begin_read_back()
    routes.session_changed(ONE, True)
    routes.want({ONE: {prefix(1): OLD, prefix(2): NEW}})
    assert routes.next_command() is None
    routes.read_back(ONE, prefix(1), OLD)
    routes.read_back(ONE, prefix(2), OLD)
    routes.read_back(ONE, prefix(3), OLD)
    routes.end_read_back()
    assert drain(routes) == [Announce((ONE,), NEW, (prefix(2),)), Withdraw((ONE,), OLD, (prefix(3),))]


def test_a_neighbor_exabgp_does_not_know_is_told_of(routes: OutgoingRoutes) -> None:
    stranger = Address.parse("2001:db8:ffff::9")
    routes.want({stranger: {prefix(1): OLD}, ONE: {prefix(1): OLD}})
    assert drain(routes) == [Announce((ONE,), OLD, (prefix(1),))]
    assert routes.not_configured() == [stranger]
    routes.neighbor_gone(ONE)
    assert routes.not_configured() == [stranger, ONE]
    assert routes.pending == 0
