"""Load the configuration of a Home: all that is wrong is told at once, each with its line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from .checks import CHECKS
from .document import Document, read_document
from .errors import ConfigError, Fault, Finding, KeyPath
from .explain import explain
from .keys import KeyFileError, KeyScope, every_key, key_files, read_key
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
        """16 octets. Raises ConfigError, as all three do: files change after they were checked."""
        return self._key(("home", "mesh_key_file"), self.config.home.mesh_key_file)

    def bgp_key(self) -> bytes:
        """16 octets; the text form that BGP speakers want is its 32 hexadecimal digits."""
        return self._key(("home", "bgp_key_file"), self.config.home.bgp_key_file)

    def mobile_router_key(self, name: str) -> bytes:
        """16 octets. Raises KeyError for a name that is not configured."""
        return self._key(("mobile_routers", name, "key_file"), self.config.mobile_routers[name].key_file)

    def key_findings(self, keys: KeyScope = every_key) -> tuple[Finding, ...]:
        """What is wrong with the key files in scope."""
        findings: list[Finding] = []
        for key, file in key_files(self.config):
            if keys(key):
                try:
                    self._key(key, file)
                except ConfigError as error:
                    findings += error.findings
        return tuple(findings)

    def _key(self, key: KeyPath, file: Path) -> bytes:
        path = self.key_path(file)
        try:
            return read_key(path)
        except FileNotFoundError:
            remedy = f"create it with: haha keys {shlex.quote(str(self.path))}"
            fault = Fault(key, f'"{path}" does not exist', remedy)
        except KeyFileError as error:
            fault = Fault(key, error.problem, error.remedy)
        raise ConfigError((self.document.finding(fault),))


def load(path: Path, keys: KeyScope = every_key) -> LoadedHome:
    """Read and check one configuration file and the key files in scope. Raises ConfigError.

    The shape is checked first, what must hold between values once the shape is right.
    """
    document = read_document(path)
    try:
        config = HomeConfig.model_validate(document.tree)
    except ValidationError as error:
        raise _config_error(document, explain(error)) from None
    if document.findings:
        raise _config_error(document, ())
    loaded = LoadedHome(path, config, document)
    faults = [fault for check in CHECKS for fault in check(config)]
    key_findings = loaded.key_findings(keys)
    if faults or key_findings:
        raise _config_error(document, faults, key_findings)
    return loaded


def _config_error(
    document: Document, faults: Iterable[Fault], key_findings: Iterable[Finding] = ()
) -> ConfigError:
    findings = (*document.findings, *map(document.finding, faults), *key_findings)
    return ConfigError(tuple(sorted(findings, key=lambda finding: finding.line)))
