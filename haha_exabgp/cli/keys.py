"""`haha keys`: make the key files that a configuration names and that do not exist yet, or the next key of a
mobile router."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config.errors import ConfigError
from ..config.key_file import KeyFileError
from ..config.keys import (
    NamedKey,
    file_name,
    free_spi,
    make_missing,
    named_keys,
    no_key,
    read_directory,
    uses_directory,
)
from ..config.loader import LoadedHome, load
from ..config.schema import KeyAlgorithm
from ..wire.authentication import Algorithm
from .arguments import key_algorithm
from .daemon import failed, unknown_name


def register(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add `haha keys` to the command line."""
    parser = verbs.add_parser("keys", help="make the key files that are missing", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the configuration file")
    parser.add_argument(
        "--roll", metavar="NAME", help="make the next key of this mobile router, and say what to do with it"
    )
    parser.add_argument(
        "--algorithm",
        type=key_algorithm,
        choices=list(KeyAlgorithm),
        help="what the next key is used with (default: as the present one)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0, or 1 where a file cannot be made. Raises ConfigError, also for keys that are bad."""
    loaded = load(arguments.file, no_key)
    try:
        return _make(loaded) if arguments.roll is None else _roll(loaded, arguments)
    except KeyFileError as error:
        print(f"haha keys: {error}", file=sys.stderr)
        return 1


def _make(loaded: LoadedHome) -> int:
    made = 0
    for key in (*named_keys(loaded.config), *_first_keys(loaded)):
        for file in make_missing([loaded.key_path(key.file)], key.algorithm):
            print(f"{file}: made")
            made += 1
    findings = loaded.key_findings()
    if findings:
        raise ConfigError(findings)
    if not made:
        print("nothing to do")
    return 0


def _first_keys(loaded: LoadedHome) -> Iterator[NamedKey]:
    """A key for each mobile router that needs one in the directory of keys and has none there."""
    shown = loaded.config.home.key_directory
    owners = [name for name, router in loaded.config.mobile_routers.items() if uses_directory(router)]
    if shown is None or not owners:
        return
    found = _in_directory(loaded, shown)
    used = _used_spis(loaded, found)
    for name in owners:
        if name not in found:
            spi = free_spi(used)
            used.add(spi)
            yield NamedKey(("mobile_routers", name), shown / file_name(name, spi, Algorithm.HMAC_SHA1), spi)


def _in_directory(loaded: LoadedHome, shown: Path) -> dict[str, list[NamedKey]]:
    try:
        return read_directory(loaded.key_path(shown), shown)
    except FileNotFoundError:
        return {}


def _used_spis(loaded: LoadedHome, found: dict[str, list[NamedKey]]) -> set[int]:
    in_directory = {key.spi for keys in found.values() for key in keys}
    return {key.spi for key in named_keys(loaded.config)} | in_directory


def _roll(loaded: LoadedHome, arguments: argparse.Namespace) -> int:
    name = arguments.roll
    if name not in loaded.config.mobile_routers:
        if loaded.config.home.mobile_router_db is not None:
            return failed(f"{name} is not in {loaded.path}; if it is in its database: haha mr-db roll {name}")
        return unknown_name("--roll", name, list(loaded.config.mobile_routers))
    keys = loaded.keys_of(name)
    if len(keys) > 1:
        spis = " and ".join(str(key.spi) for key in keys)
        return failed(
            f"{name} has the keys {spis} already; take the old one away before the next change:"
            f" {_removal(loaded, keys[-1])}"
        )
    (old,) = keys
    shown = loaded.config.home.key_directory
    found = _in_directory(loaded, shown) if shown is not None else {}
    spi = free_spi(_used_spis(loaded, found), above=old.spi)
    algorithm = arguments.algorithm.algorithm if arguments.algorithm is not None else old.algorithm
    file = old.file.parent / file_name(name, spi, algorithm)
    made = list(make_missing([loaded.key_path(file)], algorithm))
    if not made:
        return failed(f'"{loaded.key_path(file)}" exists already; it is in no use: remove it first')
    new = NamedKey(old.place, file, spi, algorithm)
    print(f"{made[0]}: made")
    for number, step in enumerate(_steps(loaded, name, old, new), start=1):
        print(f"{number}. {step}")
    return 0


def _steps(loaded: LoadedHome, name: str, old: NamedKey, new: NamedKey) -> Iterator[str]:
    """What is left to do, in the order in which no Binding Update is refused on the way."""
    in_directory = uses_directory(loaded.config.mobile_routers[name])
    everywhere = "At every Home Agent"
    entry = f"{{spi: {new.spi}, key_file: {new.file}, algorithm: {KeyAlgorithm[new.algorithm.name]}}}"
    if in_directory:
        yield f"{everywhere}: put {new.file} beside {old.file}, then: haha reload"
        yield f"At {name}: put {new.file} beside {old.file}, then restart haha mr; it signs with the new key."
    else:
        line = loaded.line(*old.place)
        yield (
            f"{everywhere}: put {new.file} there, and below mobile_routers.{name} of"
            f" {loaded.path} (line {line}) write keys: [{entry}]; then: haha reload"
        )
        yield (
            f"At {name}: put {new.file} there, and in its configuration write the new key in place of SPI"
            f" {old.spi}; then restart haha mr."
        )
    yield f"{everywhere}, when {name} is bound again: {_removal(loaded, old)}; then: haha reload"


def _removal(loaded: LoadedHome, old: NamedKey) -> str:
    if old.place[2:]:
        return f"remove SPI {old.spi} from {loaded.path}, and the file {old.file}"
    return f"remove the file {old.file}"
