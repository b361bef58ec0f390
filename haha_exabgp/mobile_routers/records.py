"""One mobile router as somebody wrote it: plain values into a policy, with everything that is wrong in it."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ..config.addresses import unfit
from ..config.errors import shown
from ..config.key_file import KeyFileError, is_key, read_key, wanted_digits
from ..config.keys import FIRST_SPI, LAST_SPI
from ..config.schema import KeyAlgorithm
from ..protocol.home import LeakPolicy, MobileRouterPolicy, ReplayProtectionMode, SecurityAssociation
from ..wire.address import UNSPECIFIED, Address, Prefix

FIELDS = ("name", "home_address", "prefixes", "keys", "replay", "proxies", "leak")
"""Everything that can be said of a mobile router in the database; the first two have to be."""
_KEY_FIELDS = ("spi", "algorithm", "key", "key_file")
ALGORITHMS = {word.value: word.algorithm for word in KeyAlgorithm}
REPLAY_MODES = {mode.value: mode for mode in ReplayProtectionMode}
"""What stands in files and in the database for them."""
_REPLAY = {None: ReplayProtectionMode.TIMESTAMP, "": ReplayProtectionMode.TIMESTAMP} | REPLAY_MODES
_LEAK_POLICIES = frozenset(LeakPolicy)
_FIELDS, _FIELDS_OF_KEY = frozenset(FIELDS), frozenset(_KEY_FIELDS)
_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2})+")


class Problem(NamedTuple):
    """One thing wrong, and what to do."""

    field: str
    problem: str
    remedy: str


class Record(NamedTuple):
    """A policy; an association in it with an empty key stands for the key that is stored with this SPI."""

    policy: MobileRouterPolicy
    problems: tuple[Problem, ...]
    holds_keys: bool
    """True when keys themselves are written in it."""


def read_record(raw: Mapping[str, object], directory: Path) -> Record:
    """Read one mobile router; key files are relative to `directory`. With problems the policy is not to be
    used, but for its name."""
    reader = _Reader(directory)
    policy = reader.policy(raw)
    return Record(policy, tuple(reader.problems), reader.holds_keys)


def parse_address(text: str) -> Address:
    """Read an address; several times faster than `Address.parse`. Raises ValueError."""
    try:
        return Address(socket.inet_pton(socket.AF_INET6, text))
    except OSError as error:
        raise ValueError(text) from error


def parse_prefix(text: str) -> Prefix:
    """Read `address/length`. Raises ValueError, also when host bits are set."""
    address, _, length = text.partition("/")
    if not (length.isascii() and length.isdigit() and 1 <= int(length[:4]) <= 128):
        raise ValueError(text)
    first = parse_address(address)
    prefix = Prefix.of(first, int(length))
    if prefix.address != first:
        raise ValueError(text)
    return prefix


class _Reader:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.problems: list[Problem] = []
        self.holds_keys = False

    def policy(self, raw: Mapping[str, object]) -> MobileRouterPolicy:
        for field in raw.keys() - _FIELDS:
            self._add(str(field)[:60], "unknown", f"the fields are {', '.join(FIELDS)}")
        name = raw.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            rule = "use lower case letters, digits and dashes, a letter first, at most 15 characters"
            self._add("name", f"{shown(name)} cannot be a name", rule)
            name = ""
        home_address = self._home_address(raw.get("home_address"))
        prefixes = self._prefixes(raw.get("prefixes"))
        keys = self._items("keys", raw.get("keys"))
        associations = tuple(one for key in keys if (one := self._association(key)) is not None)
        spis = [one.spi for one in associations]
        if len(set(spis)) < len(spis):
            self._add("keys", "an SPI is there twice", "give each key another")
        return MobileRouterPolicy(
            name,
            home_address,
            prefixes,
            associations,
            self._replay(raw.get("replay")),
            self._proxies(raw),
            self._leak(raw.get("leak")),
        )

    def _home_address(self, value: object) -> Address:
        try:
            address = parse_address(value) if isinstance(value, str) else UNSPECIFIED
        except ValueError:
            address = UNSPECIFIED
        if address == UNSPECIFIED:
            self._add("home_address", f"{shown(value)} is not an address", "write one such as 2001:db8::1")
        elif fault := unfit(address):
            self._add("home_address", *fault)
        return address

    def _prefixes(self, value: object) -> tuple[Prefix, ...]:
        prefixes = []
        for item in self._items("prefixes", value):
            try:
                prefixes.append(parse_prefix(str(item)))
            except ValueError:
                remedy = "write one such as 2001:db8:1::/64, with no bits set beyond its length"
                self._add("prefixes", f"{shown(item)} is not a prefix", remedy)
        prefixes.sort()
        for one, two in pairwise(prefixes):
            if one.covers(two):
                self._add("prefixes", f"{two} overlaps another of its own", "write each once")
        return tuple(prefixes)

    def _association(self, key: object) -> SecurityAssociation | None:
        before = len(self.problems)
        if not isinstance(key, Mapping):
            self._add("keys", "a key is not a mapping", f"write {', '.join(_KEY_FIELDS)}")
            return None
        for field in key.keys() - _FIELDS_OF_KEY:
            self._add("keys", f"unknown: {str(field)[:60]}", f"the fields are {', '.join(_KEY_FIELDS)}")
        spi = key.get("spi")
        if not isinstance(spi, int) or isinstance(spi, bool) or not FIRST_SPI <= spi <= LAST_SPI:
            self._add("keys", f"{shown(spi)} is not an SPI", f"write a number from {FIRST_SPI} to {LAST_SPI}")
        word = key.get("algorithm") or KeyAlgorithm.HMAC_SHA1.value
        algorithm = ALGORITHMS.get(word) if isinstance(word, str) else None
        if algorithm is None:
            self._add("keys", f"{shown(word)} is not an algorithm", f"write {' or '.join(KeyAlgorithm)}")
        if len(self.problems) > before or algorithm is None or not isinstance(spi, int):
            return None
        secret = b""
        if key.get("key_file") is not None:
            try:
                secret = read_key(self._directory / str(key["key_file"]), algorithm)
            except FileNotFoundError:
                self._add("keys", f"{shown(key['key_file'])} does not exist", "name the file of the key")
            except KeyFileError as error:
                self._add("keys", error.problem, error.remedy)
        elif key.get("key") is not None:
            self.holds_keys = True
            digits = str(key["key"])
            secret = bytes.fromhex(digits) if _HEXADECIMAL.fullmatch(digits) else b""
            if not is_key(secret, algorithm):
                # Never what it is: most of it may be a key.
                remedy = f"write {wanted_digits(algorithm)} hexadecimal digits"
                self._add("keys", f"the key of SPI {spi} is not one", remedy)
        return SecurityAssociation(spi, secret, algorithm)

    def _replay(self, value: object) -> ReplayProtectionMode:
        if (value is None or isinstance(value, str)) and value in _REPLAY:
            return _REPLAY[value]
        self._add("replay", f"{shown(value)} is not known", f"write {' or '.join(ReplayProtectionMode)}")
        return ReplayProtectionMode.TIMESTAMP

    def _proxies(self, raw: Mapping[str, object]) -> frozenset[str] | None:
        if raw.get("proxies") is None:
            return None
        names = self._items("proxies", raw["proxies"])
        for name in names:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                self._add("proxies", f"{shown(name)} is no name of a Home Agent", "write names")
        return frozenset(map(str, names))

    def _leak(self, value: object) -> LeakPolicy | None:
        if value is None or value == "":
            return None
        if isinstance(value, str) and value in _LEAK_POLICIES:
            return LeakPolicy(value)
        self._add("leak", f"{shown(value)} is not known", f"write {', '.join(LeakPolicy)}, or nothing")
        return None

    def _items(self, field: str, value: object) -> list[object]:
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self._add(field, f"{shown(value)} is not a list", "write a list")
        return []

    def _add(self, field: str, problem: str, remedy: str) -> None:
        self.problems.append(Problem(field, problem, remedy))
