"""A byte stream is cut at newlines, whatever the portions."""

from __future__ import annotations

import time

from haha_exabgp.bgp.lines import LineSplitter


def test_lines_come_out_when_their_newline_does() -> None:
    lines = LineSplitter(100)
    assert lines.feed(b"do") == []
    assert lines.feed(b"ne\nerr") == [b"done"]
    assert lines.feed(b"or\n\n{}\n") == [b"error", b"", b"{}"]


def test_a_line_beyond_the_limit_is_dropped_and_the_next_one_is_not() -> None:
    lines = LineSplitter(10)
    assert lines.feed(b"0123456789\n") == [b"0123456789"]
    assert lines.feed(b"01234567890\nfits\n") == [b"fits"]
    assert lines.feed(b"0123456") == []
    assert lines.feed(b"789" * 50) == []
    assert lines.feed(b"end\nfits\n") == [b"fits"]
    assert lines.overlong == 2


def test_a_long_line_in_small_portions_costs_no_more_than_its_length() -> None:
    lines = LineSplitter(64 * 1024 * 1024)
    started = time.perf_counter()
    for _ in range(20_000):
        lines.feed(b"x" * 1000)
    (line,) = lines.feed(b"\n")
    assert len(line) == 20_000_000
    assert time.perf_counter() - started < 2
