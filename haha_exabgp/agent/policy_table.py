"""The policies of all mobile routers in the memory of an agent: a few as they are, many packed.

A packed policy and its place take about 210 octets; a `MobileRouterPolicy` takes over a kilobyte. It is
unpacked when somebody asks for it, and the last ones asked for are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping

from ..protocol.home import LeakPolicy, MobileRouterPolicy, ReplayProtectionMode, SecurityAssociation
from ..wire.address import Address, Prefix
from ..wire.authentication import Algorithm

_KEPT = 1024
"""Unpacked policies."""
_HEAD = struct.Struct(">BIBHB")
"""Replay protection, proxies, leak policy, number of prefixes, of keys; these and the name follow."""
_KEY = struct.Struct(">IBB")
"""SPI, algorithm, octets of the key."""
_REPLAY = tuple(ReplayProtectionMode)
_LEAK = (None, *LeakPolicy)
_ALGORITHMS = tuple(Algorithm)


class PolicyTable(Mapping[Address, MobileRouterPolicy]):
    """The policies by home address. Those of the configuration come before packed ones."""

    def __init__(self, configured: Mapping[Address, MobileRouterPolicy]) -> None:
        self._configured = dict(configured)
        self._packed: dict[bytes, bytes] = {}
        self._kept: dict[bytes, MobileRouterPolicy] = {}
        self._proxies: list[frozenset[str] | None] = [None]
        self._proxies_index: dict[frozenset[str] | None, int] = {None: 0}
        self._only_configured = len(self._configured)

    def __getitem__(self, home_address: Address) -> MobileRouterPolicy:
        policy = self.get(home_address)
        if policy is None:
            raise KeyError(home_address)
        return policy

    def get(self, home_address: Address) -> MobileRouterPolicy | None:  # type: ignore[override]
        """The policy of a home address, None when there is none."""
        policy = self._configured.get(home_address) or self._kept.get(home_address)
        if policy is None:
            record = self._packed.get(home_address)
            if record is None:
                return None
            policy = self._unpack(home_address, record)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[home_address] = policy
        return policy

    def __contains__(self, home_address: object) -> bool:
        return home_address in self._configured or home_address in self._packed

    def __iter__(self) -> Iterator[Address]:
        yield from self._configured
        yield from (Address(one) for one in self._packed if one not in self._configured)

    def __len__(self) -> int:
        # Asked for with every Binding Update that is refused.
        return len(self._packed) + self._only_configured

    def named(self, name: str) -> MobileRouterPolicy | None:
        """The policy of the mobile router of a name; takes milliseconds for 100,000."""
        for policy in self._configured.values():
            if policy.name == name:
                return policy
        ending = name.encode()
        for home_address, record in self._packed.items():
            if record.endswith(ending):
                policy = self._unpack(Address(home_address), record)
                if policy.name == name:
                    return policy
        return None

    def restricted(self) -> Iterator[MobileRouterPolicy]:
        """All that not every Home Agent may leak, and some others; 20 ms for 100,000 that everybody may."""
        yield from self._configured.values()
        for home_address, record in self._packed.items():
            _, proxies, leak, _, _ = _HEAD.unpack_from(record)
            if proxies or _LEAK[leak] is LeakPolicy.NEVER:
                yield self._unpack(Address(home_address), record)

    def configure(self, configured: Mapping[Address, MobileRouterPolicy]) -> set[Address]:
        """Other policies of the configuration; gives the home addresses whose policy has changed."""
        before, after = self._configured, dict(configured)
        changed = {one for one in before.keys() | after.keys() if before.get(one) != after.get(one)}
        self._configured = after
        self._count()
        return changed

    def pack(self, policy: MobileRouterPolicy) -> bytes:
        """A policy as the table holds it. Raises struct.error for one that is too large."""
        index = self._proxies_index.setdefault(policy.proxies, len(self._proxies))
        if index == len(self._proxies):
            self._proxies.append(policy.proxies)
        parts = [
            _HEAD.pack(
                _REPLAY.index(policy.replay),
                index,
                _LEAK.index(policy.leak),
                len(policy.prefixes),
                len(policy.associations),
            )
        ]
        parts += [prefix.address + bytes((prefix.length,)) for prefix in policy.prefixes]
        for one in policy.associations:
            parts += [_KEY.pack(one.spi, _ALGORITHMS.index(one.algorithm), len(one.key)), one.key]
        parts.append(policy.name.encode())
        return b"".join(parts)

    def change(self, records: Mapping[bytes, bytes], gone: Iterable[Address]) -> set[Address]:
        """Enter packed policies by home address and remove others; gives those that have changed."""
        changed = {Address(one) for one, record in records.items() if self._packed.get(one) != record}
        changed |= {one for one in gone if self._packed.pop(one, None) is not None}
        self._packed.update(records)
        self._count()
        for home_address in changed:
            self._kept.pop(home_address, None)
        return changed

    def change_all(self, records: dict[bytes, bytes]) -> set[Address]:
        """The same with all packed policies that there are to be."""
        before = self._packed
        self.fill(records)
        changed = {Address(one) for one, record in records.items() if before.get(one) != record}
        return changed | {Address(one) for one in before if one not in records}

    def fill(self, records: dict[bytes, bytes]) -> None:
        """Take these packed policies by home address in place of all others."""
        self._packed = records
        self._kept.clear()
        self._count()

    def _count(self) -> None:
        self._only_configured = sum(one not in self._packed for one in self._configured)

    def _unpack(self, home_address: Address, record: bytes) -> MobileRouterPolicy:
        replay, proxies, leak, prefix_count, key_count = _HEAD.unpack_from(record)
        place = _HEAD.size
        prefixes: tuple[Prefix, ...] = ()
        while prefix_count:
            prefixes += (Prefix(Address(record[place : place + 16]), record[place + 16]),)
            place += 17
            prefix_count -= 1
        associations: tuple[SecurityAssociation, ...] = ()
        while key_count:
            spi, algorithm, length = _KEY.unpack_from(record, place)
            start = place + _KEY.size
            place = start + length
            associations += (SecurityAssociation(spi, record[start:place], _ALGORITHMS[algorithm]),)
            key_count -= 1
        return MobileRouterPolicy(
            record[place:].decode(),
            home_address,
            prefixes,
            associations,
            _REPLAY[replay],
            self._proxies[proxies],
            _LEAK[leak],
        )
