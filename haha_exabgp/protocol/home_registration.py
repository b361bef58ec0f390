"""The home registration of a mobile router: whom it asks to be its Home Agent, what follows from the answers,
what ends a binding (RFC 6275 s.11.7, RFC 3963 s.5.3, s.5.4).

Rules, all in this file:

1. A Home Agent that stays silent or refuses is followed by the next one of the discovered list, no sooner
   than 1.5 s after it was asked; at the end of the list discovery starts again. The only one of a list is
   asked on, every 32 s in the end. The tunnel stays in use as long as its binding lasts.
2. The network believes the last Binding Update, whoever got it. So once the closest Home Agent has
   accepted, the others are asked no more; and if the last one went to another than the one in use, the
   one in use is sent another.
3. An acknowledgement counts when it is authenticated and answers the last Binding Update to its sender.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import inf
from random import Random

from ..wire.address import Address
from ..wire.codes import BindingAcknowledgementFlag, Status
from ..wire.ipv6 import MobilityPacket
from ..wire.mobility import BindingAcknowledgement
from ..wire.options import BindingRefreshAdvice, first_option
from .effects import Note, Transmit
from .home_agent_search import Discovery, HomeAgentSearch
from .home_prefixes import HomePrefixes
from .messages import authenticate
from .mobility import (
    AcceptFrom,
    CloseTunnel,
    DoubtEgress,
    MobileRouterConfig,
    MobileRouterEffect,
    Refusal,
    Registration,
    State,
    UseTunnel,
)
from .remedies import Remedy, barred_until, meaning, remedy
from .time import Now
from .update_list import INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION, Outstanding, UpdateList

ATTEMPTS = 3
"""Binding Updates to one Home Agent before the next of the list is tried."""
REDISCOVERY_DELAY = 10.0
"""Seconds between two rounds of discovery that found nobody."""
CLOSER_DELAY = 60.0
"""Seconds until the closest Home Agent is asked again, when another one serves meanwhile."""
SILENT = 2
"""Home Agents that give no answer one after the other, before the egress interface is doubted."""


class HomeRegistration:
    """The part of a `MobileRouter` that deals with Home Agents; attachments are the other's."""

    def __init__(self, config: MobileRouterConfig, first_sequence: int, random: Random) -> None:
        self._config = config
        self._effects: list[MobileRouterEffect] = []
        self._silent = 0
        self._senders: frozenset[Address] = frozenset()
        """Who may send through the tunnel."""
        self.counters: Counter[str] = Counter()
        self.updates = UpdateList(config, first_sequence)
        self.search = HomeAgentSearch(config.home_address, random, mobile_router=config.is_router)
        self.prefixes = HomePrefixes(config.home_address, random)
        self.is_open = False
        """Packets of the mobile networks have a way out."""
        self.care_of_address: Address | None = None
        self.registration: Registration | None = None
        self.last_refusal: Refusal | None = None
        self.suspect_refusal: Refusal | None = None
        self.state = State.DETACHED

    def take_effects(self) -> list[MobileRouterEffect]:
        """What is to be done, in order; empties the list."""
        effects, self._effects = self._effects, []
        return effects

    def emit(self, effect: MobileRouterEffect) -> None:
        """Ask something of the world."""
        self._effects.append(effect)

    # Discovery

    def look_around(self, now: Now) -> None:
        """Tell the Home Agent that holds the binding, and see whether there is a closer one."""
        self.search.forgive()
        if self.registration is not None:
            self.confirm(self.registration.home_agent, now)
        self.search.begin(now.monotonic)
        self.discover(now)

    def discover(self, now: Now) -> None:
        """Send the discovery request that is due, or do what follows when nobody has answered."""
        if self.care_of_address is None:
            return
        request = self.search.request(self.care_of_address, now.monotonic)
        if isinstance(request, bytes):
            self.emit(Transmit(request))
        elif request is Discovery.UNANSWERED:
            self.emit(Note("no home agent answered discovery"))
            self.search.begin(now.monotonic, REDISCOVERY_DELAY)
            if self.state is State.SEARCHING:
                self.emit(DoubtEgress(self.care_of_address))
                holder = [self.registration.home_agent] if self.registration is not None else []
                self.try_((*holder, *self.search.candidates), now)

    def _rediscover(self, now: Now, delay: float) -> None:
        if self.search.due_at is None:
            self.search.begin(now.monotonic, delay)

    def solicit_prefixes(self, now: Now) -> None:
        """Send the Mobile Prefix Solicitation that is due."""
        registration = self.registration
        if self.state is not State.BOUND or registration is None or self.care_of_address is None:
            self.prefixes.stop()
            return
        packet = self.prefixes.solicitation(registration.home_agent, self.care_of_address, now.monotonic)
        if packet is None:
            self.emit(Note(f"{registration.home_agent} does not answer mobile prefix solicitations"))
        else:
            self.emit(Transmit(packet))

    # Whom to ask

    def try_(self, home_agents: Iterable[Address], now: Now, not_before: float = 0.0) -> None:
        """Ask the first of these, unless it is being asked or serves already."""
        for home_agent in home_agents:
            if not self.search.may_ask(home_agent, now.monotonic):
                continue
            if home_agent not in self.updates and not self._is_bound_to(home_agent):
                self.send_update(home_agent, now, not_before=not_before)
            break
        self._settle(now)

    def _settle(self, now: Now) -> None:
        """What has to follow when no Home Agent is being asked any more."""
        if self.updates:
            return
        registration = self.registration
        if (
            self.state is not State.BOUND
            or registration is None
            or not self.search.may_ask(registration.home_agent, now.monotonic)
        ):
            self._rediscover(now, REDISCOVERY_DELAY)
        elif self.updates.latest != registration.home_agent:
            self.send_update(registration.home_agent, now)
        elif self.search.candidates[:1] != [registration.home_agent]:
            self._rediscover(now, CLOSER_DELAY)

    def _failed(self, home_agent: Address, outstanding: Outstanding, now: Now) -> None:
        if self._is_bound_to(home_agent):
            self.state = State.SEARCHING
        following = self.search.after(home_agent)
        if following is None:
            following = [] if self.updates else self.search.candidates
        # RFC 6275 s.11.4.1.
        self.try_(following, now, outstanding.sent + INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION)

    # Binding Updates

    def confirm(self, home_agent: Address, now: Now) -> None:
        """Send a Home Agent a Binding Update, unless it is being asked or must not be."""
        if home_agent not in self.updates and self.search.may_ask(home_agent, now.monotonic):
            self.send_update(home_agent, now)

    def send_update(
        self,
        home_agent: Address,
        now: Now,
        *,
        lifetime: int | None = None,
        previous: Outstanding | None = None,
        corrected: frozenset[int] = frozenset(),
        register_after: bool = False,
        not_before: float = 0.0,
    ) -> None:
        """Send one now, or as soon as it may go; the arguments are those of `UpdateList.send`. `lifetime` in
        seconds, the configured one unless given."""
        assert self.care_of_address is not None
        registration = self.registration
        if lifetime is None:
            lifetime = self.prefixes.bounded(self._config.lifetime, now.monotonic) // 4 * 4
        packet = self.updates.send(
            home_agent,
            self.care_of_address,
            now,
            lifetime=lifetime,
            first=registration is None or registration.home_agent != home_agent,
            previous=previous,
            corrected=corrected,
            register_after=register_after,
            not_before=not_before,
        )
        if packet is not None:
            if lifetime and self.is_open and home_agent not in self._senders:
                self._senders |= {home_agent}
                self.emit(AcceptFrom(self._senders))
            self.emit(Transmit(packet))

    def retry(self, home_agent: Address, outstanding: Outstanding, now: Now) -> None:
        """Repeat what has no answer, or give it up."""
        # At home the de-registration goes on until the binding has run out.
        patient = self.state is State.AT_HOME and self.registration is not None
        alone = self._is_only_choice(home_agent, now)
        if outstanding.attempt == ATTEMPTS and alone:
            self._begin_to_wait(home_agent, now)
        if outstanding.sequence is None or outstanding.attempt < ATTEMPTS or patient or alone:
            self.send_update(home_agent, now, lifetime=outstanding.lifetime, previous=outstanding)
            return
        self.updates.forget(home_agent)
        self.emit(Note(f"home agent {home_agent} does not answer"))
        if self.state is State.LEAVING:
            self.end()
        elif self.state is not State.AT_HOME:
            self._doubt()
            self._failed(home_agent, outstanding, now)

    def _is_only_choice(self, home_agent: Address, now: Now) -> bool:
        """True when nobody else can be asked, nor serves."""
        if self.state not in (State.SEARCHING, State.BOUND):
            return False
        others = [one for one in self.search.candidates if self.search.may_ask(one, now.monotonic)]
        if self.registration is not None and self.state is State.BOUND:
            others.append(self.registration.home_agent)
        return not set(others) - {home_agent} and len(self.updates) == 1

    def _begin_to_wait(self, home_agent: Address, now: Now) -> None:
        """RFC 6275 s.11.7.1: the only Home Agent is asked on, ever more slowly; meanwhile discovery looks for
        another."""
        self.emit(Note(f"home agent {home_agent} does not answer, and there is no other"))
        self.state = State.SEARCHING
        self._doubt()
        self._rediscover(now, 0.0)

    def _doubt(self) -> None:
        self._silent += 1
        if self._silent >= min(SILENT, len(self.search.candidates)) and self.care_of_address is not None:
            self._silent = 0
            self.emit(DoubtEgress(self.care_of_address))

    def receive_acknowledgement(
        self, packet: MobilityPacket, message: BindingAcknowledgement, now: Now
    ) -> None:
        """A Binding Acknowledgement that nobody has looked at yet."""
        config, care_of_address = self._config, self.care_of_address
        outstanding = self.updates.get(packet.source)
        # Towards the home address as source there is no routing header (RFC 6275 s.9.5.4).
        to = packet.routing_home_address or packet.destination
        if outstanding is None or to != config.home_address or care_of_address is None:
            self.counters["unexpected_message"] += 1
            return
        _, fault = authenticate(packet.header, care_of_address, config.home_address, config.associations)
        if fault is not None:
            self.counters[fault] += 1
            if outstanding.is_answered_by(message) and message.status >= 128:
                self.suspect_refusal = Refusal(packet.source, int(message.status), now.wall)
        elif not outstanding.is_answered_by(message):
            self.counters["not_outstanding"] += 1
        else:
            self._silent = 0
            self.updates.forget(packet.source)
            if message.status < 128 and (message.lifetime or not outstanding.lifetime):
                self._accepted(packet.source, message, outstanding, now)
            else:
                self._refused(packet.source, message, outstanding, now)

    def _accepted(
        self, home_agent: Address, message: BindingAcknowledgement, outstanding: Outstanding, now: Now
    ) -> None:
        if self.state is State.LEAVING:
            self.end()
        elif self.state is State.AT_HOME:
            self.registration = None
            self.emit(Note(f"de-registered from {home_agent}"))
        elif outstanding.register_after:
            self.send_update(home_agent, now, corrected=outstanding.corrected)
        elif not outstanding.lifetime:
            self._failed(home_agent, outstanding, now)
        elif self._config.is_router and BindingAcknowledgementFlag.MOBILE_ROUTER not in message.flags:
            # RFC 3963 s.5.3: it took us for a host; another Home Agent may know better.
            self.emit(Note(f"home agent {home_agent} does not support mobile routers"))
            self.search.bar(home_agent, inf)
            self.send_update(home_agent, now, lifetime=0)
        else:
            self._bind(home_agent, message, outstanding, now)

    def _bind(
        self, home_agent: Address, message: BindingAcknowledgement, outstanding: Outstanding, now: Now
    ) -> None:
        assert self.care_of_address is not None
        before, lifetime = self.registration, message.lifetime
        if message.status == Status.ACCEPTED_PREFIX_DISCOVERY_NECESSARY or self.prefixes.is_overdue:
            self.prefixes.begin(now.monotonic)
        # The lifetime counts from the Binding Update (RFC 6275 s.11.7.3).
        self.registration = Registration(
            home_agent=home_agent,
            care_of_address=self.care_of_address,
            granted=lifetime,
            refresh_at=outstanding.sent + self._refresh_after(message),
            expires=outstanding.sent + lifetime,
            round_trip=now.monotonic - outstanding.sent,
            since=now.wall,
        )
        same = (home_agent, self.care_of_address)
        if before is not None and (before.home_agent, before.care_of_address) == same:
            self.registration = replace(self.registration, since=before.since)
        self.state = State.BOUND
        self.is_open = True
        # What the one before has sent may still be on its way, and who has been asked may send already.
        former = home_agent if before is None else before.home_agent
        self._senders = frozenset((home_agent, former, *self.updates))
        self.emit(UseTunnel(home_agent, self.care_of_address, self._senders))
        self.emit(
            Note(
                f"bound to {home_agent} for {lifetime} s,"
                f" acknowledged after {self.registration.round_trip * 1000:.1f} ms"
            )
        )
        if home_agent in self.search.candidates[:1]:
            self.updates.clear()
        self._settle(now)

    def _refresh_after(self, message: BindingAcknowledgement) -> float:
        """Seconds. Half of the lifetime, or as early as advised; where prefixes are to be learned first (RFC
        6275 s.11.7.1), some time is left for that."""
        advice = first_option(message.options, BindingRefreshAdvice)
        if advice is not None and 0 < advice.interval < message.lifetime / 2:
            return advice.interval
        return message.lifetime * (0.75 if self.prefixes.under_way else 0.5)

    def _refused(
        self, home_agent: Address, message: BindingAcknowledgement, outstanding: Outstanding, now: Now
    ) -> None:
        status = message.status
        self.counters[f"refused_{int(status)}"] += 1
        what = remedy(status, explicit=bool(self._config.announced))
        corrected = outstanding.corrected | {status}
        if what is Remedy.CORRECT and self.updates.correct(outstanding, message, now):
            self.send_update(home_agent, now, lifetime=outstanding.lifetime, corrected=corrected)
            return
        if what is Remedy.DEREGISTER_FIRST and status not in outstanding.corrected and outstanding.lifetime:
            self.send_update(home_agent, now, lifetime=0, corrected=corrected, register_after=True)
            return
        self.last_refusal = Refusal(home_agent, int(status), now.wall)
        self.emit(Note(f"home agent {home_agent} refuses: status {meaning(status)}"))
        if self.state is State.LEAVING:
            self.end()
            return
        if self.state is State.AT_HOME:
            self.registration = None
            return
        until = barred_until(what, now.monotonic)
        if until is not None:
            self.search.bar(home_agent, until)
        self._failed(home_agent, outstanding, now)

    # Ends

    def holder(self) -> Address | None:
        """Who has the binding, or may have it without our knowing."""
        if self.registration is not None:
            return self.registration.home_agent
        return next(iter(self.updates), None)

    def _is_bound_to(self, home_agent: Address) -> bool:
        registration = self.registration if self.state is State.BOUND else None
        return registration is not None and registration.home_agent == home_agent

    def lose_registration(self, now: Now) -> None:
        """The binding has run out."""
        self.registration = None
        self.emit(Note("the binding has expired"))
        if self.state is State.AT_HOME:
            self.updates.clear()
            return
        self.close()
        if self.state is State.BOUND:
            self.state = State.SEARCHING
        if self.state is State.SEARCHING and not self.updates and self.search.due_at is None:
            self.search.begin(now.monotonic)
            self.discover(now)

    def end(self) -> None:
        """Nothing more is sent."""
        self.close()
        self.registration = None
        self.forget_questions()
        self.state = State.STOPPED

    def forget_questions(self) -> None:
        """No answer is awaited any more."""
        self._silent = 0
        self.updates.clear()
        self.search.stop()
        self.prefixes.stop()

    def close(self) -> None:
        """Take away the way out of the mobile networks."""
        if self.is_open:
            self.is_open = False
            self._senders = frozenset()
            self.emit(CloseTunnel())
