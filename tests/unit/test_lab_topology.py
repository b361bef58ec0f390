from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Network
from itertools import combinations
from pathlib import Path

import pytest

from haha_exabgp.config.keys import no_key
from haha_exabgp.config.loader import load
from haha_exabgp.config.schema import HomeConfig
from haha_exabgp.lab.allocation import allocate
from haha_exabgp.lab.batches import interface_settings, link_batch, node_batch, node_settings
from haha_exabgp.lab.topology import LabError, Role, Topology

CONFIGS = Path(__file__).parents[2] / "configs"


def _config(name: str) -> HomeConfig:
    return load(CONFIGS / f"{name}.yaml", no_key).config


SHIPPED = ("two-sites", "three-sites", "satellite", "route-reflectors", "two-home-agents")


@pytest.fixture(params=SHIPPED)
def topology(request: pytest.FixtureRequest) -> Topology:
    return allocate(_config(request.param))


def _sites(number: int, **lab: object) -> HomeConfig:
    return HomeConfig.model_validate(
        {
            "home": {
                "prefix": "2001:db8::/32",
                "asn": 64500,
                "mesh_prefix": "2001:db8:ffff::/48",
                "mesh_key_file": "mesh.key",
                "bgp_key_file": "bgp.key",
                "insecure_tunnel": True,
            },
            "sites": {
                f"s{index}": {
                    "partition": f"2001:db8:{index:x}::/48",
                    "provider_prefix": f"3ffe:{index:x}::/48",
                    "router": {"address": f"3ffe:{index:x}::1"},
                    "home_agents": {
                        f"h{index}": {"outer": f"3ffe:{index:x}::a", "haha": f"2001:db8:ffff::{index:x}"}
                    },
                }
                for index in range(1, number + 1)
            },
            "lab": lab,
        }
    )


def test_nodes_of_two_sites() -> None:
    names = {node.name: node.role for node in allocate(_config("two-sites")).nodes}
    assert names == {
        "inet1": Role.INTERNET_ROUTER,
        "inet2": Role.INTERNET_ROUTER,
        "cn1": Role.CORRESPONDENT,
        "cn2": Role.CORRESPONDENT,
        "site1-router": Role.SITE_ROUTER,
        "ha1": Role.HOME_AGENT,
        "site1-host": Role.SITE_HOST,
        "site2-router": Role.SITE_ROUTER,
        "ha2": Role.HOME_AGENT,
        "site2-host": Role.SITE_HOST,
        "mr1": Role.MOBILE_ROUTER,
        "mr1-lfn": Role.LOCAL_FIXED_NODE,
        "mr2": Role.MOBILE_ROUTER,
        "mr2-lfn": Role.LOCAL_FIXED_NODE,
    }


