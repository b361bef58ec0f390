"""The API text of ExaBGP 5.x: the only place that knows the grammar of its commands and of its answers in
plain text. All of it was measured on 5.0.15.

Rules that are easy to get wrong:

1. Every neighbor is named (`neighbor A, neighbor B …`), every next hop is an explicit global address. A
   name that is not configured is passed over in silence as long as another one matches.
2. A withdraw carries the attributes of its announcement. ExaBGP queues changes by attributes and sends
   queue after queue: `announce Q`, `withdraw route P`, `announce P` reaches the peer as Q, P, withdraw P,
   and P is lost although `show adj-rib out` has it. With the same attributes the later command replaces the
   earlier one in the same queue. The first batch of a session leaves withdraws out, so an announcement that
   was never replaced in its own queue would come back from the dead.
3. Most commands are answered in order, but an error of `announce eor` and `announce route-refresh`, and
   all answers to `version`, overtake what waits: they are `exclusive`, sent only while nothing else waits.
4. A command without `next-hop` is accepted and then flaps the session for ever; the word `json` in a command
   other than `show` ends the daemon. Neither can be written with this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..wire.address import Address, Prefix

SUPPORTED_VERSION = "5."
"""What the version must start with: 6.x says `peer` instead of `neighbor`."""
MAX_PREFIXES = 500
"""Prefixes in one command. A bad one spoils its whole command, and a command is one line of at most 1 MiB."""
HANDSHAKE = b"reset\nversion\n"
"""`reset` drops, unanswered, what an earlier process of ours has left in ExaBGP's queue; the answer to
`version` then comes before every answer to a command of ours, and after every answer to one of theirs."""

DEFAULT_LOCAL_PREFERENCE = 100
"""What everybody takes a route for that comes without one."""

_WORD_MAX = 0xFFFFFFFF

LargeCommunity = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class PathAttributes:
    """What a route is announced with. `large_communities` are sorted, as ExaBGP shows them."""

    next_hop: Address
    local_preference: int
    large_communities: tuple[LargeCommunity, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """Announce prefixes with the same attributes to some neighbors."""

    neighbors: tuple[Address, ...]
    attributes: PathAttributes
    prefixes: tuple[Prefix, ...]
    exclusive: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Withdraw prefixes that were announced with these attributes."""

    neighbors: tuple[Address, ...]
    attributes: PathAttributes
    prefixes: tuple[Prefix, ...]
    exclusive: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class SendEndOfRib:
    """Send End-of-RIB (RFC 4724 s.2) for IPv6 unicast; ExaBGP sends it after what is queued."""

    neighbor: Address
    exclusive: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class RequestRefresh:
    """Ask a neighbor for all its routes again (RFC 2918, with begin and end of RFC 7313)."""

    neighbor: Address
    exclusive: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ShowRoutes:
    """Ask what ExaBGP announces to whom; answered by lines for `parse_shown_route`. In text, because the
    JSON form with attributes needs an environment variable that systemd cannot set (it has a dash)."""

    exclusive: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class ShowNeighbors:
    """Ask for the configured neighbors and their states; answered by one line of JSON."""

    exclusive: ClassVar[bool] = False


Command = Announce | Withdraw | SendEndOfRib | RequestRefresh | ShowRoutes | ShowNeighbors


@dataclass(frozen=True, slots=True)
class ShownRoute:
    """A route that ExaBGP announces to a neighbor."""

    neighbor: Address
    prefix: Prefix
    attributes: PathAttributes


def encode(command: Command) -> bytes:
    """The line of a command, with its newline. Raises ValueError for values of the wrong type or range:
    nothing reaches ExaBGP that is not a parsed address, prefix or number."""
    match command:
        case Announce(neighbors, attributes, prefixes):
            text = _routes("announce", neighbors, attributes, prefixes)
        case Withdraw(neighbors, attributes, prefixes):
            text = _routes("withdraw", neighbors, attributes, prefixes)
        case SendEndOfRib(neighbor):
            text = f"{_neighbors((neighbor,))} announce eor ipv6 unicast"
        case RequestRefresh(neighbor):
            text = f"{_neighbors((neighbor,))} announce route-refresh ipv6 unicast"
        case ShowRoutes():
            text = "show adj-rib out extensive"
        case ShowNeighbors():
            text = "show neighbor json"
    return text.encode("ascii") + b"\n"


