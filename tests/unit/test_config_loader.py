"""What a loaded configuration holds, and the configurations that are shipped."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
from pydantic import BaseModel

from haha_exabgp.config.keys import no_key
from haha_exabgp.config.loader import load
from haha_exabgp.config.schema import HomeAgent, HomeConfig, Key, OnDemandRoutes, PrefixMode
from haha_exabgp.protocol.home import LeakPolicy

ROOT = Path(__file__).parents[2]
GOOD = ROOT / "tests" / "cases" / "config" / "good.yaml"


def test_lines_can_be_asked_for(tmp_path: Path) -> None:
    loaded = load(GOOD, no_key)
    assert loaded.line("sites", "site2", "home_agents", "ha2", "haha") == 28
    assert loaded.line("mobile_routers", "mr1", "prefixes", 1) == 34
    assert loaded.line("mobile_routers", "mr1", "lifetime") == 30
    assert loaded.line("nowhere") == 1


def test_names_of_key_files_are_relative_to_the_configuration() -> None:
    loaded = load(GOOD, no_key)
    assert loaded.key_path(Path("keys/mesh.key")) == GOOD.parent / "keys" / "mesh.key"
    assert loaded.key_path(Path("/etc/haha/mesh.key")) == Path("/etc/haha/mesh.key")


def test_left_out_keys_get_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "home.yaml"
    lines = GOOD.read_text().split("\n")
    left_out = ("mesh_spi", "min_sites_reached", "mode", "lab:", "internet_prefix", "first_asn")
    file.write_text("\n".join(line for line in lines if not line.strip().startswith(left_out)))
    config = load(file, no_key).config
    assert config.home.mesh_spi == 256
    assert config.home.min_sites_reached is None
    assert (config.home.max_binding_lifetime, config.home.lease) == (3600, 180)
    assert {one.mode for one in config.mobile_routers.values()} == {PrefixMode.EXPLICIT}
    assert {one.lifetime for one in config.mobile_routers.values()} == {600}
    assert (str(config.lab.internet_prefix), config.lab.first_asn) == ("3fff:f00::/24", 64496)


def test_a_home_without_mobile_routers_is_one(tmp_path: Path) -> None:
    file = tmp_path / "home.yaml"
    file.write_text("\n".join(GOOD.read_text().split("\n")[:28]))
    assert load(file, no_key).config.mobile_routers == {}


def test_the_home_with_routes_on_demand_leaks_nothing() -> None:
    config = load(ROOT / "configs" / "on-demand.yaml", no_key).config
    assert config.home.on_demand == OnDemandRoutes(threshold=5, holding_time=30)
    assert [site.leak for site in config.sites.values()] == [LeakPolicy.NEVER] * 3
    assert [one.leak for one in config.mobile_routers.values()] == [None, None]


@pytest.mark.parametrize(("name", "sites"), [("two-sites", 2), ("three-sites", 3)])
def test_shipped_configurations_are_good(name: str, sites: int) -> None:
    config = load(ROOT / "configs" / f"{name}.yaml", no_key).config
    assert config.home.prefix == IPv6Network("2001:db8::/32")
    for number, (site_name, site, agent_name, home_agent) in enumerate(config.home_agents(), start=1):
        assert (site_name, agent_name) == (f"site{number}", f"ha{number}")
        assert site.partition == IPv6Network(f"2001:db8:{number}::/48")
        assert site.provider_prefix == IPv6Network(f"3fff:10{number}::/48")
        assert site.router.address == IPv6Address(f"3fff:10{number}::1")
        assert home_agent.outer == IPv6Address(f"3fff:10{number}::a")
        assert home_agent.haha == IPv6Address(f"2001:db8:ffff::{number}")
    assert len(config.sites) == len(config.mobile_routers) == sites
    for number, mobile_router in enumerate(config.mobile_routers.values(), start=1):
        assert mobile_router.home_address == IPv6Address(f"2001:db8:{number}:1::10")
        assert mobile_router.prefixes[0] == IPv6Network(f"2001:db8:{number}:100::/64")
        assert mobile_router.spi == 4095 + number
    assert [one.mode for one in config.mobile_routers.values()][:2] == ["explicit", "implicit"]


def test_the_manual_describes_every_key() -> None:
    """configs/two-sites.yaml gives each key of the schema, with a comment right above it; some of them as
    comments only."""
    text = (ROOT / "configs" / "two-sites.yaml").read_text()
    lines = [line.strip() for line in text.split("\n")]
    groups = {"home", "sites", "lab", "mobile_routers"}
    loaded = load(ROOT / "configs" / "two-sites.yaml", no_key)
    site, mobile_router = ("sites", "site1"), ("mobile_routers", "mr1")
    models: list[tuple[tuple[str, ...], type[BaseModel]]] = [
        ((), HomeConfig),
        (("home",), type(loaded.config.home)),
        (site, type(loaded.config.sites["site1"])),
        ((*site, "router"), type(loaded.config.sites["site1"].router)),
        ((*site, "home_agents", "ha1"), HomeAgent),
        (mobile_router, type(loaded.config.mobile_routers["mr1"])),
        (("lab",), type(loaded.config.lab)),
    ]
    for place, model in models:
        for key in model.model_fields:
            example = next((n for n, line in enumerate(lines, 1) if line.startswith(f"# {key}: ")), 0)
            assert example or (*place, key) in loaded.document.lines, f"{(*place, key)} is not in the manual"
            above = lines[(example or loaded.line(*place, key)) - 2]
            described_with_the_key_above = {"mesh_spi", "spi", "address", "leak_idle", "flap_window"}
            assert key in groups | described_with_the_key_above or above.startswith("#"), key
    keys = next(line for line in lines if line.startswith("# keys: "))
    assert all(f"{key}: " in keys for key in Key.model_fields)


def test_python_code_may_give_addresses_as_objects() -> None:
    address = IPv6Address("2001:db8::1")
    assert HomeAgent(outer=address, haha=address).outer == address
