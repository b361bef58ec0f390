"""Asking who holds a binding, among Home Agents that are primary for the same home addresses without telling
each other of all (draft s.10.2, the *reactive* method).

Rules, all in this file:

1. An authentic Binding Update, from a mobile router or relayed by a proxy, for a home address that we own and
   are not primary for yet, waits while every reactive co-primary that is up is asked by a Binding Information
   Request: the newest one of each home address. What is repeated meanwhile starts no second question.
2. When all have answered, or after `PATIENCE`, what was told is taken as what any co-primary tells: as a
   replica, or as the order of the last Binding Update there was. Then the Binding Update is judged, as if we
   had always known. Where nobody has anything, or nobody answers, it is unbound.
3. What came of it is told to who has answered with a live binding, and has to give that up; and to who has
   not answered, as soon as it can be reached.
4. Two that could not ask each other may both be primary. Both leak what they hold: who is primary for what a
   co-primary leaks tells it, and the mobile router's later Binding Update counts (`replication.py`, rule 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..wire.address import Address
from ..wire.codes import HahaOperation
from ..wire.haha_options import AddressRole, HahaAddress
from ..wire.messages import HahaMessage
from .binding import BindingKind, Order
from .bindings import Bindings
from .drops import Drop
from .haha_messages import HahaMessages
from .home import Peer
from .node import Node
from .replication import Replication, Told
from .routes import LearnedRoute
from .time import Now

PATIENCE = 1.0
"""Seconds that answers may take: the question is repeated after half of it, and the mobile router repeats its
first Binding Update after 1.5 s."""
MAX_SEARCHES = 1024
"""Home addresses asked for at the same time. A Binding Update beyond is dropped: it will be repeated."""


@dataclass(slots=True)
class _Search:
    order: Order
    resume: Callable[[Now], None]
    """Judges the Binding Update that waits, which has this order."""
    awaited: dict[Address, Peer]
    """Those that have not answered."""
    told: list[Told] = field(default_factory=list)
    unasked: list[Peer] = field(default_factory=list)
    """Those that are down, or did not answer."""


class OwnerSearch:
    """What one Home Agent asks its reactive co-primaries."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        messages: HahaMessages,
        replication: Replication,
        peers: Iterable[Peer],
        *,
        is_up: Callable[[Peer], bool],
        told: Callable[[Told, Now], None],
    ) -> None:
        """`peers`: those co-primaries. `told(told, now)` takes up what one of them has said."""
        self._node = node
        self._bindings = bindings
        self._messages = messages
        self._replication = replication
        self._peers = {peer.haha: peer for peer in peers}
        self._is_up = is_up
        self._told = told
        self._searches: dict[Address, _Search] = {}

    def __len__(self) -> int:
        return len(self._searches)

    def holds(self, home_address: Address, order: Order, resume: Callable[[Now], None], now: Now) -> bool:
        """Whether a Binding Update, authentic and for a home address that we own, has to wait; `resume` is
        called then, unless a newer one takes its place."""
        if not self._peers or self._is_primary(home_address):
            return False
        search = self._searches.get(home_address)
        if search is not None:
            self._node.counters["owner_asked_already"] += 1
            if not search.order.is_newer_than(order):
                search.order, search.resume = order, resume
            return True
        if len(self._searches) >= MAX_SEARCHES:
            self._node.drop(Drop.TOO_MANY_OUTSTANDING)
            return True
        return self._ask(home_address, _Search(order, resume, {}), now)

    def leak_learned(self, route: LearnedRoute) -> None:
        """Another Home Agent leaks a prefix."""
        peer = self._peers.get(route.next_hop)
        binding = self._bindings.holder(route.prefix) if peer is not None else None
        if peer is not None and binding is not None and self._is_primary(binding.home_address):
            self._replication.tell(binding.home_address, peer)

    def _is_primary(self, home_address: Address) -> bool:
        binding = self._bindings.cache.get(home_address)
        return binding is not None and binding.kind is not BindingKind.REPLICA

    def _ask(self, home_address: Address, search: _Search, now: Now) -> bool:
        for peer in self._peers.values():
            if not peer.is_primary_for(home_address):
                continue
            if self._is_up(peer) and self._ask_one(home_address, peer, search, now):
                search.awaited[peer.haha] = peer
            else:
                search.unasked.append(peer)
        if not search.awaited and not search.unasked:
            return False
        self._searches[home_address] = search
        self._node.counters["owner_asked"] += 1
        if not search.awaited:
            self._finish(home_address, search, now)
        return True

    def _ask_one(self, home_address: Address, peer: Peer, search: _Search, now: Now) -> bool:
        def answered(message: HahaMessage, now: Now) -> None:
            del search.awaited[peer.haha]
            told = [
                one
                for one in self._replication.read(message, peer, now)
                if one.binding.home_address == home_address
            ]
            search.told += told
            live = any(one.binding.expires for one in told)
            self._node.counters["owner_answer_bound" if live else "owner_answer_unbound"] += 1
            if not search.awaited:
                self._finish(home_address, search, now)

        def unanswered(now: Now) -> None:
            search.unasked.append(search.awaited.pop(peer.haha))
            self._node.counters["owner_answer_missing"] += 1
            if not search.awaited:
                self._finish(home_address, search, now)

        question = (HahaAddress(AddressRole.HOME_ADDRESS, home_address),)
        identifier = self._messages.ask(
            peer,
            HahaOperation.BINDING_INFORMATION_REQUEST,
            [question],
            now,
            answered=answered,
            unanswered=unanswered,
            patience=PATIENCE,
        )
        return identifier is not None

    def _finish(self, home_address: Address, search: _Search, now: Now) -> None:
        del self._searches[home_address]
        for told in search.told:
            self._told(told, now)
        search.resume(now)
        last = self._bindings.cache.last(home_address)
        if last is None or (last.expires and last.kind is BindingKind.REPLICA):
            return
        for told in search.told:
            if told.binding.expires and last.order.is_newer_than(told.binding.order):
                self._replication.tell(home_address, told.by)
        for peer in search.unasked:
            self._replication.tell(home_address, peer)
