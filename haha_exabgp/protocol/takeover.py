"""What becomes of bindings when a Home Agent that shares our partition goes, comes back, or tells something
of them.

Rules, all in this file. A home address has an owner (`ownership.py`); `X` is another Home Agent:

    we become its owner    replica, held by X        -> proxied by X
                           proxy binding             -> direct
    we are its owner       its holder is down        -> its mobile router is told to switch to us (RFC 5142)
    X becomes its owner    direct                    -> proxy binding, its primary is X
                           proxied by Y              -> replica, held by Y
                           proxy binding             -> proxy binding, its primary is X

Of sites that share a partition without being predictive to each other each has an owner, and one of these has
the binding (`ownership.py`, rule 3), the *claimant*. Another owner leaves its replica alone while anybody of
the claimant's group is up; when nobody is, one of those that were told of it takes it over, as above.

No packet is sent for any of these but the switch, and no tunnel changes: both sides come to the same by
themselves. What X tells is taken when it is later than what we know, by the mobile router's own order; else
X is told.
"""

from __future__ import annotations

from ..wire.address import Address
from .binding import Binding, BindingKind, Ending
from .bindings import HIGHEST_SEQUENCE, Bindings, next_sequence
from .deadlines import Deadlines
from .home import Locate, Peer
from .home_agents_list import HomeAgentsList
from .node import Node
from .notices import Notices
from .ownership import Ownership
from .primary import Primary
from .replication import Replication, Told
from .time import Now

REACTIVE_REPLICA = 60.0
"""Seconds that what a reactive co-primary has told is followed: it does not tell when the mobile router goes
on, and by then its leak has come."""
AT_ONCE = 1000
"""Bindings looked at before packets get their turn: some ms."""
SWITCHES_A_SECOND = 200
SWITCH_ATTEMPTS = (0.0, 1.0, 3.0, 10.0)
"""Seconds after which a mobile router whose Home Agent is down is told again."""


