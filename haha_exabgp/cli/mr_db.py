"""`haha mr-db`: the database of mobile routers. A running agent sees a change within a second."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..config.errors import ConfigError
from ..config.key_file import KeyFileError, make_private, read_key
from ..config.keys import LAST_SPI, free_spi, make_missing, no_key
from ..config.loader import load
from ..config.schema import KeyAlgorithm
from ..mobile_routers.database import DatabaseError, MobileRouterDatabase
from ..mobile_routers.edit import Edit
from ..mobile_routers.files import Entry, is_too_large, read_entries, write_entries
from ..mobile_routers.intake import take_in
from ..mobile_routers.rules import HomeRules
from ..protocol.home import LeakPolicy, MobileRouterPolicy, ReplayProtectionMode, SecurityAssociation
from .arguments import key_algorithm
from .daemon import failed
from .show import print_table


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its own verbs."""
    top = verbs.add_parser("mr-db", help="keep the database of mobile routers", description=__doc__)
    inner = top.add_subparsers(metavar="VERB", required=True)
    take = _verb(inner, "import", _import, "add or change the mobile routers of a file: all, or none")
    take.add_argument("file", type=Path, metavar="FILE", help=".csv, .json or .yaml")
    take.add_argument("--replace", action="store_true", help="remove the mobile routers that are not in it")
    take.add_argument("--yes", action="store_true", help="even if none of those that are there is in it")
    give = _verb(inner, "export", _export, "write all mobile routers to a file, or to the terminal as CSV")
    give.add_argument("file", type=Path, nargs="?", metavar="FILE", help=".csv, .json or .yaml; a new one")
    give.add_argument("--with-keys", action="store_true", help="with the keys themselves (mode 0600)")
    add = _verb(inner, "add", _add, "add one mobile router")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--home-address", required=True, metavar="ADDRESS")
    add.add_argument("--prefix", action="append", default=[], metavar="PREFIX", help="may be given again")
    add.add_argument("--spi", type=int, default=4096, metavar="N", help="default: 4096")
    _key_options(add, required=True)
    add.add_argument("--replay", choices=list(map(str, ReplayProtectionMode)), help="default: timestamp")
    add.add_argument("--proxy", action="append", metavar="NAME", help="may be given again; default: all")
    add.add_argument("--leak", choices=list(map(str, LeakPolicy)), help="default: as the site has it")
    gone = _verb(inner, "del", _delete, "remove mobile routers; their bindings end")
    gone.add_argument("names", nargs="+", metavar="NAME")
    listing = _verb(inner, "list", _list, "show mobile routers")
    listing.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    roll = _verb(inner, "roll", _roll, "give a mobile router its next key beside the present one")
    roll.add_argument("name", metavar="NAME")
    what = roll.add_mutually_exclusive_group(required=True)
    _key_options(roll, required=False, group=what)
    what.add_argument("--finish", action="store_true", help="take the old key away: the new one is in use")


def _verb(inner: Any, name: str, run: Any, told: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = inner.add_parser(name, help=told, description=f"{told}.")
    parser.add_argument("--db", type=Path, metavar="PATH", help="the database")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the Home's configuration: names the database, and what is added is checked against it",
    )
    parser.set_defaults(run=lambda arguments: _run(run, arguments))
    return parser


def _key_options(parser: argparse.ArgumentParser, *, required: bool, group: Any = None) -> None:
    told = "the key; made where there is none, to be copied to the mobile router"
    option = (group or parser).add_argument("--key-file", type=Path, metavar="FILE", help=told)
    option.required = required
    parser.add_argument("--algorithm", type=key_algorithm, choices=list(KeyAlgorithm))


class _Place(NamedTuple):
    database: Path
    rules: HomeRules | None


def _run(run: Any, arguments: argparse.Namespace) -> int:
    try:
        place = _place(arguments)
        if place is None:
            return failed("name the database: --db PATH, or --config FILE whose home has mobile_router_db")
        status: int = run(arguments, place)
    except BrokenPipeError:
        raise
    except (DatabaseError, KeyFileError, OSError) as error:
        return failed(str(error))
    return status


def _place(arguments: argparse.Namespace) -> _Place | None:
    if arguments.config is None:
        return _Place(arguments.db, None) if arguments.db is not None else None
    loaded = load(arguments.config, no_key)
    named = loaded.config.home.mobile_router_db
    file = arguments.db or (loaded.path.parent / named if named is not None else None)
    return _Place(file, HomeRules(loaded.config)) if file is not None else None


@contextmanager
def _opened(place: _Place, make: bool = False) -> Iterator[MobileRouterDatabase]:
    with closing(MobileRouterDatabase(place.database, make=make)) as database:
        yield database


def _import(arguments: argparse.Namespace, place: _Place) -> int:
    # Everything that is read stays until the end; to look for garbage in it takes a fifth of the time.
    gc.disable()
    try:
        entries = read_entries(arguments.file)
        with _opened(place, make=True) as database:
            if arguments.replace and not arguments.yes and _leaves_none(database, entries):
                return failed(
                    f"{arguments.file} has none of the {len(database)} mobile routers that are there; if they"
                    " are all to be removed, write --replace --yes"
                )
            done = take_in(database, arguments.file, entries, rules=place.rules, instead=arguments.replace)
            total = len(database)
    finally:
        gc.enable()
    told = ", ".join(f"{count} {what}" for what, count in done._asdict().items())
    print(f"{place.database}: {told}; {total} in all")
    return 0


