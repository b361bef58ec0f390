"""What `haha show` can ask a Home Agent: rows of plain values, the same for people and programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.home import HomeAgentConfig, Peer
from ..protocol.home_agent import HomeAgent
from ..protocol.routes import Metric
from ..wire.address import Address, Prefix
from .clocks import read_clocks
from .control import Rows, Views
from .known_mobile_routers import leak_state, mobile_router_rows

if TYPE_CHECKING:
    from .home_agent import HomeAgentDaemon


def home_agent_views(daemon: HomeAgentDaemon) -> Views:
    """The views by their names."""
    return {
        "bindings": lambda: _bindings(daemon),
        "routes": lambda: _routes(daemon),
        "peers": lambda: _peers(daemon),
        "tunnels": lambda: _tunnels(daemon),
        "sites": lambda: _sites(daemon),
        "projections": lambda: _projections(daemon),
        "counters": lambda: _counters(daemon),
        "drain": daemon.draining.rows,
        "mobile-router": lambda of=None: mobile_router_rows(daemon.core, daemon.config, of, read_clocks()),
    }


def _bindings(daemon: HomeAgentDaemon) -> Rows:
    now = read_clocks()
    names = _names(daemon)
    return [
        {
            "mobile_router": names[binding.home_address],
            "home_address": str(binding.home_address),
            "care_of_address": str(binding.care_of_address),
            "kind": str(binding.kind),
            "through": names[binding.peer] if binding.peer is not None else "",
            "prefixes": list(map(str, binding.prefixes)),
            "mobility_sequence": binding.mobility_sequence,
            "since": round(binding.registered, 3),
            "expires_in": round(binding.expires - now.monotonic, 1),
            "leak": leak_state(daemon.core, daemon.config, binding, now),
        }
        for binding in daemon.core.bindings
    ]


async def _routes(daemon: HomeAgentDaemon) -> Rows:
    return await _kernel(daemon) + _learned(daemon) + _announced(daemon)


async def _kernel(daemon: HomeAgentDaemon) -> Rows:
    """What the kernel has, not what it was told."""
    names = _names(daemon)
    return [
        {
            **_route(route.prefix, "kernel", Metric(route.metric).name.lower()),
            "via": _via(route.tunnel_exit, names),
            "metric": route.metric,
        }
        for route in sorted(await daemon.kernel_routes(), key=lambda route: (route.prefix, route.metric))
    ]


def _learned(daemon: HomeAgentDaemon) -> Rows:
    names = _names(daemon)
    return [
        {
            **_route(route.prefix, "stale" if stale else "learned", route.kind.name.lower()),
            "via": _via(route.next_hop, names),
            "sequence": route.sequence,
            "best": best,
        }
        for route, best, stale in daemon.core.routes.learned()
    ] + [
        {
            **_route(route.prefix, f"refused: {reason}", route.kind.name.lower()),
            "via": _via(route.next_hop, names),
            "sequence": route.sequence,
        }
        for route, reason in daemon.core.routes.refused()
    ]


def _announced(daemon: HomeAgentDaemon) -> Rows:
    return [
        {
            **_route(told.prefix, f"announced to {told.audience}", told.kind.name.lower()),
            "via": str(told.next_hop),
            "sequence": told.sequence,
        }
        for told in sorted(daemon.core.wanted.announcements(), key=lambda told: (told.prefix, told.audience))
    ]


def _route(prefix: Prefix, state: str, kind: str) -> dict[str, Any]:
    return {"prefix": str(prefix), "state": state, "kind": kind}


def _via(address: Address | None, names: _Names) -> str:
    if address is None:
        return "unreachable"
    name = names.get(address, "")
    return f"{address} ({name})" if name else str(address)


def _peers(daemon: HomeAgentDaemon) -> Rows:
    routes = daemon.core.routes
    counts: dict[Address, int] = {}
    for route, _, _ in routes.learned():
        counts[route.peer] = counts.get(route.peer, 0) + 1
    names = _names(daemon)
    return [
        {
            "peer": str(peer),
            "name": names[peer],
            "session": "up" if routes.session_up(peer) else "down",
            "routes_learned": counts.get(peer, 0),
            "limit": _limit(daemon, peer),
            "exabgp": daemon.hook.exabgp or "not connected",
        }
        for peer in (*daemon.config.home_agent_sessions, daemon.config.site_router)
    ]


def _limit(daemon: HomeAgentDaemon, peer: Address) -> str:
    limit, state = daemon.config.max_learned, daemon.hook.limits.get(peer)
    if state is None:
        return f"{limit}"
    more = f": {state.passed_over} passed over" if state.passed_over else ""
    return f"{limit}, {state.fill}{more}"


async def _tunnels(daemon: HomeAgentDaemon) -> Rows:
    names = _names(daemon)
    behind: dict[Address, list[str]] = {}
    for route in sorted(await daemon.kernel_routes(), key=lambda route: route.prefix):
        if route.tunnel_exit is not None:
            behind.setdefault(route.tunnel_exit, []).append(str(route.prefix))
    return [
        {
            "from": str(daemon.config.outer),
            "to": str(tunnel_exit),
            "name": names.get(tunnel_exit, "mobile router"),
            "prefixes": prefixes,
        }
        for tunnel_exit, prefixes in sorted(behind.items())
    ]


def _sites(daemon: HomeAgentDaemon) -> Rows:
    config = daemon.config
    own = {
        "site": config.site,
        **_role(config),
        "home_agent": config.name,
        "outer": str(config.outer),
        "haha": str(config.haha),
        "reached": "self",
        "locate": "",
    }
    others = [
        {
            "site": peer.site,
            **_role(peer),
            "home_agent": peer.name,
            "outer": str(peer.outer),
            "haha": str(peer.haha),
            "reached": _reached(peer, daemon.core),
            "locate": _locate(peer, config),
        }
        for peer in config.peers
    ]
    unknown = [
        {
            "site": "",
            "role": "not in the configuration",
            "partition": "",
            "parents": [],
            "home_agent": "",
            "outer": str(one.outer),
            "haha": "",
            "reached": f"heard from {one.heard_from}",
            "locate": "",
        }
        for one in daemon.core.home_agents.unknown()
    ]
    return [own, *others, *unknown]


def _locate(peer: Peer, config: HomeAgentConfig) -> str:
    """How we find out which of us holds a binding, where we are primary for the same home addresses."""
    theirs, ours = peer.partition, config.partition
    if theirs is None or ours is None or not (theirs.covers(ours) or ours.covers(theirs)):
        return ""
    return str(peer.locate)


def _role(one: HomeAgentConfig | Peer) -> dict[str, Any]:
    """A satellite has no partition, but parents that lend it something."""
    return {
        "role": "satellite" if one.is_satellite else "primary",
        "partition": str(one.partition or ""),
        "parents": [f"{lent.parent} {lent.prefix}" for lent in one.lent],
    }


def _reached(peer: Peer, core: HomeAgent) -> str:
    routes, by = core.routes, core.home_agents.heard_from(peer)
    if not peer.is_adjacent:
        heard = f"heard from {by}" if by else "not heard by any"
        return f"by {'its parent' if peer.is_satellite else routes.parent or 'no parent'}, {heard}"
    if not routes.reaches(peer):
        return "no"
    return "yes, as parent" if peer.site == routes.parent else "yes"


def _projections(daemon: HomeAgentDaemon) -> Rows:
    """Routes on demand: first those from here, then who was told that they lead here."""
    now, names, bindings = read_clocks().monotonic, _names(daemon), daemon.core.bindings
    ingress = [
        {
            "end": "ingress",
            "mobile_router": names[one.authorised.home_address],
            "home_agent": one.authorised.egress.name,
            "prefixes": list(map(str, one.prefixes)),
            "mobility_sequence": one.authorised.mobility_sequence,
            "since": round(one.since, 3),
            "expires_in": round(one.expires - now, 1),
        }
        for one in daemon.core.projections()
    ]
    egress = [
        {
            "end": "egress",
            "mobile_router": names[home_address],
            "home_agent": peer.name,
            "prefixes": list(map(str, binding.routes())),
            "mobility_sequence": binding.mobility_sequence,
            "expires_in": round(until - now, 1),
        }
        for home_address, peer, until in daemon.core.projected_here()
        if (binding := bindings.get(home_address)) is not None
    ]
    return ingress + egress


async def _counters(daemon: HomeAgentDaemon) -> Rows:
    guard = await daemon.guard_counters()
    counts = {**daemon.core.counters, **{f"guard_{k}": v for k, v in guard.items()}}
    counts["routes_passed_over"] = sum(one.passed_over for one in daemon.hook.limits.values())
    counts["prefixes_leaked"] = len(daemon.core.leaks)
    return [{"counter": name, "value": value} for name, value in sorted(counts.items())]


class _Names:
    """The name of every address that has one, without a look at all mobile routers."""

    def __init__(self, config: HomeAgentConfig) -> None:
        self._mobile_routers = config.mobile_routers
        self._fixed = {
            config.outer: config.name,
            **dict.fromkeys(config.addresses, config.name),
            config.site_router: f"{config.site} router",
        }
        self._fixed |= {one.address: one.name for one in config.reflectors}
        for peer in config.peers:
            self._fixed |= dict.fromkeys((peer.outer, *peer.addresses), peer.name)

    def get(self, address: Address, otherwise: str) -> str:
        if address in self._fixed:
            return self._fixed[address]
        policy = self._mobile_routers.get(address)
        return policy.name if policy is not None else otherwise

    def __getitem__(self, address: Address) -> str:
        return self.get(address, str(address))


def _names(daemon: HomeAgentDaemon) -> _Names:
    return _Names(daemon.config)
