"""Which Home Agent owns a home address, where several could be its primary: those of one site, or of sites
that share a partition (draft s.10.2).

Rules, all in this file:

1. Whoever has the home address in its partition may own it. Of those that are *predictive* to each other (a
   *group*) it is computed, without a message. Among those that are up, and have caught up with the others
   after their start, the highest score of (Home Agent, home address) wins: rendezvous hashing. One that goes
   moves only what it owned, one that comes takes only its share.
2. The owner is primary for the home address. Any other Home Agent of the group is a proxy towards it.
3. Each group has an owner of its own. Which of these is primary floats: whoever gets a newer Binding Update,
   of the mobile router or of a proxy, is from then on. The others learn that (*proactive*, `replication.py`)
   or are asked for it (*reactive*, `owner_search.py`).
4. What was bound through a group that is gone goes to one of those that knew of it, by the same score.
5. A Home Agent that is not primary for the home address registers with the one of the highest score of all. A
   satellite prefers a parent where primaries ask each other, since a parent can say where it is.
6. Two that do not see each other both own: what came of it is settled when they do again
   (`replication.py`, rule 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

from ..wire.address import Address, Prefix
from .home import HomeAgentConfig, Locate, Peer


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
        self._group = _located(self.co_primaries, Locate.PREDICTIVE)
        self.reactive = _located(self.co_primaries, Locate.REACTIVE)
        self.floats = len(self._group) < len(self.co_primaries)
        """Whether any of them is of another group."""

    def is_ours(self, home_address: Address) -> bool:
        """Whether we ourselves are the owner."""
        if not self._config.is_primary_for(home_address):
            return False
        return not self._group or self.owner(home_address) is None

    def owner(self, home_address: Address) -> Peer | None:
        """The owner, of our group if we are primary too; None: we ourselves, or nobody at all (see
        `HomeAgentConfig.is_primary_for`)."""
        config = self._config
        if config.is_primary_for(home_address):
            return self._winner(self._group, home_address) if self._group else None
        primaries = config.primary_for(home_address)
        candidates = [peer for peer in primaries if self._is_eligible(peer)] or primaries
        if config.is_satellite and config.is_asked_for(home_address):
            candidates = [peer for peer in candidates if peer.is_adjacent] or candidates
        return best(candidates, home_address)

    def inherits(self, home_address: Address) -> bool:
        """Whether it falls to us, of all who know of a binding, to take it over from a group that is gone."""
        knowing = [peer for peer in self.co_primaries if peer.locate is not Locate.REACTIVE]
        return self._winner(knowing, home_address) is None

    def _winner(self, others: Iterable[Peer], home_address: Address) -> Peer | None:
        """Of these and ourselves, who are primary for the home address; None: we."""
        candidates = [one for one in others if one.is_primary_for(home_address) and self._is_eligible(one)]
        winner = best(candidates, home_address)
        if winner is None:
            return None
        haha = self._config.haha
        if self._we_are_eligible() and score(haha, home_address) > score(winner.haha, home_address):
            return None
        return winner


def best(candidates: Iterable[Peer], home_address: Address) -> Peer | None:
    """The one that is to own a home address; None of nobody."""
    return max(candidates, key=lambda peer: score(peer.haha, home_address), default=None)


def _located(peers: Iterable[Peer], how: Locate) -> tuple[Peer, ...]:
    return tuple([peer for peer in peers if peer.locate is how])


def _overlap(one: Prefix | None, other: Prefix | None) -> bool:
    if one is None or other is None:
        return False
    return one.covers(other) or other.covers(one)
