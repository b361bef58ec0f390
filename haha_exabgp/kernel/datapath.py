"""What the program asks of a way to make IPv6-in-IPv6 tunnels (RFC 2473) in the kernel.

A tunnel is no device: its sending end is a route, and receiving ends are as few as this host's addresses, so
100,000 bindings are 100,000 routes.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from ..protocol.routes import KernelRoute
from ..wire.address import Address
from .route_messages import MAIN_TABLE, Route

DEVICE: Final = "haha0"
"""What encapsulating routes hang on, of a kind that the datapath chooses."""


class Datapath(Protocol):
    """What the rest of the program asks of a way to make tunnels.

    `setup`, `set_inner_addresses` and `flush` block: they are called before an event loop runs or in a thread
    (`asyncio.to_thread`), and raise RuntimeError in a thread whose loop runs. The others are quick enough to
    be called inside the loop.
    """

    @property
    def translates_errors(self) -> bool:
        """True where the kernel itself tells the sender of a tunnelled packet of an ICMPv6 error about it
        (RFC 2473 s.8); else the program has to (`agent.icmp_relay`)."""
        ...

    @property
    def nests_tunnels(self) -> bool:
        """True where a tunnel whose exit is reached through another tunnel of the same host works."""
        ...

    def close(self) -> None:
        """Give file descriptors back; the kernel's state stays."""
        ...

    def setup(self) -> None:
        """Make everything that does not depend on bindings. Running it again mends what is missing and
        changes nothing else, also in a thread while the event loop changes routes. Raises OSError."""
        ...

    def set_inner_addresses(self, inner: AbstractSet[Address]) -> None:
        """This host's own addresses inside tunnels, these and no others. Raises OSError."""
        ...

    def set_tunnel_ends(self, ends: AbstractSet[Address], source: Address | None) -> None:
        """Take packets out of tunnels that end at these addresses of ours, and no others; put packets into
        tunnels from `source`. Raises OSError."""
        ...

    def encapsulation(self, route: KernelRoute, table: int = MAIN_TABLE) -> Route:
        """The route as the kernel is given it."""
        ...

    def kernel_route(self, route: Route) -> KernelRoute | None:
        """The reverse of `encapsulation`; None for a route of another form."""
        ...

    def flush(self) -> None:
        """Take everything of ours away again; not while an event loop changes routes. Raises OSError."""
        ...
