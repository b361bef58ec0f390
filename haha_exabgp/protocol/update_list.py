"""The Binding Update List of a mobile router (RFC 6275 s.11.1): what it has sent and waits for.

Rules, all in this file:

1. Each Binding Update, repeated ones too, has a new sequence number and timestamp; the last one sent to
   a Home Agent is the only one whose acknowledgement counts.
2. One counter numbers the Binding Updates to all Home Agents, so that the primary can order them whoever
   relays them.
3. No Home Agent gets more than `MAX_UPDATE_RATE` of them within a second (s.11.8): one too many is held
   back until it may go.
4. The timestamp is left out where the sequence number alone protects from replay, until a Home Agent
   says that it must be there (status 145).
5. From the home address itself there is no Home Address option (s.11.5.5), and no care-of address but it.

RFC 5648, if it is wanted: its Binding Identifier option goes into `_packet`, `Outstanding` would be kept
for each Home Agent and binding identifier, and `mobile_router` would hold a `Registration` for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..wire.address import Address
from ..wire.codes import BindingUpdateFlag, Status
from ..wire.haha_options import AddressRole, HahaAddress
from ..wire.mobility import BindingAcknowledgement, BindingUpdate
from ..wire.options import (
    AlternateCareOfAddress,
    MobileNetworkPrefix,
    MobilityOption,
    ReplayProtection,
    first_option,
)
from ..wire.timestamp import from_unix, to_unix
from .home import ReplayProtectionMode
from .messages import binding_update_packet
from .mobility import MobileRouterConfig
from .time import Now

INITIAL_BINDACK_TIMEOUT = 1.0
INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION = 1.5
MAX_BINDACK_TIMEOUT = 32.0
"""RFC 6275 s.12, s.13, seconds."""
MAX_UPDATE_RATE = 3
"""RFC 6275 s.12: Binding Updates to one Home Agent within a second."""

_FLAGS = BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION
_ROUTER_FLAGS = _FLAGS | BindingUpdateFlag.MOBILE_ROUTER


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A Binding Update that waits for its acknowledgement; times on the monotonic clock."""

    sequence: int | None
    """None while it is held back."""
    timestamp: int | None
    """MESG-ID; None where there is none in it."""
    number: int
    """How many Binding Updates had been sent, to whomever, with this one."""
    sent: float
    retry_at: float
    timeout: float
    attempt: int
    lifetime: int
    """Seconds; 0 de-registers."""
    corrected: frozenset[int] = frozenset()
    """Statuses that it already is the answer to."""
    register_after: bool = False
    """A de-registration that makes room for a registration at the same Home Agent (status 139)."""

    def is_answered_by(self, message: BindingAcknowledgement) -> bool:
        """Whether this acknowledgement belongs to it. A 135 has another sequence number, a 144 another
        timestamp (RFC 6275 s.9.5.1, RFC 4285 s.6)."""
        if message.status != Status.SEQUENCE_OUT_OF_WINDOW and message.sequence != self.sequence:
            return False
        if message.status == Status.IDENTIFICATION_MISMATCH or self.timestamp is None:
            return True
        stamp = first_option(message.options, ReplayProtection)
        return stamp is not None and stamp.timestamp == self.timestamp


