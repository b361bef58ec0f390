"""What `haha show mobile-router` says at the mobile router itself."""

from __future__ import annotations

from typing import Any

from ..protocol.egress import Attachment
from ..protocol.mobile_router import MobileRouter
from ..protocol.mobility import MobileRouterConfig, Refusal
from ..protocol.remedies import meaning
from ..protocol.time import Now
from .control import ControlError


def view(
    core: MobileRouter, config: MobileRouterConfig, attachment: Attachment | None, now: Now
) -> dict[str, Any]:
    """One row: where it stands, by which interface, bound to whom and since when. Times in seconds."""
    row: dict[str, Any] = {
        "name": config.name,
        "state": str(core.state),
        "home_address": str(config.home_address),
        "egress": attachment.device if attachment else "",
        "router": str(attachment.router) if attachment else "",
        "care_of_address": str(core.care_of_address) if core.care_of_address else "",
        "home_agent": "",
        "since": "",
        "lifetime": 0,
        "refresh_in": 0.0,
        "expires_in": 0.0,
        "round_trip_ms": 0.0,
        "discovered": list(map(str, core.home_agents)),
        "last_refusal": _refusals(core, now),
    }
    registration = core.registration
    if registration is not None:
        row |= {
            "home_agent": str(registration.home_agent),
            "since": registration.since,
            "lifetime": registration.granted,
            "refresh_in": round(max(registration.refresh_at - now.monotonic, 0.0), 1),
            "expires_in": round(registration.expires - now.monotonic, 1),
            "round_trip_ms": round(registration.round_trip * 1000, 2),
        }
    return row


def check_name(config: MobileRouterConfig, of: str | None) -> None:
    """Raises ControlError when another mobile router than this one is asked about."""
    if of is not None and of != config.name and of != str(config.home_address):
        own = f"{config.name}, {config.home_address}"
        raise ControlError(f"this is the daemon of {own}; of {of} ask a Home Agent or its own daemon")


def _refusals(core: MobileRouter, now: Now) -> str:
    """The last one that is authentic; a later one that is not, told as such: what bears our Home Agent's
    address and another key is its answer when the keys differ, and may be anybody's."""
    last, suspect = core.last_refusal, core.suspect_refusal
    told = [_refusal(last, now)] if last is not None else []
    if suspect is not None and (last is None or last.at < suspect.at):
        told.append(f"not authentic: {_refusal(suspect, now)}")
    return "; ".join(told)


def _refusal(refusal: Refusal, now: Now) -> str:
    """Which status, what it means, by whom, how long ago."""
    ago = max(now.wall - refusal.at, 0.0)
    return f"{meaning(refusal.status)}, by {refusal.home_agent}, {ago:.0f} s ago"
