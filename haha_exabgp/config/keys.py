"""Which keys there are in a Home: those that the configuration names, and those of mobile routers that name
none, which are found in the directory of keys by their file names:

    <mobile router>.<SPI>.key                 HMAC-SHA1
    <mobile router>.<SPI>.hmac-sha256.key     HMAC-SHA256

Of several in the directory a mobile router signs with the one of the highest SPI, and its Home Agents take
each: so a key is changed by putting a file beside the old one, here and there, without editing anything.

A mobile router must not need, nor have, the keys of others: a `KeyScope` says which ones are looked at.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..wire.authentication import HMAC_SHA1_SPI, Algorithm
from .errors import KeyPath
from .key_file import KeyFileError, check_private, make_private, new_key
from .schema import HomeConfig, Key, KeyAlgorithm, MobileRouter

FIRST_SPI = 256
"""0-255 are reserved (RFC 4285 s.5)."""
LAST_SPI = 4294967295
_FIRST_SPI_MADE = 4096

_FILE_NAME = re.compile(r"([a-z][a-z0-9-]{0,14})\.([1-9][0-9]{2,9})(?:\.(hmac-sha256))?\.key")

KeyScope = Callable[[HomeConfig, KeyPath, bool], bool]
"""Whether a key is wanted on this host, by its place in the configuration and whether it is the one that
its owner signs with."""


def every_key(_: HomeConfig, __: KeyPath, ___: bool) -> bool:
    """For `haha check` where all keys are made."""
    return True


def no_key(_: HomeConfig, __: KeyPath, ___: bool) -> bool:
    """For what reads the configuration only."""
    return False


def key_of_mobile_router(name: str) -> KeyScope:
    """For a mobile router: the keys that it signs with and no others."""
    return lambda _, place, signs: signs and place[:2] == ("mobile_routers", name)


def keys_of_home_agent(name: str) -> KeyScope:
    """For a Home Agent: those of the Home, and of the mobile routers whose keys it is to have."""

    def is_wanted(config: HomeConfig, place: KeyPath, _: bool) -> bool:
        return place[0] != "mobile_routers" or has_keys(config.mobile_routers[str(place[1])], name)

    return is_wanted


def has_keys(router: MobileRouter, home_agent: str) -> bool:
    """Whether a Home Agent has the keys of this mobile router."""
    return router.keys_at is None or home_agent in router.keys_at


class NamedKey(NamedTuple):
    """One key file of the Home. `place`: where the configuration names it, or the mobile router for which
    it was found; `file`: relative to the configuration's directory."""

    place: KeyPath
    file: Path
    spi: int
    algorithm: Algorithm = Algorithm.HMAC_SHA1
    signs: bool = True


def key_files(config: HomeConfig) -> Iterator[tuple[KeyPath, Path]]:
    """The place and the file of every key that the configuration names."""
    return ((key.place, key.file) for key in named_keys(config))


def named_keys(config: HomeConfig) -> Iterator[NamedKey]:
    """Every key that the configuration names, in the file's order."""
    yield NamedKey(("home", "mesh_key_file"), config.home.mesh_key_file, config.home.mesh_spi)
    yield NamedKey(("home", "bgp_key_file"), config.home.bgp_key_file, 0)
    for name, router in config.mobile_routers.items():
        yield from keys_named_for(config, name)
        if router.aaa_key_file is not None:
            yield NamedKey(("mobile_routers", name, "aaa_key_file"), router.aaa_key_file, HMAC_SHA1_SPI)


def keys_named_for(config: HomeConfig, name: str) -> list[NamedKey]:
    """The keys that the configuration names for one mobile router, the one that it signs with first. A key
    without a file has one in the directory of keys."""
    keys: list[NamedKey] = []
    for place, key in placed_keys(name, config.mobile_routers[name]):
        algorithm = key.algorithm.algorithm
        if key.key_file is not None:
            keys.append(NamedKey((*place, "key_file"), key.key_file, key.spi, algorithm, not keys))
        elif config.home.key_directory is not None:
            file = config.home.key_directory / file_name(name, key.spi, algorithm)
            keys.append(NamedKey((*place, "spi"), file, key.spi, algorithm, not keys))
    return keys


