"""The packet filter as text for `nft`: one table of our own, `ip6 haha`. Pure.

What the hooks see here (measured, Linux 6.18, seg6): prerouting sees a tunnelled packet as it came, the
outer header first; what is taken out of it goes on to forward or input and passes prerouting no second
time; what a route puts into a tunnel is wrapped before forward. So a tunnelled packet is judged in
prerouting, whole, and a packet that goes into a tunnel there too. With ip6tnl (Linux 6.1) what is taken out
passes prerouting once more, from `haha0`, and what goes into a tunnel passes forward before it is wrapped.

Rules about inner headers read raw payload behind the outer headers (`@th`; `meta l4proto 41` finds it behind
a destination option, which `ip6 nexthdr 41` does not). They stand in chains of their own: nft 1.0.6
crashes on listing a rule that has both `meta l4proto` and a set of raw payload.

Inner IPv6 header, in bits from `@th`: next header 48, source 64, destination 192; ICMPv6 type 320.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from ..wire.address import Address, Prefix
from .datapath import DEVICE
from .guard_sets import bound_set, in_whole_octets, permit_set, set_length, watched_set
from .traffic_log import LOG_GROUP, SNAP_LENGTH

TABLE: Final = "haha"
HOME_AGENTS_SET: Final = "home_agents"
TUNNEL_ENDS_SET: Final = "tunnel_ends"

TUNNEL_MSS: Final = 1360
"""Octets of TCP payload a segment: 1500 less two tunnel headers (80), IPv6 (40) and TCP (20). Two, because
a packet may cross a tunnel between sites and the tunnel to the mobile router, one inside the other. TCP
options come out of it on the sender's side."""


NOTICE_AGAIN: Final = 5
"""Seconds until traffic to a destination is logged again."""
NOTICES: Final = 100
"""Logged packets a second, to all destinations: anybody may send to ever new ones."""


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
    return _renewed_table(
        _HOME_AGENT_COUNTERS,
        configured,
        *(_set(name, "type ipv6_addr", map(str, addresses)) for name, addresses in configured.items()),
        _rates("strangers", 16384),
        _set("acknowledged", "type ipv6_addr", (), "flags dynamic,timeout", "timeout 1h", "size 262144"),
        _rates("acknowledged_rates", 262144),
        *_sets_of_bindings(order),
        *(_set(watched_set(one), f"typeof @th,192,{one}", (), "counter") for one in sorted(watched)),
        _chain(
            "prerouting",
            "type filter hook prerouting priority raw; policy accept;",
            f"icmpv6 type 144 ip6 daddr {config.home} counter name discovery drop",
            *_lent_rules(config),
            "exthdr frag exists ip6 daddr @tunnel_ends jump fragments",
            "meta l4proto 41 ip6 daddr @tunnel_ends jump tunnelled",
            # A HAHA address is a source inside tunnels only.
            f'iifname != "{DEVICE}" ip6 saddr @peer_hahas counter name outside_tunnel drop',
            f"ip6 daddr {config.home} {clamp}",
        ),
        _fragments_chain(),
        *_tunnelled_chains(config, order, sorted(watched)),
        _chain(
            "forward",
            "type filter hook forward priority filter; policy accept;",
            f"icmpv6 type 144 ip6 daddr {config.home} counter name discovery drop",
            f"ip6 saddr {config.home} {clamp}",
            f"ip6 daddr {config.home} {clamp}",
        ),
        _chain(
            "input",
            "type filter hook input priority filter; policy accept;",
            f"icmpv6 type 144 ip6 daddr {config.home} counter name discovery drop",
            _NO_HIDDEN_NEIGHBOUR_DISCOVERY,
            # Home Agents speak by their HAHA addresses, which a tunnel brings in. Their outer ones can be
            # forged.
            "meta l4proto 135 ip6 saddr != @peer_hahas jump signalling",
        ),
        *_signalling_chains(config),
        *(_noticing(config) if config.noticed else ()),
        _strangers_chain(config.strangers_each, config.strangers_total),
        *_silence(),
    )


def _sets_of_bindings(lengths: Iterable[int]) -> Iterable[str]:
    return (
        _set(name, key, ())
        for length in lengths
        for name, key in (
            (permit_set(length), f"typeof ip6 saddr . @th,64,{length}"),
            (bound_set(length), f"typeof @th,192,{length}"),
        )
    )


