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
    Remember,
    Revoke,
    SetRoute,
    Transmit,
    Withdraw,
)
from ..protocol.routes import Announcement, Audience, KernelRoute
from ..wire.address import Address, Prefix

LettingIn = Permit | Admit
KeepingOut = Revoke | Dismiss
GuardEffect = LettingIn | KeepingOut


class Batch:
    """Of several effects about one thing the last counts."""

    def __init__(self, effects: Iterable[Effect]) -> None:
        self.routes: dict[tuple[Prefix, int], SetRoute | DeleteRoute] = {}
        self.guard: list[GuardEffect] = []
        self.announce: dict[tuple[Audience, Prefix], Announcement] = {}
        self.withdraw: dict[tuple[Audience, Prefix], Announcement] = {}
        self.bindings: dict[Address, Binding] = {}
        self.packets: list[bytes] = []
        self.notes: list[Note] = []
        add: dict[type, Callable[[Any], None]] = {
            Transmit: self._transmit,
            SetRoute: self._route,
            DeleteRoute: self._route,
            Permit: self.guard.append,
            Admit: self.guard.append,
            Revoke: self.guard.append,
            Dismiss: self.guard.append,
            Announce: self._announce,
            Withdraw: self._withdraw,
            Remember: self._remember,
            Note: self.notes.append,
        }
        for effect in effects:
            add[effect.__class__](effect)

    @property
    def concerns_kernel_or_store(self) -> bool:
        """False when there is nothing to wait for before the packets may leave."""
        return bool(self.routes or self.guard or self.bindings)

    def replaced_routes(self) -> Sequence[KernelRoute]:
        """To be added, or put in the place of what is there."""
        return [one.route for one in self.routes.values() if one.__class__ is SetRoute]

    def deleted_routes(self) -> Sequence[KernelRoute]:
        """To be taken away."""
        return [one.route for one in self.routes.values() if one.__class__ is DeleteRoute]

    def _transmit(self, effect: Transmit) -> None:
        self.packets.append(effect.packet)

    def _route(self, effect: SetRoute | DeleteRoute) -> None:
        route = effect.route
        self.routes[route.prefix, route.metric] = effect

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