class Takeover:
    """Keeps the bindings of home addresses with several possible owners what they should be."""

    def __init__(  # noqa: PLR0917  (the parts of a Home Agent, put together in one place)
        self,
        node: Node,
        bindings: Bindings,
        primary: Primary,
        notices: Notices,
        ownership: Ownership,
        home_agents: HomeAgentsList,
        replication: Replication,
    ) -> None:
        self._node = node
        self._bindings = bindings
        self._primary = primary
        self._notices = notices
        self._ownership = ownership
        self._home_agents = home_agents
        self._replication = replication
        self._peers = {peer.haha: peer for peer in node.config.peers}
        self._to_review: dict[Address, None] = {}
        self._attempts: dict[Address, int] = {}
        """How often the mobile router of a home address, whose Home Agent is down, has been told."""
        self._switches: Deadlines[Address] = Deadlines()
        self._care_of: dict[Address, Address] = {}
        """Care-of addresses of mobile routers that co-primaries hold as our proxies."""
        self._claimants: dict[Address, Peer] = {}
        """Who of another group has told of a replica."""
        if ownership.floats:
            bindings.observers.append(self._forget_claimant)

    def review_all(self) -> None:
        """Owners may have changed."""
        if self._ownership.co_primaries:
            self._to_review = {one.home_address: None for one in self._bindings.cache}

    def told(self, told: Told, now: Now) -> None:
        """A co-primary says something of one home address."""
        theirs = told.binding
        if told.by.locate is Locate.REACTIVE:
            theirs = theirs._replace(expires=min(theirs.expires, now.monotonic + REACTIVE_REPLICA))
        home_address = theirs.home_address
        ours = self._bindings.cache.last(home_address)
        if self._is_news_of_proxy(theirs, ours, told.by, now):
            return
        if ours is not None and not _supersedes(theirs, ours):
            if _says_more(ours, theirs):
                self._replication.tell(home_address, told.by)
                self._outbid(home_address, theirs.mobility_sequence, now)
            return
        self._note_claimant(told, ours)
        if not theirs.expires:
            self._ended(theirs, ours)
            return
        current = self._bindings.cache.get(home_address)
        if ours is not None and self._is_outranked(theirs, ours):
            # We have given out a higher one while we did not see each other: whoever has it must lose it.
            theirs = theirs._replace(mobility_sequence=next_sequence(ours))
            self._replication.tell(home_address, told.by)
        if theirs.peer == self._node.config.haha and current is not None and not current.kind.is_elsewhere:
            # It may know of a Binding Update of which we have no acknowledgement: we are still to be told.
            if theirs.mobility_sequence > current.mobility_sequence:
                ours_still = current._replace(mobility_sequence=theirs.mobility_sequence)
                self._bindings.replace(current, ours_still, now)
            return
        if current is not None and _is_known(theirs, current):
            return
        self._bindings.replace(current, theirs, now)
        if current is not None and current.kind is not BindingKind.REPLICA:
            self._node.note("%s is bound elsewhere, says %s", home_address, told.by.name)
            self._primary.bound(current, theirs, now)
        self._to_review[home_address] = None

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return 0.0 if self._to_review else self._switches.next()

    def handle_timer(self, now: Now) -> None:
        """Do what has been found to be due."""
        for home_address in list(self._to_review)[:AT_ONCE]:
            del self._to_review[home_address]
            self._review(home_address, now)
        for home_address in self._switches.due(now.monotonic):
            self._tell_to_switch(home_address, now)

    def _is_news_of_proxy(self, theirs: Binding, ours: Binding | None, by: Peer, now: Now) -> bool:
        """Whether a co-primary, which holds as proxy what we are primary for, says where the mobile router
        is: if it goes down, we can reach that. A refresh or move under the same proxy makes a later order."""
        if ours is None or not (ours.expires and theirs.expires) or ours.kind is not BindingKind.PROXIED:
            return False
        if not by.haha == theirs.peer == ours.peer or ours.order.is_newer_than(theirs.order):
            return False
        self._care_of[theirs.home_address] = theirs.care_of_address
        if ours.order != theirs.order:
            # While it was the owner itself it may have granted more than we had.
            expires = max(ours.expires, theirs.expires)
            self._bindings.replace(ours, ours._replace(order=theirs.order, expires=expires), now)
        return True

    def _is_outranked(self, theirs: Binding, ours: Binding) -> bool:
        """Whether what supersedes ours is of another attachment, and does not have the higher sequence."""
        if theirs.mobility_sequence != ours.mobility_sequence:
            return theirs.mobility_sequence < ours.mobility_sequence
        holder = ours.peer if ours.kind.is_elsewhere else self._node.config.haha
        return theirs.order != ours.order and theirs.peer != holder

    def _ended(self, theirs: Binding, ours: Binding | None) -> None:
        current = self._bindings.cache.get(theirs.home_address)
        if current is not None:
            ended = current._replace(order=theirs.order, mobility_sequence=theirs.mobility_sequence)
            self._bindings.end(ended, Ending.DEREGISTERED)
        elif ours is None or ours.order != theirs.order:
            self._bindings.remember(theirs)

    def _outbid(self, home_address: Address, mobility_sequence: int, now: Now) -> None:
        """While we did not see each other the other has handed out a higher mobility sequence than ours."""
        current = self._bindings.cache.get(home_address)
        if current is None or current.kind not in _PRIMARY or mobility_sequence < current.mobility_sequence:
            return
        sequence = min(mobility_sequence + 1, HIGHEST_SEQUENCE)
        self._bindings.replace(current, current._replace(mobility_sequence=sequence), now)

    def _review(self, home_address: Address, now: Now) -> None:
        current = self._bindings.cache.get(home_address)
        if current is None or not self._node.config.is_primary_for(home_address):
            return
        owner = self._ownership.owner(home_address)
        after = self._as_owner(current, now) if owner is None else _as_other(current, owner)
        if after is not None:
            self._bindings.replace(current, after, now)
            if owner is not None:
                self._replication.tell(home_address, owner)

    def _as_owner(self, current: Binding, now: Now) -> Binding | None:
        match current.kind:
            case BindingKind.PROXY:
                return current._replace(kind=BindingKind.DIRECT, peer=None)
            case BindingKind.REPLICA if self._is_claimed(current):
                pass
            case BindingKind.REPLICA if (holder := self._holder(current)) is not None:
                if self._home_agents.is_up(holder):
                    if current.care_of_address not in self._node.home_agents:
                        self._care_of[current.home_address] = current.care_of_address
                    return current._replace(
                        kind=BindingKind.PROXIED,
                        care_of_address=_address_of(holder, current),
                        # The former owner may still be announcing it in the site: ours is the newest.
                        registered=now.wall,
                    )
                if self._home_agents.is_down(holder):
                    self._call(current, now)
            case BindingKind.PROXIED if (holder := self._holder(current)) is not None:
                if self._home_agents.is_down(holder):
                    self._call(current, now)
        return None

    def _note_claimant(self, told: Told, ours: Binding | None) -> None:
        theirs, by = told.binding, told.by
        if by.locate is Locate.PREDICTIVE:
            if ours is None or ours.order != theirs.order:  # else it may pass on what it was told itself
                self._claimants.pop(theirs.home_address, None)
        elif theirs.expires:
            self._claimants[theirs.home_address] = by

    def _forget_claimant(self, before: Binding | None, after: Binding | None) -> None:
        if before is not None and (after is None or after.kind is not BindingKind.REPLICA):
            self._claimants.pop(before.home_address, None)

    def _is_claimed(self, replica: Binding) -> bool:
        """Whether its primary is of another group, or has become one of those."""
        home_address, config = replica.home_address, self._node.config
        claimant = self._claimants.get(home_address) or self._holder(replica)
        if claimant is None or not claimant.is_primary_for(home_address):
            # Those who have not told yet may know better.
            return self._ownership.floats and self._replication.catching_up_until is not None
        if claimant.locate is Locate.PREDICTIVE:
            return False
        others = [peer for peer in config.primary_for(home_address) if peer.group == claimant.group]
        if claimant.locate is Locate.REACTIVE or not all(map(self._home_agents.is_down, others)):
            return True
        return not self._ownership.inherits(home_address)

    def _holder(self, elsewhere: Binding) -> Peer | None:
        return self._peers.get(elsewhere.peer) if elsewhere.peer is not None else None

    def _reached_at(self, orphan: Binding) -> Address | None:
        """Where the mobile router is, if we know."""
        if orphan.care_of_address not in self._node.home_agents:
            return orphan.care_of_address
        return self._care_of.get(orphan.home_address)

    def _call(self, orphan: Binding, now: Now) -> None:
        """Its mobile router's tunnel ends at a Home Agent that is down."""
        home_address = orphan.home_address
        if self._reached_at(orphan) is not None and home_address not in self._attempts:
            self._attempts[home_address] = 0
            # All of them at once would be answered by Binding Updates all at once.
            self._switches.set(home_address, now.monotonic + len(self._attempts) / SWITCHES_A_SECOND)

    def _tell_to_switch(self, home_address: Address, now: Now) -> None:
        current = self._bindings.cache.get(home_address)
        attempt = self._attempts[home_address]
        holder, at = None, None
        if current is not None and current.kind.is_elsewhere:
            holder, at = self._holder(current), self._reached_at(current)
        if (
            current is None
            or holder is None
            or at is None
            or not self._home_agents.is_down(holder)
            or attempt == len(SWITCH_ATTEMPTS)
        ):
            del self._attempts[home_address]
            return
        if not attempt:
            self._node.note("%s is down: %s is told to switch to us", holder.name, home_address)
        self._notices.invite(current._replace(care_of_address=at), attempt, now)
        self._attempts[home_address] = attempt + 1
        self._switches.set(home_address, now.monotonic + SWITCH_ATTEMPTS[min(attempt + 1, 3)])


