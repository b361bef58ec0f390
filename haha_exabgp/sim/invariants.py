"""What must hold after every event.

Each invariant is checked where it could come to be broken: at what the store has taken, a batch in force, a
packet that leaves or arrives; what breaks by the passing of time alone is looked for in `sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NoReturn

from ..agent.batch import Batch, LettingIn
from ..kernel.guard_sets import in_whole_octets
from ..protocol.binding import Binding, BindingKind, Ending
from ..protocol.effects import Admit
from ..protocol.footprint import NOTHING, footprint
from ..protocol.home import HomeAgentConfig
from ..protocol.registration import REPLAY_WINDOW
from ..protocol.routes import Announcement, Audience, LearnedRoute, Metric, RouteKind
from ..wire.address import Address, Prefix
from ..wire.codes import MobilityType
from . import bounds
from .home import Home
from .home_agent import HomeAgentHost
from .kernel import Fate
from .loop import EventLoop
from .mobile_router import MobileRouterHost
from .packets import Flow, Packet
from .trace import Trace


class Invariant(StrEnum):
    """What is checked; the value is its name in docs/simulator.md."""

    ONE_OWNER = "one owner"
    NEWEST_WINS = "newest wins"
    BINDING_KEPT = "binding kept"
    PRIMARY_FIRST = "primary first"
    CURRENT_PLACE = "current place"
    RIGHT_ROUTER = "right mobile router"
    NO_LOOP = "no loop"
    REACHABLE = "reachable"
    NOTHING_LEFT = "nothing left"
    NOTHING_MISSING = "nothing missing"
    AUDIENCE = "audience"
    BEST_LEAK = "best leak"
    STALE_ROUTE = "stale route"
    HOME_HELD = "home held back"
    LIFETIME = "lifetime"
    TIME_PASSES = "time passes"
    NO_EXCEPTION = "no exception"


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: Invariant, home_address: Address | None, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.home_address = home_address


_AUDIENCES = {
    RouteKind.HOME: Audience.SITE,
    RouteKind.MNP: Audience.SITE,
    RouteKind.SITE: Audience.OTHER_SITES,
    RouteKind.LEAK: Audience.MESH,
}
"""Said here again, so that a mistake in the core's own table is found."""
_ROUTING = 43
_BINDING_ACKNOWLEDGEMENT = int(MobilityType.BINDING_ACKNOWLEDGEMENT)


