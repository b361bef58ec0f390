"""A YAML file as plain values, each with the line it stands on.

A strict subset of YAML is read: `true`, `false`, decimal numbers and empty values have a meaning, all
else is text. YAML 1.1 by itself reads 20:30:40 as 73840, `no` as false, 012 as ten, and keeps the last
of two equal keys without a word: fatal in a file of addresses and names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from .errors import ConfigError, Fault, Finding, KeyPath, dotted, shown

MAX_OCTETS = 16 << 20
"""In one file."""
_MAX_DEPTH = 16
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_INDENTING_TAB = re.compile(r"^ *\t[\t ]*[^\s#]")

_WORDS: dict[str, Callable[[str], object]] = {
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:bool": lambda text: text == "true",
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:str": str,
}


class _Phrase(NamedTuple):
    """A part of what PyYAML says, and the same in plain words with what to do."""

    part: str
    problem: str
    remedy: str
    stands_at_context: bool = False
    """The mistake is where PyYAML began to read the item, not where it gave up."""


_PHRASES = (
    _Phrase(
        "mapping values are not allowed here",
        'a ":" where none can stand',
        'indent the keys of one mapping equally; put text that ends in ":" or contains ": " in quotes',
    ),
    _Phrase("could not find expected ':'", 'a line without ": "', "write it as key: value", True),
    _Phrase(
        "expected <block end>",
        "the indentation does not fit the lines above",
        "indent the keys of one mapping equally, with spaces",
    ),
    _Phrase("found character '\\t'", "a tab where a value should begin", "write spaces"),
    _Phrase("found character", "a character that cannot begin a value", "put the value in double quotes"),
    _Phrase("found unexpected end of stream", "quotes that are never closed", "close them", True),
    _Phrase("found another document", "a second document begins", "keep one document: remove the ---"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """`tree` holds dict, list, str, int, bool and None; `lines` the line of every key and list item.

    `findings` is what is wrong already (duplicate keys), with the first of the values kept in `tree`.
    """

    file: Path
    tree: Mapping[str, object]
    lines: Mapping[KeyPath, int]
    findings: tuple[Finding, ...] = ()

    def line(self, key: KeyPath) -> int:
        """The line of a key; of the closest key around it where it is not in the file."""
        while key not in self.lines and key:
            key = key[:-1]
        return self.lines.get(key, 1)

    def finding(self, fault: Fault) -> Finding:
        """The fault with its file and line."""
        other = "" if fault.other is None else f" (line {self.line(fault.other)})"
        return Finding(
            self.file, self.line(fault.key), dotted(fault.key), fault.problem + other, fault.remedy
        )


def read_document(
    file: Path,
    pattern: str = "configs/two-sites.yaml",
    keys: str = "home, sites and mobile_routers",
) -> Document:
    """Read one YAML file. Raises ConfigError where it cannot be read, is not YAML or not a mapping. `pattern`
    is a file like it to begin with, `keys` are those that stand at its left margin."""
    text = read_text(file)
    tabs = tuple(
        Finding(file, number, "", "a tab in the indentation", "indent with spaces")
        for number, line in enumerate(text.split("\n"), start=1)
        if _INDENTING_TAB.match(line)
    )
    if tabs:
        raise ConfigError(tabs)
    root = _compose(file, text, pattern)
    reader = _Reader(file)
    tree = root and reader.value(root, ())
    if root is None or tree is None:
        raise _refused(file, 1, "the file is empty", f"begin with {pattern} as a pattern")
    if not isinstance(tree, dict):
        raise _refused(
            file,
            root.start_mark.line + 1,
            f"{shown(tree)} stands where the keys of the file should",
            f"write the keys {keys} at the left margin",
        )
    return Document(file, tree, reader.lines, tuple(reader.findings))


def _refused(file: Path, line: int, problem: str, remedy: str) -> ConfigError:
    return ConfigError((Finding(file, line, "", problem, remedy),))


def read_text(
    file: Path,
    what: str = "a configuration file",
    if_too_large: str = "keep so many mobile routers in a database (home.mobile_router_db)",
) -> str:
    """The whole of a file of UTF-8. Raises ConfigError, which says to name `what` and what to do
    `if_too_large`."""
    try:
        with open(file, "rb") as stream:
            octets = stream.read(MAX_OCTETS + 1)
    except (OSError, ValueError) as error:
        # ValueError: a NUL in the name.
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise _refused(file, 1, f"cannot be read: {reason}", f"name {what}") from error
    if len(octets) > MAX_OCTETS:
        raise _refused(file, 1, "is larger than 16 MiB", if_too_large)
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise _refused(file, line, "not UTF-8 text", "save the file as UTF-8") from error


class _Loader(yaml.SafeLoader):
    """Refuses what a configuration has no use for and what could grow without bound."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _syntax("an alias (*name)", event)
        if getattr(event, "tag", None) not in {None, "!"}:
            raise _syntax("a tag (!name)", event)
        if isinstance(event, yaml.ScalarEvent) and _LONE_SURROGATE.search(event.value):
            raise _syntax("half a character (a lone surrogate)", event)
        if self.depth == _MAX_DEPTH:
            raise _syntax("a value nested too deeply", event)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|)\Z"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), ["t", "f"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z"), list("-0123456789")
)


def _syntax(problem: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]


def _compose(file: Path, text: str, pattern: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _refused(file, line, "a control character", "remove it") from error
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(file, error, pattern) from error
    except (ValueError, OverflowError) as error:
        # PyYAML gives \UFFFFFFFF in quotes to chr(), and any number after %YAML to int().
        problem = "an escape or number that YAML does not know"
        raise _refused(file, loader.line + 1, problem, "remove it") from error


def _not_yaml(file: Path, error: yaml.MarkedYAMLError, pattern: str) -> ConfigError:
    said = error.problem or str(error)
    other = _Phrase(
        "",
        f"not YAML that is read here: {said}",
        f"write plain keys and values, as {pattern} does",
    )
    phrase = next((phrase for phrase in _PHRASES if phrase.part in said), other)
    marks = [error.problem_mark, error.context_mark]
    mark = next(filter(None, reversed(marks) if phrase.stands_at_context else marks), None)
    return _refused(file, 1 if mark is None else mark.line + 1, phrase.problem, phrase.remedy)


class _Reader:
    """Takes the nodes apart: values into plain types, marks into `lines`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self.findings: list[Finding] = []

    def value(self, node: yaml.Node, key: KeyPath) -> object:
        self.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*key, index)) for index, item in enumerate(node.value)]
        return _WORDS[node.tag](node.value)

    def _mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, object]:
        tree: dict[str, object] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                self._add(line, key, "a list or mapping stands where a key should", "write a name")
                continue
            inner = (*key, name_node.value)
            if name_node.value in tree:
                first = self.lines[inner]
                self._add(line, inner, f"is given twice, first on line {first}", "remove one of the two")
                continue
            self.lines[inner] = line
            tree[name_node.value] = self.value(value_node, inner)
        return tree

    def _add(self, line: int, key: KeyPath, problem: str, remedy: str) -> None:
        self.findings.append(Finding(self.file, line, dotted(key), problem, remedy))
