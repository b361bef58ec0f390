"""What the parts of one Home Agent share: its configuration, its counters, its way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..wire.address import Address
from ..wire.timestamp import from_unix, in_order, to_unix
from .drops import Drop
from .effects import Effect, Note, Transmit
from .home import HomeAgentConfig, MobileRouterPolicy, Peer
from .home_subnets import HomeSubnets
from .rate_limit import RateLimit
from .refusals import Refusal, Refusals
from .registration import REPLAY_WINDOW
from .time import Now

_SET_BACK_A_LITTLE = int(REPLAY_WINDOW) << 32
"""In units of a timestamp. A clock that was further ahead was not believed by the peers anyway."""
NOTED_REFUSALS = 5.0
"""Lines a second in the log about Binding Updates that come to nothing: their number is the senders'."""
ANSWERED_STRANGERS = 100.0
"""Answers a second to what is not authentic: Binding Errors (RFC 6275 s.9.3.3) and status 146."""


class Node:
    """One per Home Agent; every part holds it and none of the others."""

    def __init__(self, config: HomeAgentConfig) -> None:
        self.config = config
        self.counters: Counter[str] = Counter()
        self.subnets = HomeSubnets(config.home_subnets)
        others = [address for peer in config.peers for address in (peer.outer, *peer.addresses)]
        self.home_agents = frozenset((config.outer, *config.addresses, *others))
        """Every address of a Home Agent of this Home."""
        self.leaving: set[Address] = set()
        """Home addresses of mobile routers that have been told to switch to another Home Agent."""
        self.is_closed_to: Callable[[MobileRouterPolicy], bool] | None = None
        """Whether a mobile router that is not bound here is to ask another Home Agent."""
        self.refusals = Refusals(config.mobile_routers)
        self.listeners: list[Callable[[Address, Now], None]] = []
        """Called when a mobile router has been told that it is bound here."""
        self._noted_refusals = RateLimit(NOTED_REFUSALS, 4 * NOTED_REFUSALS)
        self._refusals_not_noted = 0
        self._strangers = RateLimit(ANSWERED_STRANGERS, 2 * ANSWERED_STRANGERS)
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

    def answers_stranger(self, now: Now) -> bool:
        """Whether one more answer may go to a sender who is not authentic; counts it, or the refusal."""
        if self._strangers.allows(now.monotonic):
            return True
        self.drop(Drop.TOO_MANY_ERRORS)
        return False

    def refused(
        self,
        home_address: Address,
        why: int | Drop,
        source: Address,
        now: Now,
        *,
        proxy: Address | None = None,
        authentic: bool = True,
    ) -> None:
        """A Binding Update has come to nothing: count it, remember why, and say so in the log, where a
        flood of them is a few lines a second."""
        refusal = Refusal(why, now.wall, source, proxy)
        self.refusals.note(home_address, refusal, authentic=authentic)
        if isinstance(why, Drop):
            self.drop(why)
        else:
            self.counters[f"refused_{int(why)}"] += 1
        if not self._noted_refusals.allows(now.monotonic):
            self._refusals_not_noted += 1
            return
        if self._refusals_not_noted:
            self.note("%d more Binding Updates came to nothing", self._refusals_not_noted)
            self._refusals_not_noted = 0
        status = "dropped" if isinstance(why, Drop) else f"refused with status {int(why)}"
        self.note("Binding Update of %s from %s %s: %s", home_address, source, status, refusal.reason)

    def accepted(self, home_address: Address, now: Now) -> None:
        """A mobile router has been told that it is bound here."""
        for listener in self.listeners:
            listener(home_address, now)

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
