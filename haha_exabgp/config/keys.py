"""Key files: 16 octets as 32 hexadecimal digits, readable by their owner only.

A mobile router must not need, nor have, the keys of others: a `KeyScope` says which ones are looked at.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .errors import KeyPath
from .schema import HomeConfig

KEY_OCTETS = 16
"""RFC 4285 s.5.1 leaves the length open; 16 is what its shared-key extension is used with."""

_CONTENT = re.compile(rb"[0-9A-Fa-f]{%d}\s*" % (2 * KEY_OCTETS))
_MAX_FILE_OCTETS = 4096

KeyScope = Callable[[KeyPath], bool]
"""Whether the key file named at this place of the configuration is wanted on this host."""


def every_key(_: KeyPath) -> bool:
    """For a Home Agent, and for `haha check` where all keys are made."""
    return True


def no_key(_: KeyPath) -> bool:
    """For what reads the configuration only."""
    return False


def key_of_mobile_router(name: str) -> KeyScope:
    """For a mobile router: its own key and no other."""
    return lambda key: key == ("mobile_routers", name, "key_file")


def key_files(config: HomeConfig) -> Iterator[tuple[KeyPath, Path]]:
    """Every key file that the configuration names, as written there."""
    yield ("home", "mesh_key_file"), config.home.mesh_key_file
    yield ("home", "bgp_key_file"), config.home.bgp_key_file
    for name, mobile_router in config.mobile_routers.items():
        yield ("mobile_routers", name, "key_file"), mobile_router.key_file


class KeyFileError(Exception):
    """A key file that exists and cannot be used. Never holds what the file holds."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def read_key(file: Path) -> bytes:
    """The 16 octets of a key file. Raises FileNotFoundError and KeyFileError.

    What is judged is the opened file itself, so that another cannot be put in its place in between.
    """
    name = f'"{file}"'
    try:
        # O_NONBLOCK: opening a FIFO would wait for its writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            content = os.read(descriptor, _MAX_FILE_OCTETS) if stat.S_ISREG(mode) else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ELOOP:
            raise KeyFileError(f"{name} is a symbolic link", "name the file itself") from error
        raise KeyFileError(f"{name} cannot be read: {_reason(error)}", "name a readable file") from error
    if not stat.S_ISREG(mode):
        raise KeyFileError(f"{name} is not a regular file", "name a file that holds the key")
    if mode & 0o077:
        problem = f"{name} is open to others (mode {stat.S_IMODE(mode):04o})"
        raise KeyFileError(problem, f"run: chmod 600 {shlex.quote(str(file))}")
    if not _CONTENT.fullmatch(content):
        raise KeyFileError(
            f"{name} does not hold a key (size in octets: {len(content)})",
            f"put {2 * KEY_OCTETS} hexadecimal digits into it, or remove it and let haha keys make one",
        )
    return bytes.fromhex(content.decode("ascii"))


def make_missing(files: Iterable[Path]) -> Iterator[Path]:
    """Make each key file that does not exist, and give its name once made. Raises KeyFileError.

    Files get mode 0600 and random content; directories, where they are missing, mode 0700.
    """
    for file in files:
        try:
            _make_directory(file.parent)
            made = _make(file)
        except (OSError, ValueError) as error:
            problem = f'"{file}" cannot be made: {_reason(error)}'
            raise KeyFileError(problem, "make its directory writable, or name another file") from error
        if made:
            yield file


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        _make_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _make(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    try:
        with open(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(os.urandom(KEY_OCTETS).hex().encode("ascii") + b"\n")
            stream.flush()
            os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            file.unlink()
        raise
    return True


def _reason(error: OSError | ValueError) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
