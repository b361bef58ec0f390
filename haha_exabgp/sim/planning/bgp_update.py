"""BGP UPDATE messages as ExaBGP sends them between the border Home Agents: to count their octets.

ExaBGP packs no two IPv6 prefixes into one message, so a message is one prefix.
"""

from __future__ import annotations

from struct import pack

from ...bgp.commands import PathAttributes
from ...wire.address import Prefix

TCP_AND_IPV6_OCTETS = 40 + 20 + 20
"""In front of a BGP message: IPv6, TCP, and the option of RFC 2385 with its padding."""

_MARKER = bytes(16 * [0xFF])
_UPDATE = 2
_IPV6_UNICAST = pack("!HB", 2, 1)
_TRANSITIVE, _OPTIONAL, _EXTENDED = 0x40, 0x80, 0x10


def announcement(prefix: Prefix, attributes: PathAttributes) -> bytes:
    """The UPDATE that announces a prefix over iBGP (RFC 4271 s.4.3, RFC 4760 s.3, RFC 8092 s.3)."""
    reach = b"".join((_IPV6_UNICAST, b"\x10", attributes.next_hop, b"\x00", _nlri(prefix)))
    communities = b"".join(pack("!III", *community) for community in attributes.large_communities)
    return _update(
        _attribute(_TRANSITIVE, 1, b"\x00"),
        _attribute(_TRANSITIVE, 2, b""),
        _attribute(_TRANSITIVE, 5, pack("!I", attributes.local_preference)),
        _attribute(_OPTIONAL | _TRANSITIVE, 32, communities),
        _attribute(_OPTIONAL, 14, reach),
    )


def withdrawal(prefix: Prefix) -> bytes:
    """The UPDATE that withdraws it (RFC 4760 s.4)."""
    return _update(_attribute(_OPTIONAL, 15, _IPV6_UNICAST + _nlri(prefix)))


def _nlri(prefix: Prefix) -> bytes:
    return bytes((prefix.length,)) + prefix.address[: (prefix.length + 7) // 8]


def _attribute(flags: int, code: int, value: bytes) -> bytes:
    if len(value) > 255:
        return pack("!BBH", flags | _EXTENDED, code, len(value)) + value
    return pack("!BBB", flags, code, len(value)) + value


def _update(*attributes: bytes) -> bytes:
    body = b"".join(attributes)
    return _MARKER + pack("!HBHH", 23 + len(body), _UPDATE, 0, len(body)) + body
