"""What invariants have in common: who is there, what has been stored, whether anything is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

from ..protocol.binding import Binding, BindingKind
from ..protocol.home import HomeAgentConfig
from ..wire.address import Address, Prefix
from .home import Home
from .home_agent import HomeAgentHost
from .loop import EventLoop
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
        self.started_at = 0.0
        """When an agent was last started."""
        self.worst: dict[Invariant, float] = {}
        """Of what has a bound: the longest that was seen, in seconds."""

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
        return binding.kind is BindingKind.PROXY and not config.is_primary_for(binding.home_address)

    def note(self, invariant: Invariant, seconds: float) -> None:
        """Something was wrong for so long."""
        self.worst[invariant] = max(self.worst.get(invariant, 0.0), seconds)

    def fail(self, invariant: Invariant, home_address: Address | None, text: str) -> NoReturn:
        """Raises Violation."""
        raise Violation(invariant, home_address, text)
