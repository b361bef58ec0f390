"""The Home Agents List (RFC 6275 s.10.5.1), fed by HELLO messages between Home Agents in place of Router
Advertisements; and which Home Agent of a site is its border Home Agent (draft s.5.1.2).

Rules, all in this file:

1. Each Home Agent says HELLO to every adjacent one, every `hello_interval`. Who has not been heard for
   three of its own intervals is down, and who says a lifetime of 0 at once. Of one that has never been heard,
   only BGP says whether it is up.
2. A Home Agent that starts is not *ready* until it has caught up with those that share its partition; before
   that it owns no home address and is no border Home Agent, unless it is alone. Nor is it while it
   is being taken out of service: then it says that it is not ready.
3. The border Home Agent of a site is, of those that are up and ready, the one with the highest preference; of
   equal ones the one with the lowest HAHA address. It announces Home and its partition with an *epoch*, which
   is higher than any before: so everybody follows it at once. The others of the site announce both without
   one, as a reserve.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

from ..wire.address import Address
from ..wire.haha_options import HelloFlag, HelloInformation, HomePrefix, MobilitySequence, PrefixRole
from ..wire.messages import HahaMessage
from ..wire.options import MobilityOption, first_option
from .home import HomeAgentConfig, Peer
from .time import Now

MISSED = 3
"""HELLOs in a row that do not come before a Home Agent is held to be down."""


class _Heard(NamedTuple):
    preference: int
    is_ready: bool
    epoch: int
    until: float
    """Monotonic clock."""


class HomeAgentsList:
    """Who of the other Home Agents is up, and what we are among them."""

    def __init__(
        self, config: HomeAgentConfig, reaches: Callable[[Peer], bool], changed: Callable[[Now], None]
    ) -> None:
        """`reaches(peer)`: whether BGP says that it is up. `changed(now)` is called when one has come up,
        gone down, become ready, or we have."""
        self._config = config
        self._reaches = reaches
        self._changed = changed
        self._heard: dict[Address, _Heard] = {}
        self._hello_at: float | None = None
        self._elect_at: float | None = None
        """Until then we have just started, and others may be there that we have not heard yet."""
        self._neighbours = tuple(peer for peer in config.peers if peer.site == config.site)
        self.is_ready = not config.hello_interval
        """We have caught up."""
        self.is_leaving = False
        """We are being taken out of service."""
        self.epoch = 0
        """Of our being the border Home Agent; 0: we are not, or the site has no other."""

    def start(self, now: Now) -> None:
        """Say HELLO from now on."""
        if self._config.hello_interval:
            self._hello_at = now.monotonic
            self._elect_at = now.monotonic + MISSED * self._config.hello_interval

    @property
    def serves(self) -> bool:
        """Whether we may own home addresses and be the border Home Agent, if there are others."""
        return self.is_ready and not self.is_leaving

    def leave(self, leave: bool, now: Now) -> None:
        """Leave both to others that are up and ready, or take part again."""
        if self.is_leaving != leave:
            self.is_leaving = leave
            if self._hello_at is not None:
                self._hello_at = now.monotonic
            self._say_so(now)

    def is_up(self, peer: Peer) -> bool:
        """Whether another Home Agent is."""
        heard = self._heard.get(peer.haha)
        return self._reaches(peer) if heard is None else bool(heard.until)

    def is_down(self, peer: Peer) -> bool:
        """Whether it is known not to be up: soon after our start those may be that we have not heard yet."""
        heard = self._heard.get(peer.haha)
        if heard is not None:
            return not heard.until
        return self._elect_at is None and not self._reaches(peer)

    def is_eligible(self, peer: Peer) -> bool:
        """Whether it is up and has caught up."""
        heard = self._heard.get(peer.haha)
        return self._reaches(peer) if heard is None else bool(heard.until) and heard.is_ready

    def preference(self, peer: Peer) -> int:
        """What it has last said of itself; 0 before it has."""
        heard = self._heard.get(peer.haha)
        return 0 if heard is None else heard.preference

    def lifetime(self, peer: Peer, now: Now) -> float | None:
        """Seconds until it is held to be down, 0 when it is; None when it has never been heard."""
        heard = self._heard.get(peer.haha)
        return None if heard is None else max(heard.until - now.monotonic, 0.0)

    def ready(self, now: Now) -> None:
        """We have caught up with the others."""
        if not self.is_ready:
            self.is_ready = True
            # Until the others know, both sides take themselves for the owner of the same home addresses.
            self._hello_at = now.monotonic
            self._say_so(now)

    def receive(self, message: HahaMessage, peer: Peer, now: Now) -> None:
        """An authentic HELLO."""
        information = first_option(message.options, HelloInformation)
        epoch = first_option(message.options, MobilitySequence)
        before = self._heard.get(peer.haha)
        if not message.argument or information is None:
            if before is not None and before.until:
                self._lose(peer.haha, now)
            return
        heard = _Heard(
            information.preference,
            bool(information.flags & HelloFlag.READY),
            epoch.sequence if epoch is not None else 0,
            now.monotonic + min(information.interval / 1000 * MISSED, message.argument),
        )
        self._heard[peer.haha] = heard
        if before is None or not before.until:
            if self._hello_at is not None:
                # It has not heard us either, or has forgotten.
                self._hello_at = now.monotonic
            self._say_so(now)
        elif before[:2] != heard[:2]:
            self._say_so(now)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = [heard.until for heard in self._heard.values() if heard.until]
        times += [moment for moment in (self._hello_at, self._elect_at) if moment is not None]
        return min(times, default=None)

    def handle_timer(self, now: Now) -> bool:
        """Note who has gone silent. Gives whether a HELLO is due, to every other Home Agent."""
        for haha, heard in list(self._heard.items()):
            if heard.until and heard.until <= now.monotonic:
                self._lose(haha, now)
        if self._elect_at is not None and self._elect_at <= now.monotonic:
            self._elect_at = None
            self._say_so(now)
        if self._hello_at is None or self._hello_at > now.monotonic:
            return False
        self._hello_at = now.monotonic + self._config.hello_interval
        return True

    @property
    def hello_lifetime(self) -> int:
        """Seconds that a HELLO of ours counts."""
        return ceil(MISSED * self._config.hello_interval)

    def hello(self) -> tuple[MobilityOption, ...]:
        """What we say of ourselves."""
        config = self._config
        return (
            HelloInformation(
                config.preference,
                round(config.hello_interval * 1000),
                group=0,
                flags=HelloFlag.READY if self.serves else 0,
            ),
            HomePrefix(config.home, PrefixRole.AGGREGATE),
            *([HomePrefix(config.partition, PrefixRole.PRIMARY_PARTITION)] if config.partition else []),
            *[HomePrefix(one.prefix, PrefixRole.PROXY_ONLY) for one in config.lent],
            *((MobilitySequence(self.epoch),) if self.epoch else ()),
        )

    def border(self) -> Peer | None:
        """The border Home Agent of our site; None when we are."""
        config = self._config
        best, border = (-config.preference, config.haha), None
        if not self.serves:
            best = (1, config.haha)
        for peer in self._neighbours:
            rank = (-self.preference(peer), peer.haha)
            if self.is_eligible(peer) and rank < best:
                best, border = rank, peer
        return border

    def _lose(self, haha: Address, now: Now) -> None:
        self._heard[haha] = self._heard[haha]._replace(until=0.0)
        self._say_so(now)

    def _say_so(self, now: Now) -> None:
        self._elect(now)
        self._changed(now)

    def _elect(self, now: Now) -> None:
        if not self._neighbours or self._elect_at is not None or self.border() is not None:
            self.epoch = 0
        elif not self.epoch:
            # Also past those of a clock that was ahead of ours.
            heard = max((heard.epoch for heard in self._heard.values()), default=0)
            self.epoch = max(int(now.wall), heard + 1)
