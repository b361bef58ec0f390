"""The Home Agents List (RFC 6275 s.10.5.1), fed by HELLO messages between Home Agents in place of Router
Advertisements; and which Home Agent of a site is its border Home Agent (draft s.5.1.2).

Rules, all in this file:

1. Each Home Agent says HELLO to every adjacent one, every `hello_interval`. Who has not been heard for
   three of its own intervals is down, and who says a lifetime of 0 at once. Of one that has not been heard
   yet BGP says whether it is up, for three intervals after our start: its agent may be gone, and ExaBGP not.
2. A Home Agent that starts is not *ready* until it has caught up with those that share its partition; before
   that it owns no home address and is no border Home Agent, unless it is alone. Nor is it while it
   is being taken out of service: then it says that it is not ready.
3. The border Home Agent of a site is, of those that are up and ready, the one with the highest preference; of
   equal ones the one with the lowest HAHA address. It announces Home and its partition with an *epoch*, which
   is higher than any before: so everybody follows it at once. The others of the site announce both without
   one, as a reserve.
4. A HELLO names the Home Agents that its sender hears itself; what it has only been told goes no further, so
   nobody keeps a dead one alive by hearsay. Of one that no tunnel joins us to, as a satellite has it with the
   sites that are not its parents, we know what those say that we hear: it is up while one of them names it,
   and down when none does and all say that they name whom they hear. Else nothing says that it is down.
5. A Home Agent that is named to us and not in our configuration is listed, while it is ready and somebody
   names it, and that is all: it is not spoken to, and no packet of its tunnels is let in. It is new, and our
   configuration is not.
6. Who has caught up after a start and knows of no binding, not even of one that has ended, says so for
   `FORGOT_TIME`, by a Restart Counter (RFC 5847 s.3.4): the time, so that each such start has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import NamedTuple

from ..wire.address import Address
from ..wire.haha_options import (
    HeardHomeAgent,
    HelloFlag,
    HelloInformation,
    HomePrefix,
    MobilitySequence,
    PrefixRole,
)
from ..wire.messages import HahaMessage
from ..wire.options import MobilityOption, RestartCounter, every_option, first_option
from .home import HomeAgentConfig, Peer
from .time import Now

MISSED = 3
"""HELLOs in a row that do not come before a Home Agent is held to be down."""
MOST_NAMED = 40
"""Home Agents in a HELLO, prefixes lent to a satellite counted: it is one message of at most 1280 octets."""
FORGOT_TIME = 60.0
"""Seconds: longer than somebody may miss our HELLOs and not take us for down."""
MOST_UNKNOWN = 64
"""Home Agents that are listed though our configuration does not have them."""


class _Heard(NamedTuple):
    preference: int
    is_ready: bool
    names_all: bool
    far: Mapping[Address, HeardHomeAgent]
    """Of those that no tunnel joins us to, whom it hears, by their outer addresses."""
    unknown: Mapping[Address, HeardHomeAgent]
    """Of those that are not in our configuration."""
    restart_counter: int
    """Of its last restart without memory; 0: of none."""
    epoch: int
    until: float
    """Monotonic clock; 0 when it is down."""


class Unknown(NamedTuple):
    """A Home Agent that is not in our configuration."""

    outer: Address
    preference: int
    heard_from: str
    """Name of one that names it."""


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
        self._names = {peer.haha: peer.name for peer in config.peers}
        self._known = frozenset((config.outer, *[peer.outer for peer in config.peers]))
        self._far = frozenset(peer.outer for peer in config.peers if not peer.is_adjacent)
        self._forgot_until: float | None = None
        self._restart_counter = 0
        self.forgot_listeners: list[Callable[[Peer, int, Now], None]] = []
        """Called when another one has lost what it knew of bindings, with the second of the wall clock in
        which it did."""
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
        if heard is not None:
            return bool(heard.until)
        if peer.is_adjacent:
            return self._goes_by_bgp and self._reaches(peer)
        return self._named(peer) is not None or (not self._is_denied(peer) and self._reaches(peer))

    @property
    def _goes_by_bgp(self) -> bool:
        """Whether one that has never been heard may be up all the same."""
        return self._hello_at is None or self._elect_at is not None

    def is_down(self, peer: Peer) -> bool:
        """Whether it is known not to be up: soon after our start those may be that we have not heard yet."""
        heard = self._heard.get(peer.haha)
        if heard is not None:
            return not heard.until
        return self._elect_at is None and not self.is_up(peer)

    @property
    def silent(self) -> frozenset[Address]:
        """HAHA addresses of those that were heard and are no longer."""
        return frozenset(haha for haha, heard in self._heard.items() if not heard.until)

    def is_eligible(self, peer: Peer) -> bool:
        """Whether it is up and has caught up."""
        heard = self._heard.get(peer.haha)
        if heard is not None:
            return bool(heard.until) and heard.is_ready
        named = self._named(peer)
        return bool(named.flags & HelloFlag.READY) if named is not None else self.is_up(peer)

    def preference(self, peer: Peer) -> int:
        """What it has last said of itself; 0 before it has."""
        heard = self._heard.get(peer.haha) or self._named(peer)
        return 0 if heard is None else heard.preference

    def listed(self, *, in_service: bool) -> list[Peer]:
        """Those to be named to whoever looks for a Home Agent: the adjacent ones that are up, and those that
        one of them names. `in_service`: only those that have caught up and are not being taken out."""
        is_there = self.is_eligible if in_service else self.is_up
        return [
            peer
            for peer in self._config.peers
            if is_there(peer) and (peer.is_adjacent or self._named(peer) is not None)
        ]

    def unknown(self) -> list[Unknown]:
        """Home Agents not in our configuration that one we hear names, at most `MOST_UNKNOWN`."""
        found: dict[Address, Unknown] = {}
        for haha, heard in self._heard.items():
            for outer, named in heard.unknown.items() if heard.until else ():
                found.setdefault(outer, Unknown(outer, named.preference, self._names[haha]))
        return list(found.values())[:MOST_UNKNOWN]

    def heard_from(self, peer: Peer) -> str | None:
        """Name of one that names to us a Home Agent that no tunnel joins us to; None: nobody does."""
        by = (haha for haha, heard in self._heard.items() if heard.until and peer.outer in heard.far)
        return next((self._names[haha] for haha in by), None)

    def lifetime(self, peer: Peer, now: Now) -> float | None:
        """Seconds until it is held to be down, 0 when it is; None when it has never been heard."""
        heard = self._heard.get(peer.haha)
        return None if heard is None else max(heard.until - now.monotonic, 0.0)

    def ready(self, now: Now, *, has_forgotten: bool = False) -> None:
        """We have caught up with the others; `has_forgotten`: and know of no binding."""
        if not self.is_ready:
            self.is_ready = True
            if has_forgotten:
                self._forgot_until = now.monotonic + FORGOT_TIME
                self._restart_counter = int(now.wall) & 0xFFFFFFFF
            # Until the others know, both sides take themselves for the owner of the same home addresses.
            self._hello_at = now.monotonic
            self._say_so(now)

    def receive(self, message: HahaMessage, peer: Peer, now: Now) -> None:
        """An authentic HELLO."""
        information = first_option(message.options, HelloInformation)
        epoch = first_option(message.options, MobilitySequence)
        restart = first_option(message.options, RestartCounter)
        named = {one.address: one for one in every_option(message.options, HeardHomeAgent)[:MOST_NAMED]}
        before = self._heard.get(peer.haha)
        if not message.argument or information is None:
            if before is not None and before.until:
                self._lose(peer.haha, now)
            return
        restart_counter = restart.counter if restart is not None else before.restart_counter if before else 0
        heard = _Heard(
            information.preference,
            bool(information.flags & HelloFlag.READY),
            bool(information.flags & HelloFlag.NAMES_ALL),
            {outer: one for outer, one in named.items() if outer in self._far},
            {outer: one for outer, one in named.items() if self._is_to_be_listed(one)},
            restart_counter,
            epoch.sequence if epoch is not None else 0,
            now.monotonic + min(information.interval / 1000 * MISSED, message.argument),
        )
        self._heard[peer.haha] = heard
        if before is None or not before.until:
            if self._hello_at is not None:
                # It has not heard us either, or has forgotten.
                self._hello_at = now.monotonic
            self._say_so(now)
        elif before[:4] != heard[:4]:
            self._say_so(now)
        if restart_counter != (0 if before is None else before.restart_counter):
            for listener in self.forgot_listeners:
                listener(peer, restart_counter, now)

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
        if self._forgot_until is not None and self._forgot_until <= now.monotonic:
            self._forgot_until, self._restart_counter = None, 0
        if self._hello_at is None or self._hello_at > now.monotonic:
            return False
        self._hello_at = now.monotonic + self._config.hello_interval
        return True

    @property
    def hello_lifetime(self) -> int:
        """Seconds that a HELLO of ours counts."""
        return ceil(MISSED * self._config.hello_interval)

    def hello(self) -> tuple[MobilityOption, ...]:
        """What we say of ourselves, and whom we hear."""
        config = self._config
        named = [
            HeardHomeAgent(peer.outer, heard.preference, HelloFlag.READY if heard.is_ready else 0)
            for peer in config.adjacent
            if (heard := self._heard.get(peer.haha)) is not None and heard.until
        ]
        room = max(MOST_NAMED - len(config.lent), 0)
        flags = HelloFlag.READY if self.serves else HelloFlag(0)
        if len(named) <= room and self._elect_at is None:
            flags |= HelloFlag.NAMES_ALL
        return (
            HelloInformation(config.preference, round(config.hello_interval * 1000), group=0, flags=flags),
            HomePrefix(config.home, PrefixRole.AGGREGATE),
            *([HomePrefix(config.partition, PrefixRole.PRIMARY_PARTITION)] if config.partition else []),
            *[HomePrefix(one.prefix, PrefixRole.PROXY_ONLY) for one in config.lent],
            *((MobilitySequence(self.epoch),) if self.epoch else ()),
            *((RestartCounter(self._restart_counter),) if self._restart_counter else ()),
            *named[:room],
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

    def _named(self, peer: Peer) -> HeardHomeAgent | None:
        """What those that we hear say of another one; who finds it ready has the latest news of it."""
        said = [heard.far.get(peer.outer) for heard in self._heard.values() if heard.until]
        found = (one for one in said if one is not None)
        return max(found, key=lambda one: one.flags & HelloFlag.READY, default=None)

    def _is_denied(self, peer: Peer) -> bool:
        """Whether everybody who could name one that no tunnel joins us to would do so, if it were heard."""
        names_all = [heard.names_all for heard in self._heard.values() if heard.until]
        return bool(names_all) and all(names_all)

    def _is_to_be_listed(self, named: HeardHomeAgent) -> bool:
        """Whether it is one that our configuration may not have yet, and in service."""
        outer = named.address
        if outer in self._known or not named.flags & HelloFlag.READY:
            return False
        return outer.is_routable_unicast and not self._config.home.contains(outer)

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
