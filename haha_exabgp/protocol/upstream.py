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
from typing import NamedTuple

from ..wire.address import Address
from ..wire.codes import BindingUpdateFlag, Status
from ..wire.haha_options import MobilitySequence, RelayedBindingUpdate, split_relayed
from ..wire.messages import BindingUpdate
from ..wire.options import MobilityOption, ReplayProtection
from .answers import Exchange
from .deadlines import Deadlines
from .home import HomeAgentConfig, Peer
from .messages import binding_update_packet
from .request import Request
from .time import Now

ATTEMPTS = 3
"""Sent that often before it is given up."""
FIRST_TIMEOUT = 0.5
"""Seconds, doubled each time: half a round of a mobile router's own first 1 s timeout, so that one lost
packet between sites does not make it repeat itself."""

LOST = frozenset(
    (
        Status.ADMINISTRATIVELY_PROHIBITED,
        Status.NOT_HOME_SUBNET,
        Status.NOT_HOME_AGENT,
        Status.SEQUENCE_OUT_OF_WINDOW,
    )
)
"""Refusals that say that the primary holds no binding through us. After any other it still holds the one
there was, and so do we (RFC 6275 s.9.5.1, RFC 3963 s.6.2)."""


class Pending(NamedTuple):
    """One registration under way."""

    exchange: Exchange
    """What the mobile router asks for."""
    relayed: RelayedBindingUpdate
    primary: Peer
    sequence: int
    """Of the upstream Binding Update."""
    started: float
    attempt: int = 1
    stamps: tuple[int, ...] = ()
    """The timestamps it was sent with: an answer brings one of them back."""
    repeated: tuple[Exchange, bytes] | None = None
    """The same asked again, and its Mobility Header."""
    outranked: int = 0
    """Mobility sequence of a binding elsewhere that the primary has told of meanwhile."""
    redirected: bool = False
    """Another primary has named this one as the owner."""

    @property
    def last_exchange(self) -> Exchange:
        """What the mobile router waits for an answer to: it takes none to what it sent before."""
        return self.repeated[0] if self.repeated is not None else self.exchange

    @property
    def last_header(self) -> bytes:
        """The Mobility Header of that."""
        return self.repeated[1] if self.repeated is not None else self.relayed.header


class Upstream:
    """The registrations under way, by home address."""

    def __init__(self, first_sequence: int) -> None:
        self._pending: dict[Address, Pending] = {}
        self._deadlines: Deadlines[Address] = Deadlines()
        self._sequence = first_sequence

    def get(self, home_address: Address) -> Pending | None:
        """The registration under way for a home address."""
        return self._pending.get(home_address)

    def repeats(self, exchange: Exchange, header: bytes) -> bool:
        """True when the same is being asked for already; the repetition is then noted."""
        pending = self._pending.get(exchange.request.home_address)
        if pending is None or _substance(pending.exchange.request) != _substance(exchange.request):
            return False
        self._pending[exchange.request.home_address] = pending._replace(repeated=(exchange, header))
        return True

    def start(
        self,
        exchange: Exchange,
        relayed: RelayedBindingUpdate,
        primary: Peer,
        now: Now,
        redirected: bool = False,
    ) -> Pending:
        """Begin a registration, in place of another one of the same home address."""
        self._sequence = (self._sequence + 1) % 65536
        pending = Pending(exchange, relayed, primary, self._sequence, now.monotonic, redirected=redirected)
        self._pending[exchange.request.home_address] = pending
        self._deadlines.set(exchange.request.home_address, now.monotonic + FIRST_TIMEOUT)
        return pending

    def sent(self, pending: Pending, stamp: int) -> None:
        """Note the timestamp that a registration has been sent with."""
        noted = pending._replace(stamps=(*pending.stamps, stamp))
        self._pending[pending.exchange.request.home_address] = noted

    def outrank(self, home_address: Address, mobility_sequence: int) -> None:
        """The primary has revoked: an answer of before, which may still come, is void."""
        pending = self._pending.get(home_address)
        if pending is not None:
            self._pending[home_address] = pending._replace(outranked=mobility_sequence)

    def finish(self, home_address: Address) -> None:
        """The primary has answered, or nobody waits any more."""
        self._pending.pop(home_address, None)
        self._deadlines.cancel(home_address)

    def next_timer(self) -> float | None:
        """When the first one is due, on the monotonic clock."""
        return self._deadlines.next()

    def due(self, now: Now) -> Iterator[tuple[Pending, bool]]:
        """What has waited long enough, each with whether to send it again (else it is given up)."""
        for home_address in self._deadlines.due(now.monotonic):
            pending = self._pending[home_address]
            if pending.attempt >= ATTEMPTS:
                del self._pending[home_address]
                yield pending, False
                continue
            # The primary answers a repeated registration again, whatever the number of the attempt
            # it hears; the number stays, so that a late first answer is not thrown away.
            again = pending._replace(attempt=pending.attempt + 1)
            self._pending[home_address] = again
            self._deadlines.set(home_address, now.monotonic + FIRST_TIMEOUT * 2**pending.attempt)
            yield again, True


def registration_packet(  # noqa: PLR0917  (as many as it has parts)
    config: HomeAgentConfig,
    care_of_address: Address,
    primary: Peer,
    request: Request,
    relayed: RelayedBindingUpdate,
    sequence: int,
    stamp: int,
    rival: int,
) -> bytes:
    """The Binding Update to a primary, from a care-of address of ours; `rival` is the highest mobility
    sequence of a leak that competes, 0 for none. Raises ValueError when what is relayed does not fit."""
    # The prefixes are in what is relayed, and count as they stand there.
    options: list[MobilityOption] = [ReplayProtection(stamp)]
    if rival:
        # Whatever the primary remembers: the new binding has to outrank what we see.
        options.append(MobilitySequence(rival))
    options += split_relayed(relayed)
    flags = BindingUpdateFlag(request.flags) | BindingUpdateFlag.ACKNOWLEDGE
    lifetime = 0 if request.deregisters else request.lifetime
    update = BindingUpdate(sequence, flags, lifetime, tuple(options))
    return binding_update_packet(care_of_address, primary.haha, request.home_address, update, config.mesh)


def _substance(request: Request) -> tuple[object, ...]:
    return (request.care_of_address, request.flags, request.lifetime, request.prefixes)
