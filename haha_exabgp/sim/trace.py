"""What has happened, to be read by people: kept short, put into words only when it is printed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..wire.address import Address
from ..wire.checksum import MOBILITY_HEADER
from ..wire.codes import HahaOperation, MobilityType
from ..wire.errors import MalformedPacket
from ..wire.haha_options import BindingCacheInformation, MobilitySequence
from ..wire.icmpv6 import HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, decode_icmpv6
from ..wire.ipv6 import IcmpPacket, parse_packet
from ..wire.messages import (
    BindingAcknowledgement,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    BindingUpdate,
    HahaMessage,
    MobilityMessage,
)
from ..wire.mobility import decode_mobility
from ..wire.options import AlternateCareOfAddress, MobileNodeIdentifier, every_option, first_option
from .loop import EventLoop

_KEPT = 3000
_SHOWN = 60
"""Lines: kept of all that happens, shown of what concerns one home address."""


class _Entry(NamedTuple):
    time: float
    home_address: Address | None
    who: str
    template: str
    values: tuple[object, ...]


class Trace:
    """The last events; every one goes to `sink` too, in words, if there is one."""

    def __init__(self, loop: EventLoop, sink: Callable[[str], None] | None = None) -> None:
        self._loop = loop
        self._sink = sink
        self._entries: deque[_Entry] = deque(maxlen=_KEPT)
        self.names: Mapping[Address, str] = {}
        """What addresses are called."""
        self.home_addresses: Mapping[Address, object] = {}
        self.care_of_addresses: dict[Address, Address] = {}
        """Whose they are, by home address."""

    def add(self, home_address: Address | None, who: str, template: str, *values: object) -> None:
        """`template % values`, which concerns one mobile router, or all: None."""
        if home_address is None:
            for value in values:
                if value in self.home_addresses:
                    home_address = value  # type: ignore[assignment]
                    break
        entry = _Entry(self._loop.now, home_address, who, template, values)
        self._entries.append(entry)
        if self._sink is not None:
            self._sink(self._in_words(entry))

    def add_packet(self, who: str, octets: bytes) -> None:
        """A packet of signalling that leaves a host; whom it concerns is found out when somebody asks."""
        entry = _Entry(self._loop.now, None, who, "%s", (_Sent(octets, self.names),))
        self._entries.append(entry)
        if self._sink is not None:
            self._sink(self._in_words(entry))

    def _concerned(self, octets: bytes) -> Address | None:
        """The home address that a packet of signalling is about, if it says so or comes to who uses it."""
        try:
            packet = parse_packet(octets)
            home_address = packet.home_address or packet.routing_home_address
            if home_address is not None or isinstance(packet, IcmpPacket):
                return home_address or self.care_of_addresses.get(packet.destination)
            message = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
        except MalformedPacket:
            return None
        found = first_option(getattr(message, "options", ()), MobileNodeIdentifier)
        return Address(found.identifier) if found is not None and len(found.identifier) == 16 else None

    def story(self, home_address: Address | None) -> list[str]:
        """The last lines that concern a home address; None: everybody."""
        fitting = [one for one in self._entries if home_address is None or self._fits(one, home_address)]
        return [self._in_words(one) for one in fitting[-_SHOWN:]]

    def _fits(self, entry: _Entry, home_address: Address) -> bool:
        about = entry.home_address
        if entry.values and isinstance(entry.values[0], _Sent):
            if entry.values[0].is_hello:
                return False
            about = self._concerned(entry.values[0].octets)
        return about is None or about == home_address

    def _in_words(self, entry: _Entry) -> str:
        text = entry.template % entry.values if entry.values else entry.template
        return f"{entry.time:11.6f}  {entry.who:5}  {text}"


class _Sent:
    """A packet that is put into words if anybody asks."""

    def __init__(self, octets: bytes, names: Mapping[Address, str]) -> None:
        self.octets = octets
        self._names = names

    @property
    def is_hello(self) -> bool:
        """Nobody's in particular, and most of all there is."""
        octets = self.octets
        is_haha = octets[6] == MOBILITY_HEADER and octets[42] == MobilityType.EXPERIMENTAL
        return is_haha and octets[46] == HahaOperation.HELLO

    def __str__(self) -> str:
        try:
            packet = parse_packet(self.octets)
            message: object
            if isinstance(packet, IcmpPacket):
                message = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
            else:
                message = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
        except MalformedPacket as error:
            return f"malformed: {error.reason}"
        to = self._names.get(packet.destination, str(packet.destination))
        home_address = packet.home_address or packet.routing_home_address
        whose = "" if home_address is None else f" of {self._names.get(home_address, home_address)}"
        return f"-> {to}  {_describe(message)}{whose}"


def _describe(message: object) -> str:  # noqa: PLR0911  (one for each message)
    match message:
        case BindingUpdate():
            care_of = first_option(message.options, AlternateCareOfAddress)
            where = "" if care_of is None else f" CoA {care_of.address}"
            return f"BU seq {message.sequence} lifetime {message.lifetime}{where}{_sequence(message)}"
        case BindingAcknowledgement():
            last = first_option(message.options, BindingCacheInformation)
            known = "" if last is None else f" last accepted {last.sequence}"
            head = f"BA status {int(message.status)} seq {message.sequence} lifetime {message.lifetime}"
            return f"{head}{_sequence(message)}{known}"
        case BindingRevocationIndication():
            return f"BRI trigger {int(message.trigger)} seq {message.sequence}{_sequence(message)}"
        case BindingRevocationAcknowledgement():
            return f"BRA status {int(message.status)} seq {message.sequence}"
        case HomeAgentDiscoveryRequest():
            return f"DHAAD request {message.identifier}"
        case HomeAgentDiscoveryReply():
            return f"DHAAD reply {message.identifier}: {', '.join(map(str, message.addresses))}"
        case HahaMessage():
            return _describe_haha(message)
    return type(message).__name__


def _sequence(message: MobilityMessage) -> str:
    options = getattr(message, "options", ())
    found = first_option(options, MobilitySequence)
    return "" if found is None else f" mobility sequence {found.sequence}"


def _describe_haha(message: HahaMessage) -> str:
    bindings = [
        f" {one.home_address} CoA {one.care_of_address} seq {one.sequence} lifetime {one.lifetime}"
        for one in every_option(message.options, BindingCacheInformation)
    ]
    operation = HahaOperation(message.operation).name.replace("_", " ")
    return f"{operation} {message.identifier}{','.join(bindings)}"
