"""Routes that are wanted against routes that the kernel has: compare, then apply the difference."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..protocol.effects import DeleteRoute, SetRoute
from ..protocol.routes import KernelRoute
from ..wire.address import Prefix
from .datapath import Datapath
from .netlink import NetlinkSocket, Refusal
from .route_messages import MAIN_TABLE, Route, pull_routes, push_delete, push_dump, push_replace


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
    keys = {(route.prefix, route.metric) for route in wanted}
    surplus = (route for route in present if (route.prefix, route.metric) not in keys)
    return RouteChanges(tuple(wanted - present), tuple(surplus))


def changes_of(effects: Iterable[SetRoute | DeleteRoute]) -> RouteChanges[KernelRoute]:
    """The changes that effects of the core add up to: of several for one prefix and metric the last."""
    last = {(effect.route.prefix, effect.route.metric): effect for effect in effects}
    return RouteChanges(
        tuple(effect.route for effect in last.values() if isinstance(effect, SetRoute)),
        tuple(effect.route for effect in last.values() if isinstance(effect, DeleteRoute)),
    )


class RouteTable:
    """The core's routes in the kernel's main table; there all routes of ours are the core's.

    About 20 us a change and 20 us a route read back, all of it inline: 100 changes hold an event loop up
    for 2 ms. Privilege: CAP_NET_ADMIN; `present` needs none.
    """

    def __init__(self, netlink: NetlinkSocket, datapath: Datapath) -> None:
        self._netlink = netlink
        self._datapath = datapath

    def present(self) -> frozenset[KernelRoute]:
        """The routes as the kernel has them. Raises OSError."""
        routes = present_routes(self._netlink, MAIN_TABLE)
        return frozenset(filter(None, map(self._datapath.kernel_route, routes)))

    def apply(self, changes: RouteChanges[KernelRoute]) -> list[RouteFailure[KernelRoute]]:
        """Replace, then delete; in force on return but for the failures given back.

        Deleting a route that is not there is no failure. Raises OSError when netlink itself fails.
        """
        replace = tuple(map(self._datapath.encapsulation, changes.replace))
        delete = tuple(map(self._datapath.encapsulation, changes.delete))
        failures = apply_changes(self._netlink, RouteChanges(replace, delete))
        names = dict(zip((*replace, *delete), (*changes.replace, *changes.delete), strict=True))
        return [RouteFailure(names[failure.route], failure.reason) for failure in failures]

    def reconcile(self, wanted: AbstractSet[KernelRoute]) -> list[RouteFailure[Route]]:
        """Make the table what is wanted, whatever it was. Raises OSError when netlink itself fails."""
        routes = frozenset(map(self._datapath.encapsulation, wanted))
        return apply_changes(self._netlink, plan(routes, present_routes(self._netlink, MAIN_TABLE)))


def present_routes(netlink: NetlinkSocket, table: int) -> frozenset[Route]:
    """The routes of ours in one table. Raises OSError."""
    return frozenset(pull_routes(netlink.dump(push_dump(table))))


def apply_changes(netlink: NetlinkSocket, changes: RouteChanges[Route]) -> list[RouteFailure[Route]]:
    """Replace, then delete; gives what the kernel refused. Raises OSError when netlink itself fails."""
    set_ = _failures(changes.replace, netlink.send(list(map(push_replace, changes.replace))))
    deleted = netlink.send(list(map(push_delete, changes.delete)))
    return set_ + _failures(changes.delete, [no for no in deleted if no.errno != errno.ESRCH])


def set_table(netlink: NetlinkSocket, table: int, wanted: AbstractSet[Route]) -> None:
    """Make our routes in one small table the wanted ones. Raises OSError with the first refusal."""
    failures = apply_changes(netlink, plan(wanted, present_routes(netlink, table)))
    if failures:
        raise OSError(errno.EINVAL, f"route {failures[0].route.prefix}: {failures[0].reason}")


def _failures(routes: Sequence[Route], refusals: Iterable[Refusal]) -> list[RouteFailure[Route]]:
    return [RouteFailure(routes[refusal.position], str(refusal)) for refusal in refusals]
