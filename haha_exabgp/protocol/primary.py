"""The primary's side of a proxy binding: a proxy registers a mobile router with us (draft s.5.2.2).

The proxy relays the mobile router's own Binding Update whole, and that is what counts: a proxy can say
where a mobile router is only as far as the mobile router has said so, and the order of its updates
holds across proxies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from typing import NamedTuple

from ..wire.address import Address
from ..wire.codes import BindingUpdateFlag, RevocationTrigger, Status
from ..wire.errors import MalformedPacket
from ..wire.haha_options import (
    AddressRole,
    BindingCacheInformation,
    HahaAddress,
    LeakDamping,
    MobilitySequence,
    RelayedAcknowledgement,
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
from .answers import acceptance, refusal, response_flags
from .binding import Binding, Order
from .bindings import Bindings, next_sequence
from .drops import Drop
from .home import Locate, MobileRouterPolicy, Peer, SecurityAssociation
from .messages import (
    aaa_fault,
    acknowledgement_header,
    acknowledgement_packet,
    authenticate,
    authentication_fault,
    bears_aaa,
    identified_home_address,
    identify,
    revocation_packet,
)
from .node import Node
from .registration import RELAYED, Refused, depends_on_others, judge
from .request import Request, read_request
from .revocation import Revocation, Revocations
from .routes import LearnedRoute
from .time import Now

Holds = Callable[[Address, Order, Callable[[Now], None], Now], bool]
"""`OwnerSearch.holds`."""


class Primary:
    """Answers proxies, and tells a proxy when it has lost a mobile router."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        first_sequence: int,
        owner: Callable[[Address], Peer | None],
        holds: Holds,
    ) -> None:
        """`owner(home_address)`: which other Home Agent owns it; None: we do, if anybody. `holds`: whether a
        Binding Update has to wait until others have been asked."""
        self._node = node
        self._owner = owner
        self._holds = holds
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
        policy = node.config.mobile_routers.get(home_address)
        is_ours = policy is not None and node.config.is_primary_for(home_address)
        if fault is None and is_ours:
            # Of home addresses that strangers make up nothing is remembered.
            fault = node.hear(peer, home_address, hop.timestamp, now)
        if fault is None and hop.timestamp is None:
            fault = Drop.REPLAYED
        if fault is None and hop.care_of_address != packet.source:
            fault = Drop.NOT_FROM_ITS_CARE_OF_ADDRESS
        if fault is not None:
            node.drop(fault)
            return
        if policy is None or not is_ours:
            self._refuse(hop, None, peer, Status.NOT_HOME_SUBNET, now)
            return
        owner = self._owner(home_address)
        if owner is not None:
            self._refuse(hop, None, peer, Status.INSUFFICIENT_RESOURCES, now, instead=owner)
            return
        option = first_option(update.options, MobilitySequence)
        rival = option.sequence if option is not None else 0
        if peer.is_satellite and first_option(update.options, RelayedPart) is None:
            self._move(hop, peer, rival, now)
        elif (relayed := _read_relayed(update, policy)) is None:
            node.drop(Drop.BAD_RELAYED_UPDATE)
            self._refuse(hop, None, peer, Status.ADMINISTRATIVELY_PROHIBITED, now)
        elif not peer.may_bind(policy):
            self._refuse(hop, relayed, peer, Status.ADMINISTRATIVELY_PROHIBITED, now)
        else:
            self._register(hop, relayed, peer, rival, now)

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
        """Another Home Agent leaks a prefix. If that is of an attachment before the last one, it has not
        heard of its revocation: after a restart, we do not know either whom we were telling."""
        if self._bindings.is_outdated(route) and not self._is_told_otherwise(route.next_hop):
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
        if not self._bindings.is_outdated(route):
            return
        binding, ended = self._bindings.holder(route.prefix), self._bindings.ended(route.prefix)
        for holder, address in self._leaked_for(route.next_hop):
            if binding is not None and binding.peer != holder:
                self._start_lagging(binding, holder, address, binding.mobility_sequence, now)
            elif binding is None and ended is not None and self._owner(ended.home_address) is None:
                # When what is held there ends, nobody remembers: no later than anything that was granted.
                until = now.monotonic + self._node.config.max_binding_lifetime
                lagging = ended._replace(expires=until)
                self._start_lagging(lagging, holder, address, next_sequence(ended), now)

    def _leaked_for(self, leaking: Address) -> Iterator[tuple[Address, Address]]:
        """Who may hold what a Home Agent leaks, and where each is reached: itself, or a satellite of its
        site, for which it does so. Who does not hold it says so."""
        yield leaking, leaking
        peers = self._node.config.peers
        sites = {peer.site for peer in peers if peer.haha == leaking}
        for peer in peers:
            yield from ((peer.haha, lent.address) for lent in peer.lent if lent.parent in sites)

    def _start_lagging(
        self, replaced: Binding, holder: Address, address: Address, sequence: int, now: Now
    ) -> None:
        if not self._revocations.is_pending(replaced.home_address, holder):
            revocation = self._revocations.start(replaced, holder, sequence, now, address=address)
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
        if before.care_of_address not in self._node.home_agents:
            # The mobile router's own: another that can be primary held it, and hears of this from us.
            return
        revocation = self._revocations.start(before, before.peer, sequence, now, trigger)
        self._node.transmit(self._revocation_packet(revocation, now))

    def _is_told_otherwise(self, haha: Address) -> bool:
        """Whether a Home Agent holds what it holds as a primary, and hears of a newer binding as such."""
        peers = self._node.config.peers
        return any(
            [
                peer.haha == haha and peer.locate is not Locate.PREDICTIVE and not peer.is_satellite
                for peer in peers
            ]
        )

    def _move(self, hop: Request, peer: Peer, rival: int, now: Now) -> None:
        """A satellite hangs under another parent. The mobile router has said that it is at that satellite,
        and need not say so again."""
        current = self._bindings.cache.get(hop.home_address)
        remaining = int(current.expires - now.monotonic) // 4 * 4 if current is not None else 0
        if current is None or current.peer != peer.haha or hop.deregisters or not remaining:
            self._refuse(hop, None, peer, Status.NOT_HOME_AGENT, now)
            return
        binding = self._bindings.move_proxied(current, hop.care_of_address, rival, now)
        options = self._told(binding, now)
        self._acknowledge(hop, peer, Status.ACCEPTED, lifetime=remaining, options=options)

    def _told(self, binding: Binding, now: Now) -> tuple[MobilityOption, ...]:
        """What a proxy has to know of the binding that it holds."""
        options: list[MobilityOption] = [MobileNetworkPrefix(prefix) for prefix in binding.prefixes]
        damped = self._bindings.damping.left(binding.home_address, now.monotonic)
        if damped > 0:
            options.append(LeakDamping(ceil(damped)))
        return (*options, MobilitySequence(binding.mobility_sequence))

    def _register(
        self,
        hop: Request,
        relayed: _Relayed,
        peer: Peer,
        rival: int,
        now: Now,
        *,
        has_asked: bool = False,
    ) -> None:
        request = relayed.request
        context = self._bindings.context(request.home_address, now, peer.haha)
        verdict = judge(request, context, RELAYED)

        def resume(now: Now) -> None:
            self._register(hop, relayed, peer, rival, now, has_asked=True)

        may_be_elsewhere = not has_asked and depends_on_others(verdict)
        if may_be_elsewhere and self._holds(request.home_address, request.order, resume, now):
            return
        if isinstance(verdict, Drop):
            source = request.care_of_address
            self._node.refused(request.home_address, verdict, source, now, proxy=peer.haha)
        elif isinstance(verdict, Refused):
            self._refuse(hop, relayed, peer, verdict.status, now, last_accepted=verdict.sequence)
        elif request.deregisters:
            self._bindings.deregister(request, now)
            self.released(context.current, peer.haha, now)
            answer = self._signed(relayed, peer, acceptance(self._node, request, 0, Status.ACCEPTED))
            self._acknowledge(hop, peer, Status.ACCEPTED, options=answer)
        else:
            proxy = peer.haha, hop.care_of_address
            binding = self._bindings.bind_as_primary(request, proxy, verdict, now, rival)
            self.bound(context.current, binding, now)
            # The proxy takes off what goes by until it hears of it, in units of 4 s.
            told = acceptance(self._node, request, max(verdict.lifetime - 4, 4), verdict.status)
            self._acknowledge(
                hop,
                peer,
                verdict.status,
                lifetime=verdict.lifetime,
                options=(*self._told(binding, now), *self._signed(relayed, peer, told)),
            )

    def _refuse(
        self,
        hop: Request,
        relayed: _Relayed | None,
        peer: Peer,
        status: Status,
        now: Now,
        *,
        last_accepted: int | None = None,
        instead: Peer | None = None,
    ) -> None:
        """`relayed` None: what is relayed is not authentic, or nobody's."""
        home_address = hop.home_address
        source = relayed.request.care_of_address if relayed is not None else peer.haha
        is_authentic = relayed is not None
        self._node.refused(home_address, status, source, now, proxy=peer.haha, authentic=is_authentic)
        options: tuple[MobilityOption, ...] = ()
        if status is Status.SEQUENCE_OUT_OF_WINDOW and last_accepted is not None:
            # The acknowledgement's own number is the proxy's: this is what the mobile router has to outdo.
            no_flag = BindingUpdateFlag(0)
            options = (BindingCacheInformation(no_flag, last_accepted, 0, home_address, peer.haha),)
        if instead is not None:
            options = (HahaAddress(AddressRole.HOME_AGENT, instead.haha),)
        if relayed is not None:
            told = refusal(relayed.request, status, now, last_accepted)
            options += self._signed(relayed, peer, told)
        self._acknowledge(hop, peer, status, options=options)

    def _signed(
        self, relayed: _Relayed, peer: Peer, message: BindingAcknowledgement
    ) -> tuple[MobilityOption, ...]:
        """The answer for the mobile router itself, where the proxy may have no key of it."""
        request, association = relayed
        if association is None:
            return ()
        header = acknowledgement_header(
            peer.outer, request.home_address, message, association, care_of_address=request.care_of_address
        )
        return (RelayedAcknowledgement(header),)

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


