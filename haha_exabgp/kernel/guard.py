"""The packet filter in force: loads what `guard_rules` writes, and changes its sets as bindings change.

Privilege: CAP_NET_ADMIN, which `nft`, run for loading and flushing, needs as well (an ambient capability
in a service). Changing sets and reading counters runs no program.
"""

from __future__ import annotations

import errno
import subprocess
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from ..protocol.effects import Permit as PermitEffect
from ..protocol.effects import Revoke
from ..wire.address import Address
from .guard_rules import (
    HOME_AGENTS_SET,
    TABLE,
    TUNNEL_ENDS_SET,
    Element,
    HomeAgentGuardConfig,
    MobileRouterGuardConfig,
    Permit,
    elements_of,
    render_home_agent,
    render_mobile_router,
    set_length,
)
from .nftables import NftablesTable, key

_USUAL_LENGTHS = frozenset({128, 64, 56, 48})
_NFT_SECONDS = 30.0


class _Guard:
    """One table in the namespace in which this was made."""

    def __init__(self) -> None:
        self._table = NftablesTable(TABLE)

    def close(self) -> None:
        """Give the file descriptor back; the filter stays."""
        self._table.close()

    def intact(self) -> bool:
        """False when somebody has flushed the table away (a reload of a host's own firewall does): call
        `setup` again. Some 5 us. Raises OSError."""
        return self._table.exists()

    def counters(self) -> dict[str, int]:
        """Packets dropped, by reason; empty when the table is gone. Raises OSError."""
        return self._table.counters()

    def flush(self) -> None:
        """Take the table away; safe to run twice. Raises OSError."""
        flush_guard()


def flush_guard() -> None:
    """Take the table away, whoever loaded it; safe to run twice. Raises OSError."""
    _nft("-f", "-", text=f"table ip6 {TABLE} {{\n}}\ndelete table ip6 {TABLE}\n")


class HomeAgentGuard(_Guard):
    """The filter of a Home Agent (RFC 6275 s.10.4.5, RFC 3963 s.9)."""

    def __init__(self, config: HomeAgentGuardConfig) -> None:
        super().__init__()
        self._config = config
        self._permits: set[Permit] = set()
        self._uses: Counter[Element] = Counter()
        """How many permits want an element."""
        self._lengths = _USUAL_LENGTHS

    def setup(self, permits: AbstractSet[Permit]) -> None:
        """Load the whole filter with these permits, in place of one that is there, in one transaction.
        Counters and rate limits begin anew. Blocks for the run of `nft`: 20 ms, 2.6 s with 100,000
        permits. Raises OSError with nft's complaint."""
        lengths = _USUAL_LENGTHS | {set_length(inner.length) for _, inner in permits}
        uses = Counter(element for permit in permits for element in elements_of(permit))
        _nft("-f", "-", text=render_home_agent(self._config, uses, lengths))
        self._permits, self._uses, self._lengths = set(permits), uses, lengths

    def apply(self, effects: Iterable[PermitEffect | Revoke]) -> None:
        """Carry out permits and revocations as one transaction, some 30 us; of several for one pair the
        last counts.

        Loads the filter anew where it is gone or has no set for a prefix length yet. Raises OSError.
        """
        last = {(effect.outer, effect.inner): isinstance(effect, PermitEffect) for effect in effects}
        added = {permit for permit, wanted in last.items() if wanted} - self._permits
        removed = {permit for permit, wanted in last.items() if not wanted} & self._permits
        if not all(set_length(inner.length) in self._lengths for _, inner in added):
            self.setup((self._permits | added) - removed)
            return
        change = Counter(element for permit in added for element in elements_of(permit))
        change.subtract(element for permit in removed for element in elements_of(permit))
        new = [element for element, more in change.items() if more > 0 and not self._uses[element]]
        old = [element for element, more in change.items() if more < 0 and not self._uses[element] + more]
        try:
            self._table.change_elements(_keys(new), _keys(old))
        except OSError:
            # Somebody else's hand was in the table: what it should hold is known.
            self.setup((self._permits | added) - removed)
            return
        self._permits |= added
        self._permits -= removed
        self._uses.update(change)
        for element in old:
            del self._uses[element]


class MobileRouterGuard(_Guard):
    """The filter of a mobile router: nobody in its networks sends from elsewhere (RFC 3963 s.9), and only
    Home Agents that it is bound to send into its tunnel."""

    def __init__(self, config: MobileRouterGuardConfig) -> None:
        super().__init__()
        self._config = config
        self._home_agents: frozenset[Address] = frozenset()
        self._tunnel_ends: frozenset[Address] = frozenset()

    def setup(self, home_agents: AbstractSet[Address]) -> None:
        """Load the whole filter. As `HomeAgentGuard.setup`."""
        _nft("-f", "-", text=render_mobile_router(self._config, home_agents, self._tunnel_ends))
        self._home_agents = frozenset(home_agents)

    def set_tunnel_ends(self, ends: AbstractSet[Address]) -> None:
        """Where our tunnels end: nobody in the mobile networks sends there through a tunnel. As
        `set_home_agents`."""
        wanted, present = frozenset(ends), self._tunnel_ends
        self._tunnel_ends = wanted
        try:
            self._table.change_elements(
                {TUNNEL_ENDS_SET: wanted - present}, {TUNNEL_ENDS_SET: present - wanted}
            )
        except OSError:
            self.setup(self._home_agents)

    def set_home_agents(self, home_agents: AbstractSet[Address]) -> None:
        """Accept tunnelled packets from these outer addresses and no others; some 30 us. Raises OSError."""
        wanted = frozenset(home_agents)
        try:
            self._table.change_elements(
                {HOME_AGENTS_SET: wanted - self._home_agents}, {HOME_AGENTS_SET: self._home_agents - wanted}
            )
        except OSError:
            self.setup(wanted)
        self._home_agents = wanted


def _keys(elements: Iterable[Element]) -> dict[str, list[bytes]]:
    keys: dict[str, list[bytes]] = {}
    for element in elements:
        keys.setdefault(element.set, []).append(key(*element.fields))
    return keys


def _nft(*arguments: str, text: str | None = None) -> str:
    command = ("nft", *arguments)
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=_NFT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(errno.ETIMEDOUT, f"{' '.join(command)}: not done in {_NFT_SECONDS:g} s") from error
    if done.returncode:
        raise OSError(errno.EINVAL, f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
