"""A path inside the tunnel that takes less than 1500 octets, or ends: the senders outside learn of it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from haha_exabgp.agent.control import ask
from haha_exabgp.agent.icmp_relay import IcmpRelay
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.kernel.routes import RouteChanges
from haha_exabgp.kernel.sockets import MobilitySocket
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.protocol.routes import KernelRoute, Metric
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.icmpv6 import IcmpError, IcmpErrorType, encode_icmpv6
from haha_exabgp.wire.ipv6 import build_icmpv6
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    EVIL,
    HAHA,
    HOME_ADDRESS,
    LARGE,
    LFN,
    OUTER,
    Namespace,
    World,
    kernel_world,
    seen,
    sniffer,
    transfer,
    tunnelled,
    udp,
)
from tests.lab.mobile_router_kernel import NETWORKS, MobileRouterKernel

pytestmark = [pytest.mark.lab, pytest.mark.requirement("T-2")]

NARROW = 1400
"""Octets that one link on the way through the tunnel takes."""
INSIDE = NARROW - 40
LINKS = {
    "narrow-at-the-mobile-router": (("core", "c-mr"), ("mr", "wan0")),
    "narrow-at-the-home-agent": (("core", "c-ha1"), ("ha1", "eth0")),
}
"""Each time one end of the tunnel has the narrow link itself, the other hears of it from the core."""


@contextmanager
def relaying(namespace: Namespace, source: Address, entry_point: Address) -> Iterator[Counter[str]]:
    """Run what a daemon runs."""
    counters: Counter[str] = Counter()
    woken, waker = socket.socketpair()
    with namespace.entered():
        mobility = MobilitySocket()
        relay = IcmpRelay(source, lambda: entry_point, mobility.send_batch, counters)

    def serve() -> None:
        while True:
            ready, _, _ = select.select([relay, woken], [], [])
            if woken in ready:
                return
            relay.receive()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield counters
    finally:
        waker.send(b".")
        thread.join(5)
        relay.close()
        mobility.close()
        woken.close()
        waker.close()


@contextmanager
def relays(world: World) -> Iterator[dict[str, Counter[str]]]:
    """All three tunnel ends relay."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(relaying(namespace, source, entry_point))
            for name, namespace, source, entry_point in (
                ("ha1", world.ha1.namespace, OUTER[1], OUTER[1]),
                ("ha2", world.ha2.namespace, OUTER[2], OUTER[2]),
                ("mr", world.mr, HOME_ADDRESS, CARE_OF),
            )
        }


def namespaces(world: World) -> dict[str, Namespace]:
    return {"core": world.core, "mr": world.mr, "ha1": world.ha1.namespace}


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """Without a guard: nobody clamps TCP's segment size."""
    with kernel_world("tDi") as built:
        kernel = MobileRouterKernel(built.mr)
        with built.mr.entered():
            kernel.datapath.setup()
            kernel.routes.setup()
        kernel.datapath.set_tunnel_ends({CARE_OF}, CARE_OF)
        kernel.routes.set_home_agent(OUTER[1])
        bound = (KernelRoute(prefix, Metric.BINDING, CARE_OF) for prefix in NETWORKS)
        assert built.ha1.table.apply(RouteChanges(tuple(bound))) == []
        yield built
        kernel.close()


def forget_paths(world: World) -> None:
    for host in (world.cn, world.evil, world.lfn, world.mr, world.ha1.namespace, world.ha2.namespace):
        host.ip("-6 route flush cache")


@pytest.fixture(params=LINKS.values(), ids=LINKS)
def world(shared: World, request: pytest.FixtureRequest) -> Iterator[World]:
    hosts = namespaces(shared)
    for host, device in request.param:
        hosts[host].ip(f"link set {device} mtu {NARROW}")
    forget_paths(shared)
    yield shared
    for host, device in request.param:
        hosts[host].ip(f"link set {device} mtu 1500")


