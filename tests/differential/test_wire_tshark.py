"""What tshark reads in thousands of packets of ours: every field it knows must hold what we put in.

One run of tshark for all of them. It checks the checksum of ICMPv6, but not that of a Mobility Header.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import BindingAcknowledgementFlag, BindingUpdateFlag, RevocationFlag
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, encode_icmpv6
from haha_exabgp.wire.ipv6 import build_icmpv6, build_mobility
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    Heartbeat,
    HomeAgentSwitch,
    MobilityMessage,
    encode_mobility,
)
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    BindingIdentifier,
    BindingRefreshAdvice,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    MobilityOption,
    NonceIndices,
    ReplayProtection,
    RestartCounter,
    first_option,
)

PACKETS = 350
"""Of each kind of message."""
RAW_IPV6 = 229
"""The pcap link type of packets that start with an IPv6 header."""

Chance = random.Random
Fields = dict[str, list[str]]

UPDATE_FLAGS = {
    "mip6.bu.a_flag": BindingUpdateFlag.ACKNOWLEDGE,
    "mip6.bu.h_flag": BindingUpdateFlag.HOME_REGISTRATION,
    "mip6.bu.l_flag": BindingUpdateFlag.LINK_LOCAL_COMPATIBILITY,
    "mip6.bu.k_flag": BindingUpdateFlag.KEY_MANAGEMENT_MOBILITY,
    "mip6.bu.m_flag": BindingUpdateFlag.MAP_REGISTRATION,
    "mip6.nemo.bu.r_flag": BindingUpdateFlag.MOBILE_ROUTER,
    "mip6.bu.p_flag": BindingUpdateFlag.PROXY_REGISTRATION,
    "mip6.bu.f_flag": BindingUpdateFlag.FORCE_UDP_ENCAPSULATION,
    "mip6.bu.t_flag": BindingUpdateFlag.TLV_HEADER,
    "mip6.bu.b_flag": BindingUpdateFlag.BULK,
}
ACKNOWLEDGEMENT_FLAGS = {
    "mip6.ba.k_flag": BindingAcknowledgementFlag.KEY_MANAGEMENT_MOBILITY,
    "mip6.nemo.ba.r_flag": BindingAcknowledgementFlag.MOBILE_ROUTER,
    "mip6.ba.p_flag": BindingAcknowledgementFlag.PROXY_REGISTRATION,
    "mip6.ba.t_flag": BindingAcknowledgementFlag.TLV_HEADER,
    "mip6.ba.b_flag": BindingAcknowledgementFlag.BULK,
}


def address(chance: Chance) -> Address:
    return Address(b"\x20\x01\x0d\xb8" + chance.randbytes(12))


def flag_fields(flags: int, names: dict[str, Any]) -> Fields:
    return {name: [str(int(bool(flags & flag)))] for name, flag in names.items()}


def update(chance: Chance) -> tuple[MobilityMessage, Fields]:
    flags = BindingUpdateFlag(chance.randrange(0x400) << 6)
    sequence, units = chance.randrange(65536), chance.randrange(65536)
    fields = {"mip6.bu.seqnr": [str(sequence)], "mip6.bu.lifetime": [str(units)]}
    message = BindingUpdate(sequence, flags, units * 4, options(chance))
    return message, fields | flag_fields(flags, UPDATE_FLAGS) | option_fields(message.options)


def acknowledgement(chance: Chance) -> tuple[MobilityMessage, Fields]:
    flags = BindingAcknowledgementFlag(chance.randrange(0x20) << 3)
    status, sequence, units = chance.randrange(256), chance.randrange(65536), chance.randrange(65536)
    fields = {
        "mip6.ba.status": [str(status)],
        "mip6.ba.seqnr": [str(sequence)],
        "mip6.ba.lifetime": [str(units)],
    }
    message = BindingAcknowledgement(status, flags, sequence, units * 4, options(chance))
    return message, fields | flag_fields(flags, ACKNOWLEDGEMENT_FLAGS) | option_fields(message.options)


def error(chance: Chance) -> tuple[MobilityMessage, Fields]:
    status, home = chance.randrange(256), address(chance)
    fields = {"mip6.be.status": [str(status)], "mip6.be.haddr": [str(home)]}
    return BindingError(status, home), fields


def switch(chance: Chance) -> tuple[MobilityMessage, Fields]:
    addresses = tuple(address(chance) for _ in range(chance.randrange(5)))
    fields: Fields = {
        "mip6.has.num_addrs": [str(len(addresses))],
        "mip6.has.address": [str(each) for each in addresses],
    }
    return HomeAgentSwitch(addresses), fields


def heartbeat(chance: Chance) -> tuple[MobilityMessage, Fields]:
    sequence, bits = chance.randrange(1 << 32), chance.randrange(4)
    fields = {
        "mip6.hb.seqnr": [str(sequence)],
        "mip6.hb.u_flag": [str(bits >> 1)],
        "mip6.hb.r_flag": [str(bits & 1)],
    }
    counter = RestartCounter(chance.randrange(1 << 32))
    message = Heartbeat(sequence, bool(bits & 1), bool(bits & 2), (counter,))
    return message, fields | option_fields(message.options)


def revocation(chance: Chance) -> tuple[MobilityMessage, Fields]:
    value, sequence = chance.randrange(256), chance.randrange(65536)
    flags = RevocationFlag(chance.randrange(8) << 13)
    fields = {"mip6.bri_seqnr": [str(sequence)]}
    bits = dict(zip("pvg", f"{flags >> 13:03b}", strict=True))
    if chance.random() < 0.5:
        fields |= {"mip6.bri_br.type": ["1"], "mip6.bri_r.trigger": [str(value)]}
        fields |= {f"mip6.bri_i{name}": [bit] for name, bit in bits.items()}
        return BindingRevocationIndication(value, sequence, flags), fields
    fields |= {"mip6.bri_br.type": ["2"], "mip6.bri_status": [str(value)]}
    fields |= {f"mip6.bri_a{name}": [bit] for name, bit in bits.items()}
    return BindingRevocationAcknowledgement(value, sequence, flags), fields


def options(chance: Chance) -> tuple[MobilityOption, ...]:
    """Any number of prefixes among at most one of each other option."""
    makers: list[Callable[[], MobilityOption]] = [
        lambda: AlternateCareOfAddress(address(chance)),
        lambda: NonceIndices(chance.randrange(65536), chance.randrange(65536)),
        lambda: MobileNodeIdentifier(1, f"mr{chance.randrange(10**6)}@home".encode()),
        lambda: BindingIdentifier(chance.randrange(1, 65536), chance.randrange(256), chance.random() < 0.5),
        # tshark reads its seconds as if they began in 1970: only that it is skipped well is seen.
        lambda: ReplayProtection(chance.randrange(1 << 64)),
        lambda: BindingRefreshAdvice(chance.randrange(65536) * 4),
    ]
    made = [make() for make in chance.sample(makers, chance.randrange(len(makers)))]
    for _ in range(chance.randrange(6)):
        prefix = MobileNetworkPrefix(Prefix.of(address(chance), chance.randrange(32, 129)))
        made.insert(chance.randrange(len(made) + 1), prefix)
    if chance.random() < 0.7:
        made.append(Authentication(1, chance.randrange(1 << 32), chance.randbytes(12)))
    return tuple(made)


def option_fields(options: tuple[MobilityOption, ...]) -> Fields:
    prefixes = [each.prefix for each in options if isinstance(each, MobileNetworkPrefix)]
    care_of = first_option(options, AlternateCareOfAddress)
    nonces = first_option(options, NonceIndices)
    node = first_option(options, MobileNodeIdentifier)
    binding = first_option(options, BindingIdentifier)
    authentication = first_option(options, Authentication)
    advice = first_option(options, BindingRefreshAdvice)
    counter = first_option(options, RestartCounter)
    return {
        "mip6.nemo.mnp.pfl": [str(prefix.length) for prefix in prefixes],
        "mip6.nemo.mnp.mnp": [str(prefix.address) for prefix in prefixes],
        "mip6.acoa.acoa": [str(care_of.address)] if care_of else [],
        "mip6.ni.hni": [str(nonces.home)] if nonces else [],
        "mip6.ni.cni": [str(nonces.care_of)] if nonces else [],
        "mip6.mnid.identifier": [node.identifier.decode()] if node else [],
        "mip6.bi.bid": [str(binding.identifier)] if binding else [],
        "mip6.bi.status": [str(binding.status)] if binding else [],
        "mip6.bi.h_flag": [str(int(binding.simultaneous_home))] if binding else [],
        "mip6.auth.subtype": [str(authentication.subtype)] if authentication else [],
        "mip6.auth.mobility_spi": [str(authentication.spi)] if authentication else [],
        # tshark takes type and length for a part of the length, and shows 2 octets too few.
        "mip6.auth.auth_data": [authentication.data[:-2].hex()] if authentication else [],
        "mip6.bra.interval": [str(advice.interval // 4)] if advice else [],
        "mip6.rc": [str(counter.counter)] if counter else [],
    }


MESSAGES = {
    5: update,
    6: acknowledgement,
    7: error,
    12: switch,
    13: heartbeat,
    16: revocation,
}


def mobility_packet(chance: Chance, code: int) -> tuple[bytes, Fields]:
    message, fields = MESSAGES[code](chance)
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
        "mip6.mhtype": [str(code)],
        "mip6.csum": ["0x" + header[4:6].hex()],
    }
    # tshark looks for the options of a Home Agent Switch in front of its addresses.
    return packet, fields if code == 12 else fields | {"_ws.malformed": []}


def discovery_packet(chance: Chance) -> tuple[bytes, Fields]:
    source, destination = address(chance), address(chance)
    identifier, mobile_router = chance.randrange(65536), chance.random() < 0.5
    addresses = tuple(address(chance) for _ in range(chance.randrange(1, 78)))
    fields = {
        "icmpv6.checksum.status": ["1"],
        "icmpv6.mip6.identifier": [str(identifier)],
        "icmpv6.reserved": ["8000" if mobile_router else "0000"],
        "_ws.malformed": [],
    }
    message: HomeAgentDiscoveryRequest | HomeAgentDiscoveryReply
    if chance.random() < 0.5:
        message = HomeAgentDiscoveryRequest(identifier, mobile_router)
        fields |= {"icmpv6.type": ["144"], "icmpv6.mip6.home_agent_address": []}
    else:
        message = HomeAgentDiscoveryReply(identifier, mobile_router, addresses)
        listed = [str(each) for each in addresses]
        fields |= {"icmpv6.type": ["145"], "icmpv6.mip6.home_agent_address": listed}
    octets = encode_icmpv6(message, source, destination)
    return build_icmpv6(source, destination, octets), fields


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
def test_tshark_reads_what_we_wrote(tmp_path: Path) -> None:
    chance = random.Random(6275)
    made = [mobility_packet(chance, code) for code in MESSAGES for _ in range(PACKETS)]
    made += [discovery_packet(chance) for _ in range(PACKETS)]
    names = sorted({name for _, fields in made for name in fields})
    seen = read_by_tshark([packet for packet, _ in made], names, tmp_path / "packets.pcap")
    assert len(seen) == len(made)
    for (packet, expected), fields in zip(made, seen, strict=True):
        read = {name: fields[name] for name in expected}
        assert read == expected, packet.hex()
