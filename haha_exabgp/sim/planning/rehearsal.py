"""One mobile router's life with the real core: what each thing it does makes the Home Agents send.

Three Home Agents and a mobile router of `protocol/` exchange their packets in memory: it binds at its
primary, moves to a second site, to a third one, and back, with refreshes and local moves on the way. The
numbers and lengths of messages that planning works with are counted here, so they change with the protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from ...bgp.communities import path_attributes
from ...protocol.effects import Announce, Effect, Rebind, Transmit, Withdraw
from ...protocol.footprint import consequences
from ...protocol.home import HomeAgentConfig, MobileRouterPolicy, Peer, SecurityAssociation
from ...protocol.home_agent import HomeAgent
from ...protocol.messages import decode
from ...protocol.mobile_router import MobileRouter
from ...protocol.mobility import MobileRouterConfig
from ...protocol.routes import Audience, LearnedRoute, Metric, RouteKind
from ...protocol.time import Now
from ...wire.address import Address, Prefix
from ...wire.icmpv6 import HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, decode_icmpv6
from ...wire.ipv6 import IcmpPacket, MobilityPacket, parse_packet
from ...wire.messages import (
    BindingAcknowledgement,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
)
from . import bgp_update
from .kinds import Kind, Scenario, Sent, Side
from .resolution import resolution_octets

_HOME = Prefix.parse("2001:db8::/32")
_HOME_ADDRESS = Address.parse("2001:db8:1:1::10")
_ASN = 64500
_KEY = SecurityAssociation(4096, bytes(range(16)))
_MESH = SecurityAssociation(256, bytes(range(16, 32)))
_PLAYED = (1, 2, 3)
"""Sites whose Home Agents are real; the others only stand in lists. The first is primary."""
_LIFETIME = 600
_WALL = 1_700_000_000.0

_TO_MOBILE: dict[type, Kind] = {
    BindingUpdate: Kind.UPDATE,
    BindingAcknowledgement: Kind.ACKNOWLEDGEMENT,
    HomeAgentDiscoveryRequest: Kind.DISCOVERY_REQUEST,
    HomeAgentDiscoveryReply: Kind.DISCOVERY_REPLY,
}
_BETWEEN_HOME_AGENTS: dict[type, Kind] = {
    BindingUpdate: Kind.PROXY_UPDATE,
    BindingAcknowledgement: Kind.PROXY_ACKNOWLEDGEMENT,
    BindingRevocationIndication: Kind.REVOCATION,
    BindingRevocationAcknowledgement: Kind.REVOCATION_ACKNOWLEDGEMENT,
}
_ANNOUNCED: dict[RouteKind, Kind] = {
    RouteKind.HOME: Kind.HOME_ROUTE,
    RouteKind.MNP: Kind.SITE_ROUTE,
    RouteKind.LEAK: Kind.LEAK,
}
_WITHDRAWN: dict[RouteKind, Kind] = {
    RouteKind.HOME: Kind.HOME_ROUTE,
    RouteKind.MNP: Kind.SITE_ROUTE_WITHDRAWN,
    RouteKind.LEAK: Kind.LEAK_WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was seen of a mobile router with some number of prefixes."""

    sent: Mapping[Scenario, Counter[Sent]]
    """Messages by what they were for; BGP messages for one session each."""
    octets: Mapping[Kind, int]
    """The longest message of each kind."""
    bound_routes: int
    """Kernel routes of the Home Agent that it is bound to."""
    proxied_routes: int
    """Of its primary, while it is bound to a proxy."""
    leaked_routes: int
    """Of every other border Home Agent, for its leak."""


