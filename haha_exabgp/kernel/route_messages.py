"""IPv6 routes <-> rtnetlink messages (RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE).

Packed here and not by pyroute2, which turns `encap.red` into plain `encap` without a word (0.9.7) and is 25
times slower.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from ..wire.address import UNSPECIFIED, Address, Prefix
from .ip6_tunnel_messages import (
    LWTUNNEL_IP6,
    Ip6Encapsulate,
    pull_ip6_encapsulation,
    push_ip6_encapsulation,
)
from .netlink import CREATE, REPLACE, Message, attribute, attribute_u32, nested, pull_attributes, u32

PROTOCOL: Final = 104
"""The route protocol number of everything this program puts into the kernel, in no registry's use
(rtnetlink.h, /etc/iproute2/rt_protos): what carries it is ours to change and to delete."""

ALL_TABLES: Final = 0
"""To dump only."""
MAIN_TABLE: Final = 254
LOCAL_TABLE: Final = 255

RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26

RTA_ENCAP_TYPE: Final = 21
LWTUNNEL_SEG6: Final = 5

_AF_INET6 = 10
_SCOPE_UNIVERSE = 0
_TABLE_COMPAT = 252
"""In the old 8-bit field, for numbers that do not fit."""

_RTN_UNICAST = 1
_RTN_UNREACHABLE = 7

_RTA_DST = 1
_RTA_SRC = 2
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_PREFSRC = 7
_RTA_TABLE = 15
_RTA_ENCAP = 22

_LWTUNNEL_SEG6_LOCAL = 7
_SEG6_IPTUNNEL_SRH = 1
_SEG6_MODE_ENCAP_RED = 3
_SEG6_LOCAL_ACTION = 1
_SEG6_LOCAL_TABLE = 3
_END_DT6 = 7

_FIB_MATCH = 0x2000
_RTMSG = struct.Struct("=BBBBBBBBI")
_SEGMENT_LIST = struct.Struct("=iBBBBBBH16s")
"""Mode, then a segment routing header (RFC 8754 s.2) of one segment: next header, length in 8-octet units
after the first 8, type 4, segments left, last entry, flags, tag, segment."""


@dataclass(frozen=True, slots=True)
class Encapsulate:
    """Into IPv6-in-IPv6 (RFC 2473) to `tunnel_exit`: `encap seg6 mode encap.red segs EXIT dev DEVICE`.
    With one segment no routing header is pushed (RFC 8986 s.5.2)."""

    tunnel_exit: Address
    device: int


@dataclass(frozen=True, slots=True)
class Decapsulate:
    """Out of IPv6-in-IPv6: `encap seg6local action End.DT6 table TABLE dev DEVICE`.

    Table 0 looks the inner packet up by the policy rules, as any packet that arrives: local addresses,
    further tunnel ends and source rules all count. Any other table is the only one looked at.
    """

    device: int
    table: int = 0


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Discard and say so (ICMPv6 1/0)."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Out of a device, or to a neighbour on it: `dev DEVICE`, `via GATEWAY dev DEVICE`."""

    device: int
    gateway: Address | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A route under our protocol number that this program never writes. It can be deleted, not set."""

    route_type: int


Action = Encapsulate | Ip6Encapsulate | Decapsulate | Unreachable | Forward | Unknown


class Route(NamedTuple):
    """One IPv6 route under our protocol number. Devices are interface indexes; `source` is the address
    that this host's own packets get on it."""

    prefix: Prefix
    action: Action
    metric: int
    table: int = MAIN_TABLE
    source: Address | None = None


def push_replace(route: Route) -> Message:
    """Add the route, or replace the one of the same table, prefix and metric in one step.

    Raises ValueError for an `Unknown` action.
    """
    prefix, action, metric, table, source = route
    if action.__class__ is Unknown:
        raise ValueError(f"a route that is none of ours in form can only be deleted: {prefix}")
    route_type, push = _PUSH[action.__class__]
    body = _push_key(prefix, metric, table, route_type) + push(action)
    if source is not None:
        body += attribute(_RTA_PREFSRC, source)
    return Message(RTM_NEWROUTE, CREATE | REPLACE, body)


