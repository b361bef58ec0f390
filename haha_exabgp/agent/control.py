"""The control socket: one JSON request a line, one JSON answer a line, for `haha show` and for scripts.

{"show": "bindings"}                          ->  {"rows": [...]}     or  {"error": "..."}
{"show": "mobile-router", "of": "mr1"}        ->  {"rows": [...]}     or  {"error": "..."}
{"do": "reload"}                              ->  {"rows": [...]}     or  {"error": "..."}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

SOCKET_NAME = "control.sock"
_REQUEST_LIMIT = 64 * 1024
"""Octets in a request."""
_ANSWER_TIMEOUT = 10.0
"""Seconds that `ask` waits."""

Rows = list[dict[str, Any]]
Views = Mapping[str, Callable[..., Rows | Awaitable[Rows]]]
"""By name; called without arguments, or with what the view is asked to be of."""


class ControlError(Exception):
    """The daemon cannot be asked, does not know what was asked, or cannot do it."""


async def serve_control(run_dir: Path, views: Views, actions: Views | None = None) -> asyncio.Server:
    """Answer on `run_dir`/control.sock, which only its owner may open. `actions` change something; they
    may raise ControlError."""
    known = {"show": views, "do": actions or {}}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, known)).encode() + b"\n")
                await writer.drain()
        writer.close()

    path = run_dir / SOCKET_NAME
    listener = bind_unix(path, 0o600)
    return await asyncio.start_unix_server(answer, sock=listener, limit=_REQUEST_LIMIT)


def bind_unix(path: Path, mode: int, group: int = -1) -> socket.socket:
    """A UNIX stream socket at `path`, in place of a leftover one, with this mode and group from the
    first moment on. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    path.unlink(missing_ok=True)
    before = os.umask(0o777)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    if group != -1:
        os.chown(path, -1, group)
    os.chmod(path, mode)
    return listener


async def _answer(line: bytes, known: Mapping[str, Views]) -> dict[str, Any]:
    try:
        request = json.loads(line)
        of = [str(request.pop("of"))] if "of" in request else []
        ((kind, name),) = request.items()
        asked = known[kind][name]
    except (ValueError, KeyError, TypeError, AttributeError):
        return {
            "error": "unknown request; known are: "
            + ", ".join(name for one in known.values() for name in one)
        }
    try:
        rows = asked(*of)
        return {"rows": rows if isinstance(rows, list) else await rows}
    except TypeError:
        if not of:
            raise
        return {"error": f"{name} is of nobody in particular: {of[0]}"}
    except (OSError, ControlError) as error:
        return {"error": str(error)}


def ask(run_dir: Path, name: str, request: str = "show", of: str | None = None) -> Rows:
    """Ask a running daemon for a view, or with "do" for an action; `of` says of whom. Raises
    ControlError."""
    path = run_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_TIMEOUT)
        try:
            connection.connect(str(path))
            question = {request: name} if of is None else {request: name, "of": of}
            connection.sendall(json.dumps(question).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}; is the daemon running?") from error
        except ValueError as error:
            raise ControlError(f"{path}: the answer cannot be read") from error
    if "error" in answer:
        raise ControlError(answer["error"])
    rows: Rows = answer["rows"]
    return rows