def placed_keys(name: str, router: MobileRouter) -> Iterator[tuple[KeyPath, Key]]:
    """The keys of a mobile router as written, each with its place: the short form is one too."""
    place: KeyPath = ("mobile_routers", name)
    if router.spi is not None:
        yield place, Key(spi=router.spi, key_file=router.key_file)
    for index, key in enumerate(router.keys):
        yield (*place, "keys", index), key


def uses_directory(router: MobileRouter) -> bool:
    """True when all keys of a mobile router are what the directory of keys holds of it."""
    return router.spi is None and not router.keys


def file_name(name: str, spi: int, algorithm: Algorithm) -> str:
    """The name of a key file in the directory of keys."""
    middle = "" if algorithm is Algorithm.HMAC_SHA1 else f".{KeyAlgorithm[algorithm.name]}"
    return f"{name}.{spi}{middle}.key"


def read_directory(directory: Path, shown: Path) -> dict[str, list[NamedKey]]:
    """The keys in a directory by the mobile router they are for, the highest SPI first; `shown` is the
    directory as the configuration names it. Raises FileNotFoundError and KeyFileError."""
    try:
        status = os.stat(directory, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            raise KeyFileError(f'"{directory}" is not a directory', "name a directory")
        check_private(f'"{directory}"', status, f"run: chmod 700 {shlex.quote(str(directory))}")
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise KeyFileError(f'"{directory}" cannot be read: {error}', "name a readable directory") from error
    found: dict[str, dict[int, NamedKey]] = {}
    for name in names:
        match = _FILE_NAME.fullmatch(name)
        if match is None or not FIRST_SPI <= (spi := int(match[2])) <= LAST_SPI:
            continue
        algorithm = Algorithm.HMAC_SHA256 if match[3] else Algorithm.HMAC_SHA1
        key = NamedKey(("mobile_routers", match[1]), shown / name, spi, algorithm, signs=False)
        other = found.setdefault(match[1], {}).setdefault(spi, key)
        if other is not key:
            problem = f'"{directory / name}" has the same SPI as {other.file.name}'
            raise KeyFileError(problem, "remove one of the two")
    return {owner: _signing_first(keys) for owner, keys in found.items()}


def misnamed_keys(directory: Path, owner: str) -> list[str]:
    """Files in the directory of keys that look as if they were meant for a mobile router, and are not."""
    names = sorted(name for name in os.listdir(directory) if name.startswith(f"{owner}."))
    return [name for name in names if name.endswith(".key") and not _is_key_name(name)]


def make_missing(files: Iterable[Path], algorithm: Algorithm = Algorithm.HMAC_SHA1) -> Iterator[Path]:
    """Make each key file that does not exist, and give its name once made. Raises KeyFileError.

    Files get mode 0600 and random content; directories, where they are missing, mode 0700.
    """
    for file in files:
        if make_private(file, new_key(algorithm).hex().encode("ascii") + b"\n"):
            yield file


def free_spi(used: set[int], above: int = _FIRST_SPI_MADE - 1) -> int:
    """The lowest SPI above one that nobody uses."""
    spi = above + 1
    while spi in used:
        spi += 1
    return spi


def _is_key_name(name: str) -> bool:
    match = _FILE_NAME.fullmatch(name)
    return match is not None and FIRST_SPI <= int(match[2]) <= LAST_SPI


def _signing_first(keys: dict[int, NamedKey]) -> list[NamedKey]:
    ordered = [keys[spi] for spi in sorted(keys, reverse=True)]
    return [ordered[0]._replace(signs=True), *ordered[1:]]
