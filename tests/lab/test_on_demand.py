"""Routes on demand on real daemons, FRR and kernel: a correspondent near site 3, a mobile router of site 1
that is bound at site 2; no leaks."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from itertools import groupby

import pytest

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.kernel_routes import tunnel_exit
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.trace import trace
from haha_exabgp.protocol.routes import Metric
from tests.lab.home_world import (
    HOA,
    LFN,
    MNP,
    OUTER,
    SECONDS,
    best_path,
    bound,
    counter,
    home_in_bgp,
    home_lab,
    kernel,
    ping,
    plug,
    show,
    write_home,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

OTHER_LFN = IPv6Address("2001:db8:1:200::10")
HOLDING_TIME = 12
WHOLE = [f"{HOA}/128", MNP, "2001:db8:1:110::/60"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = write_home(
        tmp_path_factory.mktemp("on-demand"),
        "od",
        lambda text: text.replace("holding_time: 30", f"holding_time: {HOLDING_TIME}"),
        config="on-demand.yaml",
    )
    with home_lab(path) as lab:
        yield lab


def bind_at(lab: Lab, place: int, mobile_router: str = "mr1") -> None:
    if lab.attachment(mobile_router) != f"access{place}":
        lab.move(mobile_router, f"access{place}")
    eventually(lambda: bound(lab, place, mobile_router), SECONDS, f"{mobile_router} bound at {place}")
    destination = LFN if mobile_router == "mr1" else OTHER_LFN
    eventually(lambda: ping(lab, "cn1", destination), SECONDS, f"{destination} answers")


@contextmanager
def traffic(lab: Lab, source: str = "cn3", destination: object = LFN) -> Iterator[list[str]]:
    """Twenty echo requests a second; afterwards the list holds what ping said."""
    said: list[str] = []
    stream = lab.spawn(source, ["ping", "-6", "-q", "-i", "0.05", str(destination)])
    try:
        yield said
    finally:
        stream.send_signal(signal.SIGINT)
        said.append(stream.communicate(timeout=SECONDS)[0])


def projected(lab: Lab, node: str, prefix: str = MNP) -> str | None:
    """Where the kernel's projected route for a prefix leads."""
    routes = kernel(lab, node, prefix)
    return next((tunnel_exit(route) for route in routes if route["metric"] == Metric.PROJECTED), None)


def ends(lab: Lab, node: str) -> list[tuple[str, str, str]]:
    return [(row["end"], row["mobile_router"], row["home_agent"]) for row in show(lab, node, "projections")]


def site_path(lab: Lab, source: str = "cn3", destination: IPv6Address = LFN) -> list[str]:
    """The Home Agents that a packet passes, each once where it is seen twice in a row."""
    agents = [hop.node for hop in trace(lab, source, destination) if re.fullmatch(r"ha\d", hop.node)]
    return [node for node, _ in groupby(agents)]


@pytest.mark.requirement("O-1", "O-2", "O-3", "O-4", "O-5", "O-7", "O-8")
def test_traffic_takes_the_short_way_after_a_moment_and_no_routing_protocol_knows(lab: Lab) -> None:
    bind_at(lab, 2)
    assert site_path(lab) == ["ha3", "ha1", "ha2"]
    in_bgp = {router: home_in_bgp(lab, router) for router in ("site1-router", "site2-router", "site3-router")}
    with traffic(lab) as said:
        eventually(lambda: projected(lab, "ha3") == OUTER[2], SECONDS, "a projected route at ha3")
        assert [projected(lab, "ha3", prefix) for prefix in (f"{HOA}", WHOLE[2])] == [OUTER[2]] * 2
    assert site_path(lab) == ["ha3", "ha2"]
    assert " 0% packet loss" in said[0]
    assert ends(lab, "ha3") == [("ingress", "mr1", "ha2")]
    assert ends(lab, "ha2") == [("egress", "mr1", "ha3")]
    assert show(lab, "ha3", "projections")[0]["prefixes"] == WHOLE
    assert ends(lab, "ha1") == []
    assert {router: home_in_bgp(lab, router) for router in in_bgp} == in_bgp
    assert projected(lab, "ha1") is None
    assert MNP not in home_in_bgp(lab, "site3-router")


@pytest.mark.requirement("O-9")
def test_it_stays_while_there_is_traffic_and_lapses_without(lab: Lab) -> None:
    bind_at(lab, 2)
    with traffic(lab):
        eventually(lambda: projected(lab, "ha3"), SECONDS, "a projected route at ha3")
        asked = counter(lab, "ha3", "sent_resolution_request")
        eventually(
            lambda: counter(lab, "ha3", "sent_resolution_request") > asked,
            15,
            "it is asked for again at 10 s",
        )
        assert projected(lab, "ha3") == OUTER[2]
    eventually(lambda: projected(lab, "ha3") is None, HOLDING_TIME + 3, "it lapses")
    assert counter(lab, "ha3", "projection_ended_lapsed") == 1
    assert site_path(lab) == ["ha3", "ha1", "ha2"]


@pytest.mark.requirement("O-9", "O-10", "H-5", "H-12")
def test_a_move_takes_it_away_and_hardly_a_packet_is_lost(lab: Lab) -> None:
    bind_at(lab, 2)
    with traffic(lab) as said:
        eventually(lambda: projected(lab, "ha3") == OUTER[2], SECONDS, "a projected route at ha3")
        lab.move("mr1", "access1")
        eventually(lambda: bound(lab, 1), SECONDS, "mr1 bound at ha1")
        eventually(lambda: projected(lab, "ha3") is None, 2, "no projected route at ha3")
        eventually(lambda: ping(lab, "cn3"), SECONDS, "cn3 reaches it")
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said[0]).groups())
    assert sent - received < 3 * 20, "less than three seconds, most of them without any attachment"
    assert site_path(lab) == ["ha3", "ha1"]
    assert ends(lab, "ha2") == []


