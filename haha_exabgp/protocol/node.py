"""What the parts of one Home Agent share: its configuration, its counters, its way out."""

from __future__ import annotations

from collections import Counter

from ..wire.address import Address
from ..wire.timestamp import from_unix, in_order, to_unix
from .effects import Effect, Note, Transmit
from .home import HomeAgentConfig, Peer
from .registration import REPLAY_WINDOW, Drop
from .time import Now

_SET_BACK_A_LITTLE = int(REPLAY_WINDOW) << 32
"""In units of a timestamp. A clock that was further ahead was not believed by the peers anyway."""


class Node:
    """One per Home Agent; every part holds it and none of the others."""

    def __init__(self, config: HomeAgentConfig) -> None:
        self.config = config
        self.counters: Counter[str] = Counter()
        self._effects: list[Effect] = []
        self._heard: dict[tuple[Address, Address], int] = {}
        self._last_stamp = 0

    def emit(self, effect: Effect) -> None:
        """Ask for one thing to be done, after what was asked for before."""
        self._effects.append(effect)

    def transmit(self, packet: bytes) -> None:
        """Send an IPv6 packet."""
        self._effects.append(Transmit(packet))

    def note(self, template: str, *values: object) -> None:
        """A line for the log: `template % values`."""
        self._effects.append(Note(template, values))

    def drop(self, reason: Drop) -> None:
        """Count a message that gets no answer."""
        self.counters[f"dropped_{reason}"] += 1

    def take_effects(self) -> list[Effect]:
        """What was asked for, in order; empties the list."""
        effects, self._effects = self._effects, []
        return effects

    def stamp(self, now: Now) -> int:
        """The timestamp of a message to another Home Agent: later than the one before, also when both are
        of one moment or our clock was set back a little."""
        stamp = from_unix(now.wall)
        if 0 <= self._last_stamp - stamp < _SET_BACK_A_LITTLE:
            stamp = self._last_stamp + 1
        self._last_stamp = stamp
        return stamp

    def hear(self, peer: Peer, home_address: Address, timestamp: int | None, now: Now) -> Drop | None:
        """Replay protection between Home Agents: a peer's authenticated messages about one home address
        bear rising timestamps close to our clock. Notes the timestamp unless it objects."""
        if timestamp is None or abs(to_unix(timestamp) - now.wall) > REPLAY_WINDOW:
            return Drop.REPLAYED
        key = (peer.haha, home_address)
        heard = self._heard.get(key, 0)
        # What lies further ahead than the window was heard before our clock was set back.
        if in_order(timestamp) <= heard and to_unix(heard) - now.wall <= REPLAY_WINDOW:
            return Drop.REPLAYED
        self._heard[key] = in_order(timestamp)
        return None
