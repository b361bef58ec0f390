"""What `haha show mobile-router` says at a Home Agent: of any mobile router it knows, where it is, since
when, through whom, or who would know; and why its last Binding Update came to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..protocol.binding import Binding, BindingKind
from ..protocol.home import HomeAgentConfig, MobileRouterPolicy
from ..protocol.home_agent import HomeAgent
from ..protocol.leaks import Hold
from ..protocol.refusals import Refusal
from ..protocol.time import Now
from ..wire.address import Address, Prefix
from .control import ControlError, Rows
from .policy_table import PolicyTable


def mobile_router_rows(core: HomeAgent, config: HomeAgentConfig, of: str | None, now: Now) -> Rows:
    """One row for the mobile router of a name or home address; without one, of each that is bound here or
    was refused. Raises ControlError for one that nobody knows."""
    policies: Iterable[MobileRouterPolicy]
    if of is not None:
        policies = [find_policy(config.mobile_routers, of)]
    else:
        seen = dict.fromkeys(binding.home_address for binding in core.bindings)
        seen |= dict.fromkeys((*core.refusals, *core.suspect_refusals))
        policies = [found for one in seen if (found := config.mobile_routers.get(one)) is not None]
    return [_row(core, config, policy, now) for policy in policies]


def find_policy(mobile_routers: Mapping[Address, MobileRouterPolicy], text: str) -> MobileRouterPolicy:
    """The mobile router of a name or home address. Raises ControlError."""
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


def primaries(config: HomeAgentConfig, home_address: Address) -> list[str]:
    """The names of the Home Agents that are primary for a home address."""
    own = [config.name] if config.is_primary_for(home_address) else []
    return [*own, *(peer.name for peer in config.primary_for(home_address))]


def place_of(core: HomeAgent, config: HomeAgentConfig, policy: MobileRouterPolicy) -> str:
    """The name of the other Home Agent that a mobile router is bound to, as far as it is known here: from
    the proxied binding, or from what is leaked. "" where it is not."""
    binding = core.bindings.get(policy.home_address)
    if binding is not None:
        return _peer_name(config, binding.peer) if binding.kind.is_elsewhere else ""
    last = core.bindings.last(policy.home_address)
    leaks = core.routes.leaks(policy.prefixes or (Prefix.host(policy.home_address),))
    newest = max(leaks, key=lambda route: route.sequence, default=None)
    # With that of the last binding here: what is left of it. What is there of another's goes on elsewhere.
    was_told = (
        last is not None and last.kind is BindingKind.REPLICA and config.is_asked_for(last.home_address)
    )
    least = 0 if last is None else last.mobility_sequence + (not was_told)
    if newest is None or newest.sequence < least:
        return ""
    return _peer_name(config, newest.next_hop)


def leak_state(core: HomeAgent, config: HomeAgentConfig, binding: Binding, now: Now) -> str:
    """Whether the other sites are told of a binding here, or why not; "" where that is not ours to say."""
    home_address = binding.home_address
    is_asked_for = config.is_asked_for(home_address) and not binding.kind.is_elsewhere
    if binding.kind is not BindingKind.PROXY and not is_asked_for:
        damped = core.damped(home_address, now)
        return f"held back: {Hold.FLAPPING}, {damped:.0f} s more" if damped else ""
    hold, until = core.leaks.state(home_address), core.leaks.damped_until(home_address)
    if hold is None:
        return "leaked"
    more = f", {until - now.monotonic:.0f} s more" if hold is Hold.FLAPPING and until is not None else ""
    return f"held back: {hold}{more}"


def _peer_name(config: HomeAgentConfig, haha: Address | None) -> str:
    return next((peer.name for peer in config.peers if peer.haha == haha), str(haha))


def _row(core: HomeAgent, config: HomeAgentConfig, policy: MobileRouterPolicy, now: Now) -> dict[str, Any]:
    binding = core.bindings.get(policy.home_address)
    row: dict[str, Any] = {
        "mobile_router": policy.name,
        "home_address": str(policy.home_address),
        "state": "bound" if binding is not None else "unbound",
    }
    if binding is not None:
        row |= {
            "care_of_address": str(binding.care_of_address),
            "through": _through(binding, config),
            "since": round(binding.registered, 3),
            "expires_in": round(binding.expires - now.monotonic, 1),
            "leak": leak_state(core, config, binding, now),
        }
        if policy.home_address in core.leaving and not binding.kind.is_elsewhere:
            row["told_to_switch"] = True
    else:
        last = core.bindings.last(policy.home_address)
        names = primaries(config, policy.home_address)
        row |= {
            "was_at": str(last.care_of_address) if last is not None else "",
            "ended": str(core.endings.get(policy.home_address, "")),
            "primary": names,
            "note": _where_to_ask(place_of(core, config, policy), config.name, names),
        }
    return row | {
        "prefixes": list(map(str, policy.prefixes if binding is None else binding.prefixes)),
        "last_refusal": _told(core.refusals.get(policy.home_address), config, now),
        "last_not_authentic": _told(core.suspect_refusals.get(policy.home_address), config, now),
    }


def _where_to_ask(place: str, own: str, primaries: list[str]) -> str:
    """Who would know of one that is not bound here."""
    if place:
        return f"not bound here, but at {place}"
    if own in primaries:
        return "not bound here, and this is its primary"
    return f"not bound here; its primary is {' or '.join(primaries)}" if primaries else "it has no primary"


def _through(binding: Binding, config: HomeAgentConfig) -> str:
    peer = _peer_name(config, binding.peer)
    if binding.kind is BindingKind.PROXIED:
        return f"proxy {peer}"
    if binding.kind is BindingKind.PROXY:
        return f"{config.name}, primary is {peer}"
    if binding.kind is BindingKind.SECONDARY:
        return f"satellite {peer}"
    if binding.kind is BindingKind.REPLICA:
        return peer
    return config.name


def _told(refusal: Refusal | None, config: HomeAgentConfig, now: Now) -> str:
    """What was answered, why, from where it came, how long ago."""
    if refusal is None:
        return ""
    answer = f"status {int(refusal.why)}" if isinstance(refusal.why, int) else "no answer"
    proxy = next((f" by {peer.name}" for peer in config.peers if peer.haha == refusal.proxy), "")
    ago = max(now.wall - refusal.at, 0.0)
    return f"{answer}: {refusal.reason}; from {refusal.source}{proxy}, {ago:.0f} s ago"
