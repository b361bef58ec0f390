"""The rules about what comes to a tunnel end of a Home Agent.

They read raw payload behind the outer headers. Inner IPv6 header, in bits from `@th`: next header 48, source
64, destination 192; what is behind it 320, an ICMPv6 type or another IPv6 header.

What is taken out of two tunnels at once passes no hook in between. So a tunnel of a mobile router that is
behind another one is judged together with that one's: each source must be permitted for the source of the
tunnel around it, and all of the tunnels, `MOST_NESTED` at most, end here. Where a tunnel inside the tunnel
ends elsewhere it is a packet like any: a visitor in the mobile network has a Home of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..protocol.nesting import MOST_NESTED
from ..wire.address import Prefix
from .datapath import DEVICE
from .guard_config import HomeAgentGuardConfig
from .guard_sets import bound_set, permit_set, watched_set
from .guard_text import HEADER_BITS, accept_inner_destination, chain, hosts, inner_destination, listed

NO_NEIGHBOUR_DISCOVERY = "@th,48,8 58 @th,320,8 133-137 counter name neighbour_discovery_in_tunnel drop"
"""Out of a tunnel it would look as if from the link: its hop limit is still 255 (RFC 4861 s.11.2)."""
NO_HIDDEN_NEIGHBOUR_DISCOVERY = (
    "ip6 nexthdr != 58 icmpv6 type 133-137 counter name hidden_neighbour_discovery drop"
)
"""Behind an extension header, where the rule about tunnels does not see it. On links nobody sends it so."""


def tunnelled_chains(
    config: HomeAgentGuardConfig, lengths: Sequence[int], watched: Sequence[int]
) -> Iterable[str]:
    """What comes to a tunnel end of a Home Agent; `lengths` of inner prefixes, longest first."""
    yield from _mobile_router_chains(config, lengths, 0)
    yield from _from_peer_chains(config, lengths, watched)
    for headers in range(1, MOST_NESTED):
        yield from _mobile_router_chains(config, lengths, headers)


def _mobile_router_chains(
    config: HomeAgentGuardConfig, lengths: Sequence[int], headers: int
) -> Iterable[str]:
    """A tunnel from a mobile router, inside so many others that end here too."""
    at = headers * HEADER_BITS
    outer = f"@th,{at + 64 - HEADER_BITS},128" if headers else "@nh,64,128"
    is_message, behind = f"@th,{at + 48},8 58", at + 320
    is_permitted = [f"{outer} . @th,{at + 64},{length} @{permit_set(length)}" for length in lengths]
    ours = hosts({*config.tunnel_ends, config.haha})
    ends = hosts(config.tunnel_ends - config.lent_addresses)
    yield chain(
        _tunnelled(headers),
        f"{is_message} @th,{behind},8 133-137 counter name neighbour_discovery_in_tunnel drop",
        # The agent has seen it (see `sockets.DhaadSocket`).
        f"{is_message} @th,{behind},8 144 {inner_destination(config.home, at)}"
        " counter name discovery_in_tunnel drop",
        *(["ip6 saddr @peers jump from_peer"] if not headers else []),
        f"@th,{at + 192},128 {{ {ours} }} @th,{at + 48},8 {{ 41, 43, 60 }} jump {_to_us(headers)}",
        *(f"{permitted} accept" for permitted in is_permitted),
        "counter name spoofed drop",
    )
    yield chain(
        _to_us(headers),
        # Extension headers hide what they carry; only a Home Address option stands in front of messages.
        f"@th,{at + 48},8 60 @th,{behind},8 {{ 58, 135 }} return",
        f"@th,{at + 48},8 != 41 counter name nested drop",
        f"@th,{at + 192},128 != {{ {ends} }} counter name nested drop",
        *(
            f"{permitted} goto {_tunnelled(headers + 1)}"
            for permitted in is_permitted
            if headers + 1 < MOST_NESTED
        ),
        f"counter name {'spoofed' if headers + 1 < MOST_NESTED else 'nested'} drop",
    )


def _tunnelled(headers: int) -> str:
    return f"tunnelled{headers + 1}" if headers else "tunnelled"


def _to_us(headers: int) -> str:
    return f"to_us{headers + 1}" if headers else "to_us"


def _from_peer_chains(
    config: HomeAgentGuardConfig, lengths: Sequence[int], watched: Sequence[int]
) -> Iterable[str]:
    """What comes out of a tunnel from another Home Agent."""
    ours = [Prefix.host(config.haha), *([config.partition] if config.partition is not None else [])]
    bound = [f"@th,192,{length} @{bound_set(length)} accept" for length in lengths]
    is_home_agent = f"@th,64,128 {{ {hosts(config.peer_hahas)} }}"
    is_satellite = f"ip6 saddr {listed(config.satellites)}"
    is_lent = f"@th,192,128 {{ {hosts(config.lent_addresses)} }}"
    yield chain(
        "from_peer",
        *([f"{is_home_agent} jump home_agent_source"] if config.brought else []),
        *([f"{is_satellite} jump from_satellite"] if config.satellites else []),
        *([f"{is_lent} jump to_lent_address"] if config.lent_addresses else []),
        *map(accept_inner_destination, ours),
        # Each element that is found counts the packet.
        *(f"@th,192,{length} @{watched_set(length)} continue" for length in watched),
        *bound,
        "counter name misdirected drop",
    )
    if config.brought:
        yield chain(
            "home_agent_source",
            *(
                f"ip6 saddr {outer} @th,64,128 {{ {hosts(inner)} }} return"
                for outer, inner in sorted(config.brought.items())
            ),
            "counter name spoofed drop",
        )
    if config.satellites:
        # Towards all of Home it has no other way than by its parent.
        others = [Prefix.host(one) for one in sorted(config.peer_hahas) if not config.home.contains(one)]
        yield chain("from_satellite", *map(accept_inner_destination, (config.home, *others)))
    if config.lent_addresses:
        yield from _lent_address_chains(config, lengths)


def lent_rules(config: HomeAgentGuardConfig) -> Iterable[str]:
    """In prerouting. The addresses of satellites in Home are for Home Agents: whoever else could reach them
    could pass for one, in what is inside the second tunnel."""
    if config.lent_prefixes:
        lent = listed(config.lent_prefixes)
        yield f'iifname != "{DEVICE}" ip6 daddr {lent} counter name outside_tunnel drop'
    if config.lent_addresses:
        # The second tunnel again, where what comes out of the first passes here.
        lent = listed(config.lent_addresses)
        yield f'iifname "{DEVICE}" meta l4proto 41 ip6 daddr {lent} jump from_primary'


def _lent_address_chains(config: HomeAgentGuardConfig, lengths: Sequence[int]) -> Iterable[str]:
    """At a satellite, what comes to an address that a parent lends, inside the tunnel from the parent:
    messages of primaries, and their tunnels for what is bound here (draft s.5.3, figure 7). The second
    header's next header is at bit 368, its destination at 512; an ICMPv6 type behind it at 640."""
    yield chain(
        "to_lent_address",
        # Nothing may hide a tunnel: of extension headers only the routing header of an acknowledgement.
        "@th,48,8 { 58, 135 } accept",
        "@th,48,8 43 @th,320,8 135 accept",
        "@th,48,8 != 41 counter name nested drop",
        f"@th,64,128 != {{ {hosts(config.primaries)} }} counter name nested drop",
        "@th,368,8 58 @th,640,8 { 133-137, 144 } counter name nested drop",
        *(f"@th,512,{length} @{bound_set(length)} accept" for length in lengths),
        "counter name misdirected drop",
    )
    yield chain(
        "from_primary",
        f"ip6 saddr != {listed(config.primaries)} counter name nested drop",
        *(f"@th,192,{length} @{bound_set(length)} accept" for length in lengths),
        "counter name misdirected drop",
    )


def fragments_chain() -> str:
    """For fragments that are for us, and not put together again by a firewall before: the kernel does that
    behind all hooks. A first fragment may end in front of the inner addresses, or in front of what says that
    it is a tunnel packet (then `meta l4proto` has no value, and equals nothing); the others can say what they
    like. So no tunnel packet comes in pieces: its entry-point keeps to the path's MTU."""
    return chain("fragments", "meta l4proto != 41 return", "counter name fragment drop")
