"""A binding: where a mobile router is, as one Home Agent knows it (RFC 6275 s.9.1).

A Home Agent holds 100,000 of these and makes one for every Binding Update: named tuples cost a third of
frozen dataclasses to make.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from ..wire.address import Address, Prefix


class BindingKind(StrEnum):
    """Between whom the binding is (draft-thubert-mext-global-haha-01 s.6)."""

    DIRECT = "direct"
    """Mobile router to its primary Home Agent."""
    PROXIED = "proxied"
    """At the primary, made by a proxy on behalf of the mobile router: the primary binding."""
    PROXY = "proxy"
    """Mobile router to a proxy Home Agent, which made the primary binding with the primary."""
    SECONDARY = "secondary"
    """At the parent of a satellite, made by the satellite that is proxy for the mobile router: so that
    packets find the satellite by its parent, without the primary."""
    REPLICA = "replica"
    """At a Home Agent that could be primary too: what the primary has told it. `peer` is the Home Agent that
    holds the mobile router, which may be the primary or a proxy."""

    @property
    def is_elsewhere(self) -> bool:
        """The mobile router's tunnel does not end here."""
        return self in _ELSEWHERE


_ELSEWHERE = frozenset((BindingKind.PROXIED, BindingKind.SECONDARY, BindingKind.REPLICA))


class Ending(StrEnum):
    """Why a Home Agent has ended a binding."""

    EXPIRED = "expired"
    DEREGISTERED = "de-registered"
    MOVED = "moved"
    """To another Home Agent."""
    POLICY = "policy"
    """The policy no longer allows it, here or at the primary."""
    UNREACHED = "unreached"
    """The satellite that told us of it is reached no more."""
    REFUSED = "refused"
    """By the primary, when a proxy asked it to go on."""


class Order(NamedTuple):
    """What orders the Binding Updates of one mobile router, whoever relays them: the timestamp of its
    MESG-ID option (RFC 4285 s.6; in units of 2^-32 s, era resolved), then its sequence number."""

    timestamp: int
    """0 where replay protection is by sequence number alone."""
    sequence: int

    def is_newer_than(self, other: Order) -> bool:
        """Whether it comes after `other`: by sequence number, modulo 65536 (RFC 6275 s.9.5.1), where
        timestamps do not tell."""
        if self.timestamp != other.timestamp and self.timestamp and other.timestamp:
            return self.timestamp > other.timestamp
        return 1 <= (self.sequence - other.sequence) % 65536 <= 32767


class Binding(NamedTuple):
    """One entry of the binding cache, keyed by home address.

    A deleted binding stays as a tombstone (`expires` 0): its order and mobility sequence must outlive
    it, else a replayed Binding Update would be taken for a new one.
    """

    home_address: Address
    care_of_address: Address
    prefixes: tuple[Prefix, ...]
    mobile_router: bool
    """The R flag (RFC 3963 s.4.1)."""
    kind: BindingKind
    order: Order
    mobility_sequence: int
    """32 bits, handed out by the primary, once per change of attachment."""
    peer: Address | None
    """HAHA address of the proxy (PROXIED), of the primary (PROXY), of the satellite (SECONDARY), of who holds
    it (REPLICA); None when DIRECT."""
    registered: float
    """Wall clock: since when it is at this care-of address."""
    expires: float
    """Monotonic clock."""
    is_vouched: bool = False
    """Of a proxy that has no key of the mobile router: only its primary has verified it."""

    def routes(self) -> tuple[Prefix, ...]:
        """What is routed to the mobile router: its home address and its prefixes."""
        return (Prefix(self.home_address, 128), *self.prefixes)

    def leaked(self) -> tuple[Prefix, ...]:
        """What other sites should hear of when it is bound away from its primary site: the prefixes,
        or for a plain mobile node, which has none, its home address."""
        return self.prefixes or (Prefix(self.home_address, 128),)

    def means_the_same(self, other: Binding) -> bool:
        """True when kernel, guard and peers need not be told of the one in place of the other."""
        return self[1:3] == other[1:3] and self[4] is other[4] and self[6:8] == other[6:8]