@cache
def rehearse(prefixes: int, sites: int) -> Rehearsal:
    """One mobile router with so many /64 prefixes in a Home of so many sites."""
    stage = _Stage(prefixes, sites)
    stage.attach(1)
    stage.play(Scenario.LOCAL_DIRECT, 1, 60)
    stage.play(Scenario.REFRESH_DIRECT, None, _LIFETIME / 2)
    stage.play(Scenario.AWAY, 2, 60)
    stage.play(Scenario.LOCAL_PROXY, 2, 60)
    stage.play(Scenario.LOCAL_PROXY_RENEWED, 2, _LIFETIME / 2)
    stage.play(Scenario.REFRESH_PROXY, None, _LIFETIME / 2)
    stage.play(Scenario.ON, 3, 60)
    bound, proxied = stage.routes(3, Metric.BINDING), stage.routes(1, Metric.PROXIED)
    leaked = stage.routes(2, Metric.LEAK)
    stage.play(Scenario.BACK, 1, 60)
    octets: dict[Kind, int] = resolution_octets(_HOME_ADDRESS, stage.prefixes, _MESH)
    for counted in stage.sent.values():
        for one in counted:
            octets[one.kind] = max(octets.get(one.kind, 0), one.octets)
    return Rehearsal(stage.sent, octets, bound, proxied, leaked)


