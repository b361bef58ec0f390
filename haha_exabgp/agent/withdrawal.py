"""Takes back all that ExaBGP announces for a Home Agent whose agent has been stopped for good.

RFC 8538 has the Hard Reset for that. ExaBGP 5 sends none: where graceful restart is agreed on it ends a
session without a word, whatever it was told to (`reactor/peer.py`), and its peers keep the routes. So each
route is withdrawn while the session is up.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from ..bgp.messages import Acknowledged, HookMessage
from .hook_link import SOCKET_NAME, HookLink

HOOK_PATIENCE = 5.0
"""Seconds for the hook to come, which tries every two, and again for its answer."""
ROUTES_A_SECOND = 3000
"""That ExaBGP sends to its peers, after it has acknowledged."""
_LEASE = 60.0


async def withdraw_all(run_dir: Path) -> int:
    """Have the hook withdraw everything, in place of the agent of this run directory; gives how many routes
    there were. Raises OSError, TimeoutError when no hook comes or ExaBGP does not acknowledge."""
    group = (run_dir / SOCKET_NAME).stat().st_gid
    done = asyncio.Event()
    most = 0

    def receive(message: HookMessage) -> None:
        nonlocal most
        if isinstance(message, Acknowledged):
            most = max(most, message.routes)
            if not (message.routes or message.pending):
                done.set()

    link = HookLink(0, _LEASE, {}, lambda: (), receive=receive, lost=lambda: None)
    server = await link.serve(run_dir, group)
    try:
        async with asyncio.timeout(HOOK_PATIENCE):
            while not link.connected:
                await asyncio.sleep(0.05)
        async with asyncio.timeout(HOOK_PATIENCE + most / ROUTES_A_SECOND):
            await done.wait()
        # What is acknowledged is still to be sent.
        await asyncio.sleep(1 + most / ROUTES_A_SECOND)
    finally:
        server.close()
    return most
