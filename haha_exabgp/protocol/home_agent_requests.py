"""What Home Agents ask of a mobile router unasked: a Binding Update (Binding Refresh Request, Binding Error),
or to go to another Home Agent (Home Agent Switch).

Rules, all in this file:

1. Binding Refresh Request and Binding Error are not authenticated. From the Home Agent that holds the
   binding they are worth a Binding Update, at a bounded rate: the answer to that is authenticated. A
   Binding Error never ends anything (RFC 6275 s.11.3.6), and status 2 is only counted: what we send has no
   other form to fall back to. From anybody else they are worth nothing (s.11.7.4).
2. A Home Agent Switch needs our MN-HA authenticator, from whichever Home Agent (RFC 5142 s.5.1), over the
   present care-of address. With a timestamp it must be later than its sender's last, and fresh unless we are
   known to have no clock; without one, how often somebody can repeat it is bounded, and all it does is
   make us bind where the Home Agent said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass

from ..wire.address import Address
from ..wire.codes import BindingErrorStatus
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import BindingError, BindingRefreshRequest, HomeAgentSwitch
from ..wire.options import BindingRefreshAdvice, ReplayProtection, first_option
from ..wire.timestamp import in_order, to_unix
from .drops import Drop
from .home import ReplayProtectionMode
from .home_agent_search import routable
from .messages import authenticate
from .mobility import MobileRouterConfig
from .rate_limit import RateLimit
from .registration import REPLAY_WINDOW

UPDATES_A_SECOND = 0.1
UPDATES_AT_ONCE = 3
SWITCHES_A_SECOND = 0.1
SWITCHES_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Switch:
    """Go to one of these Home Agents; where there is none, discover some."""

    sender: Address
    home_agents: list[Address]
    ends_in: int | None
    """Seconds that the sender goes on serving, where it says so."""


class HomeAgentRequests:
    """Judges what comes in; every refusal is counted by its reason."""

    def __init__(self, config: MobileRouterConfig, counters: Counter[str]) -> None:
        self._config = config
        self._counters = counters
        self._updates = RateLimit(UPDATES_A_SECOND, UPDATES_AT_ONCE)
        self._switches = RateLimit(SWITCHES_A_SECOND, SWITCHES_AT_ONCE)
        self._last_stamps: dict[Address, int] = {}

    def wants_update(
        self,
        packet: MobilityPacket,
        message: BindingRefreshRequest | BindingError,
        asked: Container[Address],
        now: float,
    ) -> bool:
        """True when the sender, one of the Home Agents in the Binding Update List, is to be sent a Binding
        Update. `now` on the monotonic clock."""
        home_address = self._config.home_address
        if isinstance(message, BindingError):
            named = message.home_address
        else:
            named = packet.routing_home_address or packet.destination
        if packet.source not in asked or named != home_address:
            self._counters["unexpected_message"] += 1
            return False
        if isinstance(message, BindingError):
            self._counters[f"binding_error_{int(message.status)}"] += 1
            if message.status != BindingErrorStatus.UNKNOWN_BINDING:
                return False
        if not self._updates.allows(now):
            self._counters["too_many_update_requests"] += 1
            return False
        return True

    def switch(
        self,
        packet: MobilityPacket,
        message: HomeAgentSwitch,
        care_of_address: Address,
        clock: float,
        now: float,
    ) -> Switch | None:
        """What a Home Agent Switch asks for; None when it is not to be followed. `clock` is the Home Agents'
        time in seconds since the Unix epoch."""
        config = self._config
        if packet.routing_home_address != config.home_address or packet.destination != care_of_address:
            self._counters["unexpected_message"] += 1
            return None
        _, fault = authenticate(packet.header, care_of_address, config.home_address, config.associations)
        stamp = first_option(message.options, ReplayProtection)
        if fault is None and stamp is not None and not self._is_fresh(packet.source, stamp.timestamp, clock):
            fault = Drop.REPLAYED
        if fault is not None:
            self._counters[fault] += 1
            return None
        if not self._switches.allows(now):
            self._counters["too_many_switches"] += 1
            return None
        advice = first_option(message.options, BindingRefreshAdvice)
        ends_in = None if advice is None else advice.interval
        return Switch(packet.source, routable(message.addresses), ends_in)

    def _is_fresh(self, sender: Address, stamp: int, clock: float) -> bool:
        timed = self._config.replay is ReplayProtectionMode.TIMESTAMP
        if timed and abs(to_unix(stamp) - clock) > REPLAY_WINDOW:
            return False
        if in_order(stamp) <= self._last_stamps.get(sender, 0):
            return False
        self._last_stamps[sender] = in_order(stamp)
        return True
