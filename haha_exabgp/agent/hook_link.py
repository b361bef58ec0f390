"""The agent's end of the link to the ExaBGP hook: the socket `hook.sock`.

The hook connects and is told the whole set of announcements, then every change; what it tells goes to the
core. It may come and go at any time: nothing here remembers it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..bgp.learned import Fill, LimitState
from ..bgp.lines import LineSplitter
from ..bgp.message_lines import (
    LINE_LIMIT,
    MessageError,
    decode_hook_message,
    encode_change,
    encode_wanted,
)
from ..bgp.messages import Acknowledged, Hello, HookMessage, Limit, Session
from ..protocol.routes import Announcement, Audience
from ..wire.address import Address, Prefix
from .control import bind_unix

SOCKET_NAME = "hook.sock"
_log = logging.getLogger(__name__)


class HookLink:
    """Serves one hook at a time; a new connection takes the place of the one before."""

    def __init__(
        self,
        asn: int,
        lease: float,
        groups: Mapping[Audience, tuple[Address, ...]],
        announcements: Callable[[], Iterable[Announcement]],
        *,
        limit: int | None = None,
        receive: Callable[[HookMessage], None],
        lost: Callable[[], None],
    ) -> None:
        """`announcements` gives the whole wanted set; `limit` is how many prefixes a BGP peer may announce;
        `receive` gets every message of the hook; `lost` is
        called when it has gone and no other has come in its place."""
        self._asn = asn
        self._lease = lease
        self._groups = groups
        self._announcements = announcements
        self._limit = limit
        self.limits: dict[Address, LimitState] = {}
        """Of the BGP peers that are near to their limit, or beyond."""
        self._receive = receive
        self._lost = lost
        self._writer: asyncio.StreamWriter | None = None
        self.exabgp: str | None = None
        """Version of the ExaBGP at the other end; None while there is none."""
        self.acknowledged: Acknowledged | None = None

    @property
    def connected(self) -> bool:
        """True while there is a hook at the other end."""
        return self._writer is not None

    async def serve(self, run_dir: Path, group: int) -> asyncio.Server:
        """Listen on `run_dir`/hook.sock, open to the group id that ExaBGP's user is in. Raises OSError."""
        listener = bind_unix(run_dir / SOCKET_NAME, 0o660, group)
        return await asyncio.start_unix_server(self._serve_one, sock=listener)

    def change(self, announce: Iterable[Announcement], withdraw: Iterable[tuple[Audience, Prefix]]) -> None:
        """Tell the hook what has changed, if there is one; a later one is told the whole set anyway."""
        if self._writer is not None:
            self._writer.writelines(encode_change(announce, withdraw))

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = writer
        self.exabgp = self.acknowledged = None
        self.limits.clear()
        announcements = self._announcements()
        writer.writelines(encode_wanted(self._asn, self._lease, self._groups, announcements, self._limit))
        lines = LineSplitter(LINE_LIMIT)
        try:
            while data := await reader.read(1 << 16):
                for line in lines.feed(data):
                    self._handle(line)
        except ConnectionError:
            pass
        if self._writer is writer:
            _log.warning("the ExaBGP hook has gone; what it announces stays for its lease")
            self._writer = self.exabgp = self.acknowledged = None
            self._lost()
        writer.close()

    def _handle(self, line: bytes) -> None:
        try:
            message = decode_hook_message(line, self._asn)
        except MessageError as error:
            _log.warning("hook: %s", error)
            return
        if isinstance(message, Hello):
            if self.exabgp is None:
                _log.info("hook connected, ExaBGP %s", message.exabgp)
            self.exabgp = message.exabgp
        elif isinstance(message, Acknowledged):
            self.acknowledged = message
        elif isinstance(message, Limit):
            self._note_limit(message)
        elif isinstance(message, Session):
            self.limits.pop(message.peer, None)
        self._receive(message)

    def _note_limit(self, message: Limit) -> None:
        peer, state = message.peer, message.state
        before = self.limits.pop(peer, LimitState())
        if state.fill is not Fill.FINE:
            self.limits[peer] = state
        if state.fill is before.fill:
            return
        if state.fill is Fill.EXCEEDED:
            _log.error("%s announces more than %s prefixes: the others are passed over", peer, self._limit)
        elif state.fill is Fill.WARNING:
            _log.warning("%s announces three quarters of the %s prefixes that it may", peer, self._limit)
        else:
            _log.info("%s announces no more than it may", peer)
