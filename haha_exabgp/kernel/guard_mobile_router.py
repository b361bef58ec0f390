"""The packet filter of a mobile router, as text for `nft`. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from ..wire.address import Address, Prefix
from .guard_config import MobileRouterGuardConfig
from .guard_signalling import rates, silence, strangers_chain
from .guard_text import accept_inner_destination, chain, declare_set, new_table
from .guard_tunnels import NO_HIDDEN_NEIGHBOUR_DISCOVERY, NO_NEIGHBOUR_DISCOVERY, fragments_chain

HOME_AGENTS_SET: Final = "home_agents"
TUNNEL_ENDS_SET: Final = "tunnel_ends"


def render_mobile_router(
    config: MobileRouterGuardConfig, home_agents: AbstractSet[Address], tunnel_ends: AbstractSet[Address]
) -> str:
    """The whole table of a mobile router, in place of the one that is there: one transaction.

    A tunnel of a mobile router inside the mobile network passes like any packet: its outer source is what is
    looked at. The inner one would be if it were for us to take out of its tunnel (RFC 3963 s.9), which
    nothing from the mobile network is.
    """
    own = {Prefix.host(config.home_address), *config.prefixes}
    networks = [*map(str, config.prefixes)]
    lan_sources = ", ".join(["fe80::/10", "::/128", *networks])
    elsewhere = f"ip6 daddr != {{ {', '.join(networks)} }} " if networks else ""
    clamp = f"tcp flags & (syn | rst) == syn tcp option maxseg size set {config.tunnel_mss}"
    return new_table(
        _MOBILE_ROUTER_COUNTERS,
        declare_set(HOME_AGENTS_SET, "type ipv6_addr", map(str, home_agents)),
        declare_set(TUNNEL_ENDS_SET, "type ipv6_addr", map(str, tunnel_ends)),
        rates("strangers", 16384),
        chain(
            "prerouting",
            "type filter hook prerouting priority raw; policy accept;",
            f'iifname "{config.lan}" ip6 saddr != {{ {lan_sources} }} counter name lan_spoofed drop',
            f'iifname "{config.lan}" fib saddr type local counter name lan_spoofed drop',
            f'iifname "{config.lan}" {clamp}',
            f"exthdr frag exists ip6 daddr @{TUNNEL_ENDS_SET} jump fragments",
            f'iifname != "{config.lan}" {elsewhere}exthdr frag exists jump fragments',
            f"meta l4proto 41 ip6 daddr @{TUNNEL_ENDS_SET} jump tunnelled",
            f'iifname != "{config.lan}" {elsewhere}meta l4proto 41 jump tunnelled',
        ),
        fragments_chain(),
        chain(
            "tunnelled",
            NO_NEIGHBOUR_DISCOVERY,
            f"ip6 saddr != @{HOME_AGENTS_SET} counter name not_home_agent drop",
            *(accept_inner_destination(prefix) for prefix in sorted(own)),
            "counter name misdirected drop",
        ),
        chain(
            "forward",
            "type filter hook forward priority filter; policy accept;",
            f'oifname "{config.lan}" {clamp}',
        ),
        chain(
            "input",
            "type filter hook input priority filter; policy accept;",
            NO_HIDDEN_NEIGHBOUR_DISCOVERY,
            f"meta l4proto 135 ip6 saddr != @{HOME_AGENTS_SET} jump strangers",
        ),
        strangers_chain(config.strangers_each, config.strangers_total),
        *silence(),
    )


_MOBILE_ROUTER_COUNTERS: Final = (
    "lan_spoofed",
    "neighbour_discovery_in_tunnel",
    "hidden_neighbour_discovery",
    "fragment",
    "not_home_agent",
    "misdirected",
    "stranger_rate",
    "strangers_total_rate",
    "parameter_problem",
)
