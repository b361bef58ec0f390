"""The short way for usual Binding Updates and their acknowledgements says what the long way says, always."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haha_exabgp.protocol.home import MobileRouterPolicy, SecurityAssociation
from haha_exabgp.protocol.messages import acknowledgement_packet
from haha_exabgp.protocol.reception import Reading, read_update
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.authentication import Algorithm, find_authentication, sign, verify
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.fast_registration import (
    Acknowledgement,
    is_signed_with,
    pull_usual_update,
    push_usual_acknowledgement,
)
from haha_exabgp.wire.haha_options import AddressRole, HahaAddress
from haha_exabgp.wire.ipv6 import MobilityPacket
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingAcknowledgementFlag,
    BindingUpdate,
    seal,
)
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    MobileNetworkPrefix,
    MobilityOption,
    ReplayProtection,
)
from tests.property.wire_strategies import (
    OPTIONS,
    acknowledgement_flags,
    addresses,
    lifetimes,
    u8,
    u16,
    u32,
    u64,
    unsigned_lists,
    update_flags,
)

some = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])

HOME = Address.parse("2001:db8:1:1::10")
CARE_OF = Address.parse("3fff:f01::aa")
HOME_AGENT = Address.parse("3fff:101::a")
ASSOCIATIONS = (
    SecurityAssociation(4096, bytes(range(16))),
    SecurityAssociation(4097, bytes(range(32)), Algorithm.HMAC_SHA256),
)
POLICY = MobileRouterPolicy("mr1", HOME, (), ASSOCIATIONS)
USUAL = (AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection)

associations = st.sampled_from(
    [*ASSOCIATIONS, SecurityAssociation(4096, bytes(16)), SecurityAssociation(5000, bytes(16))]
)
usual_lists = st.lists(
    st.one_of(
        *(OPTIONS[kind] for kind in USUAL),
        addresses.map(lambda address: HahaAddress(AddressRole.HOME_AGENT, address)),
    ),
    max_size=6,
).map(tuple)
any_associations = st.builds(
    SecurityAssociation, u32, st.binary(min_size=16, max_size=32), st.sampled_from(Algorithm)
)
acknowledgements = st.builds(
    Acknowledgement, u8, acknowledgement_flags.map(int), u16, lifetimes, u64, st.none() | lifetimes
)
updates = st.builds(BindingUpdate, u16, update_flags, lifetimes, usual_lists | unsigned_lists)


def received(header: bytes) -> MobilityPacket:
    return MobilityPacket(CARE_OF, HOME_AGENT, HOME, None, 64, header)


def signed(update: BindingUpdate, association: SecurityAssociation) -> bytes:
    return sign(
        update,
        HOME,
        HOME_AGENT,
        key=association.key,
        spi=association.spi,
        care_of_address=CARE_OF,
        home_address=HOME,
        algorithm=association.algorithm,
    )


def reading(header: bytes) -> Reading | DropReason:
    try:
        return read_update(received(header), HOME, POLICY)
    except MalformedPacket as error:
        return error.reason


def long_reading(header: bytes) -> Reading | DropReason:
    with mock.patch("haha_exabgp.protocol.reception.pull_usual_update", return_value=None):
        return reading(header)


@some
@given(updates, associations)
def test_both_ways_read_the_same(update: BindingUpdate, association: SecurityAssociation) -> None:
    header = signed(update, association)
    assert reading(header) == long_reading(header)


@some
@given(updates, associations, st.data())
def test_both_ways_read_the_same_in_what_was_tampered_with(
    update: BindingUpdate, association: SecurityAssociation, data: st.DataObject
) -> None:
    header = bytearray(signed(update, association))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(6, len(header) - 1))
        header[at] = data.draw(st.sampled_from([0, 1, 2, 3, 6, 9, 10, 16, 17, 18, 128, 129, 255]) | u8)
    if data.draw(st.booleans()):
        header += data.draw(st.binary(min_size=1, max_size=20))
    tampered = seal(header, HOME, HOME_AGENT)
    assert reading(tampered) == long_reading(tampered)


@some
@given(usual_lists, OPTIONS[ReplayProtection], updates, associations)
def test_an_update_whose_timestamp_comes_last_goes_the_short_way(
    options: tuple[MobilityOption, ...],
    timestamp: MobilityOption,
    update: BindingUpdate,
    association: SecurityAssociation,
) -> None:
    """As ours do: there is no padding behind the authenticator then."""
    sequence, flags, lifetime = update.sequence, update.flags, update.lifetime
    header = signed(replace(update, options=(*options, timestamp)), association)
    usual = pull_usual_update(header)
    assert usual is not None
    assert (usual.sequence, usual.flags, usual.lifetime) == (sequence, flags, lifetime)
    assert usual.spi == association.spi
    found = find_authentication(header)
    assert found is not None
    for one in ASSOCIATIONS:
        expected = verify(header, found, one.key, CARE_OF, HOME, algorithm=one.algorithm)
        assert is_signed_with(header, usual.signed, one.key, one.algorithm, CARE_OF, HOME) == expected


@pytest.mark.parametrize("at_home", [False, True])
@some
@given(acknowledgements, any_associations, addresses)
def test_both_ways_write_the_same_acknowledgement(
    at_home: bool, usual: Acknowledgement, association: SecurityAssociation, care_of: Address
) -> None:
    destination = HOME if at_home else CARE_OF
    options = () if usual.advice is None else (BindingRefreshAdvice(usual.advice),)
    message = BindingAcknowledgement(
        usual.status,
        BindingAcknowledgementFlag(usual.flags),
        usual.sequence,
        usual.lifetime,
        (*options, ReplayProtection(usual.timestamp)),
    )
    expected = acknowledgement_packet(
        HOME_AGENT, destination, HOME, message, association, care_of_address=care_of
    )
    packet = push_usual_acknowledgement(
        usual, HOME_AGENT, destination, HOME, care_of, association.spi, association.key, association.algorithm
    )
    assert packet.hex() == expected.hex()
