"""IPv6 policy rules over rtnetlink.

Privilege: reading needs none, changing needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from ..wire.address import Address, Prefix
from .netlink import (
    ACK,
    CREATE,
    EXCLUSIVE,
    Message,
    NetlinkSocket,
    attribute,
    attribute_u32,
    pull_attributes,
    u32,
)
from .route_messages import LOCAL_TABLE, PROTOCOL

_RTM_NEWRULE = 32
_RTM_DELRULE = 33
_RTM_GETRULE = 34

_FRA_DST = 1
_FRA_SRC = 2
_FRA_PRIORITY = 6
_FRA_TABLE = 15
_FRA_PROTOCOL = 21
_FRA_IP_PROTO = 22
_ACTION_TO_TABLE = 1

_RULE_HEADER = struct.Struct("=BBBBBBBBI")
_AF_INET6 = 10
_KERNEL = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """`ip -6 rule`: packets that match every selector given are looked up in `table`.

    `ip_protocol` is what stands behind destination options, routing and hop-by-hop headers for packets
    that arrive (the kernel dissects them for such a rule), the IPv6 header's own next header for packets
    that come out of a tunnel. `protocol` says who made the rule.
    """

    priority: int
    table: int
    source: Prefix | None = None
    destination: Prefix | None = None
    ip_protocol: int = 0
    protocol: int = PROTOCOL


KERNELS_LOCAL_RULE: Final = Rule(0, LOCAL_TABLE, protocol=_KERNEL)
"""What the kernel starts with: this host's own addresses come before everything."""


def rules(netlink: NetlinkSocket) -> list[Rule]:
    """Every rule that looks up a table, in order. Raises OSError."""
    request = Message(_RTM_GETRULE, 0, _RULE_HEADER.pack(_AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0))
    return [rule for rule in map(_pull_rule, netlink.dump(request)) if rule is not None]


def reconcile_rules(netlink: NetlinkSocket, wanted: AbstractSet[Rule], priorities: AbstractSet[int]) -> None:
    """Make the rules of ours at these priorities the wanted ones; first what is missing, then what is too
    much. Raises OSError."""
    present = {rule for rule in rules(netlink) if rule.protocol == PROTOCOL and rule.priority in priorities}
    for rule in sorted(wanted - present, key=lambda rule: rule.priority):
        add_rule(netlink, rule)
    for rule in present - wanted:
        delete_rule(netlink, rule)


def add_rule(netlink: NetlinkSocket, rule: Rule) -> None:
    """Raises OSError, EEXIST where the same rule stands."""
    netlink.request(Message(_RTM_NEWRULE, ACK | CREATE | EXCLUSIVE, _push_rule(rule)))


def delete_rule(netlink: NetlinkSocket, rule: Rule) -> None:
    """Raises OSError."""
    netlink.request(Message(_RTM_DELRULE, ACK, _push_rule(rule)))


def _push_rule(rule: Rule) -> bytes:
    source_length = rule.source.length if rule.source else 0
    destination_length = rule.destination.length if rule.destination else 0
    parts = [
        _RULE_HEADER.pack(_AF_INET6, destination_length, source_length, 0, 0, 0, 0, _ACTION_TO_TABLE, 0),
        attribute_u32(_FRA_PRIORITY, rule.priority),
        attribute_u32(_FRA_TABLE, rule.table),
        attribute(_FRA_PROTOCOL, bytes([rule.protocol])),
    ]
    if rule.source:
        parts.append(attribute(_FRA_SRC, rule.source.address))
    if rule.destination:
        parts.append(attribute(_FRA_DST, rule.destination.address))
    if rule.ip_protocol:
        parts.append(attribute(_FRA_IP_PROTO, bytes([rule.ip_protocol])))
    return b"".join(parts)


def _pull_rule(body: bytes) -> Rule | None:
    _, destination_length, source_length, _, _, _, _, action, _ = _RULE_HEADER.unpack_from(body)
    if action != _ACTION_TO_TABLE:
        return None
    found = pull_attributes(body, _RULE_HEADER.size)
    source, destination = found.get(_FRA_SRC), found.get(_FRA_DST)
    return Rule(
        priority=u32(found[_FRA_PRIORITY]) if _FRA_PRIORITY in found else 0,
        table=u32(found[_FRA_TABLE]),
        source=Prefix(Address(source), source_length) if source else None,
        destination=Prefix(Address(destination), destination_length) if destination else None,
        ip_protocol=found.get(_FRA_IP_PROTO, b"\0")[0],
        protocol=found.get(_FRA_PROTOCOL, b"\0")[0],
    )
