"""What leaves a mobile router with several uplinks leaves by the uplink that its source address belongs to.

The kernel puts the default routes of all uplinks into the main table, where only metrics tell them apart. So
each uplink has a table of its own, with the default route to its own router, and a rule that sends there what
has its care-of address as source: Binding Updates, and the outer packets of tunnels.

Privilege: CAP_NET_ADMIN; `EgressSocket` CAP_NET_RAW.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from typing import Final

from ..protocol.egress import Attachment
from ..wire.address import UNSPECIFIED, Address, Prefix
from .netlink import ACK, CREATE, EXCLUSIVE, Message, NetlinkSocket, attribute, attribute_u32
from .route_messages import PROTOCOL, Forward, Route
from .routes import set_table
from .rtnetlink import open_blocking
from .rules import reconcile_rules

FIRST_TABLE: Final = 211
"""Of the first uplink; the others follow."""
_FROM_CARE_OF_ADDRESS: Final = 21
"""Behind the rules of the mobile networks: what a care-of address sends to them stays here."""
_METRIC = 100
_EVERYWHERE = Prefix(UNSPECIFIED, 0)

_RTM_NEWRULE = 32
_RTM_DELRULE = 33
_FRA_SRC = 2
_FRA_PRIORITY = 6
_FRA_TABLE = 15
_FRA_PROTOCOL = 21
_FR_ACT_TO_TBL = 1
_RULE = struct.Struct("=BBBBBBBBI")


class EgressRoutes:
    """One table and one rule for each uplink. `set` may be called inside an event loop, the others not."""

    def __init__(self, netlink: NetlinkSocket, devices: Sequence[str]) -> None:
        self._netlink = netlink
        self._tables = {device: FIRST_TABLE + place for place, device in enumerate(devices)}
        self._rules: dict[str, Address] = {}
        """The care-of address of the rule of each uplink that has one."""

    def setup(self) -> None:
        """Take away what an earlier run may have left. Blocks. Raises OSError."""
        self._rules.clear()
        with open_blocking() as ipr:
            reconcile_rules(ipr, frozenset(), {_FROM_CARE_OF_ADDRESS})
        for table in self._tables.values():
            set_table(self._netlink, table, frozenset())

    def flush(self) -> None:
        """The same, at the end."""
        self.setup()

    def set(self, device: str, index: int, attachment: Attachment | None) -> None:
        """What has this care-of address leaves by this router; None: the uplink has none. Makes up for what
        has been taken away meanwhile. About 0.2 ms. Raises OSError."""
        table = self._tables[device]
        before = self._rules.get(device)
        if attachment is None:
            if before is not None:
                del self._rules[device]
                self._send(_RTM_DELRULE, 0, before, table, errno.ENOENT)
            set_table(self._netlink, table, frozenset())
            return
        route = Route(_EVERYWHERE, Forward(index, attachment.router), _METRIC, table)
        set_table(self._netlink, table, {route})
        self._send(_RTM_NEWRULE, CREATE | EXCLUSIVE, attachment.care_of_address, table, errno.EEXIST)
        self._rules[device] = attachment.care_of_address
        if before is not None and before != attachment.care_of_address:
            self._send(_RTM_DELRULE, 0, before, table, errno.ENOENT)

    def _send(self, type_: int, flags: int, source: Address, table: int, done_already: int) -> None:
        body = b"".join(
            (
                _RULE.pack(socket.AF_INET6, 0, 128, 0, table & 0xFF, 0, 0, _FR_ACT_TO_TBL, 0),
                attribute(_FRA_SRC, source),
                attribute_u32(_FRA_PRIORITY, _FROM_CARE_OF_ADDRESS),
                attribute_u32(_FRA_TABLE, table),
                attribute(_FRA_PROTOCOL, bytes((PROTOCOL,))),
            )
        )
        for refusal in self._netlink.send([Message(type_, ACK | flags, body)]):
            if refusal.errno != done_already:
                raise OSError(refusal.errno, f"rule from {source}: {refusal}")


class EgressSocket:
    """Sends whole IPv6 packets by a given uplink, with policy rules seeing their source: the raw socket of
    `MobilitySocket` shows them none."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_INET6, kind, socket.IPPROTO_RAW)

    def close(self) -> None:
        """Give the file descriptor back."""
        self._socket.close()

    def send(self, packet: bytes, device: int) -> None:
        """Send a packet as it is. Raises OSError: no route, its source is no address of ours, too large."""
        control = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16si", packet[8:24], device))
        destination = (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0)
        self._socket.sendmsg([packet], [control], 0, destination)
