"""One input of the fuzzer, and what must hold of it.

An input is one octet and a whole IPv6 packet. The low bits of the octet say to which of the worlds of
`machines` the packet comes; the upper two whether it comes from an insider as well, and whether time passes
after it.
"""

from __future__ import annotations

from haha_exabgp.wire.ipv6 import MobilityPacket
from tests.fuzz.machines import WORLDS, Machines
from tests.fuzz.wire import check_packet

SIGNED = 0x80
WAITING = 0x40


class Target:
    """Checks one input after the other; raises whatever is wrong."""

    def __init__(self) -> None:
        self.machines = Machines()

    def check(self, data: bytes) -> None:
        """Raise when one of the invariants does not hold."""
        if not data:
            return
        stage = (data[0] & ~(SIGNED | WAITING)) % WORLDS
        packet = check_packet(data[1:])
        if packet is None:
            return
        self.machines.deliver(stage, packet)
        if data[0] & WAITING:
            self.machines.deliver_and_wait(stage, packet)
        if data[0] & SIGNED and isinstance(packet, MobilityPacket):
            self.machines.deliver_signed(stage, packet)
