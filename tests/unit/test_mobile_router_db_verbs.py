"""`haha mr-db add, del, list, roll`: one mobile router at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from haha_exabgp.wire.address import Prefix
from haha_exabgp.wire.authentication import Algorithm
from tests.unit.mr_db_command import COLUMNS, TWO, haha, imported, stored


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_one_is_added_with_a_key_made_for_it_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    add = ("add", "a1", "--home-address", "2001:db8:1:2::1", "--key-file", "a1.key", "--db", "mr.db")
    assert haha(*add, "--prefix", "2001:db8:1:a::/64", "--proxy", "ha2", "--replay", "sequence") == 0
    assert capsys.readouterr().out == "a1.key: made; it goes to the mobile router\na1: added\n"
    (one,) = stored()
    assert one.associations[0].key.hex() == Path("a1.key").read_text().strip()
    assert (one.prefixes, one.proxies) == ((Prefix.parse("2001:db8:1:a::/64"),), frozenset({"ha2"}))
    assert haha(*add) == 1
    assert "a1 is there already" in capsys.readouterr().err
    other = ["b.key" if word == "a1.key" else word for word in add[2:]]
    assert haha("add", "a2", *other) == 1
    said = capsys.readouterr()
    assert "2001:db8:1:2::1 is that of a1 already" in said.err and said.out == ""
    assert not Path("b.key").exists()
    assert Path("a1.key").exists()
    assert haha("del", "a1", "a9", "--db", "mr.db") == 1
    assert len(stored()) == 1
    assert haha("del", "a1", "--db", "mr.db") == 0
    assert stored() == []


def test_a_list_shows_everything_but_keys(capsys: pytest.CaptureFixture[str]) -> None:
    imported(COLUMNS + TWO)
    capsys.readouterr()
    assert haha("list", "--db", "mr.db") == 0
    lines = capsys.readouterr().out.split("\n")
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "a1 2001:db8:1:2::1 2001:db8:1:a::/64, 2001:db8:1:b::/64 4096 (hmac-sha1) timestamp all as the site",
        "a2 2001:db8:2:2::1 4097 (hmac-sha256), 4096 (hmac-sha1) sequence ha1, ha2 as the site",
        "",
    ]
    assert haha("list", "a2", "--db", "mr.db") == 0
    assert "a1 " not in capsys.readouterr().out
    assert haha("list", "a3", "--db", "mr.db") == 1


def test_a_key_is_rolled_over(capsys: pytest.CaptureFixture[str]) -> None:
    imported(COLUMNS + TWO.splitlines()[0])
    (old,) = stored()[0].associations
    assert haha("roll", "a1", "--key-file", "n.key", "--algorithm", "hmac-sha256", "--db", "mr.db") == 0
    assert "write SPI 4097 and the file there" in capsys.readouterr().out
    first, second = stored()[0].associations
    assert first == old
    assert (second.spi, second.key.hex()) == (4097, Path("n.key").read_text().strip())
    assert second.algorithm is Algorithm.HMAC_SHA256
    assert haha("roll", "a1", "--key-file", "o.key", "--db", "mr.db") == 1
    assert not Path("o.key").exists()
    assert haha("roll", "a1", "--finish", "--db", "mr.db") == 0
    assert stored()[0].associations == (second,)
    assert haha("roll", "a1", "--finish", "--db", "mr.db") == 1
