"""Binding Updates that mobile routers send to us themselves: granted here where we own the home address, else
registered with who does."""

from __future__ import annotations

from ..wire.address import Address
from ..wire.codes import Status
from ..wire.errors import MalformedPacket
from ..wire.ipv6 import MobilityPacket
from .answers import Exchange, accept, answer_malformed, refuse
from .binding import Binding
from .bindings import Bindings
from .co_primaries import CoPrimaries
from .drops import Drop
from .node import Node
from .primary import Primary
from .proxy import Proxy
from .reception import read_update
from .registration import DIRECT, Granted, Refused, depends_on_others, judge
from .route_exchange import RouteExchange
from .time import Now

_WITHOUT_KEY = (Drop.UNKNOWN_SPI, Drop.NO_AUTHENTICATION)


class DirectUpdates:
    """What a Home Agent does about them."""

    def __init__(  # noqa: PLR0917  (the parts of a Home Agent, put together in one place)
        self,
        node: Node,
        bindings: Bindings,
        primary: Primary,
        proxy: Proxy,
        co_primaries: CoPrimaries,
        routes: RouteExchange,
    ) -> None:
        self._node = node
        self._config = node.config
        self._bindings = bindings
        self._primary = primary
        self._proxy = proxy
        self._co_primaries = co_primaries
        self._routes = routes

    def receive(self, packet: MobilityPacket, now: Now) -> None:
        """A packet from outside the mesh, whose MH Type is that of a Binding Update."""
        if packet.destination != self._config.outer or not packet.source.is_routable_unicast:
            self._node.drop(Drop.NOT_FOR_US)
            return
        home_address = packet.home_address or packet.source
        policy = self._config.mobile_routers.get(home_address)
        if policy is None or not policy.associations:
            self._relay(packet, home_address, now)
            return
        try:
            request, association, fault = read_update(packet, home_address, policy)
        except MalformedPacket as error:
            answer_malformed(self._node, packet, error, now)
            return
        if association is None:
            assert fault is not None
            if self._config.is_primary_for(home_address) or fault not in _WITHOUT_KEY:
                self._node.refused(home_address, fault, packet.source, now, authentic=False)
            else:
                self._relay(packet, home_address, now)
            return
        exchange = Exchange(request, policy, packet.source, association)
        if fault is not None:
            self._node.drop(fault)
            refuse(self._node, exchange, Status.AUTHENTICATION_FAILED, now, authentic=False)
            return
        self._judge(exchange, packet.header, now)

    def _judge(self, exchange: Exchange, header: bytes, now: Now, *, has_asked: bool = False) -> None:
        request, policy, source, _ = exchange
        home_address = policy.home_address
        verdict = judge(request, self._bindings.context(home_address, now, policy=policy), DIRECT)
        if (
            self._co_primaries.asks
            and not has_asked
            and depends_on_others(verdict)
            and self._co_primaries.is_ours(home_address)
            and self._co_primaries.holds(
                home_address,
                request.order,
                lambda now: self._judge(exchange, header, now, has_asked=True),
                now,
            )
        ):
            return
        if verdict is Drop.DUPLICATE:
            # Networks do that, and what was accepted is no refusal.
            self._node.drop(verdict)
        elif isinstance(verdict, Drop):
            self._node.refused(home_address, verdict, source, now)
        elif isinstance(verdict, Refused):
            refuse(self._node, exchange, verdict.status, now, verdict.sequence)
        elif self._co_primaries.is_ours(home_address):
            self._register(exchange, verdict, now)
        else:
            owner = self._co_primaries.owner(home_address)
            self._proxy.register(exchange, header, verdict, owner, now)

    def _relay(self, packet: MobilityPacket, home_address: Address, now: Now) -> None:
        """We have no key that it could have been signed with."""
        is_ours = self._config.is_primary_for(home_address)
        primary = None if is_ours else self._co_primaries.owner(home_address)
        try:
            fault = self._proxy.relay(packet, primary, now)
        except MalformedPacket as error:
            answer_malformed(self._node, packet, error, now)
            return
        if fault is not None and home_address in self._config.mobile_routers:
            self._node.refused(home_address, fault, packet.source, now, authentic=False)
        elif fault is not None:
            # Whose home address it is nobody here knows: it is counted, and that is all.
            self._node.drop(fault)

    def _register(self, exchange: Exchange, granted: Granted, now: Now) -> None:
        request = exchange.request
        before = self._bindings.cache.get(request.home_address)
        if request.deregisters:
            self._bindings.deregister(request, now)
            self._primary.released(before, None, now)
        else:
            after = self._bindings.bind_as_primary(request, None, granted, now)
            self._primary.bound(before, after, now)
            if self._routes.knows_leaks and (before is None or before.peer is not None):
                self._find_lagging(after)
        accept(self._node, exchange, granted.lifetime, now, granted.status)

    def _find_lagging(self, binding: Binding) -> None:
        """Of its place before we know nothing, or not who leaks for it: perhaps that is in what is leaked."""
        for route in self._routes.leaks(binding.leaked()):
            self._primary.leak_learned(route)