def _tunnelled_chains(
    config: HomeAgentGuardConfig, lengths: Sequence[int], watched: Sequence[int]
) -> tuple[str, ...]:
    """What comes to a tunnel end of a Home Agent; `lengths` of inner prefixes, longest first."""
    ours = _hosts({*config.tunnel_ends, config.haha})
    return (
        _chain(
            "tunnelled",
            _NO_NEIGHBOUR_DISCOVERY,
            "@th,48,8 58 @th,320,8 144 counter name discovery_in_tunnel drop",
            "ip6 saddr @peers jump from_peer",
            # A second decapsulation passes no hook, and extension headers hide what they carry. A tunnel that
            # ends elsewhere is a packet like any: a visitor in the mobile network has a Home of its own.
            f"@th,192,128 {{ {ours} }} @th,48,8 {{ 41, 43, 60 }} counter name nested drop",
            *(f"ip6 saddr . @th,64,{length} @{permit_set(length)} accept" for length in lengths),
            "counter name spoofed drop",
        ),
        *_from_peer_chains(config, lengths, watched),
    )


def _from_peer_chains(
    config: HomeAgentGuardConfig, lengths: Sequence[int], watched: Sequence[int]
) -> Iterable[str]:
    """What comes out of a tunnel from another Home Agent."""
    ours = [Prefix.host(config.haha), *([config.partition] if config.partition is not None else [])]
    bound = [f"@th,192,{length} @{bound_set(length)} accept" for length in lengths]
    is_home_agent = f"@th,64,128 {{ {_hosts(config.peer_hahas)} }}"
    is_satellite = f"ip6 saddr {_listed(config.satellites)}"
    is_lent = f"@th,192,128 {{ {_hosts(config.lent_addresses)} }}"
    yield _chain(
        "from_peer",
        *([f"{is_home_agent} jump home_agent_source"] if config.brought else []),
        *([f"{is_satellite} jump from_satellite"] if config.satellites else []),
        *([f"{is_lent} jump to_lent_address"] if config.lent_addresses else []),
        *map(_accept_inner_destination, ours),
        # Each element that is found counts the packet.
        *(f"@th,192,{length} @{watched_set(length)} continue" for length in watched),
        *bound,
        "counter name misdirected drop",
    )
    if config.brought:
        yield _chain(
            "home_agent_source",
            *(
                f"ip6 saddr {outer} @th,64,128 {{ {_hosts(inner)} }} return"
                for outer, inner in sorted(config.brought.items())
            ),
            "counter name spoofed drop",
        )
    if config.satellites:
        # Towards all of Home it has no other way than by its parent.
        others = [Prefix.host(one) for one in sorted(config.peer_hahas) if not config.home.contains(one)]
        yield _chain("from_satellite", *map(_accept_inner_destination, (config.home, *others)))
    if config.lent_addresses:
        yield from _lent_address_chains(config, lengths)


def _lent_rules(config: HomeAgentGuardConfig) -> Iterable[str]:
    """In prerouting. The addresses of satellites in Home are for Home Agents: whoever else could reach them
    could pass for one, in what is inside the second tunnel."""
    if config.lent_prefixes:
        lent = _listed(config.lent_prefixes)
        yield f'iifname != "{DEVICE}" ip6 daddr {lent} counter name outside_tunnel drop'
    if config.lent_addresses:
        # The second tunnel again, where what comes out of the first passes here.
        lent = _listed(config.lent_addresses)
        yield f'iifname "{DEVICE}" meta l4proto 41 ip6 daddr {lent} jump from_primary'


def _lent_address_chains(config: HomeAgentGuardConfig, lengths: Sequence[int]) -> Iterable[str]:
    """At a satellite, what comes to an address that a parent lends, inside the tunnel from the parent:
    messages of primaries, and their tunnels for what is bound here (draft s.5.3, figure 7). The second
    header's next header is at bit 368, its destination at 512; an ICMPv6 type behind it at 640."""
    yield _chain(
        "to_lent_address",
        # Nothing may hide a tunnel: of extension headers only the routing header of an acknowledgement.
        "@th,48,8 { 58, 135 } accept",
        "@th,48,8 43 @th,320,8 135 accept",
        "@th,48,8 != 41 counter name nested drop",
        f"@th,64,128 != {{ {_hosts(config.primaries)} }} counter name nested drop",
        "@th,368,8 58 @th,640,8 { 133-137, 144 } counter name nested drop",
        *(f"@th,512,{length} @{bound_set(length)} accept" for length in lengths),
        "counter name misdirected drop",
    )
    yield _chain(
        "from_primary",
        f"ip6 saddr != {_listed(config.primaries)} counter name nested drop",
        *(f"@th,192,{length} @{bound_set(length)} accept" for length in lengths),
        "counter name misdirected drop",
    )


