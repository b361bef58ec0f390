"""Route projection as a Home Agent has it: both ends of it, and what they hear of the rest.

Asking and answering stand in `projection_ingress.py` and `projection_egress.py`, with their rules at the top.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.codes import HahaOperation
from .binding import Binding
from .bindings import Bindings
from .haha_messages import HahaMessages
from .home import OnDemand, Peer
from .node import Node
from .projection_egress import ProjectionEgress
from .projection_ingress import Elsewhere, ProjectionIngress
from .routes import LearnedRoute
from .time import Now
from .wanted import WantedState


class RouteProjection:
    """The routes on demand of one Home Agent, to and from it."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        wanted: WantedState,
        messages: HahaMessages,
        settings: OnDemand,
        *,
        elsewhere: Elsewhere,
    ) -> None:
        self.ingress = ProjectionIngress(node, bindings, wanted, messages, settings, elsewhere=elsewhere)
        self.egress = ProjectionEgress(node, bindings, messages, settings)
        messages.handlers[HahaOperation.RESOLUTION_REQUEST] = self.egress.receive_request
        messages.handlers[HahaOperation.RESOLUTION_PURGE] = self.ingress.receive_purge
        bindings.observers.append(self._binding_changed)

    def start(self, bindings: Iterable[Binding], now: Now) -> None:
        """These bindings were taken up."""
        self.egress.start(bindings, now)

    def leak_learned(self, route: LearnedRoute) -> None:
        """Another Home Agent leaks a prefix."""
        self.ingress.leak_learned(route)

    def peer_lost(self, peer: Peer) -> None:
        """Another Home Agent is no longer reached."""
        self.ingress.peer_lost(peer)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        timers = (self.ingress.next_timer(), self.egress.next_timer())
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Do what is due."""
        self.ingress.handle_timer(now)
        self.egress.handle_timer(now)

    def _binding_changed(self, before: Binding | None, after: Binding | None) -> None:
        self.ingress.binding_changed(after)
        self.egress.binding_changed(before, after)
