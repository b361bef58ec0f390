"""Packets to begin with, and changes to them that keep enough of their form to get past the first checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from haha_exabgp.wire.checksum import ICMPV6, MOBILITY_HEADER, internet_checksum
from haha_exabgp.wire.errors import MalformedPacket
from haha_exabgp.wire.ipv6 import MobilityPacket, build_mobility, parse_packet
from haha_exabgp.wire.mobility import BindingUpdate, BindingUpdateFlag, encode_mobility
from tests.fuzz.machines import WORLDS, addresses
from tests.fuzz.target import SIGNED, WAITING
from tests.unit.test_wire_golden import CARE_OF, HOME, HOME_AGENT, PACKETS
from tests.unit.test_wire_golden_messages import GOLDEN
from tests.unit.test_wire_haha_options import LAYOUTS as HAHA_OPTIONS
from tests.unit.test_wire_options import TABLE as OPTIONS

LONGEST = 2600
"""Octets of an input."""
_BORDERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 18, 31, 32, 59, 127, 128, 134, 135, 136, 200, 254, 255)
_EXTENSIONS = (
    bytes((60, 0, 1, 4, 0, 0, 0, 0)),
    bytes((43, 0, 4, 1, 4, 0, 0, 0)),
    bytes((60, 2, 1, 2, 0, 0, 0xC9, 16)) + HOME,
    bytes((43, 2, 2, 1, 0, 0, 0, 0)) + HOME,
    bytes((44, 0, 0, 1, 0, 0, 0, 1)),
)


def seeds(seen: Sequence[bytes]) -> list[bytes]:
    """Packets with every message and option there is, and those `seen` on the way."""
    options = [option for option, *_ in OPTIONS] + [option for option, _ in HAHA_OPTIONS]
    made = [*PACKETS, *(bytes.fromhex(golden.packet) for golden in GOLDEN)]
    for option in options:
        update = BindingUpdate(1, BindingUpdateFlag(0xC400), 600, (option,))
        header = encode_mobility(update, HOME, HOME_AGENT)
        made.append(build_mobility(CARE_OF, HOME_AGENT, header, home_address=HOME))
    return list(dict.fromkeys((*made, *seen)))


class Mutator:
    """Makes inputs out of the seeds."""

    def __init__(self, packets: Sequence[bytes]) -> None:
        self._packets = packets
        self._addresses = addresses()
        self._changes: tuple[Callable[[bytearray, Random], None], ...] = (
            self._flip,
            self._set,
            self._set_number,
            self._cut,
            self._repeat,
            self._splice,
            self._address,
            self._extension,
            self._option,
        )

    def fresh(self, chance: Random) -> bytes:
        """A new input."""
        if chance.random() < 0.02:
            packet = b"\x60" + chance.randbytes(chance.randrange(300))
        else:
            packet = chance.choice(self._packets)
        return self.change(bytes((chance.randrange(WORLDS),)) + packet, chance)

    def change(self, data: bytes, chance: Random) -> bytes:
        """A few changes to an input."""
        packet = bytearray(data[1:])
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 5))):
            if packet:
                chance.choice(self._changes)(packet, chance)
        how = (SIGNED if chance.random() < 0.02 else 0) | (WAITING if chance.random() < 0.02 else 0)
        stage = data[0] & ~(SIGNED | WAITING) if data else 0
        return bytes((stage % WORLDS | how,)) + repair(packet[:LONGEST], chance)

    def _flip(self, packet: bytearray, chance: Random) -> None:
        packet[chance.randrange(len(packet))] ^= 1 << chance.randrange(8)

    def _set(self, packet: bytearray, chance: Random) -> None:
        packet[chance.randrange(len(packet))] = chance.choice(_BORDERS)

    def _set_number(self, packet: bytearray, chance: Random) -> None:
        at = chance.randrange(len(packet))
        packet[at : at + 2] = chance.randrange(65536).to_bytes(2, "big")

    def _cut(self, packet: bytearray, chance: Random) -> None:
        at = chance.randrange(len(packet))
        del packet[at : at + chance.choice((1, 2, 4, 8, 16, 24, len(packet)))]

    def _repeat(self, packet: bytearray, chance: Random) -> None:
        at = chance.randrange(len(packet))
        part = packet[at : at + chance.choice((1, 2, 4, 8, 16, 24))]
        packet[at:at] = part * chance.choice((1, 1, 1, 2, 40))

    def _splice(self, packet: bytearray, chance: Random) -> None:
        other = chance.choice(self._packets)
        at = chance.randrange(len(packet))
        packet[at:] = other[chance.randrange(len(other)) :]

    def _address(self, packet: bytearray, chance: Random) -> None:
        at = chance.choice((8, 24, 48, chance.randrange(len(packet))))
        packet[at : at + 16] = chance.choice(self._addresses)

    def _extension(self, packet: bytearray, chance: Random) -> None:
        if len(packet) >= 40:
            header = bytearray(chance.choice(_EXTENSIONS))
            header[0], packet[6] = packet[6], header[0]
            packet[40:40] = header

    def _option(self, packet: bytearray, chance: Random) -> None:
        """A mobility option of any type, where one may stand."""
        content = chance.randbytes(chance.choice((0, 1, 2, 4, 8, 16, 18, 20)))
        at = min(len(packet), chance.choice((76, 52, 48, len(packet))))
        packet[at:at] = bytes((chance.choice((*range(40), 200)), len(content))) + content


def repair(packet: bytearray, chance: Random) -> bytes:
    """Mostly with its lengths and its checksum made right again."""
    if len(packet) >= 40 and chance.random() < 0.95:
        packet[4:6] = min(len(packet) - 40, 0xFFFF).to_bytes(2, "big")
    try:
        parsed = parse_packet(bytes(packet))
    except MalformedPacket:
        parsed = None
        if len(packet) > 48 and packet[6] in (60, MOBILITY_HEADER) and chance.random() < 0.9:
            parsed = _with_length(packet)
    if parsed is None or chance.random() < 0.03:
        return bytes(packet)
    at, field = parsed.offset, 4 if isinstance(parsed, MobilityPacket) else 2
    if isinstance(parsed, MobilityPacket) and chance.random() < 0.8:
        packet += bytes(-(len(packet) - at) % 8)
        packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
        packet[at + 1] = min((len(packet) - at) // 8 - 1, 255)
    if len(packet) < at + 8:
        return bytes(packet)
    end = at + (packet[at + 1] + 1) * 8 if field == 4 else len(packet)
    kind = MOBILITY_HEADER if field == 4 else ICMPV6
    packet[at + field : at + field + 2] = bytes(2)
    checksum = internet_checksum(
        parsed.checksum_source, parsed.checksum_destination, kind, bytes(packet[at:end])
    )
    packet[at + field : at + field + 2] = checksum.to_bytes(2, "big")
    return bytes(packet)


def _with_length(packet: bytearray) -> MobilityPacket | None:
    """A packet whose Mobility Header says that it is longer than it is, put right."""
    at = 40 if packet[6] == MOBILITY_HEADER else 40 + (packet[41] + 1) * 8
    if at + 8 > len(packet):
        return None
    packet += bytes(-(len(packet) - at) % 8)
    packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
    packet[at + 1] = min((len(packet) - at) // 8 - 1, 255)
    try:
        parsed = parse_packet(bytes(packet))
    except MalformedPacket:
        return None
    return parsed if isinstance(parsed, MobilityPacket) else None
