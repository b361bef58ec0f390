"""The hook's end of the UNIX socket to the agent: connects, for ever, and cuts what comes into lines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from .lines import LineSplitter
from .message_lines import LINE_LIMIT

FIRST_RETRY = 0.1
LAST_RETRY = 2.0
"""Seconds between two attempts to connect; doubled from the first to the last."""
BACKLOG_LIMIT = 64 * 1024 * 1024
"""Octets an agent may leave unread before it is hung up on. It is told everything again when it
reconnects, whereas the hook must not stop to read from ExaBGP for its sake."""

log = logging.getLogger(__name__)


class AgentListener(Protocol):
    """What the link tells of the agent."""

    def agent_connected(self) -> None: ...

    def agent_lost(self) -> None: ...

    def receive_from_agent(self, line: bytes) -> None: ...


class AgentLink:
    """One connection at a time to the agent's socket."""

    def __init__(self, path: str, listener: AgentListener) -> None:
        self._path = path
        self._listener = listener
        self._connection: _Connection | None = None
        self._retry = FIRST_RETRY
        self._last_error = ""

    async def run(self) -> None:
        """Connect and connect again until cancelled."""
        while True:
            try:
                await self._connection_life()
            except OSError as error:
                if str(error) != self._last_error:
                    log.warning("no agent at %s: %s", self._path, error)
                    self._last_error = str(error)
            except Exception:
                log.exception("the link to the agent failed")
            await asyncio.sleep(self._retry)
            self._retry = min(self._retry * 2, LAST_RETRY)

    def write(self, lines: Iterable[bytes]) -> None:
        """Send lines to the agent; without one they are lost, and told again when it is back."""
        if self._connection is not None:
            self._connection.write(lines)

    async def _connection_life(self) -> None:
        _, connection = await asyncio.get_running_loop().create_unix_connection(
            lambda: _Connection(self._connected, self._received), self._path
        )
        await connection.closed
        log.warning("the connection to the agent is gone")
        self._last_error = ""
        self._connection = None
        self._listener.agent_lost()

    def _connected(self, connection: _Connection) -> None:
        log.info("connected to the agent")
        self._connection = connection
        self._listener.agent_connected()

    def _received(self, line: bytes) -> None:
        self._retry = FIRST_RETRY
        self._listener.receive_from_agent(line)


class _Connection(asyncio.Protocol):
    def __init__(self, connected: Callable[[_Connection], None], received: Callable[[bytes], None]) -> None:
        self._connected = connected
        self._received = received
        self._lines = LineSplitter(LINE_LIMIT)
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connected(self)

    def data_received(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._received(line)
        if self._lines.overlong:
            self._hang_up(f"sent a line of more than {LINE_LIMIT} octets")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    def write(self, lines: Iterable[bytes]) -> None:
        if self._transport is None:
            return
        self._transport.writelines(lines)
        if self._transport.get_write_buffer_size() > BACKLOG_LIMIT:
            self._hang_up(f"leaves more than {BACKLOG_LIMIT} octets unread")

    def _hang_up(self, reason: str) -> None:
        if self._transport is not None:
            log.error("hanging up on the agent: it %s", reason)
            self._transport.abort()
            self._transport = None
