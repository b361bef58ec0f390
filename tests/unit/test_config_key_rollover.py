"""Several keys of one mobile router, the directory of keys, and the change of a key."""

from __future__ import annotations

import argparse
import stat
from pathlib import Path

import pytest

from haha_exabgp.agent.settings import mobile_router_config
from haha_exabgp.cli import keys
from haha_exabgp.config.errors import ConfigError
from haha_exabgp.config.key_file import KeyFileError, read_key
from haha_exabgp.config.keys import every_key, key_of_mobile_router, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.wire.authentication import Algorithm

GOOD = (Path(__file__).parents[1] / "cases" / "config" / "good.yaml").read_text()
SHORT = "    key_file: keys/mr1.key\n    spi: 4096\n"
assert SHORT in GOOD


def haha_keys(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    keys.register(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["keys", *map(str, arguments)])
    status: int = parsed.run(parsed)
    return status


def home(tmp_path: Path, of_mr1: str = SHORT, in_home: str = "") -> Path:
    file = tmp_path / "home.yaml"
    file.write_text(GOOD.replace(SHORT, of_mr1).replace("  asn:", f"{in_home}  asn:"))
    return file


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of a Home whose mr1 has its keys in the directory of keys."""
    file = home(tmp_path, "", "  key_directory: keys\n")
    assert haha_keys(file) == 0
    return file


@pytest.mark.parametrize(("octets", "fits"), [(15, False), (16, True), (32, True), (64, True), (65, False)])
def test_a_key_for_sha256_may_be_longer(tmp_path: Path, octets: int, fits: bool) -> None:
    file = tmp_path / "test.key"
    file.write_text("ab" * octets)
    file.chmod(0o600)
    if fits:
        assert read_key(file, Algorithm.HMAC_SHA256) == b"\xab" * octets
        return
    with pytest.raises(KeyFileError, match="put 32 to 128 hexadecimal digits into it"):
        read_key(file, Algorithm.HMAC_SHA256)


def test_every_key_of_the_list_is_valid_and_the_first_signs(tmp_path: Path) -> None:
    listed = (
        "    keys:\n"
        "      - {spi: 4100, key_file: keys/new.key, algorithm: hmac-sha256}\n"
        "      - {spi: 4096, key_file: keys/mr1.key}\n"
    )
    file = home(tmp_path, listed)
    assert haha_keys(file) == 0
    loaded = load(file)
    new, old = loaded.associations()["mr1"]
    assert (new.spi, new.algorithm, len(new.key)) == (4100, Algorithm.HMAC_SHA256, 32)
    assert (old.spi, old.algorithm, len(old.key)) == (4096, Algorithm.HMAC_SHA1, 16)
    assert mobile_router_config(loaded, "mr1").associations == (new, old)
    (tmp_path / "keys" / "mr1.key").unlink()
    assert load(file, key_of_mobile_router("mr1")).associations_of("mr1") == (new,)
    with pytest.raises(
        ConfigError, match=r":37: mobile_routers\.mr1\.keys\[1\]\.key_file: .* does not exist"
    ):
        load(file)


def test_the_short_form_comes_before_the_list(tmp_path: Path) -> None:
    file = home(tmp_path, SHORT + "    keys: [{spi: 5000, key_file: keys/old.key}]\n")
    assert haha_keys(file) == 0
    assert [one.spi for one in load(file).associations()["mr1"]] == [4096, 5000]


def test_a_listed_key_without_a_file_is_in_the_directory(tmp_path: Path) -> None:
    listed = "    keys: [{spi: 5000, algorithm: hmac-sha256}]\n"
    file = home(tmp_path, listed, "  key_directory: secret\n")
    assert haha_keys(file) == 0
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o700
    (one,) = load(file).associations()["mr1"]
    assert one.key.hex() == (tmp_path / "secret" / "mr1.5000.hmac-sha256.key").read_text().strip()


def test_the_directory_is_searched_for_whom_names_no_key(directory: Path) -> None:
    (found,) = (directory.parent / "keys").glob("mr1.*")
    assert found.name == "mr1.4096.key"
    assert stat.S_IMODE(found.stat().st_mode) == 0o600
    (one,) = load(directory).associations()["mr1"]
    assert (one.spi, one.key.hex()) == (4096, found.read_text().strip())
    found.unlink()
    with pytest.raises(ConfigError) as caught:
        load(directory)
    assert str(caught.value) == (
        f"{directory}:31: mobile_routers.mr1: there is no key of mr1 in the directory of keys, keys; "
        f"create it with: haha keys {directory}"
    )


def test_the_directory_has_to_be_private(directory: Path) -> None:
    keys_of_mr1 = directory.parent / "keys"
    keys_of_mr1.chmod(0o750)
    with pytest.raises(ConfigError) as caught:
        load(directory)
    assert str(caught.value) == (
        f'{directory}:3: home.key_directory: "{keys_of_mr1}" is open to others (mode 0750); '
        f"run: chmod 700 {keys_of_mr1}"
    )
    # Whose key is named by its file does not care.
    load(directory, key_of_mobile_router("mr2"))


@pytest.mark.parametrize("name", ["mr1.sha.key", "mr1.255.key", "mr1.04097.key", "mr1.4097.sha256.key"])
def test_a_misnamed_key_is_told(directory: Path, name: str) -> None:
    (directory.parent / "keys" / name).touch(0o600)
    with pytest.raises(ConfigError, match=f":31: mobile_routers.mr1: .*{name}. is not how a key is called"):
        load(directory)


def test_one_spi_cannot_stand_for_two_files(directory: Path) -> None:
    (directory.parent / "keys" / "mr1.4096.hmac-sha256.key").touch(0o600)
    with pytest.raises(ConfigError, match=r":3: home\.key_directory: .* has the same SPI as mr1\.4096"):
        load(directory)


def test_a_key_changes_without_a_moment_in_which_the_mobile_router_is_refused(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The steps that `haha keys --roll` prints, done: at each the Home Agents take what mr1 signs with."""
    files = directory.parent / "keys"
    old_file = files / "mr1.4096.key"
    capsys.readouterr()
    before = load(directory).associations_of("mr1")[0]
    assert haha_keys(directory, "--roll", "mr1", "--algorithm", "hmac-sha256") == 0
    said = capsys.readouterr().out
    new_file = files / "mr1.4098.hmac-sha256.key"
    assert said.split("\n") == [
        f"{new_file}: made",
        "1. At every Home Agent: put keys/mr1.4098.hmac-sha256.key beside keys/mr1.4096.key, then:"
        " haha reload",
        "2. At mr1: put keys/mr1.4098.hmac-sha256.key beside keys/mr1.4096.key, then restart haha mr; it"
        " signs with the new key.",
        "3. At every Home Agent, when mr1 is bound again: remove the file keys/mr1.4096.key; then:"
        " haha reload",
        "",
    ]
    assert new_file.read_text().strip() not in said
    at_home_agents = load(directory).associations()["mr1"]
    after = load(directory, key_of_mobile_router("mr1")).associations_of("mr1")[0]
    assert (after.spi, after.algorithm) == (4098, Algorithm.HMAC_SHA256)
    assert {before, after} == set(at_home_agents)
    assert haha_keys(directory, "--roll", "mr1") == 1
    assert "has the keys 4098 and 4096 already" in capsys.readouterr().err
    old_file.unlink()
    assert load(directory).associations()["mr1"] == (after,)


def test_a_named_key_changes_by_two_edits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home(tmp_path)
    assert haha_keys(file) == 0
    capsys.readouterr()
    assert haha_keys(file, "--roll", "mr1") == 0
    said = capsys.readouterr().out
    assert "keys: [{spi: 4098, key_file: keys/mr1.4098.key, algorithm: hmac-sha1}]" in said
    assert stat.S_IMODE((tmp_path / "keys" / "mr1.4098.key").stat().st_mode) == 0o600
    entry = said.partition("keys: [")[2].partition("]")[0]
    home(tmp_path, f"{SHORT}    keys: [{entry}]\n")
    old, new = load(file).associations()["mr1"]
    home(tmp_path, f"    keys: [{entry}]\n")
    assert load(file).associations()["mr1"] == (new,) != (old,)


def test_rolling_whom_nobody_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home(tmp_path)
    assert haha_keys(file) == 0
    assert haha_keys(file, "--roll", "mr9") == 2
    assert "mr9" in capsys.readouterr().err


def test_no_key_is_ever_shown(directory: Path) -> None:
    (found,) = (directory.parent / "keys").glob("mr1.*")
    loaded = load(directory, no_key)
    assert found.read_text().strip() not in f"{loaded!r}{loaded.associations()!r}"
    assert loaded.key_findings(every_key) == ()
