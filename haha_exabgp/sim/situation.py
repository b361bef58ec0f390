"""What invariants have in common: who is there, what has been stored, whether anything is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import NoReturn

from ..protocol.binding import Binding, BindingKind
from ..protocol.home import HomeAgentConfig, LeakPolicy
from ..wire.address import Address, Prefix
from .home import MAX_LIFETIME, Home
from .home_agent import HomeAgentHost
from .loop import EventLoop
from .network import Weather
from .trace import Trace
from .violation import Invariant, Violation


class Situation:
    """Of one simulation, now."""

    def __init__(self, loop: EventLoop, home: Home, trace: Trace) -> None:
        self.loop = loop
        self.home = home
        self.trace = trace
        self.hosts: Sequence[HomeAgentHost] = ()
        self.calm_since: float | None = None
        """Since when nothing is broken; None while something is."""
        self.clocks_are_true = True
        """The clocks of no two Home Agents have ever been further apart than the replay window."""
        self.clocks_were_true = True
        """The same in the last storm."""
        self.prefixes = {one: (Prefix.host(one), *networks) for one, networks in home.networks.items()}
        """Home address -> all that is routed to its mobile router."""
        self.owners = {prefix: one for one, prefixes in self.prefixes.items() for prefix in prefixes}
        self.primaries = {
            one: tuple(config.name for config in home.home_agents if config.is_primary_for(one))
            for one in home.networks
        }
        """By home address, who can be its primary: one of them is, for all that see each other."""
        self.names = {address: one.name for one in home.home_agents for address in one.addresses}
        """Of Home Agents, by the addresses that they have inside tunnels."""
        self.stored: dict[tuple[str, Address], Binding] = {}
        """By the name of a Home Agent and home address: the last record in its store, ended ones too."""
        self.changed_at: dict[Address, float] = dict.fromkeys(home.networks, 0.0)
        """When the last binding of a home address was made or has ended."""
        self.prepared_at: dict[Address, float] = dict.fromkeys(home.networks, -inf)
        """When a proxy last made ready for a mobile router, or ceased to be."""
        self.started_at = 0.0
        """When an agent was last started."""
        self.disturbed_at = 0.0
        """When a fault last began or ended, or an agent was started or killed."""
        self.weather = Weather()
        self.store_lost_at = -inf
        """When one was last lost."""
        self.restarted_at: dict[str, float] = {}
        """When the agent of a Home Agent was last started anew."""
        self._always_leaked = {one for one in home.networks if _is_always_leaked(home, one)}
        self.worst: dict[Invariant, float] = {}
        """Of what has a bound: the longest that was seen, in seconds."""

    @property
    def settled_for(self) -> float:
        """Seconds for which nothing has happened to anybody and all has got through, though something may be
        broken."""
        if not (self.weather.is_fine and self.clocks_were_true):
            return 0.0
        return self.loop.now - self.disturbed_at

    def forgetfulness(self, home_address: Address) -> float:
        """Seconds more that it may take until all know where a mobile router is: if a store was lost, until
        its next Binding Update (F-7); and a primary that was started anew does not know whom it was telling,
        and of who is not leaked nobody tells it."""
        if self.loop.now - self.store_lost_at < MAX_LIFETIME:
            return MAX_LIFETIME
        if home_address in self._always_leaked:
            return 0.0
        restarted = max(self.restarted_at.get(name, -inf) for name in self.primaries[home_address])
        return MAX_LIFETIME if self.loop.now - restarted < MAX_LIFETIME else 0.0

    def stored_by_primaries(self, home_address: Address) -> list[Binding]:
        """What those have stored who can be primary, ended ones too."""
        found = (self.stored.get((name, home_address)) for name in self.primaries[home_address])
        return [binding for binding in found if binding is not None]

    def holders(self, home_address: Address) -> Iterator[tuple[HomeAgentHost, Binding]]:
        """At whom the mobile router's tunnel ends, as each of them believes."""
        for host in self.hosts:
            binding = None if host.core is None else host.core.bindings.get(home_address)
            if binding is not None and not binding.kind.is_elsewhere:
                yield host, binding

    def is_away(self, binding: Binding, config: HomeAgentConfig) -> bool:
        """Whether a binding of a Home Agent is one that other sites may be told of."""
        is_here = binding.kind is BindingKind.PROXY and not config.is_satellite
        is_here = is_here or binding.kind is BindingKind.SECONDARY
        return is_here and not config.is_primary_for(binding.home_address)

    def note(self, invariant: Invariant, seconds: float) -> None:
        """Something was wrong for so long."""
        self.worst[invariant] = max(self.worst.get(invariant, 0.0), seconds)

    def fail(self, invariant: Invariant, home_address: Address | None, text: str) -> NoReturn:
        """Raises Violation."""
        raise Violation(invariant, home_address, text)


def _is_always_leaked(home: Home, home_address: Address) -> bool:
    """Wherever it is away. What a satellite has of its parent's own mobile routers is not leaked."""
    primaries = {config.site for config in home.home_agents if config.is_primary_for(home_address)}
    if any(lent.parent in primaries for config in home.home_agents for lent in config.lent):
        return False
    return all(
        (config.mobile_routers[home_address].leak or config.leak) is LeakPolicy.ALWAYS
        and config.max_leaks is None
        and not config.flap_moves
        for config in home.home_agents
    )
