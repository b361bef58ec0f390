"""The mobile router corrects its numbers and its clock, de-registers, and ends."""

from __future__ import annotations

import pytest

from haha_exabgp.protocol.mobility import CloseTunnel, State
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.options import (
    MobileNetworkPrefix,
    every_option,
)
from haha_exabgp.wire.timestamp import correction, from_unix
from tests.unit.mobile_router_bench import HA1, HA2, HA3, HERE, THERE, WALL, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.requirement("H-8")
@pytest.mark.requirement("H-8", "M-CODE-135")
def test_135_is_taken_over_once(bench):
    bench.attach()
    bench.answer(bench.updates[0], 135, sequence=5000)
    assert [(sent.to, sent.update.sequence) for sent in bench.updates] == [(HA1, 101), (HA1, 5002)]
    bench.answer(bench.updates[1], 135, sequence=9000)
    assert bench.next_update().to == HA2


def test_135_is_not_taken_over_again_after_a_repetition(bench):
    bench.attach()
    bench.answer(bench.updates[0], 135, sequence=5000)
    bench.pass_time(2)
    bench.answer(bench.updates[2], 135, sequence=9000)
    assert bench.next_update().to == HA2


@pytest.mark.requirement("M-CODE-144", "M-REPLAY")
def test_144_is_taken_over_once(bench):
    bench.attach()
    stamp = correction(bench.updates[0].timestamp, from_unix(WALL + 3600))
    bench.answer(bench.updates[0], 144, stamp=stamp)
    assert bench.updates[1].to == HA1
    assert abs((bench.updates[1].timestamp - from_unix(WALL + 3600)) / 2**32) <= 1
    bench.answer(bench.updates[1], 144, stamp=stamp)
    assert bench.next_update().to == HA2
    assert bench.updates[2].timestamp > bench.updates[1].timestamp


def test_a_restarted_router_with_a_wrong_clock_corrects_both(bench):
    """Its clock first, then its numbering: the Home Agent still has the binding of before."""
    bench.attach()
    bench.answer(bench.updates[0], 144, stamp=correction(bench.updates[0].timestamp, from_unix(WALL - 999)))
    bench.answer(bench.updates[1], 135, sequence=40000)
    assert (bench.updates[2].to, bench.updates[2].update.sequence) == (HA1, 40002)
    bench.answer(bench.updates[2])
    assert bench.state is State.BOUND


def test_144_to_an_overtaken_update_is_no_reason_to_speak_again(bench):
    bench.bind(HERE)
    bench.home_agents = (HA2, HA1)
    bench.attach(THERE)
    old, new = bench.updates[1:]
    bench.answer(old, 144, stamp=correction(old.timestamp, from_unix(WALL)))
    assert len(bench.updates) == 3
    bench.answer(new)
    assert bench.mobile_router.registration.home_agent == HA2


def test_a_clock_that_jumps_is_corrected(bench):
    bench.bind()
    bench.pass_time(300, jump=-86400)
    refresh = bench.updates[1]
    bench.answer(refresh, 144, stamp=correction(refresh.timestamp, from_unix(WALL + 300)))
    assert abs((bench.updates[2].timestamp - from_unix(WALL + 300)) / 2**32) <= 1
    bench.answer(bench.updates[2])
    assert bench.state is State.BOUND


@pytest.mark.requirement("M-AUTH-STOP", "M-CODE-146")
def test_146_ends_all_sending_to_that_home_agent(bench):
    """RFC 4285 s.5.3."""
    bench.home_agents = (HA1,)
    bench.attach()
    bench.answer(bench.updates[0], 146)
    bench.pass_time(600)
    assert len(bench.updates) == 1 and len(bench.requests) > 5
    bench.attach(THERE)
    assert bench.updates[-1].to == HA1 and len(bench.updates) == 2


