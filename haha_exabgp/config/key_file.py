"""Key files: hexadecimal digits, readable by their owner only. 16 octets, or more for HMAC-SHA256."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import stat
from pathlib import Path

from ..wire.authentication import Algorithm

KEY_OCTETS = 16
"""RFC 4285 s.5.1 leaves the length open; 16 is what its shared-key extension is used with."""
_ALLOWED_OCTETS = {Algorithm.HMAC_SHA1: range(16, 17), Algorithm.HMAC_SHA256: range(16, 65)}
"""For HMAC-SHA256 up to the block size of SHA-256: what is longer is hashed first (RFC 2104 s.3)."""
_MADE_OCTETS = {Algorithm.HMAC_SHA1: KEY_OCTETS, Algorithm.HMAC_SHA256: 32}
"""RFC 2104 s.3: a key shorter than the hash weakens it."""

_CONTENT = re.compile(rb"((?:[0-9A-Fa-f]{2})+)\s*")
_MAX_FILE_OCTETS = 4096


class KeyFileError(Exception):
    """A key file that exists and cannot be used. Never holds what the file holds."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def is_key(key: bytes, algorithm: Algorithm) -> bool:
    """True when a key has a length that fits the algorithm."""
    return len(key) in _ALLOWED_OCTETS[algorithm]


def wanted_digits(algorithm: Algorithm) -> str:
    """How many hexadecimal digits a key has, in words."""
    allowed = _ALLOWED_OCTETS[algorithm]
    least, most = 2 * allowed.start, 2 * (allowed.stop - 1)
    return f"{least}" if least == most else f"{least} to {most}"


def new_key(algorithm: Algorithm = Algorithm.HMAC_SHA1) -> bytes:
    """A random key of the length that fits the algorithm."""
    return os.urandom(_MADE_OCTETS[algorithm])


def check_private(name: str, status: os.stat_result, remedy: str) -> None:
    """Raises KeyFileError when others than its owner can touch a file or directory."""
    if status.st_mode & 0o077:
        raise KeyFileError(f"{name} is open to others (mode {stat.S_IMODE(status.st_mode):04o})", remedy)


def read_key(file: Path, algorithm: Algorithm = Algorithm.HMAC_SHA1) -> bytes:
    """The key in a file. Raises FileNotFoundError and KeyFileError.

    What is judged is the opened file itself, so that another cannot be put in its place in between.
    """
    name = f'"{file}"'
    try:
        # O_NONBLOCK: opening a FIFO would wait for its writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            regular = stat.S_ISREG(status.st_mode)
            content = os.read(descriptor, _MAX_FILE_OCTETS) if regular else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ELOOP:
            raise KeyFileError(f"{name} is a symbolic link", "name the file itself") from error
        raise KeyFileError(f"{name} cannot be read: {_reason(error)}", "name a readable file") from error
    if not regular:
        raise KeyFileError(f"{name} is not a regular file", "name a file that holds the key")
    check_private(name, status, f"run: chmod 600 {shlex.quote(str(file))}")
    found = _CONTENT.fullmatch(content)
    key = bytes.fromhex(found[1].decode("ascii")) if found else b""
    if not is_key(key, algorithm):
        raise KeyFileError(
            f"{name} does not hold a key (size in octets: {len(content)})",
            f"put {wanted_digits(algorithm)} hexadecimal digits into it, or remove it and let haha keys"
            " make one",
        )
    return key


def make_private(file: Path, content: bytes) -> bool:
    """Make a file of mode 0600 with this content, on disk when it returns; False when there is one
    already. Raises KeyFileError."""
    try:
        _make_directory(file.parent)
        return _make(file, content)
    except (OSError, ValueError) as error:
        problem = f'"{file}" cannot be made: {_reason(error)}'
        raise KeyFileError(problem, "make its directory writable, or name another file") from error


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        _make_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _make(file: Path, content: bytes) -> bool:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    try:
        with open(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            file.unlink()
        raise
    return True


def _reason(error: OSError | ValueError) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
