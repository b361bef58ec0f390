"""`haha mr-db` as an operator meets it: what is taken, what is refused in which words, what stays."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from haha_exabgp.config.errors import ConfigError
from haha_exabgp.mobile_routers import files
from haha_exabgp.protocol.home import LeakPolicy, ReplayProtectionMode
from haha_exabgp.wire.address import Prefix
from haha_exabgp.wire.authentication import Algorithm
from tests.unit.mr_db_command import (
    ALL_COLUMNS,
    COLUMNS,
    KEY,
    OTHER_KEY,
    TWO,
    haha,
    imported,
    stored,
    written,
)

GOOD = (Path(__file__).parents[1] / "cases" / "config" / "good.yaml").read_text()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(text: str, name: str = "in.csv", *options: str) -> list[str]:
    """What an import says of a file; nothing of what was in the database has changed then."""
    before = stored() if Path("mr.db").exists() else []
    with pytest.raises(ConfigError) as caught:
        imported(text, name, *options)
    assert (stored() if Path("mr.db").exists() else []) == before
    said = str(caught.value)
    assert KEY not in said
    return [line.removeprefix(f"{name}:") for line in said.split("\n")]


def config(text: str = GOOD) -> str:
    return written("home.yaml", text.replace("  asn:", "  mobile_router_db: mr.db\n  asn:"))


@pytest.mark.requirement("P-5", "S-3")
def test_what_is_imported_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(COLUMNS + TWO) == 0
    assert capsys.readouterr().out == "mr.db: 2 added, 0 changed, 0 unchanged, 0 removed; 2 in all\n"
    one, two = stored()
    assert (one.name, str(one.home_address)) == ("a1", "2001:db8:1:2::1")
    assert one.prefixes == (Prefix.parse("2001:db8:1:a::/64"), Prefix.parse("2001:db8:1:b::/64"))
    assert (one.replay, one.proxies) == (ReplayProtectionMode.TIMESTAMP, None)
    assert [(key.spi, key.key.hex(), key.algorithm) for key in one.associations] == [
        (4096, KEY, Algorithm.HMAC_SHA1)
    ]
    assert (two.prefixes, two.replay, two.proxies) == (
        (), ReplayProtectionMode.SEQUENCE, frozenset({"ha1", "ha2"})
    )  # fmt: skip
    assert [(key.spi, key.algorithm) for key in two.associations] == [
        (4097, Algorithm.HMAC_SHA256),
        (4096, Algorithm.HMAC_SHA1),
    ]
    assert stat.S_IMODE(Path("mr.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", ["csv", "json", "yaml"])
def test_what_is_exported_with_keys_is_the_same_when_imported(suffix: str) -> None:
    imported(COLUMNS + TWO + f"a3,2001:db8:1:3::1,,4096:hmac-sha1:{KEY},timestamp,none\n")
    imported(f"name,home_address,keys,leak\na4,2001:db8:1:4::1,4096:hmac-sha1:{KEY},on-traffic\n")
    before = stored()
    assert [one.leak for one in before] == [None, None, LeakPolicy.ON_TRAFFIC, None]
    assert haha("export", f"out.{suffix}", "--with-keys", "--db", "mr.db") == 0
    assert stat.S_IMODE(Path(f"out.{suffix}").stat().st_mode) == 0o600
    assert haha("import", f"out.{suffix}", "--db", "other.db") == 0
    Path("other.db").rename("mr.db")
    assert stored() == before
    assert stored()[1].proxies == frozenset()


@pytest.mark.requirement("K-6")
def test_a_leak_policy_that_is_none_is_told() -> None:
    text = f"name,home_address,keys,leak\na4,2001:db8:1:4::1,4096:hmac-sha1:{KEY},sometimes\n"
    assert told(text) == ['2: a4.leak: "sometimes" is not known; write always, on-traffic, never, or nothing']


@pytest.mark.parametrize("suffix", ["csv", "json", "yaml"])
def test_what_is_exported_without_keys_can_be_edited_and_imported_again(suffix: str) -> None:
    imported(COLUMNS + TWO)
    before = stored()
    assert haha("export", f"out.{suffix}", "--db", "mr.db") == 0
    text = Path(f"out.{suffix}").read_text()
    assert KEY not in text and OTHER_KEY not in text
    assert imported(text.replace("2001:db8:1:b::/64", "2001:db8:1:c::/64"), f"out.{suffix}") == 0
    after = stored()
    assert after[0].prefixes[1] == Prefix.parse("2001:db8:1:c::/64")
    assert [one.associations for one in after] == [one.associations for one in before]


def test_without_a_file_it_is_exported_to_the_terminal_but_no_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    imported(COLUMNS + TWO)
    capsys.readouterr()
    assert haha("export", "--db", "mr.db") == 0
    assert capsys.readouterr().out == ALL_COLUMNS + "\n" + (
        "a1,2001:db8:1:2::1,2001:db8:1:a::/64 2001:db8:1:b::/64,4096:hmac-sha1,timestamp,,\n"
        "a2,2001:db8:2:2::1,,4097:hmac-sha256 4096:hmac-sha1,sequence,ha1 ha2,\n"
    )
    assert haha("export", "--with-keys", "--db", "mr.db") == 1
    assert haha("export", written("there.csv", ""), "--db", "mr.db") == 1
    assert Path("there.csv").read_text() == ""


def test_everything_wrong_is_told_at_once_with_its_line_and_nothing_is_taken() -> None:
    imported(COLUMNS + TWO)
    lines = (
        f"b1,2001:db8:1:2::2,,4096:hmac-sha1:{KEY},,\n"
        f"B2,2001:db8:1:2::3,,4096:hmac-sha1:{KEY},,\n"
        f"b3,fe80::1,2001:db8:1:d::1/64,255:hmac-sha1:{KEY},never,\n"
        f"b4,2001:db8:1:2::4,,4096:hmac-md5:{KEY},,ha1 HA2\n"
        f"b5,2001:db8:1:2::5,,4096:hmac-sha1:{KEY}00,,\n"
        "b6,2001:db8:1:2::6,,,,\n"
        f"b7,2001:db8:1:2::7,2001:db8:1:e::/64 2001:db8:1:e::/80,4096:hmac-sha1:{KEY} 4096::{KEY},,\n"
        f"b1,2001:db8:1:2::8,,4096:hmac-sha1:{KEY},,\n"
        f'b9,"2001:db8:1:2::9",,4097:hmac-sha1,,\n'
    )
    assert told(COLUMNS + lines) == [
        '3: name: "B2" cannot be a name; use lower case letters, digits and dashes, a letter first, at most'
        " 15 characters",
        "4: b3.home_address: fe80::1 is not a routable unicast address; write one that is",
        '4: b3.prefixes: "2001:db8:1:d::1/64" is not a prefix; write one such as 2001:db8:1::/64, with no'
        " bits set beyond its length",
        "4: b3.keys: 255 is not an SPI; write a number from 256 to 4294967295",
        '4: b3.replay: "never" is not known; write timestamp or sequence',
        '5: b4.keys: "hmac-md5" is not an algorithm; write hmac-sha1 or hmac-sha256',
        '5: b4.proxies: "HA2" is no name of a Home Agent; write names',
        "6: b5.keys: the key of SPI 4096 is not one; write 32 hexadecimal digits",
        "7: b6.keys: there is no key; write a key or a key_file",
        "8: b7.prefixes: 2001:db8:1:e::/80 overlaps another of its own; write each once",
        "8: b7.keys: an SPI is there twice; give each key another",
        "9: b1.name: b1 stands there twice, first on line 2; remove one of the two",
        "10: b9.keys: there is no key of SPI 4097; write a key or a key_file",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("b1,2001:db8:1:2::1,", "b1.home_address: 2001:db8:1:2::1 is that of a1 already; write another"),
        (
            "b1,2001:db8:1:a::9,",
            "b1.home_address: 2001:db8:1:a::9 is inside 2001:db8:1:a::/64, a prefix of a1; write an address"
            " that is in no other mobile router's prefixes",
        ),
        (
            "b1,2001:db8:1:2::9,2001:db8:1:b:8000::/66",
            "b1.prefixes: 2001:db8:1:b:8000::/66 overlaps a prefix of a1; write a prefix that overlaps no"
            " other",
        ),
        (
            "b1,2001:db8:1:2::9,2001:db8:1:a::/63",
            "b1.prefixes: 2001:db8:1:a::/63 overlaps a prefix of a1; write a prefix that overlaps no other",
        ),
        (
            "b1,2001:db8:3:2::9,2001:db8:2:2::/64",
            "b1.prefixes: 2001:db8:2:2::/64 holds the home address of a2; write a prefix that holds nobody"
            " else's",
        ),
        (
            "b1,2001:db8:1:2::9,2001:db8:2:2::/64",
            "b1.prefixes: 2001:db8:2:2::/64 holds the home address of a2; write a prefix that holds nobody"
            " else's",
        ),
        (
            "b1,2001:db8:1:2::9,2001:db8:1:e::/63",
            "b1.prefixes: 2001:db8:1:e::/63 overlaps a prefix of a3; write a prefix that overlaps no other",
        ),
        (
            "b1,2001:db8:1:2::9,2001:db8:1:a::/64",
            "b1.prefixes: 2001:db8:1:a::/64 overlaps a prefix of a1; write a prefix that overlaps no other",
        ),
        (
            "b1,2001:db8:1:1f::7,",
            "b1.home_address: 2001:db8:1:1f::7 is inside 2001:db8:1:1f::7/128, a prefix of a3; write an"
            " address that is in no other mobile router's prefixes",
        ),
    ],
)
def test_clashes_with_what_is_stored_are_refused(line: str, expected: str) -> None:
    imported(COLUMNS + TWO + f"a3,2001:db8:1:2::3,2001:db8:1:e::/64 2001:db8:1:1f::7/128,4096::{KEY},,\n")
    assert told(f"{COLUMNS}{line},4096:hmac-sha1:{KEY},,\n") == [f"2: {expected}"]


def test_clashes_inside_a_file_name_both_lines() -> None:
    text = (
        f"{COLUMNS}b1,2001:db8:1:2::1,2001:db8:1:a::/64,4096:hmac-sha1:{KEY},,\n\n"
        f"b2,2001:db8:1:2::1,2001:db8:1:a:8000::/65,4096:hmac-sha1:{KEY},,\n"
    )
    assert told(text) == [
        "4: b2.home_address: 2001:db8:1:2::1 is that of b1 already (line 2); write another",
        "4: b2.prefixes: 2001:db8:1:a:8000::/65 overlaps a prefix of b1 (line 2); write a prefix that"
        " overlaps no other",
    ]


def test_two_may_swap_what_they_have() -> None:
    imported(COLUMNS + TWO)
    swapped = TWO.replace("2001:db8:1:2::1", "x").replace("2001:db8:2:2::1", "2001:db8:1:2::1")
    assert imported(COLUMNS + swapped.replace("x", "2001:db8:2:2::1")) == 0
    assert {one.name: str(one.home_address) for one in stored()} == {
        "a1": "2001:db8:2:2::1",
        "a2": "2001:db8:1:2::1",
    }


def test_very_many_mistakes_are_counted() -> None:
    lines = told(COLUMNS + "".join(f"x{n},nowhere,,,,\n" for n in range(1000)))
    assert len(lines) == 51
    assert lines[-1] == "52: 950 more are wrong; mend these first"


def test_the_rest_goes_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    imported(COLUMNS + TWO)
    capsys.readouterr()
    third = f"a3,2001:db8:1:a::1,2001:db8:1:a::/64,4096:hmac-sha1:{KEY},,\n"
    assert len(told(COLUMNS + third)) == 2
    for nobody in (third, ""):
        assert imported(COLUMNS + nobody, "in.csv", "--replace") == 1
        assert "in.csv has none of the 2 mobile routers that are there" in capsys.readouterr().err
        assert [one.name for one in stored()] == ["a1", "a2"]
    first = TWO.splitlines()[0] + "\n"
    assert imported(COLUMNS + first, "in.csv", "--replace") == 0
    assert capsys.readouterr().out == "mr.db: 0 added, 0 changed, 1 unchanged, 1 removed; 1 in all\n"
    assert imported(COLUMNS + third, "in.csv", "--replace", "--yes") == 0
    assert capsys.readouterr().out == "mr.db: 1 added, 0 changed, 0 unchanged, 1 removed; 1 in all\n"
    assert [one.name for one in stored()] == ["a3"]


def test_a_file_with_keys_that_others_can_read_is_refused() -> None:
    written("in.csv", COLUMNS + TWO, 0o640)
    with pytest.raises(ConfigError, match=r"in\.csv:1: it holds keys, and is open to others \(mode 0640\)"):
        haha("import", "in.csv", "--db", "mr.db")
    assert stored() == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("in.txt", "", '1: ".txt" is no form of file known here; use .csv, .json, .yaml, .yml'),
        ("in.csv", "name\n", f"1: the first line does not name the columns; write: {ALL_COLUMNS}"),
        ("in.csv", "", f"1: the first line does not name the columns; write: {ALL_COLUMNS}"),
        (
            "in.csv",
            "name,home_address\na1\n",
            "2: 1 fields stand where 2 should; put a field with a comma in it in quotes",
        ),
        ("in.csv", 'name,home_address\n"a"x,b\n', "2: not CSV: ',' expected after '\"'; write one line each"),
        ("in.csv", "\xff", None),
        ("in.json", "{}", '1: not JSON: no "[" where one should be; write a list of objects'),
        ("in.json", "[\n{},\n5]", "3: not an object; write objects of " + ALL_COLUMNS.replace(",", ", ")),
        ("in.json", "[\n\n{,]", None),
        ("in.json", '[\n{"name": "a", "name": "b"}]', "2: not JSON: a field is given twice; write a list of"
         " objects"),
        ("in.json", "[] x", "1: not JSON: something stands behind the list; write a list of objects"),
        ("in.json", "[" * 100_000, None),
        ("in.json", "[{},", None),
        ("in.yaml", "mobile_routers: 5", None),
        ("in.yaml", "home: {}\nmobile_routers: {}", None),
        ("in.yaml", "mobile_routers:\n  a1:\n  a1:\n", None),
    ],
)  # fmt: skip
def test_what_is_no_file_of_mobile_routers_is_told(name: str, text: str, expected: str | None) -> None:
    lines = told(text, name)
    assert expected is None or lines == [expected]
    assert len(lines) == 1 and lines[0].partition(":")[0].isdigit()


def test_what_is_too_much_yaml_is_told_and_not_exported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(COLUMNS + TWO)
    assert haha("export", "out.yaml", "--db", "mr.db") == 0
    monkeypatch.setattr(files, "MAX_OCTETS", Path("out.yaml").stat().st_size - 1)
    (line,) = told(Path("out.yaml").read_text(), "in.yaml")
    assert line == "1: is larger than 16 MiB, the most that is read of YAML; write it as .csv or .json"
    capsys.readouterr()
    assert haha("export", "more.yaml", "--db", "mr.db") == 1
    assert "name a .csv or .json file" in capsys.readouterr().err
    assert not Path("more.yaml").exists()
    assert haha("export", "more.json", "--db", "mr.db") == 0


def test_an_export_makes_no_directory(capsys: pytest.CaptureFixture[str]) -> None:
    imported(COLUMNS + TWO)
    capsys.readouterr()
    assert haha("export", "typo/out.csv", "--db", "mr.db") == 1
    assert capsys.readouterr().err == 'haha: "typo" is no directory; make it first\n'
    assert not Path("typo").exists()


def test_json_and_yaml_tell_lines_and_read_key_files() -> None:
    written("a.key", KEY)
    entry = {"name": "a1", "home_address": "2001:db8:1:2::1", "keys": [{"spi": 4096, "key_file": "a.key"}]}
    other = {**entry, "name": "a2", "prefixes": 5, "keys": [7, {"spi": True, "kei": 1}], "colour": "red"}
    assert told("[" + json.dumps(entry) + ",\n\n" + json.dumps(other) + "]", "in.json") == [
        "3: a2.colour: unknown; the fields are name, home_address, prefixes, keys, replay, proxies, leak",
        "3: a2.prefixes: 5 is not a list; write a list",
        "3: a2.keys: a key is not a mapping; write spi, algorithm, key, key_file",
        "3: a2.keys: unknown: kei; the fields are spi, algorithm, key, key_file",
        "3: a2.keys: true is not an SPI; write a number from 256 to 4294967295",
    ]
    assert imported(json.dumps([entry]), "in.json") == 0
    assert stored()[0].associations[0].key.hex() == KEY
    yaml = "mobile_routers:\n  a2:\n    home_address: 2001:db8:1:2::2\n    keys: [{spi: 256, key_file: b}]\n"
    (line,) = told(yaml, "in.yaml")
    assert line == '2: a2.keys: "b" does not exist; name the file of the key'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mr1,2001:db8:1:2::1,", "name: mr1 is a name of the configuration"),
        ("a1,2001:db8:3:2::1,", "home_address: 2001:db8:3:2::1 is in no site's partition"),
        ("a1,2001:dead::1,", "home_address: 2001:dead::1 is outside Home"),
        ("a1,2001:db8:1:1::10,", "home_address: 2001:db8:1:1::10 is an address of the configuration"),
        (
            "a1,2001:db8:1:100::1,",
            "home_address: 2001:db8:1:100::1 is inside 2001:db8:1:100::/64, a prefix of mr1 in the",
        ),
        (
            "a1,2001:db8:1:2::1,2001:db8:2:a::/64",
            "prefixes: 2001:db8:2:a::/64 is not in the partition of its home address, 2001:db8:1::/48",
        ),
        (
            "a1,2001:db8:1:2::1,2001:db8:1:1f0::/60 2001:db8:1:200::/56",
            "prefixes: 2001:db8:1:200::/56 overlaps 2001:db8:1:200::/64, a prefix of mr1 in the",
        ),
        (
            "a1,2001:db8:1:2::1,2001:db8:1:100:8000::/65",
            "prefixes: 2001:db8:1:100:8000::/65 overlaps 2001:db8:1:100::/64, a prefix of mr1 in the",
        ),
        (
            "a1,2001:db8:1:2::1,2001:db8:1:1::/64",
            "prefixes: 2001:db8:1:1::/64 holds the home address of mr1 in the configuration",
        ),
    ],
)
def test_what_has_no_place_in_the_home_is_refused(line: str, expected: str) -> None:
    (said,) = told(f"{COLUMNS}{line},4096:hmac-sha1:{KEY},,\n", "in.csv", "--config", config())
    assert said.startswith(f"2: {line.partition(',')[0]}.{expected}")


def test_a_proxy_that_does_not_exist_is_refused_where_the_configuration_is_known() -> None:
    text = f"{COLUMNS}a1,2001:db8:1:2::1,,4096:hmac-sha1:{KEY},,ha2 ha3\n"
    assert told(text, "in.csv", "--config", config()) == [
        "2: a1.proxies: there is no Home Agent ha3; write some of ha1, ha2"
    ]


def test_the_database_is_found_from_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert haha("import", written("in.csv", COLUMNS + TWO), "--config", config()) == 0
    assert len(stored()) == 2
    capsys.readouterr()
    assert haha("list", "--config", written("bare.yaml", GOOD)) == 1
    assert "name the database" in capsys.readouterr().err
