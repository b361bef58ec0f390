"""What a mobile router is, where it stands, and what it asks of the world."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..wire.address import Address, Prefix
from .effects import Note, Transmit
from .home import ReplayProtectionMode, SecurityAssociation


class State(StrEnum):
    """Where a mobile router stands."""

    DETACHED = "detached"
    """No care-of address."""
    SEARCHING = "searching"
    """Has a care-of address, no binding with it yet."""
    BOUND = "bound"
    """A Home Agent has accepted the present care-of address."""
    AT_HOME = "at home"
    """On its home link: it needs no binding."""
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
class AcceptFrom:
    """Take packets out of the tunnel in use from these, in place of those accepted so far: Home Agents that
    are asked for a binding may send before we have heard that they granted it."""

    accepted: frozenset[Address]


@dataclass(frozen=True, slots=True)
class UseHomeLink:
    """At home: what comes from the mobile networks goes out by the home link's router, in no tunnel."""


@dataclass(frozen=True, slots=True)
class CloseTunnel:
    """No binding: packets from the mobile networks have no way out."""


@dataclass(frozen=True, slots=True)
class DoubtEgress:
    """Nobody answers what leaves from this care-of address: another egress interface may do better."""

    care_of_address: Address


MobileRouterEffect = Transmit | UseTunnel | AcceptFrom | UseHomeLink | CloseTunnel | DoubtEgress | Note


@dataclass(frozen=True, slots=True)
class MobileRouterConfig:
    """One mobile router, or plain mobile node. `lifetime`: seconds; `announced` is empty in implicit mode."""

    name: str
    home_address: Address
    announced: tuple[Prefix, ...]
    association: SecurityAssociation | tuple[SecurityAssociation, ...]
    """Several while a key is being changed: the first signs, each is accepted in answers."""
    lifetime: int
    replay: ReplayProtectionMode = ReplayProtectionMode.TIMESTAMP
    aaa: SecurityAssociation | None = None
    """With it a Binding Update bears an MN-AAA authenticator too, for Home Agents that have no key of
    ours."""
    is_router: bool = True
    """False: a plain mobile node, with a home address and no networks; its Binding Updates have no R flag."""

    @property
    def associations(self) -> tuple[SecurityAssociation, ...]:
        """All of them, the one that signs first."""
        one = self.association
        return (one,) if isinstance(one, SecurityAssociation) else one


@dataclass(frozen=True, slots=True)
class Registration:
    """The binding as the mobile router knows it; times on the monotonic clock but for `since`."""

    home_agent: Address
    care_of_address: Address
    granted: int
    """Seconds."""
    refresh_at: float
    expires: float
    round_trip: float
    """Seconds between the Binding Update and its acknowledgement."""
    since: float
    """When this Home Agent first accepted this care-of address, in seconds since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A Binding Update that was refused: by whom, why, and when in seconds since the Unix epoch."""

    home_agent: Address
    status: int
    at: float
