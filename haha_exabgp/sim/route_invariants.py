"""What must hold of kernels, guards and announcements: what follows from bindings, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from ..agent.batch import Batch, LettingIn
from ..protocol.binding import Binding, BindingKind
from ..protocol.effects import Admit
from ..protocol.footprint import NOTHING, footprint
from ..protocol.home import HomeAgentConfig, LeakPolicy
from ..protocol.routes import Announcement, Audience, LearnedRoute, Metric, RouteKind
from ..wire.address import Address, Prefix
from . import bounds
from .home_agent import HomeAgentHost
from .kernel import pieces
from .situation import Situation
from .violation import Invariant

_AUDIENCES = frozenset(
    (
        (RouteKind.HOME, Audience.SITE),
        (RouteKind.HOME, Audience.SATELLITE),
        (RouteKind.HOME_LEAVING, Audience.SITE),
        (RouteKind.MNP, Audience.SITE),
        (RouteKind.SITE, Audience.OTHER_SITES),
        (RouteKind.LEAK, Audience.MESH),
        (RouteKind.SATELLITE, Audience.PARENT),
        (RouteKind.SATELLITE, Audience.SITE),
    )
)
"""Said here again, so that a mistake in the core's own table is found."""
_BY_BINDINGS = (Metric.BINDING, Metric.SECONDARY, Metric.PROXIED)


