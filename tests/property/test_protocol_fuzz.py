"""Whatever arrives, nothing is raised; and what is not authentic, or not new, changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haha_exabgp.protocol.home import SecurityAssociation
from haha_exabgp.protocol.mobility import State
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import sign
from haha_exabgp.wire.codes import BindingAcknowledgementFlag, BindingUpdateFlag
from haha_exabgp.wire.errors import MalformedPacket
from haha_exabgp.wire.haha_options import (
    BindingCacheInformation,
    HahaAddress,
    MobilitySequence,
    RelayedBindingUpdate,
    RelayedPart,
    split_relayed,
)
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryReply, MobilePrefixSolicitation, encode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    MobilityMessage,
    seal,
)
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    NonceIndices,
    ReplayProtection,
)
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MESH, MNP, World, peer

SETTINGS = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
TOUR: tuple[Callable[[World], None], ...] = (
    lambda world: world.attach(1),
    lambda world: world.attach(2),
    lambda world: world.pass_time(301),
    lambda world: world.attach(1),
    lambda world: world.pass_time(2),
)
"""What a mobile router goes through: every kind of message is sent."""

ADDRESSES = st.one_of(
    st.sampled_from(
        [HOA, ACCESS[1], ACCESS[2], *(one for i in (1, 2, 3) for one in (peer(i).outer, peer(i).haha))]
    ),
    st.binary(min_size=16, max_size=16).map(Address),
)


def toured(steps: int) -> World:
    world = World(sites=3)
    for step in TOUR[:steps]:
        step(world)
    return world


def deliver(world: World, packet: MobilityPacket) -> None:
    """To everybody, whatever its destination says: none must be confused by it."""
    for agent in world.agents.values():
        agent.receive_mobility(packet, world.now)
    world.mobile_router.receive_mobility(packet, world.now)
    world.settle()


def state(world: World) -> tuple[object, ...]:
    mobile_router = world.mobile_router
    return (
        world.snapshot(),
        mobile_router.state,
        mobile_router.registration,
        mobile_router.care_of_address,
        mobile_router.home_agents,
    )


@st.composite
def mutated(draw: st.DrawFn, packet: MobilityPacket) -> MobilityPacket:
    """A packet with some octets changed, cut or added; its checksum mostly right."""
    header = bytearray(packet.header)
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(header) - 1))
        header[position] ^= draw(st.integers(1, 255))
    if draw(st.integers(0, 5)) == 0:
        header = header[: draw(st.integers(0, len(header)))]
    if draw(st.integers(0, 5)) == 0:
        header += draw(st.binary(max_size=24))
    source, destination, home_address, routed = (
        draw(st.just(one) | ADDRESSES)
        for one in (
            packet.source,
            packet.destination,
            packet.home_address or HOA,
            packet.routing_home_address or HOA,
        )
    )
    changed = MobilityPacket(
        source,
        destination,
        home_address if packet.home_address or draw(st.booleans()) else None,
        routed if packet.routing_home_address or draw(st.booleans()) else None,
        40,
        bytes(header),
    )
    if len(header) >= 8 and draw(st.integers(0, 9)):
        header[4:6] = bytes(2)
        sealed = seal(header[: len(header) // 8 * 8], changed.checksum_source, changed.checksum_destination)
        changed = MobilityPacket(
            changed.source,
            changed.destination,
            changed.home_address,
            changed.routing_home_address,
            40,
            sealed,
        )
    return changed


@given(data=st.data(), steps=st.integers(1, len(TOUR)))
@SETTINGS
@pytest.mark.requirement("S-2", "M-REPLAY")
def test_changed_or_repeated_packets_change_nothing(data: st.DataObject, steps: int) -> None:
    """Every packet has been delivered once, so that even an unchanged copy is a replay."""
    world = toured(steps)
    sent = [packet for packet in world.wire if isinstance(packet, MobilityPacket)]
    before = state(world)
    for _ in range(3):
        world.now = world.now._replace(wall=world.now.wall + data.draw(st.sampled_from([0.0, 0.5, -3.0])))
        deliver(world, data.draw(mutated(data.draw(st.sampled_from(sent)))))
        assert state(world) == before


@given(header=st.binary(max_size=200), source=ADDRESSES, destination=ADDRESSES, home_address=ADDRESSES)
@SETTINGS
@pytest.mark.requirement("S-2")
def test_random_octets_change_nothing(
    header: bytes, source: Address, destination: Address, home_address: Address
) -> None:
    world = WORLD
    before = state(world)
    filled = bytearray(header)
    if len(filled) >= 8:
        filled = filled[: len(filled) // 8 * 8]
        filled[0], filled[4:6] = 59, bytes(2)
        header = seal(filled, home_address, destination)
    deliver(world, MobilityPacket(source, destination, home_address, None, 40, header))
    assert state(world) == before


WORLD = toured(2)


@given(packet=st.binary(max_size=300))
@SETTINGS
def test_random_packets_are_read_or_refused(packet: bytes) -> None:
    try:
        parsed = parse_packet(b"\x60\0\0\0" + packet)
    except MalformedPacket:
        return
    if isinstance(parsed, MobilityPacket):
        deliver(WORLD, parsed)
    else:
        assert isinstance(parsed, IcmpPacket)
        for agent in WORLD.agents.values():
            agent.receive_discovery(parsed, WORLD.now)
            agent.receive_solicitation(parsed, WORLD.now)


# With the keys: what a broken or hostile insider can sign must not be raised over either.

PREFIXES = st.sampled_from([MNP, Prefix.host(HOA)]) | st.builds(Prefix.of, ADDRESSES, st.integers(0, 128))
STAMPS = st.sampled_from([-8.0, -1.0, 0.0, 1.0, 8.0]) | st.integers(0, (1 << 64) - 1)


def stamp(world: World, value: float | int) -> int:
    return value if isinstance(value, int) else from_unix(world.now.wall + value)


@st.composite
def options(draw: st.DrawFn, world: World) -> tuple[object, ...]:
    relayed_update = BindingUpdate(
        draw(st.integers(0, 65535)),
        BindingUpdateFlag(draw(st.integers(0, 0xFFFF)) & 0xFFF0),
        draw(st.integers(0, 65535)) * 4,
        (ReplayProtection(stamp(world, draw(STAMPS))),),
    )
    relayed_header = sign(
        relayed_update,
        HOA,
        peer(2).outer,
        key=ASSOCIATION.key,
        spi=ASSOCIATION.spi,
        care_of_address=ACCESS[2],
        home_address=HOA,
    )
    relayed = draw(
        st.sampled_from(
            [
                split_relayed(RelayedBindingUpdate(ACCESS[2], relayed_header)),
                (RelayedPart(1, 2, b"1234"),),
                (),
            ]
        )
    )
    others = st.one_of(
        st.builds(AlternateCareOfAddress, ADDRESSES),
        st.builds(MobileNetworkPrefix, PREFIXES),
        st.builds(lambda value: ReplayProtection(stamp(world, value)), STAMPS),
        st.builds(MobilitySequence, st.integers(0, (1 << 32) - 1)),
        st.builds(
            MobileNodeIdentifier, st.integers(0, 9), st.just(bytes(HOA)) | st.binary(min_size=1, max_size=20)
        ),
        st.just(NonceIndices(1, 2)),
        st.builds(HahaAddress, st.integers(0, 9), ADDRESSES),
        st.builds(
            BindingCacheInformation,
            st.just(BindingUpdateFlag(0)),
            st.integers(0, 65535),
            st.just(0),
            ADDRESSES,
            ADDRESSES,
        ),
    )
    return (*draw(st.lists(others, max_size=4)), *relayed)


@st.composite
def messages(draw: st.DrawFn, world: World) -> MobilityMessage:
    number, found = draw(st.integers(0, 65535)), draw(options(world))
    lifetime = draw(st.sampled_from([0, 4, 8, 600, 262140]))
    kind = draw(st.sampled_from("uarb"))
    if kind == "u":
        flags = BindingUpdateFlag(draw(st.integers(0, 0xFFFF)) & 0xFFF0)
        return BindingUpdate(number, flags, lifetime, found)
    if kind == "a":
        flags_back = BindingAcknowledgementFlag(draw(st.integers(0, 255)) & 0xFE)
        return BindingAcknowledgement(draw(st.integers(0, 255)), flags_back, number, lifetime, found)
    if kind == "r":
        return BindingRevocationIndication(draw(st.integers(0, 255)), number, options=found)
    return BindingRevocationAcknowledgement(draw(st.integers(0, 255)), number, options=found)


@given(data=st.data(), steps=st.integers(0, len(TOUR)))
@SETTINGS
def test_anything_signed_is_survived(data: st.DataObject, steps: int) -> None:
    world = toured(steps)
    for _ in range(4):
        source, destination = data.draw(ADDRESSES), data.draw(ADDRESSES)
        association: SecurityAssociation = data.draw(st.sampled_from([ASSOCIATION, MESH]))
        header = sign(
            data.draw(messages(world)),
            HOA,
            destination,
            key=association.key,
            spi=association.spi,
            care_of_address=data.draw(st.just(source) | ADDRESSES),
            home_address=HOA,
        )
        deliver(world, MobilityPacket(source, destination, HOA, None, 40, header))
        world.pass_time(data.draw(st.sampled_from([0.0, 0.3, 5.0])))
    world.pass_time(3700)
    for agent in world.agents.values():
        for binding in agent.bindings:
            assert binding.expires > world.now.monotonic


@given(
    identifier=st.integers(0, 65535),
    source=ADDRESSES,
    destination=ADDRESSES,
    home_address=ADDRESSES,
    tail=st.binary(max_size=40),
)
@SETTINGS
def test_a_solicitation_changes_no_binding(
    identifier: int, source: Address, destination: Address, home_address: Address, tail: bytes
) -> None:
    """It cannot be authenticated: it gets an answer or none, and that is all."""
    world = WORLD
    before = state(world)
    message = encode_icmpv6(MobilePrefixSolicitation(identifier), home_address, destination)
    packet = IcmpPacket(source, destination, home_address, None, 40, message + tail)
    for agent in world.agents.values():
        agent.receive_solicitation(packet, world.now)
    world.settle()
    assert state(world) == before


@given(identifier=st.integers(0, 65535), addresses=st.lists(ADDRESSES, max_size=80))
@SETTINGS
def test_any_discovery_reply_is_survived(identifier: int, addresses: list[Address]) -> None:
    """It is not authenticated: it can waste time, and nothing else."""
    world = toured(1)
    world.mobile_router.detached()
    world.drop = lambda packet: packet[6] == 58
    world.mobile_router.attached(ACCESS[2], world.now)
    for number in (identifier, 65531, 65532):
        world.mobile_router.receive_discovery(
            HomeAgentDiscoveryReply(number, True, tuple(addresses)), world.now
        )
        world.settle()
    assert world.mobile_router.state is State.BOUND
    assert world.mobile_router.registration.home_agent in {peer(1).outer, peer(2).outer, peer(3).outer}
    world.drop = lambda packet: False
    world.pass_time(310)
    assert world.mobile_router.state in (State.BOUND, State.SEARCHING)
