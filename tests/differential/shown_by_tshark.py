"""Messages by chance, and what tshark has to show of each: field name to the values in their order."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import BindingAcknowledgementFlag, BindingUpdateFlag, RevocationFlag
from haha_exabgp.wire.haha_options import HeardHomeAgent, HelloInformation
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HahaFlag,
    HahaMessage,
    HahaOperation,
    Heartbeat,
    HomeAgentSwitch,
    HomeTest,
    HomeTestInit,
    MobilityMessage,
)
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    BindingAuthorizationData,
    BindingIdentifier,
    BindingRefreshAdvice,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    MobilityOption,
    NonceIndices,
    ProxyTimestamp,
    ReplayProtection,
    RestartCounter,
    VendorSpecific,
)

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


def refresh_request(chance: Chance) -> tuple[MobilityMessage, Fields]:
    message = BindingRefreshRequest(options(chance))
    return message, option_fields(message.options)


def home_or_care_of_test_init(chance: Chance) -> tuple[MobilityMessage, Fields]:
    cookie = chance.randbytes(8)
    shown = [f"0x{cookie.hex()}"]
    if chance.random() < 0.5:
        home = HomeTestInit(cookie, options(chance))
        return home, {"mip6.hoti.cookie": shown} | option_fields(home.options)
    care_of = CareOfTestInit(cookie, options(chance))
    return care_of, {"mip6.coti.cookie": shown} | option_fields(care_of.options)


def home_or_care_of_test(chance: Chance) -> tuple[MobilityMessage, Fields]:
    index, cookie, token = chance.randrange(65536), chance.randbytes(8), chance.randbytes(8)
    if chance.random() < 0.5:
        home = HomeTest(index, cookie, token, options(chance))
        fields = {"mip6.hot.nindex": [str(index)], "mip6.hot.token": [f"0x{token.hex()}"]}
        return home, fields | {"mip6.hot.cookie": [f"0x{cookie.hex()}"]} | option_fields(home.options)
    # tshark shows the token of a Care-of Test under the name of the other one.
    care_of = CareOfTest(index, cookie, token, options(chance))
    fields = {"mip6.cot.nindex": [str(index)], "mip6.hot.token": [f"0x{token.hex()}"]}
    return care_of, fields | {"mip6.cot.cookie": [f"0x{cookie.hex()}"]} | option_fields(care_of.options)


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
    message = BindingError(status, home, options(chance))
    return message, fields | option_fields(message.options)


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
        indication = BindingRevocationIndication(value, sequence, flags, options(chance))
        return indication, fields | option_fields(indication.options)
    fields |= {"mip6.bri_br.type": ["2"], "mip6.bri_status": [str(value)]}
    fields |= {f"mip6.bri_a{name}": [bit] for name, bit in bits.items()}
    message = BindingRevocationAcknowledgement(value, sequence, flags, options(chance))
    return message, fields | option_fields(message.options)


def haha(chance: Chance) -> tuple[MobilityMessage, Fields]:
    """tshark has no dissector for the Experimental message: it can say that there is one."""
    operation, flags = chance.choice(list(HahaOperation)), HahaFlag(chance.randrange(16))
    return HahaMessage(operation, flags, chance.randrange(65536), 0, options(chance)), {}


def options(chance: Chance) -> tuple[MobilityOption, ...]:
    """Any number of prefixes among at most one of each other option."""
    makers: list[Callable[[], MobilityOption]] = [
        lambda: AlternateCareOfAddress(address(chance)),
        lambda: NonceIndices(chance.randrange(65536), chance.randrange(65536)),
        lambda: MobileNodeIdentifier(1, f"mr{chance.randrange(10**6)}@home".encode()),
        lambda: BindingIdentifier(
            chance.randrange(1, 65536),
            chance.randrange(256),
            chance.random() < 0.5,
            chance.choice((b"", chance.randbytes(4), address(chance))),
        ),
        lambda: VendorSpecific(
            chance.randrange(1 << 24, 1 << 32), chance.randrange(256), chance.randbytes(9)
        ),
        lambda: ProxyTimestamp(chance.randrange(1 << 64)),
        # One of the two: it shows their data under one name.
        lambda: chance.choice(
            (
                HelloInformation(chance.randrange(65536), chance.randrange(1 << 32), 1),
                HeardHomeAgent(address(chance), chance.randrange(65536), chance.randrange(256)),
            )
        ),
        # tshark reads its seconds as if they began in 1970: only that it is skipped well is seen.
        lambda: ReplayProtection(chance.randrange(1 << 64)),
        lambda: BindingRefreshAdvice(chance.randrange(65536) * 4),
    ]
    made = [make() for make in chance.sample(makers, chance.randrange(len(makers)))]
    for _ in range(chance.randrange(6)):
        prefix = MobileNetworkPrefix(Prefix.of(address(chance), chance.randrange(32, 129)))
        made.insert(chance.randrange(len(made) + 1), prefix)
    if chance.random() < 0.1:
        made.append(BindingAuthorizationData(chance.randbytes(12)))
    elif chance.random() < 0.7:
        made.append(Authentication(chance.randrange(1, 3), chance.randrange(1 << 32), chance.randbytes(12)))
    return tuple(made)


def option_fields(options: tuple[MobilityOption, ...]) -> Fields:
    prefixes = [each.prefix for each in options if isinstance(each, MobileNetworkPrefix)]
    fields: Fields = {
        **{name: [] for name in OPTION_FIELDS},
        "mip6.nemo.mnp.pfl": [str(prefix.length) for prefix in prefixes],
        "mip6.nemo.mnp.mnp": [str(prefix.address) for prefix in prefixes],
    }
    for option in options:
        if type(option) in SHOWN:
            fields |= {name: [value] for name, value in SHOWN[type(option)](option).items()}
    return fields


OPTION_FIELDS = (
    "mip6.acoa.acoa",
    "mip6.ni.hni",
    "mip6.ni.cni",
    "mip6.bad.auth",
    "mip6.mnid.subtype",
    "mip6.mnid.identifier",
    "mip6.bi.bid",
    "mip6.bi.status",
    "mip6.bi.h_flag",
    "mip6.bi.coa_ipv4",
    "mip6.bi.coa_ipv6",
    "mip6.auth.subtype",
    "mip6.auth.mobility_spi",
    "mip6.auth.auth_data",
    "mip6.bra.interval",
    "mip6.rc",
    "mip6.vsm.vendorId",
    "mip6.vsm.subtype",
    "mip6.em.data",
)


def binding_identifier(option: BindingIdentifier) -> dict[str, str]:
    shown = {
        "mip6.bi.bid": str(option.identifier),
        "mip6.bi.status": str(option.status),
        "mip6.bi.h_flag": str(int(option.simultaneous_home)),
    }
    name = {4: "mip6.bi.coa_ipv4", 16: "mip6.bi.coa_ipv6"}.get(len(option.care_of_address))
    return shown | ({name: str(ip_address(bytes(option.care_of_address)))} if name else {})


# What tshark shows of the options that stand at most once in a message.
SHOWN: dict[type, Callable[[Any], dict[str, str]]] = {
    AlternateCareOfAddress: lambda each: {"mip6.acoa.acoa": str(each.address)},
    NonceIndices: lambda each: {"mip6.ni.hni": str(each.home), "mip6.ni.cni": str(each.care_of)},
    BindingAuthorizationData: lambda each: {"mip6.bad.auth": each.authenticator.hex()},
    MobileNodeIdentifier: lambda each: {
        "mip6.mnid.subtype": str(each.subtype),
        "mip6.mnid.identifier": each.identifier.decode(),
    },
    BindingIdentifier: binding_identifier,
    Authentication: lambda each: {
        "mip6.auth.subtype": str(each.subtype),
        "mip6.auth.mobility_spi": str(each.spi),
        # tshark takes type and length for a part of the length, and shows 2 octets too few.
        "mip6.auth.auth_data": each.data[:-2].hex(),
    },
    BindingRefreshAdvice: lambda each: {"mip6.bra.interval": str(each.interval // 4)},
    RestartCounter: lambda each: {"mip6.rc": str(each.counter)},
    VendorSpecific: lambda each: {
        "mip6.vsm.vendorId": str(each.vendor),
        "mip6.vsm.subtype": str(each.subtype),
    },
    # The same here: of 12 octets it shows 10.
    HelloInformation: lambda each: {
        "mip6.em.data": struct.pack("!BxHIH", 1, each.preference, each.interval, each.group).hex()
    },
    HeardHomeAgent: lambda each: {
        "mip6.em.data": struct.pack("!BBH14s", 20, each.flags, each.preference, each.address).hex()
    },
}


MESSAGES: tuple[Callable[[Chance], tuple[MobilityMessage, Fields]], ...] = (
    refresh_request,
    home_or_care_of_test_init,
    home_or_care_of_test,
    update,
    acknowledgement,
    error,
    haha,
    switch,
    heartbeat,
    revocation,
)
