"""Bugs to be found: each is a context manager that takes a rule out of the protocol, or out of the order in
which an agent does things, and puts it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from haha_exabgp.agent.grace import Grace
from haha_exabgp.protocol import registration
from haha_exabgp.protocol.answers import accept
from haha_exabgp.protocol.binding import Binding, Ending
from haha_exabgp.protocol.bindings import Bindings
from haha_exabgp.protocol.effects import Remember
from haha_exabgp.protocol.home import LeakPolicy
from haha_exabgp.protocol.home_agents_list import HomeAgentsList
from haha_exabgp.protocol.leaks import Leaks
from haha_exabgp.protocol.preparation import Preparations
from haha_exabgp.protocol.primary import Primary
from haha_exabgp.protocol.projection_egress import ProjectionEgress
from haha_exabgp.protocol.proxy import Proxy
from haha_exabgp.protocol.replication import Replication
from haha_exabgp.protocol.revocation import Revocations
from haha_exabgp.protocol.route_exchange import RouteExchange, _Learned
from haha_exabgp.protocol.routes import KernelRoute
from haha_exabgp.protocol.satellite import Satellite
from haha_exabgp.protocol.wanted import WantedState
from haha_exabgp.sim.home import Home
from haha_exabgp.sim.home_agent import HomeAgentHost
from haha_exabgp.sim.violation import Invariant
from haha_exabgp.wire.address import Address

Patch = Callable[[pytest.MonkeyPatch], None]


def _planted(patch: Patch) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def planted() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as monkeypatch:
            patch(monkeypatch)
            yield

    planted.__name__, planted.__doc__ = patch.__name__, patch.__doc__
    return planted


def _instead_of(check: Callable[..., Any], by: Callable[..., Any]) -> Patch:
    """One check of the tables in registration.py is another one."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for module, name in (
            (registration, "RELAYED"),
            ("haha_exabgp.protocol.primary", "RELAYED"),
            (registration, "DIRECT"),
            ("haha_exabgp.protocol.direct_updates", "DIRECT"),
        ):
            table = getattr(registration, name)
            changed = tuple(by if one is check else one for one in table)
            target = f"{module}.{name}" if isinstance(module, str) else f"{module.__name__}.{name}"
            monkeypatch.setattr(target, changed)

    return patch


@_planted
def late_deregistration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain RFC 6275: a de-registration deletes by home address, whoever sends it and however late (H-7)."""
    check = registration._check_relayed_order

    def by_home_address(request: Any, context: Any) -> Any:
        return None if request.deregisters else check(request, context)

    _instead_of(check, by_home_address)(monkeypatch)


@_planted
def no_order_across_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever proxy speaks last is believed (H-6)."""
    _instead_of(registration._check_relayed_order, lambda request, context: None)(monkeypatch)


@_planted
def no_revocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that has been left is not told (H-4)."""
    monkeypatch.setattr(Primary, "_revoke", lambda *arguments: None)
    monkeypatch.setattr(Primary, "_revoke_lagging", lambda *arguments: None)


@_planted
def revocation_without_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy takes every revocation for one of the binding that it has."""
    receive = Proxy.receive_revocation

    def obey(self: Proxy, packet: Any, message: Any, peer: Any, now: Any) -> None:
        cache = self._bindings.cache
        for binding in list(cache):
            if binding.peer == peer.haha:
                cache._live[binding.home_address] = binding._replace(mobility_sequence=0)
        receive(self, packet, message, peer, now)

    monkeypatch.setattr(Proxy, "receive_revocation", obey)


@_planted
def leaks_by_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two leaks of one prefix the one with the lowest address is followed, whatever the sequence (H-9)."""
    monkeypatch.setattr(
        "haha_exabgp.protocol.route_exchange._rank", lambda entry: (entry.route.next_hop, entry.route.peer)
    )


@_planted
def outdated_leaks_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary follows the leak of a proxy that it knows to have been left."""
    monkeypatch.setattr(Bindings, "is_outdated", lambda self, leak: False)


@_planted
def permits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has once been let in is never kept out."""
    monkeypatch.setattr(Grace, "take", lambda self, effects, now: None)


@_planted
def timer_stays_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation that is due is sent, and stays due."""
    monkeypatch.setattr(Revocations, "due", lambda self, now: iter(self._pending.values()))


