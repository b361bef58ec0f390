"""What a Home Agent's guard has to know of its Home, out of the configuration. Pure."""

from __future__ import annotations

from ..kernel.guard_config import HomeAgentGuardConfig
from ..protocol.home import HomeAgentConfig
from ..wire.address import Address, Prefix


def guard_config(config: HomeAgentConfig, strangers_each: int, strangers_total: int) -> HomeAgentGuardConfig:
    """The same for as long as the agent runs. Mobility messages a second: from one address, and from all that
    are not known yet."""
    lent_prefixes = [lent.prefix for peer in config.peers for lent in peer.lent]
    return HomeAgentGuardConfig(
        home=config.home,
        partition=config.partition,
        haha=config.haha,
        tunnel_ends=frozenset(config.tunnel_ends),
        peers=frozenset(peer.outer for peer in config.adjacent),
        peer_hahas=frozenset(address for peer in config.peers for address in peer.addresses),
        brought=_brought_addresses(config),
        satellites=frozenset(peer.outer for peer in config.adjacent if peer.is_satellite),
        lent_prefixes=tuple(sorted({*lent_prefixes, *(one.prefix for one in config.lent)})),
        lent_addresses=frozenset(one.address for one in config.lent),
        primaries=frozenset(peer.outer for peer in config.peers if not peer.is_satellite),
        strangers_each=strangers_each,
        strangers_total=strangers_total,
        noticed=_others_partitions(config) if config.on_demand else (),
        notice_over=config.on_demand.threshold if config.on_demand else 0,
    )


def _brought_addresses(config: HomeAgentConfig) -> dict[Address, frozenset[Address]]:
    """Which addresses of Home Agents come in through the tunnel of each, by its outer address: its own, those
    of the satellites it lends to, and at a satellite those of all primaries from each parent."""
    lent = [(one.parent, one.address) for peer in config.peers for one in peer.lent]
    primaries = [peer.haha for peer in config.peers if not peer.is_satellite] if config.is_satellite else []
    return {
        peer.outer: frozenset(
            (*peer.addresses, *primaries, *(one for parent, one in lent if parent == peer.site))
        )
        for peer in config.adjacent
    }


def _others_partitions(config: HomeAgentConfig) -> tuple[Prefix, ...]:
    """What is not bound here, nor told by those that share our partition."""
    own, partitions = config.partition, dict.fromkeys(peer.partition for peer in config.peers)
    return tuple(
        one
        for one in partitions
        if one is not None and not (own is not None and (one.covers(own) or own.covers(one)))
    )
