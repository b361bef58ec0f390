"""Watches the policies of a running agent: the database all the time, everything when asked (SIGHUP, `haha
reload`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..config.errors import ConfigError
from ..mobile_routers.database import DatabaseError
from ..protocol.home_subnets import HomeSubnet
from ..wire.address import Address
from .control import ControlError, Rows
from .policies import POLL_INTERVAL, Policies

_log = logging.getLogger(__name__)


class PolicyKeeper:
    """Reads in threads, applies in the event loop."""

    def __init__(self, policies: Policies, changed: Callable[[set[Address]], None]) -> None:
        """`changed(home_addresses)` is called when policies have changed and are in force."""
        self._policies = policies
        self._changed = changed
        self._one_at_a_time = asyncio.Lock()
        self._reloads: set[asyncio.Task[Rows]] = set()

    async def watch(self) -> None:
        """Take up what changes in the database, until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            if not self._policies.stale():
                continue
            async with self._one_at_a_time:
                update = await asyncio.to_thread(self._policies.read_changes)
                if update is not None:
                    self._changed(self._policies.apply(update))

    async def reload(self) -> Rows:
        """Read all again and say what came of it. Raises ControlError when something cannot be read; then
        nothing has changed."""
        async with self._one_at_a_time:
            try:
                update = await asyncio.to_thread(self._policies.read_again)
            except (ConfigError, DatabaseError) as error:
                raise ControlError(f"the policies stay as they are:\n{error}") from error
            changed = self._policies.apply(update)
            self._changed(changed)
        told = {"policies_changed": len(changed), "mobile_routers": len(self._policies.table)}
        return [{**told, "note": "; ".join(update.notes)}]

    @property
    def subnets(self) -> tuple[HomeSubnet, ...]:
        """The parts of Home whose end is known, as of what was read last."""
        return self._policies.subnets

    def reload_soon(self) -> None:
        """The same for a signal: what came of it goes to the log."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloaded)

    def close(self) -> None:
        """Let go of the database."""
        self._policies.close()

    def _reloaded(self, task: asyncio.Task[Rows]) -> None:
        self._reloads.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ControlError):
            _log.error("reload: %s", error)
        elif error is not None:
            raise error
        elif not task.cancelled():
            (row,) = task.result()
            _log.info("reload: %s", ", ".join(f"{key} {value}" for key, value in row.items() if value != ""))
