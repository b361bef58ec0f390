"""Routes that are wanted against routes that the kernel has: compare, then apply the difference."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..protocol.routes import KernelRoute
from ..wire.address import Prefix
from .datapath import Datapath
from .netlink import NetlinkSocket, Refusal
from .route_dump import PresentRoutes, pull_present_routes
from .route_messages import (
    MAIN_TABLE,
    Route,
    pull_route,
    pull_routes,
    push_delete,
    push_dump,
    push_match,
    push_replace,
)

_NO_ROUTE = frozenset((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ESRCH, errno.ENOENT))


class _Keyed(Protocol):
    """A route, known within its table by prefix and metric."""

    @property
    def prefix(self) -> Prefix: ...
    @property
    def metric(self) -> int: ...


R = TypeVar("R", bound=_Keyed)


@dataclass(frozen=True, slots=True)
class RouteChanges(Generic[R]):
    """What to do to a table, in this order; no prefix and metric in both."""

    replace: tuple[R, ...] = ()
    """Added, or put in the place of the one with the same prefix and metric in one step."""
    delete: tuple[R, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.replace or self.delete)


@dataclass(frozen=True, slots=True)
class RouteFailure(Generic[R]):
    """A route that the kernel would not set or delete, and why."""

    route: R
    reason: str


def plan(wanted: AbstractSet[R], present: AbstractSet[R]) -> RouteChanges[R]:
    """The changes that turn `present` into `wanted`; none when they are equal.

    Replacing comes before deleting, so that no destination is without a route on the way.
    """
    replace = tuple(wanted - present)
    if len(present) == len(wanted) - len(replace):
        # All that is present is wanted: so it mostly is, and there may be 200,000 of them.
        return RouteChanges(replace)
    keys = {(route.prefix, route.metric) for route in wanted}
    surplus = (route for route in present if (route.prefix, route.metric) not in keys)
    return RouteChanges(replace, tuple(surplus))


class RouteTable:
    """The core's routes in the kernel's main table; there all routes of ours are the core's.

    About 4 us a change and 2 us a route read back. In any thread; the kernel's part, the larger, runs beside
    other threads. Privilege: CAP_NET_ADMIN; `present` needs none.
    """

    def __init__(self, netlink: NetlinkSocket, datapath: Datapath) -> None:
        self._netlink = netlink
        self._datapath = datapath

    def present(self) -> frozenset[KernelRoute]:
        """The routes as the kernel has them. Raises OSError."""
        return frozenset(self._present().routes)

    def apply(self, changes: RouteChanges[KernelRoute]) -> list[RouteFailure[KernelRoute]]:
        """Replace, then delete; in force on return but for the failures given back.

        Deleting a route that is not there is no failure. Raises OSError when netlink itself fails.
        """
        encapsulation = self._datapath.encapsulation
        messages = [push_replace(encapsulation(route)) for route in changes.replace]
        failures = _failures(changes.replace, self._netlink.send(messages))
        return failures + _delete(self._netlink, changes.delete, MAIN_TABLE)

    def missing(self, routes: Iterable[KernelRoute]) -> list[KernelRoute]:
        """Those of them that the kernel does not use: it has neither the route nor one that goes before it.
        Some 10 us each: for a look at a few in a table that takes seconds to read. Raises OSError."""
        return [route for route in routes if not self._uses(route)]

    def _uses(self, route: KernelRoute) -> bool:
        try:
            found = pull_route(self._netlink.ask(push_match(route.prefix.address)))
        except OSError as error:
            if error.errno in _NO_ROUTE:
                return False
            raise
        if found is None:
            return False
        better = found.prefix.length > route.prefix.length or found.metric < route.metric
        return better or self._datapath.kernel_route(found) == route

    def reconcile(self, wanted: AbstractSet[KernelRoute]) -> list[RouteFailure[KernelRoute]]:
        """Make the table what is wanted, whatever it was. Raises OSError when netlink itself fails."""
        present, others = self._present()
        changes = plan(wanted, present)
        if others:
            # Their like is never wanted: what is wanted in their place replaces them.
            keys = {(route.prefix, route.metric) for route in wanted}
            gone = [KernelRoute(route.prefix, route.metric, None) for route in others]
            surplus = (route for route in gone if (route.prefix, route.metric) not in keys)
            changes = RouteChanges(changes.replace, (*changes.delete, *surplus))
        return self.apply(changes)

    def _present(self) -> PresentRoutes:
        return pull_present_routes(self._netlink.dump(push_dump(MAIN_TABLE)), self._datapath)


def present_routes(netlink: NetlinkSocket, table: int) -> frozenset[Route]:
    """The routes of ours in one table. Raises OSError."""
    return frozenset(pull_routes(netlink.dump(push_dump(table))))


def apply_changes(netlink: NetlinkSocket, changes: RouteChanges[Route]) -> list[RouteFailure[Route]]:
    """Replace, then delete; gives what the kernel refused. Raises OSError when netlink itself fails."""
    failures = _failures(changes.replace, netlink.send(list(map(push_replace, changes.replace))))
    for table in {route.table for route in changes.delete}:
        failures += _delete(netlink, [route for route in changes.delete if route.table == table], table)
    return failures


def _delete(netlink: NetlinkSocket, routes: Sequence[R], table: int) -> list[RouteFailure[R]]:
    refused = netlink.send([push_delete(route.prefix, route.metric, table) for route in routes])
    return _failures(routes, [no for no in refused if no.errno != errno.ESRCH])


def set_table(netlink: NetlinkSocket, table: int, wanted: AbstractSet[Route]) -> None:
    """Make our routes in one small table the wanted ones. Raises OSError with the first refusal."""
    failures = apply_changes(netlink, plan(wanted, present_routes(netlink, table)))
    if failures:
        raise OSError(errno.EINVAL, f"route {failures[0].route.prefix}: {failures[0].reason}")


def _failures(routes: Sequence[R], refusals: Iterable[Refusal]) -> list[RouteFailure[R]]:
    return [RouteFailure(routes[refusal.position], str(refusal)) for refusal in refusals]