def test_without_the_relay_the_sender_learns_nothing(world: World) -> None:
    for sender, destination in ((world.cn, LFN), (world.lfn, CN)):
        assert sender.pings(destination, octets=INSIDE)
        silence = sender.ping(destination, octets=NARROW)
        assert "1 received" not in silence
        assert "mtu" not in silence


def test_sender_is_told_the_mtu_of_the_path_less_the_tunnel(world: World) -> None:
    with relays(world):
        for sender, destination, source in ((world.cn, LFN, OUTER[1]), (world.lfn, CN, HOME_ADDRESS)):
            said = sender.ping(destination, octets=NARROW)
            assert f"From {source} icmp_seq=1 Packet too big: mtu={INSIDE}" in said
            assert f"mtu: {INSIDE}" in sender.ping(destination, octets=INSIDE + 1), "it remembers"
            assert sender.pings(destination, octets=INSIDE)


def test_every_sender_is_told_by_its_own_packet(world: World) -> None:
    """The kernel keeps no path MTU for a tunnel, which a forged error could spoil for all of its users."""
    with relays(world) as counters:
        for sender in (world.cn, world.evil):
            assert f"mtu={INSIDE}" in sender.ping(LFN, octets=NARROW)
            assert sender.pings(LFN, octets=INSIDE)
    assert counters["ha1"]["icmp_relayed_packet_too_big"] == 2
    assert "mtu" not in world.ha1.namespace.ip(f"-6 route get {CARE_OF}")


def test_tcp_gets_through_without_a_clamp(world: World) -> None:
    with relays(world):
        assert transfer(world.cn, CN, world.lfn, LFN) == LARGE
        assert transfer(world.lfn, LFN, world.cn, CN) == LARGE


def test_datagrams_get_through_once_the_sender_has_been_told(world: World) -> None:
    large = bytes(4000)
    ways = (world.cn, CN, world.lfn, LFN), (world.lfn, LFN, world.cn, CN)
    with relays(world):
        for sender, source, receiver, destination in ways:
            with receiver.entered():
                to = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            with sender.entered():
                out = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            with to, out:
                to.bind((str(destination), 0))
                out.bind((str(source), 0))

                def arrives(to: socket.socket = to, out: socket.socket = out) -> bool:
                    out.sendto(large, to.getsockname()[:2])
                    return bool(select.select([to], [], [], 0.2)[0]) and to.recv(8192) == large

                eventually(arrives, 5, "a datagram in fragments")


def test_mobile_routers_own_packets_learn_it_too(world: World) -> None:
    with relays(world):
        assert transfer(world.cn, CN, world.mr, HOME_ADDRESS) == LARGE
        assert transfer(world.mr, HOME_ADDRESS, world.cn, CN) == LARGE


def test_two_tunnels_of_ours_are_taken_off_for_the_sender(world: World) -> None:
    """A mobile router in the other one's network: its care-of address is reached through a tunnel itself."""
    table, behind = world.ha1.table, Prefix.parse("2001:db8:1:200::/64")
    visitor = KernelRoute(behind, Metric.BINDING, LFN)
    assert table.apply(RouteChanges((visitor,))) == []
    with relays(world):
        said = world.cn.ping(Address.parse("2001:db8:1:200::10"), octets=NARROW)
    assert table.apply(RouteChanges((), (visitor,))) == []
    assert f"From {OUTER[1]} icmp_seq=1 Packet too big: mtu={INSIDE - 40}" in said


@pytest.fixture
def plain(shared: World) -> World:
    """All links with 1500 octets."""
    forget_paths(shared)
    return shared


def test_home_agents_among_themselves_learn_it(plain: World) -> None:
    core, ha2 = plain.core, plain.ha2.namespace
    core.ip(f"link set c-ha2 mtu {NARROW}")
    ha2.ip(f"link set eth0 mtu {NARROW}")
    with relays(plain) as counters:
        assert transfer(ha2, HAHA[2], plain.ha1.namespace, HAHA[1]) == LARGE
        assert transfer(plain.ha1.namespace, HAHA[1], ha2, HAHA[2]) == LARGE
    assert counters["ha1"]["icmp_relayed_packet_too_big"] > 0
    core.ip("link set c-ha2 mtu 1500")
    ha2.ip("link set eth0 mtu 1500")


