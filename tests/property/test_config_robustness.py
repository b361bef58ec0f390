"""Whatever is in the file, loading gives a configuration or findings with a line: never a traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from haha_exabgp.config.errors import ConfigError
from haha_exabgp.config.keys import no_key
from haha_exabgp.config.loader import load

PLAIN = (Path(__file__).parents[1] / "cases" / "config" / "good.yaml").read_text()
MORE_OF_MR1 = """\
    spi: 4096
    keys:
      - spi: 5000
        key_file: keys/next.key
        algorithm: hmac-sha256
      - spi: 5001
    replay: sequence
    proxies:
      - ha1
"""
GOOD = PLAIN.replace("    spi: 4096\n", MORE_OF_MR1).replace(
    "  asn:", "  key_directory: keys\n  mobile_router_db: mr.db\n  asn:"
)
LINES = GOOD.split("\n")
KEYS = sorted({line.strip("- ").split(":")[0] for line in LINES if line})
VALUES = sorted({line.split(": ")[1] for line in LINES if ": " in line})

SYMBOLS = [
    "::",
    ":",
    "/",
    "0",
    "64",
    "128",
    "ff",
    "[",
    "]",
    "{",
    "}",
    "- ",
    "? ",
    "<<",
    ",",
    "%",
    "#",
    "~",
    "-",
]
SPECIALS = [
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "|\n",
    ">\n",
    "'",
    '"',
    "\\",
    "\\ud800",
    "\\U00110000",
    "\n",
    "\n  ",
]
WORDS = [
    "\t",
    "\0",
    "\x85",
    "é",
    "null",
    "true",
    "yes",
    "1e9",
    "0x1f",
    "1_0",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
]
PIECES = st.sampled_from([*SYMBOLS, *SPECIALS, *WORDS, *KEYS, *VALUES, "[key]"])
NOISE = st.lists(PIECES, max_size=12).map("".join)
SCALARS = st.one_of(st.sampled_from(VALUES), NOISE, st.text(max_size=12), st.integers().map(str))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The good configuration after some lines were changed, removed, doubled, moved or indented."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        name = lines[at].split(":")[0]
        edit = draw(st.sampled_from(["value", "key", "remove", "double", "move", "indent", "noise"]))
        match edit:
            case "value":
                lines[at] = f"{name}: {draw(SCALARS)}"
            case "key":
                lines[at] = lines[at].replace(name.strip(), draw(st.sampled_from(KEYS) | NOISE), 1)
            case "remove":
                lines[at : at + draw(st.integers(1, 9))] = [""]
            case "double":
                lines.insert(at, lines[at])
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case "indent":
                lines[at] = " " * draw(st.integers(0, 8)) + lines[at].lstrip()
            case "noise":
                lines[at] += draw(NOISE)
    return "\n".join(lines)


def test_what_is_mutated_is_good() -> None:
    assert_loads_or_tells(GOOD.encode(), loads=True)


def assert_loads_or_tells(content: bytes, loads: bool = False) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "home.yaml"
        file.write_bytes(content)
        try:
            loaded = load(file, no_key)
        except ConfigError as error:
            findings = error.findings
            assert not loads, error
        else:
            assert loaded.config.sites
            return
    assert findings
    assert [one.line for one in findings] == sorted(one.line for one in findings)
    assert all(1 <= one.line <= len(content.decode(errors="replace").splitlines()) + 1 for one in findings)
    assert all(one.problem and one.remedy for one in findings)
    assert len(str(error_text := ConfigError(findings)).splitlines()) == len(findings), error_text


@given(st.binary(max_size=200))
def test_any_octets(content: bytes) -> None:
    assert_loads_or_tells(content)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    assert_loads_or_tells(text.encode(errors="ignore"))


@given(NOISE)
@example("? ? ? a")
@example("home: {sites: {[key]: 1}}")
def test_pieces_of_yaml(text: str) -> None:
    assert_loads_or_tells(text.encode())


@given(mutated())
def test_mutated_configurations(text: str) -> None:
    assert_loads_or_tells(text.encode(errors="ignore"))
