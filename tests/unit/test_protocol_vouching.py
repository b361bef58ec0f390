"""A mobile router binds at a proxy that has no key of it: only its primary can tell who it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from haha_exabgp.protocol import vouching
from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.drain import Standing
from haha_exabgp.protocol.home import HomeAgentConfig, SecurityAssociation
from haha_exabgp.protocol.messages import authenticate
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.authentication import HMAC_SHA1_SPI, sign
from haha_exabgp.wire.ipv6 import MobilityPacket, build_mobility, parse_packet
from haha_exabgp.wire.messages import BindingAcknowledgement, BindingUpdate
from haha_exabgp.wire.mobility import decode_mobility
from haha_exabgp.wire.options import AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MNP, World, peer
from tests.unit.mobility_messages import UPDATE_FLAGS, acknowledgements, message_of, update_to
from tests.unit.proxying import kinds

pytestmark = pytest.mark.requirement("S-4")

AAA = SecurityAssociation(HMAC_SHA1_SPI, bytes(range(50, 66)))
OTHER = bytes(16)
OUTER2 = peer(2).outer


def unknown(config: HomeAgentConfig) -> HomeAgentConfig:
    """Nobody but the primary has heard of the mobile router."""
    policy = replace(config.mobile_routers[HOA], aaa=AAA)
    return replace(config, mobile_routers={HOA: policy} if config.name == "ha1" else {})


def without_key(config: HomeAgentConfig) -> HomeAgentConfig:
    """Everybody knows it, the primary alone has its keys."""
    policy = replace(config.mobile_routers[HOA], aaa=AAA)
    if config.name != "ha1":
        policy = replace(policy, aaa=None, associations=())
    return replace(config, mobile_routers={HOA: policy})


def with_old_key(config: HomeAgentConfig) -> HomeAgentConfig:
    """The others have a key of an SPI that it uses no longer."""
    policy = replace(config.mobile_routers[HOA], aaa=AAA)
    if config.name != "ha1":
        policy = replace(policy, aaa=None, associations=(SecurityAssociation(300, OTHER),))
    return replace(config, mobile_routers={HOA: policy})


def made(adapt: Callable[[HomeAgentConfig], HomeAgentConfig], sites: int = 2) -> World:
    world = World(sites=sites, adapt=adapt)
    config = MobileRouterConfig("mr1", HOA, (MNP,), ASSOCIATION, lifetime=600, aaa=AAA)
    world.mobile_router = MobileRouter(config, first_sequence=65530)
    return world


@pytest.fixture(params=[unknown, without_key, with_old_key], ids=lambda one: one.__name__)
def world(request: pytest.FixtureRequest) -> World:
    return made(request.param)


def aaa_update(
    world: World,
    care_of_address: Address,
    sequence: int,
    *,
    site: int = 2,
    lifetime: int = 600,
    key: bytes = ASSOCIATION.key,
    aaa: bytes | None = AAA.key,
    ago: float = 0.0,
    home_address: Address = HOA,
) -> bytes:
    options = (
        AlternateCareOfAddress(care_of_address),
        MobileNetworkPrefix(MNP),
        ReplayProtection(from_unix(world.now.wall - ago)),
    )
    header = sign(
        BindingUpdate(sequence, UPDATE_FLAGS, lifetime, options),
        home_address,
        peer(site).outer,
        key=key,
        spi=ASSOCIATION.spi,
        care_of_address=care_of_address,
        home_address=home_address,
        aaa_key=aaa,
    )
    return build_mobility(care_of_address, peer(site).outer, header, home_address=home_address)


def between_home_agents(world: World) -> int:
    ends = {peer(index).haha for index in world.agents}
    return sum(isinstance(one, MobilityPacket) and one.source in ends for one in world.wire)


@pytest.mark.requirement("B-8", "B-3", "B-5", "K-1")
def test_it_is_bound_and_acknowledged_by_its_primary_through_the_proxy(world: World) -> None:
    world.attach(2)
    assert kinds(world) == {1: BindingKind.PROXIED, 2: BindingKind.PROXY}
    registration = world.mobile_router.registration
    assert registration is not None and registration.home_agent == OUTER2
    binding = world.agents[2].bindings.get(HOA)
    assert binding is not None and binding.prefixes == (MNP,) and binding.is_vouched
    # Behaviour B-6: the mobile router never believes in more than the proxy keeps.
    assert registration.expires <= binding.expires
    assert any(one.prefix == MNP for one in world.agents[1].routes.leaks((MNP,)))


@pytest.mark.requirement("S-2", "M-AUTH-AAA")
def test_the_proxy_knows_no_key_and_the_answer_is_signed_with_one(world: World) -> None:
    for policy in world.configs[2].mobile_routers.values():
        assert ASSOCIATION not in policy.associations and policy.aaa is None
    world.attach(2)
    answers = [
        one
        for one in world.wire
        if isinstance(one, MobilityPacket) and one.source == OUTER2 and one.destination == ACCESS[2]
    ]
    assert answers
    for answer in answers:
        assert authenticate(answer.header, ACCESS[2], HOA, (ASSOCIATION,)) == (ASSOCIATION, None)


@pytest.mark.requirement("H-1")
def test_each_refresh_and_move_goes_to_the_primary(world: World) -> None:
    world.inject(aaa_update(world, ACCESS[2], 1))
    for sequence, care_of in ((2, ACCESS[2]), (3, ACCESS[1])):
        world.wire.clear()
        world.inject(aaa_update(world, care_of, sequence))
        assert between_home_agents(world) == 2
        binding = world.agents[2].bindings.get(HOA)
        assert binding is not None and binding.care_of_address == care_of
    first, last = world.agents[1].bindings.get(HOA), world.agents[2].bindings.get(HOA)
    assert first is not None and last is not None and first.mobility_sequence == last.mobility_sequence


@pytest.mark.requirement("L-4", "L-7")
def test_it_can_de_register(world: World) -> None:
    world.inject(aaa_update(world, ACCESS[2], 1))
    world.inject(aaa_update(world, ACCESS[2], 2, lifetime=0))
    assert kinds(world) == {}
    assert [(one.status, one.lifetime) for one in acknowledgements(world, ACCESS[2])][-1] == (0, 0)


@pytest.mark.requirement("S-2", "B-5")
@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("lifetime", [600, 0])
def test_a_forged_one_gets_nothing_and_changes_nothing(world: World, bound: bool, lifetime: int) -> None:
    if bound:
        world.inject(aaa_update(world, ACCESS[2], 1))
    before = world.snapshot()
    world.wire.clear()
    for key, aaa in ((ASSOCIATION.key, OTHER), (OTHER, AAA.key), (OTHER, OTHER)):
        world.inject(aaa_update(world, ACCESS[1], 2, key=key, aaa=aaa, lifetime=lifetime))
    assert world.snapshot() == before
    assert acknowledgements(world, ACCESS[1]) == acknowledgements(world, ACCESS[2]) == []
    assert world.agents[2].counters["dropped_not_vouched_for"] == 3
    assert not world.agents[1].refusals
    # And the true one is none the worse for it.
    world.inject(aaa_update(world, ACCESS[2], 2))
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [0]


@pytest.mark.parametrize(
    "packet",
    [
        lambda world: update_to(world, 2, ACCESS[2], 1),
        lambda world: aaa_update(world, ACCESS[2], 1, aaa=None),
    ],
)
def test_without_mn_aaa_it_is_discarded(world: World, packet: Callable[[World], bytes]) -> None:
    """RFC 4285 s.5.1.1: there is no security association."""
    world.inject(packet(world))
    assert kinds(world) == {} and between_home_agents(world) == 0
    assert acknowledgements(world, ACCESS[2]) == []


@pytest.mark.requirement("B-5")
def test_a_refusal_of_the_primary_reaches_the_mobile_router_signed() -> None:
    def barred(config: HomeAgentConfig) -> HomeAgentConfig:
        config = unknown(config)
        known = {home: replace(one, proxies=frozenset()) for home, one in config.mobile_routers.items()}
        return replace(config, mobile_routers=known)

    world = made(barred)
    world.attach(2)
    assert kinds(world) == {}
    assert world.mobile_router.last_refusal is not None
    assert world.mobile_router.last_refusal.status == 129


@pytest.mark.requirement("H-6", "H-8")
def test_what_comes_later_through_another_proxy_wins() -> None:
    world = made(unknown, sites=3)
    world.inject(aaa_update(world, ACCESS[2], 1, ago=2))
    world.inject(aaa_update(world, ACCESS[1], 3, site=3))
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}
    world.inject(aaa_update(world, ACCESS[2], 2, ago=1))
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [0, 135]
    assert kinds(world) == {1: BindingKind.PROXIED, 3: BindingKind.PROXY}


@pytest.mark.requirement("H-6")
def test_an_old_one_is_not_even_relayed(world: World) -> None:
    old = aaa_update(world, ACCESS[1], 1, ago=1)
    world.inject(old)
    world.inject(aaa_update(world, ACCESS[2], 2))
    before = world.snapshot()
    world.wire.clear()
    world.inject(old)
    assert world.snapshot() == before and between_home_agents(world) == 0
    assert world.agents[2].counters["dropped_replayed"] == 1


def test_of_two_answers_the_order_of_the_questions_counts() -> None:
    world = made(unknown)
    held: list[bytes] = []

    def hold(packet: bytes) -> bool:
        ours = packet[8:24] == peer(1).haha and isinstance(message_of(packet), BindingAcknowledgement)
        held.extend([packet] if ours else [])
        return ours

    world.drop = hold
    world.inject(aaa_update(world, ACCESS[1], 1))
    world.inject(aaa_update(world, ACCESS[2], 2))
    world.drop = lambda packet: False
    for packet in reversed(held):
        world.inject(packet)
    binding = world.agents[2].bindings.get(HOA)
    assert binding is not None and binding.care_of_address == ACCESS[2]
    assert acknowledgements(world, ACCESS[1]) == []


@pytest.mark.requirement("S-8")
def test_an_answer_that_is_not_of_the_primary_counts_for_nothing() -> None:
    world = made(unknown)
    held: list[bytes] = []
    world.drop = lambda packet: packet[8:24] == peer(1).haha and not held.append(packet)
    world.inject(aaa_update(world, ACCESS[2], 1))
    (answer,) = held
    world.drop = lambda packet: False
    parsed = parse_packet(answer)
    assert isinstance(parsed, MobilityPacket)
    tampered = bytearray(answer)
    tampered[-30] ^= 1
    world.agents[2].receive_mobility(
        parsed._replace(header=bytes(tampered[-len(parsed.header) :])), world.now
    )
    world.settle()
    assert 2 not in kinds(world)
    world.inject(answer)
    assert kinds(world)[2] is BindingKind.PROXY


@pytest.mark.requirement("S-2")
def test_strangers_cannot_fill_memory_nor_flood_the_primary() -> None:
    world = made(unknown)
    proxy = world.agents[2]
    world.drop = lambda packet: packet[24:40] == peer(1).haha
    world.wire.clear()
    sent = 3000
    for number in range(sent):
        care_of = Address.parse(f"3fff:f02:{number:x}::1")
        home = Address.parse(f"2001:db8:1:1::{number:x}")
        packet = parse_packet(aaa_update(world, care_of, 1, aaa=OTHER, home_address=home))
        proxy.receive_mobility(packet, world.now)
    effects = len(proxy.take_effects())
    assert effects <= 2 * vouching.ALL_A_SECOND
    waiting = proxy._proxy._vouching
    assert len(waiting._waiting) <= vouching.MOST_WAITING and len(waiting._sources) <= vouching.MOST_SOURCES
    assert proxy.counters["dropped_too_many_relayed"] == sent - proxy.counters["upstream_relayed"]
    world.pass_time(vouching.PATIENCE + 1)
    assert not waiting._waiting
    assert not proxy.refusals and not proxy.suspect_refusals


def test_one_source_is_held_to_the_rate_of_a_mobile_router() -> None:
    world = made(unknown)
    world.drop = lambda packet: packet[24:40] == peer(1).haha
    for number in range(50):
        world.inject(aaa_update(world, ACCESS[1], number, aaa=OTHER))
    assert world.agents[2].counters["upstream_relayed"] <= 2 * vouching.EACH_A_SECOND + 1


def test_who_is_bound_here_is_not_held_up_by_strangers() -> None:
    world = made(unknown)
    world.inject(aaa_update(world, ACCESS[2], 1))
    proxy = world.agents[2]
    for number in range(300):
        care_of = Address.parse(f"3fff:f02:{number:x}::1")
        proxy.receive_mobility(parse_packet(aaa_update(world, care_of, 1, aaa=OTHER)), world.now)
        proxy.take_effects()
    assert proxy.counters["dropped_too_many_relayed"]
    world.pass_time(vouching.PATIENCE)
    for number in range(300):
        care_of = Address.parse(f"3fff:f02:{number:x}::1")
        proxy.receive_mobility(parse_packet(aaa_update(world, care_of, 1, aaa=OTHER)), world.now)
        proxy.take_effects()
        if len(proxy._proxy._vouching._waiting) == 200:
            break
    world.inject(aaa_update(world, ACCESS[2], 2))
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [0, 0]


def test_the_primary_remembers_nothing_of_home_addresses_that_are_made_up() -> None:
    world = made(unknown)
    for number in range(20):
        home = Address.parse(f"2001:db8:1:1::{number + 100:x}")
        world.inject(aaa_update(world, ACCESS[1], 1, home_address=home))
        world.pass_time(1)
    assert world.agents[1].counters["refused_132"] == 20
    assert not world.agents[1]._node._heard
    assert acknowledgements(world, ACCESS[1]) == []


def test_a_home_address_of_our_own_partition_that_nobody_has_is_dropped() -> None:
    world = made(unknown)
    home = Address.parse("2001:db8:2:1::77")
    world.inject(aaa_update(world, ACCESS[1], 1, home_address=home))
    assert world.agents[2].counters["dropped_unknown_home_address"] == 1


@pytest.mark.requirement("F-7")
def test_a_proxy_that_is_restarted_goes_on(world: World) -> None:
    world.inject(aaa_update(world, ACCESS[2], 1))
    world.restart(2)
    binding = world.agents[2].bindings.get(HOA)
    assert binding is not None and binding.is_vouched
    world.reconnect(2)
    world.inject(aaa_update(world, ACCESS[2], 2))
    assert acknowledgements(world, ACCESS[2])[-1].status == 0


@pytest.mark.requirement("H-4")
def test_the_primary_can_revoke_it(world: World) -> None:
    world.inject(aaa_update(world, ACCESS[2], 1))
    world.inject(update_to(world, 1, ACCESS[1], 2))
    assert kinds(world) == {1: BindingKind.DIRECT}


def test_it_is_asked_and_told_nothing_that_could_not_be_signed(world: World) -> None:
    world.inject(aaa_update(world, ACCESS[2], 1, lifetime=60))
    world.agents[2].switch([HOA], [peer(1).outer])
    world.pass_time(58)
    assert not world.agents[2].leaving and not world.agents[2].counters["refresh_requested"]
    sent = [
        message_of_packet(one)
        for one in world.wire
        if isinstance(one, MobilityPacket) and one.source == OUTER2
    ]
    assert not [one for one in sent if not isinstance(one, BindingAcknowledgement)]


def message_of_packet(packet: MobilityPacket) -> object:
    return decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)


@pytest.mark.requirement("F-8")
def test_a_drain_says_that_it_cannot_be_told(world: World) -> None:
    world.inject(aaa_update(world, ACCESS[2], 1))
    world.agents[2].drain(world.now)
    world.pass_time(3)
    assert [one.standing for one in world.agents[2].remaining()] == [Standing.MUTE]
    world.inject(aaa_update(world, ACCESS[2], 2))
    assert acknowledgements(world, ACCESS[2])[-1].status == 0


@pytest.mark.requirement("F-8")
def test_a_newcomer_to_a_drained_proxy_gets_no_answer(world: World) -> None:
    world.agents[2].drain(world.now)
    world.inject(aaa_update(world, ACCESS[2], 1))
    assert between_home_agents(world) == 0 and kinds(world) == {}


def test_when_the_primary_is_silent_nothing_is_left(world: World) -> None:
    world.drop = lambda packet: packet[24:40] == peer(1).haha
    world.inject(aaa_update(world, ACCESS[2], 1))
    world.pass_time(vouching.PATIENCE + 0.1)
    assert world.agents[2].counters["upstream_unanswered"] == 1
    assert kinds(world) == {}
    world.drop = lambda packet: False
    world.inject(aaa_update(world, ACCESS[2], 2))
    assert kinds(world)[2] is BindingKind.PROXY


@pytest.mark.requirement("S-4")
def test_a_proxy_with_the_key_verifies_it_by_itself_as_before() -> None:
    world = made(lambda config: config)
    world.attach(2)
    binding = world.agents[2].bindings.get(HOA)
    assert binding is not None and not binding.is_vouched
    world.wire.clear()
    world.inject(aaa_update(world, ACCESS[1], binding.order.sequence + 1))
    assert between_home_agents(world) == 0
    assert world.agents[2].counters["upstream_relayed"] == 0
