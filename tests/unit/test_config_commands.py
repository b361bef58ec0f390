"""`haha check` and `haha keys` as a person or a script meets them."""

from __future__ import annotations

import argparse
import json
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from haha_exabgp.cli import check, keys
from haha_exabgp.config.errors import ConfigError
from haha_exabgp.mobile_routers.database import MobileRouterDatabase
from haha_exabgp.protocol.home import MobileRouterPolicy, SecurityAssociation
from haha_exabgp.wire.address import Address

GOOD = (Path(__file__).parents[1] / "cases" / "config" / "good.yaml").read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "home.yaml"
    file.write_text(GOOD)
    return file


def haha(*arguments: object) -> int:
    """Run one of the two verbs as the command line does, ConfigError included."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True)
    check.register(verbs)
    keys.register(verbs)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    status: int = parsed.run(parsed)
    return status


def test_keys_makes_what_is_missing_and_then_check_is_content(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        haha("check", file)
    assert [finding.line for finding in caught.value.findings] == [5, 7, 35, 42]
    assert haha("keys", file) == 0
    names = ("mesh", "bgp", "mr1", "mr2")
    assert capsys.readouterr().out == "".join(f"{file.parent}/keys/{name}.key: made\n" for name in names)
    assert haha("keys", file) == 0
    assert haha("check", file) == 0
    assert capsys.readouterr().out == (
        f"nothing to do\n{file}: 1 Home, 2 sites, 2 home agents, 2 mobile routers: ok\n"
    )
    assert stat.S_IMODE((file.parent / "keys" / "mr1.key").stat().st_mode) == 0o600


def test_one_is_singular(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = GOOD.split("\n")
    file.write_text("\n".join(lines[:8] + lines[9:19] + lines[28:36]))
    assert haha("check", "--no-keys", file) == 0
    assert capsys.readouterr().out == f"{file}: 1 Home, 1 site, 1 home agent, 1 mobile router: ok\n"


def test_check_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert haha("check", "--json", "--no-keys", file) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(file),
        "ok": True,
        "findings": [],
        "sites": 2,
        "home_agents": 2,
        "mobile_routers": 2,
    }
    file.write_text(GOOD.replace("spi: 4097", "spi: 4096"))
    assert haha("check", "--json", "--no-keys", file) == 2
    assert json.loads(capsys.readouterr().out) == {
        "file": str(file),
        "ok": False,
        "findings": [
            {
                "file": str(file),
                "line": 43,
                "key": "mobile_routers.mr2.spi",
                "problem": "SPI 4096 is taken already (line 36)",
                "remedy": "write another number, such as 257",
            }
        ],
    }


def with_database(file: Path, *policies: MobileRouterPolicy) -> Path:
    """The configuration, good but for its keys, with a database of these mobile routers."""
    file.write_text(GOOD.replace("  asn:", "  mobile_router_db: mr.db\n  asn:"))
    haha("keys", file)
    database = MobileRouterDatabase(file.parent / "mr.db", make=True)
    with closing(database), database.editing() as edit:
        for policy in policies:
            edit.add(policy)
    return file


def policy(number: int, home_address: str = "2001:db8:1:2::") -> MobileRouterPolicy:
    address = Address.parse(f"{home_address}{number:x}")
    return MobileRouterPolicy(f"a{number}", address, (), (SecurityAssociation(4096, bytes(16)),))


def test_check_looks_into_the_database(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_database(file, policy(1))
    capsys.readouterr()
    assert haha("check", file) == 0
    assert capsys.readouterr().out == (
        f"{file}: 1 Home, 2 sites, 2 home agents, 2 mobile routers, 1 mobile router in the database: ok\n"
    )
    assert haha("check", "--json", file) == 0
    assert json.loads(capsys.readouterr().out)["mobile_routers_in_the_database"] == 1
    assert haha("check", "--no-keys", file) == 0
    assert "database" not in capsys.readouterr().out


def test_check_tells_who_in_the_database_has_no_place(file: Path) -> None:
    with_database(file, policy(1), *(policy(number, "2001:dead::") for number in range(2, 99)))
    with pytest.raises(ConfigError) as caught:
        haha("check", file)
    lines = str(caught.value).split("\n")
    assert len(lines) == 51
    assert lines[0] == (
        f"{file}:3: home.mobile_router_db: a2.home_address: 2001:dead::2 is outside Home; write an address of"
        " 2001:db8:1::/48, 2001:db8:2::/48"
    )
    assert lines[-1].startswith(
        f"{file}:3: home.mobile_router_db: 97 mobile routers of the database have no place in this Home"
    )


def test_check_tells_of_a_database_that_cannot_be_used(file: Path) -> None:
    with_database(file)
    (file.parent / "mr.db").chmod(0o644)
    with pytest.raises(ConfigError, match=r":3: home\.mobile_router_db: .* is open to others"):
        haha("check", file)
    for rest in file.parent.glob("mr.db*"):
        rest.unlink()
    with pytest.raises(ConfigError, match=r":3: home\.mobile_router_db: .* does not exist"):
        haha("check", file)


def test_keys_makes_nothing_for_a_bad_configuration(file: Path) -> None:
    file.write_text(GOOD.replace("asn: 64500", "asn: 0"))
    with pytest.raises(ConfigError, match=r":3: home\.asn: 0 is out of range"):
        haha("keys", file)
    assert not (file.parent / "keys").exists()


def test_keys_tells_of_bad_keys_after_making_the_missing_ones(file: Path) -> None:
    assert haha("keys", file) == 0
    bad, gone = file.parent / "keys" / "bgp.key", file.parent / "keys" / "mr2.key"
    bad.chmod(0o644)
    gone.unlink()
    with pytest.raises(ConfigError, match=r":7: home\.bgp_key_file: .* chmod 600") as caught:
        haha("keys", file)
    assert len(caught.value.findings) == 1
    assert gone.exists()


def test_keys_that_cannot_be_made_fail(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "keys").write_text("in the way")
    assert haha("keys", file) == 1
    assert "cannot be made" in capsys.readouterr().err


def test_exit_statuses_of_the_command_line(file: Path) -> None:
    def run(verb: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "haha_exabgp", verb, str(file)]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    status, out, err = run("check")
    assert (status, out, err.count("does not exist; create it with: haha keys")) == (2, "", 4)
    assert run("keys")[0] == 0
    assert run("check") == (0, f"{file}: 1 Home, 2 sites, 2 home agents, 2 mobile routers: ok\n", "")
    file.write_text(GOOD.replace("asn: 64500", "asn: 0"))
    expected = f"{file}:3: home.asn: 0 is out of range; write a number from 1 to 4294967294\n"
    assert run("check") == run("keys") == (2, "", expected)
