"""The proxy's side of a proxy binding: we register a mobile router with its primary (draft s.5.2.2).

The mobile router is acknowledged only after the primary has accepted, and what we route to it is what the
primary's acknowledgement lists, nothing else.

A refresh or a move under the same proxy is acknowledged here, without the primary (draft s.4), as long as
the numbers of the Binding Updates show no gap: a mobile router counts on for all Home Agents, so after a gap
it may have been elsewhere, and the primary has to say who holds it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..wire.address import Address
from ..wire.codes import RevocationStatus, RevocationTrigger, Status
from ..wire.haha_options import (
    BindingCacheInformation,
    HahaAddress,
    LeakDamping,
    MobilitySequence,
    RelayedBindingUpdate,
)
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import (
    BindingAcknowledgement,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
)
from ..wire.options import (
    MobileNetworkPrefix,
    ReplayProtection,
    every_option,
    first_option,
)
from ..wire.timestamp import from_unix
from .answers import Exchange, accept, refuse
from .binding import Binding, BindingKind, Ending
from .bindings import Bindings
from .drops import Drop
from .home import Peer
from .messages import (
    authentication_fault,
    identified_home_address,
    identify,
    revocation_packet,
)
from .node import Node
from .preparation import Preparations
from .registration import Granted
from .request import Request
from .route_exchange import RouteExchange
from .time import Now
from .upstream import LOST, Pending, Upstream, registration_packet
from .vouching import Vouching

_REVOKED: dict[int, tuple[Ending, str]] = {
    RevocationTrigger.ADMINISTRATIVE: (Ending.POLICY, "its policy there no longer allows it"),
    RevocationTrigger.USER_ENDED_SESSION: (Ending.DEREGISTERED, "it has de-registered"),
    RevocationTrigger.HANDOVER_UNKNOWN: (Ending.MOVED, "it is bound elsewhere"),
}


class Proxy:
    """Registers with primaries on behalf of the mobile routers that bind here."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        routes: RouteExchange,
        preparations: Preparations,
        first_sequence: int,
        *,
        prohibited: Callable[[Binding, Now], None],
        registered: Callable[[Binding, Address], None],
    ) -> None:
        """`prohibited(binding, now)` is called when a primary has ended one for its policy or forgotten it,
        `registered(binding, care_of_address)` when it has accepted one."""
        self._node = node
        self._routes = routes
        self._registered = registered
        self._bindings = bindings
        self._preparations = preparations
        self._upstream = Upstream(first_sequence)
        self._prohibited = prohibited
        self._forgotten: set[Address] = set()
        """Home addresses of bindings here that their primary no longer knows."""
        self._vouching = Vouching(node, bindings, routes, first_sequence, registered)

    def relay(self, packet: MobilityPacket, primary: Peer | None, now: Now) -> Drop | None:
        """A mobile router's Binding Update that only its primary can verify: see vouching.py."""
        return self._vouching.relay(packet, primary, now)

    def register(
        self, exchange: Exchange, header: bytes, granted: Granted, primary: Peer | None, now: Now
    ) -> None:
        """A mobile router's Binding Update, `header`, that its policy here allows. `primary` is the
        Home Agent that can accept it, None when there is none."""
        pending = self._upstream.get(exchange.request.home_address)
        request = exchange.request
        if pending is not None and not request.order.is_newer_than(pending.last_exchange.request.order):
            self._node.refused(request.home_address, Drop.REPLAYED, exchange.source, now)
            return
        if pending is None:
            done = self._renew(exchange, granted, now)
        else:
            done = self._upstream.repeats(exchange, header)
        if done:
            return
        if primary is None:
            refuse(self._node, exchange, Status.NOT_HOME_SUBNET, now)
        elif not self._routes.reaches_primaries:
            refuse(self._node, exchange, Status.INSUFFICIENT_RESOURCES, now)
        else:
            self._ask(exchange, header, primary, now)

    def receive_acknowledgement(
        self, packet: MobilityPacket, message: BindingAcknowledgement, peer: Peer, now: Now
    ) -> None:
        """A primary's answer."""
        if self._vouching.receive(packet, message, peer, now):
            return
        node = self._node
        home_address = packet.routing_home_address
        pending = self._upstream.get(home_address) if home_address is not None else None
        stamp = first_option(message.options, ReplayProtection)
        if (
            pending is None
            or pending.primary != peer
            or message.sequence != pending.sequence
            or stamp is None
            or stamp.timestamp not in pending.stamps
        ):
            node.drop(Drop.NOT_OUTSTANDING)
            return
        request = pending.exchange.request
        own = packet.destination
        fault = authentication_fault(packet.header, own, request.home_address, node.config.mesh)
        if fault is not None or own not in node.config.addresses:
            node.drop(fault or Drop.NOT_FOR_US)
            return
        self.forget(request.home_address)
        self._forgotten.discard(request.home_address)
        other = self._other_primary(pending, message)
        if other is not None:
            self._ask(pending.last_exchange, pending.last_header, other, now, redirected=True)
        elif message.status >= 128:
            last = first_option(message.options, BindingCacheInformation)
            self._refused(pending, message.status, now, last.sequence if last is not None else None)
        elif self._is_overtaken(request):
            self._refused(pending, Status.SEQUENCE_OUT_OF_WINDOW, now)
        elif request.deregisters:
            self._bindings.deregister(request, now)
            accept(node, pending.last_exchange, 0, now)
        else:
            self._accepted(pending, message, own, now)

    def receive_revocation(
        self, packet: MobilityPacket, message: BindingRevocationIndication, peer: Peer, now: Now
    ) -> None:
        """A primary tells us that a binding has ended, as when the mobile router is bound elsewhere."""
        node = self._node
        home_address = identified_home_address(message.options)
        newer = first_option(message.options, MobilitySequence)
        stamp = first_option(message.options, ReplayProtection)
        if home_address is None or newer is None or stamp is None:
            node.drop(Drop.UNEXPECTED_MESSAGE)
            return
        own = packet.destination
        fault = authentication_fault(packet.header, own, home_address, node.config.mesh)
        if own not in node.config.addresses:
            fault = fault or Drop.NOT_FOR_US
        fault = fault or node.hear(peer, home_address, stamp.timestamp, now)
        if fault is not None:
            node.drop(fault)
            return
        self._upstream.outrank(home_address, newer.sequence)
        self._vouching.outrank(home_address, newer.sequence)
        current = self._bindings.cache.get(home_address)
        status = RevocationStatus.BINDING_DOES_NOT_EXIST
        if current is not None and self._is_of(current, peer) and current.mobility_sequence < newer.sequence:
            trigger = int(message.trigger)
            ending, why = _REVOKED.get(trigger, (Ending.MOVED, f"trigger {trigger}"))
            node.note("%s revokes the binding of %s: %s", peer.name, home_address, why)
            self._bindings.end(current, ending)
            if message.trigger == RevocationTrigger.ADMINISTRATIVE:
                self._prohibited(current, now)
            status = RevocationStatus.SUCCESS
        reply = BindingRevocationAcknowledgement(
            status,
            message.sequence,
            options=(identify(home_address), ReplayProtection(from_unix(now.wall))),
        )
        node.transmit(revocation_packet(own, packet.source, home_address, reply, node.config.mesh))

    def _is_of(self, current: Binding, primary: Peer) -> bool:
        """Whether a primary has a say in a proxy binding of ours: it has made it, or could own it now."""
        if current.kind is not BindingKind.PROXY:
            return False
        return current.peer == primary.haha or primary.is_primary_for(current.home_address)

    def forget(self, home_address: Address) -> None:
        """Give up a registration that is under way; nobody is answered."""
        self._upstream.finish(home_address)
        self._preparations.end(home_address)

    def primary_forgot(self, primary: Peer, when: int, now: Now) -> None:
        """A primary has lost its store, at this second of the wall clock: those that were bound here before
        are asked for a Binding Update, and it is relayed. Those whose key only the primary has are not:
        each of theirs is relayed anyway."""
        for binding in self._bindings.cache:
            if binding.kind is not BindingKind.PROXY or binding.peer != primary.haha:
                continue
            if binding.registered <= when + 1 and not binding.is_vouched:
                self._forgotten.add(binding.home_address)
                self._prohibited(binding, now)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = (self._upstream.next_timer(), self._vouching.next_timer())
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Send again what was not acknowledged, or give it up."""
        self._vouching.handle_timer(now)
        for pending, again in self._upstream.due(now):
            if again:
                self._send(pending, now)
            else:
                self._give_up(pending, now)

    def _renew(self, exchange: Exchange, granted: Granted, now: Now) -> bool:
        """Acknowledge without the primary, if its binding lasts long enough."""
        request = exchange.request
        current = self._bindings.cache.get(request.home_address)
        if current is None or current.kind is not BindingKind.PROXY:
            return False
        if request.deregisters or current.prefixes != granted.prefixes:
            return False
        if request.home_address in self._forgotten:
            return False
        if (request.sequence - current.order.sequence) % 65536 != 1:
            return False
        remaining = int(current.expires - now.monotonic) // 4 * 4
        if remaining < granted.lifetime // 2:
            return False
        lifetime = min(granted.lifetime, remaining)
        self._bindings.renew(current, request, lifetime, now)
        accept(self._node, exchange, lifetime, now, granted.status)
        return True

    def _other_primary(self, pending: Pending, message: BindingAcknowledgement) -> Peer | None:
        """Whom a primary, which does not own the home address, sends us to; once."""
        named = first_option(message.options, HahaAddress)
        if pending.redirected or message.status < 128 or named is None:
            return None
        primaries = self._node.config.primary_for(pending.exchange.request.home_address)
        return next((peer for peer in primaries if peer.haha == named.address), None)

    def _ask(
        self, exchange: Exchange, header: bytes, primary: Peer, now: Now, *, redirected: bool = False
    ) -> None:
        relayed = RelayedBindingUpdate(exchange.source, header)
        pending = self._upstream.start(exchange, relayed, primary, now, redirected)
        self._node.counters["upstream_started"] += 1
        self._preparations.begin(exchange)
        try:
            self._send(pending, now)
        except ValueError as error:
            self._node.note(f"Binding Update of {exchange.policy.name} cannot be relayed: {error}")
            self.forget(exchange.request.home_address)
            refuse(self._node, exchange, Status.INSUFFICIENT_RESOURCES, now)

    def _send(self, pending: Pending, now: Now) -> None:
        stamp = self._node.stamp(now)
        self._node.transmit(self._update_packet(pending, stamp))
        self._upstream.sent(pending, stamp)

    def _accepted(
        self, pending: Pending, message: BindingAcknowledgement, care_of_address: Address, now: Now
    ) -> None:
        prefixes = tuple(option.prefix for option in every_option(message.options, MobileNetworkPrefix))
        sequence = first_option(message.options, MobilitySequence)
        # The primary counts from when it answered; we heard of it later (RFC 6275 s.10.3.1).
        lifetime = max(int(message.lifetime - (now.monotonic - pending.started)) // 4 * 4, 4)
        granted = Granted(prefixes, lifetime)
        home = self._node.config.home
        if sequence is None or not all(home.covers(prefix) for prefix in prefixes):
            # Nothing that a primary of this Home says (draft s.5.2.2, behaviour K-3, P-6).
            self._refused(pending, Status.REASON_UNSPECIFIED, now)
            return
        request = pending.exchange.request
        objection = self._bindings.nesting.objection(request.home_address, prefixes, request.care_of_address)
        if objection is not None:
            # Another mobile router has gone behind this one meanwhile, or the one it is behind.
            self._refused(pending, objection, now)
            return
        mobility_sequence = sequence.sequence
        rival = self._bindings.rival_sequence(request.home_address)
        known = self._bindings.cache.get(request.home_address)
        config = self._node.config
        is_here = known is not None and (known.kind is BindingKind.PROXY or known.peer == config.haha)
        if known is not None and is_here and config.is_primary_for(request.home_address):
            # Co-primaries tell of it too, and what they have told is not taken back.
            mobility_sequence = max(mobility_sequence, known.mobility_sequence)
        if mobility_sequence < max(pending.outranked, rival):
            # Given away again since, and the news of that has overtaken this acknowledgement.
            self._refused(pending, Status.SEQUENCE_OUT_OF_WINDOW, now)
            return
        damping = first_option(message.options, LeakDamping)
        self._bindings.leaks.damp(
            request.home_address, damping.seconds if damping is not None else 0, now.monotonic
        )
        primary = pending.primary.haha
        binding = self._bindings.bind_as_proxy(request, primary, granted, mobility_sequence, now)
        self._registered(binding, care_of_address)
        if pending.repeated is None:
            accept(self._node, pending.exchange, lifetime, now, message.status)
            return
        # The primary has not seen this one; between the two the mobile router may have been elsewhere.
        exchange, header = pending.repeated
        wish = Granted(prefixes, min(exchange.request.lifetime, lifetime), message.status)
        self.register(exchange, header, wish, pending.primary, now)

    def _is_overtaken(self, request: Request) -> bool:
        """Whether a co-primary has told of something newer than what was asked, or we have become the primary
        and bound it ourselves."""
        known = self._bindings.cache.get(request.home_address)
        if known is None or known.kind in (BindingKind.PROXY, BindingKind.SECONDARY):
            return False
        return known.order.is_newer_than(request.order)

    def _refused(self, pending: Pending, status: int, now: Now, last_accepted: int | None = None) -> None:
        home_address = pending.exchange.request.home_address
        if pending.exchange.request.deregisters or status in LOST:
            self._end(
                home_address, Ending.DEREGISTERED if pending.exchange.request.deregisters else Ending.REFUSED
            )
        sequence = None
        if status == Status.SEQUENCE_OUT_OF_WINDOW:
            last = self._bindings.cache.last(home_address)
            sequence = last.order.sequence if last_accepted is None and last is not None else last_accepted
        refuse(self._node, pending.last_exchange, status, now, sequence)

    def _give_up(self, pending: Pending, now: Now) -> None:
        request = pending.exchange.request
        self._preparations.end(request.home_address)
        self._node.note(f"{pending.primary.name} does not answer for {request.home_address}")
        if request.deregisters:
            self._end(request.home_address, Ending.DEREGISTERED)
        refuse(self._node, pending.last_exchange, Status.INSUFFICIENT_RESOURCES, now)

    def _end(self, home_address: Address, why: Ending) -> None:
        current = self._bindings.cache.get(home_address)
        # A Home Agent that could be primary too may have become it meanwhile, or have been told by who is.
        if current is not None and current.kind is BindingKind.PROXY:
            self._bindings.end(current, why)

    def _update_packet(self, pending: Pending, stamp: int) -> bytes:
        request = pending.exchange.request
        rival = self._bindings.rival_sequence(request.home_address)
        return registration_packet(
            self._node.config,
            self._routes.upstream_address,
            pending.primary,
            request,
            pending.relayed,
            pending.sequence,
            stamp,
            rival,
        )
