"""What `haha show mobile-router` says."""

from __future__ import annotations

from typing import Any

from ..protocol.egress import Attachment
from ..protocol.mobile_router import MobileRouter
from ..protocol.mobility import MobileRouterConfig, Refusal
from ..protocol.remedies import meaning
from ..protocol.time import Now


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
        "last_refusal": _refusal(core.last_refusal, now),
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


def _refusal(refusal: Refusal | None, now: Now) -> str:
    """Which status, what it means, by whom, how long ago."""
    if refusal is None:
        return ""
    ago = max(now.wall - refusal.at, 0.0)
    return f"{meaning(refusal.status)}, by {refusal.home_agent}, {ago:.0f} s ago"
