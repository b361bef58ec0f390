"""What `haha show mobile-router` says at a Home Agent: of any mobile router it knows, where it is, since
when, through whom, and why its last Binding Update came to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..protocol.binding import Binding, BindingKind
from ..protocol.home import HomeAgentConfig, MobileRouterPolicy
from ..protocol.home_agent import HomeAgent
from ..protocol.refusals import Refusal
from ..protocol.time import Now
from ..wire.address import Address
from .control import ControlError, Rows
from .policy_table import PolicyTable


def mobile_router_rows(core: HomeAgent, config: HomeAgentConfig, of: str | None, now: Now) -> Rows:
    """One row for the mobile router of a name or home address; without one, of each that is bound here or
    was refused. Raises ControlError for one that nobody knows."""
    policies: Iterable[MobileRouterPolicy]
    if of is not None:
        policies = [_find(config.mobile_routers, of)]
    else:
        seen = dict.fromkeys(binding.home_address for binding in core.bindings)
        seen |= dict.fromkeys((*core.refusals, *core.suspect_refusals))
        policies = [found for one in seen if (found := config.mobile_routers.get(one)) is not None]
    return [_row(core, config, policy, now) for policy in policies]


def _find(mobile_routers: Mapping[Address, MobileRouterPolicy], text: str) -> MobileRouterPolicy:
    try:
        found = mobile_routers.get(Address.parse(text))
    except ValueError:
        if isinstance(mobile_routers, PolicyTable):
            found = mobile_routers.named(text)
        else:
            found = next((one for one in mobile_routers.values() if one.name == text), None)
    if found is None:
        raise ControlError(f"no mobile router has the name or home address {text}")
    return found


def _row(core: HomeAgent, config: HomeAgentConfig, policy: MobileRouterPolicy, now: Now) -> dict[str, Any]:
    binding = core.bindings.get(policy.home_address)
    last = core.bindings.last(policy.home_address)
    row: dict[str, Any] = {
        "mobile_router": policy.name,
        "home_address": str(policy.home_address),
        "state": "bound" if binding is not None else "unbound",
        "care_of_address": "",
        "through": "",
        "since": "",
        "expires_in": 0.0,
        "prefixes": list(map(str, policy.prefixes)),
        "last_refusal": _told(core.refusals.get(policy.home_address), config, now),
        "last_not_authentic": _told(core.suspect_refusals.get(policy.home_address), config, now),
    }
    if binding is not None:
        row |= {
            "care_of_address": str(binding.care_of_address),
            "through": _through(binding, config),
            "since": round(binding.registered, 3),
            "expires_in": round(binding.expires - now.monotonic, 1),
            "prefixes": list(map(str, binding.prefixes)),
        }
    elif last is not None:
        row["state"] = f"unbound, was at {last.care_of_address}"
    return row


def _through(binding: Binding, config: HomeAgentConfig) -> str:
    peer = next((peer.name for peer in config.peers if peer.haha == binding.peer), str(binding.peer))
    if binding.kind is BindingKind.PROXIED:
        return f"proxy {peer}"
    if binding.kind is BindingKind.PROXY:
        return f"{config.name}, primary is {peer}"
    return config.name


def _told(refusal: Refusal | None, config: HomeAgentConfig, now: Now) -> str:
    """What was answered, why, from where it came, how long ago."""
    if refusal is None:
        return ""
    answer = f"status {int(refusal.why)}" if isinstance(refusal.why, int) else "no answer"
    proxy = next((f" by {peer.name}" for peer in config.peers if peer.haha == refusal.proxy), "")
    ago = max(now.wall - refusal.at, 0.0)
    return f"{answer}: {refusal.reason}; from {refusal.source}{proxy}, {ago:.0f} s ago"
