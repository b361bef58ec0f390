"""Why a received packet is dropped before anything is decided about it."""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """Named reasons; the value is a metric's label."""

    TRUNCATED = "truncated"
    """Shorter than its own length fields say."""
    NOT_IPV6 = "not_ipv6"
    FRAGMENTED = "fragmented"
    """A fragment: no mobility message of ours needs fragmentation."""
    BAD_DESTINATION_OPTION = "bad_destination_option"
    """A Home Address option of another length than 16, or a second one (RFC 6275 s.6.3)."""
    UNKNOWN_DESTINATION_OPTION = "unknown_destination_option"
    """An option whose type asks for a discard when it is not known (RFC 8200 s.4.2)."""
    BAD_HOME_ADDRESS = "bad_home_address"
    """A Home Address option that holds no routable unicast address (RFC 6275 s.9.3.1)."""
    BAD_ROUTING_HEADER = "bad_routing_header"
    """A type 2 routing header that breaks RFC 6275 s.6.4.1 or s.11.3.3, or a second one."""
    UNKNOWN_ROUTING_TYPE = "unknown_routing_type"
    """Another routing header with segments left (RFC 8200 s.4.4)."""
    NOT_MOBILITY = "not_mobility"
    """The upper layer is neither Mobility Header nor ICMPv6."""
    BAD_CHECKSUM = "bad_checksum"
    UNKNOWN_MOBILITY_TYPE = "unknown_mobility_type"
    """To be answered with Binding Error status 2 (RFC 6275 s.9.2)."""
    BAD_PAYLOAD_PROTO = "bad_payload_proto"
    HEADER_LEN_TOO_SHORT = "header_len_too_short"
    TRUNCATED_OPTION = "truncated_option"
    """A mobility option that runs past the end of the Mobility Header."""
    BAD_OPTION = "bad_option"
    """A known mobility option with a wrong length, or with a value that cannot exist."""
    AUTHENTICATION_NOT_LAST = "authentication_not_last"
    """Something stands behind the authenticator, where nothing protects it (RFC 4285 s.5.1)."""
    UNKNOWN_REVOCATION_TYPE = "unknown_revocation_type"
    UNKNOWN_HAHA_VERSION = "unknown_haha_version"
    UNKNOWN_HAHA_OPERATION = "unknown_haha_operation"
    BAD_RELAYED_PARTS = "bad_relayed_parts"
    """Parts of a relayed Binding Update are missing, repeated, out of order or do not fit."""
    UNKNOWN_ICMPV6_TYPE = "unknown_icmpv6_type"
    BAD_ICMPV6 = "bad_icmpv6"
    """An ICMPv6 message of a known type with a wrong length or code."""


_PARAMETER_PROBLEM_CODES = {
    DropReason.BAD_PAYLOAD_PROTO: 0,
    DropReason.HEADER_LEN_TOO_SHORT: 0,
    DropReason.UNKNOWN_ROUTING_TYPE: 0,
    DropReason.UNKNOWN_DESTINATION_OPTION: 2,
}


class MalformedPacket(ValueError):
    """A packet that has to be dropped.

    `offset` is that of the octet at fault, in octets from the start of what was being decoded: the
    IPv6 header for the functions of `ipv6`, the Mobility Header for those of `mobility`,
    `authentication` and the options, the ICMPv6 header for those of `icmpv6`.
    """

    def __init__(self, reason: DropReason, offset: int = 0) -> None:
        super().__init__(f"{reason.value} at octet {offset}")
        self.reason = reason
        self.offset = offset

    @property
    def parameter_problem_code(self) -> int | None:
        """Code of the ICMPv6 Parameter Problem that answers this packet, or None when it is dropped
        in silence (RFC 6275 s.9.2, RFC 8200 s.4.2 and s.4.4)."""
        return _PARAMETER_PROBLEM_CODES.get(self.reason)
