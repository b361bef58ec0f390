"""What tshark reads in thousands of packets of ours: every field it knows must hold what we put in.

One run of tshark for all of them. It checks the checksum of ICMPv6, but not that of a Mobility Header.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from haha_exabgp.wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    IcmpMessage,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import build_icmpv6, build_mobility
from haha_exabgp.wire.messages import BY_MESSAGE
from haha_exabgp.wire.mobility import (
    HomeAgentSwitch,
    MobilityMessage,
    encode_mobility,
)
from tests.differential.shown_by_tshark import MESSAGES, Chance, Fields, address

PACKETS = 500
"""Of each kind of message."""
RAW_IPV6 = 229
"""The pcap link type of packets that start with an IPv6 header."""


def mobility_packet(chance: Chance, message: MobilityMessage, fields: Fields) -> tuple[bytes, Fields]:
    source, destination, home = address(chance), address(chance), address(chance)
    from_home, to_home = chance.choice([(None, None), (home, None), (None, home), (home, home)])
    header = encode_mobility(message, from_home or source, to_home or destination)
    packet = build_mobility(source, destination, header, home_address=from_home, routing_home_address=to_home)
    fields |= {
        "ipv6.src": [str(source)],
        "ipv6.dst": [str(destination)],
        "ipv6.opt.mipv6.home_address": [str(from_home)] if from_home else [],
        "ipv6.routing.mipv6.home_address": [str(to_home)] if to_home else [],
        "mip6.proto": ["59"],
        "mip6.hlen": [str(len(header) // 8 - 1)],
        "mip6.mhtype": [str(BY_MESSAGE[type(message)].code.value)],
        "mip6.csum": ["0x" + header[4:6].hex()],
    }
    # tshark looks for the options of a Home Agent Switch in front of its addresses.
    return packet, fields if isinstance(message, HomeAgentSwitch) else fields | {"_ws.malformed": []}


def discovery_packet(chance: Chance) -> tuple[bytes, Fields]:
    identifier, mobile_router = chance.randrange(65536), chance.random() < 0.5
    addresses = tuple(address(chance) for _ in range(chance.randrange(1, 78)))
    fields: Fields = {
        "icmpv6.mip6.identifier": [str(identifier)],
        "icmpv6.reserved": ["8000" if mobile_router else "0000"],
    }
    if chance.random() < 0.5:
        fields |= {"icmpv6.type": ["144"], "icmpv6.mip6.home_agent_address": []}
        return icmpv6_packet(chance, HomeAgentDiscoveryRequest(identifier, mobile_router), fields)
    listed = [str(each) for each in addresses]
    fields |= {"icmpv6.type": ["145"], "icmpv6.mip6.home_agent_address": listed}
    return icmpv6_packet(chance, HomeAgentDiscoveryReply(identifier, mobile_router, addresses), fields)


def prefix_packet(chance: Chance) -> tuple[bytes, Fields]:
    identifier, managed, other = chance.randrange(65536), chance.random() < 0.5, chance.random() < 0.5
    fields: Fields = {"icmpv6.mip6.identifier": [str(identifier)]}
    if chance.random() < 0.3:
        return icmpv6_packet(chance, MobilePrefixSolicitation(identifier), fields | {"icmpv6.type": ["146"]})
    made = [
        PrefixInformation(
            address(chance),
            chance.randrange(129),
            chance.randrange(1 << 32),
            chance.randrange(1 << 32),
            *(chance.random() < 0.5 for _ in range(3)),
        )
        for _ in range(chance.randrange(4))
    ]
    fields |= {
        "icmpv6.type": ["147"],
        "icmpv6.mip6.flag.m": [str(int(managed))],
        "icmpv6.mip6.flag.o": [str(int(other))],
        "icmpv6.opt.prefix": [str(each.address) for each in made],
        "icmpv6.opt.prefix.length": [str(each.length) for each in made],
        "icmpv6.opt.prefix.valid_lifetime": [str(each.valid_lifetime) for each in made],
        "icmpv6.opt.prefix.preferred_lifetime": [str(each.preferred_lifetime) for each in made],
        "icmpv6.opt.prefix.flag.l": [str(int(each.on_link)) for each in made],
        "icmpv6.opt.prefix.flag.a": [str(int(each.autonomous)) for each in made],
        "icmpv6.opt.prefix.flag.r": [str(int(each.router_address)) for each in made],
    }
    return icmpv6_packet(chance, MobilePrefixAdvertisement(identifier, managed, other, tuple(made)), fields)


def icmpv6_packet(chance: Chance, message: IcmpMessage, fields: Fields) -> tuple[bytes, Fields]:
    """tshark computes the checksum itself, over the home address where the packet has one."""
    source, destination, home = address(chance), address(chance), address(chance)
    from_home, to_home = chance.choice([(None, None), (home, None), (None, home)])
    octets = encode_icmpv6(message, from_home or source, to_home or destination)
    packet = build_icmpv6(source, destination, octets, home_address=from_home, routing_home_address=to_home)
    return packet, fields | {"icmpv6.checksum.status": ["1"], "_ws.malformed": []}


def read_by_tshark(packets: list[bytes], names: list[str], file: Path) -> list[Fields]:
    """Every packet's fields, as one run of tshark over a capture of them prints them."""
    with file.open("wb") as capture:
        capture.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW_IPV6))
        for packet in packets:
            capture.write(struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)
    wanted = [argument for name in names for argument in ("-e", name)]
    command = ["tshark", "-n", "-r", str(file), "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
    run = subprocess.run(
        [*command, *wanted],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "TZ": "UTC"},
    )
    rows = [line.split("|") for line in run.stdout.splitlines()]
    return [
        {name: value.split(",") if value else [] for name, value in zip(names, row, strict=True)}
        for row in rows
    ]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_what_we_wrote(tmp_path: Path, chance: Chance) -> None:
    messages = [make(chance) for make in MESSAGES for _ in range(PACKETS)]
    assert {type(message) for message, _ in messages} == set(BY_MESSAGE)
    made = [mobility_packet(chance, message, fields) for message, fields in messages]
    made += [make(chance) for make in (discovery_packet, prefix_packet) for _ in range(PACKETS)]
    names = sorted({name for _, fields in made for name in fields})
    seen = read_by_tshark([packet for packet, _ in made], names, tmp_path / "packets.pcap")
    assert len(seen) == len(made)
    for (packet, expected), fields in zip(made, seen, strict=True):
        read = {name: fields[name] for name in expected}
        assert read == expected, packet.hex()