class Invariants:
    """Looks on at every host, and raises Violation."""

    def __init__(self, loop: EventLoop, home: Home, trace: Trace) -> None:
        self._loop = loop
        self._home = home
        self._trace = trace
        self.hosts: Sequence[HomeAgentHost] = ()
        self.calm_since: float | None = None
        """Since when nothing is broken; None while something is."""
        self.clocks_are_true = True
        """The clocks of no two Home Agents have ever been further apart than the replay window."""
        self.clocks_were_true = True
        """The same in the last storm."""
        self._prefixes = {one: (Prefix.host(one), *networks) for one, networks in home.networks.items()}
        self._owners = {prefix: one for one, prefixes in self._prefixes.items() for prefix in prefixes}
        self._primary = {
            one: next(config.name for config in home.home_agents if config.is_primary_for(one))
            for one in home.networks
        }
        self._hahas = {config.haha: config.name for config in home.home_agents}
        self._stored: dict[tuple[str, Address], Binding] = {}
        self._ends: dict[tuple[str, Address], float] = {}
        """Virtual time at which a stored live binding ends."""
        self._taken_up: dict[tuple[str, Address], float] = {}
        """The same, of one that has not changed since its Home Agent was started, as that understands it."""
        self._changed_at: dict[Address, float] = dict.fromkeys(home.networks, 0.0)
        """When the last binding of a home address was made or has ended."""
        self._started_at = 0.0
        """When an agent was last started."""
        self._places: dict[Address, dict[Address, float]] = {one: {} for one in home.networks}
        """Care-of addresses, and when a newer one was accepted."""
        self._place: dict[Address, Address] = {}
        """The care-of address of the newest binding."""
        self._accepted: dict[Address, Binding] = {}
        self._care_of: dict[Address, Address] = {}
        """Care-of address -> home address of who has used it."""
        self._wrong_since: dict[tuple[object, ...], float] = {}
        self._wrong_before: dict[tuple[object, ...], float] = {}
        """What the last sweep found wrong, and the one before."""
        self.bindings = 0
        """How often one was made or changed."""
        self.worst: dict[Invariant, float] = {}
        """Of what has a bound: the longest that was seen, in seconds."""

    # What Home Agents do

    def remembered(self, host: HomeAgentHost, binding: Binding) -> None:
        """Ownership and order change with what is stored, and with nothing else."""
        home_address = binding.home_address
        key = (host.name, home_address)
        before = self._stored.get(key)
        self._stored[key] = binding
        if binding.expires:
            self.bindings += 1
            self._ends[key] = host.clock.moment(binding.expires)
            self._taken_up.pop(key, None)
        if before is None or (before.expires == 0) != (binding.expires == 0) or before[1] != binding[1]:
            self._changed_at[home_address] = self._loop.now
        if self._primary[home_address] == host.name:
            self._check_order(host, before, binding)
        elif before is not None and before.expires and not binding.expires:
            self._check_moved(host, before)
        if binding.expires and binding.kind is BindingKind.PROXY:
            self._check_lifetime(host, binding)
        if binding.expires and binding.kind is not BindingKind.PROXIED:
            self._note_place(binding)
        self._check_claims(home_address)

    def _check_order(self, host: HomeAgentHost, before: Binding | None, after: Binding) -> None:
        """H-6, H-7: what a primary holds gives way to what is newer, and to its end."""
        if before is None:
            return
        home_address = after.home_address
        if after.mobility_sequence < before.mobility_sequence:
            self._fail(Invariant.NEWEST_WINS, home_address, "the mobility sequence at the primary falls")
        newer = after.order.is_newer_than(before.order)
        if after.expires:
            again = after.order == before.order and after.peer == before.peer
            if self.clocks_are_true and not newer and not again:
                what = f"{host.name} binds by a Binding Update that is not newer than the last"
                self._fail(Invariant.NEWEST_WINS, home_address, what)
        elif before.expires:
            core = host.core
            why = None if core is None else core.endings.get(home_address)
            if why is Ending.EXPIRED:
                key = (host.name, home_address)
                ends = self._taken_up.get(key, self._ends[key])
                if self.clocks_are_true and ends > self._loop.now + 1.0:
                    self._fail(Invariant.BINDING_KEPT, home_address, f"{host.name} ends a binding too early")
            elif why is not Ending.DEREGISTERED or (self.clocks_are_true and not newer):
                what = f"{host.name} ends a binding ({why}) that nothing newer has ended"
                self._fail(Invariant.NEWEST_WINS, home_address, what)

    def _check_moved(self, host: HomeAgentHost, before: Binding) -> None:
        """A proxy takes for moved only what has."""
        core = host.core
        if core is None or core.endings.get(before.home_address) is not Ending.MOVED:
            return
        there = self._stored.get((self._primary[before.home_address], before.home_address))
        if there is not None and there.expires and there.mobility_sequence <= before.mobility_sequence:
            what = f"{host.name} gives a binding up as moved that the primary holds through it"
            self._fail(Invariant.BINDING_KEPT, before.home_address, what)

    def _check_lifetime(self, host: HomeAgentHost, binding: Binding) -> None:
        """B-6."""
        key = (self._primary[binding.home_address], binding.home_address)
        there = self._stored.get(key)
        if there is None or not there.expires or there.peer != host.config.haha or not self.clocks_are_true:
            return
        if host.clock.moment(binding.expires) > self._ends[key] + 1.0:
            what = f"{host.name} grants more than the primary"
            self._fail(Invariant.LIFETIME, binding.home_address, what)

    def _check_claims(self, home_address: Address) -> None:
        """Of two that hold a home address one has the older claim, and none a newer one than the primary."""
        last = self._stored.get((self._primary[home_address], home_address))
        highest = -1 if last is None else last.mobility_sequence
        claims: dict[int, str] = {}
        for host in self.hosts:
            binding = None if host.core is None else host.core.bindings.get(home_address)
            if binding is None or binding.kind is BindingKind.PROXIED:
                continue
            claim = binding.mobility_sequence
            if claim > highest:
                what = f"{host.name} holds it with sequence {claim}, the primary has given out {highest}"
                self._fail(Invariant.PRIMARY_FIRST, home_address, what)
            if claim in claims:
                what = f"{claims[claim]} and {host.name} hold it with the same sequence {claim}"
                self._fail(Invariant.ONE_OWNER, home_address, what)
            claims[claim] = host.name

    def enforced(self, host: HomeAgentHost, batch: Batch) -> None:
        """What a binding means stands as soon as its batch is in force, and nothing of the one before."""
        for home_address in batch.bindings:
            self._check_footprint(host, home_address)
        for told in batch.announce.values():
            self._check_audience(host.config, told)
        if self._wrong_since:
            self._let_in(host, batch)

    def _check_footprint(self, host: HomeAgentHost, home_address: Address) -> None:
        if host.core is None:
            return
        binding = host.core.bindings.get(home_address)
        wanted = NOTHING if binding is None else footprint(binding, host.config)
        routes = {(route.prefix, route.metric): route for route in wanted.routes}
        kernel = host.kernel
        for prefix in self._prefixes[home_address]:
            present = kernel.routes.get(prefix, {})
            for metric in (Metric.BINDING, Metric.PROXIED):
                before = host.core.wanted.route(prefix, metric)  # until the overlap is over
                if present.get(metric) != routes.get((prefix, metric), before):
                    left = (prefix, metric) not in routes
                    what = f"{host.name} has {'a' if left else 'no right'} {metric.name} route to {prefix}"
                    wrong = Invariant.NOTHING_LEFT if left else Invariant.NOTHING_MISSING
                    self._fail(wrong, home_address, what)
        for outer, inner in wanted.permits:
            if not kernel.permits_all(outer, inner):
                what = f"{host.name} keeps packets from {inner} out"
                self._fail(Invariant.NOTHING_MISSING, home_address, what)

    def _let_in(self, host: HomeAgentHost, batch: Batch) -> None:
        """What is let in anew is right from now on, though it was wrong at the last sweep."""
        for effect in batch.guard:
            if isinstance(effect, LettingIn):
                for piece in in_whole_octets(effect.inner):
                    who = None if isinstance(effect, Admit) else effect.outer
                    self._wrong_since.pop((host.name, "lets in", who, piece), None)

    def _check_audience(self, config: HomeAgentConfig, told: Announcement) -> None:
        owner = self._owners.get(told.prefix)
        rightful = {
            RouteKind.HOME: told.prefix == config.home,
            RouteKind.SITE: told.prefix == config.partition,
            RouteKind.MNP: owner is not None,
            RouteKind.LEAK: owner is not None and not config.is_primary_for(owner),
        }
        if _AUDIENCES.get(told.kind) is not told.audience or not rightful[told.kind]:
            what = f"{config.name} announces {told.prefix} as {told.kind.name} to {told.audience}"
            self._fail(Invariant.AUDIENCE, owner, what)

    def transmitted(self, host: HomeAgentHost, octets: bytes) -> None:
        """A positive acknowledgement is a promise: what it says stands already."""
        self._trace.add_packet(self._trace.concerned(octets), host.name, octets)
        if octets[6] != _ROUTING or octets[66] != _BINDING_ACKNOWLEDGEMENT or octets[70] >= 128:
            return
        lifetime = int.from_bytes(octets[74:76], "big") * 4
        if not lifetime:
            return
        home_address, to = Address(octets[48:64]), Address(octets[24:40])
        binding = self._stored.get((host.name, home_address))
        if binding is None or not binding.expires:
            self._fail(Invariant.BINDING_KEPT, home_address, f"{host.name} acknowledges what is not stored")
        if to in self._hahas:
            if binding.peer != to:
                what = f"{host.name} acknowledges a proxy's binding that is not stored"
                self._fail(Invariant.BINDING_KEPT, home_address, what)
            return
        if binding.order.sequence != int.from_bytes(octets[72:74], "big"):
            what = f"{host.name} acknowledges a Binding Update, and another one is stored"
            self._fail(Invariant.BINDING_KEPT, home_address, what)
        self._check_footprint(host, home_address)
        if self._primary[home_address] != host.name:
            self._check_with_primary(host, binding)

    def _check_with_primary(self, host: HomeAgentHost, binding: Binding) -> None:
        """B-3."""
        home_address, claim = binding.home_address, binding.mobility_sequence
        there = self._stored.get((self._primary[home_address], home_address))
        if there is None or there.mobility_sequence < claim:
            what = f"{host.name} acknowledges before the primary has"
            self._fail(Invariant.PRIMARY_FIRST, home_address, what)
        if there.mobility_sequence == claim and there.peer != host.config.haha:
            what = f"{host.name} acknowledges what the primary holds elsewhere"
            self._fail(Invariant.PRIMARY_FIRST, home_address, what)

    def _note_place(self, binding: Binding) -> None:
        home_address, care_of_address = binding.home_address, binding.care_of_address
        last = self._accepted.get(home_address)
        newer = last is None or binding.mobility_sequence > last.mobility_sequence
        if last is not None and binding.mobility_sequence == last.mobility_sequence:
            newer = binding.order.is_newer_than(last.order)
        if not newer:
            self._places[home_address].setdefault(care_of_address, self._loop.now)
            return
        self._accepted[home_address] = binding
        before = self._place.get(home_address)
        if before is not None and before != care_of_address:
            self._places[home_address][before] = self._loop.now
        self._place[home_address] = care_of_address

    def learned(self, host: HomeAgentHost, prefix: Prefix) -> None:
        """H-9: the leak with the highest sequence is followed, whichever came last."""
        if host.core is None:
            return
        leaks = [one for one in host.core.routes.leaks((prefix,)) if self._may_follow(host, one)]
        route = host.kernel.routes.get(prefix, {}).get(Metric.LEAK)
        if not leaks:
            if route is not None:
                what = f"{host.name} follows a leak of {prefix} that nobody makes"
                self._fail(Invariant.NOTHING_LEFT, self._owners.get(prefix), what)
            return
        best = min(leaks, key=lambda one: (-one.sequence, one.next_hop))
        if route is None or route.tunnel_exit != host.config.outer_of(best.next_hop):
            what = f"{host.name} does not follow the newest leak of {prefix}"
            self._fail(Invariant.BEST_LEAK, self._owners.get(prefix), what)

    def _may_follow(self, host: HomeAgentHost, leak: LearnedRoute) -> bool:
        owner = self._owners.get(leak.prefix)
        if owner is None or self._primary[owner] != host.name:
            return True
        last = self._stored.get((host.name, owner))
        if last is None:
            return True
        is_live = host.core is not None and host.core.bindings.get(owner) is not None
        return leak.sequence >= last.mobility_sequence + (not is_live)

    def started(self, host: HomeAgentHost) -> None:
        """What was acknowledged has outlived the process."""
        self._started_at = self._loop.now
        core = host.core
        assert core is not None
        for home_address in self._prefixes:
            key = (host.name, home_address)
            stored = self._stored.get(key)
            if stored is None:
                continue
            last = core.bindings.last(home_address)
            if last is None or last[5:7] != stored[5:7]:
                self._fail(Invariant.BINDING_KEPT, home_address, f"{host.name} has forgotten a binding")
            live = core.bindings.get(home_address)
            left = self._ends[key] - self._loop.now if stored.expires else 0.0
            if live is not None:
                # What is stored is wall-clock time, and that may be wrong by as much as it may be at all.
                self._taken_up[key] = host.clock.moment(live.expires)
                left -= self._taken_up[key] - self._loop.now
            if left > 1.0 + REPLAY_WINDOW and self.clocks_are_true:
                what = f"{host.name} has lost {left:.1f} s of a binding"
                self._fail(Invariant.BINDING_KEPT, home_address, what)
            self._check_footprint(host, home_address)
        # What the kernel had is stale from now on: since when it was, nobody knows any more.
        for thing in [thing for thing in self._wrong_since if thing[:2] == ("keeps", host.name)]:
            del self._wrong_since[thing]

    def dropped(self, host: HomeAgentHost, packet: Packet, fate: Fate) -> None:
        """A packet that has gone round in circles, sent when nothing was changing."""
        flow = packet.flow
        if flow is None:
            return
        # Without its agent a guard may have stayed as it was in the grace.
        all_agents_since = self._loop.now if any(one.core is None for one in self.hosts) else self._started_at
        calm_for = flow.sent_at - max(self._changed_at[flow.home_address], all_agents_since)
        if fate is Fate.HOP_LIMIT and calm_for > bounds.CIRCLES:
            circle = " -> ".join(packet.path[-6:])
            what = f"packet {flow.number} to {packet.destination} circles: {circle}"
            self._fail(Invariant.NO_LOOP, flow.home_address, what)
        self.lost(packet, f"{host.name}: {fate}")

    # What mobile routers see

    def lost(self, packet: Packet, why: str) -> None:
        """A packet ends on its way."""
        if packet.flow is not None and self.calm_since is not None:
            flow, way = packet.flow, " ".join(packet.path)
            self._trace.add(flow.home_address, "data", "packet %d lost (%s) after %s", flow.number, why, way)

    def came_to(self, care_of_address: Address, packet: Packet) -> None:
        """Packets come to where the mobile router is, or just was."""
        flow = packet.flow
        if flow is None or not flow.inbound:
            return
        home_address = flow.home_address
        if self._place.get(home_address) == care_of_address:
            return
        now = self._loop.now
        replaced_at = self._places[home_address].get(care_of_address)
        if replaced_at is None:
            if self._care_of[care_of_address] != home_address:
                what = f"a packet of it comes to {care_of_address}, which is another's"
                self._fail(Invariant.RIGHT_ROUTER, home_address, what)
            return  # it is there, and the kernel knows before the store does
        way = " ".join(packet.path)
        if self.calm_since is not None:
            late = now - max(replaced_at, self.calm_since)
            if self.clocks_were_true:
                self._note(Invariant.CURRENT_PLACE, late)
            if self.clocks_were_true and late > bounds.STALE_DELIVERY:
                what = f"{late:.1f} s after it has left {care_of_address} a packet comes there by {way}"
                self._fail(Invariant.CURRENT_PLACE, home_address, what)
        if now - replaced_at > bounds.STALE_DELIVERY_EVER:
            what = f"{now - replaced_at:.1f} s after it has left {care_of_address} a packet comes by {way}"
            self._fail(Invariant.CURRENT_PLACE, home_address, what)

    def delivered(self, host: MobileRouterHost, packet: Packet) -> None:
        """A data packet is there."""
        flow = packet.flow
        if flow is None:
            return
        if flow.home_address != host.home_address:
            what = f"{host.name} gets a packet of another"
            self._fail(Invariant.RIGHT_ROUTER, flow.home_address, what)
        flow.arrived = True

    def came(self, host: MobileRouterHost, care_of_address: Address) -> None:
        """Whatever was there before."""
        self._care_of[care_of_address] = host.home_address
        self._places[host.home_address].pop(care_of_address, None)

    def left(self, host: MobileRouterHost, care_of_address: Address) -> None:
        """A kernel may have heard that it was there without anything being stored."""
        if self._place.get(host.home_address) != care_of_address:
            self._places[host.home_address][care_of_address] = self._loop.now

    def watch(self, flow: Flow, host: MobileRouterHost) -> None:
        """A data packet that must arrive if it is long enough since anything was wrong."""
        if self.calm_since is None or not host.is_live:
            return
        wrong_until = max(self.calm_since, host.attached_at)
        within = bounds.REACHABLE
        if not self.clocks_were_true:
            within += host.config.lifetime
        if self._loop.now - wrong_until > within:
            self._loop.after(bounds.TRANSIT, self._look_for, flow, host, host.attached_at)
        else:
            self._loop.after(bounds.TRANSIT, self._measure, flow, wrong_until)

    def _measure(self, flow: Flow, wrong_until: float) -> None:
        if not flow.arrived and self.calm_since is not None:
            self._note(Invariant.REACHABLE, flow.sent_at - wrong_until)

    def _look_for(self, flow: Flow, host: MobileRouterHost, attached_at: float) -> None:
        if flow.arrived or not host.is_live or host.attached_at != attached_at or self.calm_since is None:
            return
        way = "to" if flow.inbound else "from"
        long = flow.sent_at - max(attached_at, self.calm_since)
        what = f"packet {flow.number} {way} {host.name} is lost {long:.0f} s after all was well"
        self._fail(Invariant.REACHABLE, host.home_address, what)

    # What time does

    def sweep(self) -> None:
        """Everything at once: what nobody has touched may be wrong too."""
        before, self._wrong_since = self._wrong_since, {}
        self._wrong_before = before
        for host in self.hosts:
            if host.core is not None:
                self._sweep_host(host)
            elif host.speaker.announced:
                self._must_end(Invariant.NOTHING_LEFT, None, bounds.LEASE_OVER, "announces", host.name)
        if self.calm_since is not None:
            for home_address in self._prefixes:
                self._check_owner(home_address)

    def _sweep_host(self, host: HomeAgentHost) -> None:
        core = host.core
        assert core is not None
        name = host.name
        routes, permits, admitted = core.wanted.snapshot().in_kernel()
        if set(host.kernel.present()) != routes:
            self._fail(Invariant.NOTHING_LEFT, None, f"{name}'s kernel has other routes than it should")
        for home_address, prefixes in self._prefixes.items():
            binding = core.bindings.get(home_address)
            for prefix in prefixes:
                if core.wanted.route(prefix, Metric.BINDING) is not None:
                    # One after the other may be there at every sweep.
                    overlap = (name, "overlap", prefix, binding and binding.mobility_sequence)
                    self._must_end(Invariant.NOTHING_LEFT, home_address, bounds.OVERLAP, *overlap)
                if core.wanted.route(prefix, Metric.PREPARED) is not None:
                    prepared = (name, "prepared", prefix, core.counters["upstream_started"])
                    self._must_end(Invariant.NOTHING_LEFT, home_address, bounds.PREPARED, *prepared)
        # Who is let in: a care-of address, or None for all other Home Agents.
        wanted: list[tuple[Address | None, Prefix]] = [*permits, *[(None, inner) for inner in admitted]]
        rightful = {(who, piece) for who, inner in wanted for piece in in_whole_octets(inner)}
        present: list[tuple[Address | None, Prefix]] = [(None, inner) for inner in host.kernel.admitted]
        present += [(outer, inner) for inner, by in host.kernel.permits.items() for outer in by]
        for who, inner in present:
            if (who, inner) not in rightful:
                owner = self._owners.get(inner)
                self._must_end(Invariant.NOTHING_LEFT, owner, bounds.GRACE, name, "lets in", who, inner)
        self._sweep_announcements(host)
        for route, _, stale in core.routes.learned():
            thing = ("keeps", name, route.kind, route.prefix, route.peer)
            if stale or not core.routes.session_up(route.peer):
                owner = self._owners.get(route.prefix)
                self._must_end(Invariant.STALE_ROUTE, owner, bounds.STALE_ROUTE, *thing)

    def _sweep_announcements(self, host: HomeAgentHost) -> None:
        core, name = host.core, host.name
        if core is None or not host.speaker.link:
            return
        bound = {
            (kind, prefix)
            for one in core.bindings
            for kind, prefixes in ((RouteKind.MNP, one.routes()), (RouteKind.LEAK, one.leaked()))
            if kind is RouteKind.MNP or one.kind is BindingKind.PROXY
            for prefix in prefixes
        }
        told = {
            (one.kind, one.prefix)
            for one in host.speaker.announced.values()
            if one.kind in (RouteKind.MNP, RouteKind.LEAK)
        }
        for kind, prefix in sorted(told ^ bound):
            wrong = Invariant.NOTHING_LEFT if (kind, prefix) in told else Invariant.NOTHING_MISSING
            what = f"{name} announces {prefix} as {kind.name} and has no binding, or has one and does not"
            self._fail(wrong, self._owners.get(prefix), what)
        home = (Audience.SITE, host.config.home) in host.speaker.announced
        if home and host.config.min_sites_reached and not host.speaker.reaches_anybody():
            self._must_end(Invariant.HOME_HELD, None, bounds.HOME_ALONE, name, "announces Home, and is alone")

    def _check_owner(self, home_address: Address) -> None:
        holders = [
            host.name
            for host in self.hosts
            if host.core is not None
            for binding in [host.core.bindings.get(home_address)]
            if binding is not None and binding.kind is not BindingKind.PROXIED
        ]
        assert self.calm_since is not None
        since = max(self.calm_since, self._changed_at[home_address])
        if len(holders) > 1:
            self._note(Invariant.ONE_OWNER, self._loop.now - since)
            if self._loop.now - since > bounds.ONE_OWNER:
                what = f"{' and '.join(holders)} hold it for {self._loop.now - since:.0f} s"
                self._fail(Invariant.ONE_OWNER, home_address, what)

    def _must_end(
        self, invariant: Invariant, home_address: Address | None, within: float, *thing: object
    ) -> None:
        since = self._wrong_since[thing] = self._wrong_before.get(thing, self._loop.now)
        if self._loop.now - since > within:
            what = " ".join(map(str, thing))
            self._fail(invariant, home_address, f"for {self._loop.now - since:.1f} s: {what}")

    def _note(self, invariant: Invariant, seconds: float) -> None:
        self.worst[invariant] = max(self.worst.get(invariant, 0.0), seconds)

    def _fail(self, invariant: Invariant, home_address: Address | None, text: str) -> NoReturn:
        raise Violation(invariant, home_address, text)


def names_of(home: Home) -> Mapping[Address, str]:
    """What hosts and mobile routers are called, by their addresses."""
    names = {address: one.name for one in home.home_agents for address in (one.outer, one.haha)}
    return names | {one.home_address: one.name for one in home.mobile_routers}
