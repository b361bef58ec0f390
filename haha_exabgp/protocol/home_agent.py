"""A Home Agent: primary for its own partition, alone or with others; proxy for all other mobile routers.

Packets and events in, effects out. Who does what:

    direct_updates.py  a mobile router's own Binding Update
    registration.py    may this Binding Update be granted
    bindings.py        what is bound, and what follows from it
    primary.py         answering proxies, revoking what a proxy has lost
    proxy.py           registering with a primary
    preparation.py     letting packets through while the primary is asked
    satellite.py       where a satellite's primaries and parent are told to find it
    parent.py          what satellites have told us
    vouching.py        the same for a mobile router whose key only the primary has
    notices.py         refresh requests, switching to another Home Agent
    projection.py      routes on demand
    drain.py           sending everybody away, before this one is taken out of service
    haha_messages.py   what Home Agents ask and tell each other
    co_primaries.py    which of them are up, and what those that are primary for the same share
    discovery.py       who are the Home Agents
    prefix_discovery.py  how long the subnets of Home are to be used
    route_exchange.py  the other sites' routes
    own_routes.py      what the others are told of us
    nesting.py         who is behind another mobile router
    following.py       who is told to go where that one has gone
    leaks.py           which bindings the other sites are told of
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from random import Random

from ..wire.address import Address, Prefix
from ..wire.codes import (
    BindingUpdateFlag,
    MobilityType,
    RevocationTrigger,
)
from ..wire.errors import MalformedPacket
from ..wire.ipv6 import IcmpPacket, MobilityPacket, TunnelHeader
from ..wire.messages import (
    BindingAcknowledgement,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    HahaMessage,
)
from .answers import answer_malformed
from .binding import Binding, BindingKind, Ending, Order
from .binding_cache import BindingCache
from .bindings import Bindings
from .co_primaries import CoPrimaries
from .direct_updates import DirectUpdates
from .discovery import answer_discovery
from .drain import Drain, Remaining
from .drops import Drop
from .effects import Effect
from .following import Following
from .haha_messages import HahaMessages
from .home import HomeAgentConfig, Peer
from .home_agent_switch import MESSAGE_INTERVAL
from .home_agents_list import HomeAgentsList
from .home_subnets import HomeSubnet
from .leaks import Leaks
from .messages import decode
from .node import Node
from .notices import Notices
from .parent import Parent
from .prefix_discovery import PrefixDiscovery
from .preparation import Preparations
from .primary import Primary
from .projection import RouteProjection
from .projection_ingress import Elsewhere, Projection
from .proxy import Proxy
from .rate_limit import RateLimit
from .refusals import Refusal
from .route_exchange import RouteExchange
from .routes import KernelRoute, LearnedRoute
from .satellite import Satellite
from .time import Now
from .wanted import WantedState

_BINDING_UPDATE = bytes((MobilityType.BINDING_UPDATE,))
DISCOVERIES_A_SECOND = 500.0
"""Discovery requests answered: anybody may ask, and they come past the packet filter."""


class HomeAgent:
    """The machine of one border Home Agent."""

    def __init__(self, config: HomeAgentConfig, random: Random) -> None:
        self._config = config
        self._random = random
        self._peers = {address: peer for peer in config.peers for address in peer.addresses}
        self._node = Node(config)
        self._discoveries = RateLimit(DISCOVERIES_A_SECOND, 2 * DISCOVERIES_A_SECOND)
        self.wanted = WantedState(config, self._node.emit, self._all_bindings)
        self._bindings = Bindings(self._node, self.wanted, self._leaked_elsewhere, self._reconsider)
        self._primary = Primary(self._node, self._bindings, random.randrange(65536), self._owner, self._holds)
        self.routes = RouteExchange(
            config,
            self.wanted,
            self._node.counters,
            self._leak_learned,
            peer_lost=self._peer_lost,
            is_outdated=self._is_outdated,
        )
        self._silent: frozenset[Address] = frozenset()
        """Home Agents that we no longer hear."""
        self._notices = Notices(self._node, self._bindings)
        self._satellite: Satellite | None = None
        if config.is_satellite:
            self._satellite = Satellite(self._node, self._bindings, self.routes, random.randrange(65536))
        self._parent = Parent(self._node, self._bindings)
        self.routes.session_listeners.append(self._parent.session_changed)
        self._proxy = Proxy(
            self._node,
            self._bindings,
            self.routes,
            Preparations(config, self._bindings, self.wanted, self._node.emit),
            random.randrange(65536),
            prohibited=self._notices.prohibited,
            registered=self._registered_upstream,
        )
        self._prefixes = PrefixDiscovery(self._node, self._bindings, random)
        self._haha = HahaMessages(self._node, random.randrange(65536))
        self._co_primaries = CoPrimaries(
            self._node,
            self._bindings,
            self._primary,
            self._notices,
            self._haha,
            reaches=self._reaches,
            changed=self._home_agents_changed,
        )
        self._home_agents = self._co_primaries.home_agents
        self._home_agents.forgot_listeners.append(self._proxy.primary_forgot)
        if self._satellite is not None:
            self._home_agents.forgot_listeners.append(self._satellite.parent_forgot)
        self._updates = DirectUpdates(
            self._node, self._bindings, self._primary, self._proxy, self._co_primaries, self.routes
        )
        self._projection: RouteProjection | None = None
        if config.on_demand is not None:
            elsewhere = Elsewhere(self._owner, self.routes.leaks_towards, self.routes.highest_sequence)
            self._projection = RouteProjection(
                self._node, self._bindings, self.wanted, self._haha, config.on_demand, elsewhere=elsewhere
            )
        self._following = Following(self._node, self._bindings, self._notices, self._whereabouts)
        self._drain = Drain(
            self._node,
            self.bindings,
            self._notices,
            is_ready=self._home_agents.is_eligible,
            leave_to_others=self._leave_to_others,
            random=random,
        )

    @property
    def counters(self) -> Counter[str]:
        """What was accepted, refused and dropped, by reason."""
        return self._node.counters

    @property
    def bindings(self) -> BindingCache:
        """The binding cache, to look at."""
        return self._bindings.cache

    @property
    def endings(self) -> Mapping[Address, Ending]:
        """Why the last binding of a home address has ended, if one has since the start."""
        return self._bindings.endings

    @property
    def refusals(self) -> Mapping[Address, Refusal]:
        """Why the last authentic Binding Update of a home address, that came to nothing, did so."""
        return self._node.refusals.authentic

    @property
    def suspect_refusals(self) -> Mapping[Address, Refusal]:
        """The same of those that were not authentic: anybody may have sent them."""
        return self._node.refusals.suspect

    @property
    def home_agents(self) -> HomeAgentsList:
        """Which other Home Agents are up, and who says so; to look at."""
        return self._home_agents

    def start(self, bindings: Iterable[Binding], now: Now, present: Iterable[KernelRoute] = ()) -> None:
        """Take up the stored bindings, ended ones among them, and state what is wanted from the start.
        `present`: the routes that the kernel has."""
        self.routes.start(now.monotonic)
        self._bindings.restore(bindings, now)
        self._co_primaries.start(now)
        for binding in self.bindings:
            self._prefixes.watch(binding.home_address, now)
        self._notices.forgotten(present, now)
        if self._satellite is not None:
            self._satellite.start()
        if self._projection is not None:
            self._projection.start(self.bindings, now)

    def notice_traffic(self, destination: Address, now: Now) -> None:
        """A packet for an address in Home has left by the tunnel to another Home Agent, after others."""
        if self._projection is not None:
            self._projection.ingress.notice(destination, now)

    def projections(self) -> Iterable[Projection]:
        """The projected routes from here, to look at."""
        return self._projection.ingress.projections() if self._projection is not None else ()

    def projected_here(self) -> Iterable[tuple[Address, Peer, float]]:
        """Home address, Home Agent that was told that it is reached here, and until when that is good, on
        the monotonic clock."""
        return self._projection.egress.told() if self._projection is not None else ()

    def switch(self, home_addresses: Iterable[Address], towards: Iterable[Address]) -> list[Address]:
        """Send mobile routers to other Home Agents, by their outer addresses, best first (RFC 5142); one a
        second is told. With none given they look for one themselves. Returns whom it concerns: those that
        are bound here, not through a proxy."""
        return self._notices.switch(home_addresses, towards)

    def stay(self, home_addresses: Iterable[Address]) -> None:
        """Call a `switch` off."""
        self._notices.stay(home_addresses)

    def drain(self, now: Now, interval: float = MESSAGE_INTERVAL) -> None:
        """Leave Home to others and send away who is bound here, one every `interval` seconds; let nobody in
        who can be bound elsewhere. Said again it goes on with the new interval."""
        self._drain.start(now, interval)

    def cancel_drain(self, now: Now) -> None:
        """Back into service."""
        self._drain.cancel(now)

    @property
    def is_draining(self) -> bool:
        """From `drain` to `cancel_drain`, also when everybody has left."""
        return self._drain.is_under_way

    def is_in_service(self, peer: Peer) -> bool:
        """Whether another Home Agent is up, and neither just starting nor being taken out of service."""
        return self._home_agents.is_eligible(peer)

    def remaining(self) -> Iterator[Remaining]:
        """Who is bound here still, not through a proxy, and how far sending it away has come."""
        return self._drain.remaining()

    @property
    def leaks(self) -> Leaks:
        """Which bindings other sites are told of; to look at, and to say what traffic they have."""
        return self._bindings.leaks

    def damped(self, home_address: Address, now: Now) -> float:
        """Seconds for which we, as its primary, have a mobile router not leaked; 0 for not at all."""
        return self._bindings.damping.left(home_address, now.monotonic)

    @property
    def leaving(self) -> AbstractSet[Address]:
        """The home addresses of those who have been told, or are about to be."""
        return self._node.leaving

    def renumber(self, subnets: Iterable[HomeSubnet], now: Now) -> None:
        """Other times hold for the subnets of Home: bindings end no later than their subnet, and mobile
        routers are told (RFC 6275 s.10.6)."""
        self._prefixes.change(subnets, now)

    def policies_changed(self, home_addresses: Iterable[Address], now: Now) -> None:
        """The policies of these home addresses have changed, come or gone. A binding that is no longer
        allowed ends at once, at its proxy too, and whose mobile router is still known is asked for another;
        what a proxy was asked to register has to be asked again."""
        changed = tuple(home_addresses)
        for home_address in changed:
            self._proxy.forget(home_address)
            binding = self.bindings.get(home_address)
            if binding is None or self._bindings.is_allowed(binding):
                continue
            self._node.note("binding of %s ends: its policy no longer allows it", home_address)
            self._bindings.end(binding, Ending.POLICY)
            if binding.kind is BindingKind.PROXIED:
                self._primary.released(binding, None, now, RevocationTrigger.ADMINISTRATIVE)
            elif binding.kind is not BindingKind.REPLICA:
                self._notices.prohibited(binding, now)
        self.leaks.judge_again(changed)
        self.routes.policies_changed(changed)

    def take_effects(self) -> list[Effect]:
        """What is to be done, in order; empties the list."""
        return self._node.take_effects()

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        timers = (
            self.bindings.next_moment(),
            self._bindings.overlaps.next_timer(),
            self._primary.next_timer(),
            self._proxy.next_timer(),
            self.routes.next_timer(),
            self._parent.next_timer(),
            self._satellite.next_timer() if self._satellite is not None else None,
            self._notices.next_timer(),
            self._following.next_timer(),
            self._drain.next_timer(),
            self._prefixes.next_timer(),
            self._haha.next_timer(),
            self._co_primaries.next_timer(),
            self._projection.next_timer() if self._projection is not None else None,
            self.leaks.next_timer(),
        )
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Do what is due."""
        self.routes.handle_timer(now.monotonic)
        self._bindings.overlaps.handle_timer(now.monotonic)
        for binding in self.bindings.due(now.monotonic):
            if binding.expires > now.monotonic:
                self._notices.about_to_end(binding, now)
            else:
                self._node.note("binding of %s has expired", binding.home_address)
                self._bindings.end(binding, Ending.EXPIRED)
        self._proxy.handle_timer(now)
        self._primary.handle_timer(now)
        self._parent.handle_timer(now)
        if self._satellite is not None:
            self._satellite.handle_timer(now)
        self._drain.handle_timer(now)
        self._notices.handle_timer(now)
        self._following.handle_timer(now)
        self._prefixes.handle_timer(now)
        self._co_primaries.handle_timer(now)
        self._haha.handle_timer(now)
        if self._projection is not None:
            self._projection.handle_timer(now)
        self.leaks.handle_timer(now.monotonic)

    def receive_discovery(self, packet: IcmpPacket, now: Now, tunnels: Sequence[TunnelHeader] = ()) -> None:
        """An ICMPv6 message to an address inside Home that may be a discovery request; `tunnels` that it has
        come in, outermost first. Of those only mobile routers' count: one that is behind a mobile router is
        answered by the Home Agent of that one, so that both are bound to the same."""
        if not self._bindings.nesting.brings(tunnels, packet.source):
            self._node.drop(Drop.NOT_FROM_A_MOBILE_NETWORK)
            return
        # One that is on its way out would name another that is.
        reached = self._home_agents.listed(in_service=self.is_draining)
        try:
            answer = answer_discovery(
                packet,
                self._config,
                reached,
                self._random,
                self._home_agents.preference,
                unknown=self._home_agents.unknown(),
                is_leaving=self.is_draining,
            )
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

    def receive_solicitation(self, packet: IcmpPacket, now: Now) -> None:
        """An ICMPv6 message to our outer address that may be a Mobile Prefix Solicitation."""
        try:
            self._prefixes.receive(packet, now)
        except MalformedPacket as error:
            self.counters[f"dropped_{error.reason}"] += 1

    def receive_mobility(self, packet: MobilityPacket, now: Now) -> None:
        """A packet with a Mobility Header, from a mobile router or another Home Agent."""
        peer = self._peers.get(packet.source)
        if peer is None and packet.header[2:3] == _BINDING_UPDATE:
            self._updates.receive(packet, now)
            return
        try:
            message = decode(packet)
        except MalformedPacket as error:
            answer_malformed(self._node, packet, error, now)
            return
        if peer is None:
            self._node.drop(Drop.UNEXPECTED_MESSAGE)
            return
        match message:
            case BindingUpdate():
                if message.flags & BindingUpdateFlag.HOME_REGISTRATION:
                    self._primary.receive_update(packet, message, peer, now)
                else:
                    self._parent.receive_update(packet, message, peer, now)
            case BindingAcknowledgement():
                satellite = self._satellite
                if satellite is None or not satellite.receive_acknowledgement(packet, message, peer, now):
                    self._proxy.receive_acknowledgement(packet, message, peer, now)
            case BindingRevocationIndication():
                self._proxy.receive_revocation(packet, message, peer, now)
            case BindingRevocationAcknowledgement():
                self._primary.receive_revocation_acknowledgement(packet, message, peer)
            case HahaMessage():
                self._haha.receive(packet, message, peer, now)
            case _:
                self._node.drop(Drop.UNEXPECTED_MESSAGE)

    def _owner(self, home_address: Address) -> Peer | None:
        return self._co_primaries.owner(home_address)

    def _whereabouts(self, gone: Binding) -> Peer | None:
        """Who has the mobile router of a binding that is not here any more: we know, or hear it by BGP, or it
        is back at its primary."""
        current = self.bindings.get(gone.home_address)
        leaks = sorted(self.routes.leaks(gone.leaked()), key=lambda leak: leak.sequence)
        if current is not None:
            peer = self._peers.get(current.peer) if current.peer is not None else None
        else:
            peer = self._peers.get(leaks[-1].next_hop) if leaks else self._owner(gone.home_address)
        return peer if peer is not None and self._home_agents.is_eligible(peer) else None

    def _holds(self, home_address: Address, order: Order, resume: Callable[[Now], None], now: Now) -> bool:
        return self._co_primaries.holds(home_address, order, resume, now)

    def _all_bindings(self) -> tuple[Binding, ...]:
        return tuple(self._bindings.cache)

    def _registered_upstream(self, binding: Binding, care_of_address: Address) -> None:
        if self._satellite is not None:
            self._satellite.registered(binding, care_of_address)

    def _leak_learned(self, route: LearnedRoute) -> None:
        self._bindings.leak_learned(route)
        self._primary.leak_learned(route)
        self._co_primaries.leak_learned(route)
        if self._projection is not None:
            self._projection.leak_learned(route)

    def _leaked_elsewhere(self, prefixes: Iterable[Prefix]) -> int:
        return self.routes.highest_sequence(prefixes)

    def _is_outdated(self, leak: LearnedRoute) -> bool:
        return leak.next_hop in self._silent or self._bindings.is_outdated(leak)

    def _reconsider(self, binding: Binding) -> None:
        if self.routes.knows_leaks:
            self.routes.reconsider(binding.routes())

    def _reaches(self, peer: Peer) -> bool:
        # Of one that no session joins us to nothing says that it is down.
        return not peer.is_adjacent or self.routes.reaches(peer)

    def _home_agents_changed(self, now: Now) -> None:
        self.routes.lead(self._home_agents.epoch)
        before, self._silent = self._silent, self._home_agents.silent
        self.routes.reconsider_leaks_by(before ^ self._silent)
        for peer in filter(self._home_agents.is_down, self._config.peers):
            self._peer_lost(peer)

    def _leave_to_others(self, leave: bool, now: Now) -> None:
        self._home_agents.leave(leave, now)
        self.routes.leave_home_to_others(leave)

    def _peer_lost(self, peer: Peer) -> None:
        if self._projection is not None:
            self._projection.peer_lost(peer)
