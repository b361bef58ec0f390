"""Which egress interface of a mobile router is used, and with which care-of address.

Rules, all in this file:

1. The most preferred interface that is usable is used: it has an address, and a router that answers as far as
   is known.
2. When the one in use fails, the next is used at once. Where there is no next, a failure is believed after
   `GRACE`: a router that renews its advertisement, or a cable pulled and put back, is no move.
3. A better one that comes (back) is used once it has been good for `STABLE`.
4. A router that does not answer (RFC 4861 s.7.3), or Home Agents that do not, make an interface doubtful:
   used only if the others are no better. A router is believed again when it has been heard, Home Agents
   after `DOUBT`.
5. A care-of address stays as long as it is usable and its router is there. With another router the address
   that came last is taken: a router that is now on the link has advertised it (RFC 6275 s.11.5.1).
6. The home address on an egress interface means being at home: it comes before all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..wire.address import Address

STABLE = 3.0
GRACE = 0.5
DOUBT = 60.0
"""Seconds."""


class Attachment(NamedTuple):
    """Where to send from, and to which router."""

    device: str
    care_of_address: Address
    router: Address


@dataclass(frozen=True, slots=True)
class Uplink:
    """What is known of an egress interface that is plugged in."""

    addresses: tuple[Address, ...]
    """Usable ones, the newest first."""
    routers: tuple[Address, ...]
    """That offer a default route."""
    answering: frozenset[Address] = frozenset()
    """Routers that have lately been heard."""
    failed: frozenset[Address] = frozenset()
    """Routers that do not answer Neighbour Solicitations."""


@dataclass(slots=True)
class _Interface:
    offer: Attachment | None = None
    silent: bool = False
    """Its router does not answer."""
    doubted_until: float = 0.0
    changed_at: float = 0.0
    """Since when it has been as good, or as bad, as it is."""

    def is_doubtful(self, now: float) -> bool:
        return self.silent or now < self.doubted_until

    def good_since(self) -> float:
        return max(self.changed_at, self.doubted_until)


class EgressChoice:
    """Follows the egress interfaces of one mobile router; times are on the monotonic clock."""

    def __init__(self, devices: Sequence[str], home_address: Address) -> None:
        """`devices` in order of preference."""
        self._interfaces = {device: _Interface() for device in devices}
        self._order = {device: place for place, device in enumerate(devices)}
        self._home_address = home_address
        self._lost_at: float | None = None
        self.current: Attachment | None = None
        """What `choose` gave last."""

    def offer_of(self, device: str) -> Attachment | None:
        """What an interface would be used with."""
        return self._interfaces[device].offer

    def is_silent(self, device: str) -> bool:
        """True when its router has stopped answering."""
        return self._interfaces[device].silent

    def update(self, device: str, uplink: Uplink | None, now: float) -> None:
        """News of an interface; None: it is down, unplugged or gone."""
        interface = self._interfaces[device]
        offer = None if uplink is None else self._offer(device, uplink, interface.offer)
        silent = False
        if uplink is not None and offer is not None:
            heard_again = offer.router in uplink.answering
            silent = offer.router in uplink.failed or (interface.silent and not heard_again)
        if (offer is None) != (interface.offer is None) or silent != interface.silent:
            interface.changed_at = now
        interface.offer, interface.silent = offer, silent

    def doubt(self, care_of_address: Address, now: float) -> None:
        """No Home Agent answers what leaves from here."""
        if self.current is not None and self.current.care_of_address == care_of_address:
            self._interfaces[self.current.device].doubted_until = now + DOUBT

    def choose(self, now: float) -> Attachment | None:
        """What is to be used from now on."""
        best = self._best(now)
        current = None if self.current is None else self._interfaces[self.current.device]
        if best is None:
            if self._lost_at is None:
                self._lost_at = now
            if now >= self._lost_at + GRACE:
                self.current = None
            return self.current
        self._lost_at = None
        if (
            current is None
            or current.offer is None
            or current is best
            or self._may_replace(best, current, now)
        ):
            self.current = best.offer
        else:
            self.current = current.offer
        return self.current

    def next_timer(self, now: float) -> float | None:
        """When `choose` may come to another result by the passing of time alone."""
        times = [one.doubted_until for one in self._interfaces.values()]
        times += [one.good_since() + STABLE for one in self._interfaces.values() if one.offer is not None]
        if self._lost_at is not None and self.current is not None:
            times.append(self._lost_at + GRACE)
        return min((time for time in times if time > now), default=None)

    def _best(self, now: float) -> _Interface | None:
        def rank(device: str) -> tuple[bool, int]:
            return self._interfaces[device].is_doubtful(now), self._order[device]

        usable = [device for device, one in self._interfaces.items() if one.offer is not None]
        return self._interfaces[min(usable, key=rank)] if usable else None

    def _may_replace(self, best: _Interface, current: _Interface, now: float) -> bool:
        if current.is_doubtful(now):
            return True
        return now >= best.good_since() + STABLE

    def _offer(self, device: str, uplink: Uplink, before: Attachment | None) -> Attachment | None:
        if not uplink.addresses or not uplink.routers:
            return None
        heard = [router for router in uplink.routers if router not in uplink.failed] or uplink.routers
        router = before.router if before is not None and before.router in heard else heard[0]
        address = uplink.addresses[0]
        if before is not None and before.router == router and before.care_of_address in uplink.addresses:
            address = before.care_of_address
        if self._home_address in uplink.addresses:
            address = self._home_address
        return Attachment(device, address, router)