def _hosts(addresses: Iterable[Address]) -> str:
    return ", ".join(_number(Prefix.host(one)) for one in sorted(addresses))


def _listed(values: Iterable[Address | Prefix]) -> str:
    return f"{{ {', '.join(map(str, sorted(values)))} }}"


def _signalling_chains(config: HomeAgentGuardConfig) -> tuple[str, ...]:
    """Mobility messages from anybody but the other Home Agents, and who counts as known."""
    return (
        # Who has got an acknowledgement keeps a way in when strangers take all of theirs.
        _chain("signalling", "ip6 saddr @acknowledged goto acknowledged", "goto strangers"),
        _chain(
            "acknowledged",
            f"update @acknowledged_rates {_rate_over(config.strangers_each)}"
            " counter name acknowledged_rate drop",
        ),
        _chain(
            "output_mobility",
            "type filter hook output priority filter; policy accept;",
            "meta l4proto 135 jump acknowledging",
        ),
        _chain(
            "acknowledging",
            # A Binding Acknowledgement, its status below 128.
            "@th,16,8 6 @th,48,8 < 128 update @acknowledged { ip6 daddr }",
        ),
    )


def _noticing(config: HomeAgentGuardConfig) -> tuple[str, ...]:
    """Whoever gets many packets by the tunnel to another Home Agent, perhaps there is a shorter way. Of the
    outer packet, which is here on its way out with either datapath: one in `NOTICE_AGAIN` seconds for a
    destination, and no more than `NOTICES` a second in all."""
    over = config.notice_over
    return (
        _set("noticed", "typeof @th,192,128", (), *_forgetful(NOTICE_AGAIN)),
        _set("noticed_rates", "typeof @th,192,64", (), *_forgetful(10)),
        _chain(
            "postrouting",
            "type filter hook postrouting priority filter; policy accept;",
            "meta l4proto 41 ip6 saddr @tunnel_ends ip6 daddr @peers jump noticing",
        ),
        _chain("noticing", *(f"{_inner_destination(prefix)} goto noticeable" for prefix in config.noticed)),
        _chain(
            "noticeable",
            "@th,192,128 @noticed return",
            f"update @noticed_rates {{ @th,192,64 limit rate over {over}/second burst {over} packets }}"
            " goto notice",
        ),
        _chain(
            "notice",
            f"limit rate over {NOTICES}/second burst {NOTICES} packets return",
            "add @noticed { @th,192,128 }",
            f"log group {LOG_GROUP} snaplen {SNAP_LENGTH} queue-threshold 1",
        ),
    )


