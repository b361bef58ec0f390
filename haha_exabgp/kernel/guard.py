"""The packet filter in force: loads what `guard_rules` or `guard_mobile_router` writes, changes its sets as
bindings change.

Privilege: CAP_NET_ADMIN, which `nft`, run for loading and flushing, needs as well (an ambient capability
in a service). Changing sets and reading counters runs no program.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from ..protocol.effects import Admit, Dismiss, Revoke
from ..protocol.effects import Permit as PermitEffect
from ..wire.address import Address, Prefix
from .guard_config import HomeAgentGuardConfig, MobileRouterGuardConfig
from .guard_mobile_router import HOME_AGENTS_SET, TUNNEL_ENDS_SET, render_mobile_router
from .guard_rules import render_home_agent
from .guard_sets import (
    Permit,
    bound_elements,
    bound_set,
    permit_elements,
    permit_set,
    set_length,
    set_lengths,
    watched_elements,
    watched_lengths,
    watched_piece,
    watched_set,
)
from .guard_text import TABLE, without_table
from .nftables import NftablesTable

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
    """The filter of a Home Agent (RFC 6275 s.10.4.5, RFC 3963 s.9).

    It remembers no binding: who calls says what changes, and everything at once by `setup`. In any thread,
    one call at a time.
    """

    def __init__(self, config: HomeAgentGuardConfig) -> None:
        super().__init__()
        self._config = config

    def setup(
        self,
        permits: AbstractSet[Permit],
        admitted: AbstractSet[Prefix],
        watched: AbstractSet[Prefix] = frozenset(),
    ) -> None:
        """Make the whole filter this, whatever it was. Blocks for 20 ms, 0.5 s with 200,000 permits, mostly
        in the kernel. Raises OSError.

        First `nft` puts the rules in place; sets that are there keep what they hold. Then all elements of all
        sets are exchanged in one transaction. So in a table that is there nothing is let in on the way that
        neither the old state nor the new one lets in, and nothing kept out that both let in. Where the table
        was gone, tunnelled packets are kept out until the elements are there; where its sets are of another
        kind, of another version say, it is taken away and made anew in one transaction, and it is the same.
        """
        used = {inner.length for _, inner in permits} | {inner.length for inner in admitted}
        present = self._table.sets()
        lengths = {*map(set_length, used), *set_lengths(present), *_USUAL_LENGTHS}
        # Without any, no packet is looked up in them.
        counted = {set_length(one.length) for one in watched} | watched_lengths(present)
        text = render_home_agent(self._config, lengths, counted)
        try:
            _nft("-f", "-", text=text)
        except OSError:
            _nft("-f", "-", text=without_table(text))
        elements: dict[str, list[bytes]] = {}
        for length in lengths:
            elements |= {permit_set(length): [], bound_set(length): []}
        elements |= {watched_set(length): [] for length in counted}
        elements |= permit_elements(permits) | bound_elements(admitted) | watched_elements(watched)
        self._table.replace_elements(elements)

    def apply(
        self, letting_in: Iterable[PermitEffect | Admit], keeping_out: Iterable[Revoke | Dismiss]
    ) -> None:
        """Carry out changes as one transaction, 1.2 us for a permit and 1.5 us for a revocation; of both for
        one thing letting in counts. Nothing changes where it is so already.

        Raises OSError, and nothing is changed, when the filter is gone or has no set for a prefix length yet:
        call `setup`.
        """
        delete = _elements(keeping_out)
        add = _elements(letting_in)
        for name in delete.keys() & add.keys():
            kept = set(add[name])
            delete[name] = [element for element in delete[name] if element not in kept]
        self._table.change_elements(add, delete)

    def watch(self, begin: Iterable[Prefix], end: Iterable[Prefix]) -> None:
        """Count the packets that other Home Agents send to some prefixes, no more to others. As `apply`."""
        self._table.change_elements(watched_elements(begin), watched_elements(end))

    def lets_in(self, permits: Iterable[Permit]) -> bool:
        """Whether the filter has all of these permits. Some 10 us each. Raises OSError."""
        return all(
            self._table.has_element(name, key)
            for name, keys in permit_elements(list(permits)).items()
            for key in keys
        )


def read_traffic() -> dict[Prefix, int]:
    """Packets that other Home Agents have sent so far to each watched prefix, or to each piece of one; in any
    thread, beside everything else. Raises OSError."""
    table = NftablesTable(TABLE)
    try:
        return {
            watched_piece(length, element): packets
            for length in watched_lengths(table.sets())
            for element, packets in table.counted(watched_set(length)).items()
        }
    finally:
        table.close()


def _elements(effects: Iterable[PermitEffect | Admit | Revoke | Dismiss]) -> dict[str, list[bytes]]:
    permits: list[Permit] = []
    admitted: list[Prefix] = []
    for effect in effects:
        if isinstance(effect, Admit | Dismiss):
            admitted.append(effect.inner)
        else:
            permits.append((effect.outer, effect.inner))
    return permit_elements(permits) | bound_elements(admitted)


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
