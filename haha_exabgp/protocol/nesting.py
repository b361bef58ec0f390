"""Mobile routers behind other mobile routers (a nested mobile network, RFC 4885), as far as bound here.

Rules, all in this file. A care-of address inside Home is refused with status 174

1. when its tunnel would lead into itself (RFC 6275 s.15.1), directly or by the tunnels of the mobile routers
   that this one is behind: the kernel would put a packet into tunnels without end;
2. when more than `MOST_NESTED` would be behind each other: those that this one is behind, itself, and those
   that are behind it already;
3. when this host cannot send a tunnel through another of its own (`HomeAgentConfig.nests_tunnels`).

Every new place is judged against all others as they are, when it is asked for and again when the primary
has accepted; the end of a binding only shortens chains. So no order of moves makes a circle. Bindings
elsewhere do not count: their tunnels are another Home Agent's. A circle over several of these is not seen; in
it a packet grows by a header each time, until it is too big.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from ..wire.address import UNSPECIFIED, Address, Prefix
from ..wire.codes import Status
from ..wire.ipv6 import TunnelHeader
from .binding import Binding
from .home import HomeAgentConfig

MOST_NESTED: Final = 4
"""Mobile routers behind each other. A packet of 1280 octets, which every path carries, has 1480 in as many
tunnels and one between sites around them."""


class Nesting:
    """Which mobile routers that are bound here are behind which others."""

    def __init__(self, config: HomeAgentConfig, behind: Callable[[Address], Binding | None]) -> None:
        """`behind(address)` gives the live binding that packets to an address follow."""
        self._config = config
        self._behind = behind
        self._nested: list[tuple[Address, Address]] = []
        """Care-of addresses inside Home, in order, each with the home address that is bound there."""

    def rebind(self, before: Binding | None, after: Binding | None) -> None:
        """A binding has been made, changed or ended."""
        if before is not None and self._is_nested(before):
            del self._nested[bisect_left(self._nested, _entry(before))]
        if after is not None and self._is_nested(after):
            insort(self._nested, _entry(after))

    def objection(
        self,
        home_address: Address,
        prefixes: Iterable[Prefix],
        care_of_address: Address,
        *,
        ends_here: bool = True,
    ) -> Status | None:
        """Why a mobile router with these prefixes cannot be bound at this care-of address; None: it can.
        Unless its tunnel `ends_here`, at a proxy that is, only rule 1 counts."""
        # Home addresses and prefixes lie in Home, care-of addresses nearly always outside.
        if not self._config.home.contains(care_of_address):
            return None
        own = (Prefix.host(home_address), *prefixes)
        address, above = care_of_address, 0
        while not any([prefix.contains(address) for prefix in own]):
            carrier = self.carrier(address)
            if carrier is None:
                has_room = above + 1 + self._levels_below(own, MOST_NESTED - above) <= MOST_NESTED
                can_be_sent = self._config.nests_tunnels or not self._is_in_a_tunnel(care_of_address)
                is_good = not ends_here or (has_room and can_be_sent)
                return None if is_good else Status.INVALID_CARE_OF_ADDRESS
            address, above = carrier.care_of_address, above + 1
            if above > MOST_NESTED:
                break
        return Status.INVALID_CARE_OF_ADDRESS

    def carrier(self, address: Address) -> Binding | None:
        """The binding here of the mobile router that an address is behind; None where there is none."""
        found = self._behind(address)
        return None if found is None or found.kind.is_elsewhere else found

    def brings(self, tunnels: Sequence[TunnelHeader], source: Address) -> bool:
        """Whether tunnels, outermost first, are those in which mobile routers bring a packet from `source`
        here: what the guard asks of packets (see `kernel.guard_tunnels`)."""
        for outer, inner in pairwise([*[one.source for one in tunnels], source]):
            carrier = self.carrier(inner)
            if carrier is None or carrier.care_of_address != outer:
                return False
        return all([one.destination == self._config.outer for one in tunnels])

    def directly_behind(self, prefixes: Iterable[Prefix]) -> Iterator[Binding]:
        """The bindings here whose care-of addresses are inside these prefixes."""
        for prefix in prefixes:
            place = bisect_left(self._nested, (prefix.address, UNSPECIFIED))
            while place < len(self._nested) and prefix.contains(self._nested[place][0]):
                found = self._behind(self._nested[place][1])
                if found is not None:
                    yield found
                place += 1

    def _is_nested(self, binding: Binding) -> bool:
        return not binding.kind.is_elsewhere and self._config.home.contains(binding.care_of_address)

    def _is_in_a_tunnel(self, care_of_address: Address) -> bool:
        """Whether packets to an address inside Home leave by a tunnel of ours."""
        partition = self._config.partition
        return (
            self._behind(care_of_address) is not None
            or partition is None
            or not partition.contains(care_of_address)
        )

    def _levels_below(self, prefixes: Iterable[Prefix], most: int) -> int:
        """Of mobile routers behind each other inside these prefixes; counted up to `most`."""
        deepest = 0
        for binding in self.directly_behind(prefixes) if most else ():
            deepest = max(deepest, 1 + self._levels_below(binding.routes(), most - 1))
            if deepest == most:
                break
        return deepest


def _entry(binding: Binding) -> tuple[Address, Address]:
    return binding.care_of_address, binding.home_address
