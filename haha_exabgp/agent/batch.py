"""The effects of one turn of a Home Agent, sorted by where they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..protocol.binding import Binding
from ..protocol.effects import (
    Admit,
    Announce,
    DeleteRoute,
    Dismiss,
    Effect,
    Note,
    Permit,
    Rebind,
    Remember,
    Revoke,
    SetRoute,
    Transmit,
    Unwatch,
    Watch,
    Withdraw,
)
from ..protocol.footprint import consequences
from ..protocol.home import HomeAgentConfig
from ..protocol.routes import Announcement, Audience, KernelRoute
from ..wire.address import Address, Prefix

LettingIn = Permit | Admit
KeepingOut = Revoke | Dismiss
GuardEffect = LettingIn | KeepingOut


class Batch:
    """Of several effects about one thing the last counts."""

    def __init__(self, effects: Iterable[Effect], config: HomeAgentConfig) -> None:
        self._config = config
        self.routes: dict[tuple[Prefix, int], SetRoute | DeleteRoute] = {}
        self.guard: list[GuardEffect] = []
        self.watched: dict[Prefix, bool] = {}
        """Whether packets to a prefix are counted from now on, or no more."""
        self.announce: dict[tuple[Audience, Prefix], Announcement] = {}
        self.withdraw: dict[tuple[Audience, Prefix], Announcement] = {}
        self.bindings: dict[Address, Binding] = {}
        self.packets: list[bytes] = []
        self.notes: list[Note] = []
        self._add: dict[type, Callable[[Any], None]] = {
            Rebind: self._rebind,
            Transmit: self._transmit,
            SetRoute: self._route,
            DeleteRoute: self._route,
            Permit: self.guard.append,
            Admit: self.guard.append,
            Revoke: self.guard.append,
            Dismiss: self.guard.append,
            Watch: self._watch,
            Unwatch: self._watch,
            Announce: self._announce,
            Withdraw: self._withdraw,
            Remember: self._remember,
            Note: self.notes.append,
        }
        self._add_all(effects)

    def replaced_routes(self) -> Sequence[KernelRoute]:
        """To be added, or put in the place of what is there."""
        return [one.route for one in self.routes.values() if one.__class__ is SetRoute]

    def deleted_routes(self) -> Sequence[KernelRoute]:
        """To be taken away."""
        return [one.route for one in self.routes.values() if one.__class__ is DeleteRoute]

    def _add_all(self, effects: Iterable[Effect]) -> None:
        add = self._add
        for effect in effects:
            add[effect.__class__](effect)

    def _rebind(self, effect: Rebind) -> None:
        self._add_all(consequences(effect.before, effect.after, self._config))

    def _transmit(self, effect: Transmit) -> None:
        self.packets.append(effect.packet)

    def _route(self, effect: SetRoute | DeleteRoute) -> None:
        route = effect.route
        self.routes[route.prefix, route.metric] = effect

    def _watch(self, effect: Watch | Unwatch) -> None:
        self.watched[effect.inner] = effect.__class__ is Watch

    def _announce(self, effect: Announce) -> None:
        told = effect.announcement
        key = (told.audience, told.prefix)
        self.announce[key] = told
        self.withdraw.pop(key, None)

    def _withdraw(self, effect: Withdraw) -> None:
        told = effect.announcement
        key = (told.audience, told.prefix)
        self.announce.pop(key, None)
        self.withdraw[key] = told

    def _remember(self, effect: Remember) -> None:
        self.bindings[effect.binding.home_address] = effect.binding