def _routes(
    verb: str, neighbors: tuple[Address, ...], attributes: PathAttributes, prefixes: tuple[Prefix, ...]
) -> str:
    if not 0 < len(prefixes) <= MAX_PREFIXES:
        raise ValueError(f"{len(prefixes)} prefixes in a command: 1 to {MAX_PREFIXES} are allowed")
    nlri = " ".join(map(_prefix, prefixes))
    return f"{_neighbors(neighbors)} {verb} attributes {_attributes(attributes)} nlri {nlri}"


def _neighbors(neighbors: tuple[Address, ...]) -> str:
    if not neighbors:
        raise ValueError("a command without a neighbor would go to all of them")
    return ", ".join(f"neighbor {_address(neighbor)}" for neighbor in neighbors)


def _attributes(attributes: PathAttributes) -> str:
    if not attributes.next_hop.is_routable_unicast:
        raise ValueError(f"next hop {attributes.next_hop} is not a global unicast address")
    text = f"next-hop {_address(attributes.next_hop)} local-preference {_number(attributes.local_preference)}"
    if attributes.large_communities:
        communities = " ".join(":".join(map(_number, one)) for one in attributes.large_communities)
        text += f" large-community [ {communities} ]"
    return text


def _address(address: Address) -> str:
    if type(address) is not Address or len(address) != 16:
        raise ValueError(f"{address!r} is not a parsed address")
    return str(address)


def _prefix(prefix: Prefix) -> str:
    if type(prefix) is not Prefix or type(prefix.length) is not int or not 0 <= prefix.length <= 128:
        raise ValueError(f"{prefix!r} is not a parsed prefix")
    address = _address(prefix.address)
    if Prefix.of(prefix.address, prefix.length) != prefix:
        raise ValueError(f"{prefix} has host bits set")
    return f"{address}/{prefix.length}"


def _number(value: int) -> str:
    if type(value) is not int or not 0 <= value <= _WORD_MAX:
        raise ValueError(f"{value!r} is not a number of 32 bits")
    return str(value)


_SHOWN = re.compile(
    r"neighbor (?P<neighbor>\S+) .*?ipv6 unicast (?P<prefix>\S+) next-hop (?P<next_hop>\S+)(?P<rest>.*)"
)
_SHOWN_LOCAL_PREFERENCE = re.compile(r" local-preference (\d+)")
_SHOWN_COMMUNITIES = re.compile(r" large-community (?:\[ ([\d: ]+) \]|([\d:]+))")


def parse_shown_route(line: str) -> ShownRoute | None:
    """Read one line of the answer to `ShowRoutes`; None when it is not one of an IPv6 unicast route."""
    shown = _SHOWN.fullmatch(line)
    if shown is None:
        return None
    rest = shown["rest"]
    preference = _SHOWN_LOCAL_PREFERENCE.search(rest)
    communities = _SHOWN_COMMUNITIES.search(rest)
    try:
        return ShownRoute(
            Address.parse(shown["neighbor"]),
            Prefix.parse(shown["prefix"]),
            PathAttributes(
                Address.parse(shown["next_hop"]),
                int(preference[1]) if preference else DEFAULT_LOCAL_PREFERENCE,
                _communities((communities[1] or communities[2]).split() if communities else ()),
            ),
        )
    except ValueError:
        return None


def _communities(words: Iterable[str]) -> tuple[LargeCommunity, ...]:
    parsed: list[LargeCommunity] = []
    for word in words:
        administrator, first, second = word.split(":")
        parsed.append((int(administrator), int(first), int(second)))
    return tuple(sorted(parsed))
