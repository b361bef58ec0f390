"""A mobile router, what it sends, and time: Home Agents answer as each test wants."""

from __future__ import annotations

from collections.abc import Sequence

from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.protocol.home import SecurityAssociation
from haha_exabgp.protocol.messages import acknowledgement_packet
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import (
    CloseTunnel,
    MobileRouterConfig,
    MobileRouterEffect,
    State,
    UseHomeLink,
    UseTunnel,
)
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.codes import BindingAcknowledgementFlag
from haha_exabgp.wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    MobilePrefixSolicitation,
    decode_icmpv6,
)
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, parse_packet
from haha_exabgp.wire.mobility import BindingAcknowledgement, BindingUpdate, decode_mobility
from haha_exabgp.wire.options import MobilityOption, ReplayProtection, first_option

HOA = Address.parse("2001:db8:1:1::10")
MNP = Prefix.parse("2001:db8:1:100::/64")
ASSOCIATION = SecurityAssociation(4096, bytes(range(16)))
CONFIG = MobileRouterConfig("mr1", HOA, (MNP,), ASSOCIATION, lifetime=600)
HERE, THERE = Address.parse("3fff:f01::aa"), Address.parse("3fff:f02::aa")
HA1, HA2, HA3 = (Address.parse(f"3fff:10{i}::a") for i in (1, 2, 3))
WALL = 1_700_000_000.0
ROUTER = BindingAcknowledgementFlag.MOBILE_ROUTER


class Sent:
    """One Binding Update that left."""

    def __init__(self, at: float, packet: MobilityPacket) -> None:
        message = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
        assert isinstance(message, BindingUpdate)
        assert packet.home_address == HOA or (packet.home_address is None and packet.source == HOA)
        self.at, self.to, self.source, self.update = at, packet.destination, packet.source, message
        self.header = packet.header
        self.has_home_address_option = packet.home_address is not None
        stamp = first_option(message.options, ReplayProtection)
        self.timestamp = 0 if stamp is None else stamp.timestamp
        self.is_stamped = stamp is not None


class Bench:
    """A mobile router, what it sends, and time. Discovery is answered with `home_agents` at once."""

    def __init__(self, config: MobileRouterConfig = CONFIG, first_sequence: int = 100) -> None:
        self.mobile_router = MobileRouter(config, first_sequence)
        self.now = Now(1000.0, WALL)
        self.updates: list[Sent] = []
        self.requests: list[float] = []
        self.solicitations: list[tuple[float, MobilePrefixSolicitation, IcmpPacket]] = []
        self.effects: list[MobileRouterEffect] = []
        self.home_agents: tuple[Address, ...] | None = (HA1, HA2, HA3)

    @property
    def state(self) -> State:
        return self.mobile_router.state

    def settle(self) -> None:
        for effect in self.mobile_router.take_effects():
            self.effects.append(effect)
            if not isinstance(effect, Transmit):
                continue
            packet = parse_packet(effect.packet)
            if isinstance(packet, MobilityPacket):
                self.updates.append(Sent(self.now.monotonic, packet))
                continue
            request = decode_icmpv6(packet.message, packet.checksum_source, packet.destination)
            if isinstance(request, MobilePrefixSolicitation):
                self.solicitations.append((self.now.monotonic, request, packet))
                continue
            self.requests.append(self.now.monotonic)
            assert isinstance(request, HomeAgentDiscoveryRequest) and request.mobile_router
            assert packet.destination == home_agents_anycast(Prefix.of(HOA, 64))
            self.identifier = request.identifier
            if self.home_agents is not None:
                self.discovered(request.identifier, self.home_agents)

    def discovered(self, identifier: int, addresses: Sequence[Address]) -> None:
        self.mobile_router.receive_discovery(
            HomeAgentDiscoveryReply(identifier, True, tuple(addresses)), self.now
        )
        self.settle()

    def attach(self, care_of_address: Address = HERE) -> None:
        self.mobile_router.attached(care_of_address, self.now)
        self.settle()

    def pass_time(self, seconds: float, *, jump: float = 0.0) -> None:
        """Every timer at its moment; `jump` sets the wall clock by so much first."""
        self.now = Now(self.now.monotonic, self.now.wall + jump)
        end = self.now.monotonic + seconds
        while (due := self.mobile_router.next_timer()) is not None and due <= end:
            assert due >= self.now.monotonic - 1e-9, "a timer that was due already has not been consumed"
            self._step(due - self.now.monotonic)
            self.mobile_router.handle_timer(self.now)
            self.settle()
        self._step(end - self.now.monotonic)

    def next_update(self) -> Sent:
        """Wait for the next Binding Update to leave."""
        seen = len(self.updates)
        while len(self.updates) == seen:
            due = self.mobile_router.next_timer()
            assert due is not None, "nothing is going to happen any more"
            self.pass_time(max(due - self.now.monotonic, 0.0))
        return self.updates[seen]

    def _step(self, seconds: float) -> None:
        self.now = Now(self.now.monotonic + seconds, self.now.wall + seconds)

    def answer(
        self,
        sent: Sent,
        status: int = 0,
        *,
        lifetime: int | None = None,
        flags: BindingAcknowledgementFlag = ROUTER,
        sequence: int | None = None,
        stamp: int | None = None,
        key: SecurityAssociation = ASSOCIATION,
        source: Address | None = None,
        options: tuple[MobilityOption, ...] = (),
    ) -> None:
        stamps = (ReplayProtection(sent.timestamp if stamp is None else stamp),) if sent.is_stamped else ()
        message = BindingAcknowledgement(
            status,
            flags,
            sent.update.sequence if sequence is None else sequence,
            (sent.update.lifetime if status < 128 else 0) if lifetime is None else lifetime,
            (*stamps, *options),
        )
        packet = acknowledgement_packet(
            source or sent.to, sent.source, HOA, message, key, care_of_address=sent.source
        )
        self.receive(packet)

    def receive(self, packet: bytes) -> None:
        """A packet with a Mobility Header comes in."""
        received = parse_packet(packet)
        assert isinstance(received, MobilityPacket)
        self.mobile_router.receive_mobility(received, self.now)
        self.settle()

    def bind(self, care_of_address: Address = HERE) -> None:
        """Attached, and bound to the first of the list."""
        self.attach(care_of_address)
        self.answer(self.updates[-1])
        assert self.state is State.BOUND

    def tunnels(self) -> list[MobileRouterEffect]:
        return [
            effect for effect in self.effects if isinstance(effect, UseTunnel | UseHomeLink | CloseTunnel)
        ]
