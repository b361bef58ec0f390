"""Messages between Home Agents: two of them, and what is done to their packets on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from haha_exabgp.protocol.effects import Transmit
from haha_exabgp.protocol.haha_messages import HahaMessages
from haha_exabgp.protocol.home import SecurityAssociation
from haha_exabgp.protocol.messages import decode, haha_packet
from haha_exabgp.protocol.node import Node
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.codes import HahaFlag, HahaOperation
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.haha_options import AddressRole, BindingCacheInformation, HahaAddress, HomePrefix
from haha_exabgp.wire.ipv6 import MobilityPacket, parse_packet
from haha_exabgp.wire.messages import HahaMessage
from haha_exabgp.wire.mobility import BindingUpdateFlag, seal
from haha_exabgp.wire.options import ReplayProtection, every_option
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import HOME, MESH, WALL, home_agent_config, peer

REQUEST = HahaOperation.BINDING_INFORMATION_REQUEST
UPDATE = HahaOperation.BINDING_INFORMATION_UPDATE
HELLO = HahaOperation.HELLO
HOA = Address.parse("2001:db8:1:1::10")
ASKED = ((HahaAddress(AddressRole.HOME_ADDRESS, HOA),),)


class Side:
    def __init__(self, index: int) -> None:
        self.node = Node(home_agent_config(index, sites=3))
        self.messages = HahaMessages(self.node, 7 * index)
        self.heard: list[HahaMessage] = []

    def sent(self) -> list[bytes]:
        return [one.packet for one in self.node.take_effects() if isinstance(one, Transmit)]

    def receive(self, packet: bytes, now: Now, by: int | None = None) -> None:
        parsed = parse_packet(packet)
        assert isinstance(parsed, MobilityPacket)
        message = decode(parsed)
        assert isinstance(message, HahaMessage)
        source = next(one for one in self.node.config.peers if one.haha == parsed.source)
        self.messages.receive(parsed, message, source if by is None else peer(by), now)

    def hears(self, operation: HahaOperation) -> None:
        self.messages.handlers[operation] = lambda message, peer, now: self.heard.append(message)

    def drops(self) -> dict[str, int]:
        return {name: count for name, count in self.node.counters.items() if name.startswith("dropped_")}


@pytest.fixture
def sides() -> tuple[Side, Side]:
    return Side(1), Side(2)


def at(seconds: float) -> Now:
    return Now(1000.0 + seconds, WALL + seconds)


def reseal(packet: bytes, change: Callable[[bytearray], None]) -> bytes:
    """The packet, changed by somebody who can count but has no key."""
    changed = bytearray(packet)
    change(changed)
    header = changed[40:]
    header[4:6] = b"\0\0"
    return bytes(changed[:40]) + bytes(seal(header, changed[8:24], changed[24:40]))


@pytest.mark.requirement("S-8")
def test_what_is_told_arrives_once(sides):
    one, other = sides
    other.hears(HELLO)
    one.messages.tell(peer(2), HELLO, ((HomePrefix(HOME, 1),),), at(0), argument=30)
    (packet,) = one.sent()
    other.receive(packet, at(0.1))
    other.receive(packet, at(0.2))
    (heard,) = other.heard
    assert (heard.operation, heard.argument, heard.identifier) == (HELLO, 30, 0)
    assert every_option(heard.options, HomePrefix) == [HomePrefix(HOME, 1)]
    assert other.drops() == {"dropped_replayed": 1}


@pytest.mark.requirement("S-8")
def test_messages_that_overtake_each_other_are_all_taken(sides):
    one, other = sides
    other.hears(HELLO)
    for argument in range(5):
        one.messages.tell(peer(2), HELLO, (), at(argument), argument=argument)
    for packet in reversed(one.sent()):
        other.receive(packet, at(5))
    assert [heard.argument for heard in other.heard] == [4, 3, 2, 1, 0]


def _forged(packet: bytes) -> bytes:
    return reseal(packet, lambda octets: octets.__setitem__(51, octets[51] ^ 1))


def _to_another(packet: bytes) -> bytes:
    return reseal(packet, lambda octets: octets.__setitem__(slice(24, 40), peer(3).haha))


def _from_another(packet: bytes) -> bytes:
    return reseal(packet, lambda octets: octets.__setitem__(slice(8, 24), peer(3).haha))


def _unsigned(packet: bytes) -> bytes:
    cut = bytearray(packet[:52])
    cut[5], cut[41] = 16, 1
    return reseal(bytes(cut) + bytes(4), lambda octets: None)


@pytest.mark.requirement("S-8")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_forged, "bad_authenticator"),
        (_to_another, "not_for_us"),
        (_from_another, "bad_authenticator"),
        (_unsigned, "no_authentication"),
    ],
)
def test_what_is_not_authentic_is_counted_and_nothing_else(sides, change, reason):
    one, other = sides
    other.hears(HELLO)
    one.messages.tell(peer(2), HELLO, (), at(0), argument=30)
    (packet,) = one.sent()
    other.receive(change(packet), at(0))
    assert (other.heard, other.sent(), other.drops()) == ([], [], {f"dropped_{reason}": 1})
    other.receive(packet, at(0))
    assert len(other.heard) == 1, "what was forged has used up nothing"


@pytest.mark.requirement("S-8")
@pytest.mark.parametrize("late", [8.0, -8.0])
def test_what_is_not_of_now_is_dropped(sides, late):
    one, other = sides
    other.hears(HELLO)
    one.messages.tell(peer(2), HELLO, (), at(0))
    other.receive(one.sent()[0], at(late))
    assert (other.heard, other.drops()) == ([], {"dropped_replayed": 1})


@pytest.mark.requirement("S-8")
def test_a_clock_that_is_set_back_deafens_nobody(sides):
    one, other = sides
    other.hears(HELLO)
    for second in (*range(0, 3600, 60), *range(-7200, -7195)):
        one.messages.tell(peer(2), HELLO, (), Now(1.0, WALL + second))
        other.receive(one.sent()[0], Now(1.0, WALL + second))
    assert len(other.heard) == 65


@pytest.mark.parametrize(
    ("octet", "value", "reason"),
    [
        (46, 99, DropReason.UNKNOWN_HAHA_OPERATION),
        (47, 0x20, DropReason.UNKNOWN_HAHA_VERSION),
    ],
)
def test_another_version_and_an_unknown_operation_have_names(sides, octet, value, reason):
    one, other = sides
    one.messages.tell(peer(2), HELLO, (), at(0))
    packet = reseal(one.sent()[0], lambda octets: octets.__setitem__(octet, value))
    with pytest.raises(MalformedPacket) as caught:
        other.receive(packet, at(0))
    assert caught.value.reason is reason


def test_what_nobody_handles_is_dropped(sides):
    one, other = sides
    one.messages.tell(peer(2), REQUEST, ASKED, at(0))
    other.receive(one.sent()[0], at(0))
    assert other.drops() == {"dropped_unexpected_message": 1}


def test_an_answer_reaches_who_asked(sides):
    one, other = sides
    answers: list[HahaMessage] = []

    def answer(message: HahaMessage, peer, now: Now) -> None:
        other.messages.answer(message, peer, UPDATE, ASKED, now, argument=1)

    other.messages.handlers[REQUEST] = answer
    one.messages.ask(peer(2), REQUEST, ASKED, at(0), answered=lambda message, now: answers.append(message))
    other.receive(one.sent()[0], at(0))
    (packet,) = other.sent()
    one.receive(packet, at(0))
    assert [(got.operation, got.argument) for got in answers] == [(UPDATE, 1)]
    assert one.messages.next_timer() is None, "nothing is asked again"


@pytest.mark.parametrize("what", ["another Identifier", "another Home Agent", "another operation"])
def test_what_answers_nothing_that_was_asked_is_dropped(sides, what):
    one, other = sides
    answers: list[HahaMessage] = []
    identifier = one.messages.ask(
        peer(2), REQUEST, ASKED, at(0), answered=lambda message, now: answers.append(message)
    )
    sender = Side(3) if what == "another Home Agent" else other
    operation = HahaOperation.RESOLUTION_REPLY if what == "another operation" else UPDATE
    one.hears(UPDATE)
    wrong = identifier + 1 if what == "another Identifier" else identifier
    sender.messages.tell(peer(1), operation, (), at(0), identifier=wrong)
    one.receive(sender.sent()[0], at(0))
    assert answers == []
    assert len(one.heard) + len(one.drops()) == 1, (
        "it is an update of nobody's asking, or no answer to anything"
    )


def test_what_is_not_answered_is_sent_again_and_given_up(sides):
    one, other = sides
    other.hears(REQUEST)
    ends: list[float] = []
    one.messages.ask(
        peer(2),
        REQUEST,
        ASKED,
        at(0),
        answered=lambda message, now: ends.append(-1),
        unanswered=lambda now: ends.append(now.monotonic - 1000.0),
    )
    sent = [(0.0, packet) for packet in one.sent()]
    while (timer := one.messages.next_timer()) is not None:
        one.messages.handle_timer(at(timer - 1000.0))
        sent += [(timer - 1000.0, packet) for packet in one.sent()]
    assert [moment for moment, _ in sent] == [0.0, 0.5, 1.5]
    assert ends == [3.5]
    for moment, packet in sent:
        other.receive(packet, at(moment))
    assert len({heard.identifier for heard in other.heard}) == 1
    assert len(other.heard) == 3, "a repetition is no replay"
    assert one.node.counters["unanswered_binding_information_request"] == 1


def test_a_patient_question_is_repeated_seldom(sides):
    one, _ = sides
    one.messages.ask(
        peer(2), HahaOperation.RESOLUTION_PURGE, (), at(0), answered=lambda message, now: None, patience=600
    )
    count = len(one.sent())
    while (timer := one.messages.next_timer()) is not None:
        one.messages.handle_timer(at(timer - 1000.0))
        count += len(one.sent())
    assert 20 <= count <= 30


def test_not_more_is_asked_than_can_be_remembered(sides):
    one, _ = sides
    asked = [
        one.messages.ask(peer(2), REQUEST, ASKED, at(0), answered=lambda message, now: None)
        for _ in range(5000)
    ]
    assert len({identifier for identifier in asked if identifier is not None}) == 4096
    assert one.drops() == {"dropped_too_many_outstanding": 904}
    assert 0 not in asked


def test_an_acknowledgement_is_a_status_and_only_for_who_wants_it(sides):
    one, other = sides
    statuses: list[int] = []
    handle = lambda message, peer, now: other.messages.acknowledge(message, peer, now, 130)  # noqa: E731
    other.messages.handlers[UPDATE] = handle
    one.messages.ask(
        peer(2), UPDATE, (), at(0), answered=lambda message, now: statuses.append(message.argument)
    )
    one.messages.tell(peer(2), UPDATE, (), at(0))
    for packet in one.sent():
        other.receive(packet, at(0))
    (packet,) = other.sent()
    one.receive(packet, at(0))
    assert statuses == [130]


def test_a_long_message_is_cut_between_records_into_packets_of_1280_octets(sides):
    one, other = sides
    records = [
        (
            BindingCacheInformation(BindingUpdateFlag(0), number, 4, HOA, HOA),
            *[HahaAddress(AddressRole.DESTINATION, HOA)] * (number % 5),
        )
        for number in range(100)
    ]
    answers: list[HahaMessage] = []
    one.messages.ask(peer(2), REQUEST, ASKED, at(0), answered=lambda message, now: answers.append(message))
    other.messages.handlers[REQUEST] = lambda message, peer, now: other.messages.answer(
        message, peer, UPDATE, records, now
    )
    other.receive(one.sent()[0], at(0))
    packets = other.sent()
    assert all(1100 < len(packet) <= 1280 for packet in packets[:-1])
    assert len(packets[-1]) <= 1280
    for packet in packets:
        one.receive(packet, at(0))
    more = [bool(message.flags & HahaFlag.MORE_FRAGMENTS) for message in answers]
    assert more == [True] * (len(packets) - 1) + [False]
    told = tuple(
        option
        for message in answers
        for option in message.options
        if not isinstance(option, ReplayProtection)
    )
    whole = [option for option in told if isinstance(option, BindingCacheInformation | HahaAddress)]
    assert whole == [option for record in records for option in record]
    for message in answers:
        firsts = [option for option in message.options if isinstance(option, BindingCacheInformation)]
        last = firsts[-1].sequence
        after = message.options[message.options.index(firsts[-1]) + 1 :]
        assert sum(isinstance(option, HahaAddress) for option in after) == last % 5, "no record is cut"


def test_a_record_that_fits_into_no_message_is_a_mistake(sides):
    one, _ = sides
    with pytest.raises(ValueError, match="1192 is the most"):
        one.messages.tell(peer(2), UPDATE, [(HahaAddress(1, HOA),) * 60], at(0))


def test_a_wrong_key_says_nothing(sides):
    _, other = sides
    other.hears(HELLO)
    stranger = SecurityAssociation(MESH.spi, bytes(16))
    message = HahaMessage(HELLO, HahaFlag(0), 0, 1, (ReplayProtection(from_unix(WALL)),))
    other.receive(haha_packet(peer(1).haha, peer(2).haha, message, stranger), at(0))
    unknown = replace(stranger, spi=9999)
    other.receive(haha_packet(peer(1).haha, peer(2).haha, message, unknown), at(0))
    assert (other.heard, other.drops()) == (
        [],
        {"dropped_bad_authenticator": 1, "dropped_unknown_spi": 1},
    )
