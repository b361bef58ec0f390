"""What a mobile router knows of the prefix of its home address: mobile prefix discovery (RFC 6275 s.11.4.2,
s.11.4.3).

Rules, all in this file:

1. A solicitation goes from the care-of address to the Home Agent that holds the binding: when a Binding
   Acknowledgement has status 1, when an advertisement came that nobody had asked for, and before the valid
   lifetime that was told last runs out. It is repeated after 3 s, then after twice as long each time, up to
   32 s, `SOLICITATIONS` times in all.
2. An advertisement counts only if it is from that Home Agent, to the home address (type 2 routing header),
   and has the random identifier of the last solicitation, which counts once.
3. ICMPv6 has no authenticator. So an advertisement ends nothing: it bounds the lifetime asked for, never
   below `LEAST_LIFETIME`, and a prefix that is withdrawn is a reason to look around and to tell the operator.
"""

from __future__ import annotations

from enum import Enum, auto
from random import Random

from ..wire.address import Address, Prefix
from ..wire.icmpv6 import MobilePrefixAdvertisement, MobilePrefixSolicitation, encode_icmpv6
from ..wire.ipv6 import IcmpPacket, build_icmpv6

INITIAL_SOLICIT_TIMER = 3.0
"""RFC 6275 s.12, seconds."""
MAX_SOLICIT_TIMER = 32.0
"""RFC 6275 s.11.8: MAX_BINDACK_TIMEOUT, seconds."""
SOLICITATIONS = 5
LEAST_LIFETIME = 60
"""Seconds."""
UNSOLICITED_PAUSE = 10.0
"""Seconds: what nobody asked for makes us ask no oftener than this."""
_EARLY = 0.8
"""Part of the valid lifetime after which it is asked for again."""
_INFINITE = 0xFFFFFFFF


class Heard(Enum):
    """What an advertisement comes to."""

    VALID = auto()
    """The prefix of the home address is valid."""
    WITHDRAWN = auto()
    """It has no lifetime left, or is not among the prefixes of Home any more."""
    UNSOLICITED = auto()
    """Nobody had asked: not believed, but a reason to ask."""
    FOREIGN = auto()
    """Not from our Home Agent, or not to our home address."""


class HomePrefixes:
    """Solicitations under way and the last answer. Times are on the monotonic clock."""

    def __init__(self, home_address: Address, random: Random) -> None:
        self._home_address = home_address
        self._random = random
        self._identifier: int | None = None
        self._awaited = False
        self._attempt = 0
        self._unsolicited_at: float | None = None
        self.due_at: float | None = None
        """When `solicitation` is wanted next; None: not at all."""
        self.valid_until: float | None = None
        """When the home prefix ends; None: unknown or never."""

    @property
    def under_way(self) -> bool:
        """True from the moment that a solicitation is due until it has an answer."""
        return self._awaited

    @property
    def is_overdue(self) -> bool:
        """True when the end of the prefix is known and nobody is going to ask what comes after."""
        return self.valid_until is not None and self.due_at is None

    def begin(self, now: float) -> None:
        """Solicit now, unless an answer is awaited."""
        if not self._awaited:
            self._awaited = True
            self._attempt = 0
            self.due_at = now

    def stop(self) -> None:
        """No answer is awaited any more: there is no Home Agent to ask from here."""
        self._identifier = self.due_at = None
        self._awaited = False

    def solicitation(self, home_agent: Address, care_of_address: Address, now: float) -> bytes | None:
        """The packet that is due; None after the last one."""
        if self._attempt == SOLICITATIONS:
            self.stop()
            return None
        self._awaited = True
        self._identifier = self._random.randrange(1, 65536)
        self.due_at = now + min(INITIAL_SOLICIT_TIMER * 2**self._attempt, MAX_SOLICIT_TIMER)
        self._attempt += 1
        message = encode_icmpv6(MobilePrefixSolicitation(self._identifier), self._home_address, home_agent)
        return build_icmpv6(care_of_address, home_agent, message, home_address=self._home_address)

    def receive(
        self, packet: IcmpPacket, advertisement: MobilePrefixAdvertisement, home_agent: Address, now: float
    ) -> Heard:
        """Judge an advertisement; `home_agent` holds the binding."""
        if packet.source != home_agent or packet.routing_home_address != self._home_address:
            return Heard.FOREIGN
        if self._identifier is None or advertisement.identifier != self._identifier:
            if self._unsolicited_at is None or self._unsolicited_at + UNSOLICITED_PAUSE <= now:
                self._unsolicited_at = now
                self.begin(now)
            return Heard.UNSOLICITED
        self.stop()
        lifetimes = [
            one.valid_lifetime
            for one in advertisement.prefixes
            if Prefix.of(one.address, one.length).contains(self._home_address)
        ]
        valid = max(lifetimes, default=0)
        self.valid_until = None if valid in (0, _INFINITE) else now + valid
        if self.valid_until is not None:
            self._attempt = 0
            self.due_at = now + max(valid * _EARLY, LEAST_LIFETIME / 2)
        return Heard.VALID if valid else Heard.WITHDRAWN

    def bounded(self, lifetime: int, now: float) -> int:
        """The lifetime to ask for, in seconds: no longer than the home prefix is valid."""
        if self.valid_until is None:
            return lifetime
        return min(lifetime, max(int(self.valid_until - now), LEAST_LIFETIME))
