"""The packet filter of a Home Agent as text for `nft`. Pure.

What the hooks see here (measured, Linux 6.18, seg6): prerouting sees a tunnelled packet as it came, the
outer header first; what is taken out of it goes on to forward or input and passes prerouting no second
time; what a route puts into a tunnel is wrapped before forward. So a tunnelled packet is judged in
prerouting, whole, and a packet that goes into a tunnel there too. With ip6tnl (Linux 6.1) what is taken out
passes prerouting once more, from `haha0`, and what goes into a tunnel passes forward before it is wrapped.

Rules about inner headers (`guard_tunnels`) read raw payload behind the outer headers (`@th`; `meta l4proto
41` finds it behind a destination option, which `ip6 nexthdr 41` does not). They stand in chains of their own:
nft 1.0.6 crashes on listing a rule that has both `meta l4proto` and a set of raw payload. Nor does it look up
raw payload where a set has `ip6 saddr`: so the outer source is `@nh,64,128` in the sets of permits.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from .datapath import DEVICE
from .guard_config import HomeAgentGuardConfig
from .guard_sets import bound_set, permit_set, watched_set
from .guard_signalling import rates, signalling_chains, silence, strangers_chain
from .guard_text import chain, declare_set, renewed_table
from .guard_traffic import noticing
from .guard_tunnels import NO_HIDDEN_NEIGHBOUR_DISCOVERY, fragments_chain, lent_rules, tunnelled_chains


def render_home_agent(
    config: HomeAgentGuardConfig, lengths: AbstractSet[int], watched: AbstractSet[int] = frozenset()
) -> str:
    """The whole table of a Home Agent but the elements that depend on bindings: one transaction.

    In a table that is there its rules change, and its sets and counters stay with what they hold. `lengths`:
    prefix lengths, multiples of 8, to judge by; `watched`: those of prefixes whose packets are counted.
    """
    order = sorted(lengths, reverse=True)
    clamp = f"tcp flags & (syn | rst) == syn tcp option maxseg size set {config.tunnel_mss}"
    configured = {"tunnel_ends": config.tunnel_ends, "peers": config.peers, "peer_hahas": config.peer_hahas}
    return renewed_table(
        _HOME_AGENT_COUNTERS,
        configured,
        *(declare_set(name, "type ipv6_addr", map(str, addresses)) for name, addresses in configured.items()),
        rates("strangers", 16384),
        declare_set(
            "acknowledged", "type ipv6_addr", (), "flags dynamic,timeout", "timeout 1h", "size 262144"
        ),
        rates("acknowledged_rates", 262144),
        *_sets_of_bindings(order),
        *(declare_set(watched_set(one), f"typeof @th,192,{one}", (), "counter") for one in sorted(watched)),
        chain(
            "prerouting",
            "type filter hook prerouting priority raw; policy accept;",
            f"icmpv6 type 144 ip6 daddr {config.home} counter name discovery drop",
            *lent_rules(config),
            "exthdr frag exists ip6 daddr @tunnel_ends jump fragments",
            "meta l4proto 41 ip6 daddr @tunnel_ends jump tunnelled",
            # A HAHA address is a source inside tunnels only.
            f'iifname != "{DEVICE}" ip6 saddr @peer_hahas counter name outside_tunnel drop',
            f"ip6 daddr {config.home} {clamp}",
        ),
        fragments_chain(),
        *tunnelled_chains(config, order, sorted(watched)),
        chain(
            "forward",
            "type filter hook forward priority filter; policy accept;",
            f"icmpv6 type 144 ip6 daddr {config.home} counter name discovery drop",
            f"ip6 saddr {config.home} {clamp}",
            f"ip6 daddr {config.home} {clamp}",
        ),
        chain(
            "input",
            "type filter hook input priority filter; policy accept;",
            f"icmpv6 type 144 ip6 daddr {config.home} counter name discovery drop",
            NO_HIDDEN_NEIGHBOUR_DISCOVERY,
            # Home Agents speak by their HAHA addresses, which a tunnel brings in. Their outer ones can be
            # forged.
            "meta l4proto 135 ip6 saddr != @peer_hahas jump signalling",
        ),
        *signalling_chains(config),
        *(noticing(config) if config.noticed else ()),
        strangers_chain(config.strangers_each, config.strangers_total),
        *silence(),
    )


def _sets_of_bindings(lengths: Iterable[int]) -> Iterable[str]:
    return (
        declare_set(name, key, ())
        for length in lengths
        for name, key in (
            (permit_set(length), f"typeof @nh,64,128 . @th,64,{length}"),
            (bound_set(length), f"typeof @th,192,{length}"),
        )
    )


_HOME_AGENT_COUNTERS: Final = (
    "discovery",
    "discovery_in_tunnel",
    "neighbour_discovery_in_tunnel",
    "hidden_neighbour_discovery",
    "fragment",
    "nested",
    "spoofed",
    "misdirected",
    "outside_tunnel",
    "acknowledged_rate",
    "stranger_rate",
    "strangers_total_rate",
    "parameter_problem",
)
