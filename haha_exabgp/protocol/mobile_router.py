"""The mobile router: attaches, moves, returns home, leaves (RFC 6275 s.11, RFC 3963 s.5), and hears what Home
Agents tell it.

Rules, all in this file. Which egress interface is used stands in egress.py; how a binding is asked for and
kept in home_registration.py, its Binding Updates in update_list.py; how Home Agents are found in
home_agent_search.py:

1. On every change of attachment the Home Agent that holds the binding is told first (RFC 6275 s.11.4.1),
   and at the same time discovery asks for a closer one; packets flow again after one round trip
   even when the closer one takes longer to answer. Another router behind the same care-of address is
   a change of attachment too.
2. A care-of address that is the home address means being at home (RFC 6275 s.11.5.5, RFC 3963 s.5.8): the
   tunnel is closed and the binding ended, by Binding Updates from the home address, until acknowledged or
   run out. A virtual Home has no home link, so there this does not occur (RFC 4887 s.7.1).
3. What Home Agents ask for unasked - Binding Refresh Request, Binding Error, Home Agent Switch, prefix
   advertisement - is judged in home_agent_requests.py and home_prefixes.py: what is not authenticated makes
   us send, at a bounded rate, and ends nothing.

What gets it out of each state:

    detached    an attachment
    searching   an acknowledgement; else a Binding Update to be repeated or discovery is under way
    bound       half of the lifetime, or as early as advised: a refresh; when that fails, searching
    at home     an attachment elsewhere, or its end
    leaving     an acknowledgement, the last repetition, or the end of the attachment: stopped

RFC 5648 (bindings with several care-of addresses at once) is left out: attachments that stand side by side
would come in here, each with its binding identifier, where now one replaces the other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from ..wire.address import Address
from ..wire.errors import MalformedPacket
from ..wire.icmpv6 import HomeAgentDiscoveryReply, MobilePrefixAdvertisement
from ..wire.ipv6 import IcmpPacket, MobilityPacket
from ..wire.messages import BindingError, BindingRefreshRequest, HomeAgentSwitch
from ..wire.mobility import BindingAcknowledgement
from .effects import Note
from .home_agent_requests import HomeAgentRequests, Switch
from .home_prefixes import Heard
from .home_registration import REDISCOVERY_DELAY, HomeRegistration
from .messages import decode
from .mobility import MobileRouterConfig, MobileRouterEffect, Refusal, Registration, State, UseHomeLink
from .time import Now


class MobileRouter:
    """The machine of one mobile router. It is given a care-of address; of what interface is none of its
    business."""

    def __init__(self, config: MobileRouterConfig, first_sequence: int, random: Random | None = None) -> None:
        """`first_sequence` 0..65535: best drawn at random. `random` draws the identifiers by which answers
        that are not authenticated are known; without it they follow from `first_sequence`."""
        self._config = config
        self._home = HomeRegistration(config, first_sequence, random or Random(first_sequence))
        self._requests = HomeAgentRequests(config, self._home.counters)

    def take_effects(self) -> list[MobileRouterEffect]:
        """What is to be done, in order; empties the list."""
        return self._home.take_effects()

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._home.state

    @property
    def care_of_address(self) -> Address | None:
        """The present one; None while detached."""
        return self._home.care_of_address

    @property
    def registration(self) -> Registration | None:
        """The binding, also while it is being replaced; None when there is none."""
        return self._home.registration

    @property
    def last_refusal(self) -> Refusal | None:
        """The last Binding Update refused for good."""
        return self._home.last_refusal

    @property
    def suspect_refusal(self) -> Refusal | None:
        """The last refusal that was not authentic: the keys differ, or it is forged. To look at only."""
        return self._home.suspect_refusal

    @property
    def home_agents(self) -> tuple[Address, ...]:
        """The list of the last discovery, in order of preference."""
        return tuple(self._home.search.candidates)

    @property
    def counters(self) -> Counter[str]:
        """What was refused and dropped, by reason."""
        return self._home.counters

    # What happens to it

    def attached(self, care_of_address: Address, now: Now) -> None:
        """An egress interface has a usable care-of address, or another has become the one to use."""
        home = self._home
        if home.state in (State.LEAVING, State.STOPPED) or care_of_address == home.care_of_address:
            return
        if home.state is State.AT_HOME:
            home.close()
        holder = home.holder()
        home.care_of_address = care_of_address
        home.forget_questions()
        if care_of_address == self._config.home_address:
            self._return_home(holder, now)
            return
        home.state = State.SEARCHING
        home.emit(Note(f"attached with care-of address {care_of_address}"))
        home.look_around(now)

    def path_changed(self, now: Now) -> None:
        """The care-of address is the same, the router that it leads through is another: what held before
        may not, and another Home Agent may be closer."""
        if self._home.state in (State.SEARCHING, State.BOUND):
            self._home.look_around(now)

    def detached(self) -> None:
        """The care-of address is gone."""
        home = self._home
        if home.state in (State.DETACHED, State.STOPPED):
            return
        if home.state is State.LEAVING:
            home.end()
            return
        if home.state is State.AT_HOME:
            home.close()
        home.care_of_address = None
        home.forget_questions()
        home.state = State.DETACHED
        home.emit(Note("detached"))

    def stop(self, now: Now) -> None:
        """De-register, then end; `state` is STOPPED when done."""
        home = self._home
        if home.state is State.LEAVING:
            return
        holder = home.holder()
        if holder is None or home.care_of_address is None:
            home.end()
            return
        home.state = State.LEAVING
        home.forget_questions()
        home.send_update(holder, now, lifetime=0)

    def receive_discovery(self, reply: HomeAgentDiscoveryReply, now: Now) -> None:
        """A Home Agent Address Discovery Reply (RFC 6275 s.11.4.1). It is not authenticated: it only
        says whom to ask, and whom to ask is authenticated."""
        home = self._home
        if self._config.is_router and not reply.mobile_router:
            # RFC 3963 s.7.2: none of these serves mobile routers.
            home.counters["discovery_without_mobile_routers"] += 1
        elif not home.search.receive(reply):
            home.counters["discovery_not_outstanding"] += 1
        else:
            home.emit(Note("home agents: " + ", ".join(map(str, home.search.candidates))))
            home.try_(home.search.candidates, now)

    def receive_mobility(self, packet: MobilityPacket, now: Now) -> None:
        """A packet with a Mobility Header."""
        home = self._home
        try:
            message = decode(packet)
        except MalformedPacket as error:
            home.counters[error.reason] += 1
            return
        care_of_address = home.care_of_address if home.state in (State.SEARCHING, State.BOUND) else None
        match message:
            case BindingAcknowledgement():
                home.receive_acknowledgement(packet, message, now)
            case HomeAgentSwitch() if care_of_address is not None:
                clock = home.updates.home_agents_clock(now)
                asked = self._requests.switch(packet, message, care_of_address, clock, now.monotonic)
                if asked is not None:
                    self._switch(asked, now)
            case BindingRefreshRequest() | BindingError() if care_of_address is not None:
                holder = home.holder()
                known = (*home.updates,) if holder is None else (holder, *home.updates)
                if self._requests.wants_update(packet, message, known, now.monotonic):
                    home.confirm(packet.source, now)
            case _:
                home.counters["unexpected_message"] += 1

    def receive_prefixes(
        self, packet: IcmpPacket, advertisement: MobilePrefixAdvertisement, now: Now
    ) -> None:
        """A Mobile Prefix Advertisement (RFC 6275 s.11.4.3)."""
        home, registration = self._home, self._home.registration
        if home.state is not State.BOUND or registration is None:
            home.counters["unexpected_message"] += 1
            return
        heard = home.prefixes.receive(packet, advertisement, registration.home_agent, now.monotonic)
        home.counters[f"prefixes_{heard.name.lower()}"] += 1
        if heard is Heard.WITHDRAWN:
            home.emit(Note(f"{registration.home_agent} says that the prefix of the home address has ended"))
            home.search.begin(now.monotonic)
            home.discover(now)

    # Time

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        home, registration = self._home, self._home.registration
        times = [home.updates.next_timer(), home.search.due_at, home.prefixes.due_at]
        if registration is not None:
            times.append(registration.expires)
            if self._may_refresh(registration):
                times.append(registration.refresh_at)
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Do what is due."""
        home = self._home
        if home.registration is not None and home.registration.expires <= now.monotonic:
            home.lose_registration(now)
        for home_agent, outstanding in home.updates.due(now):
            home.retry(home_agent, outstanding, now)
        if _is_due(home.search.due_at, now):
            home.discover(now)
        if _is_due(home.prefixes.due_at, now):
            home.solicit_prefixes(now)
        registration = home.registration
        if (
            registration is not None
            and self._may_refresh(registration)
            and _is_due(registration.refresh_at, now)
        ):
            self._refresh(registration, now)

    def _may_refresh(self, registration: Registration) -> bool:
        return self._home.state is State.BOUND and registration.home_agent not in self._home.updates

    def _refresh(self, registration: Registration, now: Now) -> None:
        home = self._home
        if home.search.may_ask(registration.home_agent, now.monotonic):
            home.send_update(registration.home_agent, now)
            return
        # It has sent us away: its binding is only there until another takes its place.
        home.registration = replace(registration, refresh_at=now.monotonic + REDISCOVERY_DELAY)
        home.try_(home.search.candidates, now)

    # What follows

    def _return_home(self, holder: Address | None, now: Now) -> None:
        home = self._home
        home.state = State.AT_HOME
        home.is_open = True
        # First: the Binding Update must not go into the tunnel.
        home.emit(UseHomeLink())
        home.emit(Note("at home"))
        if holder is not None:
            home.send_update(holder, now, lifetime=0)

    def _switch(self, asked: Switch, now: Now) -> None:
        """RFC 5142 s.6. The new binding is made first and takes the place of the one before, which all
        Home Agents of a Home hear about: so nothing is lost in between, and a deletion could only harm."""
        home, registration = self._home, self._home.registration
        home.emit(Note(f"home agent {asked.sender} sends us to another one"))
        if registration is not None and registration.home_agent == asked.sender:
            if asked.sender not in asked.home_agents:
                home.search.bar(asked.sender, registration.expires)
                home.updates.forget(asked.sender)
            if asked.ends_in is not None:
                ends = min(registration.expires, now.monotonic + asked.ends_in)
                home.registration = replace(registration, expires=ends)
        for home_agent in asked.home_agents:
            # It may have sent us away itself, long ago.
            home.search.recommend(home_agent)
        if asked.home_agents:
            home.search.stop()
            home.search.candidates = asked.home_agents
            home.try_(asked.home_agents, now)
        else:
            home.search.begin(now.monotonic)
            home.discover(now)


def _is_due(at: float | None, now: Now) -> bool:
    return at is not None and at <= now.monotonic
