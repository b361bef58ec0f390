"""`haha exabgp`: what ExaBGP is started with outside the lab."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from haha_exabgp.cli.main import main
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load

CONFIGS = Path(__file__).parents[2] / "configs"
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "home.yaml"
    path.write_text((CONFIGS / "two-sites.yaml").read_text())
    home = load(path, no_key)
    assert list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
    (tmp_path / "exabgp").mkdir()
    return path


def write(config: Path, *, home_agent: str = "ha1", user: str = ME, to: str = "exabgp") -> int:
    words = ["--config", str(config), "--home-agent", home_agent, "--run-dir", "/var/lib/haha/agent"]
    return main(["exabgp", *words, "--user", user, "--to", str(config.parent / to)])


def test_both_files_are_written_for_their_user_only(config: Path) -> None:
    for _ in range(2):
        assert write(config) == 0
    directory = config.parent / "exabgp"
    assert sorted(file.name for file in directory.iterdir()) == ["exabgp.conf", "exabgp.env"]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in directory.iterdir())
    text = (directory / "exabgp.conf").read_text()
    assert "hook --socket /var/lib/haha/agent/hook.sock" in text
    assert (config.parent / "keys" / "bgp.key").read_text().strip() in text
    assert f"exabgp_daemon_user={ME}\n" in (directory / "exabgp.env").read_text()


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ({"home_agent": "ha9"}, 2, "haha: --home-agent: 'ha9' is not configured; there are: ha1, ha2\n"),
        ({"user": "nobody-has-this"}, 1, "haha: --user: there is no user nobody-has-this\n"),
        ({"to": "missing"}, 1, "No such file or directory"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    config: Path, capsys: pytest.CaptureFixture[str], options: dict[str, str], status: int, told: str
) -> None:
    assert write(config, **options) == status
    said = capsys.readouterr()
    assert told in said.err and said.err.count("\n") == 1 and said.out == ""
    assert list((config.parent / "exabgp").iterdir()) == []
