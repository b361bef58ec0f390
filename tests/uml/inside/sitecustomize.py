"""Every Python inside user-mode Linux begins with this: there guards are tables of the bridge family.

The nf_tables of Debian's user-mode Linux 6.1 has no other. The rules are the guard's own, in a `bridge` table
instead of an `ip6` one: they see what comes in and goes out by a port of a bridge, whole, and nothing that
comes by another device. So a tunnelled packet is judged where the uplink is a port of a bridge; on any other
uplink loading and changing cost what they cost, and nothing is judged. On a bridge discovery does not work:
what the guard drops in transit, the agent's socket has not seen yet.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import socket
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_GUARD = "haha_exabgp.kernel.guard"
_AF_BRIDGE = 7


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for the guard to be imported: most programs do not."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _GUARD:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            _put_on_bridges(module)

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


def _put_on_bridges(guard: ModuleType) -> None:
    from haha_exabgp.kernel import nftables
    from haha_exabgp.kernel.guard_text import TABLE

    nft = guard._nft

    def nft_of_bridges(*arguments: str, text: str | None = None) -> str:
        if text is not None:
            # The bridge family has other names for priorities, and cannot ask for routes.
            lines = (line for line in text.splitlines(keepends=True) if " fib " not in line)
            text = "".join(lines).replace(f" ip6 {TABLE}", f" bridge {TABLE}")
            text = text.replace("priority raw", "priority -300")
        return nft(*arguments, text=text)

    assert nftables._HEADER.pack(socket.AF_INET6, 0, 0) == nftables._IPV6_HEADER
    nftables._IPV6_HEADER = nftables._HEADER.pack(_AF_BRIDGE, 0, 0)
    guard._nft = nft_of_bridges


sys.meta_path.insert(0, _Finder())
