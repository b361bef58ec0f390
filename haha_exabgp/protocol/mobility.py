"""What a mobile router is, where it stands, and what it asks of the world."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..wire.address import Address, Prefix
from .effects import Note, Transmit
from .home import SecurityAssociation


class State(StrEnum):
    """Where a mobile router stands."""

    DETACHED = "detached"
    """No care-of address."""
    SEARCHING = "searching"
    """Has a care-of address, no binding with it yet."""
    BOUND = "bound"
    """A Home Agent has accepted the present care-of address."""
    LEAVING = "leaving"
    """De-registration sent, no acknowledgement yet."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class UseTunnel:
    """Send what comes from the mobile networks through `home_agent`, and take packets from `accepted`."""

    home_agent: Address
    care_of_address: Address
    accepted: frozenset[Address]


@dataclass(frozen=True, slots=True)
class CloseTunnel:
    """No binding: packets from the mobile networks have no way out."""


MobileRouterEffect = Transmit | UseTunnel | CloseTunnel | Note


@dataclass(frozen=True, slots=True)
class MobileRouterConfig:
    """One mobile router. `lifetime` in seconds; `announced` is empty in implicit mode."""

    name: str
    home_address: Address
    announced: tuple[Prefix, ...]
    association: SecurityAssociation
    lifetime: int


@dataclass(frozen=True, slots=True)
class Registration:
    """The binding as the mobile router knows it; times on the monotonic clock."""

    home_agent: Address
    care_of_address: Address
    granted: int
    """Seconds."""
    refresh_at: float
    expires: float
    round_trip: float
    """Seconds between the Binding Update and its acknowledgement."""
