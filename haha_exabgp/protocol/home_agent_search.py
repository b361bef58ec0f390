"""How a mobile router finds Home Agents: dynamic Home Agent address discovery (RFC 6275 s.11.4.1, RFC 3963
s.7.1), the list that it gave, and who of it is not to be asked.

Rules, all in this file:

1. A request unanswered is repeated after 3 s, then after twice as long each time, four times.
2. A round of discovery starts on every change of attachment, but no oftener than `ROUNDS_A_SECOND` over time:
   who flaps is made to wait.
3. A reply is not authenticated. It counts once, and only with the random identifier of the last request; it
   says whom to ask, and whom to ask is authenticated.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from math import inf
from random import Random

from ..wire.address import Address, Prefix
from ..wire.anycast import home_agents_anycast
from ..wire.icmpv6 import HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, encode_icmpv6
from ..wire.ipv6 import build_icmpv6
from .rate_limit import RateLimit

INITIAL_DHAAD_TIMEOUT = 3.0
DHAAD_RETRIES = 4
"""RFC 6275 s.12, the first in seconds."""
ROUNDS_A_SECOND = 0.5
ROUNDS_AT_ONCE = 10


class Discovery(Enum):
    """What is not a request to send, when one is asked for."""

    POSTPONED = auto()
    """It comes later by itself: too many rounds lately."""
    UNANSWERED = auto()
    """The last request of a round got no answer either."""


class HomeAgentSearch:
    """The Home Agent list of one mobile router. Times are on the monotonic clock."""

    def __init__(self, home_address: Address, random: Random, *, mobile_router: bool = True) -> None:
        """`mobile_router`: it wants Home Agents that serve mobile routers (RFC 3963 s.7.1)."""
        self._mobile_router = mobile_router
        self._anycast = home_agents_anycast(Prefix.of(home_address, 64))
        self._random = random
        self._rounds = RateLimit(ROUNDS_A_SECOND, ROUNDS_AT_ONCE)
        self._identifier: int | None = None
        self._attempt = 0
        self._barred: dict[Address, float] = {}
        self.due_at: float | None = None
        """When `request` is wanted next; None: no discovery is under way."""
        self.candidates: list[Address] = []
        """The list, in order of preference; kept for later failures (RFC 6275 s.11.4.1)."""

    def begin(self, now: float, delay: float = 0.0) -> None:
        """A new round, after `delay` seconds."""
        self._attempt = 0
        self.due_at = now + delay

    def stop(self) -> None:
        """No discovery any more; a reply that is still on its way does not count."""
        self.due_at = self._identifier = None

    def request(self, care_of_address: Address, now: float) -> bytes | Discovery:
        """The packet that is due."""
        if self._attempt > DHAAD_RETRIES:
            self.stop()
            return Discovery.UNANSWERED
        if self._attempt == 0 and not self._rounds.allows(now):
            self.due_at = now + 1 / ROUNDS_A_SECOND
            return Discovery.POSTPONED
        self.due_at = now + INITIAL_DHAAD_TIMEOUT * 2**self._attempt
        self._attempt += 1
        self._identifier = self._random.randrange(65536)
        request = HomeAgentDiscoveryRequest(self._identifier, self._mobile_router)
        message = encode_icmpv6(request, care_of_address, self._anycast)
        return build_icmpv6(care_of_address, self._anycast, message)

    def receive(self, reply: HomeAgentDiscoveryReply) -> bool:
        """True when the list is taken over."""
        addresses = routable(reply.addresses)
        if self._identifier is None or reply.identifier != self._identifier or not addresses:
            return False
        self.stop()
        self.candidates = addresses
        return True

    def after(self, home_agent: Address) -> list[Address] | None:
        """Those that come after one in the list; None when it is not in the list."""
        if home_agent not in self.candidates:
            return None
        return self.candidates[self.candidates.index(home_agent) + 1 :]

    def bar(self, home_agent: Address, until: float) -> None:
        """Not to be asked before this time."""
        self._barred[home_agent] = until

    def recommend(self, home_agent: Address) -> None:
        """To be asked again, as another Home Agent has named it; not if it is barred for good."""
        if self._barred.get(home_agent) != inf:
            self._barred.pop(home_agent, None)

    def may_ask(self, home_agent: Address, now: float) -> bool:
        """False while it is barred."""
        return self._barred.get(home_agent, now) <= now

    def forgive(self) -> None:
        """All may be asked again: the attachment is another."""
        self._barred.clear()


def routable(addresses: Iterable[Address]) -> list[Address]:
    """Those that a Home Agent can have, each once."""
    return [one for one in dict.fromkeys(addresses) if one.is_routable_unicast]
