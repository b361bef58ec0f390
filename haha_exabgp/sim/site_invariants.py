"""What must hold between the Home Agents of a site, or of a partition, and between a satellite and its
parents.

All of it is agreed upon by messages and silence; so it is looked at when nothing has happened for a while,
though some may be down.
"""

from __future__ import annotations

from ..protocol.binding import BindingKind
from ..protocol.routes import Audience
from ..wire.address import Address
from . import bounds
from .home_agent import HomeAgentHost
from .situation import Situation
from .violation import Invariant

_PRIMARY = (BindingKind.DIRECT, BindingKind.PROXIED)


class SiteInvariants:
    """Looks at all Home Agents at once."""

    def __init__(self, situation: Situation) -> None:
        self._now = situation
        self._wrong_since: dict[tuple[object, ...], float] = {}
        self._wrong_before: dict[tuple[object, ...], float] = {}
        """What the last look found wrong, and the one before."""
        home = situation.home
        self._shared = [one for one, primaries in situation.primaries.items() if len(primaries) > 1]
        self._pairs = [
            site
            for site in dict.fromkeys(config.site for config in home.home_agents)
            if sum(config.site == site for config in home.home_agents) > 1
        ]

    def sweep(self) -> None:
        """What time alone brings to light."""
        now = self._now
        self._wrong_before, self._wrong_since = self._wrong_since, {}
        if now.settled_for <= bounds.SETTLED:
            return
        for home_address in self._shared:
            self._check_owner(home_address)
        for site in self._pairs:
            self._check_border(site)
        if all(host.speaker.link for host in now.hosts if host.core is not None):
            for host in now.hosts:
                if host.config.is_satellite:
                    self._check_parent(host)

    def _check_owner(self, home_address: Address) -> None:
        """F-2: of those that can be primary and are up one is; none is where the mobile router was bound to
        one that is down, or has lost its store, and has not come yet."""
        now = self._now
        up = {host.config.haha: host for host in now.hosts if host.core is not None}
        found = []
        is_reached = False
        for host in up.values():
            if host.name not in now.primaries[home_address] or host.core is None:
                continue
            binding = host.core.bindings.get(home_address)
            if binding is not None:
                found.append((host.name, binding.kind))
                holder = host if not binding.kind.is_elsewhere else up.get(binding.peer or host.config.haha)
                is_reached |= holder is not None and _holds(holder, home_address)
        primaries = [name for name, kind in found if kind in _PRIMARY]
        if len(primaries) > 1 or (not primaries and is_reached):
            what = ", ".join(f"{name} has it as {kind}" for name, kind in found)
            self._must_end(Invariant.TAKE_OVER, home_address, f"not one is primary: {what}")

    def _check_border(self, site: str) -> None:
        """One of those that are up announces its partition with an epoch."""
        leading = []
        for host in self._now.hosts:
            if host.config.site != site or host.core is None:
                continue
            told = host.speaker.announced.get(
                (Audience.OTHER_SITES, host.config.partition or host.config.home)
            )
            if not host.speaker.link or told is None:
                return  # if it leads, nobody hears of it: what the other announces is the reserve
            leading.append((host.name, told.sequence))
        if leading and sum(epoch > 0 for _, epoch in leading) != 1:
            what = ", ".join(f"{name} with epoch {epoch}" for name, epoch in leading)
            self._must_end(Invariant.BORDER, None, f"not one leads {site}: {what}")

    def _check_parent(self, host: HomeAgentHost) -> None:
        """Primaries know a satellite by what its parent in use lends."""
        now, core = self._now, host.core
        if core is None or core.routes.parent is None:
            return
        for binding in core.bindings:
            primary = next(one for one in now.hosts if one.config.haha == binding.peer)
            there = primary.core.bindings.get(binding.home_address) if primary.core is not None else None
            if there is None or there.kind is not BindingKind.PROXIED or there.peer != host.config.haha:
                continue
            if there.care_of_address != core.routes.upstream_address:
                place, parent = there.care_of_address, core.routes.parent
                what = f"{primary.name} knows {host.name} at {place}, not by {parent}"
                self._must_end(Invariant.PARENT, binding.home_address, what)

    def _must_end(self, invariant: Invariant, home_address: Address | None, what: str) -> None:
        now = self._now
        thing = (invariant, home_address, what)
        since = self._wrong_since[thing] = self._wrong_before.get(thing, now.loop.now)
        now.note(invariant, now.loop.now - since)
        if now.loop.now - since > bounds.AGREED:
            now.fail(invariant, home_address, f"for {now.loop.now - since:.0f} s: {what}")


def _holds(host: HomeAgentHost, home_address: Address) -> bool:
    binding = host.core.bindings.get(home_address) if host.core is not None else None
    return binding is not None and not binding.kind.is_elsewhere