def test_addresses_of_two_sites() -> None:
    topology = allocate(_config("two-sites"))
    addresses = {node.name: str(node.address) for node in topology.nodes}
    assert addresses["cn1"] == "3fff:f01:0:c::10"
    assert addresses["cn2"] == "3fff:f02:0:c::10"
    assert addresses["ha1"] == "3fff:101::a"
    assert addresses["site1-router"] == "3fff:101::1"
    assert addresses["site1-host"] == "3fff:101:0:1::10"
    assert addresses["mr1"] == "2001:db8:1:100::1"
    assert addresses["mr1-lfn"] == "2001:db8:1:100::10"
    assert [(one.name, one.router, str(one.prefix)) for one in topology.accesses] == [
        ("access1", "inet1", "3fff:f01:0:a::/64"),
        ("access2", "inet2", "3fff:f02:0:a::/64"),
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_mobile_router_starts_next_to_the_site_of_its_home_address(name: str) -> None:
    config = _config(name)
    partitions = [site.partition for site in config.sites.values()]
    for mobile_router, start in allocate(config).attachments.items():
        partition = partitions[int(start.removeprefix("access")) - 1]
        assert config.mobile_routers[mobile_router].home_address in partition


@pytest.mark.parametrize(
    ("sites", "pairs"),
    [
        (1, set()),
        (2, {("inet1", "inet2")}),
        (3, {("inet1", "inet2"), ("inet2", "inet3"), ("inet1", "inet3")}),
        (4, {("inet1", "inet2"), ("inet2", "inet3"), ("inet3", "inet4"), ("inet1", "inet4")}),
    ],
)
def test_internet_routers_form_a_chain_or_a_ring(sites: int, pairs: set[tuple[str, str]]) -> None:
    topology = allocate(_sites(sites))
    routers = {node.name for node in topology.with_role(Role.INTERNET_ROUTER)}
    links = {tuple(sorted(node for node, _ in link.ends)) for link in topology.links}
    assert {pair for pair in links if set(pair) <= routers} == pairs
    for router in topology.internet_routers:
        assert len(router.peers) == sum(router.hostname in pair for pair in pairs)


def test_every_interface_is_one_end_of_one_link_or_a_bridge(topology: Topology) -> None:
    ends = Counter(end for link in topology.links for end in link.ends)
    interfaces = {
        (node.name, one.name): one for node in topology.nodes for one in node.interfaces if not one.is_bridge
    }
    assert set(ends) == set(interfaces)
    assert set(ends.values()) == {1}
    assert all(len(name) <= 15 for _, name in interfaces)


def test_no_address_is_given_twice(topology: Topology) -> None:
    addresses = Counter(one.address for node in topology.nodes for one in node.interfaces if one.address)
    assert max(addresses.values()) == 1


def test_links_have_prefixes_of_their_own_that_do_not_overlap() -> None:
    topology = allocate(_sites(5))
    networks = {one.address.network for node in topology.nodes for one in node.interfaces if one.address}
    assert not [pair for pair in combinations(networks, 2) if pair[0].overlaps(pair[1])]
    inside = [one for one in networks if one.subnet_of(IPv6Network("3fff:f00::/24"))]
    assert len(inside) == 5 * 4, "site link, peer link, access network and correspondent of each site"


def test_default_routes_lead_to_a_neighbour_on_the_same_link(topology: Topology) -> None:
    addresses = {one.address.ip for node in topology.nodes for one in node.interfaces if one.address}
    for node in topology.nodes:
        for route in node.routes:
            if route.via is not None:
                assert route.via in addresses
                assert any(one.address and route.via in one.address.network for one in node.interfaces)


def test_site_routers_discard_home_at_the_worst_usable_distance() -> None:
    node = allocate(_config("two-sites")).node("site1-router")
    metric = 0xFE000000
    assert metric >> 24 == 254
    assert f"route add unreachable 2001:db8::/32 metric {metric}\n" in node_batch(node)


def test_a_small_internet_prefix_is_enough_and_a_smaller_one_is_refused() -> None:
    regions = [one.region for one in allocate(_sites(3, internet_prefix="3fff:f00:5::/48")).internet_routers]
    assert [str(one) for one in regions] == [f"3fff:f00:5:{index}00::/56" for index in (1, 2, 3)]
    with pytest.raises(LabError, match="3fff:f00:5::/49 is too small"):
        allocate(_sites(3, internet_prefix="3fff:f00:5::/49"))


def _renamed(config: HomeConfig, mobile_router: str) -> HomeConfig:
    routers = {mobile_router: config.mobile_routers["mr1"]}
    return config.model_copy(update={"mobile_routers": routers})


@pytest.mark.parametrize("name", ["cn1", "site1-router", "access2", "lo", "to-inet2"])
def test_names_that_the_lab_needs_itself_are_refused(name: str) -> None:
    with pytest.raises(LabError, match=name):
        allocate(_renamed(_config("two-sites"), name))


def test_other_names_are_taken() -> None:
    assert allocate(_renamed(_config("two-sites"), "bus-7")).node("bus-7-lfn")


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    topology = allocate(_config("two-sites"))
    with pytest.raises(LabError, match=r"'cn3'.*cn1, cn2, site1-router"):
        topology.node("cn3")
    with pytest.raises(LabError, match=r"'access9'.*access1, access2$"):
        topology.access("access9")


def test_only_the_uplink_of_a_mobile_router_listens_to_routers(topology: Topology) -> None:
    listening = {node.name: interface_settings(node) for node in topology.nodes if interface_settings(node)}
    assert set(listening) == {node.name for node in topology.with_role(Role.MOBILE_ROUTER)}
    assert listening["mr1"] == (
        "net.ipv6.conf.wan0.accept_dad=1",
        "net.ipv6.conf.wan0.accept_ra=2",
        "net.ipv6.conf.wan0.autoconf=1",
    )


def test_routers_forward_and_hosts_do_not() -> None:
    topology = allocate(_config("two-sites"))
    for name, forwards in {"inet1": 1, "site1-router": 1, "ha1": 1, "mr1": 1, "cn1": 0, "mr1-lfn": 0}.items():
        assert f"net.ipv6.conf.all.forwarding={forwards}" in node_settings(topology.node(name)), name


def test_links_are_made_inside_the_namespaces_from_the_start() -> None:
    batch = link_batch("demo", allocate(_config("two-sites")))
    assert "link add mr1 netns demo.inet1 type veth peer name wan0 netns demo.mr1\n" in batch
    assert "link add to-inet2 netns demo.inet1 type veth peer name to-inet1 netns demo.inet2\n" in batch


def test_batch_of_a_bridge_and_its_ports() -> None:
    lines = node_batch(allocate(_config("two-sites")).node("site1-router")).splitlines()
    assert "link set ha1 master lan0" in lines
    assert "address add 3fff:101::1/64 dev lan0 nodad" in lines
    made = lines.index("link add lan0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
    assert made < lines.index("link set ha1 master lan0") < lines.index("link set ha1 up")
