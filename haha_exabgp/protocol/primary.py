"""The primary's side of a proxy binding: a proxy registers a mobile router with us (draft s.5.2.2).

The proxy relays the mobile router's own Binding Update whole, and that is what counts: a proxy can say
where a mobile router is only as far as the mobile router has said so, and the order of its updates
holds across proxies.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from ..wire.address import Address
from ..wire.codes import BindingUpdateFlag, RevocationTrigger, Status
from ..wire.errors import MalformedPacket
from ..wire.haha_options import (
    AddressRole,
    BindingCacheInformation,
    HahaAddress,
    LeakDamping,
    MobilitySequence,
    RelayedPart,
    join_relayed,
)
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import (
    BindingAcknowledgement,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
)
from ..wire.mobility import decode_unchecked
from ..wire.options import MobileNetworkPrefix, MobilityOption, ReplayProtection, first_option
from .answers import response_flags
from .binding import Binding, BindingKind
from .bindings import Bindings, next_sequence
from .drops import Drop
from .home import MobileRouterPolicy, Peer
from .messages import (
    acknowledgement_packet,
    authenticate,
    authentication_fault,
    identified_home_address,
    identify,
    revocation_packet,
)
from .node import Node
from .registration import RELAYED, Refused, judge
from .request import Request, read_request
from .revocation import Revocation, Revocations
from .routes import LearnedRoute
from .time import Now


class Primary:
    """Answers proxies, and tells a proxy when it has lost a mobile router."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        first_sequence: int,
        owner: Callable[[Address], Peer | None],
    ) -> None:
        """`owner(home_address)`: which other Home Agent owns it; None: we do, if anybody."""
        self._node = node
        self._owner = owner
        self._bindings = bindings
        self._revocations = Revocations(first_sequence)
        self._leaks: list[LearnedRoute] = []
        """Those learned since the last timer."""

    def receive_update(self, packet: MobilityPacket, update: BindingUpdate, peer: Peer, now: Now) -> None:
        """A proxy's Binding Update."""
        node = self._node
        home_address = packet.home_address
        if home_address is None or packet.destination != node.config.haha:
            node.drop(Drop.NOT_FOR_US)
            return
        hop = read_request(update, packet.source, home_address)
        fault = authentication_fault(packet.header, packet.source, home_address, node.config.mesh)
        fault = fault or node.hear(peer, home_address, hop.timestamp, now)
        if fault is None and hop.care_of_address != packet.source:
            fault = Drop.NOT_FROM_ITS_CARE_OF_ADDRESS
        if fault is not None:
            node.drop(fault)
            return
        policy = node.config.mobile_routers.get(home_address)
        if policy is None or not node.config.is_primary_for(home_address):
            self._refuse(hop, peer, Status.NOT_HOME_SUBNET, now)
            return
        owner = self._owner(home_address)
        if owner is not None:
            self._refuse(hop, peer, Status.INSUFFICIENT_RESOURCES, now, instead=owner)
            return
        option = first_option(update.options, MobilitySequence)
        rival = option.sequence if option is not None else 0
        if peer.is_satellite and first_option(update.options, RelayedPart) is None:
            self._move(hop, peer, rival, now)
            return
        request = _read_relayed(update, policy)
        if request is None:
            node.drop(Drop.BAD_RELAYED_UPDATE)
        is_primary = peer.is_primary_for(home_address)
        if request is None or not policy.admits(peer.name, is_primary=is_primary):
            self._refuse(hop, peer, Status.ADMINISTRATIVELY_PROHIBITED, now)
            return
        self._register(hop, request, peer, rival, now)

    def bound(self, before: Binding | None, after: Binding, now: Now) -> None:
        """A binding has been made or changed: a proxy that held it before and no longer does is told."""
        if after.peer is not None:
            self._revocations.cancel(after.home_address, after.peer)
        self._revoke(before, after.peer, after.mobility_sequence, now, RevocationTrigger.HANDOVER_UNKNOWN)

    def released(
        self,
        before: Binding | None,
        requester: Address | None,
        now: Now,
        trigger: RevocationTrigger = RevocationTrigger.USER_ENDED_SESSION,
    ) -> None:
        """The mobile router has de-registered, directly or through the proxy `requester`, or for another
        reason its binding has ended: another proxy that held the binding is told."""
        if before is not None:
            self._revoke(before, requester, next_sequence(before), now, trigger)

    def receive_revocation_acknowledgement(
        self, packet: MobilityPacket, message: BindingRevocationAcknowledgement, peer: Peer
    ) -> None:
        """A proxy has given a binding up."""
        node = self._node
        home_address = identified_home_address(message.options)
        if home_address is None:
            node.drop(Drop.UNEXPECTED_MESSAGE)
            return
        fault = authentication_fault(packet.header, node.config.haha, home_address, node.config.mesh)
        if fault is not None:
            node.drop(fault)
        elif not self._revocations.acknowledged(home_address, peer.haha, message.sequence):
            node.drop(Drop.NOT_OUTSTANDING)

    def leak_learned(self, route: LearnedRoute) -> None:
        """Another Home Agent leaks a prefix. If that is of an attachment before the present one, it has not
        heard of its revocation: after a restart, we do not know either whom we were telling."""
        binding = self._bindings.holder(route.prefix)
        if binding is not None and binding.kind in (BindingKind.DIRECT, BindingKind.PROXIED):
            self._leaks.append(route)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return 0.0 if self._leaks else self._revocations.next_timer()

    def handle_timer(self, now: Now) -> None:
        """Send what is due, and again what was not acknowledged."""
        for route in self._leaks:
            self._revoke_lagging(route, now)
        self._leaks.clear()
        for revocation in self._revocations.due(now):
            self._node.transmit(self._revocation_packet(revocation, now))

    def _revoke_lagging(self, route: LearnedRoute, now: Now) -> None:
        binding, holder = self._bindings.holder(route.prefix), route.next_hop
        if binding is None or binding.peer == holder or route.sequence >= binding.mobility_sequence:
            return
        if not self._revocations.is_pending(binding.home_address, holder):
            revocation = self._revocations.start(binding, holder, binding.mobility_sequence, now)
            self._node.transmit(self._revocation_packet(revocation, now))

    def _revoke(
        self,
        before: Binding | None,
        holder: Address | None,
        sequence: int,
        now: Now,
        trigger: RevocationTrigger,
    ) -> None:
        if before is None or before.peer is None or before.peer == holder:
            return
        revocation = self._revocations.start(before, before.peer, sequence, now, trigger)
        self._node.transmit(self._revocation_packet(revocation, now))

    def _move(self, hop: Request, peer: Peer, rival: int, now: Now) -> None:
        """A satellite hangs under another parent. The mobile router has said that it is at that satellite,
        and need not say so again."""
        current = self._bindings.cache.get(hop.home_address)
        remaining = int(current.expires - now.monotonic) // 4 * 4 if current is not None else 0
        if current is None or current.peer != peer.haha or hop.deregisters or not remaining:
            self._refuse(hop, peer, Status.NOT_HOME_AGENT, now)
            return
        binding = self._bindings.move_proxied(current, hop.care_of_address, rival, now)
        self._acknowledge_binding(hop, peer, binding, Status.ACCEPTED, remaining, now)

    def _register(self, hop: Request, request: Request, peer: Peer, rival: int, now: Now) -> None:
        context = self._bindings.context(request.home_address, now, peer.haha)
        verdict = judge(request, context, RELAYED)
        if isinstance(verdict, Drop):
            source = request.care_of_address
            self._node.refused(request.home_address, verdict, source, now, proxy=peer.haha)
        elif isinstance(verdict, Refused):
            self._refuse(
                hop,
                peer,
                verdict.status,
                now,
                last_accepted=verdict.sequence,
                care_of_address=request.care_of_address,
            )
        elif request.deregisters:
            self._bindings.deregister(request, now)
            self.released(context.current, peer.haha, now)
            self._acknowledge(hop, peer, Status.ACCEPTED)
        else:
            proxy = peer.haha, hop.care_of_address
            binding = self._bindings.bind_as_primary(request, proxy, verdict, now, rival)
            self.bound(context.current, binding, now)
            self._acknowledge_binding(hop, peer, binding, verdict.status, verdict.lifetime, now)

    def _acknowledge_binding(  # noqa: PLR0917  (private, and both callers are in this file)
        self, hop: Request, peer: Peer, binding: Binding, status: int, lifetime: int, now: Now
    ) -> None:
        options: list[MobilityOption] = [MobileNetworkPrefix(prefix) for prefix in binding.prefixes]
        damped = self._bindings.damping.left(binding.home_address, now.monotonic)
        if damped > 0:
            options.append(LeakDamping(ceil(damped)))
        options.append(MobilitySequence(binding.mobility_sequence))
        self._acknowledge(hop, peer, status, lifetime=lifetime, options=tuple(options))

    def _refuse(
        self,
        hop: Request,
        peer: Peer,
        status: Status,
        now: Now,
        *,
        last_accepted: int | None = None,
        care_of_address: Address | None = None,
        instead: Peer | None = None,
    ) -> None:
        home_address = hop.home_address
        source = care_of_address or peer.haha
        self._node.refused(home_address, status, source, now, proxy=peer.haha)
        options: tuple[MobilityOption, ...] = ()
        if status is Status.SEQUENCE_OUT_OF_WINDOW and last_accepted is not None:
            # The acknowledgement's own number is the proxy's: this is what the mobile router has to outdo.
            no_flag = BindingUpdateFlag(0)
            options = (BindingCacheInformation(no_flag, last_accepted, 0, home_address, peer.haha),)
        if instead is not None:
            options = (HahaAddress(AddressRole.HOME_AGENT, instead.haha),)
        self._acknowledge(hop, peer, status, options=options)

    def _acknowledge(
        self,
        hop: Request,
        peer: Peer,
        status: int,
        *,
        lifetime: int = 0,
        options: tuple[MobilityOption, ...] = (),
    ) -> None:
        config = self._node.config
        assert hop.timestamp is not None  # else it was not heard
        stamp = ReplayProtection(hop.timestamp)
        message = BindingAcknowledgement(
            status, response_flags(hop), hop.sequence, lifetime, (*options, stamp)
        )
        proxy = hop.care_of_address
        packet = acknowledgement_packet(
            config.haha, proxy, hop.home_address, message, config.mesh, care_of_address=proxy
        )
        self._node.transmit(packet)

    def _revocation_packet(self, revocation: Revocation, now: Now) -> bytes:
        config = self._node.config
        message = BindingRevocationIndication(
            revocation.trigger,
            revocation.sequence,
            options=(
                identify(revocation.home_address),
                ReplayProtection(self._node.stamp(now)),
                MobilitySequence(revocation.mobility_sequence),
            ),
        )
        return revocation_packet(
            config.haha, revocation.address, revocation.home_address, message, config.mesh
        )


def _read_relayed(update: BindingUpdate, policy: MobileRouterPolicy) -> Request | None:
    """The mobile router's own Binding Update inside a proxy's; None when it is not authentic."""
    try:
        relayed = join_relayed(update.options)
        message = decode_unchecked(relayed.header) if relayed is not None else None
    except MalformedPacket:
        return None
    if relayed is None or not isinstance(message, BindingUpdate):
        return None
    request = read_request(message, relayed.care_of_address, policy.home_address, policy.replay)
    _, fault = authenticate(relayed.header, request.care_of_address, policy.home_address, policy.associations)
    return request if fault is None else None