class RouteInvariants:
    """Looks at batches in force, at what is learned, and once in a while at all there is."""

    def __init__(self, situation: Situation) -> None:
        self._now = situation
        self._wrong_since: dict[tuple[object, ...], float] = {}
        self._wrong_before: dict[tuple[object, ...], float] = {}
        """What the last sweep found wrong, and the one before."""
        self._rivalled: dict[tuple[str, Address], int] = {}
        """By Home Agent and home address, the mobility sequence of a binding there while another site leaked
        another attachment: then it may be leaked whatever its policy says but `never`."""

    def enforced(self, host: HomeAgentHost, batch: Batch) -> None:
        """What a binding means stands as soon as its batch is in force, and nothing of the one before."""
        for home_address in batch.bindings:
            self.check_footprint(host, home_address)
        for prefix, metric in batch.routes:
            if metric == Metric.PREPARED:
                self._now.prepared_at[self._now.owners[prefix]] = self._now.loop.now
        for told in batch.announce.values():
            self._check_audience(host.config, told)
        if self._wrong_since:
            self._let_in(host, batch)

    def check_footprint(self, host: HomeAgentHost, home_address: Address) -> None:
        """All routes and permits of a binding are there, and no other routes."""
        if host.core is None:
            return
        binding = host.core.bindings.get(home_address)
        wanted = NOTHING if binding is None else footprint(binding, host.config)
        routes = {(route.prefix, route.metric): route for route in wanted.routes}
        kernel = host.kernel
        for prefix in self._now.prefixes[home_address]:
            present = kernel.routes.get(prefix, {})
            for metric in _BY_BINDINGS:
                before = host.core.wanted.route(prefix, metric)  # until the overlap is over
                if present.get(metric) != routes.get((prefix, metric), before):
                    left = (prefix, metric) not in routes
                    what = f"{host.name} has {'a' if left else 'no right'} {metric.name} route to {prefix}"
                    wrong = Invariant.NOTHING_LEFT if left else Invariant.NOTHING_MISSING
                    self._now.fail(wrong, home_address, what)
        for outer, inner in wanted.permits:
            if not kernel.permits_all(outer, inner):
                what = f"{host.name} keeps packets from {inner} out"
                self._now.fail(Invariant.NOTHING_MISSING, home_address, what)

    def _let_in(self, host: HomeAgentHost, batch: Batch) -> None:
        """What is let in anew is right from now on, though it was wrong at the last sweep."""
        for effect in batch.guard:
            if isinstance(effect, LettingIn):
                for piece in pieces(effect.inner):
                    who = None if isinstance(effect, Admit) else effect.outer
                    self._wrong_since.pop((host.name, "lets in", who, piece), None)

    def _check_audience(self, config: HomeAgentConfig, told: Announcement) -> None:
        owner = self._now.owners.get(told.prefix)
        is_leaks = owner is not None and not config.is_primary_for(owner)
        lent = {one.prefix for peer in config.peers for one in peer.lent} | {
            one.prefix for one in config.lent
        }
        rightful = {
            RouteKind.HOME: told.prefix == config.home,
            RouteKind.HOME_LEAVING: told.prefix == config.home,
            RouteKind.SITE: told.prefix == config.partition,
            RouteKind.MNP: owner is not None,
            RouteKind.LEAK: is_leaks and not config.is_satellite,
            RouteKind.SATELLITE: told.prefix in lent,
        }
        if (told.kind, told.audience) not in _AUDIENCES or not rightful[told.kind]:
            what = f"{config.name} announces {told.prefix} as {told.kind.name} to {told.audience}"
            self._now.fail(Invariant.AUDIENCE, owner, what)

    def learned(self, host: HomeAgentHost, prefix: Prefix) -> None:
        """H-9: the leak with the highest sequence is followed, whichever came last."""
        if host.core is None:
            return
        now = self._now
        self._note_rival(host, prefix)
        leaks = [one for one in host.core.routes.leaks((prefix,)) if self._may_follow(host, one)]
        route = host.kernel.routes.get(prefix, {}).get(Metric.LEAK)
        if not leaks:
            if route is not None:
                what = f"{host.name} follows a leak of {prefix} that nobody makes"
                now.fail(Invariant.NOTHING_LEFT, now.owners.get(prefix), what)
            return
        best = min(leaks, key=lambda one: (-one.sequence, one.next_hop))
        if route is None or route.tunnel_exit != host.config.outer_of(best.next_hop):
            what = f"{host.name} does not follow the newest leak of {prefix}"
            now.fail(Invariant.BEST_LEAK, now.owners.get(prefix), what)

    def _note_rival(self, host: HomeAgentHost, prefix: Prefix) -> None:
        owner = self._now.owners.get(prefix)
        if owner is None or host.core is None:
            return
        binding = host.core.bindings.get(owner)
        if binding is not None and host.core.routes.leaks((prefix,)):
            self._rivalled[host.name, owner] = binding.mobility_sequence

    def _may_follow(self, host: HomeAgentHost, leak: LearnedRoute) -> bool:
        now = self._now
        if host.core is not None and leak.next_hop in host.core.home_agents.silent:
            return False
        owner = now.owners.get(leak.prefix)
        if owner is None or host.name not in now.primaries[owner]:
            return True
        last = now.stored.get((host.name, owner))
        if last is None:
            return True
        live = host.core.bindings.get(owner) if host.core is not None else None
        if live is not None and not live.kind.is_elsewhere and live.kind is not BindingKind.DIRECT:
            return True  # bound here, as a proxy for another Home Agent of our partition
        return leak.sequence >= last.mobility_sequence + (live is None)

    def started(self, host: HomeAgentHost) -> None:
        """All is compared at a start."""
        for home_address in self._now.prefixes:
            if (host.name, home_address) in self._now.stored:
                self.check_footprint(host, home_address)
        # What the kernel had is stale from now on: since when it was, nobody knows any more.
        for thing in [thing for thing in self._wrong_since if thing[:2] == ("keeps", host.name)]:
            del self._wrong_since[thing]

    def sweep(self) -> None:
        """Everything at once: what nobody has touched may be wrong too."""
        before, self._wrong_since = self._wrong_since, {}
        self._wrong_before = before
        for host in self._now.hosts:
            if host.core is not None:
                self._sweep_host(host)
            elif host.speaker.announced:
                held = ("announces", host.name, "lease", host.speaker.lease)
                self._must_end(Invariant.NOTHING_LEFT, None, bounds.LEASE_OVER, *held)

    def _sweep_host(self, host: HomeAgentHost) -> None:
        core, now = host.core, self._now
        assert core is not None
        name = host.name
        routes, permits, admitted = core.wanted.snapshot().in_kernel()
        if set(host.kernel.present()) != routes:
            now.fail(Invariant.NOTHING_LEFT, None, f"{name}'s kernel has other routes than it should")
        for home_address, prefixes in now.prefixes.items():
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
        rightful = {(who, piece) for who, inner in wanted for piece in pieces(inner)}
        present: list[tuple[Address | None, Prefix]] = [(None, inner) for inner in host.kernel.admitted]
        present += [(outer, inner) for inner, by in host.kernel.permits.items() for outer in by]
        for who, inner in present:
            if (who, inner) not in rightful:
                owner = now.owners.get(inner)
                self._must_end(Invariant.NOTHING_LEFT, owner, bounds.GRACE, name, "lets in", who, inner)
        self._sweep_announcements(host)
        self._sweep_projections(host)
        for route, _, stale in core.routes.learned():
            thing = ("keeps", name, route.kind, route.prefix, route.peer)
            if stale or not core.routes.session_up(route.peer):
                owner = now.owners.get(route.prefix)
                self._must_end(Invariant.STALE_ROUTE, owner, bounds.STALE_ROUTE, *thing)

    def _sweep_announcements(self, host: HomeAgentHost) -> None:
        core, name = host.core, host.name
        if core is None or not host.speaker.link:
            return
        bound = {
            (kind, prefix)
            for one in core.bindings
            for kind, prefixes in self._told_of(host, one)
            for prefix in prefixes
        }
        told = {
            (one.kind, one.prefix)
            for one in host.speaker.announced.values()
            if one.kind in (RouteKind.MNP, RouteKind.LEAK)
        }
        for _, prefix in sorted(one for one in told if one[0] is RouteKind.LEAK):
            owner = self._now.owners.get(prefix)
            if owner is not None:
                self._check_leak_policy(host, owner, prefix)
        for kind, prefix in sorted(told ^ bound):
            wrong = Invariant.NOTHING_LEFT if (kind, prefix) in told else Invariant.NOTHING_MISSING
            what = f"{name} announces {prefix} as {kind.name} and has no binding, or has one and does not"
            self._now.fail(wrong, self._now.owners.get(prefix), what)
        home = (Audience.SITE, host.config.home) in host.speaker.announced
        if home and host.config.min_sites_reached and not host.speaker.reaches_another_site():
            self._must_end(Invariant.HOME_HELD, None, bounds.HOME_ALONE, name, "announces Home, and is alone")

    def _check_leak_policy(self, host: HomeAgentHost, owner: Address, prefix: Prefix) -> None:
        """K-6: never means never, and what is leaked on traffic has some."""
        config, core, now = host.config, host.core, self._now
        policy = config.mobile_routers[owner].leak or config.leak
        if policy is LeakPolicy.NEVER:
            now.fail(Invariant.AUDIENCE, owner, f"{host.name} leaks {prefix}, which is never to be leaked")
        binding = core.bindings.get(owner) if core is not None else None
        if policy is not LeakPolicy.ON_TRAFFIC or core is None or binding is None:
            return
        if binding.kind is BindingKind.SECONDARY:
            return  # nothing counts its packets (`protocol/leaks.py`)
        last = max((host.counters.last.get(one, 0.0) for one in now.prefixes[owner]), default=0.0)
        self._note_rival(host, prefix)
        if self._rivalled.get((host.name, owner)) == binding.mobility_sequence:
            return
        if now.loop.now - last > config.leak_idle:
            quiet = (host.name, "leaks without traffic", prefix)
            self._must_end(Invariant.NOTHING_LEFT, owner, bounds.QUIET, *quiet)

    def _sweep_projections(self, host: HomeAgentHost) -> None:
        """O-9: a projected route ends soon after the mobile router has left the egress."""
        core, now = host.core, self._now
        assert core is not None
        for projection in core.projections():
            home_address, egress = projection.authorised.home_address, projection.authorised.egress
            there = next(one.core for one in now.hosts if one.config.haha == egress.haha)
            binding = there.bindings.get(home_address) if there is not None else None
            if there is None or (binding is not None and not binding.kind.is_elsewhere):
                continue
            thing = (host.name, "projects", home_address, "to", egress.name)
            self._must_end(Invariant.PROJECTION, home_address, bounds.PROJECTED_EVER, *thing)
            if now.calm_since is not None:
                lasted = now.loop.now - max(self._wrong_since[thing], now.calm_since)
                now.note(Invariant.PROJECTION, lasted)
                if lasted > bounds.PROJECTED:
                    what = f"for {lasted:.1f} s: {' '.join(map(str, thing))}"
                    now.fail(Invariant.PROJECTION, home_address, what)

    def _told_of(
        self, host: HomeAgentHost, binding: Binding
    ) -> Iterator[tuple[RouteKind, tuple[Prefix, ...]]]:
        """What a binding has announced: to its site by who holds it, or by the primary where that is another
        site's; to the other sites where it is away."""
        config, kind = host.config, binding.kind
        is_neighbours = kind is BindingKind.PROXIED and binding.peer in config.neighbours
        if kind is not BindingKind.REPLICA and not is_neighbours:
            yield RouteKind.MNP, binding.routes()
        is_leaked = host.core is not None and host.core.leaks.state(binding.home_address) is None
        if self._now.is_away(binding, config) and is_leaked:
            yield RouteKind.LEAK, binding.leaked()

    def _must_end(
        self, invariant: Invariant, home_address: Address | None, within: float, *thing: object
    ) -> None:
        now = self._now.loop.now
        since = self._wrong_since[thing] = self._wrong_before.get(thing, now)
        if now - since > within:
            what = " ".join(map(str, thing))
            self._now.fail(invariant, home_address, f"for {now - since:.1f} s: {what}")
