"""The same packets made by scapy and by us, octet for octet, and ours as scapy reads them.

Scapy is only ever compared on a first build or on a parse. A rebuild of a parsed packet gets the
checksum wrong: it looks for the Home Address option as the first option and finds the padding.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import BindingAcknowledgementFlag, BindingUpdateFlag
from haha_exabgp.wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    IcmpMessage,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    decode_icmpv6,
    encode_icmpv6,
)
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, build_icmpv6, build_mobility, parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    MobilityMessage,
    decode_mobility,
    encode_mobility,
)
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    MobilityOption,
    NonceIndices,
    ReplayProtection,
)

scapy6: Any = pytest.importorskip("scapy.layers.inet6", reason="scapy is not installed")

PACKETS = 600
"""Of each kind of message."""

Chance = random.Random


def address(chance: Chance) -> Address:
    return Address(b"\x20\x01\x0d\xb8" + chance.randbytes(12))


def option(chance: Chance) -> MobilityOption:
    makers: list[Callable[[], MobilityOption]] = [
        lambda: BindingRefreshAdvice(chance.randrange(65536) * 4),
        lambda: AlternateCareOfAddress(address(chance)),
        lambda: NonceIndices(chance.randrange(65536), chance.randrange(65536)),
        lambda: MobileNetworkPrefix(Prefix.of(address(chance), chance.randrange(129))),
        lambda: MobileNodeIdentifier(chance.randrange(256), chance.randbytes(chance.randrange(40))),
        lambda: Authentication(chance.randrange(1, 3), chance.randrange(1 << 32), chance.randbytes(12)),
        lambda: ReplayProtection(chance.randrange(1 << 64)),
    ]
    return chance.choice(makers)()


def options(chance: Chance) -> tuple[MobilityOption, ...]:
    made = [option(chance) for _ in range(chance.randrange(6))]
    if chance.random() < 0.1:
        made.append(BindingAuthorizationData(chance.randbytes(12)))
    return tuple(made)


MESSAGES: dict[str, Callable[[Chance], MobilityMessage]] = {
    "BRR": lambda chance: BindingRefreshRequest(options(chance)),
    "HoTI": lambda chance: HomeTestInit(chance.randbytes(8), options(chance)),
    "CoTI": lambda chance: CareOfTestInit(chance.randbytes(8), options(chance)),
    "HoT": lambda chance: HomeTest(
        chance.randrange(65536), chance.randbytes(8), chance.randbytes(8), options(chance)
    ),
    "CoT": lambda chance: CareOfTest(
        chance.randrange(65536), chance.randbytes(8), chance.randbytes(8), options(chance)
    ),
    "BU": lambda chance: BindingUpdate(
        chance.randrange(65536),
        BindingUpdateFlag(chance.randrange(0x1000) << 4),
        chance.randrange(65536) * 4,
        options(chance),
    ),
    "BA": lambda chance: BindingAcknowledgement(
        chance.randrange(256),
        BindingAcknowledgementFlag(chance.randrange(0x80) << 1),
        chance.randrange(65536),
        chance.randrange(65536) * 4,
        options(chance),
    ),
    # Scapy does not pad the options of a Binding Error.
    "BE": lambda chance: BindingError(chance.randrange(256), address(chance)),
}


TO_SCAPY: dict[type, Callable[[Any], Any]] = {
    BindingRefreshAdvice: lambda each: scapy6.MIP6OptBRAdvice(rinter=each.interval // 4),
    AlternateCareOfAddress: lambda each: scapy6.MIP6OptAltCoA(acoa=str(each.address)),
    # Scapy's default length of these two is the one of another option.
    NonceIndices: lambda each: scapy6.MIP6OptNonceIndices(olen=4, hni=each.home, coni=each.care_of),
    BindingAuthorizationData: lambda each: scapy6.MIP6OptBindingAuthData(
        olen=12, authenticator=int.from_bytes(each.authenticator, "big")
    ),
    MobileNetworkPrefix: lambda each: scapy6.MIP6OptMobNetPrefix(
        plen=each.prefix.length, prefix=str(each.prefix.address)
    ),
    MobileNodeIdentifier: lambda each: scapy6.MIP6OptMNID(subtype=each.subtype, id=each.identifier),
    Authentication: lambda each: scapy6.MIP6OptMsgAuth(
        subtype=each.subtype, mspi=each.spi, authdata=each.data
    ),
    ReplayProtection: lambda each: scapy6.MIP6OptReplayProtection(timestamp=each.timestamp),
}
FROM_SCAPY: dict[type, Callable[[Any], MobilityOption | None]] = {
    scapy6.Pad1: lambda each: None,
    scapy6.PadN: lambda each: None,
    scapy6.MIP6OptBRAdvice: lambda each: BindingRefreshAdvice(each.rinter * 4),
    scapy6.MIP6OptAltCoA: lambda each: AlternateCareOfAddress(Address.parse(each.acoa)),
    scapy6.MIP6OptNonceIndices: lambda each: NonceIndices(each.hni, each.coni),
    scapy6.MIP6OptBindingAuthData: lambda each: BindingAuthorizationData(
        each.authenticator.to_bytes(12, "big")
    ),
    scapy6.MIP6OptMobNetPrefix: lambda each: MobileNetworkPrefix(
        Prefix(Address.parse(each.prefix), each.plen)
    ),
    scapy6.MIP6OptMNID: lambda each: MobileNodeIdentifier(each.subtype, each.id),
    scapy6.MIP6OptMsgAuth: lambda each: Authentication(each.subtype, each.mspi, each.authdata),
    scapy6.MIP6OptReplayProtection: lambda each: ReplayProtection(each.timestamp),
}


def scapy_message(message: MobilityMessage) -> Any:
    made = [TO_SCAPY[type(each)](each) for each in message.options]
    match message:
        case BindingRefreshRequest():
            return scapy6.MIP6MH_BRR(res2=0, res=0, options=made)
        case HomeTestInit(cookie) | CareOfTestInit(cookie):
            kind = scapy6.MIP6MH_HoTI if isinstance(message, HomeTestInit) else scapy6.MIP6MH_CoTI
            return kind(res=0, cookie=cookie, options=made)
        case HomeTest(index, cookie, token) | CareOfTest(index, cookie, token):
            kind = scapy6.MIP6MH_HoT if isinstance(message, HomeTest) else scapy6.MIP6MH_CoT
            return kind(res=0, index=index, cookie=cookie, token=token, options=made)
        case BindingUpdate(sequence, flags, lifetime):
            return scapy6.MIP6MH_BU(
                res=0,
                seq=sequence,
                flags=flags >> 9,
                reserved=flags & 0x1FF,
                mhtime=lifetime // 4,
                options=made,
            )
        case BindingAcknowledgement(status, flags, sequence, lifetime):
            return scapy6.MIP6MH_BA(
                res=0,
                status=status,
                flags=flags >> 5,
                res2=flags & 0x1F,
                seq=sequence,
                mhtime=lifetime // 4,
                options=made,
            )
        case BindingError(status, home_address):
            return scapy6.MIP6MH_BE(status=status, ha=str(home_address))
    raise AssertionError(message)


def read_message(header: Any) -> MobilityMessage:
    found = [FROM_SCAPY[type(each)](each) for each in header.options]
    read = tuple(each for each in found if each is not None)
    match header:
        case scapy6.MIP6MH_BRR():
            return BindingRefreshRequest(read)
        # Scapy derives the class of a care-of message from that of the home message.
        case scapy6.MIP6MH_HoTI():
            inits = CareOfTestInit if isinstance(header, scapy6.MIP6MH_CoTI) else HomeTestInit
            return inits(header.cookie, read)
        case scapy6.MIP6MH_HoT():
            tests = CareOfTest if isinstance(header, scapy6.MIP6MH_CoT) else HomeTest
            return tests(header.index, header.cookie, header.token, read)
        case scapy6.MIP6MH_BU():
            word = int(header.flags) << 9 | header.reserved
            return BindingUpdate(header.seq, BindingUpdateFlag(word), header.mhtime * 4, read)
        case scapy6.MIP6MH_BA():
            flags = BindingAcknowledgementFlag(int(header.flags) << 5 | header.res2)
            return BindingAcknowledgement(header.status, flags, header.seq, header.mhtime * 4, read)
        case scapy6.MIP6MH_BE():
            return BindingError(header.status, Address.parse(header.ha), read)
    raise AssertionError(header.show(dump=True))


@pytest.mark.parametrize("kind", MESSAGES)
def test_mobility_packets_agree(kind: str, chance: Chance) -> None:
    for _ in range(PACKETS):
        message = MESSAGES[kind](chance)
        source, destination, home = address(chance), address(chance), address(chance)
        way = chance.choice(("plain", "from", "to"))
        header = encode_mobility(
            message, home if way == "from" else source, home if way == "to" else destination
        )
        ours = build_mobility(
            source,
            destination,
            header,
            home_address=home if way == "from" else None,
            routing_home_address=home if way == "to" else None,
        )
        theirs = scapy6.IPv6(src=str(source), dst=str(destination), hlim=64)
        if way == "from":
            theirs /= scapy6.IPv6ExtHdrDestOpt(options=[scapy6.HAO(hoa=str(home))])
        elif way == "to":
            theirs /= scapy6.IPv6ExtHdrRouting(type=2, addresses=[str(home)], segleft=1)
        built = bytes(theirs / scapy_message(message))
        assert ours.hex() == built.hex()

        parsed = parse_packet(built)
        assert isinstance(parsed, MobilityPacket)
        decoded = decode_mobility(parsed.header, parsed.checksum_source, parsed.checksum_destination)
        assert decoded == message
        seen = scapy6.IPv6(ours)
        assert Address.parse(seen.src) == source
        layer = seen.lastlayer()
        assert read_message(layer) == message
        assert layer.cksum == int.from_bytes(header[4:6], "big")


def icmp_pair(chance: Chance) -> tuple[IcmpMessage, Any]:
    identifier, word = chance.randrange(65536), chance.randrange(4)
    listed = [address(chance) for _ in range(chance.randrange(8))]
    kind = chance.randrange(4)
    if kind == 0:
        return (
            HomeAgentDiscoveryRequest(identifier, bool(word & 1)),
            scapy6.ICMPv6HAADRequest(id=identifier, R=word & 1),
        )
    if kind == 1:
        return (
            HomeAgentDiscoveryReply(identifier, bool(word & 1), tuple(listed)),
            scapy6.ICMPv6HAADReply(id=identifier, R=word & 1, addresses=[str(each) for each in listed]),
        )
    if kind == 2:
        return MobilePrefixSolicitation(identifier), scapy6.ICMPv6MPSol(id=identifier)
    theirs = scapy6.ICMPv6MPAdv(id=identifier, flags=word, res=0)
    prefixes = []
    for each in listed:
        length, flags = chance.randrange(129), [chance.random() < 0.5 for _ in range(3)]
        valid, preferred = chance.randrange(1 << 32), chance.randrange(1 << 32)
        prefixes.append(PrefixInformation(each, length, valid, preferred, *flags))
        theirs /= scapy6.ICMPv6NDOptPrefixInfo(
            prefix=str(each),
            prefixlen=length,
            validlifetime=valid,
            preferredlifetime=preferred,
            L=flags[0],
            A=flags[1],
            R=flags[2],
            res1=0,
            res2=0,
        )
    # Scapy names the bits from the lowest, "OM": M is the upper one.
    return MobilePrefixAdvertisement(identifier, bool(word & 2), bool(word & 1), tuple(prefixes)), theirs


def test_icmpv6_packets_agree(chance: Chance) -> None:
    for _ in range(PACKETS * 2):
        source, destination = address(chance), address(chance)
        message, theirs = icmp_pair(chance)
        ours = build_icmpv6(source, destination, encode_icmpv6(message, source, destination))
        built = bytes(scapy6.IPv6(src=str(source), dst=str(destination), hlim=64) / theirs)
        assert ours.hex() == built.hex()
        parsed = parse_packet(built)
        assert isinstance(parsed, IcmpPacket)
        assert decode_icmpv6(parsed.message, source, destination) == message
        assert read_icmpv6(scapy6.IPv6(ours).payload) == message


def read_icmpv6(seen: Any) -> IcmpMessage:
    match seen:
        case scapy6.ICMPv6HAADRequest():
            return HomeAgentDiscoveryRequest(seen.id, bool(seen.R))
        case scapy6.ICMPv6HAADReply():
            return HomeAgentDiscoveryReply(
                seen.id, bool(seen.R), tuple(Address.parse(each) for each in seen.addresses)
            )
        case scapy6.ICMPv6MPSol():
            return MobilePrefixSolicitation(seen.id)
        case scapy6.ICMPv6MPAdv():
            prefixes, option = [], seen.payload
            while isinstance(option, scapy6.ICMPv6NDOptPrefixInfo):
                flags = (bool(option.L), bool(option.A), bool(option.R))
                times = (option.validlifetime, option.preferredlifetime)
                prefix = PrefixInformation(Address.parse(option.prefix), option.prefixlen, *times, *flags)
                prefixes.append(prefix)
                option = option.payload
            word = int(seen.flags)
            return MobilePrefixAdvertisement(seen.id, bool(word & 2), bool(word & 1), tuple(prefixes))
    raise AssertionError(seen.show(dump=True))
