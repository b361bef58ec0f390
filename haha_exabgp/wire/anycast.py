"""The Mobile IPv6 Home-Agents anycast address, where discovery requests go (RFC 2526 s.2, s.4)."""

from __future__ import annotations

from .address import Address, Prefix

_EUI64_FORM = bytes.fromhex("fdfffffffffffffe")
_LONGEST = 121
"""The anycast identifier takes 7 bits."""


def home_agents_anycast(prefix: Prefix) -> Address:
    """The anycast address of the home subnet `prefix`.

    For a /64 the universal/local bit of the interface identifier is zero; for any other length every
    bit after the prefix is one but the last. Raises ValueError for a prefix longer than /121.
    """
    if prefix.length == 64:
        return Address(prefix.address[:8] + _EUI64_FORM)
    if prefix.length > _LONGEST:
        raise ValueError(f"{prefix} has no room for the 7-bit anycast identifier")
    host_bits = (1 << 128 - prefix.length) - 2
    return Address((int.from_bytes(prefix.address, "big") | host_bits).to_bytes(16, "big"))


def is_home_agents_anycast(address: bytes, inside: Prefix) -> bool:
    """True when `address` lies in `inside` and is the anycast address of a home subnet there.

    A receiver cannot know the length a mobile router gives its home subnet, so every length from
    `inside.length` to 120 counts (RFC 2526 leaves interface identifiers at least 8 bits), and 121 when
    `inside` itself is that long. A form for a short prefix is also one for every longer prefix up to
    its last octet, and the /64 form ends in the same octet, so all of it comes down to the last octet
    being 0xfe. That takes in unicast addresses ending so: only ask it about the destination of a
    discovery request, which has no business at a unicast address.
    """
    if inside.length > _LONGEST or not inside.contains(address):
        return False
    if inside.length == _LONGEST:
        return address[15] & 0x7F == 0x7E
    return address[15] == 0xFE
