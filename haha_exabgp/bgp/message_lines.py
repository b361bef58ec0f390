"""The messages between agent and hook as lines of JSON, one object a line. Both ends use this file.

A line has at most `LINE_LIMIT` octets; `encode_*` make several lines of what would be longer. Who reads
uses `LineSplitter(LINE_LIMIT)`. A single bad route is passed over and named; a line that is no message at
all is a `MessageError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from ..protocol.routes import Announcement, Audience, LearnedRoute, RouteKind
from ..wire.address import Address, Prefix
from .commands import LargeCommunity
from .communities import MarkRefusal, learned_route
from .events import ReceivedRoute
from .learned import Fill, LimitState
from .messages import (
    Acknowledged,
    AgentMessage,
    BadRoute,
    Change,
    EndOfRib,
    Hello,
    HookMessage,
    Learned,
    Limit,
    More,
    Session,
    Wanted,
)

VERSION = 1
LINE_LIMIT = 8 * 1024 * 1024
"""Octets in one line."""
ROUTES_A_LINE = 2000
"""At some 200 octets a route, far below `LINE_LIMIT`."""
REFUSALS_TOLD = 100
"""Refused routes named in one `Acknowledged`."""

_Item = TypeVar("_Item")
_Json = Mapping[str, Any]


class MessageError(ValueError):
    """A line that is not a message of this protocol."""


# Encoding: the agent's side.


def encode_wanted(
    asn: int,
    lease: float,
    groups: Mapping[Audience, Sequence[Address]],
    announcements: Iterable[Announcement],
    limit: int | None = None,
) -> list[bytes]:
    """The lines that state the whole set of announcements."""
    parts = list(_batches(map(_announcement_out, announcements))) or [[]]
    first: dict[str, Any] = {
        "type": "wanted",
        "asn": asn,
        "lease": lease,
        "groups": {audience.value: list(map(str, peers)) for audience, peers in groups.items()},
    }
    if limit is not None:
        first["limit"] = limit
    heads: Iterator[dict[str, Any]] = chain([first], ({"type": "more"} for _ in parts[1:]))
    return [
        _line({**head, "routes": part, "more": number < len(parts)})
        for number, (head, part) in enumerate(zip(heads, parts, strict=True), 1)
    ]


def encode_change(
    announce: Iterable[Announcement], withdraw: Iterable[tuple[Audience, Prefix]]
) -> list[bytes]:
    """The lines that state a difference; announcements first."""
    announced = [
        _line({"type": "change", "announce": part, "withdraw": []})
        for part in _batches(map(_announcement_out, announce))
    ]
    keys = ({"group": audience.value, "prefix": str(prefix)} for audience, prefix in withdraw)
    return announced + [
        _line({"type": "change", "announce": [], "withdraw": part}) for part in _batches(keys)
    ]


def _announcement_out(announcement: Announcement) -> dict[str, Any]:
    return {
        "group": announcement.audience.value,
        "prefix": str(announcement.prefix),
        "next_hop": str(announcement.next_hop),
        "kind": announcement.kind.value,
        "sequence": announcement.sequence,
    }


# Encoding: the hook's side. Learned routes go through as the text that ExaBGP wrote.


def encode_hello(exabgp: str) -> bytes:
    return _line({"type": "hello", "version": VERSION, "exabgp": exabgp})


def encode_session(peer: Address, up: bool, reason: str) -> bytes:
    state = "up" if up else "down"
    return _line({"type": "session", "peer": str(peer), "state": state, "reason": reason})


def encode_learned(
    peer: Address, announced: Iterable[ReceivedRoute], withdrawn: Iterable[str] = ()
) -> list[bytes]:
    """The lines that tell of a peer's routes; withdrawn ones first, as in an UPDATE."""
    name = str(peer)
    routes = (
        {
            "prefix": route.prefix,
            "next_hop": route.next_hop,
            "local_preference": route.local_preference,
            "large_communities": route.large_communities,
        }
        for route in announced
    )
    lines = [
        _line({"type": "learned", "peer": name, "announce": [], "withdraw": part})
        for part in _batches(withdrawn)
    ]
    return lines + [
        _line({"type": "learned", "peer": name, "announce": part, "withdraw": []})
        for part in _batches(routes)
    ]


def encode_end_of_rib(peer: Address) -> bytes:
    return _line({"type": "eor", "peer": str(peer)})


def encode_limit(peer: Address, state: LimitState) -> bytes:
    passed_over = min(state.passed_over, 0xFFFFFFFF)
    return _line({"type": "limit", "peer": str(peer), "fill": state.fill, "passed_over": passed_over})


def encode_acknowledged(acknowledged: Acknowledged) -> bytes:
    refused = [{"prefix": one.prefix, "reason": one.reason} for one in acknowledged.refused[:REFUSALS_TOLD]]
    return _line(
        {
            "type": "acknowledged",
            "routes": acknowledged.routes,
            "refused": refused,
            "commands_pending": acknowledged.pending,
        }
    )


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, ROUTES_A_LINE)):
        yield batch


def _line(message: _Json) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


# Decoding.


def decode_agent_message(line: bytes) -> AgentMessage:
    """Read what the agent says. Raises MessageError."""
    return _decode(line, _AGENT_DECODERS, ())