def _leaves_none(database: MobileRouterDatabase, entries: Sequence[Entry]) -> bool:
    names = {str(entry.raw.get("name")) for entry in entries}
    stored = [policy.name for policy in database.every()]
    return bool(stored) and not any(name in names for name in stored)


def _export(arguments: argparse.Namespace, place: _Place) -> int:
    if arguments.with_keys and arguments.file is None:
        return failed("keys are written to a file only: export FILE --with-keys")
    if arguments.file is not None and not arguments.file.parent.is_dir():
        return failed(f'"{arguments.file.parent}" is no directory; make it first')
    suffix = ".csv" if arguments.file is None else arguments.file.suffix
    with _opened(place) as database:
        try:
            text = write_entries(database.every(), suffix, arguments.with_keys)
        except KeyError:
            return failed(f'"{suffix}" is no form of file known here; use .csv, .json or .yaml')
    if arguments.file is None:
        sys.stdout.writelines(text)
        return 0
    return _write(arguments.file, "".join(text).encode())


def _write(file: Path, content: bytes) -> int:
    if is_too_large(file.suffix, len(content)):
        return failed("that would be more YAML than can be imported again; name a .csv or .json file")
    if not make_private(file, content):
        return failed(f'"{file}" exists already; name a new file')
    return 0


def _add(arguments: argparse.Namespace, place: _Place) -> int:
    raw: dict[str, object] = {
        "name": arguments.name,
        "home_address": arguments.home_address,
        "prefixes": arguments.prefix,
        "keys": [
            {
                "spi": arguments.spi,
                "algorithm": arguments.algorithm and arguments.algorithm.value,
                "key_file": os.path.abspath(arguments.key_file),
            }
        ],
        "replay": arguments.replay,
        "proxies": arguments.proxy,
        "leak": arguments.leak,
    }
    with _opened(place, make=True) as database:
        if database.named(arguments.name) is not None:
            return failed(f"{arguments.name} is there already; del it first, or change it by import")
        try:
            with _key_made(arguments):
                take_in(database, Path("haha"), [Entry(1, raw)], rules=place.rules)
        except ConfigError as error:
            for finding in error.findings:
                failed(f"{finding.problem}; {finding.remedy}")
            return 1
    print(f"{arguments.name}: added")
    return 0


@contextmanager
def _key_made(arguments: argparse.Namespace) -> Iterator[None]:
    """A key file is there while the block uses it; one that was made for it goes again if that fails."""
    algorithm = (arguments.algorithm or KeyAlgorithm.HMAC_SHA1).algorithm
    made = list(make_missing([arguments.key_file], algorithm))
    try:
        yield
    except BaseException:
        for file in made:
            file.unlink(missing_ok=True)
        raise
    for file in made:
        print(f"{file}: made; it goes to the mobile router")


def _delete(arguments: argparse.Namespace, place: _Place) -> int:
    with _opened(place) as database:
        missing = [name for name in arguments.names if database.named(name) is None]
        if missing:
            return failed(f"there is no {', '.join(missing)}; nothing is removed")
        with database.editing() as edit:
            for name in arguments.names:
                edit.remove(name)
    print(f"{', '.join(arguments.names)}: removed")
    return 0


def _list(arguments: argparse.Namespace, place: _Place) -> int:
    with _opened(place) as database:
        if arguments.names:
            found = [database.named(name) for name in arguments.names]
        else:
            found = list(database.every())
    missing = [name for name, one in zip(arguments.names, found, strict=False) if one is None]
    if missing:
        return failed(f"there is no {', '.join(missing)}")
    print_table([_row(one) for one in found if one is not None])
    return 0


def _row(policy: MobileRouterPolicy) -> dict[str, Any]:
    keys = [f"{one.spi} ({KeyAlgorithm[one.algorithm.name]})" for one in policy.associations]
    return {
        "name": policy.name,
        "home_address": str(policy.home_address),
        "prefixes": list(map(str, policy.prefixes)),
        "keys": keys,
        "replay": policy.replay.value,
        "proxies": "all" if policy.proxies is None else sorted(policy.proxies) or "none",
        "leak": "as the site" if policy.leak is None else policy.leak.value,
    }


def _roll(arguments: argparse.Namespace, place: _Place) -> int:
    name = arguments.name
    with _opened(place) as database:
        stored = database.named(name)
        if stored is None:
            return failed(f"there is no {name}")
        *old, present = stored.associations
        if arguments.finish:
            if not old:
                return failed(f"{name} has one key only, of SPI {present.spi}")
            with database.editing() as edit:
                _put(edit, replace(stored, associations=(present,)))
            print(f"{name}: has the key of SPI {present.spi} and no other")
            return 0
        if old:
            return failed(f"{name} has two keys already; finish that change: haha mr-db roll {name} --finish")
        spi = free_spi({present.spi}, above=present.spi if present.spi < LAST_SPI else 255)
        if arguments.algorithm is None:
            arguments.algorithm = KeyAlgorithm[present.algorithm.name]
        algorithm = arguments.algorithm.algorithm
        with _key_made(arguments), database.editing() as edit:
            new = SecurityAssociation(spi, read_key(arguments.key_file, algorithm), algorithm)
            _put(edit, replace(stored, associations=(present, new)))
    print(
        f"1. Do the same with this file in the database of every other Home Agent; SPI {spi} is valid there."
    )
    print(f"2. Copy {arguments.key_file} to {name}, write SPI {spi} and the file there, restart haha mr.")
    print(f"3. When {name} is bound again, in every database: haha mr-db roll {name} --finish")
    return 0


def _put(edit: Edit, policy: MobileRouterPolicy) -> None:
    edit.remove(policy.name)
    edit.add(policy)
