"""Reading a mobile router's Binding Update and telling whether it is authentic."""

from __future__ import annotations

from ..wire.address import Address
from ..wire.checksum import MOBILITY_HEADER, checksum_is_right
from ..wire.codes import BindingUpdateFlag
from ..wire.errors import DropReason, MalformedPacket
from ..wire.fast_registration import UsualUpdate, is_signed_with, pull_usual_update
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import BindingUpdate
from ..wire.mobility import cut_to_length, decode_unchecked
from .drops import Drop
from .home import MobileRouterPolicy, SecurityAssociation
from .messages import authenticate
from .request import Request, make_request, read_request

Reading = tuple[Request, SecurityAssociation | None, Drop | None]
"""What is asked; the association that its SPI names; what is wrong with its authenticator."""

_KNOWN_FLAGS = sum(BindingUpdateFlag)


def read_update(packet: MobilityPacket, home_address: Address, policy: MobileRouterPolicy) -> Reading:
    """Read and check a packet whose MH Type is that of a Binding Update. Raises MalformedPacket."""
    header = cut_to_length(packet.header)
    if not checksum_is_right(home_address, packet.checksum_destination, MOBILITY_HEADER, header):
        raise MalformedPacket(DropReason.BAD_CHECKSUM, 4)
    usual = pull_usual_update(header)
    if usual is not None:
        return _read_usual(usual, header, packet.source, home_address, policy)
    update = decode_unchecked(header)
    assert isinstance(update, BindingUpdate)
    request = read_request(update, packet.source, home_address, policy.replay)
    return request, *authenticate(header, request.care_of_address, home_address, policy.associations)


def _read_usual(
    usual: UsualUpdate, header: bytes, source: Address, home_address: Address, policy: MobileRouterPolicy
) -> Reading:
    sequence, flags, lifetime, prefixes, care_of_address, timestamp, home_agent, spi, signed = usual
    request = make_request(
        home_address,
        care_of_address or source,
        flags & _KNOWN_FLAGS,
        sequence,
        lifetime,
        prefixes,
        timestamp,
        policy.replay,
        addressee=home_agent,
    )
    for association in policy.associations:
        if association.spi == spi:
            right = is_signed_with(
                header,
                signed,
                association.key,
                association.algorithm,
                request.care_of_address,
                home_address,
            )
            return request, association, None if right else Drop.BAD_AUTHENTICATOR
    return request, None, Drop.UNKNOWN_SPI
