"""Keeping the policies of an agent like its configuration file and its database of mobile routers.

The database is looked at twice a second, which costs microseconds while nothing has changed, and then only
what has changed is read. The configuration file is read again when asked. What cannot be read changes
nothing: the policies that there are stay.

Reading may take its time and can be done in a thread; `apply` belongs to the thread that uses the table.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config.keys import every_key, keys_of_home_agent
from ..config.loader import LoadedHome, load
from ..mobile_routers.database import DatabaseBusyError, DatabaseError, MobileRouterDatabase
from ..mobile_routers.records import Problem
from ..mobile_routers.rules import HomeRules
from ..protocol.home import MobileRouterPolicy
from ..protocol.home_subnets import HomeSubnet
from ..wire.address import Address
from .policy_table import PolicyTable
from .settings import configured_policies, home_subnets

_log = logging.getLogger(__name__)

POLL_INTERVAL = 0.5
"""Seconds between two looks at the database."""
_MANY = 1000
"""For so many changes it is faster to read everything than each."""
_TOLD = 10
"""Mobile routers that are left out and told of; of more only how many."""


@dataclass(slots=True)
class Update:
    """What has been read and is to be applied."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    """Packed policies by home address."""
    gone: list[Address] = field(default_factory=list)
    whole: bool = False
    """True when `records` are all that there are."""
    version: int = 0
    last_change: int = 0
    loaded: LoadedHome | None = None
    """The configuration, where it was read again."""
    configured: Mapping[Address, MobileRouterPolicy] | None = None
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What somebody has to know who asked for it."""


class Policies:
    """The policies of one agent."""

    def __init__(self, loaded: LoadedHome, home_agent: str | None = None) -> None:
        """Read all, with the keys that this Home Agent is to have. Raises ConfigError and DatabaseError."""
        self._loaded = loaded
        self._home_agent = home_agent
        self._running = loaded.config
        """What the agent was started with: of it only mobile routers and subnets are taken up anew."""
        self._rules = HomeRules(loaded.config)
        self._database: MobileRouterDatabase | None = None
        self._version = 0
        self._last_change = 0
        self._complaint = ""
        named = loaded.config.home.mobile_router_db
        self._file = loaded.path.parent / named if named is not None else None
        self.table = PolicyTable(configured_policies(loaded, home_agent))
        if self._file is not None:
            update = self._read_all()
            self.table.fill(update.records)
            self._note(update)

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()

    @property
    def subnets(self) -> tuple[HomeSubnet, ...]:
        """The parts of Home whose end is known."""
        return home_subnets(self._loaded.config)

    def stale(self) -> bool:
        """True when the database has changed since it was read, or another file has taken its place."""
        if self._file is None or self._database is None:
            return False
        try:
            status = os.stat(self._file)
            replaced = (status.st_dev, status.st_ino) != self._database.identity
            stale = replaced or self._database.version() != self._version
        except DatabaseBusyError:
            return False
        except (OSError, DatabaseError) as error:
            self._complain(_told(error))
            return False
        return stale

    def read_changes(self) -> Update | None:
        """What has changed in the database; None when it cannot be read, which is logged once, or is being
        changed."""
        try:
            update = self._read_changes()
        except DatabaseBusyError:
            return None
        except (OSError, DatabaseError) as error:
            self._complain(_told(error))
            return None
        self._complaint = ""
        return update

    def read_again(self) -> Update:
        """The configuration file and the database from the start. Raises ConfigError and DatabaseError."""
        keys = every_key if self._home_agent is None else keys_of_home_agent(self._home_agent)
        loaded = load(self._loaded.path, keys)
        rules = HomeRules(loaded.config)
        configured = configured_policies(loaded, self._home_agent)
        update = self._read_all(rules) if self._file is not None else Update()
        update.loaded, update.configured = loaded, configured
        update.notes += self._needs_restart(loaded)
        return update

    def apply(self, update: Update) -> set[Address]:
        """Put what was read into force; gives the home addresses whose policies have changed."""
        changed: set[Address] = set()
        if update.loaded is not None and update.configured is not None:
            self._loaded, self._rules = update.loaded, HomeRules(update.loaded.config)
            changed |= self.table.configure(update.configured)
        if update.whole:
            changed |= self.table.change_all(update.records)
        else:
            changed |= self.table.change(update.records, update.gone)
        self._note(update)
        if changed:
            _log.info(
                "%d policies of mobile routers have changed; there are %d", len(changed), len(self.table)
            )
        return changed

    def _note(self, update: Update) -> None:
        """What was read is in force."""
        self._version, self._last_change = update.version, update.last_change
        for told in _bounded(update.left_out):
            _log.warning("database of mobile routers: %s", told)

    def _read_changes(self) -> Update:
        database = self._database
        assert database is not None and self._file is not None  # `stale` has said so
        status = os.stat(self._file)
        if (status.st_dev, status.st_ino) != database.identity:
            return self._read_all()
        # Before the rows: what changes meanwhile is then seen at the next look.
        update = Update(version=database.version())
        with database.reading():
            update.last_change = database.last_change()
            changes = database.changed_since(self._last_change)
            # An older state that was put back into the same file has numbers of the past.
            anew = update.last_change < self._last_change or len(changes) >= _MANY
            for home_address in changes if not anew else ():
                policy = database.at(home_address)
                record = None if policy is None else self._judge(policy, self._rules, update)
                if record is None:
                    update.gone.append(home_address)
                else:
                    update.records[bytes(home_address)] = record
        return self._read_all() if anew else update

    def _read_all(self, rules: HomeRules | None = None) -> Update:
        assert self._file is not None
        database = MobileRouterDatabase(self._file)
        try:
            update = Update(whole=True, version=database.version())
            update.last_change = database.last_change()
            for policy in database.every():
                record = self._judge(policy, rules or self._rules, update)
                if record is not None:
                    update.records[bytes(policy.home_address)] = record
        except BaseException:
            database.close()
            raise
        # A look is taken in the thread that everything else waits for.
        database.never_wait()
        self.close()
        self._database = database
        return update

    def _judge(self, policy: MobileRouterPolicy, rules: HomeRules, update: Update) -> bytes | None:
        problem = next(rules.problems(policy), None)
        if not policy.associations:
            problem = Problem("", "it has no key", "")
        if problem is None:
            try:
                return self.table.pack(policy)
            except struct.error:
                problem = Problem("", "it has more prefixes or keys than there is room for", "")
        update.left_out.append(f"{policy.name} is left out: {problem.problem}")
        return None

    def _needs_restart(self, loaded: LoadedHome) -> list[str]:
        old, new = self._running, loaded.config
        kept = new.home.model_copy(update={"subnets": old.home.subnets})
        parts = ["home"] if kept != old.home else []
        parts += ["sites"] if new.sites != old.sites else []
        return [f"{part} has changed in {loaded.path}: restart the agent for that" for part in parts]

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            _log.error("the policies stay as they are: %s", reason)
            self._complaint = reason


def _told(error: OSError | DatabaseError) -> str:
    if isinstance(error, FileNotFoundError):
        return f'the database of mobile routers, "{error.filename}", has gone; put it back'
    if isinstance(error, OSError):
        return f'"{error.filename}" cannot be read: {error.strerror}'
    return str(error)


def _bounded(lines: list[str]) -> list[str]:
    if len(lines) <= _TOLD:
        return lines
    return [*lines[:_TOLD], f"{len(lines) - _TOLD} more are left out; haha check tells all"]
