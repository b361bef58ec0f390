"""Hypothesis strategies for everything that goes over the wire, by class.

`test_wire_properties.py` compares the classes with those of the codecs: one that is missing here fails there.
"""

from __future__ import annotations

from hypothesis import strategies as st

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.codes import (
    BindingAcknowledgementFlag,
    BindingUpdateFlag,
    HahaFlag,
    HahaOperation,
    RevocationFlag,
)
from haha_exabgp.wire.haha_options import (
    BindingCacheInformation,
    Egress,
    HahaAddress,
    HeardHomeAgent,
    HelloInformation,
    HomePrefix,
    LeakDamping,
    MobilitySequence,
    RelayedAcknowledgement,
    RelayedPart,
    RoutedPrefix,
    UpdateTimestamp,
)
from haha_exabgp.wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    IcmpError,
    IcmpErrorType,
    IcmpMessage,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
)
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HahaMessage,
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

u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
addresses = st.binary(min_size=16, max_size=16).map(Address)
routable = st.binary(min_size=15, max_size=15).map(lambda rest: Address(b"\x20" + rest))
prefixes = st.builds(Prefix.of, addresses, st.integers(0, 128))
lifetimes = u16.map(lambda units: units * 4)
cookies = st.binary(min_size=8, max_size=8)
update_flags = st.integers(0, 0xFFF).map(lambda bits: BindingUpdateFlag(bits << 4))
acknowledgement_flags = st.integers(0, 0x7F).map(lambda bits: BindingAcknowledgementFlag(bits << 1))
revocation_flags = st.integers(0, 7).map(lambda bits: RevocationFlag(bits << 13))
small = st.binary(max_size=40)

# Binding Authorization Data has to be the last and to need no padding: 12 octets do.
OPTIONS: dict[type, st.SearchStrategy[MobilityOption]] = {
    HelloInformation: st.builds(HelloInformation, u16, u32, u16, u16),
    HomePrefix: st.builds(HomePrefix, prefixes, u8),
    HahaAddress: st.builds(HahaAddress, u8, addresses),
    BindingCacheInformation: st.builds(
        BindingCacheInformation, update_flags, u16, lifetimes, addresses, addresses
    ),
    Egress: st.builds(Egress, u8, addresses),
    RoutedPrefix: st.builds(RoutedPrefix, prefixes),
    MobilitySequence: st.builds(MobilitySequence, u32),
    UpdateTimestamp: st.builds(UpdateTimestamp, u64),
    LeakDamping: st.builds(LeakDamping, u32),
    HeardHomeAgent: st.builds(HeardHomeAgent, addresses, u16, u8),
    RelayedPart: st.builds(RelayedPart, u8, u8, st.binary(min_size=1, max_size=250)),
    RelayedAcknowledgement: st.integers(0, 30).flatmap(
        lambda units: st.binary(min_size=8 * units + 6, max_size=8 * units + 6).map(
            lambda rest: RelayedAcknowledgement(bytes((rest[0], units)) + rest)
        )
    ),
    BindingRefreshAdvice: st.builds(BindingRefreshAdvice, lifetimes),
    AlternateCareOfAddress: st.builds(AlternateCareOfAddress, addresses),
    NonceIndices: st.builds(NonceIndices, u16, u16),
    MobileNetworkPrefix: st.builds(MobileNetworkPrefix, prefixes),
    MobileNodeIdentifier: st.builds(MobileNodeIdentifier, u8, small),
    ReplayProtection: st.builds(ReplayProtection, u64),
    VendorSpecific: st.builds(VendorSpecific, u32, u8, small),
    ProxyTimestamp: st.builds(ProxyTimestamp, u64),
    RestartCounter: st.builds(RestartCounter, u32),
    BindingIdentifier: st.builds(
        BindingIdentifier,
        u16,
        u8,
        st.booleans(),
        st.one_of(st.just(b""), st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    ),
    Authentication: st.builds(Authentication, u8, u32, small),
    BindingAuthorizationData: st.builds(BindingAuthorizationData, st.binary(min_size=12, max_size=12)),
}
_unsigned = st.one_of(
    *(each for kind, each in OPTIONS.items() if kind not in (Authentication, BindingAuthorizationData))
)
unsigned_lists = st.lists(_unsigned, max_size=5).map(tuple)
option_lists = st.tuples(
    st.lists(_unsigned | OPTIONS[Authentication], max_size=5),
    st.lists(OPTIONS[BindingAuthorizationData], max_size=1),
).map(lambda lists: (*lists[0], *lists[1]))


def messages_by_class(
    options: st.SearchStrategy[tuple[MobilityOption, ...]],
) -> dict[type, st.SearchStrategy[MobilityMessage]]:
    """Every mobility message with such options."""
    return {
        BindingRefreshRequest: st.builds(BindingRefreshRequest, options),
        HomeTestInit: st.builds(HomeTestInit, cookies, options),
        CareOfTestInit: st.builds(CareOfTestInit, cookies, options),
        HomeTest: st.builds(HomeTest, u16, cookies, cookies, options),
        CareOfTest: st.builds(CareOfTest, u16, cookies, cookies, options),
        BindingUpdate: st.builds(BindingUpdate, u16, update_flags, lifetimes, options),
        BindingAcknowledgement: st.builds(
            BindingAcknowledgement, u8, acknowledgement_flags, u16, lifetimes, options
        ),
        BindingError: st.builds(BindingError, u8, addresses, options),
        HomeAgentSwitch: st.builds(HomeAgentSwitch, st.lists(addresses, max_size=5).map(tuple), options),
        Heartbeat: st.builds(Heartbeat, u32, st.booleans(), st.booleans(), options),
        BindingRevocationIndication: st.builds(
            BindingRevocationIndication, u8, u16, revocation_flags, options
        ),
        BindingRevocationAcknowledgement: st.builds(
            BindingRevocationAcknowledgement, u8, u16, revocation_flags, options
        ),
        HahaMessage: st.builds(
            HahaMessage,
            st.sampled_from(HahaOperation),
            st.integers(0, 15).map(HahaFlag),
            u16,
            u16,
            options,
        ),
    }


def messages(options: st.SearchStrategy[tuple[MobilityOption, ...]]) -> st.SearchStrategy[MobilityMessage]:
    """Any mobility message with such options."""
    return st.one_of(*messages_by_class(options).values())


_prefix_information = st.builds(
    PrefixInformation,
    addresses,
    st.integers(0, 128),
    u32,
    u32,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
ICMP_MESSAGES: dict[type, st.SearchStrategy[IcmpMessage]] = {
    HomeAgentDiscoveryRequest: st.builds(HomeAgentDiscoveryRequest, u16, st.booleans()),
    HomeAgentDiscoveryReply: st.builds(
        HomeAgentDiscoveryReply, u16, st.booleans(), st.lists(addresses, max_size=6).map(tuple)
    ),
    MobilePrefixSolicitation: st.builds(MobilePrefixSolicitation, u16),
    MobilePrefixAdvertisement: st.builds(
        MobilePrefixAdvertisement,
        u16,
        st.booleans(),
        st.booleans(),
        st.lists(_prefix_information, max_size=4).map(tuple),
    ),
    IcmpError: st.builds(IcmpError, st.sampled_from(IcmpErrorType), u8, u32, st.binary(max_size=1232)),
}
