"""The proxy's side where only the primary can verify a mobile router (RFC 4285 s.5.2): it has no key of it,
and perhaps has never heard of it.

Rules, all in this file:

1. Such a Binding Update counts if it bears an MN-AAA authenticator; with MN-HA alone, for which there is no
   security association here, it is discarded (RFC 4285 s.5.1.1). It is relayed whole to a primary of its home
   address. Nothing changes, and nobody is answered, before the primary has said that it is authentic.
2. That it says by an acknowledgement for the mobile router, signed with their MN-HA key, which is sent on as
   it is. No key leaves the primary: what a proxy never had cannot be taken from it, or used by it behind the
   primary's back. The price is that each refresh and each move asks the primary.
3. Anybody can send such Binding Updates. So they are limited by their sources and in all, those that wait for
   an answer are few, and none is relayed twice: the mobile router repeats itself. Who is bound here and sends
   from where it is bound is not held up by strangers.
4. Of several under way the order that the mobile router gave them decides, not that of the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..wire.address import Address, Prefix
from ..wire.codes import MobilityType
from ..wire.haha_options import (
    HahaAddress,
    LeakDamping,
    MobilitySequence,
    RelayedAcknowledgement,
    RelayedBindingUpdate,
)
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import BindingAcknowledgement, BindingUpdate
from ..wire.options import MobileNetworkPrefix, ReplayProtection, every_option, first_option
from .binding import Binding, BindingKind, Ending
from .bindings import Bindings
from .deadlines import Deadlines
from .drops import Drop
from .home import MobileRouterPolicy, Peer
from .messages import acknowledgement_with, authentication_fault, bears_aaa, decode
from .node import Node
from .rate_limit import RateLimit
from .registration import UNVERIFIED, Granted, first_objection
from .request import Request, read_request
from .route_exchange import RouteExchange
from .time import Now
from .upstream import LOST, registration_packet

EACH_A_SECOND = 3.0
"""From one /64: as often as a mobile router may send to one Home Agent (RFC 6275 s.12, MAX_UPDATE_RATE)."""
ALL_A_SECOND = 100.0
"""From all who are not bound here yet."""
READ_A_SECOND = 1000.0
"""Looked at, to see whether they are such at all."""
MOST_SOURCES = 1024
"""Whose rates are remembered; of more the one that was seen first is forgotten."""
MOST_WAITING = 256
"""Under way at once."""
PATIENCE = 4.0
"""Seconds until an answer of the primary comes too late."""
_SOURCE_BITS = 64


class _Waiting(NamedTuple):
    request: Request
    header: bytes
    source: Address
    primary: Peer
    sequence: int
    started: float
    is_redirected: bool = False
    """By a primary that does not own the home address."""
    outranked: int = 0
    """Mobility sequence of a binding elsewhere that the primary has told of meanwhile."""


class Vouching:
    """Relays such Binding Updates, and carries out what the primary says about them."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        routes: RouteExchange,
        first_sequence: int,
        registered: Callable[[Binding, Address], None],
    ) -> None:
        """`registered(binding, care_of_address)` is called when a primary has accepted one."""
        self._node = node
        self._routes = routes
        self._registered = registered
        self._bindings = bindings
        self._sequence = first_sequence
        self._waiting: dict[int, _Waiting] = {}
        """By the timestamp of the Binding Update to the primary, which no other has."""
        self._ends: Deadlines[bytes] = Deadlines()
        self._sources: dict[Prefix, RateLimit] = {}
        self._read = RateLimit(READ_A_SECOND, READ_A_SECOND)
        self._all = RateLimit(ALL_A_SECOND, 2 * ALL_A_SECOND)

    def relay(self, packet: MobilityPacket, primary: Peer | None, now: Now) -> Drop | None:
        """A Binding Update that cannot be verified here, sent to our outer address by a routable source. Why
        nothing comes of it, None when it is relayed. Raises MalformedPacket."""
        if primary is None or not self._routes.reaches_primaries:
            return Drop.UNKNOWN_HOME_ADDRESS
        if not self._source(packet.source).allows(now.monotonic) or not self._read.allows(now.monotonic):
            return Drop.TOO_MANY_RELAYED
        if not bears_aaa(packet.header):
            return Drop.UNKNOWN_SPI
        judged = self._judge(packet, now)
        if isinstance(judged, Drop):
            return judged
        self._ask(judged, packet.header, packet.source, primary, now)
        return None

    def receive(self, packet: MobilityPacket, message: BindingAcknowledgement, peer: Peer, now: Now) -> bool:
        """A primary's answer; False when it is to nothing that was asked here."""
        node = self._node
        stamp = first_option(message.options, ReplayProtection)
        waiting = self._waiting.get(stamp.timestamp) if stamp is not None else None
        if waiting is None or stamp is None:
            return False
        request = waiting.request
        if (packet.routing_home_address, message.sequence, peer) != (
            request.home_address,
            waiting.sequence,
            waiting.primary,
        ):
            return False
        own = packet.destination
        fault = authentication_fault(packet.header, own, request.home_address, node.config.mesh)
        if fault is not None or own not in node.config.addresses:
            node.drop(fault or Drop.NOT_FOR_US)
            return True
        self._forget(stamp.timestamp)
        owner = self._owner(waiting, message)
        if owner is not None:
            self._ask(request, waiting.header, waiting.source, owner, now, is_redirected=True)
            return True
        answer = first_option(message.options, RelayedAcknowledgement)
        if answer is None or answer.header[2] != MobilityType.BINDING_ACKNOWLEDGEMENT:
            node.refused(request.home_address, Drop.NOT_VOUCHED_FOR, waiting.source, now, authentic=False)
        elif self._is_old(request, self._bindings.cache.get(request.home_address)):
            node.drop(Drop.REPLAYED)
        elif message.status >= 128:
            self._refused(waiting, answer, message.status, now)
        elif request.deregisters:
            self._bindings.deregister(request, now)
            self._answer(waiting, answer)
        else:
            self._accepted(waiting, answer, message, own, now)
        return True

    def outrank(self, home_address: Address, mobility_sequence: int) -> None:
        """The primary has revoked: an answer of before, which may still come, is void."""
        for stamp, one in self._waiting.items():
            if one.request.home_address == home_address:
                self._waiting[stamp] = one._replace(outranked=mobility_sequence)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return self._ends.next()

    def handle_timer(self, now: Now) -> None:
        """Give up what the primary has not answered; the mobile router will ask again, or somebody else."""
        for key in self._ends.due(now.monotonic):
            waiting = self._waiting.pop(int.from_bytes(key, "big"))
            self._node.counters["upstream_unanswered"] += 1
            self._node.note("%s does not answer for %s", waiting.primary.name, waiting.request.home_address)

    def _judge(self, packet: MobilityPacket, now: Now) -> Request | Drop:
        if any([one.header == packet.header for one in self._waiting.values()]):
            return Drop.DUPLICATE
        update = decode(packet)
        assert isinstance(update, BindingUpdate)
        home_address = packet.home_address or packet.source
        policy = self._node.config.mobile_routers.get(home_address)
        if policy is None:
            policy = MobileRouterPolicy(str(home_address), home_address, (), ())
        request = read_request(update, packet.source, home_address, policy.replay)
        context = self._bindings.context(home_address, now, policy=policy)
        objection = first_objection(request, context, UNVERIFIED)
        current = context.current
        if isinstance(objection, Drop):
            return objection
        if objection is not None or (context.is_closed and current is None):
            return Drop.UNANSWERABLE
        if self._is_old(request, current):
            return Drop.REPLAYED
        is_bound = current is not None and current.care_of_address == packet.source
        has_room = len(self._waiting) < MOST_WAITING
        return (
            request if has_room and (is_bound or self._all.allows(now.monotonic)) else Drop.TOO_MANY_RELAYED
        )

    def _owner(self, waiting: _Waiting, message: BindingAcknowledgement) -> Peer | None:
        """Whom a primary, which does not own the home address, sends us to; once."""
        named = first_option(message.options, HahaAddress)
        if waiting.is_redirected or message.status < 128 or named is None:
            return None
        primaries = self._node.config.primary_for(waiting.request.home_address)
        return next((peer for peer in primaries if peer.haha == named.address), None)

    def _ask(  # noqa: PLR0917  (private, and every caller is in this file)
        self,
        request: Request,
        header: bytes,
        source: Address,
        primary: Peer,
        now: Now,
        is_redirected: bool = False,
    ) -> None:
        node = self._node
        self._sequence = (self._sequence + 1) % 65536
        stamp = node.stamp(now)
        rival = self._bindings.rival_sequence(request.home_address, request.prefixes)
        relayed = RelayedBindingUpdate(source, header)
        try:
            hop = registration_packet(
                node.config,
                self._routes.upstream_address,
                primary,
                request,
                relayed,
                self._sequence,
                stamp,
                rival,
            )
        except ValueError:
            node.drop(Drop.TOO_MANY_RELAYED)
            return
        node.counters["upstream_relayed"] += 1
        self._waiting[stamp] = _Waiting(
            request, header, source, primary, self._sequence, now.monotonic, is_redirected
        )
        self._ends.set(stamp.to_bytes(16, "big"), now.monotonic + PATIENCE)
        node.transmit(hop)

    def _accepted(
        self,
        waiting: _Waiting,
        answer: RelayedAcknowledgement,
        message: BindingAcknowledgement,
        care_of_address: Address,
        now: Now,
    ) -> None:
        node, request = self._node, waiting.request
        prefixes = tuple(option.prefix for option in every_option(message.options, MobileNetworkPrefix))
        sequence = first_option(message.options, MobilitySequence)
        if sequence is None or not all(node.config.home.covers(prefix) for prefix in prefixes):
            # Nothing that a primary of this Home says (draft s.5.2.2, behaviour K-3, P-6).
            node.drop(Drop.UNEXPECTED_MESSAGE)
            return
        if (
            self._bindings.nesting.objection(request.home_address, prefixes, request.care_of_address)
            is not None
        ):
            # Its prefixes were not known here before; nor could we sign a refusal.
            node.drop(Drop.UNANSWERABLE)
            return
        rival = self._bindings.rival_sequence(request.home_address, prefixes)
        if sequence.sequence < max(waiting.outranked, rival):
            # Given away again since, and the news of that has overtaken this acknowledgement.
            node.drop(Drop.REPLAYED)
            return
        damping = first_option(message.options, LeakDamping)
        self._bindings.leaks.damp(
            request.home_address, damping.seconds if damping is not None else 0, now.monotonic
        )
        # The primary has told the mobile router 4 s less than us: what went by meanwhile (see primary.py).
        lifetime = max(int(message.lifetime - (now.monotonic - waiting.started)) // 4 * 4, 4)
        binding = self._bindings.bind_as_proxy(
            request,
            waiting.primary.haha,
            Granted(prefixes, lifetime),
            sequence.sequence,
            now,
            is_vouched=True,
        )
        self._registered(binding, care_of_address)
        node.counters["accepted"] += 1
        self._answer(waiting, answer)
        node.accepted(request.home_address, now)

    def _refused(self, waiting: _Waiting, answer: RelayedAcknowledgement, status: int, now: Now) -> None:
        home_address, deregisters = waiting.request.home_address, waiting.request.deregisters
        current = self._bindings.cache.get(home_address)
        is_ours = current is not None and current.kind is BindingKind.PROXY
        if current is not None and is_ours and (deregisters or status in LOST):
            self._bindings.end(current, Ending.DEREGISTERED if deregisters else Ending.REFUSED)
        self._node.refused(home_address, status, waiting.source, now)
        self._answer(waiting, answer)

    def _answer(self, waiting: _Waiting, answer: RelayedAcknowledgement) -> None:
        outer, home_address = self._node.config.outer, waiting.request.home_address
        self._node.transmit(acknowledgement_with(answer.header, outer, waiting.source, home_address))

    def _forget(self, stamp: int) -> None:
        del self._waiting[stamp]
        self._ends.cancel(stamp.to_bytes(16, "big"))

    def _is_old(self, request: Request, current: Binding | None) -> bool:
        """Whether the mobile router has said something newer here already."""
        if current is None or current.kind is not BindingKind.PROXY:
            return False
        return not request.order.is_newer_than(current.order)

    def _source(self, address: Address) -> RateLimit:
        network = Prefix.of(address, _SOURCE_BITS)
        limit = self._sources.get(network)
        if limit is None:
            if len(self._sources) >= MOST_SOURCES:
                del self._sources[next(iter(self._sources))]
            limit = self._sources[network] = RateLimit(EACH_A_SECOND, 2 * EACH_A_SECOND)
        return limit