_PRIMARY = (BindingKind.DIRECT, BindingKind.PROXIED)


def _address_of(holder: Peer, current: Binding) -> Address:
    """By which a proxy is reached: of a satellite, what its parent lends."""
    return current.care_of_address if current.care_of_address in holder.addresses else holder.haha


def _as_other(current: Binding, owner: Peer) -> Binding | None:
    match current.kind:
        case BindingKind.DIRECT:
            return current._replace(kind=BindingKind.PROXY, peer=owner.haha)
        case BindingKind.PROXIED:
            return current._replace(kind=BindingKind.REPLICA)
        case BindingKind.PROXY if current.peer != owner.haha:
            return current._replace(peer=owner.haha)
    return None


def _is_known(replica: Binding, current: Binding) -> bool:
    """Whether a replica says nothing new; lifetimes are told in units of 4 s."""
    same = replica.means_the_same(current) and replica.order == current.order
    return same and abs(replica.expires - current.expires) < 2 * 4


def _supersedes(theirs: Binding, ours: Binding) -> bool:
    """Whether what another says takes the place of what we know."""
    if theirs.order != ours.order:
        return theirs.order.is_newer_than(ours.order)
    if theirs.mobility_sequence != ours.mobility_sequence:
        return theirs.mobility_sequence > ours.mobility_sequence
    # Of one Binding Update: who has made the binding knows best what has become of it.
    return ours.kind is BindingKind.REPLICA


def _says_more(ours: Binding, theirs: Binding) -> bool:
    return (
        ours.order != theirs.order
        or ours.mobility_sequence != theirs.mobility_sequence
        or bool(ours.expires) != bool(theirs.expires)
    )
