"""What the core has decided is put into force: kernel routes and guard first, then the store.

A batch takes milliseconds, and is put into force in the event loop's own thread. What may take seconds, the
start or a comparison of everything, is done by a second thread, and what is decided meanwhile comes behind it
there. Everything that writes to kernel or store is in here, one thing after the other, so nothing overtakes
anything.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from ..kernel.datapath import Datapath
from ..kernel.guard import HomeAgentGuard
from ..kernel.routes import RouteChanges, RouteTable
from ..protocol.binding import Binding
from ..protocol.effects import Effect
from ..protocol.footprint import footprint
from ..protocol.home import HomeAgentConfig
from ..protocol.time import Now
from ..protocol.wanted import Snapshot
from .batch import Batch, KeepingOut, LettingIn
from .store import Store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch."""

    batch: Batch
    refusals: Sequence[str] = ()
    """The kernel's, in words."""
    store_failure: str | None = None

    @property
    def in_force(self) -> bool:
        """True when everything that the packets of the batch promise is there."""
        return not self.refusals and self.store_failure is None


class Enforcer:
    """The thread and what it works on. Methods that touch kernel or store are called in it, by `run` or
    `submit`; while it is idle, by who would hand them over."""

    def __init__(
        self,
        config: HomeAgentConfig,
        datapath: Datapath,
        table: RouteTable,
        guard: HomeAgentGuard,
        store: Store,
    ) -> None:
        self._config = config
        self._datapath = datapath
        self._table = table
        self._guard = guard
        self._store = store
        self._thread = ThreadPoolExecutor(1, "enforcer")
        self._jobs = 0
        """That the thread has been given and not finished."""

    @property
    def is_idle(self) -> bool:
        """True when nothing is under way: then methods may be called in the event loop's own thread."""
        return self._jobs == 0

    async def run(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Have something done in the thread, after everything that it was given before."""
        return await self.submit(do, *args, **kwargs)

    def submit(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """As `run`, without waiting for it."""
        job = asyncio.wrap_future(self._thread.submit(do, *args, **kwargs))
        self._jobs += 1
        job.add_done_callback(self._finished)
        return job

    def _finished(self, _: asyncio.Future[T]) -> None:
        self._jobs -= 1

    def close(self) -> None:
        """Finish what was given, close the store. The kernel keeps what it has."""
        self._thread.shutdown()
        self._store.close()

    def set_up(self) -> None:
        """Make all that does not depend on bindings; running it again mends what is missing.
        Raises OSError."""
        self._datapath.setup()
        self._datapath.set_inner_addresses(set(self._config.addresses))

    def open_tunnels(self) -> None:
        """Take packets out of tunnels from now on, if the guard stands: without it anybody could send into
        Home as anybody. Else they stay as they are until `mend`. Raises OSError."""
        if self._guard.intact():
            self._datapath.set_tunnel_ends(set(self._config.tunnel_ends), source=self._config.outer)

    def enforce(self, effects: Sequence[Effect], keeping_out: Sequence[KeepingOut], now: Now) -> Outcome:
        """Make the changes of a batch. What `Batch.guard` keeps out is left for later: `keeping_out` is what
        is due now."""
        batch = Batch(effects, self._config)
        letting_in = [one for one in batch.guard if isinstance(one, LettingIn)]
        replace, delete = batch.replaced_routes(), batch.deleted_routes()
        refusals: list[str] = []
        try:
            if letting_in or keeping_out:
                self._guard.apply(letting_in, keeping_out)
            if batch.watched:
                self._guard.watch(
                    [one for one, begins in batch.watched.items() if begins],
                    [one for one, begins in batch.watched.items() if not begins],
                )
            if replace or delete:
                failures = self._table.apply(RouteChanges(tuple(replace), tuple(delete)))
                refusals = [f"route {failure.route.prefix}: {failure.reason}" for failure in failures]
        except OSError as error:
            refusals = [str(error)]
        return Outcome(batch, refusals, self._save(batch, now))

    def enforce_all(self, effects: Sequence[Effect], wanted: Snapshot, now: Now) -> Outcome:
        """Make the kernel's whole state what is wanted, whatever it is; keep the bindings of a batch."""
        batch = Batch(effects, self._config)
        try:
            routes, permits, admitted = wanted.in_kernel()
            self._guard.setup(permits, admitted, wanted.watched)
            failures = self._table.reconcile(routes)
            refusals = [f"route {failure.route.prefix}: {failure.reason}" for failure in failures]
        except OSError as error:
            refusals = [str(error)]
        return Outcome(batch, refusals, self._save(batch, now))

    def mend(self) -> bool:
        """Somebody else's hand (a firewall reload, a network manager) may have taken away what is ours: put
        back what does not depend on bindings. False when the guard is gone. Raises OSError."""
        self.set_up()
        self.open_tunnels()
        return self._guard.intact()

    def compare(self, wanted: Snapshot) -> bool:
        """Make the routes what is wanted; nothing else is done meanwhile. False when the kernel refuses some.
        Raises OSError."""
        routes, _, _ = wanted.in_kernel()
        return not self._table.reconcile(routes)

    def has(self, bindings: Sequence[Binding]) -> bool:
        """Whether the kernel uses the routes of these bindings, and the guard lets their packets in. Some
        50 us each. Raises OSError."""
        footprints = [footprint(one, self._config) for one in bindings]
        missing = self._table.missing([route for one in footprints for route in one.routes])
        return not missing and self._guard.lets_in([permit for one in footprints for permit in one.permits])

    def _save(self, batch: Batch, now: Now) -> str | None:
        if not batch.bindings:
            return None
        try:
            self._store.save(batch.bindings.values(), now)
        except sqlite3.Error as error:
            return str(error)
        return None
