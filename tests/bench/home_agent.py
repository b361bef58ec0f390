"""How many Binding Updates a Home Agent takes: new bindings, refreshes and moves, through the real sockets,
kernel and store.

    sudo .venv/bin/python -m tests.bench.home_agent [MOBILE-ROUTERS …]

Two namespaces and a veth: the Home Agent's process in one, all mobile routers in the other. For each size:
bindings are made until there are so many; all figures are of the last 20,000 (or all). `wall` is what was
answered in a second; `per core` is what the Home Agent's process would do with one core, by the CPU time that
it took (which includes the kernel's work on routes, and on both ends of the veth).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.uml.machine import INSIDE

from .bench_home import ACCESS, HOME, OUTER

HOME_AGENT = "tests.bench.bench_home"
_TICKS = os.sysconf("SC_CLK_TCK")
_MEASURED = 20_000
_WINDOW = 1024


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True)


class Bench:
    """The two namespaces and their processes."""

    def __init__(self, run_dir: Path, mobile_routers: int, program: str = HOME_AGENT) -> None:
        self.run_dir = run_dir
        self.count = mobile_routers
        self.program = program
        self.home_agent_space = f"bench-ha-{os.getpid()}"
        self.load_space = f"bench-mr-{os.getpid()}"
        self.agent: subprocess.Popen[bytes] | None = None
        self.load: subprocess.Popen[str] | None = None

    def make_spaces(self) -> None:
        """Make the namespaces, with a veth in between."""
        ha, mr = self.home_agent_space, self.load_space
        for space in (ha, mr):
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            quiet = ("net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
            subprocess.run(("ip", "netns", "exec", space, "sysctl", "-qw", *quiet), check=True)
        _ip("-n", ha, "link", "add", "wan0", "type", "veth", "peer", "name", "wan0", "netns", mr)
        for space, address in ((ha, f"{OUTER}/64"), (mr, "3fff:101::1/64")):
            _ip("-n", space, "link", "set", "wan0", "up")
            _ip("-n", space, "address", "add", address, "dev", "wan0")
        _ip("-n", ha, "route", "add", "default", "via", "3fff:101::1")
        _ip("-n", mr, "route", "add", "local", str(ACCESS), "dev", "lo")
        _ip("-n", mr, "route", "add", str(HOME), "via", str(OUTER))
        # While the other's link-layer address is not known, most of a burst is lost.
        ping = ("ping", "-q", "-c", "1", "-w", "5", str(OUTER))
        subprocess.run(("ip", "netns", "exec", mr, *ping), check=True, stdout=subprocess.DEVNULL)
        if INSIDE in os.environ:
            # That kernel knows Mobile IPv6: it complains about none of its headers.
            return
        silence = "table ip6 quiet { chain o { type filter hook output priority 0; icmpv6 type 4 drop; }\n}\n"
        subprocess.run(("ip", "netns", "exec", mr, "nft", "-f", "-"), input=silence, text=True, check=True)

    def start_load(self) -> None:
        """Start the mobile routers."""
        self.load = self._start_load()

    @contextmanager
    def flooding(self, rate: float, seconds: float) -> Iterator[subprocess.Popen[str]]:
        """Forged Binding Updates, from other places, meanwhile."""
        with self._start_load() as flooder:
            assert flooder.stdin is not None
            request = {"do": "flood", "count": self.count, "rate": rate, "seconds": seconds}
            flooder.stdin.write(json.dumps(request) + "\n")
            flooder.stdin.flush()
            yield flooder

    def _start_load(self) -> subprocess.Popen[str]:
        command = self._python(self.load_space, "tests.bench.load")
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start_agent(self) -> float:
        """Start the Home Agent. Gives the seconds until it serves."""
        began = time.monotonic()
        (self.run_dir / "control.sock").unlink(missing_ok=True)
        self.agent = subprocess.Popen(
            self._python(self.home_agent_space, self.program, str(self.run_dir), str(self.count))
        )
        while not (self.run_dir / "control.sock").exists():
            if self.agent.poll() is not None:
                raise SystemExit("the home agent has ended")
            time.sleep(0.01)
        return time.monotonic() - began

    def stop_agent(self) -> None:
        """End it; the store stays."""
        assert self.agent is not None
        self.agent.send_signal(signal.SIGTERM)
        self.agent.wait(30)

    def kill_agent(self) -> None:
        """End it as a power cut would."""
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait(30)

    def down(self) -> None:
        """End everything."""
        for process in (self.agent, self.load):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        for space in (self.home_agent_space, self.load_space):
            _ip("netns", "delete", space)

    def ask(self, **request: Any) -> Any:
        """Have the mobile routers do something, and wait for it."""
        assert self.load is not None and self.load.stdin is not None and self.load.stdout is not None
        self.load.stdin.write(json.dumps(request) + "\n")
        self.load.stdin.flush()
        return json.loads(self.load.stdout.readline())

    def cpu(self) -> float:
        """Seconds of CPU that the Home Agent's process has used."""
        assert self.agent is not None
        fields = Path(f"/proc/{self.agent.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> int:
        """Resident octets of the Home Agent's process."""
        assert self.agent is not None
        pages = Path(f"/proc/{self.agent.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @staticmethod
    def _python(space: str, *arguments: str) -> tuple[str, ...]:
        command = ("ip", "netns", "exec", space, sys.executable, "-m", *arguments)
        # On one CPU a process that a packet wakes would interrupt who is sending, packet by packet; who is
        # elsewhere is not interrupted.
        return command if len(os.sched_getaffinity(0)) > 1 else ("chrt", "--batch", "0", *command)


@contextmanager
def bench(mobile_routers: int, place: Path | None = None, program: str = HOME_AGENT) -> Iterator[Bench]:
    """A Home Agent without bindings, its store in a new folder in `place`, and its mobile routers."""
    with tempfile.TemporaryDirectory(prefix="haha-bench-", dir=place) as directory:
        one = Bench(Path(directory), mobile_routers, program)
        try:
            one.make_spaces()
            one.start_load()
            one.start_agent()
            yield one
        finally:
            one.down()


def _measure(one: Bench, name: str, **request: Any) -> dict[str, Any]:
    cpu = one.cpu()
    figures: dict[str, Any] = one.ask(**request)
    used = one.cpu() - cpu
    answered = figures["answered"]
    if answered != figures["sent"] or set(figures["statuses"]) != {"0"}:
        print(f"   {figures['sent'] - answered} unanswered, statuses {figures['statuses']}")
    each = used / answered
    times = "  ".join(f"{which} {figures[which] * 1e3:7.2f}" for which in ("p50", "p99", "max"))
    print(
        f"   {name:22} {figures['rate']:9,.0f}/s wall {1 / max(each, 1e-9):9,.0f}/s per core"
        f" {each * 1e6:7.1f} us   {times} ms"
    )
    return figures


def _size(count: int) -> None:
    print(f"{count:,} bindings")
    with bench(count) as one:
        before = one.memory()
        last = max(count - _MEASURED, 0)
        for first in range(0, last, _MEASURED):
            some = min(_MEASURED, last - first)
            one.ask(do="run", first=first, count=some, place=0, window=_WINDOW)
        measured = count - last
        new = _measure(one, "new", do="run", first=last, count=measured, place=0, window=_WINDOW)
        print(f"   memory of the agent    {(one.memory() - before) / count:7.0f} octets a binding")
        refresh = _measure(one, "refresh", do="run", first=last, count=measured, place=0, window=_WINDOW)
        _measure(one, "change of care-of", do="run", first=last, count=measured, place=1, window=_WINDOW)
        rate = refresh["rate"] / 2
        _measure(one, f"refresh at {rate:,.0f}/s", do="pace", first=last, count=measured, place=1, rate=rate)
        _measure(
            one, "de-registration", do="run", first=last, count=measured, place=1, window=_WINDOW, lifetime=0
        )
        rate = new["rate"] / 2
        _measure(one, f"new at {rate:,.0f}/s", do="pace", first=last, count=measured, place=0, rate=rate)
        one.stop_agent()
        print(f"   start with all stored  {one.start_agent():7.2f} s")


def _flood(count: int, valid: float, factor: int) -> None:
    """Refreshes at a steady rate, alone and beside so many times as many with wrong authenticators."""
    print(f"{valid:,.0f} refreshes/s beside a flood of {factor} times as many that are forged")
    with bench(count) as one:
        one.ask(do="run", first=0, count=count, place=0, window=_WINDOW)
        request = {"do": "pace", "first": 0, "count": count, "place": 0, "rate": valid}
        alone = _measure(one, "alone", **request)
        with one.flooding(valid * factor, count / valid + 4) as flooder:
            time.sleep(1)
            beside = _measure(one, "beside the flood", **request)
            assert flooder.stdin is not None and flooder.stdout is not None
            sent = json.loads(flooder.stdout.readline())
            flooder.stdin.close()
        ratio = beside["answered"] / alone["answered"]
        print(f"   answered {ratio:.3f} of what was answered alone; {sent:,} forged")


def main(sizes: list[int]) -> None:
    """Measure and print."""
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for count in sizes:
        _size(count)
    _flood(10_000, 2_000, 10)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [1_000, 10_000, 100_000])
