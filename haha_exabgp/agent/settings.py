"""From the configuration file to what the protocol core is told."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address, IPv6Network

from ..config.loader import LoadedHome
from ..config.locating import asked_for, method_between, predictive_group
from ..config.schema import HomeAgent, HomeConfig, PrefixMode, Site
from ..protocol.home import (
    HomeAgentConfig,
    LentPrefix,
    MobileRouterPolicy,
    OnDemand,
    Peer,
    Reflector,
    SecurityAssociation,
)
from ..protocol.home_subnets import HomeSubnet
from ..protocol.mobility import MobileRouterConfig
from ..wire.address import Address, Prefix
from .policy_table import PolicyTable

_SITES_THAT_CAN_SPARE_ONE = 3
"""From so many sites on, one that is cut off withdraws Home: the others can serve for it."""


def address(value: IPv6Address) -> Address:
    """The configuration's form of an address -> the packet path's."""
    return Address(value.packed)


def prefix(value: IPv6Network) -> Prefix:
    """The configuration's form of a prefix -> the packet path's."""
    return Prefix(address(value.network_address), value.prefixlen)


def configured_policies(
    loaded: LoadedHome, home_agent: str | None = None
) -> dict[Address, MobileRouterPolicy]:
    """The mobile routers of the configuration file, with those keys that a Home Agent is to have. Raises
    ConfigError when one cannot be read."""
    associations = loaded.associations(home_agent)
    return {
        address(router.home_address): MobileRouterPolicy(
            router_name,
            address(router.home_address),
            tuple(map(prefix, router.prefixes)),
            associations[router_name],
            router.replay,
            None if router.proxies is None else frozenset(router.proxies),
            router.leak,
            loaded.aaa_association_of(router_name) if associations[router_name] else None,
        )
        for router_name, router in loaded.config.mobile_routers.items()
    }


def home_agent_config(
    loaded: LoadedHome, name: str, mobile_routers: Mapping[Address, MobileRouterPolicy] | None = None
) -> HomeAgentConfig:
    """One Home Agent's view of its Home; `mobile_routers` are those of the configuration file unless others
    are given. Raises KeyError for a name that is not configured, ConfigError when a key cannot be read."""
    config = loaded.config
    known = {agent: (site_name, site, one) for site_name, site, agent, one in config.home_agents()}
    site_name, site, own = known[name]
    peers = tuple(
        Peer(
            agent,
            other_site,
            address(other.outer),
            address(other.haha),
            _partition(other_site_config),
            _lent(other_site_config, other),
            config.are_adjacent(site_name, other_site),
            method_between(config, site_name, other_site),
            predictive_group(config, other_site),
        )
        for agent, (other_site, other_site_config, other) in known.items()
        # Two satellites have nothing to tell each other.
        if agent != name and not (site.is_satellite and other_site_config.is_satellite)
    )
    return HomeAgentConfig(
        name=name,
        site=site_name,
        outer=address(own.outer),
        haha=address(own.haha),
        home=prefix(config.home.prefix),
        partition=_partition(site),
        site_router=address(site.router.address),
        asn=config.home.asn,
        peers=peers,
        mesh=SecurityAssociation(config.home.mesh_spi, loaded.mesh_key()),
        mobile_routers=configured_policies(loaded, name) if mobile_routers is None else mobile_routers,
        max_binding_lifetime=config.home.max_binding_lifetime,
        max_bindings=config.home.max_bindings,
        refresh_advice=config.home.refresh_advice and config.home.refresh_advice // 4 * 4,
        refresh_requests=config.home.refresh_requests,
        home_subnets=home_subnets(config),
        on_demand=None if site.is_satellite else _on_demand(config),
        min_sites_reached=_min_sites_reached(config),
        preference=own.preference,
        hello_interval=config.home.hello_interval,
        restricted=mobile_routers.restricted if isinstance(mobile_routers, PolicyTable) else None,
        reflectors=tuple(
            Reflector(name, at, address(reflector.address)) for at, name, reflector in config.reflectors()
        ),
        max_learned=config.home.max_learned,
        leak=site.leak,
        max_leaks=site.max_leaks,
        leak_traffic=config.home.leak_traffic,
        leak_idle=config.home.leak_idle,
        flap_moves=config.home.flap_moves,
        flap_window=config.home.flap_window,
        lent=_lent(site, own),
        secondary_bindings=site.secondary_bindings,
        asked_for=tuple(map(prefix, asked_for(config))),
    )


def _partition(site: Site) -> Prefix | None:
    return None if site.partition is None else prefix(site.partition)


def _lent(site: Site, home_agent: HomeAgent) -> tuple[LentPrefix, ...]:
    return tuple(
        LentPrefix(parent, prefix(lent), address(home_agent.address_in(lent)))
        for parent, lent in site.parents.items()
    )


def home_subnets(config: HomeConfig) -> tuple[HomeSubnet, ...]:
    """The parts of Home whose end is known."""
    return tuple(
        HomeSubnet(
            prefix(one.prefix),
            one.valid_until.timestamp(),
            (one.preferred_until or one.valid_until).timestamp(),
        )
        for one in config.home.subnets
    )


def mobile_router_config(loaded: LoadedHome, name: str) -> MobileRouterConfig:
    """What one mobile router is told. Raises KeyError for a name that is not configured, ConfigError when
    its key cannot be read."""
    router = loaded.config.mobile_routers[name]
    announced = tuple(map(prefix, router.prefixes)) if router.mode is PrefixMode.EXPLICIT else ()
    return MobileRouterConfig(
        name=name,
        home_address=address(router.home_address),
        announced=announced,
        association=loaded.associations_of(name),
        lifetime=router.lifetime,
        replay=router.replay,
        aaa=loaded.aaa_association_of(name),
    )


def mobile_networks(loaded: LoadedHome, name: str) -> tuple[Prefix, ...]:
    """The prefixes behind a mobile router, whether it announces them or the Home Agent knows them."""
    return tuple(map(prefix, loaded.config.mobile_routers[name].prefixes))


def _on_demand(config: HomeConfig) -> OnDemand | None:
    wanted = config.home.on_demand
    if wanted is None:
        return None
    return OnDemand(wanted.threshold, wanted.holding_time, wanted.max_routes)


def _min_sites_reached(config: HomeConfig) -> int:
    if config.home.min_sites_reached is not None:
        return config.home.min_sites_reached
    return 1 if len(list(config.partitions())) >= _SITES_THAT_CAN_SPARE_ONE else 0
