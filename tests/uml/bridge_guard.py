"""The guard for a kernel whose nf_tables has only the bridge family, as user-mode Linux has.

The rules are the guard's own, in a `bridge` table instead of an `ip6` one: they see what comes in and goes
out by a port of a bridge, whole, and nothing that comes by another device. So a tunnelled packet is judged
where the uplink is a port of a bridge; on any other uplink loading and changing cost what they cost, and
nothing is judged. On a bridge discovery does not work: what the guard drops in transit, the agent's socket
has not seen yet.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from haha_exabgp.kernel import guard, nftables
from haha_exabgp.kernel.guard_rules import TABLE
from haha_exabgp.wire.address import Address
from tests.lab.kernel_world import Namespace, wait_for_link_local

_AF_BRIDGE = 7


def _nft_of_bridges(*arguments: str, text: str | None = None) -> str:
    if text is not None:
        # The bridge family has other names for priorities, and cannot ask for routes.
        lines = (line for line in text.splitlines(keepends=True) if " fib " not in line)
        text = "".join(lines).replace(f" ip6 {TABLE}", f" bridge {TABLE}")
        text = text.replace("priority raw", "priority -300")
    return _nft(*arguments, text=text)


_nft = guard._nft


def put_uplink_on_bridge(namespace: Namespace, router: Address, *addresses: Address) -> None:
    """Make `eth0` a port of the new bridge `br0`, with these addresses in place of its own."""
    namespace.ip("link add br0 type bridge")
    namespace.ip("addr flush dev eth0")
    namespace.ip("link set eth0 master br0")
    namespace.ip("link set br0 up")
    for address in addresses:
        namespace.ip(f"addr add {address}/64 dev br0 nodad")
    namespace.ip(f"-6 route replace default via {router}")
    wait_for_link_local(namespace, "br0")


@contextmanager
def guards_on_bridges() -> Iterator[None]:
    """Guards made in this block, and used in it, are tables of the bridge family."""
    assert nftables._HEADER.pack(socket.AF_INET6, 0, 0) == nftables._IPV6_HEADER
    with (
        mock.patch.object(guard, "_nft", _nft_of_bridges),
        mock.patch.object(nftables, "_IPV6_HEADER", nftables._HEADER.pack(_AF_BRIDGE, 0, 0)),
    ):
        yield
