"""Which Home Agent owns a home address, where several could be its primary: those of one site, or of sites
that share a partition (draft s.10.2, the *predictive* method: computed, no message).

Rules, all in this file:

1. Whoever has the home address in its partition may own it. Among those that are up, and have caught up with
   the others after their start, the highest score of (Home Agent, home address) wins: rendezvous hashing. One
   that goes moves only what it owned, one that comes takes only its share.
2. The owner is primary for the home address. Any other Home Agent, of the same site too, is a proxy.
3. Two that do not see each other both own: what came of it is settled when they do again
   (`replication.py`, rule 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

from ..wire.address import Address, Prefix
from .home import HomeAgentConfig, Peer


def score(haha: Address, home_address: Address) -> bytes:
    """How much a Home Agent, by its HAHA address, is meant to own a home address; highest first."""
    return blake2b(haha + home_address, digest_size=8).digest() + haha


class Ownership:
    """What one Home Agent holds to be the owner of each home address."""

    def __init__(
        self,
        config: HomeAgentConfig,
        is_eligible: Callable[[Peer], bool],
        we_are_eligible: Callable[[], bool],
    ) -> None:
        """`is_eligible(peer)`: it is up and has caught up; `we_are_eligible()`: we have."""
        self._config = config
        self._is_eligible = is_eligible
        self._we_are_eligible = we_are_eligible
        self.co_primaries = tuple(peer for peer in config.peers if _overlap(peer.partition, config.partition))
        """The other Home Agents that are primary for home addresses that we are primary for."""

    def is_ours(self, home_address: Address) -> bool:
        """Whether we ourselves are the owner."""
        if not self._config.is_primary_for(home_address):
            return False
        return not self.co_primaries or self.owner(home_address) is None

    def owner(self, home_address: Address) -> Peer | None:
        """The owner; None: we ourselves, or nobody at all (see `HomeAgentConfig.is_primary_for`)."""
        config = self._config
        ours = config.is_primary_for(home_address)
        if ours and not self.co_primaries:
            return None
        primaries = config.primary_for(home_address)
        candidates = [peer for peer in primaries if self._is_eligible(peer)]
        if not ours:
            return best(candidates or primaries, home_address)
        winner = best(candidates, home_address)
        if winner is None:
            return None
        if self._we_are_eligible() and score(config.haha, home_address) > score(winner.haha, home_address):
            return None
        return winner


def best(candidates: Iterable[Peer], home_address: Address) -> Peer | None:
    """The one that is to own a home address; None of nobody."""
    return max(candidates, key=lambda peer: score(peer.haha, home_address), default=None)


def _overlap(one: Prefix | None, other: Prefix | None) -> bool:
    if one is None or other is None:
        return False
    return one.covers(other) or other.covers(one)
