"""The routes of a mobile router: what its home address and its networks send goes through the tunnel.

Privilege: CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from ..protocol.routes import KernelRoute, Metric
from ..wire.address import UNSPECIFIED, Address, Prefix
from .datapath import Datapath
from .links import find_link
from .netlink import NetlinkSocket
from .route_messages import Forward, Route, push_replace
from .routes import set_table
from .rtnetlink import open_blocking
from .rules import Rule, reconcile_rules
from .sysctl import set_device_setting

TABLE: Final = 210
_TO_NETWORKS = 19
_FROM_NETWORKS = 20
_LAN_METRIC = 50
_EVERYWHERE = Prefix(UNSPECIFIED, 0)


class MobileRouterRoutes:
    """Policy routing by source (RFC 3963 s.5.4): packets from the home address and the mobile network
    prefixes see table 210 and, as it has an answer for everything, never the uplink's default route.

    Table 210 holds the prefixes themselves, on the mobile network's device, and a default: into the tunnel
    to the Home Agent when there is one, to a router when on the home link, unreachable otherwise. What
    the mobile router sends from its care-of address, its own signalling too, is the business of `egress`.
    """

    def __init__(
        self,
        netlink: NetlinkSocket,
        datapath: Datapath,
        home_address: Address,
        prefixes: Sequence[Prefix],
        lan: str,
    ) -> None:
        self._netlink = netlink
        self._datapath = datapath
        self._home_address = home_address
        self._prefixes = tuple(prefixes)
        self._lan_name = lan
        self._lan = 0
        self._way_out: Route | None = None

    def setup(self) -> None:
        """Put up rules, routes and the home address; after `Datapath.setup`. Running it again mends what is
        missing. The mobile network's device needs an address of its own from outside.

        Blocks, for use before an event loop runs or in a thread; sets routes by the netlink socket that this
        was made with, so not while an event loop uses that. Raises OSError."""
        with open_blocking() as ipr:
            lan = find_link(ipr, self._lan_name)
        if lan is None:
            raise OSError(errno.ENODEV, f"no device {self._lan_name} for the mobile network")
        self._lan = lan.index
        # Who sends Router Advertisements into the mobile network is no way out of it.
        set_device_setting(self._lan_name, "accept_ra", 0)
        self._datapath.set_inner_addresses({self._home_address})
        self._set_routes()
        with open_blocking() as ipr:
            reconcile_rules(ipr, self._rules(), {_TO_NETWORKS, _FROM_NETWORKS})

    def set_home_agent(self, home_agent: Address | None) -> None:
        """Send through the tunnel to this Home Agent's outer address; None: nowhere. About 0.2 ms.

        To be called again when the care-of address is another: the route remembers by which uplink its
        packets left, and is put in anew. Raises OSError."""
        if home_agent is None:
            self._way_out = None
        else:
            tunnel = KernelRoute(_EVERYWHERE, Metric.BINDING, home_agent)
            self._way_out = self._datapath.encapsulation(tunnel, TABLE)
        self._set_routes()

    def set_home_link(self, device: int, router: Address) -> None:
        """Send to a router on the home link, in no tunnel. About 0.2 ms. Raises OSError."""
        self._way_out = Route(_EVERYWHERE, Forward(device, router), Metric.BINDING, TABLE)
        self._set_routes()

    def flush(self) -> None:
        """Take rules and routes away; before `Datapath.flush`, which takes the rest. Blocks, with the
        same conditions as `setup`. Raises OSError."""
        with open_blocking() as ipr:
            reconcile_rules(ipr, frozenset(), {_TO_NETWORKS, _FROM_NETWORKS})
        set_table(self._netlink, TABLE, frozenset())

    def _rules(self) -> set[Rule]:
        sources = (Prefix.host(self._home_address), *self._prefixes)
        return {Rule(_FROM_NETWORKS, TABLE, source=source) for source in sources} | {
            Rule(_TO_NETWORKS, TABLE, destination=prefix) for prefix in self._prefixes
        }

    def _set_routes(self) -> None:
        unreachable = KernelRoute(_EVERYWHERE, Metric.DISCARD, None)
        routes = {Route(prefix, Forward(self._lan), _LAN_METRIC, TABLE) for prefix in self._prefixes}
        routes.add(self._datapath.encapsulation(unreachable, TABLE))
        if self._way_out is not None:
            routes.add(self._way_out)
            self._netlink.request(push_replace(self._way_out))
        set_table(self._netlink, TABLE, routes)
