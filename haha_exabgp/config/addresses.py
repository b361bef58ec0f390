"""Which addresses a host of the Home may have."""

from __future__ import annotations

from ..wire.address import Address

_RESERVED_ANYCAST = range(0xFDFFFFFFFFFFFF80, 0xFE00000000000000)
"""Interface identifiers that every subnet reserves for anycast, Home Agents' among them (RFC 2526 s.2)."""


def unfit(address: Address) -> tuple[str, str] | None:
    """What is wrong with an address for one host, and what to do; None when nothing is."""
    identifier = int.from_bytes(address[8:], "big")
    if not address.is_routable_unicast:
        return f"{address} is not a routable unicast address", "write one that is"
    if identifier == 0:
        other = Address(address[:15] + b"\1")
        problem = f"{address} is the subnet-router anycast address of its /64 (RFC 4291 s.2.6.1)"
        return problem, f"write another, such as {other}"
    if identifier in _RESERVED_ANYCAST:
        return f"{address} is reserved for anycast (RFC 2526)", "write another"
    return None
