from __future__ import annotations

from pathlib import Path

from haha_exabgp.config.keys import no_key
from haha_exabgp.config.loader import load
from haha_exabgp.lab.allocation import allocate
from haha_exabgp.lab.topology import Topology
from haha_exabgp.rollout.frr import render_internet_bgpd, render_ospf6d, render_site_bgpd, render_zebra

CONFIGS = Path(__file__).parents[2] / "configs"

INET1_ZEBRA = """\
hostname inet1
log stdout informational
!
interface access1
 no ipv6 nd suppress-ra
 ipv6 nd ra-interval msec 70
 ipv6 nd ra-lifetime 3
 ipv6 nd prefix 3fff:f01:0:a::/64 30 5
exit
"""

INET1_BGPD = """\
hostname inet1
log stdout informational
!
ipv6 prefix-list DEFAULT seq 5 permit ::/0
!
route-map GLOBAL-NEXT-HOP permit 10
 set ipv6 next-hop prefer-global
exit
!
router bgp 64496
 bgp router-id 10.255.1.1
 bgp graceful-restart
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 3fff:f01:0:1::2 remote-as 64500
 neighbor 3fff:f01:0:1::2 description site1-router
 neighbor 3fff:f01:0:1::2 timers 3 9
 neighbor 3fff:f01:0:1::2 timers connect 1
 neighbor 3fff:f01:0:1::2 advertisement-interval 0
 neighbor 3fff:f01:0:1::2 passive
 neighbor 3fff:f01:0:2::2 remote-as 64497
 neighbor 3fff:f01:0:2::2 description inet2
 neighbor 3fff:f01:0:2::2 timers 3 9
 neighbor 3fff:f01:0:2::2 timers connect 1
 neighbor 3fff:f01:0:2::2 advertisement-interval 0
 address-family ipv6 unicast
  network 3fff:f01::/32
  neighbor 3fff:f01:0:1::2 activate
  neighbor 3fff:f01:0:1::2 route-map GLOBAL-NEXT-HOP in
  neighbor 3fff:f01:0:2::2 activate
  neighbor 3fff:f01:0:2::2 route-map GLOBAL-NEXT-HOP in
  neighbor 3fff:f01:0:1::2 default-originate
  neighbor 3fff:f01:0:1::2 prefix-list DEFAULT out
 exit-address-family
exit
"""

SITE1_BGPD = """\
hostname site1-router
log stdout informational
!
ipv6 prefix-list DEFAULT seq 5 permit ::/0
ipv6 prefix-list PROVIDER seq 5 permit 3fff:101::/48
ipv6 prefix-list HOME seq 5 permit 2001:db8::/32
ipv6 prefix-list INSIDE-HOME seq 5 permit 2001:db8::/32 ge 33
bgp large-community-list standard KIND-HOME seq 5 permit 64500:1:1
bgp large-community-list standard HOME-HERE seq 5 permit 64500:1:1
bgp large-community-list standard HOME-HERE seq 10 permit 64500:1:6
bgp large-community-list standard KIND-MNP seq 5 permit 64500:1:4
bgp large-community-list standard KIND-SATELLITE seq 5 permit 64500:1:3
!
route-map FROM-INTERNET permit 10
 match ipv6 address prefix-list DEFAULT
 set ipv6 next-hop prefer-global
exit
!
route-map TO-INTERNET permit 10
 match ipv6 address prefix-list PROVIDER
 set ipv6 next-hop global 3fff:f01:0:1::2
exit
route-map TO-INTERNET permit 20
 match ipv6 address prefix-list HOME
 match large-community KIND-HOME
 set ipv6 next-hop global 3fff:f01:0:1::2
 set large-community none
exit
!
route-map FROM-HOME-AGENT permit 10
 match ipv6 address prefix-list HOME
 match large-community HOME-HERE
exit
route-map FROM-HOME-AGENT permit 20
 match ipv6 address prefix-list INSIDE-HOME
 match large-community KIND-MNP
exit
route-map FROM-HOME-AGENT permit 30
 match ipv6 address prefix-list INSIDE-HOME
 match large-community KIND-SATELLITE
exit
!
route-map TO-HOME-AGENT deny 10
exit
!
router bgp 64500
 bgp router-id 10.255.1.2
 bgp graceful-restart
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor 3fff:f01:0:1::1 remote-as 64496
 neighbor 3fff:f01:0:1::1 description inet1
 neighbor 3fff:f01:0:1::1 timers 3 9
 neighbor 3fff:f01:0:1::1 timers connect 1
 neighbor 3fff:f01:0:1::1 advertisement-interval 0
 neighbor 3fff:101::a remote-as 64500
 neighbor 3fff:101::a description ha1
 neighbor 3fff:101::a timers 3 9
 neighbor 3fff:101::a timers connect 1
 neighbor 3fff:101::a advertisement-interval 0
 neighbor 3fff:101::a passive
 neighbor 3fff:101::a password 000102030405060708090a0b0c0d0e0f
 address-family ipv6 unicast
  network 3fff:101::/48
  neighbor 3fff:f01:0:1::1 activate
  neighbor 3fff:f01:0:1::1 route-map FROM-INTERNET in
  neighbor 3fff:f01:0:1::1 route-map TO-INTERNET out
  neighbor 3fff:101::a activate
  neighbor 3fff:101::a route-map FROM-HOME-AGENT in
  neighbor 3fff:101::a route-map TO-HOME-AGENT out
 exit-address-family
exit
"""


