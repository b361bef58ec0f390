"""What the benchmark of messages takes packets for: packets by scapy, read by tshark."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import (
    HAO,
    MIP6MH_BA,
    MIP6MH_BRR,
    MIP6MH_BU,
    ICMPv6DestUnreach,
    ICMPv6HAADReply,
    ICMPv6HAADRequest,
    ICMPv6MPSol,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
)
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from tests.bench.packet_kinds import Kind, read_packets

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

HOA, COA = "2001:db8:1:1::10", "3fff:f02::10"
HA1, HA2 = "3fff:101::a", "3fff:102::a"
MOBILITY_HEADER = 135
UPDATE, KEEPALIVE = 2, 4


def from_mobile_router(header: Packet) -> Packet:
    return IPv6(src=COA, dst=HA1) / IPv6ExtHdrDestOpt(options=[HAO(hoa=HOA)]) / header


def between(inner: Packet, **fields: int) -> Packet:
    """In the tunnel between two Home Agents."""
    addresses = IPv6(src="2001:db8:ffff::2", dst="2001:db8:ffff::1", **fields)
    return IPv6(src=HA2, dst=HA1) / addresses / inner


def mobility(type_: int, body: bytes) -> Packet:
    """A Mobility Header that scapy does not know, in the tunnel."""
    header = struct.pack("!BBBBH", 59, (6 + len(body)) // 8 - 1, type_, 0, 0)
    return between(Raw(header + body), nh=MOBILITY_HEADER)


def experimental(operation: int) -> Packet:
    """A message between Home Agents, with an Experimental option that begins with 7."""
    return mobility(11, bytes([operation, 16]) + bytes(4) + b"\x12\x12\x07" + bytes(17))


def bgp(*types: int, port: int = 50000) -> Packet:
    """Messages of these types in one segment: an UPDATE that withdraws nothing, or without content."""
    bodies = {type_: bytes(4) if type_ == UPDATE else b"" for type_ in types}
    messages = [b"\xff" * 16 + struct.pack("!HB", 19 + len(bodies[t]), t) + bodies[t] for t in types]
    return between(TCP(sport=179, dport=port, flags="PA", seq=1) / Raw(b"".join(messages)))


def kinds(tmp_path: Path, *packets: Packet) -> list[tuple[Kind, int]]:
    file = tmp_path / "packets.pcap"
    wrpcap(str(file), list(packets))
    return [(packet.kind, packet.messages) for packet in read_packets(file)]


def test_what_a_mobile_router_says_and_hears(tmp_path: Path) -> None:
    assert kinds(
        tmp_path,
        from_mobile_router(MIP6MH_BU(seq=1, mhtime=150)),
        IPv6(src=HA1, dst=COA) / MIP6MH_BA(seq=1),
        IPv6(src=HA1, dst=COA) / MIP6MH_BRR(),
        IPv6(src=COA, dst=HOA) / ICMPv6HAADRequest(id=1),
        IPv6(src=HA1, dst=COA) / ICMPv6HAADReply(id=1, addresses=[HA1]),
        IPv6(src=COA, dst=HA1) / ICMPv6MPSol(),
    ) == [
        (Kind.BINDING_UPDATE, 1),
        (Kind.BINDING_ACKNOWLEDGEMENT, 1),
        (Kind.REFRESH_REQUEST, 1),
        (Kind.DISCOVERY, 1),
        (Kind.DISCOVERY, 1),
        (Kind.PREFIX_DISCOVERY, 1),
    ]


def test_what_home_agents_say_to_each_other_inside_the_tunnel(tmp_path: Path) -> None:
    operations = {
        1: Kind.HELLO,
        2: Kind.BINDING_INFORMATION,
        3: Kind.BINDING_INFORMATION,
        4: Kind.ACKNOWLEDGEMENT,
        5: Kind.RESOLUTION,
        6: Kind.RESOLUTION,
        7: Kind.PURGE,
        8: Kind.OTHER,
    }
    indication, acknowledgement = (mobility(16, bytes([which, 0]) + bytes(8)) for which in (1, 2))
    packets = [*map(experimental, operations), indication, acknowledgement, between(MIP6MH_BU(seq=1))]
    assert [kind for kind, _ in kinds(tmp_path, *packets)] == [
        *operations.values(),
        Kind.REVOCATION,
        Kind.REVOCATION_ACKNOWLEDGEMENT,
        Kind.BINDING_UPDATE,
    ]


def test_a_segment_counts_for_the_updates_in_it(tmp_path: Path) -> None:
    segments = [bgp(UPDATE), bgp(UPDATE, KEEPALIVE, UPDATE, port=50001), bgp(KEEPALIVE, port=50002)]
    assert kinds(tmp_path, *segments) == [(Kind.BGP_UPDATE, 1), (Kind.BGP_UPDATE, 2)]


def test_what_moves_do_not_cause_has_no_kind(tmp_path: Path) -> None:
    quoted = IPv6(src=COA, dst=HA1) / IPv6ExtHdrDestOpt(options=[HAO(hoa=HOA)]) / MIP6MH_BU(seq=1)
    error = IPv6(src=HA1, dst=COA) / ICMPv6DestUnreach() / quoted
    assert kinds(tmp_path, IPv6(src=COA, dst=HA1) / ICMPv6ND_NS(), error) == []


def test_time_and_octets_are_those_of_the_whole_packet(tmp_path: Path) -> None:
    packet = mobility(16, bytes([1, 0]) + bytes(8))
    packet.time = 1700000000.25
    file = tmp_path / "packets.pcap"
    wrpcap(str(file), [packet])
    (read,) = read_packets(file)
    assert (read.at, read.source, read.destination) == (1700000000.25, HA2, HA1)
    assert read.octets == len(bytes(packet)) == 40 + 40 + 16
