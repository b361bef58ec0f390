"""What the packet filters know besides the bindings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..wire.address import Address, Prefix

TUNNEL_MSS: Final = 1360
"""Octets of TCP payload a segment: 1500 less two tunnel headers (80), IPv6 (40) and TCP (20). Two, because
a packet may cross a tunnel between sites and the tunnel to the mobile router, one inside the other. TCP
options come out of it on the sender's side."""


@dataclass(frozen=True, slots=True)
class HomeAgentGuardConfig:
    """What a Home Agent's filter knows besides the bindings.

    `peers`: outer addresses of the other Home Agents that tunnels come from; `peer_hahas`: the addresses that
    any other Home Agent has inside tunnels. Rates are in packets a second, of mobility messages from anybody
    else.
    """

    home: Prefix
    partition: Prefix | None
    haha: Address
    tunnel_ends: frozenset[Address]
    peers: frozenset[Address]
    peer_hahas: frozenset[Address]
    brought: Mapping[Address, frozenset[Address]] = field(default_factory=dict)
    """Which of `peer_hahas` each of `peers` may bring as inner source; one that is not named here, any."""
    satellites: frozenset[Address] = frozenset()
    """Those of `peers` that we are a parent of: they send us packets for all of Home."""
    lent_prefixes: tuple[Prefix, ...] = ()
    """Of all satellites: nothing from outside tunnels goes there."""
    lent_addresses: frozenset[Address] = frozenset()
    """Ours, as a satellite; they end the tunnels of primaries inside those of our parents."""
    primaries: frozenset[Address] = frozenset()
    """The outer addresses such a tunnel may come from."""
    strangers_each: int = 20
    strangers_total: int = 25_000
    tunnel_mss: int = TUNNEL_MSS
    noticed: tuple[Prefix, ...] = ()
    """What is inside Home and of other sites: traffic towards it is logged, where it is `notice_over` packets
    a second to one /64."""
    notice_over: int = 10


@dataclass(frozen=True, slots=True)
class MobileRouterGuardConfig:
    """What a mobile router's filter knows besides its Home Agent. Rates are in packets a second, of mobility
    messages from anybody but the Home Agents that it is bound to."""

    home_address: Address
    prefixes: tuple[Prefix, ...]
    lan: str
    strangers_each: int = 20
    strangers_total: int = 1000
    tunnel_mss: int = TUNNEL_MSS