@_planted
def leak_not_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leak outlives its binding (K-5, L-7)."""
    rebind = Leaks.rebind

    def keep(self: Leaks, before: Binding | None, after: Binding | None) -> None:
        if after is not None:
            rebind(self, before, after)

    monkeypatch.setattr(Leaks, "rebind", keep)


@_planted
def stale_routes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learned over a lost session stays (F-6)."""
    monkeypatch.setattr(_Learned, "make_stale", lambda self, now: None)


@_planted
def no_discard_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no route in Home goes to the Internet, which brings it back."""
    set_route = WantedState.set_route

    def skip(self: WantedState, route: KernelRoute) -> None:
        if route.tunnel_exit is not None:
            set_route(self, route)

    monkeypatch.setattr(WantedState, "set_route", skip)


@_planted
def acknowledged_before_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store comes last."""
    guard, routes, save, tell, transmit = HomeAgentHost.STEPS
    monkeypatch.setattr(HomeAgentHost, "STEPS", (guard, routes, tell, transmit, save))


@_planted
def acknowledged_before_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes come last."""
    guard, routes, save, tell, transmit = HomeAgentHost.STEPS
    monkeypatch.setattr(HomeAgentHost, "STEPS", (guard, save, transmit, tell, routes))


@_planted
def refresh_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A binding is made durable when it changes its place, and not when it is prolonged."""
    put = Bindings._put

    def forget(self: Bindings, current: Binding | None, binding: Binding, now: Any) -> None:
        put(self, current, binding, now)
        if current is not None and current.means_the_same(binding):
            effects = self._node._effects
            effects[:] = [one for one in effects if not isinstance(one, Remember)]

    monkeypatch.setattr(Bindings, "_put", forget)


@_planted
def proxy_before_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy acknowledges at once, and asks the primary then (B-3)."""
    ask = Proxy._ask

    def answer(self: Proxy, exchange: Any, header: bytes, primary: Any, now: Any) -> None:
        request = exchange.request
        if not request.deregisters:
            granted = registration.Granted(exchange.policy.prefixes, request.lifetime)
            self._bindings.bind_as_proxy(request, primary.haha, granted, int(now.wall), now)
            accept(self._node, exchange, request.lifetime, now)
        ask(self, exchange, header, primary, now)

    monkeypatch.setattr(Proxy, "_ask", answer)


@_planted
def longer_than_the_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy does not take off what has elapsed (B-6)."""
    bind = Bindings.bind_as_proxy

    def prolong(self: Bindings, request: Any, primary: Any, granted: Any, *rest: Any) -> Binding:
        return bind(self, request, primary, granted._replace(lifetime=request.lifetime), *rest)

    monkeypatch.setattr(Bindings, "bind_as_proxy", prolong)


@_planted
def sequence_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary gives a binding that follows an ended one a mobility sequence of its clock alone."""
    monkeypatch.setattr("haha_exabgp.protocol.bindings.next_sequence", lambda last: 0)


@_planted
def home_announced_when_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that is cut off goes on attracting what it cannot deliver (E-6)."""
    monkeypatch.setattr(RouteExchange, "sites_reached", lambda self: 9)


@_planted
def prepared_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that gets no answer from the primary leaves what it has prepared as it is."""

    def end(self: Preparations, home_address: Address) -> None:
        if self._cache.get(home_address) is not None:
            original(self, home_address)

    original = Preparations.end
    monkeypatch.setattr(Preparations, "end", end)


@_planted
def nobody_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns a home address, and who leads a site, does not depend on who is up (F-2)."""
    monkeypatch.setattr(HomeAgentsList, "is_eligible", lambda self, peer: True)


@_planted
def replicas_not_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others that can be primary hear of bindings when they come up, and never again."""
    monkeypatch.setattr(Replication, "changed", lambda self, binding: None)


@_planted
def refusal_ends_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Home Agent asked as a proxy is refused, and it ends what it has been told since."""

    def end(self: Proxy, home_address: Address, why: Ending) -> None:
        current = self._bindings.cache.get(home_address)
        if current is not None:
            self._bindings.end(current, why)

    monkeypatch.setattr(Proxy, "_end", end)


