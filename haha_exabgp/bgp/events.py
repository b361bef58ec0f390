"""ExaBGP's JSON lines -> typed events. Measured on 5.0.15 (`"exabgp": "5.0.0"` in the lines).

What is not known here is nothing to die of: `parse_event` answers None and the caller counts it.
Prefixes and next hops stay text, as ExaBGP wrote them: with 100,000 routes, reading them twice (here and
in the agent, which must check them anyway) would be the hook's largest expense.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..wire.address import Address
from .commands import DEFAULT_LOCAL_PREFERENCE, LargeCommunity

_FAMILY = "ipv6 unicast"
_LINK_LOCAL = re.compile(r"fe[89ab][0-9a-f]:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A BGP session came up or went down. The reason has the code and subcode of a NOTIFICATION."""

    peer: Address
    up: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedRoute:
    """A route a peer announced; `large_communities` in the order received."""

    prefix: str
    next_hop: str
    local_preference: int
    large_communities: tuple[LargeCommunity, ...]


@dataclass(frozen=True, slots=True)
class RoutesReceived:
    """One UPDATE message. Routes that have nothing but a link-local next hop are only counted."""

    peer: Address
    announced: tuple[ReceivedRoute, ...]
    withdrawn: tuple[str, ...]
    without_global_next_hop: int = 0


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """The peer has told all it has (RFC 4724 s.2)."""

    peer: Address


@dataclass(frozen=True, slots=True)
class RefreshMarker:
    """The peer begins or ends to tell everything again (RFC 7313 s.4)."""

    peer: Address
    ended: bool


@dataclass(frozen=True, slots=True)
class ShuttingDown:
    """ExaBGP ends; SIGTERM follows."""


Event = SessionChanged | RoutesReceived | EndOfRib | RefreshMarker | ShuttingDown


def parse_event(line: bytes) -> Event | None:
    """Read one line. None for everything that is of no use to us: malformed, of another address family, of
    a kind not listed above. Never raises."""
    try:
        message = json.loads(line)
        return _PARSERS[message["type"]](message)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def parse_neighbors(line: str) -> dict[Address, bool]:
    """The answer to `ShowNeighbors`: each configured neighbor, and whether its session is up. Raises
    ValueError when the line is something else."""
    try:
        return {
            Address.parse(one["peer"]["address"]): one["fsm"] == "ESTABLISHED" for one in json.loads(line)
        }
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a list of neighbors: {error!r}") from error


def _peer(message: Mapping[str, Any]) -> Address:
    return Address.parse(message["neighbor"]["address"]["peer"])


def _state(message: Mapping[str, Any]) -> Event | None:
    state = message["neighbor"]["state"]
    if state not in ("up", "down"):
        return None
    return SessionChanged(_peer(message), state == "up", str(message["neighbor"].get("reason", "")))


def _update(message: Mapping[str, Any]) -> Event | None:
    neighbor = message["neighbor"]
    if neighbor.get("direction") != "receive":
        return None
    body = neighbor["message"]
    if "eor" in body:
        family = f"{body['eor']['afi']} {body['eor']['safi']}"
        return EndOfRib(_peer(message)) if family == _FAMILY else None
    update = body["update"]
    attributes = update.get("attribute", {})
    preference = _number(attributes.get("local-preference", DEFAULT_LOCAL_PREFERENCE))
    communities = tuple(map(_community, attributes.get("large-community", ())))
    routes: dict[str, ReceivedRoute] = {}
    link_local: set[str] = set()
    for next_hop, prefixes in update.get("announce", {}).get(_FAMILY, {}).items():
        texts = [_text(one["nlri"]) for one in prefixes]
        if _LINK_LOCAL.match(next_hop):
            link_local.update(texts)
        else:
            routes.update((text, ReceivedRoute(text, next_hop, preference, communities)) for text in texts)
    withdrawn = tuple(_text(one["nlri"]) for one in update.get("withdraw", {}).get(_FAMILY, ()))
    if not routes and not withdrawn and not link_local:
        return None
    return RoutesReceived(
        _peer(message), tuple(routes.values()), withdrawn, len(link_local.difference(routes))
    )


def _refresh(message: Mapping[str, Any]) -> Event | None:
    neighbor = message["neighbor"]
    marker = neighbor["route-refresh"]
    if neighbor.get("direction") != "receive" or f"{marker['afi']} {marker['safi']}" != _FAMILY:
        return None
    if marker["subtype"] not in ("begin", "end"):
        return None
    return RefreshMarker(_peer(message), marker["subtype"] == "end")


def _notification(message: Mapping[str, Any]) -> Event | None:
    return ShuttingDown() if message["notification"] == "shutdown" else None


_PARSERS: dict[str, Callable[[Mapping[str, Any]], Event | None]] = {
    "state": _state,
    "update": _update,
    "refresh": _refresh,
    "notification": _notification,
}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a number")
    return value


def _community(value: object) -> LargeCommunity:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a large community")
    administrator, first, second = map(_number, value)
    return administrator, first, second