def _two_sites() -> Topology:
    return allocate(load(CONFIGS / "two-sites.yaml", no_key).config)


def test_zebra_of_an_internet_router() -> None:
    router = _two_sites().internet_routers[0]
    assert render_zebra(router.hostname, router.access_networks) == INET1_ZEBRA


def test_zebra_of_a_site_router_advertises_nothing() -> None:
    assert render_zebra("site1-router") == "hostname site1-router\nlog stdout informational\n"


def test_bgpd_of_an_internet_router() -> None:
    assert render_internet_bgpd(_two_sites().internet_routers[0]) == INET1_BGPD


def test_bgpd_of_a_site_router() -> None:
    assert render_site_bgpd(_two_sites().site_routers[0], bytes(range(16)).hex()) == SITE1_BGPD


SITE1_OSPF6D = """\
hostname site1-router
log stdout informational
!
ipv6 prefix-list HOME seq 5 permit 2001:db8::/32 le 128
!
route-map TO-AREA permit 10
 match ipv6 address prefix-list HOME
exit
!
router ospf6
 ospf6 router-id 10.255.1.2
 redistribute bgp route-map TO-AREA
exit
!
interface lan2
 ipv6 ospf6 area 0.0.0.0
 ipv6 ospf6 network point-to-point
 ipv6 ospf6 hello-interval 1
 ipv6 ospf6 dead-interval 4
exit
"""


def test_ospf6d_of_a_site_tells_of_home_and_only_the_area() -> None:
    config = load(CONFIGS / "two-sites.yaml", no_key).config
    with_area = config.model_copy(update={"lab": config.lab.model_copy(update={"ospf6_sites": ["site1"]})})
    border, inner = allocate(with_area).area_routers
    assert render_ospf6d(border) == SITE1_OSPF6D
    assert (inner.hostname, inner.interface) == ("site1-inner", "lan0")
    assert "redistribute" not in render_ospf6d(inner)


def test_one_end_of_every_session_waits_for_the_other() -> None:
    """Both ends opening at once resets a session right after it came up."""
    topology = _two_sites()
    internet = {
        (router.hostname, one.name): one.passive
        for router in topology.internet_routers
        for one in router.neighbours
    }
    sites = {
        (router.hostname, one.name): one.passive
        for router in topology.site_routers
        for one in router.neighbours
    }
    ends = internet | sites
    between_routers = [pair for pair in ends if pair[::-1] in ends]
    assert len(between_routers) == 6
    assert all(ends[pair] != ends[pair[::-1]] for pair in between_routers)
    assert sites["site1-router", "ha1"], "the Home Agent opens the session"
