"""Mobility packets in and out of a kernel that knows no Mobile IPv6."""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from haha_exabgp.kernel.message_batches import LARGEST_RECEIVED, Datagram, SendBatch
from haha_exabgp.kernel.netlink import NetlinkSocket, force_receive_buffer
from haha_exabgp.kernel.sockets import (
    DhaadSocket,
    MobilitySocket,
    open_discovery_replies,
    open_prefix_solicitations,
)
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.anycast import home_agents_anycast
from haha_exabgp.wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    MobilePrefixSolicitation,
    decode_icmpv6,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import (
    IcmpPacket,
    build_icmpv6,
    build_ipv6,
    build_mobility,
    parse_from,
    parse_packet,
)
from tests.lab.kernel_world import (
    CARE_OF,
    EVIL,
    HAHA,
    HOME,
    HOME_ADDRESS,
    MNP,
    OUTER,
    PARTITION,
    World,
    kernel_world,
    seen,
    sniffer,
)

pytestmark = pytest.mark.lab

UPDATE = bytes.fromhex("3b010500ffff00070000000f01020000")
"""A Mobility Header whose checksum is wrong for every pair of addresses here."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with kernel_world("tDk") as built:
        yield built


@pytest.fixture
def mobility(world: World) -> Iterator[MobilitySocket]:
    with world.ha1.namespace.entered():
        sockets = MobilitySocket()
    with closing(sockets):
        yield sockets


def drain(sockets: MobilitySocket, timeout: float = 1.0) -> list[Datagram]:
    """What arrives, after waiting for the first."""
    select.select(sockets.receivers, [], [], timeout)
    return [
        datagram
        for receiver in sockets.receivers
        for batch in iter(receiver.receive_batch, [])
        for datagram in batch
    ]


def test_update_with_home_address_option_comes_by_the_options_socket_alone(
    world: World, mobility: MobilitySocket
) -> None:
    packet = build_mobility(CARE_OF, OUTER[1], UPDATE, home_address=HOME_ADDRESS)
    world.mr.sends(packet)
    (datagram,) = drain(mobility)
    assert (datagram.protocol, datagram.source, datagram.destination) == (60, CARE_OF, OUTER[1])
    assert datagram.data == packet[40:]
    assert world.ha1.namespace.ip("-o link show eth0").startswith(f"{datagram.device}:")


def test_acknowledgement_with_routing_header_comes_by_the_routing_socket_alone(
    world: World, mobility: MobilitySocket
) -> None:
    packet = build_mobility(CARE_OF, OUTER[1], UPDATE, routing_home_address=HOME_ADDRESS)
    world.mr.sends(packet)
    assert [(one.protocol, one.data) for one in drain(mobility)] == [(43, packet[40:])]


def test_bare_mobility_header_comes_with_whatever_checksum(world: World, mobility: MobilitySocket) -> None:
    world.mr.sends(build_mobility(CARE_OF, OUTER[1], UPDATE))
    assert [(one.protocol, one.data) for one in drain(mobility)] == [(135, UPDATE)]


def test_options_that_the_kernel_accepts_make_no_second_copy(world: World, mobility: MobilitySocket) -> None:
    padding_only = bytes((135, 0, 1, 4, 0, 0, 0, 0))
    world.mr.sends(
        build_ipv6(CARE_OF, OUTER[1], 60, padding_only + UPDATE), build_ipv6(CARE_OF, OUTER[1], 135, UPDATE)
    )
    found = drain(mobility)
    assert sorted(one.protocol for one in found) == [60, 135]


def test_other_traffic_does_not_wake_the_agent(world: World, mobility: MobilitySocket) -> None:
    udp = struct.pack("!HHHH", 9, 9, 8, 0)
    world.mr.sends(
        build_ipv6(CARE_OF, OUTER[1], 60, bytes((17, 0, 1, 4, 0, 0, 0, 0)) + udp),
        build_ipv6(CARE_OF, OUTER[1], 135, UPDATE),
    )
    assert [one.protocol for one in drain(mobility)] == [135]


def test_packets_out_of_a_haha_tunnel_are_seen_with_their_inner_addresses(
    world: World, mobility: MobilitySocket
) -> None:
    packet = build_mobility(HAHA[2], HAHA[1], UPDATE, home_address=HOME_ADDRESS)
    with world.ha2.namespace.entered():
        sender = MobilitySocket()
    with closing(sender), sniffer(world.core, "c-ha1") as packets:
        assert sender.send_batch([packet]) == []
        (datagram,) = drain(mobility)
        assert any(one[6] == 41 and one[40:] == packet for one in seen(packets))
    assert (datagram.source, datagram.destination, datagram.data) == (HAHA[2], HAHA[1], packet[40:])


def test_packet_is_sent_octet_for_octet(world: World, mobility: MobilitySocket) -> None:
    packet = build_mobility(OUTER[1], CARE_OF, UPDATE, routing_home_address=HOME_ADDRESS, hop_limit=77)
    with sniffer(world.core, "c-ha1") as packets:
        assert mobility.send_batch([packet]) == []
        assert packet in seen(packets, timeout=1)


def test_burst_is_not_lost(world: World, mobility: MobilitySocket) -> None:
    updates = (UPDATE[:6] + number.to_bytes(2, "big") + UPDATE[8:] for number in range(2000))
    burst = [build_mobility(CARE_OF, OUTER[1], update, home_address=HOME_ADDRESS) for update in updates]
    world.mr.sends(*burst)
    assert [one.data for one in drain(mobility)] == [packet[40:] for packet in burst]


def test_packet_longer_than_any_message_is_dropped_and_counted(
    world: World, mobility: MobilitySocket
) -> None:
    options = mobility.receivers[0]
    longest = bytes((135, 255)) + bytes(LARGEST_RECEIVED - 2)
    world.ha1.namespace.sends(
        build_ipv6(OUTER[1], OUTER[1], 60, longest),
        build_ipv6(OUTER[1], OUTER[1], 60, longest + bytes(8)),
        build_mobility(OUTER[1], OUTER[1], UPDATE, home_address=HOME_ADDRESS),
    )
    assert [len(one.data) for one in drain(mobility)] == [LARGEST_RECEIVED, 16 + 24]
    assert options.truncated == 1


def test_batch_is_sent_octet_for_octet_in_its_order(world: World, mobility: MobilitySocket) -> None:
    others = (CARE_OF, EVIL, OUTER[2])
    packets = [
        build_mobility(OUTER[1], others[n % 3], UPDATE, home_address=HOME_ADDRESS, hop_limit=1 + n % 255)
        for n in range(600)
    ]
    with sniffer(world.core, "c-ha1") as sniffed:
        force_receive_buffer(sniffed, 1 << 20)
        assert mobility.send_batch(packets) == []
        assert [one for one in seen(sniffed, timeout=1) if one[8:24] == OUTER[1]] == packets


def test_bad_packets_in_a_batch_do_not_stop_the_others(world: World, mobility: MobilitySocket) -> None:
    good = [build_mobility(OUTER[1], CARE_OF, UPDATE, hop_limit=n) for n in range(1, 5)]
    too_large = build_ipv6(OUTER[1], CARE_OF, 135, bytes(1600))
    nowhere = build_mobility(OUTER[1], Address.parse("2001:db8:7::1"), UPDATE)
    with sniffer(world.core, "c-ha1") as sniffed:
        failures = mobility.send_batch(
            [too_large, good[0], good[1], b"", nowhere, good[2], good[0][:39], good[3], too_large]
        )
        assert [one for one in seen(sniffed, timeout=1) if one[8:24] == OUTER[1]] == good
    assert [(position, error.errno) for position, error in failures] == [
        (0, errno.EMSGSIZE),
        (3, errno.EINVAL),
        (4, errno.EHOSTUNREACH),
        (6, errno.EINVAL),
        (8, errno.EMSGSIZE),
    ]
    assert mobility.send_batch([]) == []


def test_failures_of_a_large_batch_keep_their_positions(mobility: MobilitySocket) -> None:
    packets = [build_mobility(OUTER[1], CARE_OF, UPDATE)] * 600
    bad = [0, 255, 256, 511, 512, 599]
    for position in bad:
        packets[position] = b""
    assert [position for position, _ in mobility.send_batch(packets)] == bad


def test_full_send_buffer_fails_the_rest_without_waiting(world: World) -> None:
    # Packets to a neighbour that does not answer stay in the sender's buffer.
    silent = Address.parse("3fff:101::77")
    packets = [build_mobility(OUTER[1], silent, UPDATE, hop_limit=n) for n in range(100)]
    with (
        world.ha1.namespace.entered(),
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        failures = SendBatch().send(raw.fileno(), packets)
    first = failures[0][0]
    assert 0 < first < 50
    assert [(position, error.errno) for position, error in failures] == [
        (position, errno.EAGAIN) for position in range(first, len(packets))
    ]


def test_all_acknowledgements_of_a_batch_fit_into_the_send_buffer_of_a_slow_device(
    world: World, mobility: MobilitySocket
) -> None:
    # Two hundred a second leave.
    slow = ("tbf", "rate", "100kbit", "burst", "2000", "limit", "1000000")
    world.ha1.namespace.run("tc", "qdisc", "add", "dev", "eth0", "root", *slow)
    try:
        assert mobility.send_batch([build_mobility(OUTER[1], CARE_OF, UPDATE)] * 1000) == []
    finally:
        world.ha1.namespace.run("tc", "qdisc", "delete", "dev", "eth0", "root")


def test_packet_without_header_is_refused(mobility: MobilitySocket) -> None:
    assert [error.errno for _, error in mobility.send_batch([b""])] == [errno.EINVAL]


@pytest.mark.parametrize(
    "prefix",
    [HOME, Prefix.parse("2001:db8:1::/48"), Prefix.parse("2001:db8:2:3::/64"), MNP],
    ids=["home", "own-partition", "other-site", "mobile-network"],
)
@pytest.mark.requirement("D-1")
def test_discovery_request_is_taken_in_transit(world: World, prefix: Prefix) -> None:
    anycast = home_agents_anycast(prefix)
    with world.ha1.namespace.entered():
        discovery = DhaadSocket(HOME)
    with discovery:
        world.evil.sends(_request(EVIL, anycast))
        select.select([discovery], [], [], 1)
        received = discovery.receive()
        assert received is not None
        parsed = parse_packet(received)
        assert isinstance(parsed, IcmpPacket)
        assert (parsed.source, parsed.destination) == (EVIL, anycast)
        assert isinstance(decode_icmpv6(parsed.message, EVIL, anycast), HomeAgentDiscoveryRequest)
        assert discovery.receive() is None


def test_discovery_socket_sees_requests_in_tunnels_and_nothing_else(world: World) -> None:
    """With the tunnel's header, by which they can be judged."""
    inside = Address.parse("2001:db8:1::77")
    reply = HomeAgentDiscoveryReply(7, True, (OUTER[1],))
    tunnelled = _request(HAHA[2], home_agents_anycast(HOME))
    with world.ha1.namespace.entered():
        discovery = DhaadSocket(HOME)
    with discovery:
        world.mr.sends(
            _request(CARE_OF, OUTER[1]),
            build_icmpv6(CARE_OF, inside, encode_icmpv6(reply, CARE_OF, inside)),
            build_ipv6(CARE_OF, inside, 17, struct.pack("!HHHH", 9, 9, 8, 0)),
        )
        world.ha2.namespace.sends(build_ipv6(OUTER[2], OUTER[1], 41, tunnelled))
        world.ha1.namespace.sends(_request(OUTER[1], home_agents_anycast(PARTITION[2])))
        assert world.ha1.namespace.pings(HAHA[2]), "all of the above has been dealt with"
        # The last one is for it, so that an empty socket cannot be a deaf one.
        world.mr.sends(_request(CARE_OF, inside))
        select.select([discovery], [], [], 1)
        received = list(iter(discovery.receive, None))
    ends = [(one[8:24], one[24:40]) for one in received if one]
    assert ends == [(OUTER[2], OUTER[1]), (CARE_OF, inside)]