@pytest.mark.requirement("M-AUTH-STOP")
def test_146_from_the_first_of_two(bench):
    bench.home_agents = (HA1, HA2)
    bench.attach()
    bench.answer(bench.updates[0], 146)
    bench.answer(bench.next_update())
    bench.pass_time(1000)
    assert [sent.to for sent in bench.updates].count(HA1) == 1


@pytest.mark.requirement("L-4")
def test_stopping_deregisters(bench):
    bench.bind()
    bench.mobile_router.stop(bench.now)
    bench.settle()
    assert bench.state is State.LEAVING
    bye = bench.updates[-1]
    assert (bye.to, bye.update.lifetime) == (HA1, 0)
    assert every_option(bye.update.options, MobileNetworkPrefix) == []
    bench.mobile_router.stop(bench.now)
    bench.settle()
    assert bench.updates[-1] is bye
    bench.answer(bye)
    assert bench.state is State.STOPPED and bench.tunnels()[-1] == CloseTunnel()
    assert bench.mobile_router.next_timer() is None


@pytest.mark.parametrize("status", [128, 129, 133, 146])
def test_a_refused_deregistration_ends_too(bench, status):
    bench.bind()
    bench.mobile_router.stop(bench.now)
    bench.settle()
    bench.answer(bench.updates[-1], status)
    assert bench.state is State.STOPPED


def test_a_deregistration_is_corrected_as_well(bench):
    bench.bind()
    bench.mobile_router.stop(bench.now)
    bench.settle()
    bench.answer(bench.updates[-1], 135, sequence=700)
    assert (bench.updates[-1].update.sequence, bench.updates[-1].update.lifetime) == (702, 0)
    bye = bench.updates[-1]
    bench.answer(bye, 144, stamp=correction(bye.timestamp, from_unix(WALL + 50)))
    bye = bench.next_update()
    assert bye.update.lifetime == 0
    bench.answer(bye)
    assert bench.state is State.STOPPED


def test_stopping_with_a_silent_home_agent_ends_after_three_tries(bench):
    bench.bind()
    bench.mobile_router.stop(bench.now)
    bench.settle()
    bench.pass_time(6.9)
    assert bench.state is State.LEAVING
    bench.pass_time(0.2)
    assert bench.state is State.STOPPED and [s.update.lifetime for s in bench.updates[1:]] == [0, 0, 0]


def test_stopping_before_the_first_acknowledgement_deregisters_what_may_have_been_bound(bench):
    bench.attach()
    bench.mobile_router.stop(bench.now)
    bench.settle()
    assert (bench.updates[-1].to, bench.updates[-1].update.lifetime) == (HA1, 0)


@pytest.mark.parametrize("detached", [False, True])
def test_stopping_without_a_way_to_say_so_ends_at_once(bench, detached):
    if detached:
        bench.bind()
        bench.mobile_router.detached()
    bench.mobile_router.stop(bench.now)
    assert bench.state is State.STOPPED and bench.mobile_router.next_timer() is None
    bench.attach()
    assert bench.state is State.STOPPED


def test_losing_the_link_while_leaving_ends(bench):
    bench.bind()
    bench.mobile_router.stop(bench.now)
    bench.mobile_router.detached()
    assert bench.state is State.STOPPED


def test_discovery_replies_that_nobody_asked_for(bench):
    bench.home_agents = None
    bench.attach()
    bench.discovered((bench.identifier + 1) % 65536, (HA2,))
    assert bench.updates == []
    nonsense = (Address.parse("ff02::1"), Address.parse("fe80::1"), Address.parse("::"))
    bench.discovered(bench.identifier, nonsense)
    assert bench.updates == []
    bench.discovered(bench.identifier, (Address.parse("ff02::1"), HA2, HA2))
    assert [sent.to for sent in bench.updates] == [HA2]
    assert bench.mobile_router.home_agents == (HA2,)
    bench.discovered(bench.identifier, (HA3,))
    assert bench.mobile_router.home_agents == (HA2,)
