"""The control socket: one JSON request a line, one JSON answer a line, for `haha` and for scripts.

{"show": "bindings"}                          ->  {"rows": [...]}     or  {"error": "..."}
{"show": "mobile-router", "of": "mr1"}        ->  {"rows": [...]}     or  {"error": "..."}
{"do": "reload"}                              ->  {"rows": [...]}     or  {"error": "..."}
{"do": "switch", "mobile_routers": ["mr1"], "to": ["ha2"]}
{"do": "drain", "rate": 5}

What stands beside the name are the keyword arguments of the function that answers, of the types that it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

SOCKET_NAME = "control.sock"
_REQUEST_LIMIT = 64 * 1024
"""Octets in a request."""
_ANSWER_TIMEOUT = 10.0
"""Seconds that `ask` waits."""

Rows = list[dict[str, Any]]
Argument = str | bool | float | list[str]
Views = Mapping[str, Callable[..., Rows | Awaitable[Rows]]]
"""By name; called with what is asked beside the name. Parameters are annotated as `str`, `str | None`,
`bool`, `float` or `list[str]`, and take keywords."""


class ControlError(Exception):
    """The daemon cannot be asked, does not know what was asked, or cannot do it."""


async def serve_control(run_dir: Path, views: Views, actions: Views | None = None) -> asyncio.Server:
    """Answer on `run_dir`/control.sock, which only its owner may open. `actions` change something. Both may
    raise ControlError."""
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
        asked, arguments = _read_request(line, known)
        rows = asked(**arguments)
        return {"rows": rows if isinstance(rows, list) else await rows}
    except (OSError, ControlError) as error:
        return {"error": str(error)}


def _read_request(
    line: bytes, known: Mapping[str, Views]
) -> tuple[Callable[..., Rows | Awaitable[Rows]], dict[str, Argument]]:
    try:
        arguments = dict(json.loads(line))
        (kind,) = known.keys() & arguments.keys()
        name = str(arguments.pop(kind))
    except (ValueError, TypeError) as error:
        raise ControlError('not a request; write {"show": WHAT} or {"do": WHAT}') from error
    asked = known[kind].get(name)
    if asked is None:
        others = ", ".join(known[kind]) or "nothing"
        raise ControlError(f"this daemon cannot {kind} {name}; what it can {kind}: {others}")
    try:
        inspect.signature(asked).bind(**arguments)
    except TypeError as error:
        if "of" in arguments:
            raise ControlError(f"{name} is of nobody in particular: {arguments['of']}") from error
        raise ControlError(f"{name}: {error}") from error
    hints = get_type_hints(asked)
    for key, value in arguments.items():
        if not _fits(value, hints.get(key, str)):
            raise ControlError(f"{name}: {key} cannot be {json.dumps(value)}")
    return asked, arguments


def _fits(value: object, kind: object) -> bool:
    if kind is bool:
        return isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, str)


def ask(run_dir: Path, name: str, request: str = "show", **arguments: Argument) -> Rows:
    """Ask a running daemon for a view, or with "do" for an action. Raises ControlError."""
    path = run_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_TIMEOUT)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps({request: name, **arguments}).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}; is the daemon running?") from error
        except ValueError as error:
            raise ControlError(f"{path}: the answer cannot be read") from error
    if "error" in answer:
        raise ControlError(answer["error"])
    rows: Rows = answer["rows"]
    return rows
