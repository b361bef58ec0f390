"""Why the last Binding Update of a mobile router came to nothing, for the operator who asks.

What was authentic and what was not are kept apart: a stranger can neither forge the one nor push it out.
Of each home address that is known the last is kept, so that the memory is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..wire.address import Address
from ..wire.codes import Status
from .drops import Drop

REASONS: Mapping[int | Drop, str] = {
    Status.REASON_UNSPECIFIED: "the primary's acceptance could not be put into force",
    Status.ADMINISTRATIVELY_PROHIBITED: "not allowed through this Home Agent, or told to switch to another",
    Status.INSUFFICIENT_RESOURCES: "too many bindings or prefixes, or the primary does not answer",
    Status.HOME_REGISTRATION_NOT_SUPPORTED: "the node asked is no Home Agent",
    Status.NOT_HOME_SUBNET: "the home address is in no partition that is served, or its subnet is not valid",
    Status.NOT_HOME_AGENT: "there is no binding to de-register",
    Status.SEQUENCE_OUT_OF_WINDOW: "its number is not newer than the last accepted one",
    Status.REGISTRATION_TYPE_CHANGE_DISALLOWED: "H or R differ from those of the binding",
    Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED: "R is set without H",
    Status.INVALID_PREFIX: "a prefix lies outside Home, is bound to another home address, or R is not set",
    Status.NOT_AUTHORIZED_FOR_PREFIX: "a prefix is not one of this mobile router",
    Status.FORWARDING_SETUP_FAILED: "no prefix is configured for it, or one is bound to another",
    Status.IDENTIFICATION_MISMATCH: "its timestamp is off our clock, or not newer than the last accepted one",
    Status.MESSAGE_IDENTIFICATION_REQUIRED: "it has no timestamp",
    Status.AUTHENTICATION_FAILED: "its authenticator is wrong: the keys differ",
    Status.INVALID_CARE_OF_ADDRESS: (
        "its care-of address leads back to it, is behind too many mobile routers, or needs a tunnel inside"
        " a tunnel, which this host cannot send"
    ),
    Drop.NO_AUTHENTICATION: "it has no authenticator",
    Drop.UNKNOWN_SPI: "its security parameter index is not configured",
    Drop.BAD_AUTHENTICATOR: "its authenticator is wrong, or is not the last option",
    Drop.NOT_HOME_REGISTRATION: "H is not set",
    Drop.NONCE_INDICES_IN_HOME_REGISTRATION: "it has a Nonce Indices option",
    Drop.CARE_OF_ADDRESS_NOT_UNICAST: "its care-of address is not a routable unicast address",
    Drop.DUPLICATE: "the same Binding Update had come before",
    Drop.REPLAYED: "a newer one was under way",
    Drop.NOT_FOR_US: "it was meant for another Home Agent",
    Drop.TOO_MANY_RELAYED: "its key is its primary's, and too many such were to be relayed",
    Drop.UNANSWERABLE: "its key is its primary's, and there is no room for it here",
    Drop.NOT_VOUCHED_FOR: "its key is its primary's, which did not find it authentic",
}


class Refusal(NamedTuple):
    """One Binding Update that was refused or dropped."""

    why: int | Drop
    """The status of the acknowledgement; a `Drop` when there was none."""
    at: float
    """Wall clock."""
    source: Address
    """Where it came from."""
    proxy: Address | None
    """HAHA address of the proxy that relayed it."""

    @property
    def reason(self) -> str:
        """In words."""
        return REASONS.get(self.why, f"status {int(self.why)}" if isinstance(self.why, int) else self.why)


class Refusals:
    """The last one of each home address."""

    def __init__(self, home_addresses: Mapping[Address, object]) -> None:
        """`home_addresses`: those that are known, now and later."""
        self._known = home_addresses
        self.authentic: dict[Address, Refusal] = {}
        """Of Binding Updates that bore the right authenticator."""
        self.suspect: dict[Address, Refusal] = {}
        """Of others: anybody may have sent them."""

    def note(self, home_address: Address, refusal: Refusal, *, authentic: bool) -> None:
        """Remember one, in place of the one before."""
        refusals = self.authentic if authentic else self.suspect
        if home_address in self._known:
            refusals[home_address] = refusal
        if len(refusals) > len(self._known):
            # Mobile routers have been taken out of the configuration since.
            for gone in [one for one in refusals if one not in self._known]:
                del refusals[gone]
