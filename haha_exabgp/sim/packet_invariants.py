"""What must hold of packets: each comes to where its mobile router is, and to nobody else."""

from __future__ import annotations

from ..protocol.binding import Binding
from ..wire.address import Address
from . import bounds
from .home_agent import HomeAgentHost
from .kernel import Fate
from .mobile_router import MobileRouterHost
from .packets import Flow, Packet
from .situation import Situation
from .violation import Invariant


class PacketInvariants:
    """Looks at data packets, and knows where each mobile router is bound."""

    def __init__(self, situation: Situation) -> None:
        self._now = situation
        home = situation.home
        self._places: dict[Address, dict[Address, float]] = {one: {} for one in home.networks}
        """Care-of addresses, and when a newer one was accepted."""
        self._place: dict[Address, Address] = {}
        """The care-of address of the newest binding."""
        self._accepted: dict[Address, Binding] = {}
        self._care_of: dict[Address, Address] = {}
        """Care-of address -> home address of who has used it."""

    def remembered(self, binding: Binding) -> None:
        """Some Home Agent has a mobile router at a place."""
        if not binding.expires or binding.kind.is_elsewhere:
            return
        home_address, care_of_address = binding.home_address, binding.care_of_address
        now, last = self._now.loop.now, self._accepted.get(home_address)
        if last is not None and not self._is_newer(binding, last):
            self._places[home_address].setdefault(care_of_address, now)
            return
        self._accepted[home_address] = binding
        before = self._place.get(home_address)
        if before is not None and before != care_of_address:
            self._places[home_address][before] = now
        self._place[home_address] = care_of_address

    def _is_newer(self, binding: Binding, last: Binding) -> bool:
        if len(self._now.primaries[binding.home_address]) > 1 and binding.order != last.order:
            return binding.order.is_newer_than(last.order)  # the sequences of two that were cut off may cross
        if binding.mobility_sequence == last.mobility_sequence:
            return binding.order.is_newer_than(last.order)
        return binding.mobility_sequence > last.mobility_sequence

    def dropped(self, host: HomeAgentHost, packet: Packet, fate: Fate) -> None:
        """A packet that has gone round in circles, sent when nothing was changing."""
        flow, now = packet.flow, self._now
        if flow is None:
            return
        # Without its agent a guard may have stayed as it was in the grace.
        all_agents_since = now.loop.now if any(one.core is None for one in now.hosts) else now.started_at
        calm_for = flow.sent_at - max(now.changed_at[flow.home_address], all_agents_since)
        # A proxy that was ready in vain lets packets in for the grace, and has no binding that ends.
        is_let_in = flow.sent_at - now.prepared_at[flow.home_address] <= bounds.GRACE
        if fate is Fate.HOP_LIMIT and calm_for > bounds.CIRCLES and not is_let_in:
            circle = " -> ".join(packet.path[-6:])
            what = f"packet {flow.number} to {packet.destination} circles: {circle}"
            now.fail(Invariant.NO_LOOP, flow.home_address, what)
        self.lost(packet, f"{host.name}: {fate}")

    def lost(self, packet: Packet, why: str) -> None:
        """A packet ends on its way."""
        if packet.flow is not None and self._now.calm_since is not None:
            flow, way = packet.flow, " ".join(packet.path)
            what = "packet %d lost (%s) after %s"
            self._now.trace.add(flow.home_address, "data", what, flow.number, why, way)

    def came_to(self, care_of_address: Address, packet: Packet) -> None:
        """Packets come to where the mobile router is, or just was."""
        flow, now = packet.flow, self._now
        if flow is None or not flow.inbound:
            return
        home_address = flow.home_address
        if self._place.get(home_address) == care_of_address:
            return
        replaced_at = self._places[home_address].get(care_of_address)
        if replaced_at is None:
            if self._care_of[care_of_address] != home_address:
                what = f"a packet of it comes to {care_of_address}, which is another's"
                now.fail(Invariant.RIGHT_ROUTER, home_address, what)
            return  # it is there, and the kernel knows before the store does
        way = " ".join(packet.path)
        if now.calm_since is not None:
            late = now.loop.now - max(replaced_at, now.calm_since)
            forgetfulness = now.forgetfulness(home_address)
            if now.clocks_were_true and not forgetfulness:
                now.note(Invariant.CURRENT_PLACE, late)
            if now.clocks_were_true and late > bounds.STALE_DELIVERY + forgetfulness:
                what = f"{late:.1f} s after it has left {care_of_address} a packet comes there by {way}"
                now.fail(Invariant.CURRENT_PLACE, home_address, what)
        late = now.loop.now - replaced_at
        if late > bounds.STALE_DELIVERY_EVER:
            what = f"{late:.1f} s after it has left {care_of_address} a packet comes by {way}"
            now.fail(Invariant.CURRENT_PLACE, home_address, what)

    def delivered(self, host: MobileRouterHost, packet: Packet) -> None:
        """A data packet is there."""
        flow = packet.flow
        if flow is None:
            return
        if flow.home_address != host.home_address:
            what = f"{host.name} gets a packet of another"
            self._now.fail(Invariant.RIGHT_ROUTER, flow.home_address, what)
        flow.arrived = True

    def came(self, host: MobileRouterHost, care_of_address: Address) -> None:
        """Whatever was there before."""
        self._care_of[care_of_address] = host.home_address
        self._places[host.home_address].pop(care_of_address, None)

    def left(self, host: MobileRouterHost, care_of_address: Address) -> None:
        """A kernel may have heard that it was there without anything being stored."""
        if self._place.get(host.home_address) != care_of_address:
            self._places[host.home_address][care_of_address] = self._now.loop.now

    def watch(self, flow: Flow, host: MobileRouterHost) -> None:
        """A data packet that must arrive if it is long enough since anything was wrong."""
        now = self._now
        if now.calm_since is None or not host.is_live:
            return
        wrong_until = max(now.calm_since, host.attached_at)
        within = bounds.REACHABLE + now.forgetfulness(flow.home_address)
        if not now.clocks_were_true:
            within += host.config.lifetime
        if now.loop.now - wrong_until > within:
            now.loop.after(bounds.TRANSIT, self._look_for, flow, host, host.attached_at)
        else:
            now.loop.after(bounds.TRANSIT, self._measure, flow, wrong_until)

    def _measure(self, flow: Flow, wrong_until: float) -> None:
        if not flow.arrived and self._now.calm_since is not None:
            self._now.note(Invariant.REACHABLE, flow.sent_at - wrong_until)

    def _look_for(self, flow: Flow, host: MobileRouterHost, attached_at: float) -> None:
        calm_since = self._now.calm_since
        if flow.arrived or not host.is_live or host.attached_at != attached_at or calm_since is None:
            return
        way = "to" if flow.inbound else "from"
        long = flow.sent_at - max(attached_at, calm_since)
        what = f"packet {flow.number} {way} {host.name} is lost {long:.0f} s after all was well"
        self._now.fail(Invariant.REACHABLE, host.home_address, what)
