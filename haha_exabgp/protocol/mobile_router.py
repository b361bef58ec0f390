"""The mobile router: finds a Home Agent, binds, refreshes, moves, de-registers (RFC 6275 s.11, RFC 3963 s.5).

Rules, all in this file:

1. On every change of attachment the Home Agent that holds the binding is told first (RFC 6275 s.11.4.1),
   and at the same time discovery asks for a closer one; packets flow again after one round trip
   even when the closer one takes longer to answer.
2. Each Binding Update, repeated ones too, has a new sequence number and timestamp; the last one sent to
   a Home Agent is the only one whose acknowledgement counts.
3. A Home Agent that stays silent or refuses is followed by the next one of the discovered list; at the
   end of the list discovery starts again.
4. One counter numbers the Binding Updates to all Home Agents, so that the primary can order them whoever
   relays them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..wire.address import Address, Prefix
from ..wire.anycast import home_agents_anycast
from ..wire.codes import BindingAcknowledgementFlag, BindingUpdateFlag, Status
from ..wire.errors import MalformedPacket
from ..wire.icmpv6 import HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, encode_icmpv6
from ..wire.ipv6 import MobilityPacket, build_icmpv6
from ..wire.mobility import BindingAcknowledgement, BindingUpdate
from ..wire.options import (
    AlternateCareOfAddress,
    MobileNetworkPrefix,
    MobilityOption,
    ReplayProtection,
)
from ..wire.timestamp import from_unix, to_unix
from .effects import Note, Transmit
from .messages import authentication_fault, binding_update_packet, decode
from .mobility import (
    CloseTunnel,
    MobileRouterConfig,
    MobileRouterEffect,
    Registration,
    State,
    UseTunnel,
)
from .time import Now

INITIAL_DHAAD_TIMEOUT = 3.0
DHAAD_RETRIES = 4
INITIAL_BINDACK_TIMEOUT = 1.0
INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION = 1.5
MAX_BINDACK_TIMEOUT = 32.0
"""RFC 6275 s.12, seconds."""
ATTEMPTS = 3
"""Binding Updates to one Home Agent before the next of the list is tried."""
REDISCOVERY_DELAY = 10.0
"""Seconds between two rounds of discovery that found nobody."""


@dataclass(frozen=True, slots=True)
class _Outstanding:
    sequence: int
    sent: float
    first_sent: float
    retry_at: float
    timeout: float
    attempt: int
    lifetime: int
    corrected: bool = False
    """A status 135 or 144 has been answered once already."""


class MobileRouter:
    """The registration machine of one mobile router with one egress interface."""

    def __init__(self, config: MobileRouterConfig, first_sequence: int) -> None:
        """`first_sequence` 0..65535: best drawn at random."""
        self._config = config
        self._sequence = first_sequence
        self._effects: list[MobileRouterEffect] = []
        self._outstanding: dict[Address, _Outstanding] = {}
        self._candidates: list[Address] = []
        self._discovery_id: int = first_sequence
        self._discovery_attempt = 0
        self._discovery_at: float | None = None
        self._clock_offset = 0.0
        self._last_timestamp = 0
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
        self._outstanding.clear()
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
        self._outstanding.clear()
        self._discovery_at = None
        self.state = State.DETACHED
        self._emit(Note("detached"))

    def stop(self, now: Now) -> None:
        """De-register, then end; `state` is STOPPED when done."""
        if self.registration is None or self.care_of_address is None:
            self._end()
            return
        self.state = State.LEAVING
        self._outstanding.clear()
        self._discovery_at = None
        self._send_update(self.registration.home_agent, now, lifetime=0)

    def receive_discovery(self, reply: HomeAgentDiscoveryReply, now: Now) -> None:
        """A Home Agent Address Discovery Reply (RFC 6275 s.11.4.1). It is not authenticated: it only
        says whom to ask, and whom to ask is authenticated."""
        if self._discovery_at is None or reply.identifier != self._discovery_id or not reply.addresses:
            self.counters["discovery_not_outstanding"] += 1
            return
        self._discovery_at = None
        self._candidates = list(reply.addresses)
        self._emit(Note("home agents: " + ", ".join(map(str, self._candidates))))
        closest = self._candidates[0]
        registered = self._bound_to(closest)
        if not registered and closest not in self._outstanding:
            self._send_update(closest, now)

    def receive_mobility(self, packet: MobilityPacket, now: Now) -> None:
        """A packet with a Mobility Header."""
        try:
            message = decode(packet)
        except MalformedPacket as error:
            self.counters[error.reason] += 1
            return
        outstanding = self._outstanding.get(packet.source)
        if not isinstance(message, BindingAcknowledgement) or outstanding is None:
            self.counters["unexpected_message"] += 1
            return
        config = self._config
        if packet.routing_home_address != config.home_address or self.care_of_address is None:
            self.counters["unexpected_message"] += 1
            return
        fault = authentication_fault(
            packet.header, self.care_of_address, config.home_address, config.association
        )
        if fault is not None:
            self.counters[fault] += 1
            return
        if message.status == Status.SEQUENCE_OUT_OF_WINDOW:
            self._correct_sequence(packet.source, message, outstanding, now)
        elif message.sequence != outstanding.sequence:
            self.counters["not_outstanding"] += 1
        elif message.status < 128:
            self._accepted(packet.source, message, outstanding, now)
        else:
            self._refused(packet.source, message, outstanding, now)

    # Time

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = [one.retry_at for one in self._outstanding.values()]
        if self._discovery_at is not None:
            times.append(self._discovery_at)
        if self.registration is not None:
            times.append(self.registration.expires)
            if self.state is State.BOUND and self.registration.home_agent not in self._outstanding:
                times.append(self.registration.refresh_at)
        return min(times, default=None)

    def handle_timer(self, now: Now) -> None:
        """Do what is due."""
        registration = self.registration
        if registration is not None and registration.expires <= now.monotonic:
            self._lose_registration(now)
        for home_agent, outstanding in list(self._outstanding.items()):
            if outstanding.retry_at <= now.monotonic:
                self._retry(home_agent, outstanding, now)
        if self._discovery_at is not None and self._discovery_at <= now.monotonic:
            self._discover(now)
        registration = self.registration
        if (
            self.state is State.BOUND
            and registration is not None
            and registration.refresh_at <= now.monotonic
            and registration.home_agent not in self._outstanding
        ):
            self._send_update(registration.home_agent, now)

    # Discovery

    def _discover(self, now: Now) -> None:
        if self.care_of_address is None:
            return
        if self._discovery_attempt > DHAAD_RETRIES:
            self._discovery_attempt = 0
            self._discovery_at = now.monotonic + REDISCOVERY_DELAY
            self._emit(Note("no home agent answered discovery"))
            return
        self._discovery_id = (self._discovery_id + 1) % 65536
        subnet = Prefix.of(self._config.home_address, 64)
        request = HomeAgentDiscoveryRequest(self._discovery_id, mobile_router=True)
        destination = home_agents_anycast(subnet)
        body = encode_icmpv6(request, self.care_of_address, destination)
        self._emit(Transmit(build_icmpv6(self.care_of_address, destination, body)))
        self._discovery_at = now.monotonic + INITIAL_DHAAD_TIMEOUT * 2**self._discovery_attempt
        self._discovery_attempt += 1

    def _rediscover(self, now: Now) -> None:
        if self._discovery_at is None:
            self._discovery_attempt = 0
            self._discovery_at = now.monotonic + REDISCOVERY_DELAY

    # Binding Updates

    def _send_update(
        self,
        home_agent: Address,
        now: Now,
        *,
        lifetime: int | None = None,
        previous: _Outstanding | None = None,
        corrected: bool = False,
    ) -> None:
        assert self.care_of_address is not None
        config = self._config
        lifetime = config.lifetime // 4 * 4 if lifetime is None else lifetime
        self._sequence = (self._sequence + 1) % 65536
        timestamp = max(from_unix(now.wall + self._clock_offset), self._last_timestamp + 1)
        self._last_timestamp = timestamp
        options: list[MobilityOption] = [AlternateCareOfAddress(self.care_of_address)]
        if lifetime:
            options += [MobileNetworkPrefix(prefix) for prefix in config.announced]
        options.append(ReplayProtection(timestamp))
        update = BindingUpdate(
            self._sequence,
            BindingUpdateFlag.ACKNOWLEDGE
            | BindingUpdateFlag.HOME_REGISTRATION
            | BindingUpdateFlag.MOBILE_ROUTER,
            lifetime,
            tuple(options),
        )
        packet = binding_update_packet(
            self.care_of_address, home_agent, config.home_address, update, config.association
        )
        if previous is not None:
            timeout = min(previous.timeout * 2, MAX_BINDACK_TIMEOUT)
        elif self.registration is None:
            timeout = INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION
        else:
            timeout = INITIAL_BINDACK_TIMEOUT
        self._outstanding[home_agent] = _Outstanding(
            sequence=self._sequence,
            sent=now.monotonic,
            first_sent=previous.first_sent if previous else now.monotonic,
            retry_at=now.monotonic + timeout,
            timeout=timeout,
            attempt=previous.attempt + 1 if previous else 1,
            lifetime=lifetime,
            corrected=corrected,
        )
        self._emit(Transmit(packet))

    def _retry(self, home_agent: Address, outstanding: _Outstanding, now: Now) -> None:
        if outstanding.attempt < ATTEMPTS:
            self._send_update(home_agent, now, lifetime=outstanding.lifetime, previous=outstanding)
            return
        del self._outstanding[home_agent]
        self._emit(Note(f"home agent {home_agent} does not answer"))
        self._try_next(home_agent, now)

    def _try_next(self, failed: Address, now: Now) -> None:
        if self.state is State.LEAVING:
            self._end()
            return
        if self._outstanding:
            return
        if failed in self._candidates:
            following = self._candidates[self._candidates.index(failed) + 1 :]
            if following and not self._bound_to(following[0]):
                self._send_update(following[0], now)
                return
        self._rediscover(now)

    def _correct_sequence(
        self, home_agent: Address, message: BindingAcknowledgement, outstanding: _Outstanding, now: Now
    ) -> None:
        # A 135 carries the last accepted number instead of ours (RFC 6275 s.11.7.3): once is enough.
        if outstanding.corrected:
            self._refused(home_agent, message, outstanding, now)
            return
        self._sequence = message.sequence
        self._send_update(home_agent, now, lifetime=outstanding.lifetime, corrected=True)

    def _accepted(
        self, home_agent: Address, message: BindingAcknowledgement, outstanding: _Outstanding, now: Now
    ) -> None:
        del self._outstanding[home_agent]
        if self.state is State.LEAVING:
            self._end()
            return
        if BindingAcknowledgementFlag.MOBILE_ROUTER not in message.flags:
            # RFC 3963 s.5.3: it took us for a host; another Home Agent may know better.
            self._emit(Note(f"home agent {home_agent} does not support mobile routers"))
            self._try_next(home_agent, now)
            return
        assert self.care_of_address is not None
        preferred = self._candidates[0] if self._candidates else home_agent
        if self._bound_to(preferred) and home_agent != preferred:
            # The closer one has answered already; this one speaks of the time before.
            return
        self.registration = Registration(
            home_agent=home_agent,
            care_of_address=self.care_of_address,
            granted=message.lifetime,
            refresh_at=now.monotonic + message.lifetime / 2,
            expires=now.monotonic + message.lifetime,
            round_trip=now.monotonic - outstanding.sent,
        )
        self.state = State.BOUND
        accepted = frozenset((home_agent, *self._candidates))
        self._emit(UseTunnel(home_agent, self.care_of_address, accepted))
        self._emit(
            Note(
                f"bound to {home_agent} for {message.lifetime} s,"
                f" acknowledged after {self.registration.round_trip * 1000:.1f} ms"
            )
        )

    def _refused(
        self, home_agent: Address, message: BindingAcknowledgement, outstanding: _Outstanding, now: Now
    ) -> None:
        del self._outstanding[home_agent]
        self.counters[f"refused_{int(message.status)}"] += 1
        self._emit(Note(f"home agent {home_agent} refuses: status {int(message.status)}"))
        if self.state is State.LEAVING:
            self._end()
            return
        if message.status == Status.IDENTIFICATION_MISMATCH and not outstanding.corrected:
            stamp = next((o.timestamp for o in message.options if isinstance(o, ReplayProtection)), None)
            if stamp is not None:
                self._clock_offset = to_unix(stamp) - now.wall
                self._last_timestamp = 0
                self._send_update(home_agent, now, corrected=True)
                return
        self._try_next(home_agent, now)

    # Ends

    def _bound_to(self, home_agent: Address) -> bool:
        registration = self.registration
        return (
            registration is not None
            and registration.home_agent == home_agent
            and registration.care_of_address == self.care_of_address
        )

    def _lose_registration(self, now: Now) -> None:
        self.registration = None
        self._emit(CloseTunnel())
        self._emit(Note("the binding has expired"))
        if self.state is State.BOUND:
            self.state = State.SEARCHING
            self._discovery_attempt = 0
            self._discover(now)

    def _end(self) -> None:
        if self.registration is not None:
            self._emit(CloseTunnel())
        self.registration = None
        self._outstanding.clear()
        self._discovery_at = None
        self.state = State.STOPPED

    def _emit(self, effect: MobileRouterEffect) -> None:
        self._effects.append(effect)
