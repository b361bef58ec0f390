"""Mobility messages as packets, made and read for the tests of the protocol core."""

from __future__ import annotations

from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import sign
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.ipv6 import MobilityPacket, build_mobility, parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingUpdate,
    MobilityMessage,
    decode_mobility,
)
from haha_exabgp.wire.options import AlternateCareOfAddress, MobileNetworkPrefix, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ASSOCIATION, HOA, MNP, World, peer

UPDATE_FLAGS = (
    BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION | BindingUpdateFlag.MOBILE_ROUTER
)


def message_of(packet: bytes) -> MobilityMessage | None:
    """What is in a packet's Mobility Header, its checksum checked; None when it has none."""
    parsed = parse_packet(packet)
    if not isinstance(parsed, MobilityPacket):
        return None
    return decode_mobility(parsed.header, parsed.checksum_source, parsed.checksum_destination)


def update_to(
    world: World,
    site: int,
    care_of_address: Address,
    sequence: int,
    *,
    lifetime: int = 600,
    ago: float = 0.0,
    prefix: Prefix = MNP,
    home_address: Address = HOA,
    key: bytes = ASSOCIATION.key,
) -> bytes:
    """A mobile router's own Binding Update as a packet."""
    options = (
        AlternateCareOfAddress(care_of_address),
        MobileNetworkPrefix(prefix),
        ReplayProtection(from_unix(world.now.wall - ago)),
    )
    message = BindingUpdate(sequence, UPDATE_FLAGS, lifetime, options)
    header = sign(
        message,
        home_address,
        peer(site).outer,
        key=key,
        spi=ASSOCIATION.spi,
        care_of_address=care_of_address,
        home_address=home_address,
    )
    return build_mobility(care_of_address, peer(site).outer, header, home_address=home_address)


def acknowledgements(world: World, to: Address) -> list[BindingAcknowledgement]:
    """What was sent to an address, in order."""
    found = []
    for packet in world.wire:
        if isinstance(packet, MobilityPacket) and packet.destination == to:
            message = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
            if isinstance(message, BindingAcknowledgement):
                found.append(message)
    return found