class _Relayed(NamedTuple):
    """An authentic Binding Update that a proxy has relayed."""

    request: Request
    association: SecurityAssociation | None
    """What the mobile router takes an acknowledgement with, if we are to sign one for it."""


def _read_relayed(update: BindingUpdate, policy: MobileRouterPolicy) -> _Relayed | None:
    """The mobile router's own Binding Update inside a proxy's; None when it is not authentic. Of its two
    authenticators those that can be verified have to be right, and one has to be (RFC 4285 s.5.1, s.5.2)."""
    try:
        relayed = join_relayed(update.options)
        message = decode_unchecked(relayed.header) if relayed is not None else None
    except MalformedPacket:
        return None
    if relayed is None or not isinstance(message, BindingUpdate):
        return None
    home_address = policy.home_address
    request = read_request(message, relayed.care_of_address, home_address, policy.replay)
    used, fault = authenticate(relayed.header, request.care_of_address, home_address, policy.associations)
    if not bears_aaa(relayed.header):
        return _Relayed(request, None) if fault is None else None
    if policy.aaa is not None:
        if aaa_fault(relayed.header, request.care_of_address, home_address, policy.aaa) is not None:
            return None
        if fault in (Drop.UNKNOWN_SPI, Drop.NO_AUTHENTICATION):
            used, fault = policy.associations[0], None
    return _Relayed(request, used) if fault is None else None
