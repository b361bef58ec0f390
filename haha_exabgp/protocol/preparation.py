"""A proxy makes ready for a mobile router while it asks the primary.

A primary that accepts sends there at once. Until the proxy has its acknowledgement, and what follows from it
is in force, the guard would drop that; or an older leak would send it on to the proxy that the mobile router
has left, and that by way of the primary back here: a circle. Rules:

1. For a Binding Update that has been verified here, and that the policy here allows. Where only the primary
   can verify (`vouching.py`) nothing is prepared, nor behind another mobile router: who is behind whom is
   judged by bindings (`nesting.py`). What is bound here already stays as it is.
2. Prepared are the way to the new care-of address, and that other Home Agents may send here. The way goes
   before what others leak, so that there is no circle. The mobile router takes packets from whom it asks.
3. Nothing is announced, stored or promised.
4. It ends with the registration: accepted, refused, given up or forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..wire.address import Address, Prefix
from .answers import Exchange
from .binding import Binding
from .bindings import Bindings
from .effects import Admit, Effect
from .footprint import footprint
from .home import HomeAgentConfig
from .registration import routed_prefixes
from .routes import KernelRoute, Metric
from .wanted import WantedState


class Preparations:
    """Those of one Home Agent, by home address; no more than registrations under way."""

    def __init__(
        self,
        config: HomeAgentConfig,
        bindings: Bindings,
        wanted: WantedState,
        emit: Callable[[Effect], None],
    ) -> None:
        self._config = config
        self._cache = bindings.cache
        self._wanted = wanted
        self._emit = emit
        self._prepared: dict[Address, tuple[Prefix, ...]] = {}
        bindings.observers.append(self._rebound)

    def begin(self, exchange: Exchange) -> None:
        """A primary is about to be asked for this, in place of what it was asked for before."""
        request = exchange.request
        self.end(request.home_address)
        current = self._cache.get(request.home_address)
        if request.deregisters or self._config.home.contains(request.care_of_address):
            return
        if current is not None and not current.kind.is_elsewhere:
            return
        prefixes = Prefix.host(request.home_address), *routed_prefixes(request, exchange.policy)
        for prefix in prefixes:
            self._wanted.admit(prefix)
            self._wanted.set_route(KernelRoute(prefix, Metric.PREPARED, request.care_of_address))
        self._prepared[request.home_address] = prefixes

    def end(self, home_address: Address) -> None:
        """Take it back, if there is any. To be called before what the primary's answer leads to."""
        prefixes = self._prepared.pop(home_address, None)
        if prefixes is None:
            return
        for prefix in prefixes:
            self._wanted.clear_route(prefix, Metric.PREPARED)
            self._wanted.dismiss(prefix)
        current = self._cache.get(home_address)
        if current is not None:
            # A satellite's, which may stand beside it.
            self._let_in(footprint(current, self._config).admitted)

    def _rebound(self, before: Binding | None, after: Binding | None) -> None:
        """What has ended may have been a satellite's, and the guard has been told to let nothing in."""
        binding = after or before
        if self._prepared and binding is not None:
            self._let_in(self._prepared.get(binding.home_address, ()))

    def _let_in(self, prefixes: Iterable[Prefix]) -> None:
        for prefix in prefixes:
            self._emit(Admit(prefix))
