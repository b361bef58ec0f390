"""Mobile routers and keys change under running agents: real daemons, kernel and BGP; nothing is restarted."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haha_exabgp.agent.control import ControlError, ask
from haha_exabgp.cli.main import main
from haha_exabgp.config.loader import load
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import DETACHED, Lab
from haha_exabgp.lab.topology import LabError
from tests.lab.home_world import home_lab, write_home

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

MNP = "2001:db8:2:100::/64"
SECONDS = 20.0
SOON = 3.0
"""Seconds in which a change of the database has to be in force: the agent looks twice a second."""
NAMED_DB = "  # mobile_router_db: mobile-routers.sqlite"
MR2 = {
    "name": "mr2",
    "home_address": "2001:db8:2:1::10",
    "prefixes": [MNP],
    "keys": [{"spi": 4097, "key_file": "keys/mr2.key"}],
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def name_the_database(text: str) -> str:
        assert NAMED_DB in text
        return text.replace(NAMED_DB, "  mobile_router_db: mr.db")

    path = write_home(tmp_path_factory.mktemp("policies"), "pol", name_the_database)
    (path.parent / "none.json").write_text("[]")
    (path.parent / "mr2.json").write_text(json.dumps([MR2]))
    assert main(["mr-db", "import", str(path.parent / "none.json"), "--config", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def lab(config: Path) -> Iterator[Lab]:
    with home_lab(config) as lab:
        yield lab


@pytest.fixture
def whole(lab: Lab, config: Path) -> Iterator[Lab]:
    """The lab with mr2 in the configuration and an empty database, and so again afterwards."""
    text = config.read_text()
    yield lab
    # Away first, and known to be: who is plugged in again where it was before has not moved and asks nobody.
    for mobile_router in ("mr1", "mr2"):
        lab.move(mobile_router, DETACHED)
        eventually(lambda m=mobile_router: state(lab, m) == "detached", SECONDS, f"{mobile_router} is away")
    config.write_text(text)
    names = [row for row in ("mr2",) if main(["mr-db", "list", row, "--config", str(config)]) == 0]
    if names:
        assert main(["mr-db", "del", *names, "--config", str(config)]) == 0
    for node in ("ha1", "ha2"):
        assert reload(lab, node) == 0


def reload(lab: Lab, node: str) -> int:
    return main(["reload", "--run-dir", str(lab.run_dir(node))])


def state(lab: Lab, mobile_router: str) -> str:
    return str(ask(lab.run_dir(mobile_router), "mobile-router")[0]["state"])


def bindings(lab: Lab, node: str, mobile_router: str = "mr2") -> list[dict]:
    try:
        rows = ask(lab.run_dir(node), "bindings")
    except ControlError as error:
        raise LabError(str(error)) from error
    return [row for row in rows if row["mobile_router"] == mobile_router]


def counter(lab: Lab, name: str) -> int:
    """Of both Home Agents: a mobile router that has moved asks the one that it had first."""
    rows = [row for node in ("ha1", "ha2") for row in ask(lab.run_dir(node), "counters")]
    return sum(row["value"] for row in rows if row["counter"] == name)


def bind(lab: Lab, mobile_router: str, place: int) -> dict:
    """Move it to a place where it was not, so that it asks at once."""
    lab.move(mobile_router, f"access{place}")
    eventually(
        lambda: state(lab, mobile_router) == "bound" and bindings(lab, f"ha{place}", mobile_router),
        SECONDS,
        f"{mobile_router} bound at {place}",
    )
    return bindings(lab, f"ha{place}", mobile_router)[0]


def places(lab: Lab) -> set[str]:
    """Where the Home Agents think that mr2 is."""
    return {row["care_of_address"] for node in ("ha1", "ha2") for row in bindings(lab, node)}


def follow(lab: Lab, place: int) -> set[str]:
    """Move mr2 and wait until they know; which of them has it is for its discovery to find out, which is
    not run after every move."""
    before = places(lab)
    lab.move("mr2", f"access{place}")
    return eventually(lambda: places(lab) - before, SECONDS, f"mr2 is known to be at {place}")


def traces(lab: Lab, node: str) -> list[str]:
    """What of mr2's network there is in a Home Agent and its site."""
    found = lab.exec(node, ["ip", "-6", "route", "show", MNP], check=True).stdout.splitlines()
    found += [str(row) for row in bindings(lab, node)]
    table = lab.vtysh(f"site{node[-1]}-router", "show bgp ipv6 unicast json")["routes"]
    return found + [prefix for prefix in table if prefix == MNP]


