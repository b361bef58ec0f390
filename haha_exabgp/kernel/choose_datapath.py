"""Which way of making tunnels this host uses, and how to be rid of either.

`auto` is ip6tnl where the kernel has it, else seg6: ip6tnl tells the sender of a packet that is too big for a
tunnel, which seg6 does not.
"""

from __future__ import annotations

import errno

from .datapath import Datapath
from .ip6tnl import Ip6tnlDatapath, kernel_has_ip6tnl
from .netlink import NetlinkSocket
from .seg6 import Seg6Datapath

AUTO = "auto"
SEG6 = "seg6"
IP6TNL = "ip6tnl"


def choose_datapath(name: str, netlink: NetlinkSocket) -> Datapath:
    """The datapath of this name, for the namespace of `netlink`. Raises OSError, ENOPROTOOPT where the kernel
    does not have it; EPERM without CAP_NET_ADMIN."""
    has_ip6tnl = name != SEG6 and kernel_has_ip6tnl(netlink)
    if name == IP6TNL and not has_ip6tnl:
        raise OSError(errno.ENOPROTOOPT, "datapath ip6tnl: the kernel has no ip6_tunnel; write auto or seg6")
    if has_ip6tnl:
        return Ip6tnlDatapath(netlink)
    seg6 = _seg6(netlink)
    if seg6 is None:
        others = "" if name == SEG6 else " nor ip6_tunnel"
        raise OSError(
            errno.ENOPROTOOPT, f"datapath {name}: the kernel has no seg6 (CONFIG_IPV6_SEG6_LWTUNNEL){others}"
        )
    return seg6


def flush_datapaths(netlink: NetlinkSocket) -> None:
    """Take away what either datapath has left in the kernel. Blocks; not while an event loop uses the socket.
    Raises OSError."""
    seg6 = _seg6(netlink)
    if seg6 is not None:
        seg6.flush()
        seg6.close()
    Ip6tnlDatapath(netlink).flush()


def _seg6(netlink: NetlinkSocket) -> Seg6Datapath | None:
    """None where the kernel has no segment routing."""
    try:
        return Seg6Datapath(netlink)
    except FileNotFoundError:
        return None
