"""Home Agents that could be primary for the same home addresses share their bindings (draft s.10.2, *local
HAHA*), so that another takes over from one that fails, and each can forward to who holds a mobile router.

Rules, all in this file:

1. Whatever changes in a binding that we are primary for, or hold, is told to every co-primary that is up, by
   Binding Information Updates, as it is when its turn comes: many changes of one binding are one update. Each
   is repeated until it is acknowledged; a Home Agent that goes down is forgotten.
2. One that starts asks each co-primary for all it has, by a Binding Information Request for its partition,
   and is ready when all have told it or `CATCH_UP` has passed. The answer is updates as any, and an
   acknowledgement at their end.
3. What is told is kept as a replica: it routes to who holds the mobile router, and its order goes on refusing
   what is older, also when the binding has ended.
4. Where two claim the same home address, the later Binding Update of the mobile router wins, by its own order
   (`binding.Order`); the other gives its binding up. Who is told something older tells what it knows.
5. A *reactive* co-primary is told nothing by itself, nor asked for all. It is told what it has wrong (4) or
   has to give up (`owner_search.py`), as soon as it is up; and answered, for one home address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..wire.address import Address, Prefix
from ..wire.codes import BindingUpdateFlag, HahaOperation, Status
from ..wire.haha_options import (
    AddressRole,
    BindingCacheInformation,
    HahaAddress,
    MobilitySequence,
    RoutedPrefix,
    UpdateTimestamp,
)
from ..wire.messages import HahaMessage
from ..wire.options import MobileNetworkPrefix, MobilityOption, first_option
from ..wire.timestamp import in_order
from .binding import Binding, BindingKind, Order
from .binding_cache import BindingCache
from .haha_messages import HahaMessages
from .haha_requests import Record
from .home import HomeAgentConfig, Locate, Peer
from .time import Now

UPDATES_AT_ONCE = 16
"""Updates to one Home Agent that wait for their acknowledgements."""
OCTETS = 1100
"""Of the bindings in one update."""
CATCH_UP = 10.0
"""Seconds after the start in which those that share our partition tell what they have."""
_LONGEST = 262_140
_TIMESTAMP_MASK = (1 << 64) - 1
_FLAGS = BindingUpdateFlag.HOME_REGISTRATION
_ROUTER = BindingUpdateFlag.MOBILE_ROUTER


class Told(NamedTuple):
    """What a co-primary says of one home address."""

    binding: Binding
    """A replica; with `expires` 0 it has ended."""
    by: Peer


class _Stream:
    """What one co-primary is still to be told."""

    def __init__(self) -> None:
        self.changed: dict[Address, None] = {}
        self.outstanding = 0
        self.asked: list[HahaMessage] = []
        """Its Requests for all, to be acknowledged when nothing is left to tell."""


class Replication:
    """Tells co-primaries, and hears from them."""

    def __init__(
        self,
        config: HomeAgentConfig,
        messages: HahaMessages,
        cache: BindingCache,
        co_primaries: Iterable[Peer],
        is_up: Callable[[Peer], bool],
    ) -> None:
        self._config = config
        self._messages = messages
        self._cache = cache
        self._is_up = is_up
        self._co_primaries = {peer.haha: peer for peer in co_primaries}
        self._streams: dict[Address, _Stream] = {}
        self._reactive = frozenset(
            [one.haha for one in self._co_primaries.values() if one.locate is Locate.REACTIVE]
        )
        for haha in self._reactive:
            self._streams[haha] = _Stream()
        self._awaited: set[Address] = set()
        """Those that have not told us all they have yet."""
        self.catching_up_until: float | None = None
        """Monotonic clock; None when we have caught up."""

    def start(self, now: Now) -> None:
        """Ask those that share our partition for all they have."""
        self._awaited = set(self._co_primaries) - self._reactive
        if self._awaited:
            self.catching_up_until = now.monotonic + CATCH_UP
        for haha, peer in self._co_primaries.items():
            if haha in self._awaited:
                self._ask(peer, now)

    def changed(self, binding: Binding) -> None:
        """A binding has been made, changed or ended here; replicas are not passed on."""
        if binding.kind is not BindingKind.REPLICA:
            for haha in self._streams:
                if haha not in self._reactive:
                    self._streams[haha].changed[binding.home_address] = None

    def tell(self, home_address: Address, peer: Peer) -> None:
        """Tell a co-primary what we know of a home address."""
        stream = self._streams.get(peer.haha)
        if stream is not None:
            stream.changed[home_address] = None

    def liveness_changed(self) -> None:
        """Some Home Agent has come up or gone down."""
        for haha, peer in self._co_primaries.items():
            if haha in self._reactive:
                continue
            if not self._is_up(peer):
                self._streams.pop(haha, None)
                self._awaited.discard(haha)
            elif haha not in self._streams:
                # It may have missed anything: all is told, whether it asks or not.
                stream = self._streams[haha] = _Stream()
                stream.changed = dict.fromkeys(self._cache.known())

    def receive_request(self, message: HahaMessage, peer: Peer, now: Now) -> None:
        """A Binding Information Request, for a partition or for one home address."""
        asked_for = first_option(message.options, HahaAddress)
        if asked_for is not None and asked_for.role == AddressRole.HOME_ADDRESS:
            self._answer(message, peer, asked_for.address, now)
            return
        stream = self._streams.get(peer.haha)
        if (
            stream is None
            or peer.haha in self._reactive
            or first_option(message.options, RoutedPrefix) is None
        ):
            self._messages.acknowledge(message, peer, now, Status.ADMINISTRATIVELY_PROHIBITED)
            return
        if message.identifier not in [asked.identifier for asked in stream.asked]:
            stream.asked.append(message)
            stream.changed.update(dict.fromkeys(self._cache.known()))

    def receive_update(self, message: HahaMessage, peer: Peer, now: Now) -> list[Told]:
        """A Binding Information Update, acknowledged; gives what it says of home addresses that we both are
        primary for."""
        if peer.haha not in self._co_primaries:
            self._messages.acknowledge(message, peer, now, Status.ADMINISTRATIVELY_PROHIBITED)
            return []
        told = self.read(message, peer, now)
        self._messages.acknowledge(message, peer, now)
        return told

    def read(self, message: HahaMessage, peer: Peer, now: Now) -> list[Told]:
        """What an update of a co-primary says of home addresses that we both are primary for."""
        home = self._config.home
        return [
            Told(one, peer)
            for one in _bindings(message.options, peer, now)
            if self._both_are_primary_for(one.home_address, peer) and all(map(home.covers, one.prefixes))
        ]

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        for haha, stream in self._streams.items():
            if haha in self._reactive and not self._is_up(self._co_primaries[haha]):
                continue
            if (stream.changed or stream.asked) and stream.outstanding < UPDATES_AT_ONCE:
                return 0.0 if stream.changed or not stream.outstanding else None
        return self.catching_up_until

    def handle_timer(self, now: Now) -> None:
        """Tell what there is room for."""
        for haha, stream in self._streams.items():
            peer = self._co_primaries[haha]
            if haha in self._reactive and not self._is_up(peer):
                continue
            while stream.changed and stream.outstanding < UPDATES_AT_ONCE:
                self._tell(peer, stream, now)
            if not stream.changed and not stream.outstanding:
                for asked in stream.asked:
                    self._messages.acknowledge(asked, peer, now)
                stream.asked.clear()
        if self.catching_up_until is not None and (
            not self._awaited or self.catching_up_until <= now.monotonic
        ):
            self.catching_up_until = None

    def _both_are_primary_for(self, home_address: Address, peer: Peer) -> bool:
        return self._config.is_primary_for(home_address) and peer.is_primary_for(home_address)

    def _answer(self, asked: HahaMessage, peer: Peer, home_address: Address, now: Now) -> None:
        """What we know of one home address: of its binding, or of the last there was; nothing, if there was
        none."""
        if peer.haha not in self._co_primaries or not self._both_are_primary_for(home_address, peer):
            self._messages.acknowledge(asked, peer, now, Status.ADMINISTRATIVELY_PROHIBITED)
            return
        last = self._cache.last(home_address)
        known = [_record(last, self._config.haha, now)] if last is not None else []
        operation = HahaOperation.BINDING_INFORMATION_UPDATE
        self._messages.answer(asked, peer, operation, known, now, argument=len(known))

    def _tell(self, peer: Peer, stream: _Stream, now: Now) -> None:
        records: list[Record] = []
        home_addresses: list[Address] = []
        room = OCTETS
        while stream.changed and room > 0:
            home_address = next(iter(stream.changed))
            binding = self._cache.last(home_address)
            if binding is not None and peer.is_primary_for(home_address):
                record = _record(binding, self._config.haha, now)
                room -= 40 + 24 * len(record)
                if room < 0 and records:
                    break
                records.append(record)
                home_addresses.append(home_address)
            del stream.changed[home_address]
        if not records:
            return
        stream.outstanding += 1

        def answered(message: HahaMessage, now: Now) -> None:
            stream.outstanding -= 1

        def unanswered(now: Now) -> None:
            stream.outstanding -= 1
            stream.changed.update(dict.fromkeys(home_addresses))

        sent = self._messages.ask(
            peer,
            HahaOperation.BINDING_INFORMATION_UPDATE,
            records,
            now,
            argument=len(records),
            answered=answered,
            unanswered=unanswered,
        )
        if sent is None:
            unanswered(now)

    def _ask(self, peer: Peer, now: Now) -> None:
        def answered(message: HahaMessage, now: Now) -> None:
            self._awaited.discard(peer.haha)

        partition = self._config.partition
        assert partition is not None  # else nobody shares it
        self._messages.ask(
            peer,
            HahaOperation.BINDING_INFORMATION_REQUEST,
            [(RoutedPrefix(partition),)],
            now,
            answered=answered,
            patience=CATCH_UP,
        )


def _record(binding: Binding, own: Address, now: Now) -> Record:
    """What is told of a binding: where the mobile router is, as far as we know, and who holds it."""
    holder = binding.peer if binding.kind.is_elsewhere and binding.peer is not None else own
    flags = _FLAGS | _ROUTER if binding.mobile_router else _FLAGS
    left = binding.expires - now.monotonic if binding.expires else 0.0
    lifetime = min(max(int(left) // 4 * 4, 0), _LONGEST)
    return (
        BindingCacheInformation(
            flags, binding.order.sequence, lifetime, binding.home_address, binding.care_of_address
        ),
        HahaAddress(AddressRole.HOME_AGENT, holder),
        MobilitySequence(binding.mobility_sequence),
        UpdateTimestamp(binding.order.timestamp & _TIMESTAMP_MASK),
        *[MobileNetworkPrefix(prefix) for prefix in binding.prefixes],
    )


def _bindings(options: Iterable[MobilityOption], by: Peer, now: Now) -> Iterator[Binding]:
    """The bindings that `_record` has told."""
    information: BindingCacheInformation | None = None
    sequence, timestamp, holder = 0, 0, by.haha
    prefixes: list[Prefix] = []
    for option in (*options, None):
        match option:
            case None | BindingCacheInformation():
                if information is not None:
                    order = Order(in_order(timestamp) if timestamp else 0, information.sequence)
                    replica = _replica(information, order, sequence, holder, now)
                    yield replica._replace(prefixes=tuple(prefixes))
                information, sequence, timestamp, prefixes = option, 0, 0, []
                holder = by.haha
            case HahaAddress(role=AddressRole.HOME_AGENT, address=holder):
                pass
            case MobilitySequence(sequence=sequence):
                pass
            case UpdateTimestamp(timestamp=timestamp):
                pass
            case MobileNetworkPrefix(prefix=prefix):
                prefixes.append(prefix)


def _replica(
    information: BindingCacheInformation, order: Order, mobility_sequence: int, holder: Address, now: Now
) -> Binding:
    care_of_address, lifetime = information.care_of_address, information.lifetime
    return Binding(
        information.home_address,
        care_of_address,
        (),
        _ROUTER in information.flags,
        BindingKind.REPLICA,
        order,
        mobility_sequence,
        holder,
        now.wall,
        now.monotonic + lifetime if lifetime else 0.0,
    )
