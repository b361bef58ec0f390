"""The Binding Update List of a mobile router (RFC 6275 s.11.1): what it has sent and waits for.

Rules, all in this file:

1. Each Binding Update, repeated ones too, has a new sequence number and timestamp; the last one sent to
   a Home Agent is the only one whose acknowledgement counts.
2. One counter numbers the Binding Updates to all Home Agents, so that the primary can order them whoever
   relays them.
3. No Home Agent gets more than `MAX_UPDATE_RATE` of them within a second (s.11.8): one too many is held
   back until it may go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..wire.address import Address
from ..wire.codes import BindingUpdateFlag, Status
from ..wire.mobility import BindingAcknowledgement, BindingUpdate
from ..wire.options import (
    AlternateCareOfAddress,
    MobileNetworkPrefix,
    MobilityOption,
    ReplayProtection,
    first_option,
)
from ..wire.timestamp import from_unix, to_unix
from .messages import binding_update_packet
from .mobility import MobileRouterConfig
from .time import Now

INITIAL_BINDACK_TIMEOUT = 1.0
INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION = 1.5
MAX_BINDACK_TIMEOUT = 32.0
"""RFC 6275 s.12, s.13, seconds."""
MAX_UPDATE_RATE = 3
"""RFC 6275 s.12: Binding Updates to one Home Agent within a second."""

_FLAGS = BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A Binding Update that waits for its acknowledgement; times on the monotonic clock."""

    sequence: int | None
    """None while it is held back."""
    timestamp: int
    sent: float
    retry_at: float
    timeout: float
    attempt: int
    lifetime: int
    """Seconds; 0 de-registers."""
    corrected: frozenset[int] = frozenset()
    """Statuses that it already is the answer to."""

    def is_answered_by(self, message: BindingAcknowledgement) -> bool:
        """Whether this acknowledgement belongs to it. A 135 has another sequence number, a 144 another
        timestamp (RFC 6275 s.9.5.1, RFC 4285 s.6)."""
        if message.status != Status.SEQUENCE_OUT_OF_WINDOW and message.sequence != self.sequence:
            return False
        if message.status == Status.IDENTIFICATION_MISMATCH:
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
        self._clock_offset = 0.0
        self._last_timestamp = 0
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

    def is_overtaken(self, outstanding: Outstanding) -> bool:
        """True when another Binding Update has been sent since."""
        return outstanding.timestamp < self._last_timestamp

    def correct_sequence(self, last_accepted: int) -> None:
        """Go on from the number that the Home Agent has accepted last (RFC 6275 s.11.7.3). One is left
        out: a proxy must not take this for a refresh of what it has (see proxy.py)."""
        self._sequence = (last_accepted + 1) % 65536

    def correct_clock(self, stamp: int, now: Now) -> None:
        """Go on from the Home Agent's clock (RFC 4285 s.6)."""
        self._clock_offset = to_unix(stamp) - now.wall
        self._last_timestamp = 0

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
    ) -> bytes | None:
        """The packet to send now; None when it is held back. `first`: no binding there yet. `previous`
        is what it repeats; `lifetime` in seconds."""
        timeout, attempt = _schedule(previous, first)
        turn = self._turn(home_agent, now.monotonic)
        held = turn > now.monotonic
        if not held:
            self._sequence = (self._sequence + 1) % 65536
            self._last_timestamp = max(from_unix(now.wall + self._clock_offset), self._last_timestamp + 1)
            self._recent.append((now.monotonic, home_agent))
            self.latest = home_agent
        self._outstanding[home_agent] = Outstanding(
            sequence=None if held else self._sequence,
            timestamp=self._last_timestamp,
            sent=now.monotonic,
            retry_at=turn if held else now.monotonic + timeout,
            timeout=timeout,
            attempt=attempt,
            lifetime=lifetime,
            corrected=previous.corrected if previous is not None else corrected,
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
        options.append(ReplayProtection(self._last_timestamp))
        update = BindingUpdate(self._sequence, _FLAGS, lifetime, tuple(options))
        return binding_update_packet(
            care_of_address, home_agent, config.home_address, update, config.association
        )


def _schedule(previous: Outstanding | None, first: bool) -> tuple[float, int]:
    """Timeout and number of an attempt (RFC 6275 s.11.8)."""
    if previous is None:
        return INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION if first else INITIAL_BINDACK_TIMEOUT, 1
    if previous.sequence is None:
        return previous.timeout, previous.attempt
    return min(previous.timeout * 2, MAX_BINDACK_TIMEOUT), previous.attempt + 1
