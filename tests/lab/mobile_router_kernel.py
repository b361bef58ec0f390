"""The kernel plane of a mobile router in `kernel_world`, and of a binding of it at a Home Agent."""

from __future__ import annotations

from haha_exabgp.kernel.choose_datapath import SEG6, choose_datapath
from haha_exabgp.kernel.guard import MobileRouterGuard
from haha_exabgp.kernel.guard_config import MobileRouterGuardConfig
from haha_exabgp.kernel.mobile_router import MobileRouterRoutes
from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.routes import RouteChanges
from haha_exabgp.protocol.effects import Permit, Revoke
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from tests.lab.kernel_world import (
    CARE_OF,
    HOME_ADDRESS,
    MNP,
    HomeAgentKernel,
    Namespace,
)

NETWORKS = (MNP, Prefix.host(HOME_ADDRESS))
OTHER_CARE_OF = Address.parse("3fff:f01::11")


class MobileRouterKernel:
    """The kernel plane of a mobile router, put together as its daemon does."""

    def __init__(self, namespace: Namespace, datapath: str = SEG6) -> None:
        self.namespace = namespace
        with namespace.entered():
            self.netlink = NetlinkSocket()
            self.datapath = choose_datapath(datapath, self.netlink)
            self.routes = MobileRouterRoutes(self.netlink, self.datapath, HOME_ADDRESS, (MNP,), "lan0")
            self.guard = MobileRouterGuard(MobileRouterGuardConfig(HOME_ADDRESS, (MNP,), "lan0"))

    def setup(self) -> None:
        with self.namespace.entered():
            self.guard.setup(frozenset())
            self.datapath.setup()
            self.routes.setup()

    def use_tunnel(self, home_agent: Address, care_of_address: Address = CARE_OF) -> None:
        self.guard.set_home_agents({home_agent})
        self.datapath.set_tunnel_ends({care_of_address}, care_of_address)
        self.routes.set_home_agent(home_agent)

    def flush(self) -> None:
        with self.namespace.entered():
            self.routes.flush()
            self.datapath.flush()
            self.guard.flush()

    def close(self) -> None:
        self.guard.close()
        self.datapath.close()
        self.netlink.close()


def bind(agent: HomeAgentKernel, care_of_address: Address) -> None:
    agent.guard.apply((Permit(care_of_address, prefix) for prefix in NETWORKS), ())
    routes = (KernelRoute(prefix, Metric.BINDING, care_of_address) for prefix in NETWORKS)
    assert agent.table.apply(RouteChanges(tuple(routes))) == []


def unbind(agent: HomeAgentKernel, care_of_address: Address) -> None:
    agent.guard.apply((), (Revoke(care_of_address, prefix) for prefix in NETWORKS))
    assert agent.table.reconcile(agent.routes) == []