class _Stage:
    """Delivers every packet and every route at once, and writes down who sent what."""

    def __init__(self, prefixes: int, sites: int) -> None:
        self.prefixes = tuple(Prefix.parse(f"2001:db8:1:{0x100 + one:x}::/64") for one in range(prefixes))
        self.sent: dict[Scenario, Counter[Sent]] = {}
        peers = [_peer(index) for index in range(1, max(sites, len(_PLAYED)) + 1)]
        self._now = Now(1000.0, _WALL)
        self._configs = {index: _config(index, peers, self.prefixes) for index in _PLAYED}
        self._agents = {index: HomeAgent(config, Random(index)) for index, config in self._configs.items()}
        self._index_of = {one: i for i, peer in enumerate(peers, 1) for one in (peer.outer, peer.haha)}
        router = MobileRouterConfig("mr", _HOME_ADDRESS, self.prefixes, _KEY, _LIFETIME)
        self._mobile = MobileRouter(router, first_sequence=0)
        self._site, self._former = 1, 1
        self._attachments = 0
        self._scenario: Scenario | None = None
        for index, agent in self._agents.items():
            agent.start((), self._now)
            for peer in peers[:sites]:
                if peer is not peers[index - 1]:
                    agent.routes.session_changed(peer.haha, True, self._now.monotonic)
        self._settle()

    def attach(self, site: int) -> None:
        """A new care-of address near a site."""
        self._former, self._site = self._site, site
        self._attachments += 1
        care_of_address = Address.parse(f"3fff:f{site:02x}::{self._attachments:x}")
        self._mobile.attached(care_of_address, self._now)
        self._settle()

    def play(self, scenario: Scenario, site: int | None, seconds: float) -> None:
        """After some time, attach near a site; with None do what is due then."""
        self._now = Now(self._now.monotonic + seconds, self._now.wall + seconds)
        self._scenario = scenario
        self.sent[scenario] = Counter()
        if site is None:
            self._former = self._site
            self._mobile.handle_timer(self._now)
            self._settle()
        else:
            self.attach(site)

    def routes(self, index: int, metric: Metric) -> int:
        """How many routes of this metric a Home Agent has."""
        return sum(route.metric == metric for route in self._agents[index].wanted.routes())

    def _side(self, index: int) -> Side:
        if index == self._site:
            return Side.HERE
        return Side.FORMER if index == self._former else Side.PRIMARY

    def _note(self, kind: Kind | None, ends: tuple[int, ...], octets: int) -> None:
        if self._scenario is not None and kind is not None:
            self.sent[self._scenario][Sent(kind, tuple(map(self._side, ends)), octets)] += 1

    def _settle(self) -> None:
        while True:
            effects: list[tuple[int, object]] = [(0, effect) for effect in self._mobile.take_effects()]
            for index, agent in self._agents.items():
                effects += [(index, effect) for effect in agent.take_effects()]
            if not effects:
                return
            # A little time goes by, so that timestamps differ.
            self._now = Now(self._now.monotonic + 0.001, self._now.wall + 0.001)
            for index, effect in effects:
                if isinstance(effect, Transmit):
                    self._deliver(effect.packet)
                elif isinstance(effect, Rebind):
                    for one in consequences(effect.before, effect.after, self._configs[index]):
                        self._tell(index, one)
                elif isinstance(effect, Announce | Withdraw):
                    self._tell(index, effect)

    def _deliver(self, packet: bytes) -> None:
        parsed = parse_packet(packet)
        source = self._index_of.get(parsed.source)
        destination = self._index_of.get(parsed.destination)
        if isinstance(parsed, IcmpPacket):
            self._deliver_discovery(parsed, packet)
            return
        ends = tuple(one for one in (source, destination) if one is not None)
        kinds = _BETWEEN_HOME_AGENTS if len(ends) == 2 else _TO_MOBILE
        self._note(kinds.get(type(decode(parsed))), ends, len(packet))
        self._receive(parsed, destination)

    def _receive(self, packet: MobilityPacket, destination: int | None) -> None:
        if destination is None:
            self._mobile.receive_mobility(packet, self._now)
        elif destination in self._agents:
            self._agents[destination].receive_mobility(packet, self._now)

    def _deliver_discovery(self, packet: IcmpPacket, octets: bytes) -> None:
        message = decode_icmpv6(packet.message, packet.source, packet.checksum_destination)
        self._note(_TO_MOBILE.get(type(message)), (self._site,), len(octets))
        if isinstance(message, HomeAgentDiscoveryReply):
            self._mobile.receive_discovery(message, self._now)
        elif isinstance(message, HomeAgentDiscoveryRequest):
            self._agents[self._site].receive_discovery(packet, self._now)

    def _tell(self, index: int, effect: Effect) -> None:
        if not isinstance(effect, Announce | Withdraw):
            return
        told = effect.announcement
        if isinstance(effect, Announce):
            message = bgp_update.announcement(told.prefix, path_attributes(told, _ASN))
            kind = _ANNOUNCED.get(told.kind)
        else:
            message = bgp_update.withdrawal(told.prefix)
            kind = _WITHDRAWN.get(told.kind)
        self._note(kind, (index,), bgp_update.TCP_AND_IPV6_OCTETS + len(message))
        if told.audience is not Audience.MESH:
            return
        by = self._configs[index].haha
        for other, agent in self._agents.items():
            if other != index and isinstance(effect, Announce):
                agent.routes.learn(LearnedRoute(by, told.kind, told.prefix, told.next_hop, told.sequence))
            elif other != index:
                agent.routes.forget(by, told.prefix)


def _peer(index: int) -> Peer:
    return Peer(
        name=f"ha{index}",
        site=f"site{index}",
        outer=Address.parse(f"3fff:{index:x}::a"),
        haha=Address.parse(f"2001:db8:ffff::{index:x}"),
        partition=Prefix.parse(f"2001:db8:{index:x}::/48"),
    )


def _config(index: int, peers: list[Peer], prefixes: tuple[Prefix, ...]) -> HomeAgentConfig:
    own = peers[index - 1]
    return HomeAgentConfig(
        name=own.name,
        site=own.site,
        outer=own.outer,
        haha=own.haha,
        home=_HOME,
        partition=own.partition,
        site_router=Address.parse(f"3fff:{index:x}::1"),
        asn=_ASN,
        peers=tuple(peer for peer in peers if peer is not own),
        mesh=_MESH,
        mobile_routers={_HOME_ADDRESS: MobileRouterPolicy("mr", _HOME_ADDRESS, prefixes, (_KEY,))},
        max_binding_lifetime=_LIFETIME,
        min_sites_reached=0,
    )