class UpdateList:
    """The Binding Updates under way, one for each Home Agent."""

    def __init__(self, config: MobileRouterConfig, first_sequence: int) -> None:
        self._config = config
        self._sequence = first_sequence
        self._outstanding: dict[Address, Outstanding] = {}
        self._recent: list[tuple[float, Address]] = []
        self._stamped = config.replay is ReplayProtectionMode.TIMESTAMP
        self._clock_offset = 0.0
        self._last_timestamp = 0
        self._sent = 0
        self.latest: Address | None = None
        """Where the last Binding Update went: the one that the network believes."""

    def __len__(self) -> int:
        return len(self._outstanding)

    def __contains__(self, home_agent: Address) -> bool:
        return home_agent in self._outstanding

    def __iter__(self) -> Iterator[Address]:
        return iter(self._outstanding)

    def get(self, home_agent: Address) -> Outstanding | None:
        """What a Home Agent has been sent and not acknowledged."""
        return self._outstanding.get(home_agent)

    def forget(self, home_agent: Address) -> None:
        """Wait no longer for one Home Agent."""
        self._outstanding.pop(home_agent, None)

    def clear(self) -> None:
        """Wait no longer for any."""
        self._outstanding.clear()

    def next_timer(self) -> float | None:
        """When the first is due to be repeated, on the monotonic clock."""
        return min((one.retry_at for one in self._outstanding.values()), default=None)

    def due(self, now: Now) -> list[tuple[Address, Outstanding]]:
        """What has waited long enough."""
        return [item for item in self._outstanding.items() if item[1].retry_at <= now.monotonic]

    def home_agents_clock(self, now: Now) -> float:
        """The Home Agents' time as far as it is known, in seconds since the Unix epoch."""
        return now.wall + self._clock_offset

    def correct(self, outstanding: Outstanding, message: BindingAcknowledgement, now: Now) -> bool:
        """Take over what a Home Agent says about our numbering, our clock or our options; False when there
        is nothing to be had of it, the second time for instance."""
        if message.status in outstanding.corrected:
            return False
        if message.status == Status.SEQUENCE_OUT_OF_WINDOW:
            # RFC 6275 s.11.7.3. One is left out: a proxy must not take this for a refresh of what it has
            # (see proxy.py).
            self._sequence = (message.sequence + 1) % 65536
            return True
        if message.status == Status.MESSAGE_IDENTIFICATION_REQUIRED:
            self._stamped = True
            return outstanding.timestamp is None
        stamp = first_option(message.options, ReplayProtection)
        # One that has been overtaken on its way may be refused for that alone.
        if stamp is None or outstanding.number < self._sent:
            return False
        # RFC 4285 s.6.
        self._clock_offset = to_unix(stamp.timestamp) - now.wall
        self._last_timestamp = 0
        return True

    def send(
        self,
        home_agent: Address,
        care_of_address: Address,
        now: Now,
        *,
        lifetime: int,
        first: bool,
        previous: Outstanding | None = None,
        corrected: frozenset[int] = frozenset(),
        register_after: bool = False,
        not_before: float = 0.0,
    ) -> bytes | None:
        """The packet to send now; None when it is held back, until `not_before` or for its rate. `first`: no
        binding there yet. `previous` is what it repeats; `lifetime` in seconds."""
        timeout, attempt = _schedule(previous, first)
        turn = max(self._turn(home_agent, now.monotonic), not_before)
        held = turn > now.monotonic
        if not held:
            self._sequence = (self._sequence + 1) % 65536
            self._last_timestamp = max(from_unix(self.home_agents_clock(now)), self._last_timestamp + 1)
            self._sent += 1
            self._recent.append((now.monotonic, home_agent))
            self.latest = home_agent
        self._outstanding[home_agent] = Outstanding(
            sequence=None if held else self._sequence,
            timestamp=self._last_timestamp if self._stamped else None,
            number=self._sent,
            sent=now.monotonic,
            retry_at=turn if held else now.monotonic + timeout,
            timeout=timeout,
            attempt=attempt,
            lifetime=lifetime,
            corrected=previous.corrected if previous is not None else corrected,
            register_after=previous.register_after if previous is not None else register_after,
        )
        return None if held else self._packet(home_agent, care_of_address, lifetime)

    def _turn(self, home_agent: Address, now: float) -> float:
        """When the next one may go to this Home Agent; not later than `now` when at once."""
        self._recent = [(sent, to) for sent, to in self._recent if sent + 1.0 > now]
        times = [sent for sent, to in self._recent if to == home_agent]
        return times[-MAX_UPDATE_RATE] + 1.0 if len(times) >= MAX_UPDATE_RATE else now

    def _packet(self, home_agent: Address, care_of_address: Address, lifetime: int) -> bytes:
        config = self._config
        options: list[MobilityOption] = [AlternateCareOfAddress(care_of_address)]
        if lifetime:
            options += [MobileNetworkPrefix(prefix) for prefix in config.announced]
        if self._stamped:
            options.append(ReplayProtection(self._last_timestamp))
        # The authenticator does not cover the destination: captured, and brought to another Home Agent while
        # it is fresh, it would take the binding there.
        options.append(HahaAddress(AddressRole.HOME_AGENT, home_agent))
        flags = _ROUTER_FLAGS if config.is_router else _FLAGS
        update = BindingUpdate(self._sequence, flags, lifetime, tuple(options))
        return binding_update_packet(
            care_of_address, home_agent, config.home_address, update, config.associations[0], aaa=config.aaa
        )


def _schedule(previous: Outstanding | None, first: bool) -> tuple[float, int]:
    """Timeout and number of an attempt (RFC 6275 s.11.8)."""
    if previous is None:
        return INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION if first else INITIAL_BINDACK_TIMEOUT, 1
    if previous.sequence is None:
        return previous.timeout, previous.attempt
    return min(previous.timeout * 2, MAX_BINDACK_TIMEOUT), previous.attempt + 1
