"""The mobile router: finds a Home Agent, binds, refreshes, moves, de-registers (RFC 6275 s.11, RFC 3963 s.5).

Rules, all in this file; how Binding Updates are numbered and repeated stands in update_list.py:

1. On every change of attachment the Home Agent that holds the binding is told first (RFC 6275 s.11.4.1),
   and at the same time discovery asks for a closer one; packets flow again after one round trip
   even when the closer one takes longer to answer.
2. A Home Agent that stays silent or refuses is followed by the next one of the discovered list; at the
   end of the list discovery starts again. The tunnel stays in use as long as its binding lasts.
3. The network believes the last Binding Update, whoever got it. So once the closest Home Agent has
   accepted, the others are asked no more; and if the last one went to another than the one in use, the
   one in use is sent another.

What gets it out of each state:

    detached    an attachment
    searching   an acknowledgement; else a Binding Update to be repeated or discovery is under way
    bound       half of the lifetime: a refresh; when that fails, searching
    leaving     an acknowledgement, the last repetition, or the end of the attachment: stopped
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..wire.address import Address, Prefix
from ..wire.anycast import home_agents_anycast
from ..wire.codes import BindingAcknowledgementFlag, Status
from ..wire.errors import MalformedPacket
from ..wire.icmpv6 import HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, encode_icmpv6
from ..wire.ipv6 import MobilityPacket, build_icmpv6
from ..wire.mobility import BindingAcknowledgement
from ..wire.options import ReplayProtection, first_option
from .effects import Note, Transmit
from .messages import authentication_fault, decode
from .mobility import (
    CloseTunnel,
    MobileRouterConfig,
    MobileRouterEffect,
    Registration,
    State,
    UseTunnel,
)
from .time import Now
from .update_list import Outstanding, UpdateList

INITIAL_DHAAD_TIMEOUT = 3.0
DHAAD_RETRIES = 4
"""RFC 6275 s.12, the first in seconds."""
ATTEMPTS = 3
"""Binding Updates to one Home Agent before the next of the list is tried."""
REDISCOVERY_DELAY = 10.0
"""Seconds between two rounds of discovery that found nobody."""
CLOSER_DELAY = 60.0
"""Seconds until the closest Home Agent is asked again, when another one serves meanwhile."""


class MobileRouter:
    """The registration machine of one mobile router with one egress interface."""

    def __init__(self, config: MobileRouterConfig, first_sequence: int) -> None:
        """`first_sequence` 0..65535: best drawn at random."""
        self._config = config
        self._effects: list[MobileRouterEffect] = []
        self._updates = UpdateList(config, first_sequence)
        self._candidates: list[Address] = []
        self._barred: set[Address] = set()
        """Home Agents not to be asked from the present attachment."""
        self._discovery_id: int = first_sequence
        self._discovery_attempt = 0
        self._discovery_at: float | None = None
        self.care_of_address: Address | None = None
        self.registration: Registration | None = None
        self.state = State.DETACHED
        self.counters: Counter[str] = Counter()

    def take_effects(self) -> list[MobileRouterEffect]:
        """What is to be done, in order; empties the list."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def home_agents(self) -> tuple[Address, ...]:
        """The list of the last discovery, in order of preference."""
        return tuple(self._candidates)

    # What happens to it

    def attached(self, care_of_address: Address, now: Now) -> None:
        """The egress interface has a usable care-of address."""
        if self.state in (State.LEAVING, State.STOPPED) or care_of_address == self.care_of_address:
            return
        self.care_of_address = care_of_address
        self.state = State.SEARCHING
        self._updates.clear()
        self._barred.clear()
        self._emit(Note(f"attached with care-of address {care_of_address}"))
        if self.registration is not None:
            self._send_update(self.registration.home_agent, now)
        self._discovery_attempt = 0
        self._discover(now)

    def detached(self) -> None:
        """The care-of address is gone."""
        if self.state in (State.DETACHED, State.STOPPED):
            return
        if self.state is State.LEAVING:
            self._end()
            return
        self.care_of_address = None
        self._updates.clear()
        self._discovery_at = None
        self.state = State.DETACHED
        self._emit(Note("detached"))

    def stop(self, now: Now) -> None:
        """De-register, then end; `state` is STOPPED when done."""
        if self.state is State.LEAVING:
            return
        holder = (
            self.registration.home_agent if self.registration is not None else next(iter(self._updates), None)
        )
        if holder is None or self.care_of_address is None:
            self._end()
            return
        self.state = State.LEAVING
        self._updates.clear()
        self._discovery_at = None
        self._send_update(holder, now, lifetime=0)

    def receive_discovery(self, reply: HomeAgentDiscoveryReply, now: Now) -> None:
        """A Home Agent Address Discovery Reply (RFC 6275 s.11.4.1). It is not authenticated: it only
        says whom to ask, and whom to ask is authenticated."""
        addresses = [one for one in dict.fromkeys(reply.addresses) if one.is_routable_unicast]
        if self._discovery_at is None or reply.identifier != self._discovery_id or not addresses:
            self.counters["discovery_not_outstanding"] += 1
            return
        self._discovery_at = None
        self._candidates = addresses
        self._emit(Note("home agents: " + ", ".join(map(str, addresses))))
        self._try(addresses, now)

    def receive_mobility(self, packet: MobilityPacket, now: Now) -> None:
        """A packet with a Mobility Header."""
        try:
            message = decode(packet)
        except MalformedPacket as error:
            self.counters[error.reason] += 1
            return
        config = self._config
        outstanding = self._updates.get(packet.source)
        if (
            not isinstance(message, BindingAcknowledgement)
            or outstanding is None
            or packet.routing_home_address != config.home_address
            or self.care_of_address is None
        ):
            self.counters["unexpected_message"] += 1
            return
        fault = authentication_fault(
            packet.header, self.care_of_address, config.home_address, config.association
        )
        if fault is not None:
            self.counters[fault] += 1
        elif not outstanding.is_answered_by(message):
            self.counters["not_outstanding"] += 1
        elif message.status < 128 and (message.lifetime or not outstanding.lifetime):
            self._accepted(packet.source, message, outstanding, now)
        else:
            self._refused(packet.source, message, outstanding, now)

    # Time

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = [self._updates.next_timer(), self._discovery_at]
        if self.registration is not None:
            times.append(self.registration.expires)
            if self.state is State.BOUND and self.registration.home_agent not in self._updates:
                times.append(self.registration.refresh_at)
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Do what is due."""
        registration = self.registration
        if registration is not None and registration.expires <= now.monotonic:
            self._lose_registration(now)
        for home_agent, outstanding in self._updates.due(now):
            self._retry(home_agent, outstanding, now)
        if self._discovery_at is not None and self._discovery_at <= now.monotonic:
            self._discover(now)
        registration = self.registration
        if (
            self.state is State.BOUND
            and registration is not None
            and registration.refresh_at <= now.monotonic
            and registration.home_agent not in self._updates
        ):
            self._send_update(registration.home_agent, now)

    # Discovery

    def _discover(self, now: Now) -> None:
        if self.care_of_address is None:
            return
        if self._discovery_attempt > DHAAD_RETRIES:
            self._emit(Note("no home agent answered discovery"))
            self._discovery_at = None
            self._rediscover(now, REDISCOVERY_DELAY)
            if self.state is State.SEARCHING:
                holder = [self.registration.home_agent] if self.registration is not None else []
                self._try((*holder, *self._candidates), now)
            return
        self._discovery_id = (self._discovery_id + 1) % 65536
        subnet = Prefix.of(self._config.home_address, 64)
        request = HomeAgentDiscoveryRequest(self._discovery_id, mobile_router=True)
        destination = home_agents_anycast(subnet)
        body = encode_icmpv6(request, self.care_of_address, destination)
        self._emit(Transmit(build_icmpv6(self.care_of_address, destination, body)))
        self._discovery_at = now.monotonic + INITIAL_DHAAD_TIMEOUT * 2**self._discovery_attempt
        self._discovery_attempt += 1

    def _rediscover(self, now: Now, delay: float) -> None:
        if self._discovery_at is None:
            self._discovery_attempt = 0
            self._discovery_at = now.monotonic + delay

    # Whom to ask

    def _try(self, home_agents: Iterable[Address], now: Now) -> None:
        """Ask the first of these, unless it is being asked or serves already."""
        for home_agent in home_agents:
            if home_agent in self._barred:
                continue
            if home_agent not in self._updates and not self._is_bound_to(home_agent):
                self._send_update(home_agent, now)
            break
        self._settle(now)

    def _settle(self, now: Now) -> None:
        """What has to follow when no Home Agent is being asked any more."""
        if self._updates:
            return
        registration = self.registration
        if self.state is not State.BOUND or registration is None:
            self._rediscover(now, REDISCOVERY_DELAY)
        elif self._updates.latest != registration.home_agent:
            self._send_update(registration.home_agent, now)
        elif self._candidates[:1] != [registration.home_agent]:
            self._rediscover(now, CLOSER_DELAY)

    def _failed(self, home_agent: Address, now: Now) -> None:
        if self._is_bound_to(home_agent):
            self.state = State.SEARCHING
        if home_agent in self._candidates:
            following = self._candidates[self._candidates.index(home_agent) + 1 :]
        else:
            following = [] if self._updates else self._candidates
        self._try(following, now)

    # Binding Updates

    def _send_update(
        self,
        home_agent: Address,
        now: Now,
        *,
        lifetime: int | None = None,
        previous: Outstanding | None = None,
        corrected: frozenset[int] = frozenset(),
    ) -> None:
        assert self.care_of_address is not None
        registration = self.registration
        packet = self._updates.send(
            home_agent,
            self.care_of_address,
            now,
            lifetime=self._config.lifetime // 4 * 4 if lifetime is None else lifetime,
            first=registration is None or registration.home_agent != home_agent,
            previous=previous,
            corrected=corrected,
        )
        if packet is not None:
            self._emit(Transmit(packet))

    def _retry(self, home_agent: Address, outstanding: Outstanding, now: Now) -> None:
        if outstanding.sequence is None or outstanding.attempt < ATTEMPTS:
            self._send_update(home_agent, now, lifetime=outstanding.lifetime, previous=outstanding)
            return
        self._updates.forget(home_agent)
        self._emit(Note(f"home agent {home_agent} does not answer"))
        if self.state is State.LEAVING:
            self._end()
        else:
            self._failed(home_agent, now)

    def _accepted(
        self, home_agent: Address, message: BindingAcknowledgement, outstanding: Outstanding, now: Now
    ) -> None:
        self._updates.forget(home_agent)
        if self.state is State.LEAVING:
            self._end()
        elif not outstanding.lifetime:
            self._failed(home_agent, now)
        elif BindingAcknowledgementFlag.MOBILE_ROUTER not in message.flags:
            # RFC 3963 s.5.3: it took us for a host; another Home Agent may know better.
            self._emit(Note(f"home agent {home_agent} does not support mobile routers"))
            self._barred.add(home_agent)
            self._send_update(home_agent, now, lifetime=0)
        else:
            self._bind(home_agent, message.lifetime, outstanding, now)

    def _bind(self, home_agent: Address, lifetime: int, outstanding: Outstanding, now: Now) -> None:
        assert self.care_of_address is not None
        before = self.registration.home_agent if self.registration is not None else home_agent
        # The lifetime counts from the Binding Update (RFC 6275 s.11.7.3).
        self.registration = Registration(
            home_agent=home_agent,
            care_of_address=self.care_of_address,
            granted=lifetime,
            refresh_at=outstanding.sent + lifetime / 2,
            expires=outstanding.sent + lifetime,
            round_trip=now.monotonic - outstanding.sent,
        )
        self.state = State.BOUND
        # What the one before has sent may still be on its way.
        self._emit(UseTunnel(home_agent, self.care_of_address, frozenset((home_agent, before))))
        self._emit(
            Note(
                f"bound to {home_agent} for {lifetime} s,"
                f" acknowledged after {self.registration.round_trip * 1000:.1f} ms"
            )
        )
        if home_agent in self._candidates[:1]:
            self._updates.clear()
        self._settle(now)

    def _refused(
        self, home_agent: Address, message: BindingAcknowledgement, outstanding: Outstanding, now: Now
    ) -> None:
        self._updates.forget(home_agent)
        self.counters[f"refused_{int(message.status)}"] += 1
        if self._correct(message, outstanding, now):
            corrected = outstanding.corrected | {message.status}
            self._send_update(home_agent, now, lifetime=outstanding.lifetime, corrected=corrected)
            return
        self._emit(Note(f"home agent {home_agent} refuses: status {int(message.status)}"))
        if self.state is State.LEAVING:
            self._end()
            return
        if message.status == Status.AUTHENTICATION_FAILED:
            # RFC 4285 s.5.3; another attachment may alter our packets less.
            self._barred.add(home_agent)
        self._failed(home_agent, now)

    def _correct(self, message: BindingAcknowledgement, outstanding: Outstanding, now: Now) -> bool:
        """Take over what the Home Agent says about our numbering or our clock, once."""
        stamp = first_option(message.options, ReplayProtection)
        if message.status in outstanding.corrected or stamp is None:
            return False
        if message.status == Status.SEQUENCE_OUT_OF_WINDOW:
            self._updates.correct_sequence(message.sequence)
            return True
        # One that has been overtaken on its way may be refused for that alone.
        if message.status == Status.IDENTIFICATION_MISMATCH and not self._updates.is_overtaken(outstanding):
            self._updates.correct_clock(stamp.timestamp, now)
            return True
        return False

    # Ends

    def _is_bound_to(self, home_agent: Address) -> bool:
        registration = self.registration
        return (
            self.state is State.BOUND and registration is not None and registration.home_agent == home_agent
        )

    def _lose_registration(self, now: Now) -> None:
        self.registration = None
        self._emit(CloseTunnel())
        self._emit(Note("the binding has expired"))
        if self.state is State.BOUND:
            self.state = State.SEARCHING
        if self.state is State.SEARCHING and not self._updates and self._discovery_at is None:
            self._discovery_attempt = 0
            self._discover(now)

    def _end(self) -> None:
        if self.registration is not None:
            self._emit(CloseTunnel())
        self.registration = None
        self._updates.clear()
        self._discovery_at = None
        self.state = State.STOPPED

    def _emit(self, effect: MobileRouterEffect) -> None:
        self._effects.append(effect)
