"""`haha sim --topology` as a person or a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from haha_exabgp.cli.main import main
from tests.unit.planning_world import ROOT, SHIPPED, THREE_SITES

PLOTS = ("map", "signalling-by-kind", "stretch-by-sites", "stretch-cdf")


def sim(*arguments: object) -> int:
    return main(["sim", "--topology", str(SHIPPED), "--mobile", "200", *map(str, arguments)])


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim() == 0
    said = capsys.readouterr().out
    assert said.startswith("200 mobile routers, 12 sites, 1 h, seed 1: ")
    for title in ("Path stretch", "Hand-over gap", "Load", "Signalling by kind", "By site"):
        assert f"\n{title}" in said
    for variant in ("basic NEMO", "partitioned", "with leaks", "with projection"):
        assert said.count(f"│ {variant}") >= 3
    assert "BGP updates that the Internet sees: 0 a second." in said
    assert max(map(len, said.split("\n"))) <= 200


def test_numbers_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sim("--json", tmp_path / "result.json", "--hours", "0.5", "--seed", "7") == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["mobile_routers"], result["seconds"], result["seed"]) == (200, 1800, 7)
    assert list(result["variants"]) == ["basic_nemo", "partitioned", "leaks", "projection"]
    for variant in result["variants"].values():
        assert variant["bgp_updates"]["internet"] == 0
        assert variant["stretch"]["p50"] <= variant["stretch"]["p95"] <= variant["stretch"]["p99"]
        by_kind = variant["by_kind"].values()
        assert variant["messages"] == pytest.approx(sum(one["messages"] for one in by_kind))
        assert variant["octets"] == pytest.approx(sum(one["octets"] for one in by_kind))
        assert set(variant["by_site"]) == set(result["sites"])
    assert len(result["stretch_by_sites"]) == 12


def test_plots_are_pictures_and_the_same_each_time(tmp_path: Path) -> None:
    for directory in ("one", "other"):
        assert sim("--plots", tmp_path / directory) == 0
    made = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert made == sorted(f"{name}{suffix}" for name in PLOTS for suffix in (".png", ".svg"))
    for name in PLOTS:
        one = (tmp_path / "one" / f"{name}.svg").read_bytes()
        assert ElementTree.fromstring(one).tag == "{http://www.w3.org/2000/svg}svg"
        assert one == (tmp_path / "other" / f"{name}.svg").read_bytes()
        assert (tmp_path / "one" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_one_site_one_mobile_router(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The least there can be, and nobody moves between sites."""
    file = tmp_path / "one.yaml"
    file.write_text("sites:\n  london: {city: London}\nmobiles:\n  m: {speed: 1}\n")
    arguments = ["sim", "--topology", str(file), "--mobile", "1", "--plots", str(tmp_path), "--hours", "0.01"]
    assert main(arguments) == 0
    assert "1 mobile routers, 1 sites" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--mobile", "0"), "argument --mobile: '0' is not a whole number from 1 to 1000000"),
        (("--mobile", "many"), "argument --mobile: 'many' is not a whole number from 1 to 1000000"),
        (("--hours", "nan"), "argument --hours: 'nan' is not a number of hours from 0.01 to 1000"),
        (("--seed", "-1"), "argument --seed: '-1' is not a whole number from 0 to 9223372036854775807"),
    ],
)
def test_a_bad_command_line(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        sim(*arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_a_mistake_in_the_topology(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(THREE_SITES.replace("Tokyo", "Tokio"))
    assert main(["sim", "--topology", str(file)]) == 2
    told = f'{file}:3: sites.tokyo.city: "Tokio" is no city known here; did you mean "Tokyo"?'
    assert capsys.readouterr().err.startswith(told)


def test_more_than_fits_into_memory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim("--mobile", "100000", "--hours", "1000") == 1
    told = capsys.readouterr().err
    assert told.startswith("haha: that is about ") and "simulate fewer hours or mobile routers" in told


def test_where_nothing_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "no" / "result.json"
    assert sim("--json", file) == 1
    assert capsys.readouterr().err == f"haha: {file}: No such file or directory\n"


@pytest.mark.parametrize(("package", "options"), [("numpy", []), ("matplotlib", ["--plots", "nowhere"])])
def test_a_missing_package_is_one_line(package: str, options: list[str]) -> None:
    script = (
        f"import sys; sys.modules[{package!r}] = None; from haha_exabgp.cli.main import main;"
        f"sys.exit(main(['sim', '--topology', {str(SHIPPED)!r}, *{options!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    told = f"haha: planning needs {package}; install it with: pip install 'haha-exabgp[plan]'\n"
    assert done.stderr == told


def test_other_verbs_do_not_need_the_packages() -> None:
    script = "import sys; import haha_exabgp.cli.main; print({'numpy', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"
