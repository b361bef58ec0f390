"""This host's own addresses inside tunnels. They stand on lo.

Privilege: CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
from collections.abc import Set as AbstractSet

from ..wire.address import Address, Prefix
from .links import add_address, addresses, delete_address, find_link, set_link_up
from .rtnetlink import open_blocking

_LOOPBACK = "lo"


def set_inner_addresses(inner: AbstractSet[Address]) -> None:
    """Put these on lo, and take others of ours off it. Blocks some ms; safe in a thread. Raises OSError."""
    with open_blocking() as ipr:
        loopback = find_link(ipr, _LOOPBACK)
        if loopback is None:
            raise OSError(errno.ENODEV, f"no device {_LOOPBACK}")
        set_link_up(ipr, loopback)
        on_loopback = addresses(ipr, loopback.index)
        for address in inner - {entry.address for entry in on_loopback}:
            add_address(ipr, loopback.index, Prefix.host(address))
        for entry in on_loopback:
            if entry.ours and entry.address not in inner:
                delete_address(ipr, loopback.index, Prefix(entry.address, entry.length))
