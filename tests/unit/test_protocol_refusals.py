"""Why a Binding Update came to nothing: what an operator can ask, and what a flood leaves in the log."""

from __future__ import annotations

from haha_exabgp.protocol.drops import Drop
from haha_exabgp.protocol.effects import Note
from haha_exabgp.protocol.refusals import REASONS
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.ipv6 import MobilityPacket, parse_packet
from haha_exabgp.wire.mobility import seal
from tests.unit.conftest import ACCESS, HOA, World, peer
from tests.unit.mobility_messages import acknowledgements, update_to

STRANGER = Address.parse("3fff:f02::bad")


def forged(packet: bytes) -> MobilityPacket:
    """With a wrong authenticator, its checksum right."""
    parsed = parse_packet(packet)
    assert isinstance(parsed, MobilityPacket)
    header = bytearray(parsed.header)
    header[-1] ^= 0xFF
    header[4:6] = bytes(2)
    return parsed._replace(header=seal(header, parsed.checksum_source, parsed.checksum_destination))


def received(packet: bytes) -> MobilityPacket:
    parsed = parse_packet(packet)
    assert isinstance(parsed, MobilityPacket)
    return parsed


def lines(world: World) -> list[str]:
    return [one.text for one in world.log if isinstance(one, Note)]


def test_the_last_refusal_is_remembered_with_its_reason_source_and_time(world):
    world.inject(update_to(world, 1, ACCESS[1], 15))
    world.pass_time(5)
    world.inject(update_to(world, 1, ACCESS[1], 14))
    refusal = world.agents[1].refusals[HOA]
    assert (refusal.why, refusal.source, refusal.proxy) == (135, ACCESS[1], None)
    assert abs(refusal.at - world.now.wall) < 0.1
    assert refusal.reason == "its number is not newer than the last accepted one"
    assert any("refused with status 135" in line and str(HOA) in line for line in lines(world))


def test_a_refusal_through_a_proxy_is_known_at_both(world):
    world.inject(update_to(world, 1, ACCESS[1], 15))
    world.inject(update_to(world, 2, ACCESS[2], 16, ago=5.0))
    assert world.agents[1].refusals[HOA].why == world.agents[2].refusals[HOA].why == 135
    assert world.agents[1].refusals[HOA][2:] == (ACCESS[2], peer(2).haha)
    assert world.agents[2].refusals[HOA].source == ACCESS[2]


def test_what_was_accepted_is_no_refusal_nor_is_its_copy(world):
    packet = update_to(world, 1, ACCESS[1], 15)
    for _ in range(2):
        world.inject(packet)
    assert world.agents[1].counters["dropped_duplicate"] == 1
    assert world.agents[1].refusals == {} and world.agents[1].suspect_refusals == {}


def test_what_is_not_authentic_neither_forges_nor_pushes_out_what_is(world):
    agent = world.agents[1]
    world.inject(update_to(world, 1, ACCESS[1], 15))
    world.inject(update_to(world, 1, ACCESS[1], 15, ago=-0.1))
    known = agent.refusals[HOA]
    agent.receive_mobility(forged(update_to(world, 1, STRANGER, 16)), world.now)
    assert agent.refusals == {HOA: known}
    assert agent.suspect_refusals[HOA].why == 146
    assert agent.suspect_refusals[HOA].source == STRANGER


def test_nothing_is_remembered_of_home_addresses_that_nobody_has(world):
    agent = world.agents[1]
    packet = received(update_to(world, 1, ACCESS[1], 1))
    for number in range(500):
        unknown = Address.parse(f"2001:db8:1:2::{number:x}")
        agent.receive_mobility(packet._replace(home_address=unknown), world.now)
    assert agent.refusals == {} and agent.suspect_refusals == {}


def test_a_flood_of_forged_updates_is_few_answers_and_a_few_lines(world):
    agent = world.agents[1]
    packet = forged(update_to(world, 1, STRANGER, 16))
    for _ in range(5000):
        agent.receive_mobility(packet, world.now)
    world.settle()
    assert agent.counters["refused_146"] == agent.counters["dropped_bad_authenticator"] == 5000
    assert len(acknowledgements(world, STRANGER)) == 200
    assert agent.counters["dropped_too_many_errors"] == 4800
    assert len(lines(world)) == 20
    world.pass_time(1.0)
    agent.receive_mobility(packet, world.now)
    world.settle()
    assert "4980 more Binding Updates came to nothing" in lines(world)


def test_a_mobile_router_with_the_right_key_is_answered_during_such_a_flood(world):
    agent = world.agents[1]
    packet = forged(update_to(world, 1, STRANGER, 16))
    for _ in range(5000):
        agent.receive_mobility(packet, world.now)
    world.inject(update_to(world, 1, ACCESS[1], 15))
    world.inject(update_to(world, 1, ACCESS[1], 14))
    assert [one.status for one in acknowledgements(world, ACCESS[1])] == [0, 135]


def test_every_drop_of_a_binding_update_has_a_reason_in_words():
    of_others = {
        Drop.UNKNOWN_HOME_ADDRESS,
        Drop.NOT_OUTSTANDING,
        Drop.BAD_RELAYED_UPDATE,
        Drop.UNEXPECTED_MESSAGE,
        Drop.NOT_FROM_ITS_CARE_OF_ADDRESS,
        Drop.NOT_FROM_A_MOBILE_NETWORK,
        Drop.TOO_MANY_DISCOVERIES,
        Drop.TOO_MANY_OUTSTANDING,
        Drop.TOO_MANY_SOLICITATIONS,
        Drop.TOO_MANY_OUTSTANDING,
        Drop.TOO_MANY_RESOLUTIONS,
        Drop.TOO_MANY_ERRORS,
    }
    assert {one for one in REASONS if isinstance(one, Drop)} == set(Drop) - of_others
