"""`haha hook`: the process that ExaBGP runs, the asyncio shell around `Bridge`.

ExaBGP writes to our standard input with a blocking write: while we do not read, the whole speaker stands
still and its sessions end. So reading comes first; our own output waits in buffers with a bound. ExaBGP ends
itself when its process dies five times in a minute: this one ends only when standard input does, which means
that ExaBGP is gone, or on SIGTERM. Whatever else goes wrong is logged, to standard error, and lived with.
The log is written by a thread of its own: nobody may be reading that either.

Only the standard library is imported here, and nothing that imports more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import queue
import signal
import sys
import time
from collections.abc import Sequence
from logging.handlers import QueueHandler, QueueListener
from typing import Any

from .agent_link import AgentLink
from .bridge import DEFAULT_LEASE, Bridge

_STDIN, _STDOUT = 0, 1
_READ_SIZE = 256 * 1024
_LOG_BACKLOG = 1000
"""Lines; more are lost while nobody reads standard error."""
_LAST_WORDS = 0.5
"""Seconds the log has to be written at the end."""

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run until ExaBGP is gone; exit status 0. With a bad command line: complain, announce nothing, but stay,
    or ExaBGP ends itself."""
    records = _start_log()
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as error:
        if error.code and not os.isatty(_STDIN):
            while os.read(_STDIN, _READ_SIZE):
                pass
        return int(error.code or 0)
    status = asyncio.run(_run(arguments))
    deadline = time.monotonic() + _LAST_WORDS
    while records.unfinished_tasks and time.monotonic() < deadline:
        time.sleep(0.005)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="haha hook", description="The process that ExaBGP runs.")
    parser.add_argument("--socket", required=True, metavar="FILE", help="the agent's UNIX socket")
    parser.add_argument(
        "--lease",
        type=float,
        default=DEFAULT_LEASE,
        metavar="SECONDS",
        help="how long routes found at the start stay while no agent has been seen (default: %(default)g)",
    )
    return parser


class _DroppingHandler(QueueHandler):
    """Hands records to the thread that writes them, and never waits for it."""

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


def _start_log() -> queue.Queue[logging.LogRecord]:
    records: queue.Queue[logging.LogRecord] = queue.Queue(_LOG_BACKLOG)
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(logging.Formatter("haha hook: %(levelname)s %(message)s"))
    QueueListener(records, writer).start()
    root = logging.getLogger()
    root.addHandler(_DroppingHandler(records))
    root.setLevel(logging.INFO)
    return records


async def _run(arguments: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_exception)
    hook = _Hook(arguments.socket, arguments.lease)
    loop.add_signal_handler(signal.SIGTERM, hook.stop)
    link = loop.create_task(hook.link.run())
    hook.start()
    await hook.stopped.wait()
    link.cancel()
    return 0


def _log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("%s", context.get("message"), exc_info=context.get("exception"))


class _Hook:
    """Moves bytes between file descriptors and the bridge."""

    def __init__(self, path: str, lease: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._bridge = Bridge(self._loop.time(), lease)
        self.link = AgentLink(path, self)
        self.stopped = asyncio.Event()
        self._output = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        os.set_blocking(_STDIN, False)
        os.set_blocking(_STDOUT, False)
        self._loop.add_reader(_STDIN, self._readable)
        self._flush()

    def stop(self) -> None:
        self._loop.remove_reader(_STDIN)
        self.stopped.set()

    # For AgentLink.

    def agent_connected(self) -> None:
        self._bridge.agent_connected(self._loop.time())
        self._flush()

    def agent_lost(self) -> None:
        self._bridge.agent_lost(self._loop.time())
        self._flush()

    def receive_from_agent(self, line: bytes) -> None:
        try:
            self._bridge.receive_from_agent(line, self._loop.time())
        finally:
            self._flush()

    # For the event loop.

    def _readable(self) -> None:
        try:
            data = os.read(_STDIN, _READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            log.info("ExaBGP is gone")
            self.stop()
            return
        try:
            self._bridge.receive_from_exabgp(data, self._loop.time())
        finally:
            self._flush()

    def _due(self) -> None:
        try:
            self._bridge.handle_timer(self._loop.time())
        finally:
            self._flush()

    def _flush(self) -> None:
        self._output += self._bridge.take_commands()
        self._write()
        self.link.write(self._bridge.take_messages())
        if self._timer is not None:
            self._timer.cancel()
        due = self._bridge.next_timer()
        self._timer = None if due is None else self._loop.call_at(due, self._due)

    def _write(self) -> None:
        try:
            while self._output:
                del self._output[: os.write(_STDOUT, self._output)]
        except BlockingIOError:
            self._loop.add_writer(_STDOUT, self._write)
            return
        except OSError as error:
            log.error("cannot write to ExaBGP: %s", error)
            self._output.clear()
        self._loop.remove_writer(_STDOUT)
