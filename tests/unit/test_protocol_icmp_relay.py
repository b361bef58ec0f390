"""What the sender of a tunnelled packet is told of an error inside the tunnel (RFC 2473 s.8)."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from random import Random

import pytest

from haha_exabgp.protocol.icmp_relay import (
    EXAMINED_A_SECOND,
    RELAYED_TO_ONE_A_SECOND,
    ErrorRelay,
    RelayDrop,
    Tunnelled,
)
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.icmpv6 import IcmpError, IcmpErrorType, decode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket, build_ipv6, parse_packet

pytestmark = pytest.mark.requirement("T-2")

HA, CARE_OF = Address.parse("3fff:101::a"), Address.parse("3fff:f01::10")
CN, LFN = Address.parse("3fff:c::10"), Address.parse("2001:db8:1:100::10")
NESTED_CARE_OF = Address.parse("2001:db8:1:100::20")
NESTED_LFN = Address.parse("2001:db8:1:200::10")
TUNNELS = {
    (HA, CARE_OF): Prefix.parse("2001:db8:1:100::/64"),
    (HA, NESTED_CARE_OF): Prefix.parse("2001:db8:1:200::/64"),
}
TUNNEL_LIMIT = bytes((41, 0, 4, 1, 4, 1, 1, 0))
"""Destination options with a Tunnel Encapsulation Limit of 4 (RFC 2473 s.4.1.1)."""
TOO_BIG, UNREACHABLE = IcmpErrorType.PACKET_TOO_BIG, IcmpErrorType.DESTINATION_UNREACHABLE
EXCEEDED = IcmpErrorType.TIME_EXCEEDED


@pytest.fixture
def counters() -> Counter[str]:
    return Counter()


@pytest.fixture
def relay(counters: Counter[str]) -> ErrorRelay:
    def matches(packet: Tunnelled) -> bool:
        prefix = TUNNELS.get((packet.entry, packet.exit))
        return prefix is not None and prefix.contains(packet.destination)

    return ErrorRelay(HA, matches, counters)


def packet_of(octets: int, source: Address = CN, destination: Address = LFN) -> bytes:
    return build_ipv6(source, destination, 17, (bytes(range(256)) * 6)[: octets - 40])


def in_tunnel(inner: bytes, source: Address = HA, destination: Address = CARE_OF) -> bytes:
    return build_ipv6(source, destination, 41, inner)


def error(kind: IcmpErrorType, quoted: bytes, mtu: int = 0, code: int = 0) -> IcmpError:
    """As it comes off the wire: no more than 1232 octets quoted."""
    return IcmpError(kind, code, mtu, quoted[:1232])


def told(packet: bytes | None) -> tuple[Address, Address, IcmpError]:
    """Source, destination and content of what the sender gets, checksum and size looked at."""
    assert packet is not None
    assert len(packet) <= 1280
    parsed = parse_packet(packet)
    assert isinstance(parsed, IcmpPacket)
    message = decode_icmpv6(parsed.message, parsed.source, parsed.destination)
    assert isinstance(message, IcmpError)
    return parsed.source, parsed.destination, message


def drops(counters: Counter[str]) -> dict[str, int]:
    prefix = "icmp_relay_dropped_"
    return {name.removeprefix(prefix): n for name, n in counters.items() if name.startswith(prefix)}


def test_packet_too_big_tells_the_sender_the_mtu_less_the_tunnel(
    relay: ErrorRelay, counters: Counter[str]
) -> None:
    original = packet_of(1400)
    answer = relay.receive(error(TOO_BIG, in_tunnel(original), 1400), 0.0)
    source, destination, message = told(answer)
    assert (source, destination) == (HA, CN)
    assert message == IcmpError(TOO_BIG, 0, 1360, original[: 1232 - 40])
    assert counters == {"icmp_relayed_packet_too_big": 1}


def test_tunnel_encapsulation_limit_counts_as_tunnel_header(relay: ErrorRelay) -> None:
    original = packet_of(1400)
    outer = build_ipv6(HA, CARE_OF, 60, TUNNEL_LIMIT + original)
    _, _, message = told(relay.receive(error(TOO_BIG, outer, 1400), 0.0))
    assert message.argument == 1400 - 48
    assert message.quoted == original[: 1232 - 48]


def test_tunnel_in_a_tunnel_is_taken_off_to_the_original_sender(relay: ErrorRelay) -> None:
    original = packet_of(1400, CN, NESTED_LFN)
    outer = in_tunnel(in_tunnel(original, HA, NESTED_CARE_OF))
    _, destination, message = told(relay.receive(error(TOO_BIG, outer, 1450), 0.0))
    assert destination == CN
    assert message == IcmpError(TOO_BIG, 0, 1370, original[: 1232 - 80])


def test_tunnel_of_somebody_else_in_ours_is_told_its_entry_point(relay: ErrorRelay) -> None:
    other_home_agent = Address.parse("3fff:105::a")
    middle = in_tunnel(packet_of(1400, CN, NESTED_LFN), other_home_agent, NESTED_CARE_OF)
    _, destination, message = told(relay.receive(error(TOO_BIG, in_tunnel(middle), 1450), 0.0))
    assert destination == other_home_agent
    assert message == IcmpError(TOO_BIG, 0, 1410, middle[: 1232 - 40])


@pytest.mark.parametrize(
    ("mtu", "expected"), [(1500, 1460), (1320, 1280), (1319, 1280), (1280, 1280), (0, 1280)]
)
def test_mtu_told_is_never_below_what_every_link_takes(relay: ErrorRelay, mtu: int, expected: int) -> None:
    _, _, message = told(relay.receive(error(TOO_BIG, in_tunnel(packet_of(1490)), mtu), 0.0))
    assert message.argument == expected


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [*((UNREACHABLE, code, (UNREACHABLE, 3)) for code in range(7)), (EXCEEDED, 0, (EXCEEDED, 0))],
)
def test_unreachable_becomes_address_unreachable_and_a_hop_limit_stays_one(
    relay: ErrorRelay,
    counters: Counter[str],
    kind: IcmpErrorType,
    code: int,
    expected: tuple[IcmpErrorType, int],
) -> None:
    original = packet_of(100)
    source, destination, message = told(relay.receive(error(kind, in_tunnel(original), code=code), 0.0))
    assert (source, destination) == (HA, CN)
    assert message == IcmpError(*expected, 0, original)
    assert counters == {f"icmp_relayed_{expected[0].name.lower()}": 1}


def icmp(kind: int, source: Address = CN, destination: Address = LFN) -> bytes:
    return build_ipv6(source, destination, 58, bytes((kind, 0)) + bytes(6))


def behind(next_header: int, header: bytes, kind: int) -> bytes:
    return build_ipv6(CN, LFN, next_header, header + bytes((kind, 0)) + bytes(6))


FIRST_FRAGMENT, LATER_FRAGMENT = bytes((58, 0, 0, 1, 0, 0, 0, 7)), bytes((58, 0, 5, 1, 0, 0, 0, 7))
OPTIONS = bytes((58, 1)) + bytes((1, 12)) + bytes(12)
UNSPECIFIED, GROUP = Address.parse("::"), Address.parse("ff0e::1")
DROPPED = {
    "no-tunnel": (error(UNREACHABLE, packet_of(100)), RelayDrop.NOT_TUNNELLED),
    "options-but-no-tunnel": (
        error(UNREACHABLE, build_ipv6(HA, CARE_OF, 60, bytes((17,)) + TUNNEL_LIMIT[1:] + packet_of(100))),
        RelayDrop.NOT_TUNNELLED,
    ),
    "outer-header-only": (error(UNREACHABLE, in_tunnel(packet_of(100))[:40]), RelayDrop.TOO_LITTLE_QUOTED),
    "inner-header-cut": (error(UNREACHABLE, in_tunnel(packet_of(100))[:79]), RelayDrop.TOO_LITTLE_QUOTED),
    "options-run-out": (
        error(UNREACHABLE, build_ipv6(HA, CARE_OF, 60, bytes((41, 255)) + packet_of(100))),
        RelayDrop.TOO_LITTLE_QUOTED,
    ),
    "empty": (error(UNREACHABLE, b""), RelayDrop.TOO_LITTLE_QUOTED),
    "other-entry": (error(UNREACHABLE, in_tunnel(packet_of(100), CN)), RelayDrop.NO_SUCH_TUNNEL),
    "other-exit": (error(UNREACHABLE, in_tunnel(packet_of(100), HA, CN)), RelayDrop.NO_SUCH_TUNNEL),
    "not-into-this-tunnel": (
        error(UNREACHABLE, in_tunnel(packet_of(100, CN, NESTED_LFN))),
        RelayDrop.NO_SUCH_TUNNEL,
    ),
    "fits": (error(TOO_BIG, in_tunnel(packet_of(1400)), 1440), RelayDrop.FITS),
    "smallest": (error(TOO_BIG, in_tunnel(packet_of(1280)), 1300), RelayDrop.AT_MINIMUM),
    "reassembly": (error(EXCEEDED, in_tunnel(packet_of(100)), code=1), RelayDrop.NOT_RELAYED),
    "parameter": (
        error(IcmpErrorType.PARAMETER_PROBLEM, in_tunnel(packet_of(100))),
        RelayDrop.NOT_RELAYED,
    ),
    "about-error": (error(UNREACHABLE, in_tunnel(icmp(1))), RelayDrop.ABOUT_ERROR),
    "about-redirect": (error(UNREACHABLE, in_tunnel(icmp(137))), RelayDrop.ABOUT_ERROR),
    "about-error-behind-options": (
        error(UNREACHABLE, in_tunnel(behind(60, OPTIONS, 3))),
        RelayDrop.ABOUT_ERROR,
    ),
    "about-fragment-of-error": (
        error(UNREACHABLE, in_tunnel(behind(44, FIRST_FRAGMENT, 3))),
        RelayDrop.ABOUT_ERROR,
    ),
    "from-nobody": (error(UNREACHABLE, in_tunnel(packet_of(100, UNSPECIFIED))), RelayDrop.NO_ONE_TO_TELL),
    "from-group": (error(TOO_BIG, in_tunnel(packet_of(1400, GROUP)), 1400), RelayDrop.NO_ONE_TO_TELL),
    "from-link": (
        error(UNREACHABLE, in_tunnel(packet_of(100, Address.parse("fe80::1")))),
        RelayDrop.NO_ONE_TO_TELL,
    ),
}


@pytest.mark.parametrize(("received", "reason"), DROPPED.values(), ids=DROPPED)
def test_what_is_not_passed_on_is_counted(
    relay: ErrorRelay, counters: Counter[str], received: IcmpError, reason: RelayDrop
) -> None:
    assert relay.receive(received, 0.0) is None
    assert counters == {f"icmp_relay_dropped_{reason}": 1}


@pytest.mark.parametrize(
    "original",
    [icmp(128), behind(60, OPTIONS, 129), behind(44, LATER_FRAGMENT, 3), icmp(1)[:40]],
    ids=["echo", "echo-behind-options", "later-fragment", "nothing-behind-header"],
)
def test_what_is_no_error_is_told_about(relay: ErrorRelay, original: bytes) -> None:
    _, destination, message = told(relay.receive(error(UNREACHABLE, in_tunnel(original)), 0.0))
    assert (destination, message.quoted) == (CN, original)


def test_packets_to_a_group_may_be_too_big_but_not_unreachable(counters: Counter[str]) -> None:
    relay = ErrorRelay(HA, lambda _: True, counters)
    to_group = in_tunnel(packet_of(1400, CN, GROUP))
    assert relay.receive(error(UNREACHABLE, to_group), 0.0) is None
    assert drops(counters) == {RelayDrop.MULTICAST: 1}
    assert relay.receive(error(TOO_BIG, to_group, 1400), 0.0) is not None


def test_one_sender_gets_so_many_a_second(relay: ErrorRelay, counters: Counter[str]) -> None:
    received = error(UNREACHABLE, in_tunnel(packet_of(100)))
    now, step, seconds = 0.0, 1 / 1024, 10
    done = 0
    for _ in range(seconds * 1024):
        done += relay.receive(received, now) is not None
        now += step
    assert RELAYED_TO_ONE_A_SECOND * seconds <= done <= RELAYED_TO_ONE_A_SECOND * (seconds + 2)
    assert drops(counters) == {RelayDrop.TOO_MANY_TO_ONE: seconds * 1024 - done}
    other = error(UNREACHABLE, in_tunnel(packet_of(100, Address.parse("3fff:c::11"))))
    assert relay.receive(other, now) is not None, "another sender has a share of its own"


def test_so_many_are_looked_into_and_their_senders_fill_no_memory(
    relay: ErrorRelay, counters: Counter[str]
) -> None:
    random, now = Random(1), 0.0
    done = 0
    tracemalloc.start()
    for _ in range(20_000):
        sender = Address(CN[:8] + random.randbytes(8))
        done += relay.receive(error(UNREACHABLE, in_tunnel(packet_of(100, sender))), now) is not None
        now += 1 / 8192
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 << 18
    assert done <= EXAMINED_A_SECOND * (1 + now) + 1
    assert done >= EXAMINED_A_SECOND * now * 0.9
    assert drops(counters)[RelayDrop.TOO_MANY] > 0
    assert sum(drops(counters).values()) == 20_000 - done


def test_octets_of_any_kind_raise_nothing(counters: Counter[str]) -> None:
    relay, random = ErrorRelay(HA, lambda _: True, counters), Random(2)
    seeds = [received.quoted for received, _ in DROPPED.values()] + [in_tunnel(in_tunnel(packet_of(1200)))]
    for turn in range(20_000):
        quoted = bytearray(random.choice(seeds)[: random.randrange(1233)])
        for _ in range(random.randrange(8)):
            if quoted:
                quoted[random.randrange(min(len(quoted), 90))] = random.choice((0, 41, 44, 58, 60, 255))
        answer = relay.receive(
            IcmpError(random.choice(list(IcmpErrorType)), random.randrange(256), turn % 1600, bytes(quoted)),
            turn / 10,
        )
        assert answer is None or len(answer) <= 1280
