"""A Home that a seed draws: sites, their Home Agents, mobile routers and plain mobile nodes."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..protocol.home import (
    HomeAgentConfig,
    MobileRouterPolicy,
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
_NEAR = 0.002
_FAR = (0.005, 0.12)
"""Seconds one way: within a site, between two."""


@dataclass(frozen=True, slots=True)
class Home:
    """What is drawn once and never changes."""

    home_agents: tuple[HomeAgentConfig, ...]
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
    """Two to five sites, two to six mobile routers of every kind."""
    sites = random.randint(2, 5)
    policies: dict[Address, MobileRouterPolicy] = {}
    mobile_routers = []
    for number in range(1, random.randint(2, 6) + 1):
        policy, config = _draw_mobile_router(number, random.randint(1, sites), random)
        policies[policy.home_address] = policy
        mobile_routers.append(config)
    networks = {home_address: policy.prefixes for home_address, policy in policies.items()}
    agents = tuple(_home_agent(index, sites, policies) for index in range(1, sites + 1))
    return Home(agents, tuple(mobile_routers), networks, _draw_delays(sites, random))


def access_address(region: int, point: int, home_address: Address) -> Address:
    """The care-of address that a mobile router gets at an access point of a region; it ends as its home
    address does."""
    return Address(Address.parse(f"3fff:f{region:02x}:{point}::")[:14] + home_address[14:])


def correspondent_address(region: int) -> Address:
    """The correspondent beside a site."""
    return Address.parse(f"3fff:c{region:02x}::1")


def _draw_mobile_router(
    number: int, site: int, random: Random
) -> tuple[MobileRouterPolicy, MobileRouterConfig]:
    home_address = Address.parse(f"2001:db8:{site}:1::{number:x}")
    association = SecurityAssociation(4096 + number, bytes([number] * 16))
    replay = random.choice(tuple(ReplayProtectionMode))
    is_router = random.random() < 0.75
    lengths = random.choice(((64,), (60,), (64, 56))) if is_router else ()
    # Subnet number * 0x100 of its site is the mobile router's; 64 bits of it, or more, each time.
    prefixes = tuple(
        Prefix.of(Address.parse(f"2001:db8:{site}:{number:x}{place:x}00::"), length)
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


def _home_agent(index: int, sites: int, policies: dict[Address, MobileRouterPolicy]) -> HomeAgentConfig:
    own = _peer(index)
    return HomeAgentConfig(
        name=own.name,
        site=own.site,
        outer=own.outer,
        haha=own.haha,
        home=HOME,
        partition=own.partition,
        site_router=Address.parse(f"3fff:1{index:02x}::1"),
        asn=_ASN,
        peers=tuple(_peer(other) for other in range(1, sites + 1) if other != index),
        mesh=_MESH,
        mobile_routers=policies,
        max_binding_lifetime=3600,
        # As a configuration has it that does not say.
        min_sites_reached=1 if sites > 2 else 0,
    )


def _peer(index: int) -> Peer:
    return Peer(
        name=f"ha{index}",
        site=f"site{index}",
        outer=Address.parse(f"3fff:1{index:02x}::a"),
        haha=Address.parse(f"2001:db8:ffff::{index:x}"),
        partition=Prefix.parse(f"2001:db8:{index}::/48"),
    )


def _draw_delays(sites: int, random: Random) -> tuple[tuple[float, ...], ...]:
    delays = [[_NEAR] * sites for _ in range(sites)]
    for one in range(sites):
        for other in range(one):
            delays[one][other] = delays[other][one] = random.uniform(*_FAR)
    return tuple(map(tuple, delays))
