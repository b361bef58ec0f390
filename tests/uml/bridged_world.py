"""The namespaces of the kernel tests inside user-mode Linux, where guards are on bridges
(`inside/sitecustomize.py`)."""

from __future__ import annotations

from haha_exabgp.wire.address import Address
from tests.lab.kernel_world import CN, OUTER, World, wait_for_link_local


def put_on_bridge(world: World, *more: Address) -> None:
    """Make the first Home Agent's uplink a port of a bridge, so that its guard judges what passes there. The
    bridge has its outer address, and these."""
    ha1 = world.ha1.namespace
    ha1.ip("link add br0 type bridge")
    ha1.ip("addr flush dev eth0")
    ha1.ip("link set eth0 master br0")
    ha1.ip("link set br0 up")
    for address in (OUTER[1], *more):
        ha1.ip(f"addr add {address}/64 dev br0 nodad")
    ha1.ip("-6 route replace default via 3fff:101::1")
    wait_for_link_local(ha1, "br0")
    assert ha1.pings(CN, source=OUTER[1])
