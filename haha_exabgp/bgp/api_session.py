"""The conversation with ExaBGP over our standard output (commands) and input (answers and events).

Sans-IO: bytes and the time come in, bytes and results come out. ExaBGP answers each command with a line
`done` or `error`, in order and without an id, among the JSON events; so:

1. Nothing counts as an answer before `version` was answered (`commands.HANDSHAKE`): what comes earlier
   was meant for a process that ran before this one.
2. At most `WINDOW` commands are unanswered at a time: more fills the pipes of both sides while each waits
   for the other to read. An exclusive command waits until it is alone.
3. An answer nobody waits for, or none within `ANSWER_TIMEOUT`, means that the count is wrong: the
   handshake is made again, and who uses this must read back what ExaBGP has.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass

from .commands import HANDSHAKE, Command, ShowNeighbors, ShowRoutes, encode
from .events import Event, parse_event
from .lines import LineSplitter

WINDOW = 4
"""Unanswered commands: enough to keep ExaBGP busy; one more is a longer wait for an urgent one."""
ANSWER_TIMEOUT = 60.0
"""Seconds. ExaBGP answers in milliseconds; in seconds while it takes in a full table."""
LINE_LIMIT = 64 * 1024 * 1024
"""Octets: a line with 7,000 routes, the longest ExaBGP makes of one UPDATE, has 524 kB."""

_VERSION = re.compile(rb"exabgp (\d\S*)")


@dataclass(frozen=True, slots=True)
class Ready:
    """The handshake is made: commands sent from now on are answered. What was unanswered is lost, done or
    not; what ExaBGP has must be read back."""

    version: str


@dataclass(frozen=True, slots=True)
class Answered:
    """ExaBGP has carried a command out, or refused it whole."""

    command: Command
    accepted: bool


@dataclass(frozen=True, slots=True)
class Output:
    """One line of the answer to a `show` command; `Answered` follows after the last."""

    command: ShowRoutes | ShowNeighbors
    line: str


Result = Ready | Answered | Output | Event


class ApiSession:
    """Our side of the conversation with one ExaBGP process."""

    def __init__(self, now: float) -> None:
        self._lines = LineSplitter(LINE_LIMIT)
        self._to_send = bytearray()
        self._waiting: deque[tuple[Command, float]] = deque()
        self._version: str | None = None
        self._ready = False
        self._greeted_at = now
        self.counters: Counter[str] = Counter()
        """Named things that were not understood or went wrong."""
        self._greet(now)

    @property
    def ready(self) -> bool:
        """True when the handshake is made."""
        return self._ready

    def room(self, exclusive: bool = False) -> bool:
        """True when `send` takes such a command now."""
        if not self._ready:
            return False
        if exclusive:
            return not self._waiting
        return len(self._waiting) < WINDOW and not any(one.exclusive for one, _ in self._waiting)

    def send(self, command: Command, now: float) -> None:
        """Queue a command's line for sending. Raises ValueError when there is no room for it, and for
        values that `encode` refuses."""
        if not self.room(command.exclusive):
            raise ValueError("no room for a command now")
        self._to_send += encode(command)
        self._waiting.append((command, now))

    def data_to_send(self) -> bytes:
        """Take the bytes that are to be written to ExaBGP."""
        data = bytes(self._to_send)
        self._to_send.clear()
        return data

    def receive(self, data: bytes, now: float) -> list[Result]:
        """Take in bytes that ExaBGP wrote. Never raises, whatever they are."""
        results: list[Result] = []
        for line in self._lines.feed(data):
            result = self._line(line.rstrip(b"\r"), now)
            if result is not None:
                results.append(result)
        self.counters["overlong_line"] = self._lines.overlong
        return results

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        if not self._ready:
            return self._greeted_at + ANSWER_TIMEOUT
        return self._waiting[0][1] + ANSWER_TIMEOUT if self._waiting else None

    def handle_timer(self, now: float) -> None:
        """Begin again when an answer is overdue."""
        due = self.next_timer()
        if due is None or now < due:
            return
        self.counters["answer_overdue"] += 1
        if self._ready:
            self._greet(now)
        else:
            self._greeted_at = now

    def _greet(self, now: float) -> None:
        self._waiting.clear()
        self._version = None
        self._ready = False
        self._greeted_at = now
        self._to_send += HANDSHAKE

    def _line(self, line: bytes, now: float) -> Result | None:
        if line.startswith(b"{"):
            event = parse_event(line)
            if event is None:
                self.counters["unused_event"] += 1
            return event
        if not self._ready:
            return self._handshake_line(line)
        if line in (b"done", b"error"):
            return self._answer(line == b"done", now)
        command = self._waiting[0][0] if self._waiting else None
        if isinstance(command, ShowRoutes | ShowNeighbors):
            return Output(command, line.decode("utf-8", "replace"))
        if line:
            self.counters["unexpected_line"] += 1
        return None

    def _handshake_line(self, line: bytes) -> Result | None:
        if self._version is None:
            version = _VERSION.fullmatch(line)
            if version is not None:
                self._version = version[1].decode("ascii", "replace")
        elif line == b"done":
            self._ready = True
            return Ready(self._version)
        return None

    def _answer(self, accepted: bool, now: float) -> Result | None:
        if not self._waiting:
            self.counters["answer_to_nothing"] += 1
            self._greet(now)
            return None
        command, _ = self._waiting.popleft()
        if self._waiting:
            # Its own wait begins when ExaBGP turns to it.
            self._waiting[0] = (self._waiting[0][0], now)
        return Answered(command, accepted)
