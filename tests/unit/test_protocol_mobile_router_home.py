"""A mobile router at home, with old and new keys, without a clock, and refused for every reason there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from haha_exabgp.protocol.home import ReplayProtectionMode, SecurityAssociation
from haha_exabgp.protocol.messages import authenticate
from haha_exabgp.protocol.mobility import CloseTunnel, DoubtEgress, State, UseHomeLink, UseTunnel
from haha_exabgp.wire.authentication import Algorithm
from haha_exabgp.wire.codes import Status
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryReply
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    MobileNetworkPrefix,
    every_option,
    first_option,
)
from tests.unit.mobile_router_bench import ASSOCIATION, CONFIG, HA1, HA2, HA3, HERE, HOA, THERE, Bench

NEW_KEY = SecurityAssociation(4097, bytes(range(16, 48)), Algorithm.HMAC_SHA256)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.bind()
    return made


# Returning home (RFC 6275 s.11.5.5, RFC 3963 s.5.8)


def test_at_home_the_binding_is_ended_from_the_home_address(bench):
    bench.attach(HOA)
    assert bench.state is State.AT_HOME and bench.tunnels()[-1] == UseHomeLink()
    bye = bench.updates[-1]
    assert (bye.to, bye.source, bye.update.lifetime) == (HA1, HOA, 0)
    assert not bye.has_home_address_option and bench.updates[0].has_home_address_option
    assert first_option(bye.update.options, AlternateCareOfAddress) == AlternateCareOfAddress(HOA)
    assert every_option(bye.update.options, MobileNetworkPrefix) == []
    assert len(bench.requests) == 1, "no discovery at home"
    bench.answer(bye)
    assert bench.mobile_router.registration is None and bench.mobile_router.next_timer() is None
    assert bench.tunnels()[-1] == UseHomeLink()


def test_at_home_the_way_out_is_changed_before_the_binding_update_leaves(bench):
    del bench.effects[:]
    bench.attach(HOA)
    kinds = [type(effect).__name__ for effect in bench.effects]
    assert kinds.index("UseHomeLink") < kinds.index("Transmit")


def test_at_home_the_deregistration_is_repeated_until_the_binding_has_run_out(bench):
    bench.attach(HOA)
    bench.pass_time(1000)
    byes = [sent for sent in bench.updates if sent.source == HOA]
    gaps = [round(b.at - a.at, 3) for a, b in pairwise(byes)]
    assert gaps[:7] == [1, 2, 4, 8, 16, 32, 32] and byes[-1].at <= 1600
    assert bench.mobile_router.registration is None and bench.state is State.AT_HOME
    assert bench.tunnels()[-1] == UseHomeLink()


def test_a_refused_deregistration_at_home_is_the_end_of_it(bench):
    bench.attach(HOA)
    bench.answer(bench.updates[-1], 133)
    assert bench.state is State.AT_HOME and bench.mobile_router.next_timer() is None


def test_away_again_it_binds_again(bench):
    bench.attach(HOA)
    bench.answer(bench.updates[-1])
    bench.attach(THERE)
    assert bench.tunnels()[-1] == CloseTunnel() and bench.state is State.SEARCHING
    assert bench.updates[-1].source == THERE
    bench.answer(bench.updates[-1])
    assert bench.tunnels()[-1] == UseTunnel(HA1, THERE, frozenset((HA1,)))


def test_a_start_at_home_sends_nothing():
    bench = Bench()
    bench.attach(HOA)
    assert bench.state is State.AT_HOME and bench.updates == [] and bench.requests == []
    bench.mobile_router.stop(bench.now)
    bench.settle()
    assert bench.state is State.STOPPED and bench.tunnels()[-1] == CloseTunnel()


def test_unplugged_at_home_there_is_no_way_out(bench):
    bench.attach(HOA)
    bench.mobile_router.detached()
    bench.settle()
    assert bench.tunnels()[-1] == CloseTunnel() and bench.state is State.DETACHED


def test_coming_home_before_the_first_acknowledgement_ends_what_may_have_been_bound():
    bench = Bench()
    bench.attach()
    bench.attach(HOA)
    assert (bench.updates[-1].to, bench.updates[-1].update.lifetime) == (HA1, 0)
    bench.pass_time(60)
    assert len([sent for sent in bench.updates if sent.source == HOA]) == 3


# Another router behind the same address (RFC 6275 s.11.5.1)


@pytest.mark.requirement("D-8")
def test_behind_another_router_the_binding_is_confirmed_and_a_closer_home_agent_looked_for(bench):
    bench.home_agents = (HA2, HA1)
    bench.mobile_router.path_changed(bench.now)
    bench.settle()
    assert [sent.to for sent in bench.updates[1:]] == [HA1, HA2] and len(bench.requests) == 2
    assert bench.state is State.BOUND and len(bench.tunnels()) == 1
    bench.answer(bench.updates[1])
    bench.answer(bench.updates[2])
    assert bench.mobile_router.registration.home_agent == HA2


@pytest.mark.requirement("D-8")
def test_discovery_after_moves_is_rate_limited_and_catches_up(bench):
    for step in range(200):
        bench.attach((THERE, HERE)[step % 2])
        bench.pass_time(0.05)
    assert len(bench.requests) <= 10 + 6
    before = len(bench.requests)
    bench.pass_time(3)
    assert len(bench.requests) > before


# Keys (RFC 4285 s.3)


def test_the_first_key_signs_and_either_is_taken_in_answers():
    bench = Bench(replace(CONFIG, association=(NEW_KEY, ASSOCIATION)))
    bench.attach()
    sent = bench.updates[0]
    assert authenticate(sent.header, HERE, HOA, (NEW_KEY,)) == (NEW_KEY, None)
    assert authenticate(sent.header, HERE, HOA, (ASSOCIATION,))[0] is None
    bench.answer(sent, key=ASSOCIATION)
    assert bench.state is State.BOUND
    bench.answer(bench.next_update(), key=NEW_KEY)
    assert bench.mobile_router.registration.expires == 1900.0


def test_a_key_that_is_none_of_them_is_not_taken():
    bench = Bench(replace(CONFIG, association=(NEW_KEY, ASSOCIATION)))
    bench.attach()
    bench.answer(bench.updates[0], key=replace(NEW_KEY, algorithm=Algorithm.HMAC_SHA1))
    bench.answer(bench.updates[0], key=replace(ASSOCIATION, spi=4098))
    counters = bench.mobile_router.counters
    assert bench.state is State.SEARCHING and counters["bad_authenticator"] == counters["unknown_spi"] == 1


# Replay protection by the sequence number alone (RFC 6275 s.9.5.1)


def without_clock() -> Bench:
    bench = Bench(replace(CONFIG, replay=ReplayProtectionMode.SEQUENCE))
    bench.attach()
    return bench


def test_in_sequence_mode_no_timestamp_is_sent():
    bench = without_clock()
    assert not bench.updates[0].is_stamped
    bench.answer(bench.updates[0])
    assert bench.state is State.BOUND
    assert not bench.next_update().is_stamped


def test_in_sequence_mode_135_is_taken_over_once():
    bench = without_clock()
    bench.answer(bench.updates[0], 135, sequence=5000)
    assert (bench.updates[1].to, bench.updates[1].update.sequence) == (HA1, 5002)
    bench.answer(bench.updates[1], 135, sequence=9000)
    assert bench.next_update().to == HA2


def test_in_sequence_mode_a_wrong_sequence_is_no_answer():
    bench = without_clock()
    bench.answer(bench.updates[0], sequence=99)
    assert bench.state is State.SEARCHING


def test_145_adds_the_timestamp_for_good():
    bench = without_clock()
    bench.answer(bench.updates[0], 145)
    assert (bench.updates[1].to, bench.updates[1].is_stamped) == (HA1, True)
    bench.answer(bench.updates[1])
    assert bench.next_update().is_stamped


def test_145_to_an_update_with_a_timestamp_is_a_refusal():
    bench = Bench()
    bench.attach()
    bench.answer(bench.updates[0], 145)
    assert bench.next_update().to == HA2


# Refusals (RFC 6275 s.11.7.3, RFC 3963 s.5.4)


def asked_again(bench: Bench, seconds: float) -> int:
    """How often a Home Agent that refuses is asked again."""
    end = bench.now.monotonic + seconds
    count = 0
    while (due := bench.mobile_router.next_timer()) is not None and due <= end:
        seen = len(bench.updates)
        bench.pass_time(max(due - bench.now.monotonic, 0.0))
        count += len(bench.updates) - seen
        for sent in bench.updates[seen:]:
            bench.answer(sent, bench.status)
    return count


@pytest.mark.parametrize("status", [128, 129, 130, 133, 136, 156, 164, 174, 200])
def test_what_may_change_is_asked_again(status):
    bench = Bench()
    bench.home_agents, bench.status = (HA1,), status
    bench.attach()
    bench.answer(bench.updates[0], status)
    assert asked_again(bench, 100) >= 8


@pytest.mark.parametrize("status", [131, 132, 141, 142])
def test_what_an_operator_has_to_mend_is_asked_again_after_minutes(status):
    bench = Bench()
    bench.home_agents, bench.status = (HA1,), status
    bench.attach()
    bench.answer(bench.updates[0], status)
    assert asked_again(bench, 299) == 0
    assert asked_again(bench, 20) == 1


@pytest.mark.parametrize("status", [134, 140, 143, 146])
def test_what_is_final_is_not_asked_again_from_here(status):
    """143 belongs to implicit mode (RFC 3963 s.5.4.2)."""
    bench = Bench()
    bench.home_agents, bench.status = (HA1,), status
    bench.attach()
    bench.answer(bench.updates[0], status)
    assert asked_again(bench, 4000) == 0 and len(bench.requests) > 50
    assert bench.state is State.SEARCHING
    bench.attach(THERE)
    assert len(bench.updates) == 2


@pytest.mark.parametrize(("status", "count"), [(141, 0), (142, 0), (143, 1)])
def test_in_implicit_mode_141_and_142_are_final(status, count):
    """RFC 3963 s.5.4.1."""
    bench = Bench(replace(CONFIG, announced=()))
    bench.home_agents, bench.status = (HA1,), status
    bench.attach()
    bench.answer(bench.updates[0], status)
    assert asked_again(bench, 320) == count


@pytest.mark.parametrize("status", [status for status in Status if status >= 128])
def test_every_refusal_is_followed_by_another_home_agent_and_told(status):
    bench = Bench()
    bench.home_agents = (HA1, HA2)
    bench.attach()
    for _ in range(4):
        asked = bench.updates[-1]
        if asked.to == HA2:
            break
        bench.answer(asked, status)
        if bench.updates[-1] is asked:
            bench.next_update()
    bench.answer(bench.updates[-1])
    assert bench.state is State.BOUND and bench.mobile_router.registration.home_agent == HA2
    refusal = bench.mobile_router.last_refusal
    assert (refusal.home_agent, refusal.status) == (HA1, status)
    assert bench.mobile_router.counters[f"refused_{int(status)}"] >= 1


def test_139_is_corrected_by_a_deregistration():
    """A binding of another kind is in the way (RFC 3963 s.6.2)."""
    bench = Bench()
    bench.attach()
    bench.answer(bench.updates[0], 139)
    assert [(s.to, s.update.lifetime) for s in bench.updates] == [(HA1, 600), (HA1, 0)]
    bench.answer(bench.updates[1])
    assert (bench.updates[2].to, bench.updates[2].update.lifetime) == (HA1, 600)
    bench.answer(bench.updates[2], 139)
    assert bench.next_update().to == HA2


# The only Home Agent, and the egress interface (RFC 6275 s.11.7.1)


@pytest.mark.requirement("L-8")
def test_the_only_home_agent_is_asked_ever_more_slowly_up_to_32_s():
    bench = Bench()
    bench.home_agents = (HA1,)
    bench.attach()
    bench.pass_time(200)
    gaps = [round(b.at - a.at, 3) for a, b in pairwise(bench.updates)]
    assert gaps == [1.5, 3, 6, 12, 24, 32, 32, 32, 32]
    sequences = [sent.update.sequence for sent in bench.updates]
    assert sequences == list(range(101, 101 + len(sequences)))
    assert len(bench.requests) > 1, "and others are looked for"


@pytest.mark.requirement("L-8")
def test_the_only_home_agent_that_stops_answering_refreshes():
    bench = Bench()
    bench.home_agents = (HA1,)
    bench.bind()
    del bench.updates[:]
    bench.pass_time(400)
    gaps = [round(b.at - a.at, 3) for a, b in pairwise(bench.updates)]
    assert gaps == [1, 2, 4, 8, 16, 32, 32] and bench.state is State.SEARCHING
    bench.answer(bench.updates[-1])
    assert bench.state is State.BOUND and CloseTunnel() not in bench.effects


def test_silence_of_all_home_agents_makes_the_egress_doubtful():
    bench = Bench()
    bench.attach()
    bench.pass_time(20)
    assert DoubtEgress(HERE) not in bench.effects, "one that is silent may be broken itself"
    bench.pass_time(1.5)
    assert bench.effects.count(DoubtEgress(HERE)) == 1


def test_a_refusal_is_an_answer():
    bench = Bench()
    bench.attach()
    bench.pass_time(11)
    bench.answer(bench.updates[-1], 130)
    bench.pass_time(12)
    assert [sent.to for sent in bench.updates][-1] == HA3
    assert DoubtEgress(HERE) not in bench.effects


def test_discovery_replies_without_mobile_router_support_are_no_list(bench):
    """RFC 3963 s.7.2."""
    bench.home_agents = None
    bench.attach(THERE)
    bench.mobile_router.receive_discovery(HomeAgentDiscoveryReply(bench.identifier, False, (HA3,)), bench.now)
    bench.settle()
    assert [sent.to for sent in bench.updates[1:]] == [HA1]
    assert bench.mobile_router.counters["discovery_without_mobile_routers"] == 1
