"""How sites that share a partition find the owner of a binding, in a configuration: what is said of mistakes,
and what it means for each Home Agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from haha_exabgp.agent.settings import home_agent_config
from haha_exabgp.config.errors import ConfigError
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.protocol.home import HomeAgentConfig, Locate
from haha_exabgp.wire.address import Prefix

CONFIGS = Path(__file__).parents[2] / "configs"
SHARED = (CONFIGS / "shared-partition.yaml").read_text()
SATELLITE = (CONFIGS / "satellite.yaml").read_text()
PARTITION = "2001:db8:1::/48"


def site(number: int, more: str = "", partition: str = PARTITION) -> str:
    return (
        f"  site{number}:\n    partition: {partition}\n    shared: true\n{more}"
        f"    provider_prefix: 3fff:10{number}::/48\n    router: {{address: '3fff:10{number}::1'}}\n"
        f"    home_agents:\n      ha{number}:\n"
        f"        outer: 3fff:10{number}::a\n        haha: 2001:db8:ffff::{number}\n"
    )


def home(*sites: str, locate: str = "predictive") -> str:
    head = SHARED[: SHARED.index("sites:\n")].replace("asn: 64500", f"asn: 64600\n  locate: {locate}")
    return head + "sites:\n" + "".join(sites)


def told(path: Path, text: str) -> list[str]:
    """What is said of a configuration, without file and line; [] if it is good."""
    path.write_text(text)
    try:
        load(path, no_key)
    except ConfigError as error:
        return [line.partition(": ")[2] for line in str(error).split("\n")]
    return []


def settings(path: Path, text: str) -> dict[str, HomeAgentConfig]:
    path.write_text(text)
    loaded = load(path, no_key)
    list(make_missing(loaded.key_path(file) for _, file in key_files(loaded.config)))
    return {name: home_agent_config(loaded, name) for _, _, name, _ in loaded.config.home_agents()}


def methods(config: HomeAgentConfig) -> dict[str, Locate]:
    return {peer.name: peer.locate for peer in config.peers}


MISTAKES = [
    (
        home(site(1, "    locate: {site3: reactive}\n"), site(2)),
        "locate.site3: there is no site site3; write one of site2",
    ),
    (
        home(site(1, "    locate: {site1: reactive}\n"), site(2)),
        "locate.site1: the Home Agents of one site are always predictive to each other; write one of site2",
    ),
    (
        home(site(1, "    locate: {site3: proactive}\n"), site(2), site(3, partition="2001:db8:3::/48")),
        "locate.site3: site1 and site3 share no partition: a home address itself says who is its primary;"
        " write one of site2",
    ),
    (
        home(site(1, "    locate: {site2: reactive}\n"), site(2, "    locate: {site1: proactive}\n")),
        "locate.site1: site2 says proactive and site1 says reactive (line 17);"
        " write the same at both, or at one of them only",
    ),
    (
        home(site(1), site(2, "    locate: {site3: proactive}\n"), site(3)),
        "site2 and site3 are proactive to each other, and both predictive to site1;"
        " make all three of them predictive to each other, or only two",
    ),
    (
        home(site(1), site(2, "    locate: {site3: reactive}\n"), site(3), locate="proactive"),
        "site2 and site3 are reactive to each other, and both predictive or proactive to site1;"
        " make all three of them predictive or proactive to each other, or only two",
    ),
    (
        home(site(1, "    locate: {site2: sometimes}\n"), site(2)),
        'locate.site2: "sometimes" is not one of the words allowed here',
    ),
    (
        SATELLITE.replace("partition: 2001:db8:2::/48", "partition: 2001:db8:1::/48")
        .replace("partition: 2001:db8:1::/48\n", "partition: 2001:db8:1::/48\n    shared: true\n")
        .replace("home:\n", "home:\n  locate: reactive\n", 1)
        .replace("    role: satellite\n", "    role: satellite\n    secondary_bindings: false\n"),
        "secondary_bindings: some sites that share a partition are reactive to each other: they know by leaks"
        " only where packets go, and its parent leaks for a satellite; write true",
    ),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_every_mistake_is_told_with_what_would_be_right(tmp_path: Path, text: str, expected: str) -> None:
    found = told(tmp_path / "home.yaml", text)
    assert len([line for line in found if expected in line]) == 1, found


@pytest.mark.requirement("Q-2", "Q-3", "Q-4")
def test_a_pair_has_the_method_of_either_side_or_of_the_home(tmp_path: Path) -> None:
    text = home(
        site(1, "    locate: {site2: predictive}\n"),
        site(2),
        site(3, "    locate: {site4: proactive}\n"),
        site(4),
        site(5, partition="2001:db8:5::/48"),
        locate="reactive",
    )
    configs = settings(tmp_path / "home.yaml", text)
    reactive, predictive, proactive = Locate.REACTIVE, Locate.PREDICTIVE, Locate.PROACTIVE
    assert {name: methods(configs["ha1"])[name] for name in ("ha2", "ha3", "ha4")} == {
        "ha2": predictive,
        "ha3": reactive,
        "ha4": reactive,
    }
    assert methods(configs["ha4"])["ha3"] is methods(configs["ha3"])["ha4"] is proactive
    groups = {peer.name: peer.group for peer in configs["ha5"].peers}
    assert groups == {"ha1": "site1", "ha2": "site1", "ha3": "site3", "ha4": "site4"}
    # Everybody knows what has to be leaked.
    assert {config.asked_for for config in configs.values()} == {(Prefix.parse(PARTITION),)}


def test_nobody_asks_unless_it_is_said(tmp_path: Path) -> None:
    configs = settings(tmp_path / "home.yaml", home(site(1), site(2)))
    assert methods(configs["ha1"]) == {"ha2": Locate.PREDICTIVE}
    assert configs["ha1"].asked_for == ()
    assert {peer.group for config in configs.values() for peer in config.peers} == {"site1"}