def move_into_database(lab: Lab, config: Path) -> None:
    """Take mr2 from the configuration into the database, in the order that leaves no gap."""
    json_file = str(config.parent / "mr2.json")
    text = config.read_text()
    config.write_text(re.sub(r"\n  mr2:\n(?:    .*\n|\n(?= ))*", "\n", text))
    assert "mr2" not in load(config).config.mobile_routers
    assert main(["mr-db", "import", json_file, "--config", str(config)]) == 0
    for node in ("ha1", "ha2"):
        assert reload(lab, node) == 0


def test_a_mobile_router_moves_into_the_database_and_stays_bound(whole: Lab, config: Path) -> None:
    before = bind(whole, "mr2", 2)
    move_into_database(whole, config)
    after = bindings(whole, "ha2")[0]
    changing = {"expires_in"}
    assert {k: after[k] for k in after.keys() - changing} == {k: before[k] for k in before.keys() - changing}
    assert bind(whole, "mr2", 1)["kind"] == "proxy"


@pytest.mark.requirement("P-5", "S-2")
def test_a_removed_mobile_router_is_gone_everywhere_and_a_new_one_binds(whole: Lab, config: Path) -> None:
    move_into_database(whole, config)
    bind(whole, "mr2", 1)
    for node in ("ha1", "ha2"):
        assert eventually(lambda n=node: traces(whole, n), SECONDS, f"mr2 at {node}")
    assert main(["mr-db", "del", "mr2", "--config", str(config)]) == 0
    began = time.monotonic()
    for node in ("ha1", "ha2"):
        eventually(lambda n=node: not bindings(whole, n), SOON, f"no binding at {node}")
    assert time.monotonic() - began < SOON
    for node in ("ha1", "ha2"):
        eventually(lambda n=node: not traces(whole, n), SECONDS, f"nothing of mr2 at {node}")
    unknown = counter(whole, "dropped_unknown_home_address")
    whole.move("mr2", "access2")
    more = lambda: counter(whole, "dropped_unknown_home_address") > unknown  # noqa: E731
    eventually(more, SECONDS, "it is unknown")
    assert main(["mr-db", "import", str(config.parent / "mr2.json"), "--config", str(config)]) == 0
    follow(whole, 1)


@pytest.mark.requirement("S-2")
def test_a_key_that_was_taken_away_no_longer_opens(whole: Lab, config: Path) -> None:
    move_into_database(whole, config)
    bind(whole, "mr2", 2)
    key = str(config.parent / "keys" / f"new{time.monotonic_ns()}.key")
    assert main(["mr-db", "roll", "mr2", "--key-file", key, "--config", str(config)]) == 0
    time.sleep(SOON / 2)
    # Both are valid: it still signs with the old one.
    follow(whole, 1)
    assert main(["mr-db", "roll", "mr2", "--finish", "--config", str(config)]) == 0
    time.sleep(SOON / 2)
    before, unknown = places(whole), counter(whole, "dropped_unknown_spi")
    whole.move("mr2", "access2")
    eventually(lambda: counter(whole, "dropped_unknown_spi") > unknown, SECONDS, "it is not let in")
    time.sleep(SOON)
    assert places(whole) == before


@pytest.mark.requirement("P-5")
def test_a_prefix_taken_away_in_the_configuration_ends_the_binding_on_sighup(
    whole: Lab, config: Path
) -> None:
    bind(whole, "mr1", 2)
    assert bindings(whole, "ha1", "mr1")[0]["kind"] == "proxied"
    config.write_text(config.read_text().replace("- 2001:db8:1:100::/64", "- 2001:db8:1:900::/64"))
    os.kill(whole.process("ha1", "agent").pid, signal.SIGHUP)
    # At ha1, which is primary; ha2 has not read anything and is told.
    for node in ("ha1", "ha2"):
        eventually(lambda n=node: not bindings(whole, n, "mr1"), SOON, f"no binding at {node}")
    assert "reload: policies_changed 1" in whole.log("ha1", "agent")


def test_a_mistake_changes_nothing_and_is_told(
    whole: Lab, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bind(whole, "mr1", 1)
    before = bindings(whole, "ha1", "mr1")[0]["since"]
    config.write_text(config.read_text().replace("- 2001:db8:1:100::/64", "- 2001:db8:7:100::/64"))
    assert reload(whole, "ha1") == 1
    assert re.search(rf"{config}:\d+: mobile_routers\.mr1\.prefixes\[0\]: ", capsys.readouterr().err)
    os.kill(whole.process("ha1", "agent").pid, signal.SIGHUP)
    eventually(lambda: "reload: the policies stay as they are" in whole.log("ha1", "agent"), SOON, "logged")
    assert bindings(whole, "ha1", "mr1")[0]["since"] == before