def decode_hook_message(line: bytes, asn: int) -> HookMessage:
    """Read what the hook says to the agent of the Home with this AS number. Raises MessageError."""
    return _decode(line, _HOOK_DECODERS, (asn,))


_Message = TypeVar("_Message")


def _decode(
    line: bytes, decoders: Mapping[str, Callable[..., _Message]], arguments: tuple[Any, ...]
) -> _Message:
    try:
        message = json.loads(line)
        decoder = decoders[message["type"]]
        return decoder(message, *arguments)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MessageError(f"not a message: {line[:80]!r}: {error!r}") from error


def _each(items: Iterable[Any], read: Callable[[Any], _Item], bad: list[BadRoute]) -> tuple[_Item, ...]:
    good: list[_Item] = []
    for item in items:
        try:
            good.append(read(item))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            prefix = item.get("prefix") if isinstance(item, dict) else item
            bad.append(BadRoute(str(prefix)[:80], f"not readable: {error!r}"))
    return tuple(good)


def _announcement(item: _Json) -> Announcement:
    next_hop = _address(item["next_hop"])
    if not next_hop.is_routable_unicast:
        raise ValueError(f"next hop {next_hop} is not a global unicast address")
    return Announcement(
        Audience(item["group"]),
        RouteKind(_number(item["kind"])),
        _prefix(item["prefix"]),
        next_hop,
        _number(item.get("sequence", 0)),
    )


def _wanted(message: _Json) -> Wanted:
    bad: list[BadRoute] = []
    groups = {
        Audience(name): tuple(map(_address, addresses)) for name, addresses in message["groups"].items()
    }
    lease = message["lease"]
    if type(lease) not in (int, float) or not 0 <= lease < float("inf"):
        raise ValueError(f"lease {lease!r} is not a number of seconds")
    routes = _each(message["routes"], _announcement, bad)
    limit = _number(message["limit"]) if "limit" in message else None
    more = message.get("more") is True
    return Wanted(_number(message["asn"]), lease, groups, routes, more, tuple(bad), limit)


def _more(message: _Json) -> More:
    bad: list[BadRoute] = []
    routes = _each(message["routes"], _announcement, bad)
    return More(routes, message.get("more") is True, tuple(bad))


def _route_key(item: _Json) -> tuple[Audience, Prefix]:
    return Audience(item["group"]), _prefix(item["prefix"])


def _change(message: _Json) -> Change:
    bad: list[BadRoute] = []
    announce = _each(message.get("announce", ()), _announcement, bad)
    withdraw = _each(message.get("withdraw", ()), _route_key, bad)
    return Change(announce, withdraw, tuple(bad))


def _hello(message: _Json, asn: int) -> Hello:
    return Hello(_number(message["version"]), _text(message["exabgp"]))


def _session(message: _Json, asn: int) -> Session:
    up = {"up": True, "down": False}[message["state"]]
    return Session(_address(message["peer"]), up, _text(message.get("reason", "")))


def _learned(message: _Json, asn: int) -> Learned:
    peer = _address(message["peer"])
    bad: list[BadRoute] = []
    withdrawn = list(_each(message.get("withdraw", ()), _prefix, bad))
    announced: list[LearnedRoute] = []
    refused: list[tuple[Prefix, MarkRefusal]] = []
    for prefix, next_hop, communities in _each(message.get("announce", ()), _received, bad):
        route = learned_route(peer, prefix, next_hop, communities, asn)
        if isinstance(route, LearnedRoute):
            announced.append(route)
        else:
            refused.append((prefix, route))
            withdrawn.append(prefix)
    return Learned(peer, tuple(announced), tuple(withdrawn), tuple(refused), tuple(bad))


def _received(item: _Json) -> tuple[Prefix, Address, list[LargeCommunity]]:
    communities: list[LargeCommunity] = []
    for community in item.get("large_communities", ()):
        administrator, first, second = map(_number, community)
        communities.append((administrator, first, second))
    return _prefix(item["prefix"]), _address(item["next_hop"]), communities


def _end_of_rib(message: _Json, asn: int) -> EndOfRib:
    return EndOfRib(_address(message["peer"]))


def _limit(message: _Json, asn: int) -> Limit:
    state = LimitState(Fill(message["fill"]), _number(message["passed_over"]))
    return Limit(_address(message["peer"]), state)


def _acknowledged(message: _Json, asn: int) -> Acknowledged:
    refused = tuple(BadRoute(_text(one["prefix"]), _text(one["reason"])) for one in message["refused"])
    return Acknowledged(_number(message["routes"]), refused, _number(message["commands_pending"]))


_AGENT_DECODERS: dict[str, Callable[..., AgentMessage]] = {
    "wanted": _wanted,
    "more": _more,
    "change": _change,
}
_HOOK_DECODERS: dict[str, Callable[..., HookMessage]] = {
    "hello": _hello,
    "session": _session,
    "learned": _learned,
    "eor": _end_of_rib,
    "limit": _limit,
    "acknowledged": _acknowledged,
}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 0xFFFFFFFF:
        raise TypeError(f"{value!r} is not a number of 32 bits")
    return value


def _address(value: object) -> Address:
    return Address.parse(_text(value))


def _prefix(value: object) -> Prefix:
    return Prefix.parse(_text(value))
