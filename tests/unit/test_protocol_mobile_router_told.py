"""A mobile router that is told things by Home Agents unasked, and by strangers in their name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.home import ReplayProtectionMode, SecurityAssociation
from haha_exabgp.protocol.home_agent_requests import SWITCHES_AT_ONCE
from haha_exabgp.protocol.messages import binding_error_packet, notice_packet
from haha_exabgp.protocol.mobility import State, UseTunnel
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    PrefixInformation,
    decode_icmpv6,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import IcmpPacket, build_icmpv6, build_mobility, parse_packet
from haha_exabgp.wire.messages import BindingRefreshRequest, HomeAgentSwitch
from haha_exabgp.wire.mobility import encode_mobility
from haha_exabgp.wire.options import BindingRefreshAdvice, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.mobile_router_bench import ASSOCIATION, CONFIG, HA1, HA2, HA3, HERE, HOA, THERE, Bench

STRANGER = Address.parse("3fff:66::6")
STRANGERS_KEY = SecurityAssociation(4096, bytes(16))


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.bind()
    return made


def counter(bench: Bench, name: str) -> int:
    return bench.mobile_router.counters[name]


# Binding Refresh Request (RFC 6275 s.11.7.4)


def refresh_request(source: Address = HA1) -> bytes:
    header = encode_mobility(BindingRefreshRequest(), source, HOA)
    return build_mobility(source, HERE, header, routing_home_address=HOA)


def test_a_refresh_request_is_answered_by_a_binding_update_at_once(bench):
    bench.receive(refresh_request())
    assert [sent.to for sent in bench.updates[1:]] == [HA1]
    assert bench.updates[1].update.lifetime == 600 and bench.state is State.BOUND
    bench.answer(bench.updates[1])
    assert bench.mobile_router.registration.expires == 1600.0


def test_signed_refresh_requests_count_as_well(bench):
    message = BindingRefreshRequest((ReplayProtection(from_unix(bench.now.wall)),))
    bench.receive(notice_packet(HA1, HERE, HOA, message, ASSOCIATION))
    assert len(bench.updates) == 2


@pytest.mark.parametrize("source", [HA2, STRANGER])
def test_a_refresh_request_of_a_home_agent_without_our_binding_is_nothing(bench, source):
    bench.receive(refresh_request(source))
    assert len(bench.updates) == 1 and counter(bench, "unexpected_message") == 1


def test_a_flood_of_refresh_requests_makes_few_binding_updates(bench):
    for _ in range(600):
        bench.receive(refresh_request())
        bench.answer(bench.updates[-1])
        bench.pass_time(0.1)
    assert len(bench.updates) <= 1 + 3 + 6
    assert counter(bench, "too_many_update_requests") > 500 and bench.state is State.BOUND


# Binding Error (RFC 6275 s.11.3.6)


def test_unknown_binding_makes_us_register_again(bench):
    bench.receive(binding_error_packet(HA1, HERE, HOA, 1))
    assert [sent.to for sent in bench.updates[1:]] == [HA1]
    assert bench.state is State.BOUND and len(bench.tunnels()) == 1
    assert counter(bench, "binding_error_1") == 1


def test_a_forged_binding_error_destroys_nothing(bench):
    before = bench.mobile_router.registration
    for status in (1, 2, 77):
        for source in (HA1, HA2, STRANGER):
            bench.receive(binding_error_packet(source, HERE, HOA, status))
    bench.receive(binding_error_packet(HA1, HERE, STRANGER, 1))
    assert bench.mobile_router.registration == before and bench.state is State.BOUND
    assert len(bench.updates) == 2 and len(bench.tunnels()) == 1


def test_status_2_of_a_home_agent_that_is_being_asked_ends_nothing():
    bench = Bench()
    bench.attach()
    bench.receive(binding_error_packet(HA1, HERE, HOA, 2))
    assert counter(bench, "binding_error_2") == 1 and len(bench.updates) == 1
    bench.answer(bench.updates[0])
    assert bench.state is State.BOUND


# Home Agent Switch (RFC 5142)


def switch(
    bench: Bench,
    *addresses: Address,
    source: Address = HA1,
    key: SecurityAssociation = ASSOCIATION,
    at: float | None = 0.0,
    advice: int | None = None,
) -> bytes:
    options = [] if advice is None else [BindingRefreshAdvice(advice)]
    if at is not None:
        options.append(ReplayProtection(from_unix(bench.now.wall + at)))
    return notice_packet(source, HERE, HOA, HomeAgentSwitch(addresses, tuple(options)), key)


@pytest.mark.requirement("H-11")
def test_who_has_sent_it_away_may_be_named_by_the_next_one(bench):
    """A Home Agent has been out of service, and is back."""
    bench.receive(switch(bench, HA2))
    bench.answer(bench.updates[-1])
    bench.pass_time(2)
    bench.receive(switch(bench, HA1, source=HA2))
    assert bench.updates[-1].to == HA1
    bench.answer(bench.updates[-1])
    assert bench.mobile_router.registration.home_agent == HA1


@pytest.mark.requirement("H-11")
def test_a_switch_leads_to_the_home_agent_that_it_names(bench):
    bench.receive(switch(bench, HA3, HA2))
    assert [(sent.to, sent.update.lifetime) for sent in bench.updates[1:]] == [(HA3, 600)]
    assert bench.state is State.BOUND, "the tunnel is used on until another one is there"
    bench.answer(bench.updates[1])
    assert bench.mobile_router.registration.home_agent == HA3
    assert bench.tunnels()[-1] == UseTunnel(HA3, HERE, frozenset((HA1, HA3)))
    for _ in range(5):
        bench.answer(bench.next_update())
    assert {sent.to for sent in bench.updates[1:]} == {HA3}


@pytest.mark.requirement("H-11")
def test_a_switch_without_addresses_leads_to_discovery(bench):
    bench.home_agents = (HA1, HA2)
    bench.receive(switch(bench))
    assert len(bench.requests) == 2 and bench.updates[-1].to == HA2
    bench.answer(bench.updates[-1])
    assert bench.mobile_router.registration.home_agent == HA2


def test_who_is_switched_asks_the_others_of_the_list_in_turn_and_the_sender_no_more(bench):
    bench.home_agents = (HA1,)
    bench.receive(switch(bench, HA3, HA2))
    bench.answer(bench.updates[-1], 130)
    assert bench.next_update().to == HA2
    bench.answer(bench.updates[-1], 130)
    bench.pass_time(250)
    assert HA1 not in {sent.to for sent in bench.updates[1:]}


def test_after_the_binding_at_the_sender_has_ended_it_may_be_asked_again(bench):
    bench.home_agents = (HA1,)
    bench.receive(switch(bench, advice=40))
    bench.pass_time(39.9)
    assert bench.mobile_router.registration is not None
    bench.pass_time(0.2)
    assert bench.mobile_router.registration is None and bench.state is State.SEARCHING
    bench.pass_time(700)
    assert bench.updates[-1].to == HA1


def test_another_home_agent_may_invite(bench):
    """RFC 5142 s.5.1."""
    bench.receive(switch(bench, HA2, source=HA2))
    bench.answer(bench.updates[-1])
    assert bench.mobile_router.registration.home_agent == HA2


@pytest.mark.requirement("H-11", "S-2")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": STRANGERS_KEY}, "bad_authenticator"),
        ({"key": replace(ASSOCIATION, spi=9)}, "unknown_spi"),
        ({"at": -60.0}, "replayed"),
    ],
)
def test_a_switch_that_is_not_authentic_or_old_changes_nothing(bench, change, reason):
    bench.receive(switch(bench, HA3, **change))
    assert len(bench.updates) == 1 and bench.mobile_router.home_agents == (HA1, HA2, HA3)
    assert counter(bench, reason) == 1


def test_a_switch_counts_once(bench):
    packet = switch(bench, HA3)
    bench.receive(packet)
    bench.receive(packet)
    assert counter(bench, "replayed") == 1 and len(bench.updates) == 2


def test_unsigned_switches_are_nothing(bench):
    header = encode_mobility(HomeAgentSwitch((HA3,)), HA1, HOA)
    bench.receive(build_mobility(HA1, HERE, header, routing_home_address=HOA))
    assert len(bench.updates) == 1 and counter(bench, "no_authentication") == 1


def test_switches_without_a_timestamp_are_followed_at_a_bounded_rate(bench):
    for step in range(50):
        bench.receive(switch(bench, (HA2, HA3)[step % 2], at=None))
        bench.pass_time(0.1)
    assert counter(bench, "too_many_switches") >= 50 - SWITCHES_AT_ONCE - 1


def test_a_router_without_a_clock_takes_a_switch_by_its_order():
    bench = Bench(replace(CONFIG, replay=ReplayProtectionMode.SEQUENCE))
    bench.bind()
    bench.receive(switch(bench, HA3, at=86400.0))
    assert bench.updates[-1].to == HA3
    bench.receive(switch(bench, HA2, at=86399.0))
    assert bench.updates[-1].to == HA3 and counter(bench, "replayed") == 1


# Binding Refresh Advice, status 1, Mobile Prefix Discovery (RFC 6275 s.11.7.3, s.11.4.2, s.11.4.3)


def test_refresh_advice_is_followed():
    bench = Bench()
    bench.attach()
    bench.answer(bench.updates[0], options=(BindingRefreshAdvice(40),))
    bench.pass_time(39.9)
    assert len(bench.updates) == 1
    bench.pass_time(0.2)
    assert len(bench.updates) == 2


@pytest.mark.parametrize("advice", [0, 400])
def test_advice_to_refresh_later_than_half_the_lifetime_or_at_once_is_not(advice):
    bench = Bench()
    bench.attach()
    bench.answer(bench.updates[0], options=(BindingRefreshAdvice(advice),))
    assert bench.mobile_router.registration.refresh_at == 1300.0


def asked_for_prefixes() -> Bench:
    bench = Bench()
    bench.attach()
    bench.answer(bench.updates[0], 1)
    assert bench.state is State.BOUND
    bench.pass_time(0.0)
    return bench


def advertise(
    bench: Bench,
    *prefixes: PrefixInformation,
    identifier: int | None = None,
    source: Address = HA1,
    home_address: Address = HOA,
) -> None:
    if identifier is None:
        identifier = bench.solicitations[-1][1].identifier
    message = MobilePrefixAdvertisement(identifier, False, False, prefixes)
    body = encode_icmpv6(message, source, home_address)
    packet = parse_packet(build_icmpv6(source, HERE, body, routing_home_address=home_address))
    assert isinstance(packet, IcmpPacket)
    decoded = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
    assert isinstance(decoded, MobilePrefixAdvertisement)
    bench.mobile_router.receive_prefixes(packet, decoded, bench.now)
    bench.settle()


def prefix(valid: int, text: str = "2001:db8:1:1::") -> PrefixInformation:
    return PrefixInformation(Address.parse(text), 64, valid, valid)


@pytest.mark.requirement("L-2")
def test_status_1_is_followed_by_a_solicitation_from_the_care_of_address():
    bench = asked_for_prefixes()
    ((_, solicitation, packet),) = bench.solicitations
    assert (packet.source, packet.destination, packet.home_address) == (HERE, HA1, HOA)
    assert solicitation.identifier != 0


def test_solicitations_are_repeated_with_back_off_and_new_identifiers_and_end():
    bench = asked_for_prefixes()
    bench.pass_time(200)
    assert [round(at - 1000, 3) for at, _, _ in bench.solicitations] == [0, 3, 9, 21, 45]
    assert len({message.identifier for _, message, _ in bench.solicitations}) == 5
    assert bench.state is State.BOUND


def test_the_lifetime_asked_for_ends_with_the_home_prefix():
    bench = asked_for_prefixes()
    advertise(bench, prefix(7000, "2001:db8:9::"), prefix(1000))
    bench.answer(bench.next_update())
    bench.pass_time(250)
    bench.answer(bench.next_update())
    assert [sent.update.lifetime for sent in bench.updates[1:]] == [548, 276]
    assert all(sent.at + sent.update.lifetime <= 2000 for sent in bench.updates[1:])


def test_while_prefixes_are_awaited_the_refresh_waits_but_not_for_ever():
    bench = asked_for_prefixes()
    assert bench.mobile_router.registration.refresh_at == 1450.0


def test_before_the_home_prefix_ends_it_is_asked_for_again():
    bench = asked_for_prefixes()
    advertise(bench, prefix(1000))
    for _ in range(2):
        bench.answer(bench.next_update())
    bench.pass_time(799 - (bench.now.monotonic - 1000))
    assert len(bench.solicitations) == 1
    bench.pass_time(2)
    assert len(bench.solicitations) == 2


@pytest.mark.parametrize("prefixes", [(), (prefix(0),), (prefix(7000, "2001:db8:9::"),)])
def test_a_withdrawn_home_prefix_is_told_to_the_operator_and_looked_after(prefixes):
    bench = asked_for_prefixes()
    advertise(bench, *prefixes)
    assert len(bench.requests) == 2 and bench.state is State.BOUND
    assert any("prefix of the home address has ended" in getattr(e, "text", "") for e in bench.effects)


def test_an_endless_prefix_limits_nothing():
    bench = asked_for_prefixes()
    advertise(bench, prefix(0xFFFFFFFF))
    assert bench.next_update().update.lifetime == 600


@pytest.mark.parametrize(
    "change",
    [{"source": HA2}, {"source": STRANGER}, {"home_address": STRANGER}],
    ids=["ha2", "stranger", "to"],
)
def test_advertisements_that_are_not_of_our_home_agent_to_us_are_nothing(change):
    bench = asked_for_prefixes()
    advertise(bench, prefix(8), **change)
    assert counter(bench, "prefixes_foreign") == 1
    assert bench.next_update().update.lifetime == 600


def test_an_advertisement_that_guesses_the_identifier_wrongly_is_not_believed():
    bench = asked_for_prefixes()
    advertise(bench, prefix(0), identifier=bench.solicitations[0][1].identifier ^ 1)
    assert counter(bench, "prefixes_unsolicited") == 1 and len(bench.requests) == 1
    advertise(bench, prefix(5000))
    assert counter(bench, "prefixes_valid") == 1


def test_an_advertisement_counts_once_and_unsolicited_ones_only_make_us_ask(bench):
    advertise(bench, prefix(100), identifier=0)
    bench.pass_time(0.0)
    assert len(bench.solicitations) == 1 and counter(bench, "prefixes_unsolicited") == 1
    advertise(bench, prefix(5000))
    advertise(bench, prefix(100), identifier=bench.solicitations[0][1].identifier)
    assert counter(bench, "prefixes_unsolicited") == 2 and counter(bench, "prefixes_valid") == 1
    bench.pass_time(5)
    assert len(bench.solicitations) == 1
    assert bench.next_update().update.lifetime == 600


def test_a_flood_of_unsolicited_advertisements_makes_few_solicitations(bench):
    for _ in range(300):
        advertise(bench, prefix(100), identifier=0)
        bench.pass_time(0.1)
        if bench.solicitations:
            advertise(bench, prefix(100000))
    assert len(bench.solicitations) <= 4


def test_after_a_move_no_answer_to_the_old_place_counts():
    bench = asked_for_prefixes()
    bench.attach(THERE)
    bench.answer(bench.updates[-1])
    advertise(bench, prefix(0))
    assert counter(bench, "prefixes_unsolicited") == 1
