"""What the tests of a Home Agent's guard share: packets for it, and whether they pass."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from haha_exabgp.lab.eventually import eventually
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.ipv6 import build_ipv6
from tests.lab.kernel_world import (
    CARE_OF,
    CN,
    HOME_ADDRESS,
    LFN,
    MNP,
    OUTER,
    Namespace,
    World,
    seen,
    sniffer,
    tunnelled,
    udp,
)

UPDATE = bytes.fromhex("3b010500ffff00070000000f01020000")
TUNNEL_LIMIT = bytes((41, 0, 4, 1, 4, 1, 1, 0))
"""Destination options with a Tunnel Encapsulation Limit of 4 (RFC 2473 s.4.1.1)."""
PERMITS = {(CARE_OF, MNP), (CARE_OF, Prefix.host(HOME_ADDRESS))}
FRAGMENTS = {
    # Destination options, more of them in the second fragment, then the tunnel packet.
    "what-follows-hidden": (60, bytes((60, 0, 1, 4, 0, 0, 0, 0)), bytes((41, 0, 1, 4, 0, 0, 0, 0))),
    "destination-hidden": (41, b"", b""),
}
"""Next header of the first fragment; what is in front of the inner packet in it and in the second."""


@contextmanager
def guarded(shared: World) -> Iterator[World]:
    """The world, with a guard that permits what the mobile router has bound, its counters zero."""
    with shared.ha1.namespace.entered():
        shared.ha1.guard.setup(PERMITS, frozenset())
        yield shared
        shared.ha1.guard.flush()


def arrives(world: World, sender: Namespace, packet: bytes, inner: bytes, at: str = "c-cn") -> bool:
    """True when `inner` comes out of ha1's tunnel end and passes the core's device, though with another hop
    limit. A packet that is known to pass comes last and says when to stop waiting."""
    last = udp(LFN, CN, port=9999)
    with sniffer(world.core, at) as packets, sniffer(world.core, "c-cn") as sentinels:
        sender.sends(packet)
        world.mr.sends(tunnelled(CARE_OF, last))
        eventually(lambda: holds(seen(sentinels), last), 2, "the last packet arrives", interval=0.002)
        return holds(seen(packets), inner)


def holds(packets: list[bytes], wanted: bytes) -> bool:
    return any(packet[:7] == wanted[:7] and packet[8:] == wanted[8:] for packet in packets)


def is_icmp(packet: bytes, type_: int) -> bool:
    return packet[6] == 58 and packet[40] == type_


def in_two_fragments(
    source: Address, inner: bytes, next_header: int, first: bytes, second: bytes
) -> tuple[bytes, bytes]:
    """A tunnel packet to ha1. The first fragment has the inner packet's source, if anything of it."""
    cut = 0 if first else 24
    parts = (first + inner[:cut], second + inner[cut:])
    # The second one's own word for what it is part of counts for nothing.
    heads = (
        struct.pack("!BBHI", next_header, 0, 1, 7),
        struct.pack("!BBHI", 17, 0, len(parts[0]), 7),
    )
    one, two = map(bytes.__add__, heads, parts)
    return build_ipv6(source, OUTER[1], 44, one), build_ipv6(source, OUTER[1], 44, two)
