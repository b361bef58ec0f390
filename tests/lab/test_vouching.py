"""A mobile router binds at a Home Agent that has neither a key nor a policy of it: its primary verifies it
(RFC 4285 s.5.2) and signs the answer. On the real thing, ha2 with files of its own."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from haha_exabgp.agent.settings import mobile_router_config
from haha_exabgp.cli.main import main
from haha_exabgp.config.keys import key_of_mobile_router
from haha_exabgp.config.loader import load
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.protocol.messages import binding_update_packet
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.messages import BindingUpdate, BindingUpdateFlag
from haha_exabgp.wire.options import AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.lab.home_world import (
    HOA,
    MNP,
    OUTER,
    SECONDS,
    bind_at,
    bound,
    counter,
    home_lab,
    kernel,
    ping,
    show,
    tunnels_to,
    write_home,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SEND = "import socket,sys; socket.socket(10,3,255).sendto(bytes.fromhex(sys.argv[1]),(sys.argv[2],0))"


def with_aaa(text: str) -> str:
    for key in ("aaa_key_file: keys/mr1.aaa.key", "keys_at: [ha1]"):
        assert text.count(f"    # {key}") == 1
        text = text.replace(f"    # {key}", f"    {key}")
    return text


def of_a_stranger(text: str, directory: Path, keys: Path) -> Path:
    """The files of a Home Agent that has never heard of mr1."""
    (directory / "keys").mkdir(parents=True)
    for name in ("mesh.key", "bgp.key", "mr2.key"):
        shutil.copy(keys / name, directory / "keys" / name)
    first, second = text.index("  mr1:\n"), text.index("  mr2:\n")
    path = directory / "home.yaml"
    path.write_text(text[:first] + text[second:])
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("vouching"), "vo", with_aaa)


@pytest.fixture(scope="module")
def lab(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with home_lab(config) as lab:
        directory = tmp_path_factory.mktemp("ha2") / "etc"
        stranger = of_a_stranger(config.read_text(), directory, config.parent / "keys")
        agent = lab.process("ha2", "agent")
        lab.stop("ha2", "agent")
        lab.spawn("ha2", [str(stranger) if word == str(config) else word for word in agent.argv])
        eventually(
            lambda: all(row["session"] == "up" for row in show(lab, "ha2", "peers")), SECONDS, "ha2 is back"
        )
        yield lab


@pytest.mark.requirement("S-4", "B-8", "M-AUTH-AAA")
def test_it_binds_where_nobody_knows_it_and_is_reached_there(lab: Lab) -> None:
    row = bind_at(lab, 2)
    (here,) = show(lab, "ha2", "bindings")
    assert (here["home_address"], here["kind"], here["through"]) == (HOA, "proxy", "ha1")
    assert here["mobile_router"] == HOA and here["prefixes"] == [MNP]
    (there,) = show(lab, "ha1", "bindings")
    assert (there["mobile_router"], there["kind"], there["through"]) == ("mr1", "proxied", "ha2")
    assert tunnels_to(lab, "ha2", MNP)[0] == row["care_of_address"]
    assert tunnels_to(lab, "ha1", MNP)[0] == OUTER[2]
    assert ping(lab, "cn1") and ping(lab, "cn2")


@pytest.mark.requirement("S-4", "S-2", "B-5")
def test_a_forged_update_gets_nothing_and_changes_nothing(lab: Lab, config: Path) -> None:
    bind_at(lab, 2)
    own = mobile_router_config(load(config, key_of_mobile_router("mr1")), "mr1")
    assert own.aaa is not None
    attacker, home_agent = Address.parse(str(lab.topology.address("cn2"))), Address.parse(OUTER[2])
    update = BindingUpdate(
        9999,
        BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER,
        600,
        (
            AlternateCareOfAddress(attacker),
            MobileNetworkPrefix(Prefix.parse(MNP)),
            ReplayProtection(from_unix(time.time())),
        ),
    )
    forged = binding_update_packet(
        attacker,
        home_agent,
        Address.parse(HOA),
        update,
        replace(own.associations[0], key=bytes(16)),
        aaa=replace(own.aaa, key=bytes(16)),
    )
    before = show(lab, "ha2", "bindings")[0], kernel(lab, "ha2"), kernel(lab, "ha1")
    counted = counter(lab, "ha2", "dropped_not_vouched_for")
    answered = counter(lab, "ha2", "accepted")
    lab.exec("cn2", [sys.executable, "-c", SEND, forged.hex(), OUTER[2]], check=True)
    eventually(
        lambda: counter(lab, "ha2", "dropped_not_vouched_for") == counted + 1, SECONDS, "ha1 has said no"
    )
    after = show(lab, "ha2", "bindings")[0], kernel(lab, "ha2"), kernel(lab, "ha1")
    same = {key: before[0][key] for key in before[0] if key != "expires_in"}
    assert after == ({**same, "expires_in": after[0]["expires_in"]}, *before[1:])
    assert counter(lab, "ha2", "accepted") == answered
    assert ping(lab, "cn2")


@pytest.mark.requirement("B-5", "S-3")
def test_a_refusal_of_the_primary_reaches_it(
    lab: Lab, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bind_at(lab, 1)
    text = config.read_text()
    config.write_text(text.replace("    # proxies: [ha2]", "    proxies: []"))
    assert main(["reload", "--run-dir", str(lab.run_dir("ha1"))]) == 0
    lab.move("mr1", "access2")
    eventually(lambda: bound(lab, 1), SECONDS, "bound at its primary, from where ha2 is closest")
    eventually(
        lambda: (
            f"129, administratively prohibited, by {OUTER[2]}"
            in show(lab, "mr1", "mobile-router")[0]["last_refusal"]
        ),
        SECONDS,
        "the primary's refusal, by ha2",
    )
    assert show(lab, "ha2", "bindings") == []
