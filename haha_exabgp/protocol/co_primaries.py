"""The other Home Agents, as far as being primary goes: which of them are up, who of several primaries owns a
home address, what those tell each other of their bindings, and what becomes of these when one goes or comes.

Each has a file of its own: home_agents_list.py, ownership.py, replication.py, owner_search.py, takeover.py.
"""

from __future__ import annotations

from collections.abc import Callable

from ..wire.address import Address
from ..wire.codes import HahaOperation
from ..wire.messages import HahaMessage
from .binding import Order
from .bindings import Bindings
from .haha_messages import HahaMessages
from .home import Peer
from .home_agents_list import HomeAgentsList
from .node import Node
from .notices import Notices
from .owner_search import OwnerSearch
from .ownership import Ownership
from .primary import Primary
from .replication import Replication
from .routes import LearnedRoute
from .takeover import Takeover
from .time import Now


class CoPrimaries:
    """Those parts of one Home Agent, put together."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        primary: Primary,
        notices: Notices,
        messages: HahaMessages,
        *,
        reaches: Callable[[Peer], bool],
        changed: Callable[[Now], None],
    ) -> None:
        """`reaches(peer)`: whether BGP says that it is up. `changed(now)` is called when one has come up,
        gone down, become ready, or we have."""
        config = node.config
        self._node = node
        self._cache = bindings.cache
        self._messages = messages
        self._changed = changed
        self.home_agents = HomeAgentsList(config, reaches, self._home_agents_changed)
        self._ownership = Ownership(config, self.home_agents.is_eligible, lambda: self.home_agents.serves)
        self.asks = bool(self._ownership.reactive)
        """Whether there is anybody who may have to be asked."""
        self.is_ours = self._ownership.is_ours
        """Whether we are the owner of a home address."""
        co_primaries = self._ownership.co_primaries
        self._replication = Replication(
            config, messages, bindings.cache, co_primaries, self.home_agents.is_up
        )
        if co_primaries:
            bindings.listeners.append(self._replication.changed)
        self._takeover = Takeover(
            node, bindings, primary, notices, self._ownership, self.home_agents, self._replication
        )
        self._search = OwnerSearch(
            node,
            bindings,
            messages,
            self._replication,
            self._ownership.reactive,
            is_up=self.home_agents.is_up,
            told=self._takeover.told,
        )
        messages.handlers |= {
            HahaOperation.HELLO: self.home_agents.receive,
            HahaOperation.BINDING_INFORMATION_REQUEST: self._replication.receive_request,
            HahaOperation.BINDING_INFORMATION_UPDATE: self._receive_information,
        }

    def owner(self, home_address: Address) -> Peer | None:
        """The owner; None: we ourselves, or nobody at all."""
        return self._ownership.owner(home_address)

    def holds(self, home_address: Address, order: Order, resume: Callable[[Now], None], now: Now) -> bool:
        """Whether an authentic Binding Update for a home address that we own has to wait until others have
        said what they know; see `OwnerSearch.holds`."""
        return self._search.holds(home_address, order, resume, now)

    def leak_learned(self, route: LearnedRoute) -> None:
        """Another Home Agent leaks a prefix."""
        self._search.leak_learned(route)

    def start(self, now: Now) -> None:
        """Say HELLO, and ask those that share our partition for all they have."""
        self.home_agents.start(now)
        if self._node.config.hello_interval:
            self._replication.start(now)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        timers = (self.home_agents.next_timer(), self._replication.next_timer(), self._takeover.next_timer())
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Do what is due."""
        self._takeover.handle_timer(now)
        self._replication.handle_timer(now)
        if self._replication.catching_up_until is None:
            self.home_agents.ready(now, has_forgotten=not self._cache.known())
        if self.home_agents.handle_timer(now):
            lifetime, hello = self.home_agents.hello_lifetime, self.home_agents.hello()
            for peer in self._node.config.adjacent:
                self._messages.tell(peer, HahaOperation.HELLO, [hello], now, argument=lifetime)

    def _home_agents_changed(self, now: Now) -> None:
        self._changed(now)
        self._replication.liveness_changed()
        self._takeover.review_all()

    def _receive_information(self, message: HahaMessage, peer: Peer, now: Now) -> None:
        for told in self._replication.receive_update(message, peer, now):
            self._takeover.told(told, now)
