"""What a satellite does besides being a proxy (draft s.5.1.2, s.5.3.1). Rules:

1. The care-of address of its mobile routers at their primaries is an address that the parent in use lends.
   When another parent is in use, each primary is told so; the primary takes that for a change of attachment
   and gives it a new mobility sequence, by which everybody prefers the new way at once. No lifetime is
   prolonged by it.
2. The parent in use is told of the mobile routers of other primary sites: a *secondary* binding, which the
   parent leaks. That comes after the primary has agreed, and whatever becomes of it changes nothing else.
3. A former parent is told that its secondary binding has ended after the new way stands.
4. After a restart all is told again, for the parent may be another than before; and when a parent says that
   it has forgotten all, that one is.
"""

from __future__ import annotations

from math import ceil

from ..wire.address import Address
from ..wire.codes import BindingUpdateFlag, Status
from ..wire.haha_options import BindingCacheInformation, LeakDamping, MobilitySequence
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import BindingAcknowledgement, BindingUpdate
from ..wire.options import MobileNetworkPrefix, MobilityOption, ReplayProtection, first_option
from .binding import Binding, BindingKind, Ending
from .bindings import Bindings
from .drops import Drop
from .home import Peer
from .messages import authentication_fault, binding_update_packet
from .node import Node
from .paced_updates import PacedUpdates, Sending
from .route_exchange import RouteExchange
from .time import Now
from .upstream import LOST

RELEASE_ATTEMPTS = 4
"""So often a parent is told that a secondary binding has ended: without an answer it ends by itself."""

_NO_FLAG = BindingUpdateFlag(0)


