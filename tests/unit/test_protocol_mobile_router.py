"""The mobile router against Home Agents that answer as each test wants: schedule, fail-over, ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.protocol.home import SecurityAssociation
from haha_exabgp.protocol.mobility import AcceptFrom, CloseTunnel, State, UseTunnel
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.codes import BindingAcknowledgementFlag, BindingUpdateFlag
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    MobileNetworkPrefix,
    every_option,
    first_option,
)
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.mobile_router_bench import CONFIG, HA1, HA2, HA3, HERE, MNP, THERE, WALL, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.requirement("P-1", "P-3")
@pytest.mark.requirement("P-1", "M-BU-FLAGS", "E-7")
def test_a_first_registration_asks_for_everything_explicitly(bench):
    bench.attach()
    (sent,) = bench.updates
    assert (sent.to, sent.source, sent.update.lifetime, sent.update.sequence) == (HA1, HERE, 600, 101)
    flags = BindingUpdateFlag
    assert sent.update.flags == flags.ACKNOWLEDGE | flags.HOME_REGISTRATION | flags.MOBILE_ROUTER
    assert first_option(sent.update.options, AlternateCareOfAddress) == AlternateCareOfAddress(HERE)
    assert every_option(sent.update.options, MobileNetworkPrefix) == [MobileNetworkPrefix(MNP)]


@pytest.mark.requirement("P-1")
@pytest.mark.requirement("P-1")
def test_implicit_mode_lists_no_prefix():
    bench = Bench(replace(CONFIG, announced=()))
    bench.bind()
    bench.pass_time(300)
    assert len(bench.updates) == 2
    assert all(every_option(sent.update.options, MobileNetworkPrefix) == [] for sent in bench.updates)


@pytest.mark.requirement("L-8", "D-6")
@pytest.mark.requirement("M-CONST", "D-6")
def test_first_registration_is_repeated_after_1_5_s_and_doubles(bench):
    bench.attach()
    bench.pass_time(60)
    assert [(sent.to, round(sent.at - 1000, 3)) for sent in bench.updates[:9]] == [
        (HA1, 0),
        (HA1, 1.5),
        (HA1, 4.5),
        (HA2, 10.5),
        (HA2, 12.0),
        (HA2, 15.0),
        (HA3, 21.0),
        (HA3, 22.5),
        (HA3, 25.5),
    ]
    # Ten seconds after the last has failed, all over again.
    assert round(bench.requests[1] - 1000, 3) == 41.5
    assert (bench.updates[9].to, round(bench.updates[9].at - 1000, 3)) == (HA1, 41.5)


@pytest.mark.requirement("L-8")
@pytest.mark.requirement("L-8", "M-CONST")
def test_a_refresh_is_repeated_after_1_s_and_doubles(bench):
    bench.bind()
    del bench.updates[:]
    bench.pass_time(306.9)
    assert [(sent.to, round(sent.at - 1000, 3)) for sent in bench.updates] == [
        (HA1, 300),
        (HA1, 301),
        (HA1, 303),
    ]


@pytest.mark.requirement("L-8")
@pytest.mark.requirement("L-8")
def test_every_transmission_has_a_new_sequence_and_timestamp(bench):
    bench.attach()
    bench.pass_time(60)
    sequences = [sent.update.sequence for sent in bench.updates]
    stamps = [sent.timestamp for sent in bench.updates]
    assert sequences == list(range(101, 101 + len(sequences)))
    assert stamps == sorted(set(stamps))


@pytest.mark.requirement("M-SEQ")
def test_sequence_numbers_wrap():
    bench = Bench(first_sequence=65535)
    bench.attach()
    assert bench.updates[0].update.sequence == 0


def test_timestamps_rise_though_the_clock_is_set_back_a_little(bench):
    bench.attach()
    bench.pass_time(60, jump=-3.0)
    stamps = [sent.timestamp for sent in bench.updates]
    assert stamps == sorted(set(stamps))


def test_only_the_last_transmission_can_be_acknowledged(bench):
    bench.attach()
    bench.pass_time(2)
    bench.answer(bench.updates[0])
    assert bench.state is State.SEARCHING
    bench.answer(bench.updates[1])
    assert bench.state is State.BOUND


def test_the_lifetime_counts_from_the_binding_update(bench):
    """RFC 6275 s.11.7.3."""
    bench.attach()
    bench.pass_time(1.0)
    bench.answer(bench.updates[0], lifetime=400)
    registration = bench.mobile_router.registration
    assert (registration.refresh_at, registration.expires) == (1200.0, 1400.0)
    assert registration.round_trip == pytest.approx(1.0)
    bench.pass_time(198.9)
    assert len(bench.updates) == 1
    bench.pass_time(0.2)
    assert len(bench.updates) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 77},
        {"stamp": from_unix(WALL - 1)},
        {"status": 135, "sequence": 9, "stamp": from_unix(WALL - 1)},
        {"key": SecurityAssociation(4096, bytes(16))},
        {"key": SecurityAssociation(4097, bytes(range(16)))},
        {"source": HA2},
    ],
    ids=["sequence", "timestamp", "replayed 135", "key", "spi", "home agent"],
)
@pytest.mark.requirement("S-2")
def test_an_acknowledgement_that_is_not_ours_changes_nothing(bench, change):
    bench.attach()
    bench.answer(bench.updates[0], **change)
    assert bench.state is State.SEARCHING and len(bench.updates) == 1
    assert bench.tunnels() == []
    bench.answer(bench.updates[0])
    assert bench.state is State.BOUND


def test_a_late_acknowledgement_for_the_place_before_changes_nothing(bench):
    bench.attach(HERE)
    before = bench.updates[0]
    bench.attach(THERE)
    bench.answer(before)
    assert bench.state is State.SEARCHING and bench.tunnels() == []


@pytest.mark.requirement("D-6")
@pytest.mark.requirement("D-6")
def test_a_refusal_is_followed_by_the_next_after_1_5_s(bench):
    """RFC 6275 s.11.4.1."""
    bench.attach()
    bench.answer(bench.updates[0], 130)
    bench.answer(bench.next_update(), 129)
    bench.next_update()
    assert [(sent.to, sent.at - 1000) for sent in bench.updates] == [(HA1, 0), (HA2, 1.5), (HA3, 3.0)]
    bench.answer(bench.updates[2], 128)
    assert bench.state is State.SEARCHING and len(bench.requests) == 1
    bench.pass_time(10)
    assert len(bench.requests) == 2 and bench.updates[-1].to == HA1


def test_refused_for_ever_it_asks_at_a_bounded_rate(bench):
    bench.attach()
    for _ in range(60):
        asked = bench.updates[-1]
        bench.answer(asked, 130)
        if bench.updates[-1] is asked:
            bench.pass_time(10)
    assert bench.now.monotonic - 1000 >= 190
    assert bench.state is State.SEARCHING


@pytest.mark.requirement("D-6", "F-3")
def test_a_silent_home_agent_is_left_for_the_next_of_the_list(bench):
    """The binding it has stays in use until another Home Agent has accepted."""
    bench.bind()
    bench.pass_time(307.5)
    assert bench.state is State.SEARCHING and bench.updates[-1].to == HA2
    assert len(bench.tunnels()) == 1
    bench.answer(bench.updates[-1])
    assert bench.state is State.BOUND
    assert bench.mobile_router.registration.home_agent == HA2
    assert bench.tunnels()[-1] == UseTunnel(HA2, HERE, frozenset((HA1, HA2)))
    assert [one for one in bench.effects if isinstance(one, AcceptFrom)] == [
        AcceptFrom(frozenset((HA1, HA2)))
    ]


@pytest.mark.requirement("H-12", "S-5")
def test_who_is_asked_may_send_before_its_acknowledgement_has_come(bench):
    """It has its routes before it answers. But nobody may while there is no tunnel, and who was asked in vain
    no longer than until the next binding."""
    bench.attach(HERE)
    assert not [one for one in bench.effects if isinstance(one, AcceptFrom)]
    bench.answer(bench.updates[-1])
    bench.pass_time(307.5)
    kinds = [type(one) for one in bench.effects]
    assert kinds.index(AcceptFrom) + 1 == len(kinds) - 1 and kinds[-1] is Transmit
    bench.attach(THERE)
    bench.answer(bench.updates[-2 if bench.updates[-1].to == HA2 else -1])
    assert HA2 not in bench.tunnels()[-1].accepted


@pytest.mark.requirement("D-6")
def test_the_closest_is_asked_again_while_the_next_serves(bench):
    bench.attach()
    bench.answer(bench.updates[0], 130)
    bench.answer(bench.next_update())
    assert bench.mobile_router.registration.home_agent == HA2
    bench.pass_time(60)
    assert bench.updates[-1].to == HA1
    bench.answer(bench.updates[-1])
    assert bench.mobile_router.registration.home_agent == HA1
    bench.pass_time(200)
    assert len(bench.requests) == 2


def test_a_refused_refresh_does_not_spin(bench):
    bench.home_agents = (HA1,)
    bench.bind()
    for _ in range(10):
        bench.answer(bench.next_update(), 130)
    assert bench.now.monotonic - 1000 == pytest.approx(300 + 9 * 10)
    assert CloseTunnel() not in bench.effects
    bench.answer(bench.next_update())
    assert bench.state is State.BOUND


@pytest.mark.requirement("D-6")
def test_a_home_agent_that_comes_back_is_found_without_discovery(bench):
    """Anycast discovery may be broken where unicast is not."""
    bench.bind()
    bench.home_agents = None
    bench.pass_time(900)
    assert bench.state is State.SEARCHING and bench.mobile_router.registration is None
    assert CloseTunnel() in bench.effects
    while (sent := bench.next_update()).to != HA1:
        pass
    assert bench.now.monotonic - 1000 < 900 + 200
    bench.answer(sent)
    assert bench.state is State.BOUND


@pytest.mark.requirement("D-6")
@pytest.mark.requirement("D-6", "M-CONST-DHAAD")
def test_discovery_is_repeated_after_3_s_four_times_doubling(bench):
    bench.home_agents = None
    bench.attach()
    bench.pass_time(105)
    assert [round(at - 1000, 3) for at in bench.requests] == [0, 3, 9, 21, 45, 103]


@pytest.mark.requirement("L-7")
def test_the_binding_ends_with_its_lifetime(bench):
    bench.bind()
    bench.mobile_router.detached()
    bench.pass_time(599.9)
    assert CloseTunnel() not in bench.effects
    bench.pass_time(0.2)
    assert bench.effects.count(CloseTunnel()) == 1
    assert bench.mobile_router.registration is None and bench.state is State.DETACHED
    assert bench.mobile_router.next_timer() is None


def test_reattached_at_the_same_place_it_does_not_get_stuck(bench):
    """The Home Agent is silent when the link comes back; the binding runs out meanwhile."""
    bench.home_agents = (HA1,)
    bench.bind()
    bench.mobile_router.detached()
    bench.settle()
    bench.attach(HERE)
    bench.pass_time(2000)
    assert bench.state is State.SEARCHING
    bench.answer(bench.next_update())
    assert bench.state is State.BOUND


def test_a_process_that_was_held_up_past_its_lifetime_starts_again(bench):
    bench.bind()
    bench.now = Now(bench.now.monotonic + 10_000, bench.now.wall + 10_000)
    bench.mobile_router.handle_timer(bench.now)
    bench.settle()
    assert bench.tunnels()[-1] == CloseTunnel()
    assert bench.state is State.SEARCHING and len(bench.requests) == 2
    bench.answer(bench.updates[-1])
    assert bench.state is State.BOUND


@pytest.mark.requirement("D-8")
@pytest.mark.requirement("D-8")
def test_on_a_move_the_old_home_agent_is_told_first(bench):
    """RFC 6275 s.11.4.1, behaviour D-8."""
    bench.bind(HERE)
    bench.home_agents = (HA2, HA1)
    bench.attach(THERE)
    assert [sent.to for sent in bench.updates[1:]] == [HA1, HA2]
    old, new = bench.updates[1:]
    bench.answer(old)
    # The other has been asked, and may have granted it.
    assert bench.tunnels()[-1] == UseTunnel(HA1, THERE, frozenset((HA1, HA2)))
    bench.answer(new)
    assert bench.tunnels()[-1] == UseTunnel(HA2, THERE, frozenset((HA1, HA2)))
    bench.pass_time(290)
    assert len(bench.updates) == 3


def test_the_old_home_agent_is_asked_no_more_once_the_closest_has_accepted(bench):
    bench.bind(HERE)
    bench.home_agents = (HA2, HA1)
    bench.attach(THERE)
    bench.answer(bench.updates[2])
    bench.pass_time(290)
    assert len(bench.updates) == 3
    assert bench.mobile_router.registration.home_agent == HA2


def test_the_last_word_goes_to_the_home_agent_in_use(bench):
    """What was repeated to the old Home Agent after the new one was asked would win at the primary."""
    bench.bind(HERE)
    bench.home_agents = (HA2, HA1)
    bench.attach(THERE)
    new = bench.updates[2]
    bench.pass_time(1.0)
    assert [sent.to for sent in bench.updates[3:]] == [HA1]
    bench.answer(new)
    assert [sent.to for sent in bench.updates[3:]] == [HA1, HA2]
    bench.answer(bench.updates[-1])
    bench.pass_time(280)
    assert [sent.to for sent in bench.updates[3:]] == [HA1, HA2]


def test_the_last_word_after_a_closer_one_gave_no_answer(bench):
    bench.bind(HERE)
    bench.home_agents = (HA2,)
    bench.attach(THERE)
    bench.answer(bench.updates[1])
    bench.pass_time(10.5)
    assert [sent.to for sent in bench.updates[2:]] == [HA2, HA2, HA2, HA1]
    bench.answer(bench.updates[-1])
    assert bench.state is State.BOUND


@pytest.mark.requirement("M-BA-R")
def test_a_home_agent_without_router_support_is_left_with_a_deregistration(bench):
    """RFC 3963 s.5.3."""
    bench.attach()
    bench.answer(bench.updates[0], flags=BindingAcknowledgementFlag(0))
    assert bench.tunnels() == [] and bench.state is State.SEARCHING
    assert [(sent.to, sent.update.lifetime) for sent in bench.updates] == [(HA1, 600), (HA1, 0)]
    bench.answer(bench.updates[1])
    following = bench.next_update()
    assert (following.to, following.update.lifetime) == (HA2, 600)


def test_accepted_for_no_time_is_no_binding(bench):
    bench.attach()
    bench.answer(bench.updates[0], lifetime=0)
    assert bench.state is State.SEARCHING and bench.tunnels() == []
    assert bench.next_update().to == HA2


@pytest.mark.requirement("L-8")
@pytest.mark.parametrize("gap", [0.0, 0.01, 0.1, 0.3])
@pytest.mark.requirement("L-8", "M-CONST")
def test_never_more_than_three_updates_to_one_home_agent_in_a_second(bench, gap):
    """RFC 6275 s.11.8, however fast the attachment flaps."""
    bench.bind()
    for step in range(40):
        bench.attach(THERE if step % 2 == 0 else HERE)
        bench.pass_time(gap)
    bench.pass_time(5)
    for home_agent in (HA1, HA2, HA3):
        times = [sent.at for sent in bench.updates if sent.to == home_agent]
        assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in zip(times, times[3:], strict=False))
    last = bench.updates[-1]
    assert last.source == HERE
    bench.answer(last)
    assert bench.state is State.BOUND
