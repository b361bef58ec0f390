"""Which addresses of this host end tunnels: filters behind the ip6tnl device.

A collect-metadata ip6tnl device takes packets out of tunnels that end at any address of the host. What it
has taken out passes its ingress hook, where `flower` filters know the outer destination: one filter for each
tunnel end, and one behind them that drops the rest, `tc filter show dev haha0 ingress`.

Privilege: CAP_NET_ADMIN. The kernel loads sch_ingress, cls_flower and act_gact for it.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Set as AbstractSet

from ..wire.address import Address
from .netlink import CREATE, EXCLUSIVE, Message, NetlinkSocket, Refusal, attribute, nested, pull_attributes

_RTM_NEWQDISC = 36
_RTM_NEWTFILTER = 44
_RTM_DELTFILTER = 45
_RTM_GETTFILTER = 46

_TCMSG = struct.Struct("=BxxxiIII")
"""Family, device, handle, parent, info: of a filter its preference and, in network order, ether type."""
_CLSACT_HANDLE = 0xFFFF0000
_CLSACT_PARENT = 0xFFFFFFF1
_INGRESS = 0xFFFFFFF2
_PREFERENCE_END = 1
_PREFERENCE_REST = 2
_ETH_P_ALL = 0x0003
_ETH_P_IPV6 = 0x86DD

_TCA_KIND = 1
_TCA_OPTIONS = 2
_FLOWER_ACT = 3
_FLOWER_KEY_ENC_IPV6_DST = 33
_FLOWER_KEY_ENC_IPV6_DST_MASK = 34
_FIRST_ACTION = 1
_ACT_KIND = 1
_ACT_OPTIONS = 2
_GACT_PARMS = 2
_GACT = struct.Struct("=IIiii")
_DROP = _GACT.pack(0, 0, 2, 0, 0)
_EXACT = b"\xff" * 16


def drop_all_but_ends(netlink: NetlinkSocket, device: int) -> None:
    """Make the ingress hook of the device, and the filter that drops what no filter of a tunnel end has
    passed. Changes nothing where both are there. Raises OSError."""
    hook = _TCMSG.pack(0, device, _CLSACT_HANDLE, _CLSACT_PARENT, 0) + attribute(_TCA_KIND, b"clsact\0")
    _unless_there(netlink.send([Message(_RTM_NEWQDISC, CREATE | EXCLUSIVE, hook)]))
    gact = (
        attribute(_ACT_KIND, b"gact\0"),
        nested(_ACT_OPTIONS, attribute(_GACT_PARMS, _DROP)),
    )
    drop = nested(_FLOWER_ACT, nested(_FIRST_ACTION, *gact))
    rest = _push_filter(_RTM_NEWTFILTER, device, 1, _PREFERENCE_REST, _ETH_P_ALL, drop)
    _unless_there(netlink.send([rest]))


def set_ends(netlink: NetlinkSocket, device: int, ends: AbstractSet[Address]) -> None:
    """Let through what came out of tunnels to these addresses and no others; some 50 us where it is so.
    Raises OSError."""
    present = _present(netlink, device)
    surplus = set(present) - ends
    missing = ends - set(present)
    changes = [
        _push_filter(
            _RTM_NEWTFILTER,
            device,
            0,
            _PREFERENCE_END,
            _ETH_P_IPV6,
            attribute(_FLOWER_KEY_ENC_IPV6_DST, end),
            attribute(_FLOWER_KEY_ENC_IPV6_DST_MASK, _EXACT),
        )
        for end in missing
    ]
    changes += [
        _push_filter(_RTM_DELTFILTER, device, present[end], _PREFERENCE_END, _ETH_P_IPV6) for end in surplus
    ]
    for refusal in netlink.send(changes):
        raise OSError(refusal.errno, f"filter of tunnel ends: {refusal}")


def _push_filter(
    type_: int, device: int, handle: int, preference: int, ether_type: int, *options: bytes
) -> Message:
    header = _TCMSG.pack(0, device, handle, _INGRESS, preference << 16 | socket.htons(ether_type))
    body = header + attribute(_TCA_KIND, b"flower\0") + nested(_TCA_OPTIONS, *options)
    return Message(type_, CREATE | EXCLUSIVE if type_ == _RTM_NEWTFILTER else 0, body)


def _present(netlink: NetlinkSocket, device: int) -> dict[Address, int]:
    """Tunnel ends with the handles of their filters."""
    wanted = _TCMSG.pack(0, device, 0, _INGRESS, 0)
    found: dict[Address, int] = {}
    for body in netlink.dump(Message(_RTM_GETTFILTER, 0, wanted)):
        _, _, handle, _, info = _TCMSG.unpack_from(body)
        options = pull_attributes(body, _TCMSG.size).get(_TCA_OPTIONS)
        if info >> 16 == _PREFERENCE_END and handle and options is not None:
            end = pull_attributes(options).get(_FLOWER_KEY_ENC_IPV6_DST)
            if end is not None:
                found[Address(end)] = handle
    return found


def _unless_there(refusals: list[Refusal]) -> None:
    for refusal in refusals:
        if refusal.errno != errno.EEXIST:
            raise OSError(
                refusal.errno,
                f"the kernel cannot filter by tunnel end (sch_ingress, cls_flower, act_gact): {refusal};"
                " datapath: seg6 does without, where the kernel has it",
            )
