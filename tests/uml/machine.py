"""User-mode Linux: a whole Linux 6.1 as a process, which has ip6tnl, ESP, netem and Mobile IPv6.

It boots in 2 s from the host's own file system. Of nf_tables it has the bridge family only (see
`inside/sitecustomize.py`), and no seg6. A system call takes some 25 us there, and it has one CPU: compare
speeds only with speeds measured inside. Debian packages: user-mode-linux, kmod.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
INSIDE = "HAHA_UML"
"""Set in the environment of everything that runs inside: the folder of the run."""

_HERE = Path(__file__).parent
_KERNEL = "linux.uml"
_MODULES = (
    "ipv6 veth bridge dummy tun ip6_tunnel mip6 sch_netem sch_ingress cls_flower act_gact"
    " nf_tables nft_limit nft_log nfnetlink_log nft_objref nft_ct nft_reject nft_hash nf_conntrack_bridge"
    " xfrm_user xfrm6_tunnel esp6 cbc aes_generic hmac sha1_generic sha512_generic drbg jitterentropy_rng"
    " authenc echainiv"
)
"""What the kernel would load by itself if it could; ESP needs drbg and what follows."""

_SSE_ONLY = (
    "GLIBC_TUNABLES=glibc.cpu.hwcaps="
    "-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX_Fast_Unaligned_Load,-FMA,-FMA4",
    "OPENSSL_ia32cap=~0x1800000000000000:0",
)
"""On the kernel's command line: init's environment, and so everybody's."""


class CannotBoot(Exception):
    """Why there is no user-mode Linux here."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is None where the command did not end in time; `console` is what the kernel said."""

    status: int | None
    stdout: str
    stderr: str
    console: str


def boot(
    command: Sequence[str],
    folder: Path,
    *,
    timeout: float,
    memory: str = "768M",
    stdout: IO[str] | None = None,
    stderr: IO[str] | None = None,
) -> Outcome:
    """Run a command as root inside, in the project's root and with its environment, and give what became of
    it. Its output goes to `stdout` and `stderr` too, as it comes. `folder` must exist; the command may leave
    results in it. After `timeout` seconds everything is killed. Raises CannotBoot."""
    kernel = shutil.which(_KERNEL)
    if kernel is None:
        raise CannotBoot(f"there is no {_KERNEL}: apt-get install user-mode-linux kmod")
    environment = {
        "PYTHONPATH": f"{ROOT}:{_HERE / 'inside'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        INSIDE: str(folder),
    }
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    (folder / "command").write_text("".join([*exports, f"cd {ROOT}\n", f"exec {shlex.join(command)}\n"]))
    (folder / "modules").write_text(_MODULES)
    output, errors = _Copy(stdout), _Copy(stderr)
    with (folder / "console").open("w") as console, output, errors:
        process = subprocess.Popen(
            _command_line(kernel, memory, folder, output.writing, errors.writing),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            pass_fds=(output.writing, errors.writing),
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # What runs inside are processes of the host, in one group.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    said = (folder / "console").read_text(errors="replace")
    if not (folder / "started").exists():
        raise CannotBoot(f"{_KERNEL} does not start here: {_cause(said)}")
    status = folder / "status"
    return Outcome(int(status.read_text()) if status.exists() else None, output.text, errors.text, said)


def _command_line(kernel: str, memory: str, folder: Path, output: int, errors: int) -> list[str]:
    """`output` and `errors`: file descriptors for what the command inside writes."""
    wide_registers = "amx_tile" in Path("/proc/cpuinfo").read_text()
    return [
        *((sys.executable, str(_HERE / "without_xstate.py")) if wide_registers else ()),
        *(kernel, f"mem={memory}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw"),
        *(f"init={_HERE / 'init.sh'}", f"uml_dir={folder}/", "quiet", "con=null", "con0=null,fd:1"),
        *(f"ssl0=null,fd:{output}", f"ssl1=null,fd:{errors}", f"{INSIDE}={folder}"),
        *(_SSE_ONLY if wide_registers else ()),
    ]


def _cause(console: str) -> str:
    lines = [line for line in console.splitlines() if line.strip()]
    panics = [number for number, line in enumerate(lines) if "panic" in line]
    return " / ".join(lines[max(panics[0] - 1, 0) : panics[0] + 1] if panics else lines[-2:])


class _Copy:
    """A pipe out of the machine: everything is kept, and passed on where somebody listens."""

    def __init__(self, listener: IO[str] | None) -> None:
        self._reading, self.writing = os.pipe()
        self._listener = listener
        self._parts: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        os.close(self.writing)
        self._thread.join(5)

    def _run(self) -> None:
        with os.fdopen(self._reading, errors="replace") as pipe:
            for line in pipe:
                self._parts.append(line)
                if self._listener is not None:
                    self._listener.write(line)
                    self._listener.flush()
