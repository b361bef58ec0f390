"""What the agent and the hook say to each other over the UNIX socket `hook.sock`.

The agent listens; the hook connects, again and again, and

    agent -> hook   Wanted, More …   the whole set of announcements, first on every connection
                    Change …         differences, afterwards
    hook -> agent   Hello, Session … for every configured peer, Learned …, EndOfRib for every peer that
                    has told all it has; afterwards the same as it happens, Acknowledged, and
                    Limit when a peer comes near to what it may announce, or goes beyond

How it is written is in `message_lines`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..protocol.routes import Announcement, Audience, LearnedRoute
from ..wire.address import Address, Prefix
from .communities import MarkRefusal
from .learned import LimitState


@dataclass(frozen=True, slots=True)
class BadRoute:
    """A route inside a message that could not be read."""

    prefix: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The agent begins to state all it wants announced. `lease` is how many seconds that stays without an
    agent; `groups` are the BGP peers an audience stands for; `limit` is how many prefixes one of them may
    announce, None any number. `More` messages follow while `more`."""

    asn: int
    lease: float
    groups: Mapping[Audience, tuple[Address, ...]]
    routes: tuple[Announcement, ...]
    more: bool = False
    bad: tuple[BadRoute, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class More:
    """The next part of what `Wanted` began."""

    routes: tuple[Announcement, ...]
    more: bool
    bad: tuple[BadRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Announce these, in place of what the same audience was told about the prefix, and withdraw those."""

    announce: tuple[Announcement, ...]
    withdraw: tuple[tuple[Audience, Prefix], ...]
    bad: tuple[BadRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Hello:
    """The hook is there, as the child of an ExaBGP of this version."""

    version: int
    exabgp: str


@dataclass(frozen=True, slots=True)
class Session:
    """The state of the BGP session to a configured peer."""

    peer: Address
    up: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Learned:
    """A peer announced and withdrew routes. The prefixes of `refused` routes are in `withdrawn` too: they
    replace what this peer said of them before."""

    peer: Address
    announced: tuple[LearnedRoute, ...]
    withdrawn: tuple[Prefix, ...]
    refused: tuple[tuple[Prefix, MarkRefusal], ...] = ()
    bad: tuple[BadRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """All routes of the peer have been told: what was learned from it before and not told again is gone."""

    peer: Address


@dataclass(frozen=True, slots=True)
class Limit:
    """How far a peer is from the number of prefixes that it may announce."""

    peer: Address
    state: LimitState


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """`routes` (peer, prefix) pairs are announced, acknowledged by ExaBGP; `pending` are not yet as
    wanted; `refused` will not be announced until something about them changes."""

    routes: int
    refused: tuple[BadRoute, ...]
    pending: int


AgentMessage = Wanted | More | Change
HookMessage = Hello | Session | Learned | EndOfRib | Limit | Acknowledged
