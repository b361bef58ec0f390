"""Moving a mobile router between Home Agents, and the packets between these, for the tests of both."""

from __future__ import annotations

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.authentication import sign
from haha_exabgp.wire.haha_options import RelayedBindingUpdate, split_relayed
from haha_exabgp.wire.ipv6 import build_mobility, parse_packet
from haha_exabgp.wire.mobility import BindingUpdate, seal
from haha_exabgp.wire.options import MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ACCESS, ASSOCIATION, HOA, MESH, MNP, World, peer
from tests.unit.mobility_messages import UPDATE_FLAGS, message_of

ACCESS3 = Address.parse("3fff:f03::aa")


class Hold:
    """Keeps the packets from one Home Agent to another that carry a kind of message, instead of losing
    them; `limit` of them."""

    def __init__(self, kind: type, source: bytes, destination: bytes, limit: int = 1000) -> None:
        self.kind, self.source, self.destination, self.limit = kind, source, destination, limit
        self.packets: list[bytes] = []

    def __call__(self, packet: bytes) -> bool:
        fits = packet[8:24] == self.source and packet[24:40] == self.destination
        if not fits or len(self.packets) == self.limit or not isinstance(message_of(packet), self.kind):
            return False
        self.packets.append(packet)
        return True


def attach_at(world: World, site: int, care_of_address: Address | None = None) -> None:
    """The mobile router attaches near a site."""
    world.closest = site
    world.mobile_router.attached(care_of_address or {**ACCESS, 3: ACCESS3}[site], world.now)
    world.settle()


def kinds(world: World) -> dict[int, BindingKind]:
    """The kind of binding that each Home Agent has."""
    return {index: one.kind for index, agent in world.agents.items() for one in agent.bindings}


def hop_update(world: World, relayed: RelayedBindingUpdate, *, via: int = 2, key: bytes = MESH.key) -> bytes:
    """A Binding Update between Home Agents: a proxy relays to the first."""
    options = (ReplayProtection(from_unix(world.now.wall)), *split_relayed(relayed))
    header = sign(
        BindingUpdate(9, UPDATE_FLAGS, 600, options),
        HOA,
        peer(1).haha,
        key=key,
        spi=MESH.spi,
        care_of_address=peer(via).haha,
        home_address=HOA,
    )
    return build_mobility(peer(via).haha, peer(1).haha, header, home_address=HOA)


def relayed_update(world: World, sequence: int, *, key: bytes = ASSOCIATION.key) -> RelayedBindingUpdate:
    """What a mobile router said to the second Home Agent, to be relayed."""
    message = BindingUpdate(
        sequence,
        UPDATE_FLAGS,
        600,
        (MobileNetworkPrefix(MNP), ReplayProtection(from_unix(world.now.wall))),
    )
    header = sign(
        message,
        HOA,
        peer(2).outer,
        key=key,
        spi=ASSOCIATION.spi,
        care_of_address=ACCESS[2],
        home_address=HOA,
    )
    return RelayedBindingUpdate(ACCESS[2], header)


def reseal(packet: bytes) -> bytes:
    """With its checksum made right again."""
    parsed = parse_packet(packet)
    header = bytearray(parsed.header)
    header[4:6] = bytes(2)
    return packet[: -len(header)] + seal(header, parsed.checksum_source, parsed.checksum_destination)
