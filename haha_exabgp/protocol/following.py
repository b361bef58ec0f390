"""Who is behind a mobile router that has gone to another Home Agent is told to follow it there (RFC 5142).

Its own care-of address has not changed, so it notices nothing; and bound here still, it costs tunnels inside
tunnels between the two Home Agents. Rules:

1. When a binding here has gone elsewhere, those directly behind it are told, a moment later, when it is known
   where it has gone. Those behind these are told when these have followed.
2. They are told of both Home Agents, the new one first. Nothing ends here and nothing is refused: who cannot
   be bound there stays as it is, and is left alone after a few messages.
3. Nobody is told of a Home Agent that it may not be bound to, or that is not in service; nor when the one
   that it is behind is here again; nor again who has gone, whatever brings it back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..wire.address import Address
from .binding import Binding, Ending
from .bindings import Bindings
from .deadlines import Deadlines
from .home import Peer
from .node import Node
from .notices import Notices
from .time import Now

DELAY: Final = 1.0
"""Seconds until all has been heard of a move."""
FOLLOWERS_A_SECOND: Final = 20
"""They fall upon one Home Agent, by one uplink."""
PAUSES: Final = (5.0, 10.0)
"""Seconds between the messages to one of them (RFC 5142 s.7)."""


class Following:
    """Those of one Home Agent."""

    def __init__(
        self,
        node: Node,
        bindings: Bindings,
        notices: Notices,
        whereabouts: Callable[[Binding], Peer | None],
    ) -> None:
        """`whereabouts(binding)`: the Home Agent in service that now has the mobile router of a binding of
        ours that is over."""
        self._node = node
        self._bindings = bindings
        self._notices = notices
        self._whereabouts = whereabouts
        self._just_gone: list[Binding] = []
        self._gone: dict[Address, Binding] = {}
        """Former bindings of those who have others behind them, by home address."""
        self._is_known: Deadlines[Address] = Deadlines()
        self._told: dict[Address, tuple[Peer, int]] = {}
        """Whom each follower is told of, and how often it has been."""
        self._turns: Deadlines[Address] = Deadlines()
        bindings.observers.append(self._rebound)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        if self._just_gone:
            return 0.0
        times = (self._is_known.next(), self._turns.next())
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Tell those whose turn it is."""
        for binding in self._just_gone:
            self._gone[binding.home_address] = binding
            self._is_known.set(binding.home_address, now.monotonic + DELAY)
        self._just_gone.clear()
        for home_address in self._is_known.due(now.monotonic):
            self._gather(self._gone.pop(home_address), now)
        for home_address in self._turns.due(now.monotonic):
            self._tell(home_address, now)

    def _rebound(self, before: Binding | None, after: Binding | None) -> None:
        if before is None or before.kind.is_elsewhere:
            return
        if after is None:
            is_elsewhere = self._bindings.endings.get(before.home_address) is Ending.MOVED
        else:
            is_elsewhere = after.kind.is_elsewhere
        if after is None or is_elsewhere:
            self._told.pop(before.home_address, None)
            self._turns.cancel(before.home_address)
        if is_elsewhere and any(self._bindings.nesting.directly_behind(before.routes())):
            self._just_gone.append(before)

    def _gather(self, gone: Binding, now: Now) -> None:
        peer = self._whereabouts(gone)
        if peer is None:
            return
        for place, follower in enumerate(self._bindings.nesting.directly_behind(gone.routes())):
            policy = self._node.config.mobile_routers.get(follower.home_address)
            if policy is not None and peer.may_bind(policy):
                self._told[follower.home_address] = peer, 0
                self._turns.set(follower.home_address, now.monotonic + place / FOLLOWERS_A_SECOND)

    def _tell(self, home_address: Address, now: Now) -> None:
        peer, attempt = self._told.pop(home_address)
        follower = self._bindings.cache.get(home_address)
        if follower is None or follower.kind.is_elsewhere or home_address in self._node.leaving:
            return
        nesting, care_of_address = self._bindings.nesting, follower.care_of_address
        if (
            not self._node.config.home.contains(care_of_address)
            or nesting.carrier(care_of_address) is not None
        ):
            return
        if not attempt:
            self._node.note("%s is told to follow the one that it is behind to %s", home_address, peer.name)
        self._notices.point_to(follower, peer, attempt, now)
        if attempt < len(PAUSES):
            self._told[home_address] = peer, attempt + 1
            self._turns.set(home_address, now.monotonic + PAUSES[attempt])
