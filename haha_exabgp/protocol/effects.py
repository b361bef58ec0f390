"""What the core asks of the world. The shell carries effects out in the order given, and those of one
input before those of the next: routes stand before the acknowledgement that promises them leaves."""

from __future__ import annotations

from dataclasses import dataclass

from ..wire.address import Address, Prefix
from .binding import Binding
from .routes import Announcement, KernelRoute


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send this whole IPv6 packet."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Rebind:
    """A binding has been made, changed or ended: carry out what `footprint.consequences` says. That is worked
    out where it is carried out: at a start with 100,000 bindings, say, it is of no use to anybody."""

    before: Binding | None
    after: Binding | None


@dataclass(frozen=True, slots=True)
class SetRoute:
    """Add the route, or replace the one of the same prefix and metric."""

    route: KernelRoute


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete the route of this prefix and metric."""

    route: KernelRoute


@dataclass(frozen=True, slots=True)
class Permit:
    """Let tunnelled packets in from `outer` whose inner source lies in `inner` (RFC 6275 s.10.4.5,
    RFC 3963 s.9)."""

    outer: Address
    inner: Prefix


@dataclass(frozen=True, slots=True)
class Revoke:
    """Undo a `Permit`."""

    outer: Address
    inner: Prefix


@dataclass(frozen=True, slots=True)
class Admit:
    """Let tunnelled packets of other Home Agents in that go to `inner`, though it is not of our
    partition."""

    inner: Prefix


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Undo an `Admit`."""

    inner: Prefix


@dataclass(frozen=True, slots=True)
class Watch:
    """Count the packets that other Home Agents send here to `inner`."""

    inner: Prefix


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Undo a `Watch`."""

    inner: Prefix


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the peers; replaces what was announced to the same audience for the same prefix."""

    announcement: Announcement


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take an announcement back."""

    announcement: Announcement


@dataclass(frozen=True, slots=True)
class Remember:
    """Make the binding durable, in place of an earlier one of the same home address."""

    binding: Binding


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log: something an operator would want to read about. It is put together only when
    somebody reads it: 15,000 bindings a second are not 15,000 lines."""

    template: str
    """As of the `%` operator, where there are `values`."""
    values: tuple[object, ...] = ()

    @property
    def text(self) -> str:
        """The line."""
        return self.template % self.values if self.values else self.template


Effect = (
    Transmit
    | Rebind
    | SetRoute
    | DeleteRoute
    | Permit
    | Revoke
    | Admit
    | Dismiss
    | Watch
    | Unwatch
    | Announce
    | Withdraw
    | Remember
    | Note
)
