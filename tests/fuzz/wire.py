"""What must hold of the wire formats whatever the octets are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from haha_exabgp.protocol.icmp_relay import ErrorRelay
from haha_exabgp.wire.address import Address
from haha_exabgp.wire.authentication import find_authentication, verify
from haha_exabgp.wire.errors import DropReason, MalformedPacket
from haha_exabgp.wire.fast_registration import pull_usual_update
from haha_exabgp.wire.haha_options import join_relayed
from haha_exabgp.wire.icmpv6 import MAX_QUOTED, IcmpError, decode_icmpv6, encode_icmpv6
from haha_exabgp.wire.ipv6 import (
    MINIMUM_MTU,
    IcmpPacket,
    MobilityPacket,
    parse_from,
    parse_packet,
    parse_tunnelled,
)
from haha_exabgp.wire.mobility import (
    BindingUpdate,
    MobilityMessage,
    decode_mobility,
    decode_unchecked,
    encode_mobility,
)
from haha_exabgp.wire.options import (
    Authentication,
    AuthenticationSubtype,
    BindingAuthorizationData,
    MobileNetworkPrefix,
    every_option,
)

Value = TypeVar("Value")
SOURCE, DESTINATION = Address.parse("3fff:f01::aa"), Address.parse("3fff:101::a")
SOMEBODY = Address.parse("3fff:101::1")


def outcome(read: Callable[[], Value]) -> Value | tuple[DropReason, int]:
    """What `read` returns, or why the packet is malformed and where; anything else raised is a failure."""
    try:
        return read()
    except MalformedPacket as error:
        return error.reason, error.offset


def check_packet(packet: bytes) -> MobilityPacket | IcmpPacket | None:
    """Read a whole packet in every way there is; what it was read as, None when it is malformed."""
    whole = outcome(lambda: parse_packet(packet))
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        end = 40 + int.from_bytes(packet[4:6], "big")
        if end <= len(packet):
            ends = Address(packet[8:24]), Address(packet[24:40])
            by_socket = outcome(lambda: parse_from(packet[6], packet[40:end], *ends))
            assert by_socket == whole, f"a raw socket gives {by_socket}, the whole packet {whole}"
    in_tunnels = outcome(lambda: parse_tunnelled(packet))
    if isinstance(whole, MobilityPacket | IcmpPacket):
        assert in_tunnels == ((), whole), f"not in a tunnel, and read as {in_tunnels}"
    check_header(packet[-64:], SOURCE, DESTINATION)
    if isinstance(whole, MobilityPacket):
        check_header(whole.header, whole.checksum_source, whole.checksum_destination)
    elif isinstance(whole, IcmpPacket):
        check_icmpv6(whole.message, whole.checksum_source, whole.checksum_destination)
    else:
        return None
    return whole


def check_header(header: bytes, source: Address, destination: Address) -> None:
    """Everything that is done to the Mobility Header of a stranger."""
    checked = outcome(lambda: decode_mobility(header, source, destination))
    message = outcome(lambda: decode_unchecked(header))
    found = outcome(lambda: find_authentication(header))
    if isinstance(message, tuple):
        assert isinstance(checked, tuple)
        return
    assert checked in (message, (DropReason.BAD_CHECKSUM, 4))
    _check_comes_back(message, source, destination)
    subtypes = {option.subtype for option in message.options if isinstance(option, Authentication)}
    if not isinstance(found, tuple):
        assert (AuthenticationSubtype.MN_HA in subtypes) == (found is not None)
        if found is not None:
            assert found.option in message.options
            assert not verify(header, found, b"nobody's key", source, destination)
    else:
        assert subtypes & set(AuthenticationSubtype)
        assert found[0] is DropReason.AUTHENTICATION_NOT_LAST
    _check_short_way(header, message)
    relayed = outcome(lambda: join_relayed(message.options))
    if relayed is not None and not isinstance(relayed, tuple):
        outcome(lambda: decode_unchecked(relayed.header))
        outcome(lambda: find_authentication(relayed.header))


def _check_short_way(header: bytes, message: MobilityMessage) -> None:
    """What the short way reads in a Binding Update is what the long way has read."""
    usual = pull_usual_update(header[: (header[1] + 1) * 8])
    if usual is None:
        return
    assert isinstance(message, BindingUpdate)
    prefixes = tuple(option.prefix for option in every_option(message.options, MobileNetworkPrefix))
    assert (usual.sequence, usual.lifetime, usual.prefixes) == (message.sequence, message.lifetime, prefixes)
    found = find_authentication(header)
    assert found is not None
    assert (usual.spi, usual.signed) == (found.option.spi, found.offset + 7)


def _check_comes_back(message: MobilityMessage, source: Address, destination: Address) -> None:
    try:
        header = encode_mobility(message, source, destination)
    except ValueError as error:
        # What a receiver takes and we would not send (RFC 6275 s.6.2.7, and padding can make it too long).
        closed = any(isinstance(option, BindingAuthorizationData) for option in message.options)
        if closed or "2048" in str(error):
            return
        raise
    again = decode_mobility(header, source, destination)
    assert again == message
    assert encode_mobility(again, source, destination) == header


def check_icmpv6(message: bytes, source: Address, destination: Address) -> None:
    """Everything that is done to an ICMPv6 message of a stranger."""
    read = outcome(lambda: decode_icmpv6(message, source, destination))
    if isinstance(read, tuple):
        return
    if isinstance(read, IcmpError):
        _check_relay(read)
        read = replace(read, quoted=read.quoted[:MAX_QUOTED])
    octets = encode_icmpv6(read, source, destination)
    assert decode_icmpv6(octets, source, destination) == read


def _check_relay(error: IcmpError) -> None:
    for ours in (True, False):
        relay = ErrorRelay(SOMEBODY, lambda tunnelled, ours=ours: ours, Counter())  # type: ignore[misc]
        packet = relay.receive(error, 0.0)
        if packet is None:
            continue
        assert ours, "an error about a tunnel that is not ours was passed on"
        assert len(packet) <= MINIMUM_MTU
        passed_on = parse_packet(packet)
        assert isinstance(passed_on, IcmpPacket)
        assert passed_on.destination.is_routable_unicast
