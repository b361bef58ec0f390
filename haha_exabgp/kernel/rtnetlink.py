"""pyroute2's sockets for devices, addresses and rules, with the kernel's refusals as OSError.

Some 1 ms to open, 0.2-1 ms a call; routes in bulk go by `netlink`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from pyroute2 import AsyncIPRoute, IPRoute
from pyroute2.netlink.exceptions import NetlinkError

RECEIVE_BUFFER = 1 << 20


@contextmanager
def open_blocking() -> Iterator[Any]:
    """An `IPRoute` in the network namespace of this thread. Raises RuntimeError, from its first call, in a
    thread whose event loop runs."""
    with _refusals_as_os_error(), IPRoute(ext_ack=True) as ipr:
        yield ipr


@asynccontextmanager
async def open_in_loop(receive_buffer: int = RECEIVE_BUFFER) -> AsyncIterator[Any]:
    """An `AsyncIPRoute` in the network namespace of this thread."""
    with _refusals_as_os_error():
        async with AsyncIPRoute(ext_ack=True, rcvbuf=receive_buffer) as ipr:
            yield ipr


@contextmanager
def _refusals_as_os_error() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, error.args[1]) from error