def _forgetful(seconds: int) -> tuple[str, ...]:
    return ("flags dynamic,timeout", f"timeout {seconds}s", "size 65536")


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
    return _table(
        _MOBILE_ROUTER_COUNTERS,
        _set(HOME_AGENTS_SET, "type ipv6_addr", map(str, home_agents)),
        _set(TUNNEL_ENDS_SET, "type ipv6_addr", map(str, tunnel_ends)),
        _rates("strangers", 16384),
        _chain(
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
        _fragments_chain(),
        _chain(
            "tunnelled",
            _NO_NEIGHBOUR_DISCOVERY,
            f"ip6 saddr != @{HOME_AGENTS_SET} counter name not_home_agent drop",
            *(_accept_inner_destination(prefix) for prefix in sorted(own)),
            "counter name misdirected drop",
        ),
        _chain(
            "forward",
            "type filter hook forward priority filter; policy accept;",
            f'oifname "{config.lan}" {clamp}',
        ),
        _chain(
            "input",
            "type filter hook input priority filter; policy accept;",
            _NO_HIDDEN_NEIGHBOUR_DISCOVERY,
            f"meta l4proto 135 ip6 saddr != @{HOME_AGENTS_SET} jump strangers",
        ),
        _strangers_chain(config.strangers_each, config.strangers_total),
        *_silence(),
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


def _strangers_chain(each: int, total: int) -> str:
    """At most so many packets a second, from one source and from all. When there are more sources than the
    set holds, the rate of all still counts."""
    return _chain(
        "strangers",
        f"update @strangers {_rate_over(each)} counter name stranger_rate drop",
        f"limit rate over {total}/second burst {total} packets counter name strangers_total_rate drop",
    )


def _rates(name: str, size: int) -> str:
    """A set that knows how much has come from whom."""
    return _set(name, "type ipv6_addr", (), "flags dynamic,timeout", "timeout 10s", f"size {size}")


def _rate_over(each: int) -> str:
    return f"{{ ip6 saddr limit rate over {each}/second burst {2 * each} packets }}"


_NO_NEIGHBOUR_DISCOVERY = "@th,48,8 58 @th,320,8 133-137 counter name neighbour_discovery_in_tunnel drop"
"""Out of a tunnel it would look as if from the link: its hop limit is still 255 (RFC 4861 s.11.2)."""
_NO_HIDDEN_NEIGHBOUR_DISCOVERY = (
    "ip6 nexthdr != 58 icmpv6 type 133-137 counter name hidden_neighbour_discovery drop"
)
"""Behind an extension header, where the rule about tunnels does not see it. On links nobody sends it so."""


def _fragments_chain() -> str:
    """For fragments that are for us, and not put together again by a firewall before: the kernel does that
    behind all hooks. A first fragment may end in front of the inner addresses, or in front of what says that
    it is a tunnel packet (then `meta l4proto` has no value, and equals nothing); the others can say what they
    like. So no tunnel packet comes in pieces: its entry-point keeps to the path's MTU."""
    return _chain("fragments", "meta l4proto != 41 return", "counter name fragment drop")


def _silence() -> tuple[str, ...]:
    """A kernel without Mobile IPv6 answers mobility packets by Parameter Problem. In that message, bits from
    `@th`: code 8, pointer 32, the quoted packet's next header 112, the one after that 384."""
    return (
        _chain(
            "output",
            "type filter hook output priority filter; policy accept;",
            "icmpv6 type parameter-problem jump complaint",
        ),
        _chain(
            "complaint",
            # Code 0 that does not point at a routing type is the program's own (RFC 6275 s.9.2).
            "@th,8,8 0 @th,32,32 != 42 return",
            "@th,112,8 135 counter name parameter_problem drop",
            "@th,112,8 { 43, 60 } @th,384,8 { 58, 135 } counter name parameter_problem drop",
        ),
    )


def without_table(text: str) -> str:
    """The same text, with all of a table that is there taken away first."""
    return f"table ip6 {TABLE} {{\n}}\ndelete table ip6 {TABLE}\n{text}"


def _renewed_table(counters: Sequence[str], emptied: Iterable[str], *parts: str) -> str:
    """`emptied`: sets that keep nothing of what they hold."""
    declared = "".join(_set(name, "type ipv6_addr", ()) for name in emptied)
    flushed = "".join(f"flush set ip6 {TABLE} {name}\n" for name in emptied)
    start = f"table ip6 {TABLE} {{\n{declared}}}\nflush table ip6 {TABLE}\n{flushed}"
    return start + _contents(counters, *parts)


def _table(counters: Sequence[str], *parts: str) -> str:
    return without_table(_contents(counters, *parts))


def _contents(counters: Sequence[str], *parts: str) -> str:
    declared = "".join(f"\tcounter {name} {{\n\t}}\n" for name in counters)
    return f"table ip6 {TABLE} {{\n{declared}{''.join(parts)}}}\n"


def _chain(name: str, *lines: str) -> str:
    return f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _set(name: str, key: str, elements: Iterable[str], *settings: str) -> str:
    lines = [key, *settings]
    if listed := ", ".join(sorted(elements)):
        lines.append(f"elements = {{ {listed} }}")
    return f"\tset {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _accept_inner_destination(prefix: Prefix) -> str:
    return f"{_inner_destination(prefix)} accept"


def _inner_destination(prefix: Prefix) -> str:
    numbers = ", ".join(map(_number, in_whole_octets(prefix)))
    return f"@th,192,{set_length(prefix.length)} {{ {numbers} }}"


def _number(prefix: Prefix) -> str:
    return f"0x{prefix.address[: prefix.length // 8].hex()}"
