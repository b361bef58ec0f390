"""IPv6 policy rules.

Functions take an `IPRoute` of pyroute2 and block.

Privilege: reading needs none, changing needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import socket
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.fibmsg import FR_ACT_TO_TBL

from ..wire.address import Address, Prefix
from .route_messages import LOCAL_TABLE, PROTOCOL

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


def rules(ipr: IPRoute) -> list[Rule]:
    """Every rule that looks up a table, in order."""
    messages = ipr.get_rules(family=socket.AF_INET6)
    return [_read_rule(message) for message in messages if message["action"] == FR_ACT_TO_TBL]


def reconcile_rules(ipr: IPRoute, wanted: AbstractSet[Rule], priorities: AbstractSet[int]) -> None:
    """Make the rules of ours at these priorities the wanted ones; first what is missing, then what is too
    much."""
    present = {rule for rule in rules(ipr) if rule.protocol == PROTOCOL and rule.priority in priorities}
    for rule in sorted(wanted - present, key=lambda rule: rule.priority):
        add_rule(ipr, rule)
    for rule in present - wanted:
        delete_rule(ipr, rule)


def flush_rules(ipr: IPRoute) -> None:
    """Put the kernel's rule 0 back where it is missing, then take away every rule of ours."""
    present = rules(ipr)
    if not any(rule.priority == 0 and rule.table == LOCAL_TABLE for rule in present):
        add_rule(ipr, KERNELS_LOCAL_RULE)
    for rule in present:
        if rule.protocol == PROTOCOL:
            delete_rule(ipr, rule)


def add_rule(ipr: IPRoute, rule: Rule) -> None:
    """Refused with EEXIST where the same rule stands."""
    ipr.rule("add", **_arguments(rule))


def delete_rule(ipr: IPRoute, rule: Rule) -> None:
    """Take the rule away."""
    ipr.rule("del", **_arguments(rule))


def _arguments(rule: Rule) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "family": socket.AF_INET6,
        "priority": rule.priority,
        "table": rule.table,
        "protocol": rule.protocol,
    }
    for name, prefix in (("src", rule.source), ("dst", rule.destination)):
        if prefix is not None:
            arguments |= {name: str(prefix.address), f"{name}_len": prefix.length}
    if rule.ip_protocol:
        arguments["ip_proto"] = rule.ip_protocol
    return arguments


def _read_rule(message: Any) -> Rule:
    return Rule(
        priority=message.get_attr("FRA_PRIORITY") or 0,
        table=message.get_attr("FRA_TABLE"),
        source=_read_prefix(message.get_attr("FRA_SRC"), message["src_len"]),
        destination=_read_prefix(message.get_attr("FRA_DST"), message["dst_len"]),
        ip_protocol=message.get_attr("FRA_IP_PROTO") or 0,
        protocol=message.get_attr("FRA_PROTOCOL"),
    )


def _read_prefix(address: str | None, length: int) -> Prefix | None:
    return Prefix(Address.parse(address), length) if address else None
