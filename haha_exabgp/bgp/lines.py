"""Bytes in any portions -> whole lines, with a limit on their length."""

from __future__ import annotations


class LineSplitter:
    """Cuts a byte stream at newlines. A line of 500 kB that arrives in 64 kB portions is joined once,
    not copied at every portion."""

    def __init__(self, limit: int) -> None:
        """`limit` is the longest line accepted, in octets, its newline not counted."""
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0
        self._skipping = False
        self.overlong = 0
        """Lines that were longer than the limit and dropped."""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newlines."""
        first, *rest = data.split(b"\n")
        self._append(first)
        if not rest:
            return []
        lines: list[bytes] = []
        self._finish(lines)
        for line in rest[:-1]:
            self._append(line)
            self._finish(lines)
        self._append(rest[-1])
        return lines

    def _append(self, part: bytes) -> None:
        if self._skipping:
            return
        self._length += len(part)
        if self._length > self._limit:
            self._skipping = True
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _finish(self, lines: list[bytes]) -> None:
        if self._skipping:
            self.overlong += 1
        else:
            lines.append(b"".join(self._parts))
        self._parts.clear()
        self._length = 0
        self._skipping = False
