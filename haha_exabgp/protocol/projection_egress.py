"""The far end of route projection: what a Home Agent answers when another asks for a shorter way.

As *primary*, or as another Home Agent of its site that the primary has told, it names the proxy that holds
the mobile router, and what is authorised there; it remembers nothing of it. As *egress proxy* it answers for
the bindings that it holds, and remembers whom it has told: they are told when it is no longer so (a purge,
repeated until it is acknowledged or the holding time has passed). It never says anything of a binding that
the primary has not made.

Whom it has told is not on disk. After a start every other Home Agent counts as told, of every binding that
was taken up, until the holding time has passed: so a move that is heard of then reaches whoever was told
before.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ..wire.address import Address
from ..wire.codes import HahaOperation
from ..wire.haha_options import AddressRole, HahaAddress
from ..wire.messages import HahaMessage
from .binding import Binding, BindingKind
from .bindings import Bindings
from .deadlines import Deadlines
from .drops import Drop
from .haha_messages import HahaMessages
from .home import OnDemand, Peer
from .node import Node
from .resolution import NEGATIVE_TIME, asked_about, purge_record, resolved_record
from .time import Now

_Told = tuple[Address, Address]
"""Home address; HAHA address of the ingress."""


class ProjectionEgress:
    """Answers for a Home Agent's own bindings, and takes answers back."""

    def __init__(self, node: Node, bindings: Bindings, messages: HahaMessages, settings: OnDemand) -> None:
        self._node = node
        self._bindings = bindings
        self._messages = messages
        self._settings = settings
        self._peers = {peer.haha: peer for peer in node.config.adjacent}
        self._told: dict[Address, dict[Address, float]] = {}
        """By home address and HAHA address of an ingress: until when what it was told is good."""
        self._ends: Deadlines[_Told] = Deadlines()
        self._taken_up: set[Address] = set()
        """Home addresses of which everybody counts as told."""
        self._taken_up_until = 0.0
        self._changed: list[Binding] = []
        """What held, of bindings that have changed since the last timer."""
        self._purging: dict[_Told, int] = {}
        """The Identifier of a purge that is not acknowledged."""

    def start(self, bindings: Iterable[Binding], now: Now) -> None:
        """These were bound here before the start."""
        self._taken_up = {one.home_address for one in bindings if one.kind is BindingKind.PROXY}
        self._taken_up_until = now.monotonic + self._settings.holding_time

    def told(self) -> Iterable[tuple[Address, Peer, float]]:
        """Home address, ingress, and until when what it was told is good, on the monotonic clock."""
        for home_address, ingresses in self._told.items():
            for haha, until in ingresses.items():
                yield home_address, self._peers[haha], until

    def receive_request(self, message: HahaMessage, peer: Peer, now: Now) -> None:
        """Another Home Agent has asked."""
        asked = asked_about(message)
        if asked is None or asked.role not in (AddressRole.DESTINATION, AddressRole.HOME_ADDRESS):
            self._node.drop(Drop.UNEXPECTED_MESSAGE)
            return
        config = self._node.config
        if asked.role == AddressRole.DESTINATION:
            binding = self._bindings.behind(asked.address)
            holder = self._holder_elsewhere(binding)
            if binding is not None and holder is not None and holder != peer.haha:
                self._answer(message, asked, binding, peer, holder, config.outer_of(holder), now)
                return
        else:
            binding = self._bindings.cache.get(asked.address)
            if binding is not None and binding.kind is BindingKind.PROXY:
                holding_time = self._answer(message, asked, binding, peer, config.outer, config.outer, now)
                self._note_told(binding.home_address, peer, now.monotonic + holding_time)
                return
        self._node.counters["resolution_denied"] += 1
        reply = HahaOperation.RESOLUTION_REPLY
        self._messages.answer(message, peer, reply, ((asked,),), now, argument=NEGATIVE_TIME)

    def binding_changed(self, before: Binding | None, after: Binding | None) -> None:
        """A binding has been made, changed or ended: what was told of it may hold no longer. A move under
        this same proxy is none of anybody's business (draft s.4)."""
        if before is None or before.kind is not BindingKind.PROXY:
            return
        if after is None or _told_of(before) != _told_of(after):
            self._changed.append(before)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return 0.0 if self._changed else self._ends.next()

    def handle_timer(self, now: Now) -> None:
        """Take back what holds no longer, forget whose holding time has passed."""
        if self._taken_up and self._taken_up_until <= now.monotonic:
            self._taken_up.clear()
        for binding in self._changed:
            self._purge(binding, now)
        self._changed.clear()
        for home_address, haha in self._ends.due(now.monotonic):
            ingresses = self._told.get(home_address, {})
            ingresses.pop(haha, None)
            if not ingresses:
                self._told.pop(home_address, None)

    def _holder_elsewhere(self, binding: Binding | None) -> Address | None:
        """The HAHA address of the proxy that holds a mobile router, where that is at another site: to ours
        packets come anyhow, and a satellite takes tunnels from its parents only."""
        config = self._node.config
        if binding is None or not binding.kind.is_elsewhere or binding.peer == config.haha:
            return None
        is_satellites = any(peer.is_satellite for peer in config.peers if peer.haha == binding.peer)
        return binding.peer if binding.peer not in config.neighbours and not is_satellites else None

    def _answer(  # noqa: PLR0917  (private, and both callers are in this file)
        self,
        message: HahaMessage,
        asked: HahaAddress,
        binding: Binding,
        peer: Peer,
        care_of_address: Address,
        locator: Address,
        now: Now,
    ) -> int:
        remaining = int(binding.expires - now.monotonic)
        holding_time = max(min(message.argument, self._settings.holding_time, remaining), 0)
        record = resolved_record(asked, binding, care_of_address, locator, now)
        reply = HahaOperation.RESOLUTION_REPLY
        self._messages.answer(message, peer, reply, (record,), now, argument=holding_time)
        self._node.counters["resolution_answered"] += 1
        return holding_time

    def _note_told(self, home_address: Address, peer: Peer, until: float) -> None:
        self._told.setdefault(home_address, {})[peer.haha] = until
        self._ends.set((home_address, peer.haha), until)
        # What it is told now takes the place of what was to be taken back.
        identifier = self._purging.pop((home_address, peer.haha), None)
        if identifier is not None:
            self._messages.cancel(peer, identifier)

    def _purge(self, binding: Binding, now: Now) -> None:
        home_address = binding.home_address
        ingresses = self._told.pop(home_address, {})
        for haha in ingresses:
            self._ends.cancel((home_address, haha))
        if home_address in self._taken_up:
            self._taken_up.remove(home_address)
            ingresses = dict.fromkeys(self._peers, self._taken_up_until) | ingresses
        for haha, until in ingresses.items():
            if until <= now.monotonic:
                continue
            done = partial(self._purged, home_address, haha)
            identifier = self._messages.ask(
                self._peers[haha],
                HahaOperation.RESOLUTION_PURGE,
                (purge_record(home_address, binding.mobility_sequence),),
                now,
                answered=done,
                unanswered=done,
                patience=until - now.monotonic,
            )
            if identifier is not None:
                self._purging[home_address, haha] = identifier

    def _purged(self, home_address: Address, haha: Address, *_: object) -> None:
        self._purging.pop((home_address, haha), None)


def _told_of(binding: Binding) -> tuple[object, ...]:
    return binding.kind, binding.prefixes, binding.mobility_sequence
