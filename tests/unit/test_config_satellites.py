"""Satellites in a configuration: what is said of mistakes, and what it means for each Home Agent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from haha_exabgp.agent.settings import home_agent_config
from haha_exabgp.config.errors import ConfigError
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import LoadedHome, load
from haha_exabgp.mobile_routers.rules import HomeRules
from haha_exabgp.protocol.home import HomeAgentConfig
from haha_exabgp.rollout.exabgp import render_exabgp
from haha_exabgp.wire.address import Address, Prefix

SATELLITE = (Path(__file__).parents[2] / "configs" / "satellite.yaml").read_text()
PARENTS = "    parents:\n      site1: 2001:db8:1:f000::/64\n      site2: 2001:db8:2:f000::/64\n"


def told(path: Path, *edits: tuple[str, str]) -> list[str]:
    """What is said of the edited sample, without file and line; [] if it is good."""
    text = SATELLITE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    try:
        load(path, no_key)
    except ConfigError as error:
        return [line.partition(": ")[2] for line in str(error).split("\n")]
    return []


MISTAKES = [
    (
        ("    role: satellite\n", "    role: satellite\n    partition: 2001:db8:3::/48\n"),
        "sat1.partition: a satellite has no partition: its addresses in Home are lent by its parents",
    ),
    ((PARENTS, ""), "sat1.parents: is missing, and a satellite needs a parent"),
    (
        ("      site2: 2001:db8:2:f000", "      sat1: 2001:db8:2:f000"),
        "sat1.parents.sat1: sat1 is no primary site; write one of site1, site2",
    ),
    (
        ("site2: 2001:db8:2:f000::/64", "site2: 2001:db8:1:e000::/64"),
        "sat1.parents.site2: 2001:db8:1:e000::/64 is not a part of the parent's partition 2001:db8:2::/48",
    ),
    (
        ("site1: 2001:db8:1:f000::/64", "site1: 2001:db8:1::/48"),
        "sat1.parents.site1: 2001:db8:1::/48 is not a part of the parent's partition 2001:db8:1::/48",
    ),
    (
        ("site1: 2001:db8:1:f000::/64", "site1: 2001:db8:1:100::/60"),
        "mr1.prefixes[0]: 2001:db8:1:100::/64 overlaps 2001:db8:1:100::/60, which site1 lends to sat1",
    ),
    (
        ("site1: 2001:db8:1:f000::/64", "site1: 2001:db8:1:1::/64"),
        "mr1.home_address: 2001:db8:1:1::10 is inside 2001:db8:1:1::/64, which site1 lends to sat1",
    ),
    (
        ("haha: 2001:db8:ffff::3", 'haha: "2001:db8:ffff:1::"'),
        "sat1.parents.site1: ha3 would have the address 2001:db8:1:f000:: in it, as its HAHA address ends",
    ),
    (
        ("2001:db8:1::/48\n", "2001:db8:1::/48\n    parents: {site2: 2001:db8:2:e000::/64}\n"),
        "site1.parents: a primary site has no parents; remove it, or write role: satellite",
    ),
    (
        (
            "      ha3:\n",
            "      ha9:\n        outer: 3fff:103::b\n        haha: 2001:db8:ffff::9\n      ha3:\n",
        ),
        "home_agents.ha3: a satellite has one Home Agent",
    ),
    (("    partition: 2001:db8:2::/48\n", ""), "site2.partition: is missing; write a prefix such as"),
]


@pytest.mark.parametrize(("edit", "said"), MISTAKES, ids=[said.partition(": ")[0] for _, said in MISTAKES])
def test_a_mistake_about_a_satellite_is_told(tmp_path, edit, said):
    assert any(f".{said}" in line for line in told(tmp_path / "home.yaml", edit))


def test_the_sample_is_good_and_two_satellites_may_share_no_prefix(tmp_path):
    assert told(tmp_path / "home.yaml") == []
    other = SATELLITE[SATELLITE.index("  sat1:") : SATELLITE.index("mobile_routers:")]
    other = other.replace("sat1", "sat2").replace("3fff:103", "3fff:104").replace("ffff::3", "ffff::4")
    found = told(
        tmp_path / "home.yaml", ("mobile_routers:", other.replace("ha3:", "ha4:") + "mobile_routers:")
    )
    assert [line.split(": ")[0] for line in found] == [
        "sites.sat2.parents.site1",
        "sites.sat2.parents.site2",
    ]


def test_a_home_of_satellites_alone_is_none(tmp_path):
    start, end = SATELLITE.index("  site1:"), SATELLITE.index("  sat1:")
    found = told(tmp_path / "home.yaml", (SATELLITE[start:end], ""))
    assert "no site is primary for anybody" in " ".join(found)


@pytest.fixture
def home(tmp_path) -> LoadedHome:
    """The sample, and a third primary site that is no parent."""
    third = SATELLITE[SATELLITE.index("  site2:") : SATELLITE.index("  sat1:")]
    third = third.replace("site2", "site4").replace("ha2", "ha4").replace("db8:2", "db8:4")
    third = third.replace("3fff:102", "3fff:104").replace("ffff::2", "ffff::4")
    path = tmp_path / "home.yaml"
    path.write_text(SATELLITE.replace("  sat1:", f"{third}  sat1:", 1))
    loaded = load(path, no_key)
    assert list(make_missing(loaded.key_path(file) for _, file in key_files(loaded.config)))
    return loaded


def seen(config: HomeAgentConfig) -> dict[str, tuple[bool, bool]]:
    """Of each peer, whether it is adjacent and whether it is a satellite."""
    return {peer.name: (peer.is_adjacent, peer.is_satellite) for peer in config.peers}


@pytest.mark.requirement("I-6")
def test_tunnels_and_sessions_join_primaries_and_a_satellite_with_its_parents(home):
    satellite = home_agent_config(home, "ha3")
    assert seen(satellite) == {"ha1": (True, False), "ha2": (True, False), "ha4": (False, False)}
    assert satellite.partition is None
    assert [str(one.address) for one in satellite.lent] == ["2001:db8:1:f000::3", "2001:db8:2:f000::3"]
    assert seen(home_agent_config(home, "ha4")) == {
        "ha1": (True, False),
        "ha2": (True, False),
        "ha3": (False, True),
    }
    for name, sessions in {"ha1": 3, "ha2": 3, "ha3": 2, "ha4": 2}.items():
        text = render_exabgp(home.config, name, Path("/run/haha"), "k" * 32, "/usr/bin/python3")
        assert text.count("neighbor 2001:") == sessions


def test_what_a_satellite_may_spare_counts_primaries_only(home):
    assert home_agent_config(home, "ha1").min_sites_reached == 1


def test_the_database_keeps_off_what_is_lent(home):
    rules = HomeRules(home.config)
    policy = next(iter(home_agent_config(home, "ha1").mobile_routers.values()))
    inside = replace(
        policy,
        name="bus",
        home_address=Address.parse("2001:db8:1:f000::77"),
        prefixes=(Prefix.parse("2001:db8:1:f000::/56"),),
    )
    assert [one.field for one in rules.problems(inside)] == ["home_address", "prefixes"]
    assert "a prefix of sat1 in the configuration" in next(iter(rules.problems(inside))).problem
