"""Bad configurations and exactly what is said of them; most are recorded in tests/cases/config."""

from __future__ import annotations

from pathlib import Path

import pytest

from haha_exabgp.config.errors import ConfigError
from haha_exabgp.config.keys import no_key
from haha_exabgp.config.loader import load

CASES = Path(__file__).parents[1] / "cases" / "config"
GOOD = (CASES / "good.yaml").read_text()
MISTAKES = [block for block in (CASES / "mistakes.txt").read_text().strip().split("\n\n") if block[0] != "#"]


def edited(*edits: tuple[int, str]) -> str:
    lines = GOOD.split("\n")
    for number, text in edits:
        lines[number - 1] = text
    return "\n".join(lines)


def told(file: Path, content: str | bytes) -> list[str]:
    """What is said of a file, without its name; [] if it is good."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        load(file, no_key)
    except ConfigError as error:
        lines = str(error).split("\n")
        assert all(line.startswith(f"{file}:") for line in lines)
        return [line.removeprefix(f"{file}:") for line in lines]
    return []


def test_the_unedited_file_is_good(tmp_path: Path) -> None:
    assert told(tmp_path / "home.yaml", GOOD) == []


@pytest.mark.parametrize("block", MISTAKES, ids=lambda block: block.partition("\n")[0])
def test_each_mistake_is_told_with_its_line(tmp_path: Path, block: str) -> None:
    lines = block.split("\n")
    number, _, first = lines[0].partition("|")
    text = "\n".join([first, *(line[1:] for line in lines if line.startswith("|"))])
    expected = [line[2:] for line in lines if line.startswith("> ")]
    assert told(tmp_path / "home.yaml", edited((int(number), text))) == expected


def test_a_mobile_router_out_of_shape_hides_nothing_about_the_others(tmp_path: Path) -> None:
    text = GOOD.replace("home_address: 2001:db8:2:1::10", "home_addres: 2001:db8:2:1::10")
    text = text.replace("- 2001:db8:1:100::/64", "- 2001:db8:9:100::/64")
    problems = [line.split("; ")[0].partition(": ")[2] for line in told(tmp_path / "home.yaml", text)]
    assert problems == [
        "mobile_routers.mr1.prefixes[0]: 2001:db8:9:100::/64 is not in the partition of its home address,"
        " 2001:db8:1::/48 of site1 (line 12)",
        "mobile_routers.mr2.home_addres: unknown key",
    ]


def test_tabs_where_yaml_wants_spaces(tmp_path: Path) -> None:
    text = edited((12, "\tpartition: x"), (13, "    \tprovider_prefix: x"))
    assert told(tmp_path / "home.yaml", text) == [
        "12: a tab in the indentation; indent with spaces",
        "13: a tab in the indentation; indent with spaces",
    ]
    assert told(tmp_path / "home.yaml", edited((12, "    partition:\tx"))) == [
        "12: a tab where a value should begin; write spaces"
    ]


def test_deep_nesting_does_not_exhaust_the_stack(tmp_path: Path) -> None:
    (finding,) = told(tmp_path / "home.yaml", edited((12, "    partition: " + "[" * 100_000)))
    assert finding.startswith("12: not YAML that is read here: a value nested too deeply")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "1: the file is empty; begin with configs/two-sites.yaml as a pattern"),
        (b"# nothing\n", "1: the file is empty; begin with configs/two-sites.yaml as a pattern"),
        (
            b"\n- home\n",
            "2: a list stands where the keys of the file should; "
            "write the keys home, sites and mobile_routers at the left margin",
        ),
        (b"home:\n  asn: \xff\n", "2: not UTF-8 text; save the file as UTF-8"),
        (b"home:\n  asn: \x01\n", "2: a control character; remove it"),
        (b"%YAML " + b"9" * 5000 + b".1\n---\n", "1: an escape or number that YAML does not know; remove it"),
        (
            b"# " + b"x" * (16 << 20),
            "1: is larger than 16 MiB; keep so many mobile routers in a database (home.mobile_router_db)",
        ),
    ],
    ids=["empty", "comment", "list", "latin-1", "control", "directive", "large"],
)
def test_what_is_no_configuration_at_all(tmp_path: Path, content: bytes, expected: str) -> None:
    assert told(tmp_path / "home.yaml", content) == [expected]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent", "No such file or directory"), (".", "Is a directory"), ("a\0b", "embedded null byte")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name)
    (finding,) = caught.value.findings
    assert (finding.line, finding.problem) == (1, f"cannot be read: {reason}")


def test_a_byte_order_mark_and_carriage_returns_do_no_harm(tmp_path: Path) -> None:
    assert told(tmp_path / "home.yaml", b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == []


def test_mistakes_of_shape_are_told_all_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = edited((43, "    spi: x"), (36, "    spi: 4096\n    spi: 1"), (3, "  asn: x"), (21, ""))
    assert [line.partition(";")[0] for line in told(tmp_path / "home.yaml", text)] == [
        '3: home.asn: "x" is not a whole number',
        "20: sites.site2.partition: is missing",
        "37: mobile_routers.mr1.spi: is given twice, first on line 36",
        '44: mobile_routers.mr2.spi: "x" is not a whole number',
    ]


def test_clashes_between_values_are_told_all_at_once(tmp_path: Path) -> None:
    text = edited((43, "    spi: 256"), (28, "        haha: 2001:db8:ffff::1"), (8, "  lease: 60"))
    assert [line.partition(": ")[0] for line in told(tmp_path / "home.yaml", text)] == ["1", "28", "43"]


def test_sites_may_share_a_partition_if_both_say_so(tmp_path: Path) -> None:
    one, two = (12, "    partition: 2001:db8::/46"), (21, "    partition: 2001:db8:2::/48\n    shared: true")
    (finding,) = told(tmp_path / "home.yaml", edited(one, two))
    assert finding.startswith("21: sites.site2.partition: 2001:db8:2::/48 overlaps the partition of site1")
    both = (12, "    partition: 2001:db8::/46\n    shared: true")
    assert told(tmp_path / "home.yaml", edited(both, two)) == []


def test_of_three_nested_partitions_the_outermost_clashes_too(tmp_path: Path) -> None:
    third = "\n".join(GOOD.split("\n")[19:28]).replace("site2", "site3").replace("ha2", "ha3")
    third = third.replace("3fff:102", "3fff:103").replace("ffff::2", "ffff::3")
    text = edited(
        (12, "    partition: 2001:db8::/44"),
        (21, "    partition: 2001:db8:2::/47\n    shared: true"),
        (28, f"        haha: 2001:db8:ffff::2\n{third}\n    shared: true"),
    )
    (finding,) = told(tmp_path / "home.yaml", text)
    assert finding.startswith("21: sites.site2.partition: 2001:db8:2::/47 overlaps the partition of site1")


def test_a_home_address_may_not_be_inside_a_prefix_of_somebody_else(tmp_path: Path) -> None:
    text = edited((38, "    home_address: 2001:db8:1:200::7"), (40, "      - 2001:db8:1:300::/64"))
    assert told(tmp_path / "home.yaml", text) == [
        "38: mobile_routers.mr2.home_address: 2001:db8:1:200::7 is inside 2001:db8:1:200::/64, a prefix "
        "of mr1 (line 34); write an address that is in no other mobile router's prefixes"
    ]


def test_what_a_person_reads_stays_one_line_a_finding(tmp_path: Path) -> None:
    (finding,) = told(tmp_path / "home.yaml", edited((9, r'  "a\nb": 1')))
    assert finding.startswith(r"9: home.a\nb: unknown key")
