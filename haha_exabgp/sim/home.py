"""A Home that a seed draws: sites, their Home Agents, mobile routers and plain mobile nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from ..protocol.home import (
    HomeAgentConfig,
    LeakPolicy,
    LentPrefix,
    MobileRouterPolicy,
    OnDemand,
    Peer,
    ReplayProtectionMode,
    SecurityAssociation,
)
from ..protocol.mobility import MobileRouterConfig
from ..wire.address import Address, Prefix

HOME = Prefix.parse("2001:db8::/32")
_ASN = 64500
_MESH = SecurityAssociation(256, bytes(range(16, 32)))
_LIFETIMES = (40, 120, 420)
"""Seconds that mobile routers ask for: short, so that bindings end while something is broken."""
MAX_LIFETIME = max(_LIFETIMES)
_TWO_HOME_AGENTS = 0.4
_SHARED_PARTITION = 0.12
_HELLO = 0.2
_SATELLITE = 0.35
_NESTED = 0.75
_ON_DEMAND = 0.3
_LEAK_POLICIES = 0.3
"""Shares of Homes in which some sites have two Home Agents, in which two sites have the same partition, in
which Home Agents say HELLO though nobody needs it, some sites are satellites, tunnels go through tunnels of
the same host, in which there are routes on demand, and in which not everybody is leaked."""
_HOLDING_TIMES = (20, 60, 300)
"""Seconds."""
MAX_HOLDING_TIME = max(_HOLDING_TIMES)
_NEAR = 0.002
_FAR = (0.005, 0.12)
"""Seconds one way: within a site, between two."""


@dataclass(frozen=True, slots=True)
class Home:
    """What is drawn once and never changes."""

    home_agents: tuple[HomeAgentConfig, ...]
    regions: tuple[int, ...]
    """Of each Home Agent."""
    mobile_routers: tuple[MobileRouterConfig, ...]
    networks: dict[Address, tuple[Prefix, ...]]
    """Home address -> the prefixes behind it."""
    delays: tuple[tuple[float, ...], ...]
    """Seconds one way between regions; region `i` is the Internet beside site `i`."""

    @property
    def sites(self) -> range:
        """The regions."""
        return range(len(self.delays))


def draw_home(random: Random) -> Home:
    """Two to five sites, some with two Home Agents or the partition of another; two to six mobile routers of
    every kind."""
    sites = _draw_sites(random)
    is_on_demand = random.random() < _ON_DEMAND
    # Nothing is asked for where a leak leads.
    has_leak_policies = is_on_demand or random.random() < _LEAK_POLICIES
    policies: dict[Address, MobileRouterPolicy] = {}
    mobile_routers = []
    for number in range(1, random.randint(2, 6) + 1):
        partition = random.choice([site.partition for site in sites if site.partition is not None])
        policy, config = _draw_mobile_router(number, partition, random)
        if has_leak_policies:
            policy = replace(policy, leak=random.choice((None, None, None, *LeakPolicy)))
        policies[policy.home_address] = policy
        mobile_routers.append(config)
    networks = {home_address: policy.prefixes for home_address, policy in policies.items()}
    hello_interval = _draw_hello_interval(sites, random)
    on_demand = None
    if is_on_demand:
        on_demand = OnDemand(threshold=1, holding_time=random.choice(_HOLDING_TIMES))
    nests_tunnels = random.random() < _NESTED
    flap_moves = random.choice((0, 3)) if has_leak_policies else 0
    agents: list[HomeAgentConfig] = []
    regions: list[int] = []
    for site in sites:
        leak, max_leaks = LeakPolicy.ALWAYS, None
        if has_leak_policies:
            leak, max_leaks = (
                random.choice((LeakPolicy.NEVER, *LeakPolicy)),
                random.choice((None, None, 1, 3)),
            )
        for number in range(1, site.home_agents + 1):
            own = replace(
                _home_agent(site, number, sites, policies),
                hello_interval=hello_interval,
                preference=random.choice((0, 0, 10)),
                on_demand=on_demand if site.partition is not None else None,
                nests_tunnels=nests_tunnels,
                leak=leak,
                max_leaks=max_leaks,
                leak_traffic=1,
                leak_idle=20,
                flap_moves=flap_moves,
                flap_window=60,
            )
            agents.append(own)
            regions.append(site.number - 1)
    return Home(
        tuple(agents), tuple(regions), tuple(mobile_routers), networks, _draw_delays(len(sites), random)
    )


class _Site(NamedTuple):
    number: int
    """1 and up; its region is one less."""
    partition: Prefix | None
    home_agents: int
    parents: tuple[int, ...] = ()
    """Of a satellite: numbers of sites, best first."""


def _draw_sites(random: Random) -> list[_Site]:
    number = random.randint(2, 5)
    sites = [_Site(one, Prefix.parse(f"2001:db8:{one}::/48"), 1) for one in range(1, number + 1)]
    if random.random() < _TWO_HOME_AGENTS:
        for one in random.sample(range(number), random.choice((1, 1, 2))):
            sites[one] = sites[one]._replace(home_agents=2)
    if random.random() < _SHARED_PARTITION:
        one, other = random.sample(range(number), 2)
        sites[other] = sites[other]._replace(partition=sites[one].partition)
    elif random.random() < _SATELLITE:
        _draw_satellites(sites, random)
    return sites


def _draw_satellites(sites: list[_Site], random: Random) -> None:
    """One of two sites, or one or two of more."""
    number = len(sites)
    primaries = number - (random.choice((1, 1, 2)) if number > 2 else 1)
    for place in range(primaries, number):
        parents = random.sample(range(1, primaries + 1), min(random.choice((1, 2, 2)), primaries))
        sites[place] = _Site(place + 1, None, 1, tuple(parents))


def _draw_hello_interval(sites: Sequence[_Site], random: Random) -> float:
    """Seconds; without HELLO only where nobody needs it."""
    primaries = [site for site in sites if site.partition is not None]
    home_agents = sum(site.home_agents for site in primaries)
    if home_agents > len({site.partition for site in primaries}) or random.random() < _HELLO:
        return random.choice((1.0, 2.0, 2.0, 2.0))
    return 0.0


def access_address(region: int, point: int, home_address: Address) -> Address:
    """The care-of address that a mobile router gets at an access point of a region; it ends as its home
    address does."""
    return Address(Address.parse(f"3fff:f{region:02x}:{point}::")[:14] + home_address[14:])


def correspondent_address(region: int) -> Address:
    """The correspondent beside a site."""
    return Address.parse(f"3fff:c{region:02x}::1")


def _draw_mobile_router(
    number: int, partition: Prefix, random: Random
) -> tuple[MobileRouterPolicy, MobileRouterConfig]:
    home_address = _inside(partition, 1, number)
    association = SecurityAssociation(4096 + number, bytes([number] * 16))
    replay = random.choice(tuple(ReplayProtectionMode))
    is_router = random.random() < 0.75
    lengths = random.choice(((64,), (60,), (64, 56))) if is_router else ()
    # The subnets from number * 0x1000 on are the mobile router's; one of 64 bits, or more, each time.
    prefixes = tuple(
        Prefix.of(_inside(partition, number * 0x1000 + place * 0x100), length)
        for place, length in enumerate(lengths)
    )
    name = f"mr{number}" if is_router else f"mn{number}"
    policy = MobileRouterPolicy(name, home_address, prefixes, (association,), replay)
    announced = prefixes if random.random() < 0.5 else ()
    lifetime = random.choice(_LIFETIMES)
    config = MobileRouterConfig(
        name, home_address, announced, association, lifetime, replay, is_router=is_router
    )
    return policy, config


def _inside(partition: Prefix, subnet: int, interface: int = 0) -> Address:
    """An address in a partition of 48 bits."""
    return Address(partition.address[:6] + subnet.to_bytes(2, "big") + interface.to_bytes(8, "big"))


def _home_agent(
    site: _Site, number: int, sites: Sequence[_Site], policies: dict[Address, MobileRouterPolicy]
) -> HomeAgentConfig:
    own = _peer(site, number, sites)
    others = [
        replace(_peer(other, which, sites), is_adjacent=_are_adjacent(site, other))
        for other in sites
        for which in range(1, other.home_agents + 1)
        if (other, which) != (site, number) and not (site.parents and other.parents)
    ]
    primaries = [one for one in sites if one.partition is not None]
    return HomeAgentConfig(
        name=own.name,
        site=own.site,
        outer=own.outer,
        haha=own.haha,
        home=HOME,
        partition=own.partition,
        site_router=Address.parse(f"3fff:1{site.number:02x}::1"),
        asn=_ASN,
        peers=tuple(others),
        mesh=_MESH,
        mobile_routers=policies,
        max_binding_lifetime=3600,
        # As a configuration has it that does not say.
        min_sites_reached=1 if len(primaries) > 2 and not site.parents else 0,
        lent=own.lent,
    )


def _are_adjacent(one: _Site, other: _Site) -> bool:
    """Satellites have tunnels and sessions with their parents only."""
    if one.parents or other.parents:
        return other.number in one.parents or one.number in other.parents
    return True


def _peer(site: _Site, number: int, sites: Sequence[_Site]) -> Peer:
    return Peer(
        name=f"ha{site.number}{'' if site.home_agents == 1 else chr(96 + number)}",
        site=f"site{site.number}",
        outer=Address.parse(f"3fff:1{site.number:02x}::a{number}"),
        haha=Address.parse(f"2001:db8:ffff::{number:x}:{site.number:x}"),
        partition=site.partition,
        lent=tuple(_lend(sites[parent - 1], site.number) for parent in site.parents),
    )


def _lend(parent: _Site, satellite: int) -> LentPrefix:
    assert parent.partition is not None
    subnet = 0xF000 + satellite
    prefix = Prefix.of(_inside(parent.partition, subnet), 64)
    return LentPrefix(f"site{parent.number}", prefix, _inside(parent.partition, subnet, satellite))


def _draw_delays(sites: int, random: Random) -> tuple[tuple[float, ...], ...]:
    delays = [[_NEAR] * sites for _ in range(sites)]
    for one in range(sites):
        for other in range(one):
            delays[one][other] = delays[other][one] = random.uniform(*_FAR)
    return tuple(map(tuple, delays))
