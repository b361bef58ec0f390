"""A mobile router or plain mobile node, with the access networks that it is in and the tunnel it uses."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Protocol

from ..protocol.effects import Note, Transmit
from ..protocol.mobile_router import MobileRouter
from ..protocol.mobility import AcceptFrom, CloseTunnel, MobileRouterConfig, State, UseTunnel
from ..protocol.time import Now
from ..wire.address import Address, Prefix
from ..wire.errors import MalformedPacket
from ..wire.icmpv6 import HomeAgentDiscoveryReply, MobilePrefixAdvertisement, decode_icmpv6
from ..wire.ipv6 import IcmpPacket, MobilityPacket, parse_packet
from .clock import HostClock
from .home import access_address
from .packets import Flow, Packet, signalling
from .timer import ProcessTimer
from .world import World

_DESTINATION_OPTIONS = 60
_BINDING_UPDATE = 5


class MobileRouterObserver(Protocol):
    """Who looks on, and finds fault."""

    def came_to(self, care_of_address: Address, packet: Packet) -> None:
        """The network has brought a packet to a care-of address, whoever is there."""

    def delivered(self, host: MobileRouterHost, packet: Packet) -> None:
        """A data packet has come out of the tunnel."""

    def came(self, host: MobileRouterHost, care_of_address: Address) -> None:
        """It is attached there now."""

    def left(self, host: MobileRouterHost, care_of_address: Address) -> None:
        """It is attached there no more."""


class _Access:
    """One care-of address of one mobile router, in the network that it is of."""

    def __init__(self, region: int, address: Address, host: MobileRouterHost) -> None:
        self.region = region
        self.address = address
        self._host = host
        self.works = False
        self.uses = 0
        """How often it has been attached here."""

    def arrive(self, packet: Packet) -> None:
        self._host.observer.came_to(self.address, packet)
        if self.works:
            self._host.receive(packet)


class MobileRouterHost:
    """One of them; its networks are behind it and never fail."""

    def __init__(
        self,
        config: MobileRouterConfig,
        networks: tuple[Prefix, ...],
        world: World,
        clock: HostClock,
        observer: MobileRouterObserver,
        *,
        goes_on_counting: bool,
    ) -> None:
        """`goes_on_counting`: it remembers the number of its last Binding Update when it is started anew."""
        self.config = config
        self.name = config.name
        self.home_address = config.home_address
        self.networks = networks
        self.clock = clock
        self._loop = world.loop
        self._network = world.network
        self._random = world.random
        self._trace = world.trace
        self.observer = observer
        self._goes_on_counting = goes_on_counting
        self._last_number: int | None = None
        """Of its last Binding Update."""
        self._accesses: dict[Address, _Access] = {}
        self._timer = ProcessTimer(world.loop, clock, self._on_time)
        self.access: _Access | None = None
        """Where the machine thinks that it is attached."""
        self.attached_at = 0.0
        self.tunnel: UseTunnel | None = None
        self.core = self._new_core()

    def _new_core(self) -> MobileRouter:
        self._timer.cancel()
        self.tunnel = None
        first_sequence, chance = self._random.randrange(65536), Random(self._random.getrandbits(64))
        if self._goes_on_counting and self._last_number is not None:
            first_sequence = (self._last_number + 1) % 65536
        return MobileRouter(self.config, first_sequence, chance)

    # What happens to it

    def attach(self, region: int, point: int, overlap: float) -> None:
        """It is beside another access point now; the former access works for `overlap` seconds."""
        address = access_address(region, point, self.home_address)
        if self.access is not None and self.access.address == address:
            return
        self._leave(overlap)
        access = self._accesses.get(address)
        if access is None:
            access = self._accesses[address] = _Access(region, address, self)
            self._network.add(address, access)
            self._trace.care_of_addresses[address] = self.home_address
        access.works = True
        access.uses += 1
        self.access, self.attached_at = access, self._loop.now
        self.observer.came(self, address)
        self._trace.add(self.home_address, self.name, "attached in region %d: CoA %s", region + 1, address)
        self.core.attached(address, self.clock.read())
        self._carry_out()

    def detach(self) -> None:
        """No access network any more."""
        if self.access is not None:
            self._leave(0.0)
            self.access = None
            self._trace.add(self.home_address, self.name, "detached")
            self.core.detached()
            self._carry_out()

    def stop(self) -> None:
        """An orderly end: it de-registers."""
        self._trace.add(self.home_address, self.name, "stops")
        self.core.stop(self.clock.read())
        self._carry_out()

    def restart(self) -> None:
        """Its process is killed, or had stopped, and is started again; it forgets all."""
        self._trace.add(self.home_address, self.name, "starts anew")
        self.core = self._new_core()
        if self.access is not None:
            self.attached_at = self._loop.now
            self.core.attached(self.access.address, self.clock.read())
        self._carry_out()

    @property
    def is_live(self) -> bool:
        """Attached, and wants to be reached."""
        return self.access is not None and self.core.state not in (State.LEAVING, State.STOPPED)

    def _leave(self, overlap: float) -> None:
        access = self.access
        if access is None:
            return
        self.observer.left(self, access.address)
        if overlap:
            self._loop.after(overlap, self._lose_access, access, access.uses)
        else:
            access.works = False

    def _lose_access(self, access: _Access, uses: int) -> None:
        if access is not self.access and access.uses == uses:
            access.works = False

    # In

    def receive(self, packet: Packet) -> None:
        """From an access network that works."""
        if packet.tunnels:
            self._receive_tunnelled(packet)
            return
        if packet.octets is None:
            return
        now = self.clock.read()
        try:
            parsed = parse_packet(packet.octets)
        except MalformedPacket:
            return
        if isinstance(parsed, MobilityPacket):
            self.core.receive_mobility(parsed, now)
        else:
            self._receive_icmp(parsed)
        self._carry_out()

    def _receive_icmp(self, packet: IcmpPacket) -> None:
        now = self.clock.read()
        message = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
        if isinstance(message, HomeAgentDiscoveryReply):
            self.core.receive_discovery(message, now)
        elif isinstance(message, MobilePrefixAdvertisement):
            self.core.receive_prefixes(packet, message, now)

    def _receive_tunnelled(self, packet: Packet) -> None:
        source, destination = packet.tunnels[-1]
        tunnel = self.tunnel
        if tunnel is None or destination != tunnel.care_of_address or source not in tunnel.accepted:
            return
        packet.tunnels = packet.tunnels[:-1]
        self.observer.delivered(self, packet)

    # Out

    def send_data(self, source: Address, destination: Address, flow: Flow) -> bool:
        """From its networks. False while there is no way out."""
        tunnel = self.tunnel
        if tunnel is None:
            return False
        packet = Packet(source, destination, flow=flow)
        packet.tunnels = ((tunnel.care_of_address, tunnel.home_agent),)
        return self._send(packet, tunnel.care_of_address)

    def _send(self, packet: Packet, care_of_address: Address) -> bool:
        access = self._accesses.get(care_of_address)
        if access is None or not access.works:
            return False
        self._network.send(packet, access.region)
        return True

    def _carry_out(self) -> None:
        for effect in self.core.take_effects():
            if isinstance(effect, Transmit):
                packet = signalling(effect.packet)
                if effect.packet[6] == _DESTINATION_OPTIONS and effect.packet[66] == _BINDING_UPDATE:
                    self._last_number = int.from_bytes(effect.packet[70:72], "big")
                self._trace.add_packet(self.name, effect.packet)
                self._send(packet, packet.source)
            elif isinstance(effect, UseTunnel):
                self.tunnel = effect
            elif isinstance(effect, AcceptFrom):
                if self.tunnel is not None:
                    self.tunnel = replace(self.tunnel, accepted=effect.accepted)
            elif isinstance(effect, CloseTunnel):
                self.tunnel = None
            elif isinstance(effect, Note):
                self._trace.add(self.home_address, self.name, effect.template, *effect.values)
        self._timer.set(self.core.next_timer())

    def _on_time(self, now: Now) -> None:
        self.core.handle_timer(now)
        self._carry_out()