def test_sender_is_told_that_the_tunnel_has_no_end(plain: World) -> None:
    plain.core.ip(f"-6 route add prohibit {CARE_OF}/128")
    with relays(plain):
        said = plain.cn.ping(LFN)
        assert f"From {OUTER[1]} icmp_seq=1 Destination unreachable: Address unreachable" in said
    plain.core.ip(f"-6 route del prohibit {CARE_OF}/128")


def test_sender_is_told_that_the_hop_limit_ran_out_in_the_tunnel(plain: World) -> None:
    """The hop limit of a tunnel header is a copy of the original packet's: two hops lead into the tunnel."""
    with relays(plain):
        said = plain.cn.run("sh", "-c", f"ping -n -c 1 -W 1 -t 3 {LFN} || true")
    assert f"From {OUTER[1]} icmp_seq=1 Time exceeded: Hop limit" in said


def test_invented_errors_reach_nobody(plain: World) -> None:
    invented = {
        "no_such_tunnel": tunnelled(OUTER[1], udp(CN, LFN), EVIL),
        "fits": tunnelled(OUTER[1], udp(CN, LFN), CARE_OF),
        "about_error": tunnelled(OUTER[1], build_icmpv6(CN, LFN, bytes((1, 0, 0, 0, 0, 0, 0, 0))), CARE_OF),
    }
    with relays(plain) as counters, sniffer(plain.cn, "eth0") as packets:
        for quoted in invented.values():
            error = IcmpError(IcmpErrorType.PACKET_TOO_BIG, 0, 1300, quoted)
            message = encode_icmpv6(error, EVIL, OUTER[1])
            plain.evil.sends(build_icmpv6(EVIL, OUTER[1], message))
        eventually(lambda: counters["ha1"].total() == len(invented), 2, "all are counted", interval=0.01)
        assert plain.cn.pings(OUTER[1])
        assert not [one for one in seen(packets) if one[6] == 58 and one[40] < 128]
    assert counters["ha1"] == {f"icmp_relay_dropped_{reason}": 1 for reason in invented}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Lab]:
    """All the daemons, the mobile router bound where it starts."""
    path = tmp_path / f"relay{os.getpid()}.yaml"
    shutil.copyfile(Path(__file__).parents[2] / "configs" / "two-sites.yaml", path)
    files = load(path, no_key)
    assert list(make_missing(files.key_path(file) for _, file in key_files(files.config)))
    with Lab.up(path) as lab:
        lab.wait_until_ready(20)

        def bound() -> bool:
            return ask(lab.run_dir("mr1"), "mobile-router")[0]["state"] == "bound"

        eventually(bound, 20, "mr1 is bound")
        yield lab


def test_daemons_tell_senders_on_both_sides(home: Lab) -> None:
    """The access link is narrow: the Home Agent hears it from a router, the mobile router from itself."""
    access = home.attachment("mr1")
    router = home.topology.access(access).router
    home.exec(router, ["ip", "link", "set", "mr1", "mtu", str(NARROW)], check=True)
    home.exec("mr1", ["ip", "link", "set", "wan0", "mtu", str(NARROW)], check=True)
    octets = str(NARROW - 48)

    def told(sender: str, destination: object) -> bool:
        argv = ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", octets, str(destination)]
        return f"mtu={INSIDE}" in home.exec(sender, argv).stdout

    correspondent = home.topology.address("cn1")
    for sender, destination in (("cn1", LFN), ("mr1-lfn", correspondent)):
        eventually(lambda s=sender, d=destination: told(s, d), 10, f"{sender} learns the MTU")
        small = ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", str(INSIDE - 48), str(destination)]
        assert home.exec(sender, small).returncode == 0
    for node in ("ha1", "mr1"):
        counters = {row["counter"]: row["value"] for row in ask(home.run_dir(node), "counters")}
        assert counters["icmp_relayed_packet_too_big"] > 0
