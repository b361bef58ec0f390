"""How long the subnets of Home are to be used (RFC 6275 s.10.3.1, s.10.6): for ever, unless Home is being
renumbered."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from ..wire.address import Address, Prefix

SUBNET_LENGTH = 64
"""A home address lies in a subnet of this length, for which the mobile router runs discovery as well; the
partition is the site's and no link's prefix."""


class HomeSubnet(NamedTuple):
    """A subnet of Home, or a wider prefix for all subnets in it. Both times by the wall clock."""

    prefix: Prefix
    valid_until: float = inf
    preferred_until: float = inf


class Lifetimes(NamedTuple):
    """What a subnet has left, in seconds from now; `inf`: no end is known."""

    valid: float
    preferred: float


FOREVER = Lifetimes(inf, inf)


class HomeSubnets:
    """Those subnets of Home of which an end is known."""

    def __init__(self, subnets: Iterable[HomeSubnet] = ()) -> None:
        self._subnets = tuple(subnets)

    def __bool__(self) -> bool:
        return bool(self._subnets)

    def subnet(self, home_address: Address) -> HomeSubnet:
        """What holds for the subnet of a home address: the longest entry that contains it."""
        fitting = [one for one in self._subnets if one.prefix.contains(home_address)]
        prefix = Prefix.of(home_address, SUBNET_LENGTH)
        if not fitting:
            return HomeSubnet(prefix)
        best = max(fitting, key=lambda one: one.prefix.length)
        return best._replace(prefix=best.prefix if best.prefix.length > SUBNET_LENGTH else prefix)

    def lifetimes(self, home_address: Address, wall: float) -> Lifetimes:
        """What the subnet of a home address has left."""
        if not self._subnets:
            return FOREVER
        _, valid_until, preferred_until = self.subnet(home_address)
        return Lifetimes(max(valid_until - wall, 0.0), max(preferred_until - wall, 0.0))
