"""What a mobile router of the database has to keep to under a configuration: inside Home, beside the mobile
routers, hosts and names of the configuration, and with proxies that there are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ..config.schema import HomeConfig
from ..protocol.home import MobileRouterPolicy
from ..wire.address import Address, Prefix
from .records import Problem


class HomeRules:
    """The rules of one configuration. Judging takes microseconds, however many mobile routers there are."""

    def __init__(self, config: HomeConfig) -> None:
        self._home = Prefix.parse(str(config.home.prefix))
        self._partitions = [Prefix.parse(str(partition)) for _, _, partition in config.partitions()]
        self._home_agents = frozenset(name for _, _, name, _ in config.home_agents())
        reflectors = {name: one for _, name, one in config.reflectors()}
        self._names = {*config.sites, *reflectors, *self._home_agents, *config.mobile_routers}
        taken = [
            (name, prefix) for name, router in config.mobile_routers.items() for prefix in router.prefixes
        ]
        taken += [(name, prefix) for name, _, prefix in config.lent_prefixes()]
        self._prefixes = sorted((Prefix.parse(str(prefix)), name) for name, prefix in taken)
        self._home_addresses = sorted(
            (bytes(router.home_address.packed), name) for name, router in config.mobile_routers.items()
        )
        self._hosts = {Address(site.router.address.packed) for site in config.sites.values()} | {
            Address(address.packed)
            for _, _, _, home_agent in config.home_agents()
            for address in (home_agent.outer, home_agent.haha)
        }
        self._hosts |= {Address(one.address.packed) for one in reflectors.values()}
        self._hosts |= {Address(address) for address, _ in self._home_addresses}

    def problems(self, policy: MobileRouterPolicy) -> Iterator[Problem]:
        """Why a mobile router has no place in this Home; nothing when it has."""
        if policy.name in self._names:
            yield Problem("name", f"{policy.name} is a name of the configuration", "choose another")
        home_address = policy.home_address
        partitions = [partition for partition in self._partitions if partition.contains(home_address)]
        if not partitions:
            where = "in no site's partition" if self._home.contains(home_address) else "outside Home"
            some = ", ".join(map(str, self._partitions[:4]))
            yield Problem("home_address", f"{home_address} is {where}", f"write an address of {some}")
        if home_address in self._hosts:
            problem = f"{home_address} is an address of the configuration"
            yield Problem("home_address", problem, "write another")
        around = self._overlapped(Prefix.host(home_address))
        if around is not None:
            problem = f"{home_address} is inside {around[0]}, a prefix of {around[1]} in the configuration"
            yield Problem("home_address", problem, "write another")
        for prefix in policy.prefixes:
            if partitions and not any(partition.covers(prefix) for partition in partitions):
                problem = f"{prefix} is not in the partition of its home address, {partitions[0]}"
                yield Problem("prefixes", problem, f"write a prefix inside {partitions[0]}")
            yield from self._clashes(prefix)
        for name in sorted((policy.proxies or frozenset()) - self._home_agents):
            known = ", ".join(sorted(self._home_agents))
            yield Problem("proxies", f"there is no Home Agent {name}", f"write some of {known}")

    def _clashes(self, prefix: Prefix) -> Iterator[Problem]:
        other = self._overlapped(prefix)
        if other is not None:
            problem = f"{prefix} overlaps {other[0]}, a prefix of {other[1]} in the configuration"
            yield Problem("prefixes", problem, "write a prefix that overlaps no other")
        place = bisect_left(self._home_addresses, (bytes(prefix.address), ""))
        for address, name in self._home_addresses[place : place + 1]:
            if prefix.contains(address):
                problem = f"{prefix} holds the home address of {name} in the configuration"
                yield Problem("prefixes", problem, "write a prefix that holds nobody else's")

    def _overlapped(self, prefix: Prefix) -> tuple[Prefix, str] | None:
        """A prefix of the configuration that overlaps this one: they overlap none of each other, so it is the
        last that begins before it, or the first that begins in it."""
        place = bisect_left(self._prefixes, (prefix, ""))
        for other, name in self._prefixes[max(place - 1, 0) : place + 1]:
            if other.covers(prefix) or prefix.covers(other):
                return other, name
        return None
