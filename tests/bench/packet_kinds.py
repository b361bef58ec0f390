"""What the packets of a capture are, by what tshark says of them: kind, octets, messages in them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """Of messages that a move may cause, and of HELLO, which no move causes."""

    DISCOVERY = "discovery, request and reply"
    PREFIX_DISCOVERY = "prefix discovery"
    BINDING_UPDATE = "Binding Update"
    BINDING_ACKNOWLEDGEMENT = "Binding Acknowledgement"
    REVOCATION = "Binding Revocation Indication"
    REVOCATION_ACKNOWLEDGEMENT = "Binding Revocation Acknowledgement"
    BGP_UPDATE = "BGP UPDATE"
    HELLO = "HELLO"
    BINDING_INFORMATION = "binding information"
    RESOLUTION = "on demand, question and answer"
    PURGE = "on demand, purge"
    ACKNOWLEDGEMENT = "acknowledgement of these"
    REFRESH_REQUEST = "Binding Refresh Request"
    OTHER = "other mobility signalling"


_MOBILITY = {0: Kind.REFRESH_REQUEST, 5: Kind.BINDING_UPDATE, 6: Kind.BINDING_ACKNOWLEDGEMENT}
_EXPERIMENTAL, _REVOCATION = 11, 16
_REVOCATIONS = {1: Kind.REVOCATION, 2: Kind.REVOCATION_ACKNOWLEDGEMENT}
_OPERATIONS = {
    1: Kind.HELLO,
    2: Kind.BINDING_INFORMATION,
    3: Kind.BINDING_INFORMATION,
    4: Kind.ACKNOWLEDGEMENT,
    5: Kind.RESOLUTION,
    6: Kind.RESOLUTION,
    7: Kind.PURGE,
}
"""By the first octet of an Experimental message (RFC 5096)."""
_LAST_ERROR = 127
_ICMPV6 = {
    144: Kind.DISCOVERY,
    145: Kind.DISCOVERY,
    146: Kind.PREFIX_DISCOVERY,
    147: Kind.PREFIX_DISCOVERY,
}
_BGP_UPDATE = "2"
_IPV6_HEADER = 40


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet with messages of one kind. `at`: seconds of the wall clock; addresses are those of the
    outermost header; `octets` from that header on."""

    at: float
    source: str
    destination: str
    kind: Kind
    messages: int
    octets: int


_TIME, _LENGTH, _MOBILITY_TYPE = "frame.time_epoch", "ipv6.plen", "mip6.mhtype"
_REVOCATION_TYPE, _EXPERIMENTAL_DATA = "mip6.bri_br.type", "mip6.em.data"
_FIELDS = (
    _TIME,
    "ipv6.src",
    "ipv6.dst",
    _LENGTH,
    _MOBILITY_TYPE,
    _REVOCATION_TYPE,
    _EXPERIMENTAL_DATA,
    "bgp.type",
    "icmpv6.type",
)
_Fields = dict[str, list[str]]
"""Each as often as it is in the packet, from outside in."""


def read_packets(capture: Path) -> Iterator[Packet]:
    """The packets of a capture that have a kind. Raises CalledProcessError where tshark cannot read it."""
    wanted = [argument for field in _FIELDS for argument in ("-e", field)]
    form = ["-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=,"]
    command = ["tshark", "-n", "-r", str(capture), *form, *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        values = ([part for part in value.split(",") if part] for value in line.split("|"))
        fields = dict(zip(_FIELDS, values, strict=True))
        kind = _kind(fields)
        if kind is not None:
            yield Packet(
                at=float(fields[_TIME][0]),
                source=fields["ipv6.src"][0],
                destination=fields["ipv6.dst"][0],
                kind=kind,
                messages=fields["bgp.type"].count(_BGP_UPDATE) if kind is Kind.BGP_UPDATE else 1,
                octets=int(fields[_LENGTH][0]) + _IPV6_HEADER,
            )


def _kind(fields: _Fields) -> Kind | None:
    icmpv6 = [int(one) for one in fields["icmpv6.type"]]
    if icmpv6 and icmpv6[0] <= _LAST_ERROR:
        # It quotes a packet that was counted when it was sent.
        return None
    if fields[_MOBILITY_TYPE]:
        return _signalling(int(fields[_MOBILITY_TYPE][-1]), fields)
    if _BGP_UPDATE in fields["bgp.type"]:
        return Kind.BGP_UPDATE
    return _ICMPV6.get(icmpv6[-1]) if icmpv6 else None


def _signalling(mobility_type: int, fields: _Fields) -> Kind:
    if mobility_type == _REVOCATION:
        return _REVOCATIONS[int(fields[_REVOCATION_TYPE][-1])]
    if mobility_type == _EXPERIMENTAL:
        # The first is the message, those that follow are options.
        return _OPERATIONS.get(int(fields[_EXPERIMENTAL_DATA][0][:2], 16), Kind.OTHER)
    return _MOBILITY.get(mobility_type, Kind.OTHER)
