"""Taking a Home Agent out of service: who is bound here is sent to other Home Agents, and nobody is let in.

Rules, all in this file but the first:

1. While another Home Agent is up and in service, which can be found in our place, Home is exported no more
   (own_routes.py, rule 2); partition and leaks are announced as ever. Others that share our partition own
   its home addresses, and one of our site is its border Home Agent (home_agents_list.py, rule 2).
2. Who is bound here is told to switch (RFC 5142): to the Home Agents that are in service and may bind it,
   those of our own site first; one after the other, at a pace. Before its turn a mobile router is served as
   ever: it may move and refresh. After it home_agent_switch.py has the rules.
3. Who has no other Home Agent is not told, for it would have none at all. It stays, and is told as soon as
   one is reached. One whose key only its primary has cannot be told by a proxy, and stays too.
4. A newcomer that another Home Agent may bind is refused (status 129) and asks the next one. Discovery
   answers with the others.
5. What is bound through a proxy is its proxy's. We stay its primary until another that shares our partition
   is, or for as long as the binding lasts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from random import Random
from typing import NamedTuple

from ..wire.address import Address
from .binding import Binding
from .binding_cache import BindingCache
from .home import MobileRouterPolicy, Peer
from .home_agent_switch import MESSAGE_INTERVAL
from .node import Node
from .notices import Notices
from .time import Now

REVIEW_INTERVAL = 1.0
"""Seconds between two looks at who is reached."""


class Standing(StrEnum):
    """How far a mobile router is that is bound here."""

    WAITING = "has not been told yet"
    TOLD = "has been told to switch"
    MUTE = "only its primary has its key, so it cannot be told"
    ALONE = "no other Home Agent that may bind it is reached"


class Remaining(NamedTuple):
    """A mobile router that is bound here still."""

    binding: Binding
    standing: Standing
    messages: int
    """How often it has been told."""


class Drain:
    """One Home Agent's; idle until `start`."""

    def __init__(
        self,
        node: Node,
        cache: BindingCache,
        notices: Notices,
        *,
        is_ready: Callable[[Peer], bool],
        leave_to_others: Callable[[bool, Now], None],
        random: Random,
    ) -> None:
        """`is_ready(peer)`: another Home Agent is up and in service. `leave_to_others(leave, now)` is called
        when what is not bound here becomes theirs, and when that is over."""
        self._node = node
        self._cache = cache
        self._notices = notices
        self._is_ready = is_ready
        self._leave_to_others = leave_to_others
        self._random = random
        self._queue: deque[Address] = deque()
        self._waiting: set[Address] = set()
        """The same, to look up."""
        self._told: set[Address] = set()
        self._alone: set[Address] = set()
        self._reached: tuple[Peer, ...] = ()
        self._review_at: float | None = None
        """None: nothing is under way."""

    @property
    def is_under_way(self) -> bool:
        """From `start` to `cancel`, also when everybody has left."""
        return self._review_at is not None

    def start(self, now: Now, interval: float = MESSAGE_INTERVAL) -> None:
        """Begin, or go on with another number of seconds between the first messages to two mobile routers."""
        self._notices.interval = interval
        if self.is_under_way:
            return
        self._reached = self._look()
        self._review_at = now.monotonic + REVIEW_INTERVAL
        self._node.listeners.append(self._watch)
        self._leave_to_others(bool(self._reached), now)
        self._node.is_closed_to = self._may_be_elsewhere
        for binding in self._cache:
            self._enqueue(binding.home_address)

    def cancel(self, now: Now) -> None:
        """Everything as before. Who has been told already may leave all the same."""
        if self.is_under_way:
            self._node.listeners.remove(self._watch)
        self._review_at = None
        self._leave_to_others(False, now)
        self._notices.interval = MESSAGE_INTERVAL
        self._notices.stay(self._told)
        self._node.is_closed_to = None
        self._queue.clear()
        for known in (self._waiting, self._told, self._alone):
            known.clear()

    def remaining(self) -> Iterator[Remaining]:
        """Who is bound here still, while a drain is under way."""
        for binding in self._cache:
            if binding.kind.is_elsewhere:
                continue
            messages = self._notices.messages(binding.home_address)
            standing = Standing.TOLD if messages else Standing.WAITING
            if binding.home_address in self._alone:
                standing = Standing.MUTE if binding.is_vouched else Standing.ALONE
            yield Remaining(binding, standing, messages)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        if self._review_at is None or not self._queue:
            return self._review_at
        return min(self._review_at, self._notices.turn_at)

    def handle_timer(self, now: Now) -> None:
        """Send away whose turn it is."""
        if self._review_at is None:
            return
        if self._review_at <= now.monotonic:
            self._review_at = now.monotonic + REVIEW_INTERVAL
            reached = self._look()
            if reached != self._reached:
                self._reached = reached
                self._leave_to_others(bool(reached), now)
                self._review()
        while self._queue and self._notices.turn_at <= now.monotonic:
            home_address = self._queue.popleft()
            self._waiting.discard(home_address)
            policy = self._bound_here(home_address)
            if policy is not None and not self._send_away(policy):
                self._alone.add(home_address)
            self._notices.send_switches(now)

    def _watch(self, home_address: Address, now: Now) -> None:
        """A mobile router is bound here, newly or again."""
        self._told.discard(home_address)
        self._alone.discard(home_address)
        self._enqueue(home_address)

    def _enqueue(self, home_address: Address) -> None:
        if home_address not in self._waiting and self._bound_here(home_address) is not None:
            self._waiting.add(home_address)
            self._queue.append(home_address)

    def _send_away(self, policy: MobileRouterPolicy) -> bool:
        """Told, or told of others than before; False when there is nobody that it could go to."""
        others = self._others(policy) if policy.associations else []
        if others:
            self._told.add(policy.home_address)
            self._notices.switch((policy.home_address,), [peer.outer for peer in others])
        return bool(others)

    def _review(self) -> None:
        """Other Home Agents are reached than before."""
        for home_address in [*self._told]:
            policy = self._bound_here(home_address)
            if policy is None:
                self._told.discard(home_address)
            elif not self._send_away(policy):
                self._told.discard(home_address)
                self._notices.stay((home_address,))
                self._alone.add(home_address)
        for home_address in [*self._alone]:
            policy = self._bound_here(home_address)
            if policy is None or (policy.associations and self._may_be_elsewhere(policy)):
                self._alone.discard(home_address)
                self._enqueue(home_address)

    def _look(self) -> tuple[Peer, ...]:
        return tuple(peer for peer in self._node.config.peers if self._is_ready(peer))

    def _others(self, policy: MobileRouterPolicy) -> list[Peer]:
        """Best first; those that are as good as each other in random order (RFC 5142 s.5.1)."""
        may = [peer for peer in self._reached if peer.may_bind(policy)]
        self._random.shuffle(may)
        return sorted(may, key=lambda peer: peer.site != self._node.config.site)

    def _may_be_elsewhere(self, policy: MobileRouterPolicy) -> bool:
        return any(peer.may_bind(policy) for peer in self._reached)

    def _bound_here(self, home_address: Address) -> MobileRouterPolicy | None:
        binding = self._cache.get(home_address)
        if binding is None or binding.kind.is_elsewhere:
            return None
        if binding.is_vouched:
            return MobileRouterPolicy(str(home_address), home_address, binding.prefixes, ())
        return self._node.config.mobile_routers.get(home_address)