def push_delete(prefix: Prefix, metric: int, table: int = MAIN_TABLE) -> Message:
    """Delete the route of ours with this table, prefix and metric; refused with ESRCH where none is."""
    return Message(RTM_DELROUTE, 0, _push_key(prefix, metric, table, 0))


def push_dump(table: int) -> Message:
    """Ask for the routes of ours in one table; the kernel does the filtering (strict checking is on)."""
    header = _RTMSG.pack(_AF_INET6, 0, 0, 0, table if table < 256 else _TABLE_COMPAT, PROTOCOL, 0, 0, 0)
    return Message(RTM_GETROUTE, 0, header + attribute_u32(_RTA_TABLE, table))


def push_lookup(source: Address, destination: Address) -> Message:
    """Ask which route a packet with these addresses takes now, as `ip route get` does."""
    header = _RTMSG.pack(_AF_INET6, 128, 128, 0, 0, 0, 0, 0, 0)
    return Message(RTM_GETROUTE, 0, header + attribute(_RTA_DST, destination) + attribute(_RTA_SRC, source))


def push_match(destination: Address) -> Message:
    """Ask for the route itself that a packet to this address takes now."""
    header = _RTMSG.pack(_AF_INET6, 128, 0, 0, 0, 0, 0, 0, _FIB_MATCH)
    return Message(RTM_GETROUTE, 0, header + attribute(_RTA_DST, destination))


def pull_route(body: bytes) -> Route | None:
    """Read one RTM_NEWROUTE body; None when it is not IPv6 or not under our protocol number."""
    family, length, _, _, table, protocol, _, route_type, _ = _RTMSG.unpack_from(body)
    if family != _AF_INET6 or protocol != PROTOCOL:
        return None
    found = pull_attributes(body, _RTMSG.size)
    source = found.get(_RTA_PREFSRC)
    return Route(
        prefix=Prefix(Address(found.get(_RTA_DST, UNSPECIFIED)), length),
        action=_pull_action(route_type, found),
        metric=u32(found[_RTA_PRIORITY]),
        table=u32(found[_RTA_TABLE]) if _RTA_TABLE in found else table,
        source=None if source is None else Address(source),
    )


def pull_routes(bodies: Iterable[bytes]) -> list[Route]:
    """Read a dump; what is not ours is left out."""
    return [route for route in map(pull_route, bodies) if route is not None]


def _push_key(prefix: Prefix, metric: int, table: int, route_type: int) -> bytes:
    address, length = prefix
    return _before_address(length, table, route_type) + address + _behind_address(metric, table)


# Of these there are few, and routes are packed by the 10,000 a second.
@lru_cache(maxsize=1024)
def _before_address(length: int, table: int, route_type: int) -> bytes:
    octet = table if table < 256 else _TABLE_COMPAT
    header = _RTMSG.pack(_AF_INET6, length, 0, 0, octet, PROTOCOL, _SCOPE_UNIVERSE, route_type, 0)
    return header + attribute(_RTA_DST, UNSPECIFIED)[: -len(UNSPECIFIED)]


@lru_cache(maxsize=1024)
def _behind_address(metric: int, table: int) -> bytes:
    return attribute_u32(_RTA_PRIORITY, metric) + attribute_u32(_RTA_TABLE, table)


def _push_lightweight_tunnel(kind: int, device: int, *attributes: bytes) -> bytes:
    return b"".join(
        (
            attribute_u32(_RTA_OIF, device),
            attribute(RTA_ENCAP_TYPE, struct.pack("=H", kind)),
            nested(_RTA_ENCAP, *attributes),
        )
    )


def _push_encapsulate(action: Encapsulate) -> bytes:
    return _encapsulating_through(action.device) + action.tunnel_exit


