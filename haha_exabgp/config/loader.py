"""Load the configuration of a Home: all that is wrong is told at once, each with its line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..protocol.home import SecurityAssociation
from ..wire.authentication import HMAC_SHA1_SPI
from .checks import CHECKS
from .document import Document, read_document
from .errors import ConfigError, Fault, Finding
from .explain import explain
from .key_file import KeyFileError, read_key
from .keys import (
    KeyScope,
    NamedKey,
    every_key,
    has_keys,
    keys_named_for,
    misnamed_keys,
    named_keys,
    read_directory,
    uses_directory,
)
from .schema import HomeConfig


@dataclass(frozen=True, slots=True)
class LoadedHome:
    """A configuration that passed every check, and the file it came from."""

    path: Path
    config: HomeConfig
    document: Document

    def line(self, *key: str | int) -> int:
        """The line of a key, such as line("sites", "site1"); of the closest one around it if it is absent."""
        return self.document.line(key)

    def key_path(self, file: Path) -> Path:
        """Where a key file is: names are relative to the directory of the configuration file."""
        return self.path.parent / file

    def mesh_key(self) -> bytes:
        """16 octets. Raises ConfigError, as everything that reads keys: files change after they were
        checked."""
        return self._read(NamedKey(("home", "mesh_key_file"), self.config.home.mesh_key_file, 0))

    def bgp_key(self) -> bytes:
        """16 octets; the text form that BGP speakers want is its 32 hexadecimal digits."""
        return self._read(NamedKey(("home", "bgp_key_file"), self.config.home.bgp_key_file, 0))

    def associations_of(self, name: str) -> tuple[SecurityAssociation, ...]:
        """What a mobile router takes, the one that it signs with first; of the others only those that are
        on its host. Raises KeyError for a name that is not configured."""
        signing, *others = self.keys_of(name)
        there = [key for key in others if self.key_path(key.file).exists()]
        return tuple(map(self._association, (signing, *there)))

    def associations(self, home_agent: str | None = None) -> dict[str, tuple[SecurityAssociation, ...]]:
        """Of every mobile router what its Home Agents take, the one that it signs with first; none of one
        whose keys the given Home Agent is not to have."""
        routers = self.config.mobile_routers
        known = [one for one in routers if home_agent is None or has_keys(routers[one], home_agent)]
        directory = self._directory() if any(uses_directory(routers[one]) for one in known) else {}
        keys = {name: tuple(map(self._association, self.keys_of(name, directory))) for name in known}
        return {name: keys.get(name, ()) for name in routers}

    def aaa_association_of(self, name: str) -> SecurityAssociation | None:
        """That of a mobile router's MN-AAA authenticator; None when it makes none. Raises KeyError for a name
        that is not configured."""
        file = self.config.mobile_routers[name].aaa_key_file
        if file is None:
            return None
        return self._association(NamedKey(("mobile_routers", name, "aaa_key_file"), file, HMAC_SHA1_SPI))

    def keys_of(self, name: str, directory: Mapping[str, list[NamedKey]] | None = None) -> list[NamedKey]:
        """The keys of a mobile router, at least one, the one that it signs with first. `directory`: as it
        was read before."""
        if not uses_directory(self.config.mobile_routers[name]):
            return keys_named_for(self.config, name)
        found = (self._directory() if directory is None else directory).get(name, [])
        if not found:
            shown = self.config.home.key_directory
            problem = f"there is no key of {name} in the directory of keys, {shown}"
            raise self._error(Fault(("mobile_routers", name), problem, self._make_them()))
        return found

    def key_findings(self, keys: KeyScope = every_key) -> tuple[Finding, ...]:
        """What is wrong with the keys in scope."""
        findings: list[Finding] = []
        for key in named_keys(self.config):
            if keys(self.config, key.place, key.signs):
                findings += _told(lambda key=key: self._read(key))  # type: ignore[misc]
        names = [name for name, router in self.config.mobile_routers.items() if uses_directory(router)]
        wanted = [name for name in names if keys(self.config, ("mobile_routers", name), True)]
        if not wanted:
            return tuple(findings)
        try:
            directory = self._directory()
        except ConfigError as error:
            return (*findings, *error.findings)
        for name in wanted:
            findings += self._misnamed(name)
            findings += _told(lambda name=name: self.keys_of(name, directory))  # type: ignore[misc]
            for key in directory.get(name, ()):
                if keys(self.config, key.place, key.signs):
                    findings += _told(lambda key=key: self._read(key))  # type: ignore[misc]
        return tuple(findings)

    def _directory(self) -> dict[str, list[NamedKey]]:
        """What is in the directory of keys, if anybody needs it."""
        shown = self.config.home.key_directory
        if shown is None or not any(map(uses_directory, self.config.mobile_routers.values())):
            return {}
        try:
            return read_directory(self.key_path(shown), shown)
        except FileNotFoundError:
            fault = Fault(
                ("home", "key_directory"), f'"{self.key_path(shown)}" does not exist', self._make_them()
            )
        except KeyFileError as error:
            fault = Fault(("home", "key_directory"), error.problem, error.remedy)
        raise self._error(fault)

    def _misnamed(self, name: str) -> Iterator[Finding]:
        shown = self.config.home.key_directory
        assert shown is not None  # a check
        for file in misnamed_keys(self.key_path(shown), name):
            problem = f'"{self.key_path(shown / file)}" is not how a key is called'
            remedy = f"call it {name}.SPI.key or {name}.SPI.hmac-sha256.key, with an SPI of 256 or more"
            yield self.document.finding(Fault(("mobile_routers", name), problem, remedy))

    def _association(self, key: NamedKey) -> SecurityAssociation:
        return SecurityAssociation(key.spi, self._read(key), key.algorithm)

    def _read(self, key: NamedKey) -> bytes:
        path = self.key_path(key.file)
        try:
            return read_key(path, key.algorithm)
        except FileNotFoundError:
            fault = Fault(key.place, f'"{path}" does not exist', self._make_them())
        except KeyFileError as error:
            fault = Fault(key.place, error.problem, error.remedy)
        raise self._error(fault)

    def _error(self, fault: Fault) -> ConfigError:
        return ConfigError((self.document.finding(fault),))

    def _make_them(self) -> str:
        return f"create it with: haha keys {shlex.quote(str(self.path))}"


def _told(read: Callable[[], object]) -> tuple[Finding, ...]:
    try:
        read()
    except ConfigError as error:
        return error.findings
    return ()


def load(path: Path, keys: KeyScope = every_key) -> LoadedHome:
    """Read and check one configuration file and the key files in scope. Raises ConfigError.

    The shape is checked first, what must hold between values only where the shape is right.
    """
    document = read_document(path)
    try:
        config = HomeConfig.model_validate(document.tree)
    except ValidationError as error:
        raise _config_error(document, (*explain(error), *_faults_besides(document, error))) from None
    if document.findings:
        raise _config_error(document, ())
    loaded = LoadedHome(path, config, document)
    faults = [fault for check in CHECKS for fault in check(config)]
    key_findings = loaded.key_findings(keys)
    if faults or key_findings:
        raise _config_error(document, faults, key_findings)
    return loaded


def _faults_besides(document: Document, error: ValidationError) -> Iterator[Fault]:
    """What is wrong with everything else, where the shape of some mobile routers is: they are the most, and
    nothing else depends on them."""
    misshapen = {detail["loc"][:2] for detail in error.errors(include_url=False)}
    routers = document.tree.get("mobile_routers")
    if not isinstance(routers, dict) or any(len(key) < 2 or key[0] != "mobile_routers" for key in misshapen):
        return
    others = {name: one for name, one in routers.items() if ("mobile_routers", name) not in misshapen}
    try:
        config = HomeConfig.model_validate({**document.tree, "mobile_routers": others})
    except ValidationError:
        return
    for check in CHECKS:
        yield from check(config)


def _config_error(
    document: Document, faults: Iterable[Fault], key_findings: Iterable[Finding] = ()
) -> ConfigError:
    findings = (*document.findings, *map(document.finding, faults), *key_findings)
    return ConfigError(tuple(sorted(findings, key=lambda finding: finding.line)))
