"""Kernel settings of the network namespace, `net.ipv6.conf.*` and `net.ipv6.neigh.*`.

Privilege: CAP_NET_ADMIN. A systemd unit must not set ProtectKernelTunables.
"""

from __future__ import annotations

from pathlib import Path

_IPV6 = Path("/proc/sys/net/ipv6")


def get_device_setting(device: str, name: str) -> int:
    """`net.ipv6.conf.DEVICE.NAME`; `all` is a device too. Raises OSError."""
    return int((_IPV6 / "conf" / device / name).read_text())


def set_device_setting(device: str, name: str, value: int) -> None:
    """Set `net.ipv6.conf.DEVICE.NAME`, unless it has the value already: for some settings writing the same
    value does things. Raises OSError."""
    if get_device_setting(device, name) != value:
        (_IPV6 / "conf" / device / name).write_text(str(value))


def set_neighbour_setting(device: str, name: str, value: int) -> None:
    """Set `net.ipv6.neigh.DEVICE.NAME`. Raises OSError."""
    (_IPV6 / "neigh" / device / name).write_text(str(value))


def enable_forwarding() -> None:
    """Forward IPv6 on every device.

    A router takes no default route from Router Advertisements unless told so, and loses the one it has
    when it becomes one: devices that listened before go on listening (accept_ra 2). Raises OSError.
    """
    for device in (_IPV6 / "conf").iterdir():
        listens = 1
        if device.name not in {"all", "default"} and get_device_setting(device.name, "accept_ra") == listens:
            set_device_setting(device.name, "accept_ra", 2)
    set_device_setting("all", "forwarding", 1)