def test_mobile_router_hears_discovery_replies_only(world: World) -> None:
    with world.mr.entered():
        replies = open_discovery_replies()
    message = encode_icmpv6(HomeAgentDiscoveryReply(7, True, (OUTER[1], OUTER[2])), OUTER[1], CARE_OF)
    with replies:
        assert world.ha1.namespace.pings(CARE_OF)
        world.ha1.namespace.sends(build_icmpv6(OUTER[1], CARE_OF, message))
        select.select([replies], [], [], 1)
        received = list(iter(replies.receive, None))
    assert [(one.source, one.destination, one.data) for one in received if one] == [
        (OUTER[1], CARE_OF, message)
    ]


@pytest.mark.requirement("M-MPS")
def test_home_agent_hears_prefix_solicitations_of_mobile_routers_away(
    world: World, mobility: MobilitySocket
) -> None:
    """Whatever the kernel thinks of the Home Address option; Binding Updates go to the other sockets."""
    message = encode_icmpv6(MobilePrefixSolicitation(7), HOME_ADDRESS, OUTER[1])
    with world.ha1.namespace.entered():
        receiver = open_prefix_solicitations()
    with closing(receiver):
        world.mr.sends(
            build_mobility(CARE_OF, OUTER[1], UPDATE, home_address=HOME_ADDRESS),
            build_icmpv6(CARE_OF, OUTER[1], message, home_address=HOME_ADDRESS),
        )
        assert len(drain(mobility)) == 1
        select.select([receiver], [], [], 1.0)
        (datagram,) = receiver.receive_batch()
    packet = parse_from(datagram.protocol, datagram.data, datagram.source, datagram.destination)
    assert isinstance(packet, IcmpPacket)
    assert (packet.source, packet.destination, packet.home_address) == (CARE_OF, OUTER[1], HOME_ADDRESS)
    assert packet.message == message


def test_closed_sockets_are_gone(world: World) -> None:
    with world.ha1.namespace.entered(), NetlinkSocket():
        sockets = MobilitySocket()
        sockets.close()
        assert [receiver.fileno() for receiver in sockets.receivers] == [-1, -1, -1]


def _request(source: Address, destination: Address) -> bytes:
    message = encode_icmpv6(HomeAgentDiscoveryRequest(7, True), source, destination)
    return build_icmpv6(source, destination, message)