@pytest.mark.requirement("O-11")
def test_two_mobile_routers_at_two_proxies_reach_each_other_straight(lab: Lab) -> None:
    bind_at(lab, 2)
    bind_at(lab, 3, "mr2")
    with traffic(lab, "mr2-lfn"):
        eventually(lambda: projected(lab, "ha3") == OUTER[2], SECONDS, "a projected route at ha3")
        eventually(
            lambda: projected(lab, "ha2", "2001:db8:1:200::/64") == OUTER[3], SECONDS, "and one at ha2"
        )
    assert site_path(lab, "mr2-lfn") == ["ha3", "ha2"]
    assert site_path(lab, "mr1-lfn", OTHER_LFN) == ["ha2", "ha3"]


@pytest.mark.requirement("O-10", "B-9", "L-7")
def test_an_egress_that_is_gone_is_left_for_the_normal_path_and_a_move_meanwhile_is_heard_of(
    lab: Lab,
) -> None:
    bind_at(lab, 2)
    with traffic(lab):
        eventually(lambda: projected(lab, "ha3") == OUTER[2], SECONDS, "a projected route at ha3")
        lab.stop("ha2", "agent", signal.SIGKILL)
        eventually(lambda: projected(lab, "ha3") is None, HOLDING_TIME, "ha3 has missed an answer of ha2")
        assert ping(lab, "cn3"), "by way of ha1, whose packets the kernel of ha2 still carries"
        lab.start("ha2", "agent")
        eventually(lambda: projected(lab, "ha3") == OUTER[2], 40, "a projected route again")
        # Its memory of whom it told is lost; it moves at once.
        lab.stop("ha2", "agent", signal.SIGKILL)
        lab.start("ha2", "agent")
        lab.move("mr1", "access1")
        eventually(lambda: projected(lab, "ha3") is None, SECONDS, "it is taken back all the same")
        eventually(lambda: ping(lab, "cn3"), SECONDS, "cn3 reaches it")
    assert [row["kind"] for row in show(lab, "ha1", "bindings") if row["mobile_router"] == "mr1"] == [
        "direct"
    ]


@pytest.mark.requirement("O-10", "L-7")
def test_an_ingress_that_is_started_anew_begins_on_the_normal_path(lab: Lab) -> None:
    bind_at(lab, 2)
    with traffic(lab):
        eventually(lambda: projected(lab, "ha3") == OUTER[2], SECONDS, "a projected route at ha3")
    lab.stop("ha3", "agent", signal.SIGKILL)
    assert projected(lab, "ha3") == OUTER[2], "the kernel keeps it while nobody is there"
    lab.start("ha3", "agent")
    eventually(lambda: show(lab, "ha3", "projections") == [], SECONDS, "ha3 is back")
    assert projected(lab, "ha3") is None
    assert site_path(lab) == ["ha3", "ha1", "ha2"]


@pytest.mark.requirement("F-4", "E-6")
def test_a_site_that_is_cut_off_from_the_others_leaves_home_to_them(lab: Lab) -> None:
    """Towards the Internet it is up all the time."""
    bind_at(lab, 2)
    assert "ha3" in site_path(lab)
    others = f"{{ {OUTER[1]}, {OUTER[2]} }}"
    rules = f"ip6 saddr {others} ip6 daddr {OUTER[3]} drop\nip6 saddr {OUTER[3]} ip6 daddr {others} drop\n"
    table = f"add table inet cut {{ chain forward {{ type filter hook forward priority 0;\n{rules}}}\n}}"
    lab.exec("site3-router", ["nft", table], check=True)
    try:
        eventually(lambda: best_path(lab, "inet3").endswith(" 64500"), SECONDS, "inet3 goes to another site")
        assert [row["reached"] for row in show(lab, "ha3", "sites")] == ["self", "no", "no"]
        eventually(lambda: ping(lab, "cn3"), SECONDS, "cn3 reaches mr1 all the same")
        assert "ha3" not in site_path(lab)
    finally:
        lab.exec("site3-router", ["nft", "delete", "table", "inet", "cut"], check=True)
    eventually(lambda: best_path(lab, "inet3") == "64500", 2 * SECONDS, "it is back")
    eventually(lambda: site_path(lab)[:1] == ["ha3"], SECONDS, "cn3 goes by it again")


@pytest.mark.requirement("F-5", "O-10")
def test_without_the_primary_site_what_is_projected_goes_on_and_nobody_of_it_can_bind(lab: Lab) -> None:
    bind_at(lab, 2)
    lab.stop("mr2", "mr")  # it de-registers
    if lab.attachment("mr2") != "access3":
        lab.move("mr2", "access3")
    with traffic(lab):
        eventually(lambda: projected(lab, "ha3") == OUTER[2], SECONDS, "a projected route at ha3")
        plug(lab, "site1-router", "ha1", in_=False)
        asked = counter(lab, "ha3", "sent_resolution_request")
        refused = counter(lab, "ha3", "refused_130")
        lab.start("mr2", "mr")
        # Confirmed by the egress three times, it is older than the holding time.
        eventually(
            lambda: counter(lab, "ha3", "sent_resolution_request") >= asked + 3, 20, "ha2 is asked again"
        )
        assert projected(lab, "ha3") == OUTER[2]
        assert ping(lab, "cn3")
        assert show(lab, "mr2", "mobile-router")[0]["state"] != "bound"
        assert counter(lab, "ha3", "refused_130") > refused
        plug(lab, "site1-router", "ha1", in_=True)