class Satellite:
    """Tells primaries and parent where the mobile routers of this Home Agent are to be found."""

    def __init__(self, node: Node, bindings: Bindings, routes: RouteExchange, first_sequence: int) -> None:
        self._node = node
        self._bindings = bindings
        self._routes = routes
        self._updates = PacedUpdates(first_sequence)
        self._told: dict[Address, set[Address]] = {}
        """By home address, the HAHA addresses of parents that have been told of it."""
        bindings.observers.append(self._rebound)
        routes.parent_listeners.append(self._parent_changed)

    def start(self) -> None:
        """After the stored bindings have been taken up."""
        self._tell_primaries()

    def registered(self, binding: Binding, care_of_address: Address) -> None:
        """A primary has accepted a mobile router's Binding Update, with this care-of address of ours."""
        assert binding.peer is not None  # it is a proxy binding
        key = binding.home_address, binding.peer
        if care_of_address == self._routes.upstream_address:
            self._updates.cancel(key)
            self._tell_parent(binding)
        else:
            self._updates.want(key)

    def parent_forgot(self, home_agent: Peer, when: int, now: Now) -> None:
        """Another Home Agent, perhaps a parent, has lost its store."""
        for binding in self._bindings.cache:
            if self._parent_to_tell(binding) == home_agent.haha:
                self._tell_parent(binding)

    def receive_acknowledgement(
        self, packet: MobilityPacket, message: BindingAcknowledgement, peer: Peer, now: Now
    ) -> bool:
        """An answer of another Home Agent. False when nothing here waits for it."""
        home_address = packet.routing_home_address
        stamp = first_option(message.options, ReplayProtection)
        if home_address is None or stamp is None or (home_address, peer.haha) not in self._updates:
            return False
        association = self._node.config.mesh
        fault = authentication_fault(packet.header, packet.destination, home_address, association)
        if fault is not None or packet.destination not in self._node.config.addresses:
            self._node.drop(fault or Drop.NOT_FOR_US)
            return True
        if not self._updates.acknowledged((home_address, peer.haha), message.sequence, stamp.timestamp):
            return False
        binding = self._bindings.cache.get(home_address)
        if binding is not None and binding.peer == peer.haha:
            self._answered_by_primary(binding, message, packet.destination, now)
        else:
            self._answered_by_parent(home_address, message, peer)
        return True

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return self._updates.next_timer()

    def handle_timer(self, now: Now) -> None:
        """Send what is due."""
        for sending in self._updates.due(now):
            home_address, haha = sending.key
            binding = self._bindings.cache.get(home_address)
            stamp = self._node.stamp(now)
            source = self._routes.upstream_address
            if binding is not None and binding.peer == haha:
                update = self._to_primary(binding, sending, stamp, now)
            elif binding is not None and self._parent_to_tell(binding) == haha:
                self._told.setdefault(home_address, set()).add(haha)
                update = self._to_parent(binding, sending, stamp, now)
            elif sending.attempt > RELEASE_ATTEMPTS:
                self._forget(home_address, haha)
                continue
            else:
                source = self._lent_by(haha)
                update = self._release(home_address, sending, stamp)
            self._updates.sent(sending.key, stamp)
            mesh = self._node.config.mesh
            self._node.transmit(binding_update_packet(source, haha, home_address, update, mesh))

    # What has happened

    def _parent_changed(self, is_another: bool) -> None:
        self._node.note("the parent is %s", self._routes.parent)
        if is_another:
            self._tell_primaries()
            return
        # One that had lost sight of us may have ended what we had told it.
        for binding in self._bindings.cache:
            self._tell_parent(binding)

    def _rebound(self, before: Binding | None, after: Binding | None) -> None:
        if before is None or after is not None:
            return
        if before.peer is not None:
            self._updates.cancel((before.home_address, before.peer))
        for haha in self._told.get(before.home_address, ()):
            self._updates.want((before.home_address, haha))

    def _tell_primaries(self) -> None:
        for binding in self._bindings.cache:
            if binding.kind is BindingKind.PROXY and binding.peer is not None:
                self._updates.want((binding.home_address, binding.peer))

    def _tell_parent(self, binding: Binding) -> None:
        haha = self._parent_to_tell(binding)
        if haha is not None:
            self._updates.want((binding.home_address, haha))
        else:
            self._release_others(binding)

    def _release_others(self, binding: Binding) -> None:
        current = self._parent_to_tell(binding)
        for haha in self._told.get(binding.home_address, ()):
            if haha != current:
                self._updates.want((binding.home_address, haha))

    def _answered_by_primary(
        self, binding: Binding, message: BindingAcknowledgement, care_of_address: Address, now: Now
    ) -> None:
        sequence = first_option(message.options, MobilitySequence)
        if message.status in LOST:
            self._node.note("the primary no longer has %s here", binding.home_address)
            self._bindings.end(binding, Ending.REFUSED)
        elif message.status < Status.REASON_UNSPECIFIED and sequence is not None:
            expires = min(binding.expires, now.monotonic + message.lifetime)
            if sequence.sequence >= binding.mobility_sequence:
                renewed = self._bindings.resequence(binding, sequence.sequence, expires, now)
                self.registered(renewed, care_of_address)
        else:
            self._node.counters[f"upstream_refused_{message.status}"] += 1

    def _answered_by_parent(self, home_address: Address, message: BindingAcknowledgement, peer: Peer) -> None:
        binding = self._bindings.cache.get(home_address)
        if message.status >= Status.REASON_UNSPECIFIED:
            self._node.counters[f"secondary_refused_{message.status}"] += 1
        if binding is None or self._parent_to_tell(binding) != peer.haha:
            self._forget(home_address, peer.haha)
        elif message.status < Status.REASON_UNSPECIFIED:
            self._node.counters["secondary_accepted"] += 1
            self._release_others(binding)

    def _forget(self, home_address: Address, haha: Address) -> None:
        self._updates.cancel((home_address, haha))
        told = self._told.get(home_address, set())
        told.discard(haha)
        if not told:
            self._told.pop(home_address, None)

    # Who is told what

    def _parent_to_tell(self, binding: Binding) -> Address | None:
        """HAHA address of the parent's Home Agent that should have a secondary binding; None for none."""
        config, site = self._node.config, self._routes.parent
        if not config.secondary_bindings or site is None or binding.kind is not BindingKind.PROXY:
            return None
        here = [peer for peer in config.adjacent if peer.site == site]
        if any(peer.is_primary_for(binding.home_address) for peer in here):
            return None  # the primary binding leads to us by itself
        reached = (peer.haha for peer in here if self._routes.session_up(peer.haha))
        return next(reached, None)

    def _lent_by(self, haha: Address) -> Address:
        """A parent knows us by what it lends, whether it is in use or not."""
        config = self._node.config
        site = next(peer.site for peer in config.adjacent if peer.haha == haha)
        return next(one.address for one in config.lent if one.parent == site)

    def _to_primary(self, binding: Binding, sending: Sending, stamp: int, now: Now) -> BindingUpdate:
        options: list[MobilityOption] = [ReplayProtection(stamp)]
        rival = self._bindings.rival_sequence(binding.home_address)
        if rival:
            options.append(MobilitySequence(rival))
        flags = BindingUpdateFlag.HOME_REGISTRATION | _flags(binding)
        return BindingUpdate(sending.sequence, flags, _remaining(binding, now), tuple(options))

    def _to_parent(self, binding: Binding, sending: Sending, stamp: int, now: Now) -> BindingUpdate:
        lifetime = _remaining(binding, now)
        known = BindingCacheInformation(
            _flags(binding),
            binding.order.sequence,
            lifetime,
            binding.home_address,
            self._routes.upstream_address,
        )
        damped = self._bindings.leaks.damped_until(binding.home_address)
        options: tuple[MobilityOption, ...] = (
            ReplayProtection(stamp),
            MobilitySequence(binding.mobility_sequence),
            known,
            *([LeakDamping(ceil(max(damped - now.monotonic, 1.0)))] if damped is not None else []),
            *[MobileNetworkPrefix(prefix) for prefix in binding.prefixes],
        )
        return BindingUpdate(sending.sequence, _flags(binding), lifetime, options)

    def _release(self, home_address: Address, sending: Sending, stamp: int) -> BindingUpdate:
        last = self._bindings.cache.last(home_address)
        sequence = last.mobility_sequence if last is not None else 0
        options = (ReplayProtection(stamp), MobilitySequence(sequence))
        return BindingUpdate(sending.sequence, BindingUpdateFlag.ACKNOWLEDGE, 0, options)


def _flags(binding: Binding) -> BindingUpdateFlag:
    router = BindingUpdateFlag.MOBILE_ROUTER if binding.mobile_router else _NO_FLAG
    return BindingUpdateFlag.ACKNOWLEDGE | router


def _remaining(binding: Binding, now: Now) -> int:
    return max(int(binding.expires - now.monotonic) // 4 * 4, 4)
