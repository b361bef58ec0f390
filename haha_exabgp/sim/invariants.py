"""What must hold after every event.

Each invariant is checked where it could come to be broken: at what the store has taken, a batch in force, a
packet that leaves or arrives; what breaks by the passing of time alone is looked for in `sweep`. Here is only
who looks at what.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..agent.batch import Batch
from ..protocol.binding import Binding
from ..wire.address import Address, Prefix
from .binding_invariants import BindingInvariants
from .home import Home
from .home_agent import HomeAgentHost
from .kernel import Fate
from .loop import EventLoop
from .packet_invariants import PacketInvariants
from .packets import Packet
from .route_invariants import RouteInvariants
from .site_invariants import SiteInvariants
from .situation import Situation
from .trace import Trace


class Invariants:
    """Looks on at every host. Every method raises Violation."""

    def __init__(self, loop: EventLoop, home: Home, trace: Trace) -> None:
        self.situation = Situation(loop, home, trace)
        self.bindings = BindingInvariants(self.situation)
        self._routes = RouteInvariants(self.situation)
        self.packets = PacketInvariants(self.situation)
        self._sites = SiteInvariants(self.situation)

    def remembered(self, host: HomeAgentHost, binding: Binding) -> None:
        """Something is in a store."""
        self.bindings.remembered(host, binding)
        self.packets.remembered(binding)

    def enforced(self, host: HomeAgentHost, batch: Batch) -> None:
        """A batch is in force and told."""
        self._routes.enforced(host, batch)

    def transmitted(self, host: HomeAgentHost, octets: bytes) -> None:
        """An agent has sent a packet: what it promises stands already."""
        self.situation.trace.add_packet(host.name, octets)
        promised = self.bindings.acknowledged(host, octets)
        if promised is not None:
            self._routes.check_footprint(host, promised)

    def learned(self, host: HomeAgentHost, prefix: Prefix) -> None:
        """An agent has heard of a prefix, and done what follows."""
        self._routes.learned(host, prefix)

    def started(self, host: HomeAgentHost) -> None:
        """An agent has taken up what it had, and compared it with what is there."""
        self.situation.started_at = self.situation.disturbed_at = self.situation.loop.now
        if self.situation.loop.now:
            self.situation.restarted_at[host.name] = self.situation.loop.now
        self.bindings.started(host)
        self._routes.started(host)

    def killed(self, host: HomeAgentHost) -> None:
        """An agent has died."""
        self.situation.disturbed_at = self.situation.loop.now

    def forgot(self, host: HomeAgentHost) -> None:
        """A store is empty: nothing that was promised there can be asked for."""
        situation = self.situation
        situation.store_lost_at = situation.loop.now
        for key in [key for key in situation.stored if key[0] == host.name]:
            del situation.stored[key]

    def dropped(self, host: HomeAgentHost, packet: Packet, fate: Fate) -> None:
        """A kernel has dropped a packet."""
        self.packets.dropped(host, packet, fate)

    def sweep(self) -> None:
        """Time has passed."""
        self._routes.sweep()
        self.bindings.sweep()
        self._sites.sweep()


def names_of(home: Home) -> Mapping[Address, str]:
    """What hosts and mobile routers are called, by their addresses."""
    names = {address: one.name for one in home.home_agents for address in (one.outer, *one.addresses)}
    return names | {one.home_address: one.name for one in home.mobile_routers}
