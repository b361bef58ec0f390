"""What a parent does for its satellites: secondary bindings (draft s.5.3.1).

A satellite tells us of a mobile router that is bound there and belongs to another primary site. We route it
to the satellite, tell our site, and leak it for the satellite, which is not in the exchange of primaries.
Rules:

1. A satellite is believed as a proxy is, for what the policy of the mobile router allows; it speaks by the
   address that we lend.
2. The mobility sequence decides, as between leaks: what is known here of a later attachment is kept.
3. A secondary binding ends with its lifetime, when the satellite says so, when the mobile router is leaked by
   another with a higher sequence, and `PATIENCE` after the satellite's session has gone down. Then packets
   take the partition's route, which was there all the time.
"""

from __future__ import annotations

from ..wire.address import Address
from ..wire.codes import Status
from ..wire.haha_options import BindingCacheInformation, LeakDamping, MobilitySequence
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import BindingAcknowledgement, BindingUpdate
from ..wire.options import MobileNetworkPrefix, ReplayProtection, every_option, first_option
from .answers import response_flags
from .binding import Binding, BindingKind, Ending, Order
from .bindings import Bindings
from .deadlines import Deadlines
from .drops import Drop
from .home import Peer
from .messages import acknowledgement_packet, authentication_fault
from .node import Node
from .request import Request, read_request
from .time import Now

PATIENCE = 30.0
"""Seconds without a session to a satellite, for ExaBGP may just be restarted there. What it has under another
parent by now has a higher mobility sequence, which needs no patience."""


class Parent:
    """Answers the satellites of this site."""

    def __init__(self, node: Node, bindings: Bindings) -> None:
        self._node = node
        self._bindings = bindings
        self._unreached: Deadlines[Address] = Deadlines()
        """Satellites, by their HAHA addresses."""

    def receive_update(self, packet: MobilityPacket, update: BindingUpdate, peer: Peer, now: Now) -> None:
        """A satellite's Binding Update for a secondary binding: one without the H flag."""
        node = self._node
        home_address = packet.home_address
        if home_address is None or packet.destination != node.config.haha:
            node.drop(Drop.NOT_FOR_US)
            return
        if not any(lent.address == packet.source and lent.parent == node.config.site for lent in peer.lent):
            node.drop(Drop.NOT_FROM_ITS_CARE_OF_ADDRESS)
            return
        hop = read_request(update, packet.source, home_address)
        fault = authentication_fault(packet.header, packet.source, home_address, node.config.mesh)
        fault = fault or node.hear(peer, home_address, hop.timestamp, now)
        if fault is not None:
            node.drop(fault)
            return
        sequence = first_option(update.options, MobilitySequence)
        if sequence is None:
            node.drop(Drop.UNEXPECTED_MESSAGE)
        elif hop.deregisters:
            self._release(hop, peer, sequence.sequence)
        else:
            self._bind(hop, update, peer, sequence.sequence, now)

    def session_changed(self, peer: Address, up: bool, now: float) -> None:
        """A BGP session has come up or gone down."""
        is_satellite = any(one.is_satellite for one in self._node.config.adjacent if one.haha == peer)
        if up or not is_satellite:
            self._unreached.cancel(peer)
        else:
            self._unreached.set(peer, now + PATIENCE)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return self._unreached.next()

    def handle_timer(self, now: Now) -> None:
        """End what satellites have told that are gone."""
        gone = set(self._unreached.due(now.monotonic))
        if not gone:
            return
        for binding in list(self._bindings.cache):
            if binding.kind is BindingKind.SECONDARY and binding.peer in gone:
                self._bindings.end(binding, Ending.UNREACHED)

    def _bind(self, hop: Request, update: BindingUpdate, peer: Peer, sequence: int, now: Now) -> None:
        prefixes = tuple(option.prefix for option in every_option(update.options, MobileNetworkPrefix))
        lifetime = min(hop.lifetime, self._node.config.max_binding_lifetime) // 4 * 4
        last = self._bindings.cache.last(hop.home_address)
        known = first_option(update.options, BindingCacheInformation)
        binding = Binding(
            hop.home_address,
            hop.care_of_address,
            prefixes,
            hop.mobile_router,
            BindingKind.SECONDARY,
            # Mobile routers count on for all Home Agents, so what this one said there is old here too.
            Order(
                last.order.timestamp if last is not None else 0, known.sequence if known is not None else 0
            ),
            sequence,
            peer.haha,
            now.wall,
            now.monotonic + lifetime,
        )
        status = self._objection(binding)
        if status is not None:
            self._node.counters[f"secondary_refused_{int(status)}"] += 1
            self._acknowledge(hop, peer, status, 0)
            return
        self._node.counters["secondary_accepted"] += 1
        damping = first_option(update.options, LeakDamping)
        seconds = damping.seconds if damping is not None else 0
        self._bindings.leaks.damp(hop.home_address, seconds, now.monotonic)
        self._bindings.bind_secondary(binding, now)
        self._acknowledge(hop, peer, Status.ACCEPTED, lifetime)

    def _objection(self, binding: Binding) -> Status | None:
        config, bindings = self._node.config, self._bindings
        current = bindings.cache.get(binding.home_address)
        if not bindings.is_allowed(binding):
            return Status.ADMINISTRATIVELY_PROHIBITED
        if current is None and len(bindings.cache) >= config.max_bindings:
            return Status.INSUFFICIENT_RESOURCES
        held = [bindings.holder(prefix) for prefix in binding.prefixes]
        if any(one is not None and one.home_address != binding.home_address for one in held):
            return Status.INVALID_PREFIX
        last = bindings.cache.last(binding.home_address)
        is_ours = current is None or current.kind is BindingKind.SECONDARY
        latest = last.mobility_sequence + (not is_ours) if last is not None else 0
        if binding.mobility_sequence < max(latest, bindings.rival_sequence(binding.home_address)):
            return Status.SEQUENCE_OUT_OF_WINDOW
        return None

    def _release(self, hop: Request, peer: Peer, sequence: int) -> None:
        current = self._bindings.cache.get(hop.home_address)
        is_it = current is not None and (current.kind, current.peer) == (BindingKind.SECONDARY, peer.haha)
        if current is not None and is_it and sequence >= current.mobility_sequence:
            self._bindings.end(current, Ending.DEREGISTERED)
        self._acknowledge(hop, peer, Status.ACCEPTED, 0)

    def _acknowledge(self, hop: Request, peer: Peer, status: int, lifetime: int) -> None:
        config = self._node.config
        assert hop.timestamp is not None  # else it was not heard
        message = BindingAcknowledgement(
            status, response_flags(hop), hop.sequence, lifetime, (ReplayProtection(hop.timestamp),)
        )
        address = hop.care_of_address
        self._node.transmit(
            acknowledgement_packet(
                config.haha, address, hop.home_address, message, config.mesh, care_of_address=address
            )
        )