@lru_cache(maxsize=8)
def _encapsulating_through(device: int) -> bytes:
    """All of the action but the segment, which stands last: this is packed for every binding."""
    unspecified = _SEGMENT_LIST.pack(_SEG6_MODE_ENCAP_RED, 0, 2, 4, 0, 0, 0, 0, UNSPECIFIED)
    segments = attribute(_SEG6_IPTUNNEL_SRH, unspecified)
    return _push_lightweight_tunnel(LWTUNNEL_SEG6, device, segments)[: -len(UNSPECIFIED)]


def _push_ip6_encapsulate(action: Ip6Encapsulate) -> bytes:
    return _push_lightweight_tunnel(LWTUNNEL_IP6, action.device, push_ip6_encapsulation(action))


def _push_decapsulate(action: Decapsulate) -> bytes:
    return _push_lightweight_tunnel(
        _LWTUNNEL_SEG6_LOCAL,
        action.device,
        attribute_u32(_SEG6_LOCAL_ACTION, _END_DT6),
        attribute_u32(_SEG6_LOCAL_TABLE, action.table),
    )


def _push_unreachable(_: Unreachable) -> bytes:
    return b""


def _push_forward(action: Forward) -> bytes:
    gateway = b"" if action.gateway is None else attribute(_RTA_GATEWAY, action.gateway)
    return attribute_u32(_RTA_OIF, action.device) + gateway


_PUSH: dict[type, tuple[int, Callable[..., bytes]]] = {
    Encapsulate: (_RTN_UNICAST, _push_encapsulate),
    Ip6Encapsulate: (_RTN_UNICAST, _push_ip6_encapsulate),
    Decapsulate: (_RTN_UNICAST, _push_decapsulate),
    Unreachable: (_RTN_UNREACHABLE, _push_unreachable),
    Forward: (_RTN_UNICAST, _push_forward),
}


def _pull_encapsulate(device: int, encapsulation: bytes) -> Action | None:
    segments = pull_attributes(encapsulation).get(_SEG6_IPTUNNEL_SRH, b"")
    if len(segments) != _SEGMENT_LIST.size:
        return None
    mode, *_, tunnel_exit = _SEGMENT_LIST.unpack(segments)
    return Encapsulate(Address(tunnel_exit), device) if mode == _SEG6_MODE_ENCAP_RED else None


def _pull_decapsulate(device: int, encapsulation: bytes) -> Action | None:
    found = pull_attributes(encapsulation)
    if u32(found[_SEG6_LOCAL_ACTION]) != _END_DT6 or _SEG6_LOCAL_TABLE not in found:
        return None
    return Decapsulate(device, u32(found[_SEG6_LOCAL_TABLE]))


_PULL_LIGHTWEIGHT_TUNNEL: dict[int, Callable[[int, bytes], Action | None]] = {
    LWTUNNEL_SEG6: _pull_encapsulate,
    LWTUNNEL_IP6: pull_ip6_encapsulation,
    _LWTUNNEL_SEG6_LOCAL: _pull_decapsulate,
}


def _pull_unicast(found: dict[int, bytes]) -> Action | None:
    if _RTA_OIF not in found:
        return None
    device = u32(found[_RTA_OIF])
    gateway = found.get(_RTA_GATEWAY)
    if RTA_ENCAP_TYPE not in found:
        return Forward(device, None if gateway is None else Address(gateway))
    (kind,) = struct.unpack("=H", found[RTA_ENCAP_TYPE])
    pull = _PULL_LIGHTWEIGHT_TUNNEL.get(kind)
    return None if pull is None or gateway is not None else pull(device, found[_RTA_ENCAP])


_PULL: dict[int, Callable[[dict[int, bytes]], Action | None]] = {
    _RTN_UNICAST: _pull_unicast,
    _RTN_UNREACHABLE: lambda _: Unreachable(),
}


def _pull_action(route_type: int, found: dict[int, bytes]) -> Action:
    pull = _PULL.get(route_type)
    action = None if pull is None else pull(found)
    return Unknown(route_type) if action is None else action
