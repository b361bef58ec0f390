"""Which way of making tunnels this host uses, and how to be rid of either.

`auto` is ip6tnl where the kernel has it, else seg6: ip6tnl tells the sender of a packet that is too big for a
tunnel, which seg6 does not.
"""

from __future__ import annotations

import errno
import struct

from ..wire.address import UNSPECIFIED, Prefix
from .datapath import Datapath
from .ip6_tunnel_messages import LWTUNNEL_IP6
from .ip6tnl import Ip6tnlDatapath, kernel_has_ip6tnl
from .netlink import NetlinkSocket, attribute
from .route_messages import LWTUNNEL_SEG6, RTA_ENCAP_TYPE, push_delete
from .seg6 import Seg6Datapath

AUTO = "auto"
SEG6 = "seg6"
IP6TNL = "ip6tnl"

_UNUSED_METRIC = 0xFFFFFFFE


def choose_datapath(name: str, netlink: NetlinkSocket) -> Datapath:
    """The datapath of this name, for the namespace of `netlink`. Raises OSError, ENOPROTOOPT where the kernel
    does not have it; EPERM without CAP_NET_ADMIN."""
    has_ip6tnl = name != SEG6 and _kernel_encapsulates(netlink, LWTUNNEL_IP6) and kernel_has_ip6tnl(netlink)
    if name == IP6TNL and not has_ip6tnl:
        raise OSError(errno.ENOPROTOOPT, "datapath ip6tnl: the kernel has no ip6_tunnel; write auto or seg6")
    if has_ip6tnl:
        return Ip6tnlDatapath(netlink)
    if not _kernel_encapsulates(netlink, LWTUNNEL_SEG6):
        neither = "" if name == SEG6 else ", and no ip6_tunnel"
        raise OSError(
            errno.ENOPROTOOPT,
            f"datapath {name}: the kernel has no seg6 (CONFIG_IPV6_SEG6_LWTUNNEL){neither}",
        )
    return Seg6Datapath(netlink)


def flush_datapaths(netlink: NetlinkSocket) -> None:
    """Take away what either datapath has left in the kernel. Blocks; not while an event loop uses the socket.
    Raises OSError."""
    if _kernel_encapsulates(netlink, LWTUNNEL_SEG6):
        seg6 = Seg6Datapath(netlink)
        seg6.flush()
        seg6.close()
    Ip6tnlDatapath(netlink).flush()


def _kernel_encapsulates(netlink: NetlinkSocket, kind: int) -> bool:
    """True where a route may encapsulate in this way: asked by deleting a route that is not there, which
    changes nothing. The kernel looks at the kind of encapsulation first."""
    deletion = push_delete(Prefix.host(UNSPECIFIED), _UNUSED_METRIC)
    question = deletion.body + attribute(RTA_ENCAP_TYPE, struct.pack("=H", kind))
    (refusal,) = netlink.send([deletion._replace(body=question)])
    if refusal.errno == errno.EPERM:
        raise OSError(refusal.errno, f"cannot ask the kernel for its kinds of tunnel: {refusal}")
    return refusal.errno == errno.ESRCH
