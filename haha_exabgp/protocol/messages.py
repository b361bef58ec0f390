"""Signed mobility messages as whole packets, and the checks on received ones.

The home address identifies the security association (RFC 4285 s.3), and the care-of address of the
binding is covered by every authenticator, in both directions.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.address import Address
from ..wire.authentication import find_authentication, sign, verify, verify_aaa
from ..wire.errors import MalformedPacket
from ..wire.icmpv6 import encode_icmpv6, parameter_problem
from ..wire.ipv6 import MobilityPacket, build_icmpv6, build_mobility
from ..wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    HahaMessage,
    HomeAgentSwitch,
    MobilityMessage,
)
from ..wire.mobility import decode_mobility, encode_mobility
from ..wire.options import AuthenticationSubtype, MobileNodeIdentifier, first_option
from .drops import Drop
from .home import SecurityAssociation

_ADDRESS_IDENTIFIER = 2
"""Mobile Node Identifier subtype: an IPv6 address (IANA)."""


def decode(packet: MobilityPacket) -> MobilityMessage:
    """Check and read the Mobility Header of a packet. Raises MalformedPacket."""
    return decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)


def authenticate(
    header: bytes,
    care_of_address: Address,
    home_address: Address,
    associations: Iterable[SecurityAssociation],
) -> tuple[SecurityAssociation | None, Drop | None]:
    """The association that the SPI of a Mobility Header names, and what is wrong with its authenticator,
    None when nothing is."""
    try:
        found = find_authentication(header)
    except MalformedPacket:
        return None, Drop.BAD_AUTHENTICATOR
    if found is None:
        return None, Drop.NO_AUTHENTICATION
    for association in associations:
        if found.option.spi == association.spi:
            key, algorithm = association.key, association.algorithm
            right = verify(header, found, key, care_of_address, home_address, algorithm=algorithm)
            return association, None if right else Drop.BAD_AUTHENTICATOR
    return None, Drop.UNKNOWN_SPI


def authentication_fault(
    header: bytes, care_of_address: Address, home_address: Address, association: SecurityAssociation
) -> Drop | None:
    """As `authenticate`, where there is one association: what is wrong, None when nothing is."""
    return authenticate(header, care_of_address, home_address, (association,))[1]


def bears_aaa(header: bytes) -> bool:
    """Whether a Mobility Header has an MN-AAA authenticator, right or wrong."""
    try:
        return find_authentication(header, AuthenticationSubtype.MN_AAA) is not None
    except MalformedPacket:
        return False


def aaa_fault(
    header: bytes, care_of_address: Address, home_address: Address, association: SecurityAssociation
) -> Drop | None:
    """What is wrong with the MN-AAA authenticator of a Mobility Header, None when nothing is."""
    try:
        found = find_authentication(header, AuthenticationSubtype.MN_AAA)
    except MalformedPacket:
        return Drop.BAD_AUTHENTICATOR
    if found is None:
        return Drop.NO_AUTHENTICATION
    right = verify_aaa(header, found, association.key, care_of_address, home_address)
    return None if right else Drop.BAD_AUTHENTICATOR


def binding_update_packet(
    source: Address,
    destination: Address,
    home_address: Address,
    update: BindingUpdate,
    association: SecurityAssociation,
    *,
    aaa: SecurityAssociation | None = None,
) -> bytes:
    """A Binding Update from the care-of address `source`, with the Home Address option unless that is the
    home address itself (RFC 6275 s.11.5.5); with `aaa` an MN-AAA authenticator besides."""
    header = _signed(
        update,
        home_address,
        destination,
        association,
        care_of_address=source,
        home_address=home_address,
        aaa=aaa,
    )
    at_home = source == home_address
    return build_mobility(source, destination, header, home_address=None if at_home else home_address)


def acknowledgement_packet(
    source: Address,
    destination: Address,
    home_address: Address,
    acknowledgement: BindingAcknowledgement,
    association: SecurityAssociation,
    *,
    care_of_address: Address,
) -> bytes:
    """A Binding Acknowledgement to `destination`, the source of the Binding Update. The routing header
    is left out towards a mobile router that spoke from its home address (RFC 6275 s.9.5.4)."""
    header = acknowledgement_header(
        source, home_address, acknowledgement, association, care_of_address=care_of_address
    )
    return acknowledgement_with(header, source, destination, home_address)


def acknowledgement_header(
    source: Address,
    home_address: Address,
    acknowledgement: BindingAcknowledgement,
    association: SecurityAssociation,
    *,
    care_of_address: Address,
) -> bytes:
    """Its Mobility Header, for a packet from `source`."""
    return _signed(
        acknowledgement,
        source,
        home_address,
        association,
        care_of_address=care_of_address,
        home_address=home_address,
    )


def acknowledgement_with(
    header: bytes, source: Address, destination: Address, home_address: Address
) -> bytes:
    """The packet around a Mobility Header made for it."""
    at_home = destination == home_address
    return build_mobility(source, destination, header, routing_home_address=None if at_home else home_address)


def revocation_packet(
    source: Address,
    destination: Address,
    home_address: Address,
    message: BindingRevocationIndication | BindingRevocationAcknowledgement,
    association: SecurityAssociation,
) -> bytes:
    """A revocation message between two Home Agents. The authenticator covers the receiver's address in
    place of a care-of address: neither side's message can be returned to it as the other's."""
    header = _signed(
        message, source, destination, association, care_of_address=destination, home_address=home_address
    )
    return build_mobility(source, destination, header)


def haha_packet(
    source: Address, destination: Address, message: HahaMessage, association: SecurityAssociation
) -> bytes:
    """A message between two Home Agents that is about no one binding. The authenticator covers both of
    their addresses: it can be brought to nobody else, nor be returned to its sender."""
    header = _signed(
        message, source, destination, association, care_of_address=destination, home_address=source
    )
    return build_mobility(source, destination, header)


def notice_packet(
    source: Address,
    care_of_address: Address,
    home_address: Address,
    message: BindingRefreshRequest | HomeAgentSwitch,
    association: SecurityAssociation,
) -> bytes:
    """What a Home Agent tells a mobile router unasked, signed as an acknowledgement would be."""
    header = _signed(
        message, source, home_address, association, care_of_address=care_of_address, home_address=home_address
    )
    return build_mobility(source, care_of_address, header, routing_home_address=home_address)


def _signed(
    message: MobilityMessage,
    checksum_source: Address,
    checksum_destination: Address,
    association: SecurityAssociation,
    *,
    care_of_address: Address,
    home_address: Address,
    aaa: SecurityAssociation | None = None,
) -> bytes:
    return sign(
        message,
        checksum_source,
        checksum_destination,
        key=association.key,
        spi=association.spi,
        care_of_address=care_of_address,
        home_address=home_address,
        algorithm=association.algorithm,
        aaa_key=None if aaa is None else aaa.key,
    )


def identify(home_address: Address) -> MobileNodeIdentifier:
    """The option that says whose binding a revocation message is about."""
    return MobileNodeIdentifier(_ADDRESS_IDENTIFIER, home_address)


def identified_home_address(options: Iterable[object]) -> Address | None:
    """What `identify` said; None when nothing or something else is said."""
    option = first_option(options, MobileNodeIdentifier)
    if option is None or option.subtype != _ADDRESS_IDENTIFIER or len(option.identifier) != 16:
        return None
    return Address(option.identifier)


def binding_error_packet(source: Address, destination: Address, home_address: Address, status: int) -> bytes:
    """A Binding Error (RFC 6275 s.9.3.3); it is never authenticated."""
    header = encode_mobility(BindingError(status, home_address), source, destination)
    return build_mobility(source, destination, header)


def parameter_problem_packet(packet: MobilityPacket, error: MalformedPacket) -> bytes:
    """The ICMPv6 Parameter Problem about a Mobility Header, straight to the packet's source (RFC 6275 s.9.2).

    `error` is one with a `parameter_problem_code`. What is quoted is the packet put together again.
    """
    code = error.parameter_problem_code
    assert code is not None
    quoted = build_mobility(
        packet.source,
        packet.destination,
        packet.header,
        home_address=packet.home_address,
        routing_home_address=packet.routing_home_address,
    )
    complaint = parameter_problem(code, len(quoted) - len(packet.header) + error.offset, quoted)
    message = encode_icmpv6(complaint, packet.destination, packet.source)
    return build_icmpv6(packet.destination, packet.source, message)
