"""A border Home Agent: primary for its own partition, proxy for everybody else's mobile routers.

Packets and events in, effects out. Who does what:

    registration.py    may this Binding Update be granted
    bindings.py        what is bound, and what follows from it
    primary.py         answering proxies, revoking what a proxy has lost
    proxy.py           registering with a primary
    discovery.py       who are the Home Agents
    route_exchange.py  the other sites' routes
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

from ..wire.address import UNSPECIFIED, Prefix
from ..wire.codes import BindingErrorStatus, Status
from ..wire.errors import DropReason, MalformedPacket
from ..wire.ipv6 import IcmpPacket, MobilityPacket
from ..wire.messages import (
    BindingAcknowledgement,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
)
from .answers import Exchange, accept, refuse
from .binding import Binding
from .binding_cache import BindingCache
from .bindings import Bindings
from .discovery import answer_discovery
from .effects import Effect
from .footprint import Footprint
from .home import HomeAgentConfig, Peer
from .messages import authenticate, binding_error_packet, decode
from .node import Node
from .primary import Primary
from .proxy import Proxy
from .rate_limit import RateLimit
from .registration import DIRECT, Drop, Granted, Refused, judge, read_request
from .route_exchange import RouteExchange
from .time import Now
from .wanted import WantedState

DISCOVERIES_A_SECOND = 500.0
"""Discovery requests answered: anybody may ask, and they come past the packet filter."""


class HomeAgent:
    """The machine of one border Home Agent."""

    def __init__(self, config: HomeAgentConfig, random: Random) -> None:
        self._config = config
        self._random = random
        self._peers = {peer.haha: peer for peer in config.peers}
        self._node = Node(config)
        self._discoveries = RateLimit(DISCOVERIES_A_SECOND, 2 * DISCOVERIES_A_SECOND)
        self.wanted = WantedState(self._node.emit, self._footprints)
        self._bindings = Bindings(self._node, self.wanted, self._leaked_elsewhere)
        self._primary = Primary(self._node, self._bindings, random.randrange(65536))
        self._proxy = Proxy(self._node, self._bindings, random.randrange(65536))
        self.routes = RouteExchange(config, self.wanted, self._node.counters, self._bindings.end_outranked)

    @property
    def counters(self) -> Counter[str]:
        """What was accepted, refused and dropped, by reason."""
        return self._node.counters

    @property
    def bindings(self) -> BindingCache:
        """The binding cache, to look at."""
        return self._bindings.cache

    def start(self, bindings: Iterable[Binding], now: Now) -> None:
        """Take up the stored bindings, ended ones among them, and state what is wanted from the start."""
        self.routes.start(now.monotonic)
        self._bindings.restore(bindings)

    def take_effects(self) -> list[Effect]:
        """What is to be done, in order; empties the list."""
        return self._node.take_effects()

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        timers = (
            self.bindings.next_expiry(),
            self._primary.next_timer(),
            self._proxy.next_timer(),
            self.routes.next_timer(),
        )
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Do what is due."""
        self.routes.handle_timer(now.monotonic)
        for binding in self.bindings.pop_expired(now.monotonic):
            self._node.note(f"binding of {binding.home_address} has expired")
            self._bindings.end(binding)
        self._proxy.handle_timer(now)
        self._primary.handle_timer(now)

    def receive_discovery(self, packet: IcmpPacket, now: Now) -> None:
        """An ICMPv6 message to an address inside Home that may be a discovery request."""
        reached = [peer.outer for peer in self._config.peers if self.routes.session_up(peer.haha)]
        try:
            answer = answer_discovery(packet, self._config, reached, self._random)
        except MalformedPacket as error:
            self.counters[f"dropped_{error.reason}"] += 1
            return
        if isinstance(answer, Drop):
            self._node.drop(answer)
            return
        if not self._discoveries.allows(now.monotonic):
            self._node.drop(Drop.TOO_MANY_DISCOVERIES)
            return
        self.counters["discovery_answered"] += 1
        self._node.transmit(answer)

    def receive_mobility(self, packet: MobilityPacket, now: Now) -> None:
        """A packet with a Mobility Header, from a mobile router or another Home Agent."""
        try:
            message = decode(packet)
        except MalformedPacket as error:
            self.counters[f"dropped_{error.reason}"] += 1
            if error.reason is DropReason.UNKNOWN_MOBILITY_TYPE:
                self._answer_unknown_type(packet)
            return
        peer = self._peers.get(packet.source)
        if peer is None:
            if isinstance(message, BindingUpdate):
                self._receive_update(packet, message, now)
            else:
                self._node.drop(Drop.UNEXPECTED_MESSAGE)
            return
        match message:
            case BindingUpdate():
                self._primary.receive_update(packet, message, peer, now)
            case BindingAcknowledgement():
                self._proxy.receive_acknowledgement(packet, message, peer, now)
            case BindingRevocationIndication():
                self._proxy.receive_revocation(packet, message, peer, now)
            case BindingRevocationAcknowledgement():
                self._primary.receive_revocation_acknowledgement(packet, message, peer)
            case _:
                self._node.drop(Drop.UNEXPECTED_MESSAGE)

    def _receive_update(self, packet: MobilityPacket, update: BindingUpdate, now: Now) -> None:
        if packet.destination != self._config.outer or not packet.source.is_routable_unicast:
            self._node.drop(Drop.NOT_FOR_US)
            return
        home_address = packet.home_address or packet.source
        policy = self._config.mobile_routers.get(home_address)
        if policy is None:
            self._node.drop(Drop.UNKNOWN_HOME_ADDRESS)
            return
        request = read_request(update, packet.source, home_address)
        association, fault = authenticate(
            packet.header, request.care_of_address, home_address, policy.associations
        )
        if fault is not None:
            self._node.drop(fault)
        if association is None:
            return
        exchange = Exchange(request, policy, packet.source, association)
        if fault is not None:
            refuse(self._node, exchange, Status.AUTHENTICATION_FAILED, now)
            return
        verdict = judge(exchange.request, self._bindings.context(home_address, now), DIRECT)
        if isinstance(verdict, Drop):
            self._node.drop(verdict)
        elif isinstance(verdict, Refused):
            refuse(self._node, exchange, verdict.status, now, verdict.sequence)
        elif self._config.is_primary_for(home_address):
            self._register(exchange, verdict, now)
        else:
            primary = self._primary_for(exchange)
            self._proxy.register(exchange, packet.header, verdict, primary, now)

    def _register(self, exchange: Exchange, granted: Granted, now: Now) -> None:
        request = exchange.request
        before = self.bindings.get(request.home_address)
        if request.deregisters:
            self._bindings.deregister(request)
            self._primary.released(before, None, now)
        else:
            after = self._bindings.bind_as_primary(request, None, granted, now)
            self._primary.bound(before, after, now)
        accept(self._node, exchange, granted.lifetime, now)

    def _footprints(self) -> Iterable[Footprint]:
        return self._bindings.footprints()

    def _leaked_elsewhere(self, prefixes: Iterable[Prefix]) -> int:
        return self.routes.highest_sequence(prefixes)

    def _primary_for(self, exchange: Exchange) -> Peer | None:
        primaries = self._config.primary_for(exchange.request.home_address)
        reached = [peer for peer in primaries if self.routes.session_up(peer.haha)]
        return next(iter(reached or primaries), None)

    def _answer_unknown_type(self, packet: MobilityPacket) -> None:
        if not packet.source.is_routable_unicast or packet.destination.is_multicast:
            return
        self._node.transmit(
            binding_error_packet(
                packet.destination,
                packet.source,
                packet.home_address or UNSPECIFIED,
                BindingErrorStatus.UNRECOGNIZED_MOBILITY_TYPE,
            )
        )
