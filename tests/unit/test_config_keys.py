"""Key files: what is accepted, what is said of the others, what is made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from haha_exabgp.agent.settings import configured_policies, mobile_router_config
from haha_exabgp.cli.main import main
from haha_exabgp.config.errors import ConfigError
from haha_exabgp.config.key_file import KeyFileError, read_key
from haha_exabgp.config.keys import (
    every_key,
    key_files,
    key_of_mobile_router,
    keys_of_home_agent,
    make_missing,
    no_key,
)
from haha_exabgp.config.loader import LoadedHome, load

CASES = Path(__file__).parents[1] / "cases" / "config"
SECRET = "00112233445566778899aAbBcCdDeEfF"


@pytest.fixture
def home(tmp_path: Path) -> LoadedHome:
    """The good configuration with all its keys made."""
    file = tmp_path / "home.yaml"
    file.write_text((CASES / "good.yaml").read_text())
    loaded = load(file, no_key)
    list(make_missing(loaded.key_path(name) for _, name in key_files(loaded.config)))
    return loaded


def key_file(directory: Path, content: str | bytes, mode: int = 0o600) -> Path:
    file = directory / "test.key"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return file


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_key_is_32_hexadecimal_digits(tmp_path: Path, end: str) -> None:
    assert read_key(key_file(tmp_path, SECRET + end)) == bytes.fromhex(SECRET)


@pytest.mark.parametrize(
    "content",
    [
        "",
        SECRET[:-1],
        SECRET + "0",
        SECRET[:-1] + "g",
        "\n" + SECRET,
        SECRET + " x",
        b"\xff" * 16,
        "0" * 5000,
    ],
)
def test_other_content_is_refused_and_never_shown(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(KeyFileError, match="does not hold a key") as caught:
        read_key(key_file(tmp_path, content))
    assert "2233445566" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o602, 0o777])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    file = key_file(tmp_path, SECRET, mode)
    with pytest.raises(KeyFileError) as caught:
        read_key(file)
    assert caught.value.problem == f'"{file}" is open to others (mode {mode:04o})'
    assert caught.value.remedy == f"run: chmod 600 {file}"
    file.chmod(0o400)
    assert len(read_key(file)) == 16


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo, 0o600)
    link.symlink_to(key_file(tmp_path, SECRET))
    for file, problem in (
        (fifo, "is not a regular file"),
        (tmp_path, "is not a regular file"),
        (link, "is a symbolic link"),
        (tmp_path / "test.key" / "x", "cannot be read: Not a directory"),
        (Path("a\0b"), "cannot be read: embedded null byte"),
    ):
        with pytest.raises(KeyFileError) as caught:
            read_key(file)
        assert caught.value.problem.endswith(problem)


def test_made_keys_are_private_random_and_kept(home: LoadedHome) -> None:
    files = [home.key_path(name) for _, name in key_files(home.config)]
    assert [str(file.relative_to(home.path.parent)) for file in files] == [
        "keys/mesh.key",
        "keys/bgp.key",
        "keys/mr1.key",
        "keys/mr2.key",
    ]
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    keys = [read_key(file) for file in files]
    assert len(set(keys)) == 4
    files[2].unlink()
    assert list(make_missing(files)) == [files[2]]
    assert [read_key(file) for file in files[:2]] == keys[:2]
    assert read_key(files[2]) != keys[2]


def test_made_keys_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        (file,) = make_missing([tmp_path / "test.key"])
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    blocked = key_file(tmp_path, SECRET) / "inside" / "mr1.key"
    with pytest.raises(KeyFileError) as caught:
        list(make_missing([blocked]))
    assert "cannot be made: " in caught.value.problem


def test_loaded_keys_are_those_of_the_files(home: LoadedHome) -> None:
    loaded = load(home.path)
    directory = home.path.parent / "keys"
    assert loaded.mesh_key().hex() == (directory / "mesh.key").read_text().strip()
    assert loaded.bgp_key().hex() == (directory / "bgp.key").read_text().strip()
    assert loaded.associations_of("mr2")[0].key.hex() == (directory / "mr2.key").read_text().strip()


def test_findings_of_keys_stand_at_the_lines_that_name_them(home: LoadedHome) -> None:
    directory = home.path.parent / "keys"
    (directory / "mesh.key").unlink()
    (directory / "mr1.key").chmod(0o644)
    (directory / "mr2.key").write_text("x")
    with pytest.raises(ConfigError) as caught:
        load(home.path)
    assert str(caught.value).split("\n") == [
        f'{home.path}:5: home.mesh_key_file: "{directory}/mesh.key" does not exist; '
        f"create it with: haha keys {home.path}",
        f'{home.path}:35: mobile_routers.mr1.key_file: "{directory}/mr1.key" is open to others (mode 0644); '
        f"run: chmod 600 {directory}/mr1.key",
        f'{home.path}:42: mobile_routers.mr2.key_file: "{directory}/mr2.key" does not hold a key '
        "(size in octets: 1); put 32 hexadecimal digits into it, or remove it and let haha keys make one",
    ]


def test_a_mobile_router_needs_its_own_key_only(home: LoadedHome) -> None:
    for name in ("mesh", "bgp", "mr2"):
        (home.path.parent / "keys" / f"{name}.key").unlink()
    loaded = load(home.path, key_of_mobile_router("mr1"))
    assert len(loaded.associations_of("mr1")[0].key) == 16
    with pytest.raises(ConfigError, match=r"mr2\.key_file: .* does not exist"):
        load(home.path, key_of_mobile_router("mr2"))
    assert len(loaded.key_findings(every_key)) == 3


def test_a_key_that_went_bad_after_loading_is_a_finding_with_its_line(home: LoadedHome) -> None:
    loaded = load(home.path)
    (home.path.parent / "keys" / "bgp.key").chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        loaded.bgp_key()
    assert [finding.line for finding in caught.value.findings] == [7]


def test_the_file_is_quoted_for_the_shell(tmp_path: Path) -> None:
    file = tmp_path / "my home.yaml"
    file.write_text((CASES / "good.yaml").read_text())
    with pytest.raises(ConfigError) as caught:
        load(file, key_of_mobile_router("mr1"))
    assert caught.value.findings[0].remedy == f"create it with: haha keys '{file}'"


@pytest.fixture
def held_at_home(tmp_path: Path) -> LoadedHome:
    """The keys of mr1 are to be at its primary only."""
    file = tmp_path / "home.yaml"
    more = "    spi: 4096\n    keys_at: [ha1]\n    aaa_key_file: keys/mr1.aaa.key\n"
    file.write_text((CASES / "good.yaml").read_text().replace("    spi: 4096\n", more))
    loaded = load(file, no_key)
    assert len(list(make_missing(loaded.key_path(name) for _, name in key_files(loaded.config)))) == 5
    return loaded


@pytest.mark.requirement("S-4")
def test_a_home_agent_needs_no_keys_that_others_have_for_it(held_at_home: LoadedHome) -> None:
    for name in ("mr1", "mr1.aaa"):
        (held_at_home.path.parent / "keys" / f"{name}.key").unlink()
    loaded = load(held_at_home.path, keys_of_home_agent("ha2"))
    mr1, mr2 = configured_policies(loaded, "ha2").values()
    assert (mr1.associations, mr1.aaa) == ((), None)
    assert [one.spi for one in mr2.associations] == [4097]
    with pytest.raises(ConfigError) as caught:
        load(held_at_home.path, keys_of_home_agent("ha1"))
    assert [finding.key for finding in caught.value.findings] == [
        "mobile_routers.mr1.key_file",
        "mobile_routers.mr1.aaa_key_file",
    ]


@pytest.mark.requirement("S-4")
def test_mobile_router_and_primary_have_both_keys(held_at_home: LoadedHome) -> None:
    directory = held_at_home.path.parent / "keys"
    mr1, _ = configured_policies(load(held_at_home.path, keys_of_home_agent("ha1")), "ha1").values()
    (directory / "mesh.key").unlink()
    config = mobile_router_config(load(held_at_home.path, key_of_mobile_router("mr1")), "mr1")
    assert config.aaa == mr1.aaa is not None
    assert mr1.aaa.key.hex() == (directory / "mr1.aaa.key").read_text().strip()
    assert mr1.aaa.key.hex() not in f"{mr1!r}{config!r}"


def test_check_can_be_told_on_which_host_it_is(
    held_at_home: LoadedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    (held_at_home.path.parent / "keys" / "mr1.aaa.key").unlink()
    assert main(["check", str(held_at_home.path), "--home-agent", "ha2"]) == 0
    assert main(["check", str(held_at_home.path)]) == 2
    assert "mr1.aaa.key" in capsys.readouterr().err
