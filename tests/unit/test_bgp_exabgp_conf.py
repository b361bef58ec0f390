"""exabgp.conf says what the Home's configuration says, and nothing can be smuggled into it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from haha_exabgp.config.schema import HomeConfig
from haha_exabgp.rollout.exabgp import exabgp_environment, render_exabgp

RUN = Path("/run/haha/ha2")


@pytest.fixture
def config() -> HomeConfig:
    return HomeConfig.model_validate(
        {
            "home": {
                "prefix": "2001:db8::/32",
                "asn": 64500,
                "mesh_prefix": "2001:db8:ffff::/48",
                "mesh_key_file": "mesh.key",
                "bgp_key_file": "bgp.key",
                "lease": 77,
            },
            "sites": {
                f"site{n}": {
                    "partition": f"2001:db8:{n}::/48",
                    "provider_prefix": f"3fff:10{n}::/48",
                    "router": {"address": f"3fff:10{n}::1"},
                    "home_agents": {f"ha{n}": {"outer": f"3fff:10{n}::a", "haha": f"2001:db8:ffff::{n}"}},
                }
                for n in (1, 2, 3)
            },
        }
    )


def neighbors(text: str) -> dict[str, dict[str, str]]:
    """Each neighbor's settings of one word."""
    blocks = re.findall(r"^neighbor (\S+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return {name: dict(re.findall(r"^\s+([\w-]+) (\S+);$", block, re.MULTILINE)) for name, block in blocks}


@pytest.mark.requirement("I-1", "I-3", "S-7")
def test_one_session_to_each_other_home_agent_and_one_to_the_router(config: HomeConfig) -> None:
    found = neighbors(render_exabgp(config, "ha2", RUN, "secret", "/usr/bin/python3"))
    assert {name: one["local-address"] for name, one in found.items()} == {
        "2001:db8:ffff::1": "2001:db8:ffff::2",
        "2001:db8:ffff::3": "2001:db8:ffff::2",
        "3fff:102::1": "3fff:102::a",
    }
    for one in found.values():
        assert (one["local-as"], one["peer-as"]) == ("64500", "64500")
        assert one["md5-password"] == '"secret"'
        assert one["manual-eor"] == one["adj-rib-out"] == "true"


def test_of_two_home_agents_exactly_one_connects(config: HomeConfig) -> None:
    passive = {}
    for own in (1, 2, 3):
        text = render_exabgp(config, f"ha{own}", RUN, "secret", "/usr/bin/python3")
        for name, one in neighbors(text).items():
            passive[own, name] = one["passive"] == "true"
            assert ("listen" in one) == (one["passive"] == "true")
    for low, high in ((1, 2), (1, 3), (2, 3)):
        assert passive[low, f"2001:db8:ffff::{high}"]
        assert not passive[high, f"2001:db8:ffff::{low}"]
    assert not passive[2, "3fff:102::1"]


def test_router_ids_differ_and_stay(config: HomeConfig) -> None:
    identifiers = [
        {one["router-id"] for one in neighbors(render_exabgp(config, name, RUN, "k", "/p")).values()}
        for name in ("ha1", "ha2", "ha3")
    ]
    assert all(len(one) == 1 for one in identifiers)
    assert len(set.union(*identifiers)) == 3
    assert identifiers[0] == {"83.176.82.151"}


def test_the_hook_is_run_with_its_socket_and_lease(config: HomeConfig) -> None:
    text = render_exabgp(config, "ha2", RUN, "secret", "/opt/haha/bin/python")
    command = "run /opt/haha/bin/python -P -m haha_exabgp hook --socket /run/haha/ha2/hook.sock --lease 77;"
    assert command in text


@pytest.mark.parametrize(
    ("run_dir", "password", "python"),
    [
        (Path("relative"), "secret", "/usr/bin/python3"),
        (Path("/run/a b"), "secret", "/usr/bin/python3"),
        (Path("/run/a;}"), "secret", "/usr/bin/python3"),
        (RUN, 'quote"', "/usr/bin/python3"),
        (RUN, "", "/usr/bin/python3"),
        (RUN, "x" * 81, "/usr/bin/python3"),
        (RUN, "new\nline", "/usr/bin/python3"),
        (RUN, "secret", "python3"),
    ],
)
def test_what_cannot_be_written_is_refused(
    config: HomeConfig, run_dir: Path, password: str, python: str
) -> None:
    with pytest.raises(ValueError, match=r"must"):
        render_exabgp(config, "ha2", run_dir, password, python)


def test_an_unknown_home_agent_is_refused(config: HomeConfig) -> None:
    with pytest.raises(KeyError):
        render_exabgp(config, "ha9", RUN, "secret", "/usr/bin/python3")


def test_the_environment_can_be_set_by_a_service_manager() -> None:
    """systemd takes no names with a dash; ExaBGP 5 crashes on the level ERR."""
    environment = exabgp_environment(user="exabgp", log_level="ERROR")
    assert all(re.fullmatch(r"exabgp_[a-z]+_[a-z]+", name) for name in environment)
    assert environment["exabgp_daemon_user"] == "exabgp"
    assert environment["exabgp_log_level"] == "ERROR"
