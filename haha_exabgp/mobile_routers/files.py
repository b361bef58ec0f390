"""Files of mobile routers that `haha mr-db` reads and writes. All three forms say the same:

CSV     a line each, with the columns named in the first one. Lists have spaces between their items, a key is
        SPI:algorithm:digits; empty proxies mean all, "none" means none. An
        empty leak is that of the site.
JSON    a list of objects; export writes one a line.
YAML    a mapping mobile_routers, from names to the rest, as in a configuration. Slow: for hundreds.

A key without its digits stands for the stored key of that SPI, so what was exported without keys can be
edited and imported again.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..config.document import MAX_OCTETS, read_document
from ..config.errors import ConfigError, Finding
from ..config.key_file import KeyFileError, check_private
from ..config.schema import KeyAlgorithm
from ..protocol.home import MobileRouterPolicy
from .records import FIELDS

_NO_PROXY = "none"


class Entry(NamedTuple):
    """One mobile router as it stands in a file."""

    line: int
    raw: dict[str, object]


def read_entries(file: Path) -> list[Entry]:
    """Everything in a file, by the form that its name ends in. Raises ConfigError when it cannot be read or
    is not of that form."""
    reader = _READERS.get(file.suffix)
    if reader is None:
        raise _refused(file, 1, f'"{file.suffix}" is no form of file known here', f"use {_FORMS}")
    return reader(file)


def is_too_large(suffix: str, octets: int) -> bool:
    """True for a file that `read_entries` would refuse for its size."""
    return _READERS.get(suffix) is _read_yaml and octets > MAX_OCTETS


def check_not_open(file: Path) -> None:
    """Raises ConfigError when others can touch a file, which holds keys."""
    try:
        check_private("it holds keys, and", file.stat(), f"run: chmod 600 {shlex.quote(str(file))}")
    except KeyFileError as error:
        raise _refused(file, 1, error.problem, error.remedy) from error


def write_entries(policies: Iterable[MobileRouterPolicy], suffix: str, with_keys: bool) -> Iterator[str]:
    """Text in the form that `suffix` names, line by line. Raises KeyError for another one."""
    return _WRITERS[suffix]([_raw(policy, with_keys) for policy in policies])


def _raw(policy: MobileRouterPolicy, with_keys: bool) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "name": policy.name,
        "home_address": str(policy.home_address),
        "prefixes": list(map(str, policy.prefixes)),
        "keys": [
            {"spi": one.spi, "algorithm": KeyAlgorithm[one.algorithm.name].value}
            | ({"key": one.key.hex()} if with_keys else {})
            for one in policy.associations
        ],
        "replay": policy.replay.value,
        "proxies": None if policy.proxies is None else sorted(policy.proxies),
        "leak": None if policy.leak is None else policy.leak.value,
    }
    return raw


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not UTF-8 text"
        raise _refused(file, 1, f"cannot be read: {reason}", "name a file of mobile routers") from error


def _refused(file: Path, line: int, problem: str, remedy: str) -> ConfigError:
    return ConfigError((Finding(file, line, "", problem, remedy),))


# CSV


def _read_csv(file: Path) -> list[Entry]:
    reader = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    entries: list[Entry] = []
    try:
        columns = [column.strip() for column in next(reader, [])]
        unknown = [column for column in columns if column not in FIELDS]
        if unknown or not {"name", "home_address"} <= set(columns) or len(set(columns)) < len(columns):
            raise _refused(file, 1, "the first line does not name the columns", f"write: {','.join(FIELDS)}")
        line = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(columns):
                remedy = "put a field with a comma in it in quotes"
                raise _refused(file, line, f"{len(row)} fields stand where {len(columns)} should", remedy)
            if row:
                entries.append(Entry(line, _from_csv(dict(zip(columns, map(str.strip, row), strict=True)))))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _refused(file, reader.line_num, f"not CSV: {error}", "write one line each") from error
    return entries


def _from_csv(row: dict[str, str]) -> dict[str, object]:
    proxies = row.get("proxies", "")
    return {
        **row,
        "prefixes": row.get("prefixes", "").split(),
        "keys": [_key_from_csv(item) for item in row.get("keys", "").split()],
        "proxies": None if not proxies else [] if proxies == _NO_PROXY else proxies.split(),
    }


def _key_from_csv(item: str) -> dict[str, object]:
    spi, _, rest = item.partition(":")
    algorithm, colon, digits = rest.partition(":")
    number: object = int(spi) if spi.isascii() and spi.isdigit() and len(spi) <= 10 else spi
    return {"spi": number, "algorithm": algorithm} | ({"key": digits} if colon else {})


def _write_csv(entries: list[dict[str, Any]]) -> Iterator[str]:
    yield ",".join(FIELDS) + "\n"
    for raw in entries:
        keys = " ".join(":".join(map(str, key.values())) for key in raw["keys"])
        proxies = "" if raw["proxies"] is None else " ".join(raw["proxies"]) or _NO_PROXY
        prefixes = " ".join(raw["prefixes"])
        rest = f"{raw['replay']},{proxies},{raw['leak'] or ''}"
        yield f"{raw['name']},{raw['home_address']},{prefixes},{keys},{rest}\n"


# JSON


def _read_json(file: Path) -> list[Entry]:
    """Object by object, for the line of each: a parser of whole files does not tell."""
    text = _text(file)
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    entries: list[Entry] = []
    line, counted = 1, 0
    place = _behind_blanks(text, 0)
    try:
        _expect(text, place, "[")
        place = _behind_blanks(text, place + 1)
        while text[place : place + 1] != "]":
            line, counted = line + text.count("\n", counted, place), place
            raw, place = decoder.raw_decode(text, place)
            if not isinstance(raw, dict):
                raise _refused(file, line, "not an object", f"write objects of {', '.join(FIELDS)}")
            entries.append(Entry(line, raw))
            place = _behind_blanks(text, place)
            if text[place : place + 1] != "]":
                _expect(text, place, ",")
                place = _behind_blanks(text, place + 1)
        place = _behind_blanks(text, place + 1)
        if place < len(text):
            raise json.JSONDecodeError("something stands behind the list", text, place)
    except json.JSONDecodeError as error:
        raise _refused(file, error.lineno, f"not JSON: {error.msg}", "write a list of objects") from error
    except (ValueError, RecursionError) as error:
        raise _refused(file, line, f"not JSON: {error}", "write a list of objects") from error
    return entries


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a field is given twice")
    return made


def _behind_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _expect(text: str, place: int, mark: str) -> None:
    if text[place : place + 1] != mark:
        raise json.JSONDecodeError(f'no "{mark}" where one should be', text, place)


def _write_json(entries: list[dict[str, Any]]) -> Iterator[str]:
    yield "["
    for number, raw in enumerate(entries):
        yield (",\n" if number else "\n") + json.dumps(raw)
    yield "\n]\n"


# YAML


def _read_yaml(file: Path) -> list[Entry]:
    if file.is_file() and file.stat().st_size > MAX_OCTETS:
        raise _refused(
            file, 1, "is larger than 16 MiB, the most that is read of YAML", "write it as .csv or .json"
        )
    document = read_document(file)
    if document.findings:
        raise ConfigError(document.findings)
    routers = document.tree.get("mobile_routers")
    if len(document.tree) != 1 or not isinstance(routers, dict):
        raise _refused(file, 1, "not a mapping mobile_routers and nothing else", "write the names below it")
    entries = []
    for name, rest in routers.items():
        line = document.line(("mobile_routers", name))
        if not isinstance(rest, dict):
            raise _refused(file, line, f"{name} is not a mapping", f"write below it {', '.join(FIELDS[1:])}")
        entries.append(Entry(line, {"name": name, **rest}))
    return entries


def _write_yaml(entries: list[dict[str, Any]]) -> Iterator[str]:
    yield "mobile_routers:\n" if entries else "mobile_routers: {}\n"
    for raw in entries:
        yield f"  {raw.pop('name')}:\n"
        # A JSON value is a YAML value, but for null, which here stands for nothing said.
        yield from (
            f"    {field}: {json.dumps(value)}\n" for field, value in raw.items() if value is not None
        )


_READERS: dict[str, Callable[[Path], list[Entry]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
_WRITERS: dict[str, Callable[[list[dict[str, Any]]], Iterator[str]]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".yaml": _write_yaml,
    ".yml": _write_yaml,
}
_FORMS = ", ".join(_READERS)
