"""Which Home Agents may leak a prefix, as far as the policies here say so (behaviour K-3).

Every Home Agent holds the policies of all mobile routers. One whose policy names its proxies is leaked by
those only, by a Home Agent of a site that is parent of one of them, or of its primary site; one that is never
leaked, by nobody, unless its primaries ask each other for it. Of other prefixes the originator need only be a
Home Agent of the Home.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.address import Address, Prefix
from .home import HomeAgentConfig, LeakPolicy, MobileRouterPolicy, Peer


class Entitlements:
    """Those mobile routers that not every Home Agent may leak, by prefix."""

    def __init__(self, config: HomeAgentConfig) -> None:
        self._mobile_routers = config.mobile_routers
        self._is_asked_for = config.is_asked_for
        self._under: dict[str, set[str]] = {}
        """By site, the Home Agents of satellites that it may leak for."""
        for peer in config.peers:
            for lent in peer.lent:
                self._under.setdefault(lent.parent, set()).add(peer.name)
        self._by_prefix: dict[Prefix, MobileRouterPolicy] = {}
        self._prefixes: dict[Address, tuple[Prefix, ...]] = {}
        self._lengths: set[int] = set()
        """Of all prefixes that there have been."""
        restricted = config.mobile_routers.values() if config.restricted is None else config.restricted()
        for policy in restricted:
            self._enter(policy)

    def change(self, home_address: Address) -> set[Prefix]:
        """The policy of a home address has changed, come or gone. Gives the prefixes that this concerns."""
        before = self._prefixes.pop(home_address, ())
        for prefix in before:
            del self._by_prefix[prefix]
        policy = self._mobile_routers.get(home_address)
        if policy is not None:
            self._enter(policy)
        return {*before, *self._prefixes.get(home_address, ())}

    def allow(self, prefix: Prefix, originator: Peer) -> bool:
        """Whether this Home Agent may leak this prefix, or a part of it."""
        around = (Prefix.of(prefix.address, one) for one in self._lengths if one <= prefix.length)
        policies = (self._by_prefix[one] for one in around if one in self._by_prefix)
        satellites = self._under.get(originator.site, ())
        return all(self._may_leak(originator, satellites, policy) for policy in policies)

    def _may_leak(self, originator: Peer, satellites: Iterable[str], policy: MobileRouterPolicy) -> bool:
        if policy.leak is LeakPolicy.NEVER and not self._is_asked_for(policy.home_address):
            return False
        if originator.is_primary_for(policy.home_address) or policy.proxies is None:
            return True
        return any(name in policy.proxies for name in (originator.name, *satellites))

    def _enter(self, policy: MobileRouterPolicy) -> None:
        if not is_restricted(policy):
            return
        prefixes = (*policy.prefixes, Prefix.host(policy.home_address))
        self._prefixes[policy.home_address] = prefixes
        for prefix in prefixes:
            self._by_prefix[prefix] = policy
            self._lengths.add(prefix.length)


def is_restricted(policy: MobileRouterPolicy) -> bool:
    """Whether there are Home Agents that may not leak a mobile router."""
    return policy.proxies is not None or policy.leak is LeakPolicy.NEVER
