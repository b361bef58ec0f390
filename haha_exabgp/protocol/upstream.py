"""Registrations that this Home Agent, as a proxy, makes with a primary (draft s.5.2.2).

    idle --start--> waiting --acknowledged--> idle     the proxy binding is made, or the refusal relayed
                    waiting --timeout------> waiting   sent again, ATTEMPTS times in all
                    waiting --timeout------> idle      given up: status 130 to the mobile router
                    waiting --superseded---> waiting   the mobile router asked for something else

A mobile router that merely repeats itself starts nothing new; what it sent last is judged by the binding
that comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..wire.address import Address
from ..wire.haha_options import RelayedBindingUpdate
from .answers import Exchange
from .home import Peer
from .request import Request
from .time import Now

ATTEMPTS = 3
"""Sent that often before it is given up."""
FIRST_TIMEOUT = 0.5
"""Seconds, doubled each time: half a round of a mobile router's own first 1 s timeout, so that one lost
packet between sites does not make it repeat itself."""


@dataclass(frozen=True, slots=True)
class Pending:
    """One registration under way."""

    exchange: Exchange
    """What the mobile router asks for."""
    relayed: RelayedBindingUpdate
    primary: Peer
    sequence: int
    """Of the upstream Binding Update."""
    started: float
    retry_at: float
    attempt: int = 1
    stamps: tuple[int, ...] = ()
    """The timestamps it was sent with: an answer brings one of them back."""
    repeated: tuple[Exchange, bytes] | None = None
    """The same asked again, and its Mobility Header."""
    outranked: int = 0
    """Mobility sequence of a binding elsewhere that the primary has told of meanwhile."""

    @property
    def last_exchange(self) -> Exchange:
        """What the mobile router waits for an answer to: it takes none to what it sent before."""
        return self.repeated[0] if self.repeated is not None else self.exchange


class Upstream:
    """The registrations under way, by home address."""

    def __init__(self, first_sequence: int) -> None:
        self._pending: dict[Address, Pending] = {}
        self._sequence = first_sequence

    def get(self, home_address: Address) -> Pending | None:
        """The registration under way for a home address."""
        return self._pending.get(home_address)

    def repeats(self, exchange: Exchange, header: bytes) -> bool:
        """True when the same is being asked for already; the repetition is then noted."""
        pending = self._pending.get(exchange.request.home_address)
        if pending is None or _substance(pending.exchange.request) != _substance(exchange.request):
            return False
        self._pending[exchange.request.home_address] = replace(pending, repeated=(exchange, header))
        return True

    def start(self, exchange: Exchange, relayed: RelayedBindingUpdate, primary: Peer, now: Now) -> Pending:
        """Begin a registration, in place of another one of the same home address."""
        self._sequence = (self._sequence + 1) % 65536
        pending = Pending(
            exchange, relayed, primary, self._sequence, now.monotonic, now.monotonic + FIRST_TIMEOUT
        )
        self._pending[exchange.request.home_address] = pending
        return pending

    def sent(self, pending: Pending, stamp: int) -> None:
        """Note the timestamp that a registration has been sent with."""
        noted = replace(pending, stamps=(*pending.stamps, stamp))
        self._pending[pending.exchange.request.home_address] = noted

    def outrank(self, home_address: Address, mobility_sequence: int) -> None:
        """The primary has revoked: an answer of before, which may still come, is void."""
        pending = self._pending.get(home_address)
        if pending is not None:
            self._pending[home_address] = replace(pending, outranked=mobility_sequence)

    def finish(self, home_address: Address) -> None:
        """The primary has answered, or nobody waits any more."""
        self._pending.pop(home_address, None)

    def next_timer(self) -> float | None:
        """When the first one is due, on the monotonic clock."""
        return min((pending.retry_at for pending in self._pending.values()), default=None)

    def due(self, now: Now) -> Iterator[tuple[Pending, bool]]:
        """What has waited long enough, each with whether to send it again (else it is given up)."""
        for home_address, pending in list(self._pending.items()):
            if pending.retry_at > now.monotonic:
                continue
            if pending.attempt >= ATTEMPTS:
                del self._pending[home_address]
                yield pending, False
                continue
            # The primary answers a repeated registration again, whatever the number of the attempt
            # it hears; the number stays, so that a late first answer is not thrown away.
            again = replace(
                pending,
                attempt=pending.attempt + 1,
                retry_at=now.monotonic + FIRST_TIMEOUT * 2**pending.attempt,
            )
            self._pending[home_address] = again
            yield again, True


def _substance(request: Request) -> tuple[object, ...]:
    return (request.care_of_address, request.flags, request.lifetime, request.prefixes)
