"""A mobile router to which anything happens in any order: it never raises, always has something to wait for,
and never asks one Home Agent more than three times a second."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from haha_exabgp.protocol.home import ReplayProtectionMode
from haha_exabgp.protocol.messages import binding_error_packet, notice_packet
from haha_exabgp.protocol.mobility import MobileRouterConfig, State
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import BindingAcknowledgementFlag
from haha_exabgp.wire.icmpv6 import MobilePrefixAdvertisement, PrefixInformation, encode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, build_icmpv6, build_mobility, parse_packet
from haha_exabgp.wire.messages import BindingRefreshRequest, HomeAgentSwitch
from haha_exabgp.wire.mobility import encode_mobility
from haha_exabgp.wire.options import BindingRefreshAdvice, ReplayProtection
from haha_exabgp.wire.timestamp import correction, from_unix
from tests.unit.mobile_router_bench import ASSOCIATION, HA1, HA2, HA3, HOA, MNP, ROUTER, Bench

HOME_AGENTS = (HA1, HA2, HA3)
PLACES = (*(Address.parse(f"3fff:f0{i}::aa") for i in (1, 2, 3)), HOA)
STATUSES = [
    0,
    0,
    0,
    1,
    128,
    129,
    130,
    131,
    132,
    133,
    134,
    135,
    139,
    140,
    141,
    142,
    143,
    144,
    145,
    146,
    174,
    255,
]


class AnythingHappens(RuleBasedStateMachine):
    @initialize(
        explicit=st.booleans(), mode=st.sampled_from(ReplayProtectionMode), first=st.integers(0, 65535)
    )
    def start(self, explicit: bool, mode: ReplayProtectionMode, first: int) -> None:
        announced = (MNP,) if explicit else ()
        config = MobileRouterConfig("mr1", HOA, announced, (ASSOCIATION,), lifetime=600, replay=mode)
        self.config = config
        self.bench = Bench(config, first)
        self.random = Random(first)

    @rule(place=st.sampled_from(PLACES))
    def attach(self, place: Address) -> None:
        self.bench.attach(place)

    @rule()
    def detach(self) -> None:
        self.bench.mobile_router.detached()
        self.bench.settle()

    @rule()
    def change_path(self) -> None:
        self.bench.mobile_router.path_changed(self.bench.now)
        self.bench.settle()

    @rule(
        seconds=st.sampled_from([0.0, 0.1, 0.9, 2.0, 11.0, 65.0, 310.0, 700.0]),
        jump=st.sampled_from([0, 0, -9, 99]),
    )
    def wait(self, seconds: float, jump: float) -> None:
        self.bench.pass_time(seconds, jump=jump)

    @rule(addresses=st.none() | st.lists(st.sampled_from(HOME_AGENTS), max_size=3))
    def answer_discovery_with(self, addresses: list[Address] | None) -> None:
        self.bench.home_agents = None if addresses is None else tuple(addresses)

    @precondition(lambda self: self.bench.updates)
    @rule(
        which=st.integers(1, 4),
        status=st.sampled_from(STATUSES),
        lifetime=st.sampled_from([None, 0, 4, 40]),
        router=st.booleans(),
        advice=st.none() | st.sampled_from([0, 4, 400]),
    )
    def answer(self, which: int, status: int, lifetime: int | None, router: bool, advice: int | None) -> None:
        sent = self.bench.updates[-min(which, len(self.bench.updates))]
        stamp = correction(sent.timestamp, from_unix(self.bench.now.wall)) if status == 144 else None
        self.bench.answer(
            sent,
            status,
            lifetime=lifetime,
            flags=ROUTER if router else BindingAcknowledgementFlag(0),
            stamp=stamp,
            options=() if advice is None else (BindingRefreshAdvice(advice),),
        )

    @precondition(lambda self: self._care_of_address() is not None)
    @rule(
        source=st.sampled_from(HOME_AGENTS),
        addresses=st.lists(st.sampled_from(HOME_AGENTS), max_size=2),
        stamped=st.booleans(),
        advice=st.none() | st.sampled_from([0, 8, 400]),
    )
    def switch(self, source: Address, addresses: list[Address], stamped: bool, advice: int | None) -> None:
        options = [] if advice is None else [BindingRefreshAdvice(advice)]
        if stamped:
            options.append(ReplayProtection(from_unix(self.bench.now.wall)))
        message = HomeAgentSwitch(tuple(addresses), tuple(options))
        self.bench.receive(notice_packet(source, self._care_of_address(), HOA, message, ASSOCIATION))

    @precondition(lambda self: self._care_of_address() is not None)
    @rule(source=st.sampled_from(HOME_AGENTS), status=st.sampled_from([None, 1, 2, 9]))
    def ask_for_an_update(self, source: Address, status: int | None) -> None:
        care_of_address = self._care_of_address()
        if status is None:
            header = encode_mobility(BindingRefreshRequest(), source, HOA)
            self.bench.receive(build_mobility(source, care_of_address, header, routing_home_address=HOA))
        else:
            self.bench.receive(binding_error_packet(source, care_of_address, HOA, status))

    @precondition(lambda self: self._care_of_address() is not None)
    @rule(
        source=st.sampled_from(HOME_AGENTS),
        valid=st.sampled_from([0, 5, 900, 0xFFFFFFFF]),
        solicited=st.booleans(),
    )
    def advertise(self, source: Address, valid: int, solicited: bool) -> None:
        identifier = (
            self.bench.solicitations[-1][1].identifier if self.bench.solicitations and solicited else 0
        )
        prefix = PrefixInformation(Prefix.of(HOA, 64).address, 64, valid, valid)
        message = MobilePrefixAdvertisement(identifier, False, False, (prefix,))
        care_of_address = self._care_of_address()
        body = encode_icmpv6(message, source, HOA)
        packet = parse_packet(build_icmpv6(source, care_of_address, body, routing_home_address=HOA))
        assert isinstance(packet, IcmpPacket)
        self.bench.mobile_router.receive_prefixes(packet, message, self.bench.now)
        self.bench.settle()

    @rule()
    def stop_and_start_again(self) -> None:
        bench = self.bench
        bench.mobile_router.stop(bench.now)
        bench.settle()
        bench.pass_time(12)
        assert bench.state is State.STOPPED and bench.mobile_router.next_timer() is None
        fresh = Bench(self.config, self.random.randrange(65536))
        bench.mobile_router = fresh.mobile_router
        bench.updates.clear()

    @rule()
    def calm(self) -> None:
        """Away from home, with a Home Agent that says yes: bound within its slowest timers."""
        bench = self.bench
        bench.home_agents = HOME_AGENTS
        bench.attach(Address.parse(f"3fff:f09::{self.random.randrange(1, 65535):x}"))
        for _ in range(40):
            if bench.state is State.BOUND:
                return
            seen = len(bench.updates)
            if bench.updates:
                bench.answer(bench.updates[-1])
            if bench.state is not State.BOUND and len(bench.updates) == seen:
                bench.next_update()
        raise AssertionError(f"still {bench.state}")

    def _care_of_address(self) -> Address | None:
        return self.bench.mobile_router.care_of_address

    @invariant()
    def it_has_something_to_wait_for(self) -> None:
        mobile_router, timer = self.bench.mobile_router, self.bench.mobile_router.next_timer()
        if self.bench.state in (State.SEARCHING, State.BOUND, State.LEAVING):
            assert timer is not None
        if self.bench.state is State.BOUND:
            assert mobile_router.registration is not None
            assert mobile_router.registration.care_of_address == mobile_router.care_of_address
        if self.bench.state in (State.DETACHED, State.STOPPED):
            assert timer is None or mobile_router.registration is not None

    @invariant()
    def nobody_is_asked_more_than_three_times_a_second(self) -> None:
        for home_agent in HOME_AGENTS:
            times = [sent.at for sent in self.bench.updates if sent.to == home_agent]
            assert all(later - earlier >= 1 - 1e-9 for earlier, later in zip(times, times[3:], strict=False))

    @invariant()
    def each_update_is_newer_than_the_one_before(self) -> None:
        updates = self.bench.updates[-50:]
        corrected = self.bench.mobile_router.counters["refused_135"]
        if not corrected:
            steps = {(b.update.sequence - a.update.sequence) % 65536 for a, b in pairwise(updates)}
            assert steps <= {1}


TestAnythingHappens = AnythingHappens.TestCase
TestAnythingHappens.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
