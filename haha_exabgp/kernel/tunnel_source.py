"""The outer source address of packets that seg6 routes encapsulate: `ip sr tunsrc`, one a namespace.

By our own netlink socket: pyroute2 does not know this family, and its generic sockets cannot be called inline
from an event loop, as a move needs it. Privilege: CAP_NET_ADMIN.
"""

from __future__ import annotations

import struct

from ..wire.address import UNSPECIFIED, Address
from .netlink import ACK, NETLINK_GENERIC, Message, NetlinkSocket, attribute, pull_attributes

_GENERIC_HEADER = struct.Struct("=BBH")
_CONTROLLER = 16
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_ID = 1
_CTRL_ATTR_FAMILY_NAME = 2
_SEG6_CMD_SET_TUNSRC = 3
_SEG6_CMD_GET_TUNSRC = 4
_SEG6_ATTR_DST = 1


class TunnelSource:
    """Reads and sets the tunnel source of the namespace in which it was made.

    Raises OSError (ENOENT) where the kernel has no segment routing.
    """

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(NETLINK_GENERIC)
        request = _GENERIC_HEADER.pack(_CTRL_CMD_GETFAMILY, 1, 0) + attribute(
            _CTRL_ATTR_FAMILY_NAME, b"SEG6\0"
        )
        try:
            answer = self._netlink.ask(Message(_CONTROLLER, 0, request))
        except OSError:
            self._netlink.close()
            raise
        family = pull_attributes(answer, _GENERIC_HEADER.size)[_CTRL_ATTR_FAMILY_ID]
        (self._family,) = struct.unpack("=H", family)

    def close(self) -> None:
        """Give the file descriptor back."""
        self._netlink.close()

    def get(self) -> Address | None:
        """None: the kernel takes an address of the device that the packet leaves by."""
        answer = self._netlink.ask(Message(self._family, 0, _GENERIC_HEADER.pack(_SEG6_CMD_GET_TUNSRC, 1, 0)))
        source = Address(pull_attributes(answer, _GENERIC_HEADER.size)[_SEG6_ATTR_DST])
        return None if source == UNSPECIFIED else source

    def set(self, source: Address | None) -> None:
        """Packets have the new source at once; the call ends 10-20 ms later (synchronize_net). Raises
        OSError."""
        body = _GENERIC_HEADER.pack(_SEG6_CMD_SET_TUNSRC, 1, 0)
        body += attribute(_SEG6_ATTR_DST, UNSPECIFIED if source is None else source)
        self._netlink.request(Message(self._family, ACK, body))
