"""Which bindings the other sites are told of (draft s.5.3.1, behaviour K-6): the leaks of one Home Agent.

A binding away from its primary site is leaked unless one of these holds that back, the first that does. Its
packets then take the partition's route, which is always there; the binding itself is as good as any.

1. `POLICY`: its leak policy is `never`.
2. `FLAPPING`: its primary says that it moves too often (`damping.py`), for as long as that says.
3. `NO_TRAFFIC`: its policy is `on-traffic`, and in no second of the last `leak_idle` other sites have sent
   it `leak_traffic` packets. So one announcement in `leak_idle` seconds is the most that traffic can cause.
   Leaked or not they come in through the tunnel of another Home Agent, and are counted there.
4. `CAP`: `max_leaks` prefixes are leaked. Who is leaked stays so while its binding, its policy and its
   traffic last; others wait in line, the one that came first in front, and no one overtakes it. All prefixes
   of a mobile router are leaked or none.

Nothing holds it back where the home address is one of those that primaries ask each other for: there, there
is no partition's route that leads to all who may hold it.

A wrong leak is worse than one too many: while another site leaks an *earlier* attachment (it has not heard of
the revocation, or is dead and its routes are stale), packets go astray there. Where that has lasted for
`RIVAL_PATIENCE` the binding is leaked whatever 2 to 4 say, as the higher sequence wins everywhere; with
`on-traffic` at once, for an earlier leak says that there was traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from math import inf
from typing import NamedTuple

from ..wire.address import Address, Prefix
from .binding import Binding, BindingKind
from .deadlines import Deadlines
from .footprint import is_to_leak, leaks
from .home import LeakPolicy
from .node import Node
from .wanted import WantedState

RIVAL_PATIENCE = 2.0
"""Seconds in which another site should have withdrawn its leak of an earlier attachment: the first repetition
of a revocation is in them."""
_LONGEST_COUNTED = 7
"""A prefix is counted in pieces of whole octets, so longer by up to so many bits."""


class Hold(StrEnum):
    """Why a binding is not leaked."""

    POLICY = "policy: never"
    FLAPPING = "flapping"
    NO_TRAFFIC = "no traffic"
    CAP = "cap reached"


class Held(NamedTuple):
    """A binding that is not leaked."""

    binding: Binding
    hold: Hold


class Leaks:
    """Every binding of a Home Agent that is away from its primary site: told of, or held back. Times on the
    monotonic clock."""

    def __init__(
        self, node: Node, wanted: WantedState, leaked_elsewhere: Callable[[Iterable[Prefix]], int]
    ) -> None:
        """`leaked_elsewhere(prefixes)` gives the highest mobility sequence with which another site leaks
        one of them, 0 for none."""
        self._node = node
        self._config = node.config
        self._wanted = wanted
        self._leaked_elsewhere = leaked_elsewhere
        self._told: dict[Address, Binding] = {}
        self._prefixes_told = 0
        self._held: dict[Address, Held] = {}
        self._waiting: dict[Address, None] = {}
        """Those that the cap holds back, who came first in front."""
        self._new: list[Address] = []
        """Held back since the last timer."""
        self._damped: Deadlines[Address] = Deadlines()
        self._until: dict[Address, float] = {}
        """When they are no longer damped."""
        self._rivalled: Deadlines[Address] = Deadlines()
        """Held back while another site leaks an earlier attachment: how long that is borne."""
        self._overdue: set[Address] = set()
        """Leaked whatever else, because that was borne for long enough."""
        self._watched: dict[Prefix, Address] = {}
        """Whose packets are counted, of policy ON_TRAFFIC."""
        self._watching: dict[Address, tuple[Prefix, ...]] = {}
        """The same by home address."""
        self._counted: dict[Address, int] = {}
        """Packets, as they were when they were last counted."""
        self._counted_at = 0.0
        self._busy: dict[Address, float] = {}
        """When there was last so much traffic that a leak is worth it; `inf`: from the next count on."""

    def __len__(self) -> int:
        """How many prefixes are leaked."""
        return self._prefixes_told

    def state(self, home_address: Address) -> Hold | None:
        """Why a binding is held back; None when it is leaked, or is none to leak."""
        held = self._held.get(home_address)
        return held.hold if held is not None else None

    def damped_until(self, home_address: Address) -> float | None:
        """When a mobile router that is bound here is no longer damped; None when it is not."""
        return self._until.get(home_address)

    @property
    def counts_traffic(self) -> bool:
        """Whether there is any reason to call `count`."""
        return bool(self._watched)

    def rebind(self, before: Binding | None, after: Binding | None) -> None:
        """A binding has been made, changed or ended."""
        if after is not None and is_to_leak(after, self._config):
            if before is not None and before.mobility_sequence != after.mobility_sequence:
                self._overdue.discard(after.home_address)
            self._place(after)
        elif before is not None and is_to_leak(before, self._config):
            self._remove(before)

    def damp(self, home_address: Address, seconds: float, now: float) -> None:
        """The primary says for how long a mobile router's next attachment here is to be held back: 0 for not
        at all. What is leaked already stays so."""
        if seconds > 0:
            self._until[home_address] = now + seconds
            self._damped.set(home_address, now + seconds)
        else:
            self._undamp(home_address)

    def rivalled(self, binding: Binding) -> None:
        """Another site leaks an earlier attachment of it."""
        if binding.home_address in self._held:
            self._new.append(binding.home_address)

    def judge_again(self, home_addresses: Iterable[Address]) -> None:
        """Their policies have changed."""
        for home_address in home_addresses:
            binding = self._binding(home_address)
            if binding is not None:
                self._place(binding)

    def count(self, packets: Mapping[Prefix, int], now: float) -> None:
        """How many packets other Home Agents have sent here so far, by watched prefix, or by pieces of them.
        A number that falls has begun anew."""
        elapsed, self._counted_at = now - self._counted_at, now
        sums: dict[Address, int] = {}
        for piece, number in packets.items():
            home_address = self._watcher(piece)
            if home_address is not None:
                sums[home_address] = sums.get(home_address, 0) + number
        enough = self._config.leak_traffic * max(elapsed, 1.0)
        for home_address, number in sums.items():
            last = self._counted.get(home_address, number)
            self._counted[home_address] = number
            if (number - last if number >= last else number) >= enough:
                self._busy[home_address] = now
                if self.state(home_address) is Hold.NO_TRAFFIC:
                    self._place(self._held[home_address].binding)
        idle = []
        for home_address, moment in self._busy.items():
            if moment == inf:
                self._busy[home_address] = now
            elif now - moment > self._config.leak_idle:
                idle.append(home_address)
        for home_address in idle:
            del self._busy[home_address]
        self.judge_again(idle)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next."""
        if self._new:
            return 0.0
        times = (self._damped.next(), self._rivalled.next())
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for home_address in self._new:
            if home_address in self._held and home_address not in self._rivalled:
                self._rivalled.set(home_address, now + RIVAL_PATIENCE)
        self._new.clear()
        for home_address in self._rivalled.due(now):
            held = self._held.get(home_address)
            if held is not None and held.hold is not Hold.POLICY and self._has_rival(held.binding):
                self._overdue.add(home_address)
                self._place(held.binding)
        for home_address in self._damped.due(now):
            self._until.pop(home_address, None)
            self.judge_again((home_address,))

    def _place(self, binding: Binding) -> None:
        """Tell of a binding or hold it back, whatever was so far."""
        counted = self._policy(binding) is LeakPolicy.ON_TRAFFIC
        self._count_packets(binding.home_address, binding.leaked() if counted else ())
        hold = self._hold(binding)
        if hold is None:
            self._tell(binding)
        else:
            self._hold_back(binding, hold)
        self._fill()

    def _hold(self, binding: Binding) -> Hold | None:
        home_address, config = binding.home_address, self._config
        policy = self._policy(binding)
        if policy is LeakPolicy.NEVER:
            return Hold.POLICY
        if home_address in self._overdue or config.is_asked_for(home_address):
            return None
        told = self._told.get(home_address)
        if home_address in self._until and (
            told is None or told.mobility_sequence != binding.mobility_sequence
        ):
            return Hold.FLAPPING
        if policy is LeakPolicy.ON_TRAFFIC and home_address not in self._busy:
            if not self._has_rival(binding):
                return Hold.NO_TRAFFIC
            self._busy[home_address] = inf
        if config.max_leaks is not None:
            is_its_turn = told is not None or next(iter(self._waiting), home_address) == home_address
            taken = self._prefixes_told - (len(told.leaked()) if told is not None else 0)
            if not is_its_turn or taken + len(binding.leaked()) > config.max_leaks:
                return Hold.CAP
        return None

    def _tell(self, binding: Binding) -> None:
        home_address = binding.home_address
        self._held.pop(home_address, None)
        self._waiting.pop(home_address, None)
        before = self._told.get(home_address)
        self._told[home_address] = binding
        new = leaks(binding, self._config)
        for one in new:
            self._wanted.announce(one)
        self._prefixes_told += len(new)
        if before is not None:
            self._retract(before, {one.prefix for one in new})

    def _hold_back(self, binding: Binding, hold: Hold) -> None:
        home_address = binding.home_address
        told = self._told.pop(home_address, None)
        if told is not None:
            self._retract(told)
        if hold is Hold.CAP:
            self._waiting[home_address] = None
        else:
            self._waiting.pop(home_address, None)
        before = self._held.get(home_address)
        self._held[home_address] = Held(binding, hold)
        if before is None or before.hold is not hold:
            self._new.append(home_address)
            self._node.counters[f"leak_held_back_{hold.name.lower()}"] += 1
            if hold is Hold.FLAPPING:
                self._node.note("%s moves too often: it is not leaked for now", home_address)
            elif hold is Hold.CAP and len(self._waiting) == 1:
                what = "%d prefixes are leaked, the most that are allowed: %s has to wait"
                self._node.note(what, self._prefixes_told, home_address)

    def _remove(self, binding: Binding) -> None:
        home_address = binding.home_address
        told = self._told.pop(home_address, None)
        if told is not None:
            self._retract(told)
        self._held.pop(home_address, None)
        self._waiting.pop(home_address, None)
        self._rivalled.cancel(home_address)
        self._overdue.discard(home_address)
        self._undamp(home_address)
        self._busy.pop(home_address, None)
        self._count_packets(home_address, ())
        self._fill()

    def _retract(self, told: Binding, still: Iterable[Prefix] = ()) -> None:
        self._prefixes_told -= len(told.leaked())
        for one in leaks(told, self._config):
            if one.prefix not in still:
                self._wanted.withdraw(one.audience, one.prefix)

    def _fill(self) -> None:
        """Leak those who wait in line, as many as there is room for."""
        limit = self._config.max_leaks
        while self._waiting and limit is not None:
            first = self._held[next(iter(self._waiting))].binding
            hold = self._hold(first)
            if hold is Hold.CAP:
                return
            if hold is None:
                self._tell(first)
            else:
                self._hold_back(first, hold)

    def _count_packets(self, home_address: Address, prefixes: tuple[Prefix, ...]) -> None:
        """Have the packets to these counted, and to no others of that mobile router."""
        before = self._watching.get(home_address, ())
        if before == prefixes:
            return
        for prefix in before:
            if prefix not in prefixes:
                del self._watched[prefix]
                self._wanted.unwatch(prefix)
        for prefix in prefixes:
            self._watched[prefix] = home_address
            self._wanted.watch(prefix)
        self._counted.pop(home_address, None)
        if prefixes:
            self._watching[home_address] = prefixes
        else:
            del self._watching[home_address]

    def _watcher(self, piece: Prefix) -> Address | None:
        for length in range(piece.length, max(piece.length - _LONGEST_COUNTED, 0) - 1, -1):
            home_address = self._watched.get(Prefix.of(piece.address, length))
            if home_address is not None:
                return home_address
        return None

    def _has_rival(self, binding: Binding) -> bool:
        """Whether another site leaks an earlier attachment."""
        return 0 < self._leaked_elsewhere(binding.leaked()) < binding.mobility_sequence

    def _undamp(self, home_address: Address) -> None:
        self._damped.cancel(home_address)
        self._until.pop(home_address, None)

    def _binding(self, home_address: Address) -> Binding | None:
        held = self._held.get(home_address)
        return held.binding if held is not None else self._told.get(home_address)

    def _policy(self, binding: Binding) -> LeakPolicy:
        if self._config.is_asked_for(binding.home_address):
            return LeakPolicy.ALWAYS
        policy = self._config.mobile_routers.get(binding.home_address)
        own = policy.leak if policy is not None else None
        leak = own if own is not None else self._config.leak
        if leak is LeakPolicy.ON_TRAFFIC and binding.kind is BindingKind.SECONDARY:
            # Until it is leaked its packets pass inside a second tunnel, where nothing counts them.
            return LeakPolicy.ALWAYS
        return leak