@_planted
def two_border_home_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of a site take themselves for it."""
    monkeypatch.setattr(HomeAgentsList, "border", lambda self: None)


@_planted
def no_purge(monkeypatch: pytest.MonkeyPatch) -> None:
    """An egress does not take back what it has said, so that a projected route outlives a move (O-9)."""
    monkeypatch.setattr(ProjectionEgress, "_purge", lambda self, binding, now: None)


@_planted
def leak_policy_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody is leaked (K-6)."""
    monkeypatch.setattr(Leaks, "_policy", lambda self, binding: LeakPolicy.ALWAYS)


@_planted
def leaked_without_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has once had traffic is leaked for good."""
    monkeypatch.setattr(Leaks, "judge_again", lambda self, home_addresses: None)


@_planted
def satellite_keeps_the_old_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Primaries do not hear that a satellite hangs under another parent."""
    monkeypatch.setattr(Satellite, "_tell_primaries", lambda self: None)


PLANTED: dict[Callable[[], AbstractContextManager[None]], set[Invariant]] = {
    late_deregistration: {Invariant.NEWEST_WINS},
    no_order_across_proxies: {Invariant.NEWEST_WINS},
    no_revocation: {Invariant.ONE_OWNER, Invariant.CURRENT_PLACE},
    revocation_without_sequence: {Invariant.NEWEST_WINS, Invariant.BINDING_KEPT},
    leaks_by_arrival: {Invariant.BEST_LEAK},
    outdated_leaks_followed: {Invariant.BEST_LEAK, Invariant.NOTHING_LEFT},
    leak_not_withdrawn: {Invariant.NOTHING_LEFT},
    stale_routes_for_ever: {Invariant.STALE_ROUTE},
    no_discard_route: {Invariant.NO_LOOP},
    acknowledged_before_durable: {Invariant.BINDING_KEPT},
    acknowledged_before_the_kernel: {Invariant.NOTHING_MISSING},
    refresh_not_stored: {Invariant.BINDING_KEPT},
    proxy_before_primary: {Invariant.PRIMARY_FIRST, Invariant.ONE_OWNER},
    longer_than_the_primary: {Invariant.LIFETIME},
    sequence_starts_anew: {Invariant.ONE_OWNER, Invariant.NEWEST_WINS},
    home_announced_when_alone: {Invariant.HOME_HELD},
    prepared_for_ever: {Invariant.NOTHING_LEFT},
    permits_for_ever: {Invariant.NOTHING_LEFT},
    timer_stays_due: {Invariant.TIME_PASSES},
    nobody_takes_over: {Invariant.TAKE_OVER, Invariant.BORDER},
    replicas_not_updated: {Invariant.TAKE_OVER, Invariant.REACHABLE},
    refusal_ends_a_replica: {Invariant.NEWEST_WINS},
    two_border_home_agents: {Invariant.BORDER},
    no_purge: {Invariant.PROJECTION},
    leak_policy_ignored: {Invariant.AUDIENCE},
    leaked_without_traffic: {Invariant.NOTHING_LEFT},
    satellite_keeps_the_old_parent: {Invariant.PARENT, Invariant.BINDING_KEPT},
}
"""Each with the invariants of which one has to speak first."""


def _several_primaries(home: Home) -> bool:
    partitions = [config.partition for config in home.home_agents if config.partition is not None]
    return len(partitions) > len(set(partitions))


def _two_in_a_site(home: Home) -> bool:
    return len({config.site for config in home.home_agents}) < len(home.home_agents)


def _two_parents(home: Home) -> bool:
    return any(len(config.lent) > 1 for config in home.home_agents)


WHERE: dict[Callable[[], AbstractContextManager[None]], Callable[[Home], bool]] = {
    nobody_takes_over: _several_primaries,
    replicas_not_updated: _several_primaries,
    refusal_ends_a_replica: _several_primaries,
    two_border_home_agents: _two_in_a_site,
    no_purge: lambda home: home.home_agents[0].on_demand is not None,
    satellite_keeps_the_old_parent: _two_parents,
}
"""In which Homes each can show at all: others are passed over."""
