"""`haha hook` as a process: what it imports, when it ends, and that it always reads."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

THIRD_PARTY = """
import sys
before = set(sys.modules)
import haha_exabgp.bgp.hook
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(" ".join(sorted(new - set(sys.stdlib_module_names) - {"haha_exabgp"})))
"""


class Hook:
    """The process, with us in the place of ExaBGP."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "haha_exabgp", "hook", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._read = b""

    def say(self, text: str) -> None:
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def line(self, timeout: float = 10) -> str:
        deadline = time.monotonic() + timeout
        while b"\n" not in self._read:
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert ready, "it says nothing"
            self._read += os.read(self.process.stdout.fileno(), 65536)
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def end(self, status: int = 0) -> str:
        """ExaBGP goes; what was logged."""
        self.process.stdin.close()
        assert self.process.wait(10) == status
        return self.process.stderr.read().decode()


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    hook = Hook("--socket", str(tmp_path / "hook.sock"))
    yield hook
    hook.process.kill()
    hook.process.wait()


def test_it_imports_the_standard_library_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", THIRD_PARTY], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == []


def test_it_ends_with_exabgp_and_not_without_an_agent(hook: Hook) -> None:
    assert [hook.line(), hook.line()] == ["reset", "version"]
    assert hook.process.poll() is None
    log = hook.end()
    assert "no agent at" in log
    assert "ExaBGP is gone" in log


def test_it_ends_on_sigterm(hook: Hook) -> None:
    hook.line()
    hook.process.send_signal(signal.SIGTERM)
    assert hook.process.wait(10) == 0


def test_a_bad_command_line_is_reported_but_does_not_end_it() -> None:
    """Five deaths in a minute would end ExaBGP."""
    hook = Hook("--no-such-option")
    hook.say("something\n")
    ready, _, _ = select.select([hook.process.stderr], [], [], 10)
    assert ready
    assert hook.process.poll() is None
    assert "--socket" in hook.end(status=2)


def test_it_goes_on_reading_when_nobody_reads_what_it_says(hook: Hook) -> None:
    """ExaBGP stands still as long as a write to us blocks."""
    hook.line()
    hook.line()
    hook.say("exabgp 5.0.15\ndone\n")
    junk = "x" * 1000 + "\n"
    os.set_blocking(hook.process.stdin.fileno(), False)
    left, deadline = (junk * 20_000).encode(), time.monotonic() + 20
    while left:
        assert time.monotonic() < deadline, "standard input is not drained"
        if select.select([], [hook.process.stdin], [], 1)[1]:
            left = left[os.write(hook.process.stdin.fileno(), left[:65536]) :]
    hook.end()


def test_it_finds_the_agent_whenever_it_comes_and_survives_what_it_says(hook: Hook, tmp_path: Path) -> None:
    hook.line()
    hook.line()
    for attempt in range(2):
        path = tmp_path / "hook.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(10)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                connection.sendall(b"garbage\n\xff\xfe\n{}\n" + b"[" * 100_000 + b"\n")
                if attempt == 0:
                    hook.say("exabgp 5.0.15\ndone\n")
                    assert hook.line() == "show neighbor json"
                    hook.say('[{"peer": {"address": "2001:db8::2"}, "fsm": "IDLE"}]\ndone\n')
                received = b""
                while b'"state":"down"' not in received:
                    received += connection.recv(65536)
                assert received.startswith(b'{"type":"hello","version":1,"exabgp":"5.0.15"}\n')
    assert "not a message" in hook.end()
