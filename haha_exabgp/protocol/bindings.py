"""Making, changing and ending bindings, with everything in the world that follows from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from ..wire.address import Address, Prefix
from .binding import Binding, BindingKind, Ending
from .binding_cache import BindingCache
from .damping import Damping
from .effects import Remember
from .footprint import LEAKED
from .home import HomeAgentConfig, MobileRouterPolicy, Peer
from .leaks import Leaks
from .nesting import Nesting
from .node import Node
from .overlap import Overlaps
from .registration import Context, Granted
from .request import Request
from .routes import LearnedRoute
from .time import Now
from .wanted import WantedState

HIGHEST_SEQUENCE = (1 << 32) - 1
"""A mobility sequence has 32 bits; the seconds of the wall clock fill them in 2106."""
MAX_DELETE_BCE_TIMEOUT = 10.0
"""Seconds after a de-registration in which a late Binding Update is told that its number is old (RFC 6275
s.10.3.2, s.12)."""


def next_sequence(last: Binding | None) -> int:
    """The lowest mobility sequence that outranks the last binding of a home address."""
    return min(last.mobility_sequence + 1, HIGHEST_SEQUENCE) if last is not None else 0


class Bindings:
    """The binding cache of a Home Agent and the footprints of what is in it."""

    def __init__(
        self,
        node: Node,
        wanted: WantedState,
        leaked_elsewhere: Callable[[Iterable[Prefix]], int],
        changed: Callable[[Binding], None] = lambda binding: None,
    ) -> None:
        """`leaked_elsewhere(prefixes)` gives the highest mobility sequence with which another site leaks
        one of them, 0 for none. `changed(binding)`: `is_outdated` may say something else now of what it
        routes."""
        self._node = node
        self._wanted = wanted
        self._leaked_elsewhere = leaked_elsewhere
        self._changed = changed
        self.cache = BindingCache()
        self.observers: list[Callable[[Binding | None, Binding | None], None]] = []
        """Called with what was and what is, when what a binding means has changed."""
        self.nesting = Nesting(node.config, self.behind)
        self.overlaps = Overlaps(node.config.home, wanted)
        self.leaks = Leaks(node, wanted, leaked_elsewhere)
        self.damping = Damping(node.config.flap_moves, node.config.flap_window)
        self.endings: dict[Address, Ending] = {}
        """Why the last binding of a home address has ended, if one has since the start."""
        self._holders: dict[Prefix, Address] = {}
        """The home address that each mobile network prefix is bound to."""
        self._lengths: set[int] = set()
        """Of all of these that there have been."""
        self._ended: dict[Prefix, Address] = {}
        """The home address by whose last binding we, as primary, routed a prefix, if that has ended."""
        self._left: dict[Address, float] = {}
        """When a home address was de-registered, on the monotonic clock; the last ones."""
        self._left_in_order: deque[tuple[float, Address]] = deque()
        """The same, oldest first."""
        self.listeners: list[Callable[[Binding], None]] = []
        """Called with every binding that is made, changed or ended."""

    def restore(self, bindings: Iterable[Binding], now: Now) -> None:
        """Take up stored bindings, ended ones among them. One that the configuration, which may have
        changed since, no longer allows has ended."""
        if self._node.config.max_leaks is not None:
            # Who has been here for longest was leaked, as likely as not.
            bindings = sorted(bindings, key=lambda one: one.registered)
        for stored in bindings:
            binding = stored if self.is_allowed(stored) else stored._replace(expires=0.0)
            self.cache.put(binding, now.monotonic)
            if binding.expires:
                self._rebind(None, binding)
            else:
                self._note_end(binding)
                self._changed(binding)

    def context(
        self,
        home_address: Address,
        now: Now,
        proxy: Address | None = None,
        policy: MobileRouterPolicy | None = None,
    ) -> Context:
        """What a Binding Update for this home address is judged against; `proxy` is the HAHA address of
        who relays it, `policy` that of its mobile router, where it is not known here. Raises KeyError when
        there is none."""
        node, cache = self._node, self.cache
        config = node.config
        policy = policy or config.mobile_routers[home_address]
        current = cache.get(home_address)
        last = current or cache.last(home_address)
        if current is not None and current.kind is BindingKind.SECONDARY:
            current = None  # it is bound to a satellite, not to us
        return Context(
            policy,
            config,
            current,
            last,
            now,
            config.outer if proxy is None else config.outer_of(proxy),
            proxy,
            now.monotonic - self._left.get(home_address, -inf) < MAX_DELETE_BCE_TIMEOUT,
            home_address in node.leaving,
            node.is_closed_to is not None and node.is_closed_to(policy),
            len(cache),
            self._holders,
            self.nesting,
            node.home_agents,
            node.subnets.lifetimes(home_address, now.wall),
        )

    def holder(self, prefix: Prefix) -> Binding | None:
        """The live binding by which a prefix, or the /128 of a home address, is routed."""
        return self.cache.get(self._holders.get(prefix, prefix.address))

    def ended(self, prefix: Prefix) -> Binding | None:
        """The last binding by which we, as primary, routed a prefix; None while one does."""
        if self.holder(prefix) is not None or prefix not in self._ended:
            return None
        return self.cache.last(self._ended[prefix])

    def is_outdated(self, leak: LearnedRoute) -> bool:
        """Whether a leak is of an attachment before the last one that we, as primary, know of."""
        binding = self.holder(leak.prefix)
        if binding is None:
            ended = self.ended(leak.prefix)
            return ended is not None and leak.sequence < self._lowest_that_counts(ended)
        return binding.kind not in LEAKED and leak.sequence < binding.mobility_sequence

    def _lowest_that_counts(self, ended: Binding) -> int:
        """The mobility sequence of a leak that is not of that binding, which has ended, or one before."""
        is_told = ended.kind is BindingKind.REPLICA and self._node.config.is_asked_for(ended.home_address)
        # Where primaries ask, they do not hear of what they were told further on: it goes on elsewhere.
        return ended.mobility_sequence if is_told else ended.mobility_sequence + 1

    def behind(self, address: Address) -> Binding | None:
        """The live binding that packets to an address follow."""
        bound = self.cache.get(address)
        for length in () if bound is not None else self._lengths:
            home_address = self._holders.get(Prefix.of(address, length))
            if home_address is not None:
                return self.cache.get(home_address)
        return bound

    def rival_sequence(self, home_address: Address, prefixes: tuple[Prefix, ...] = ()) -> int:
        """The highest mobility sequence of a leak of another site that competes with a binding here;
        `prefixes` those of the binding, where the mobile router is not known here."""
        policy = self._node.config.mobile_routers.get(home_address)
        if policy is not None:
            prefixes = policy.prefixes
        return self._leaked_elsewhere((*prefixes, Prefix.host(home_address)))

    def bind_as_primary(
        self,
        request: Request,
        proxy: tuple[Address, Address] | None,
        granted: Granted,
        now: Now,
        rival: int = 0,
    ) -> Binding:
        """A binding for which we are primary: direct, or to a proxy, by its HAHA address and its care-of
        address, which knows a leak with the mobility sequence `rival`."""
        if proxy is None:
            kind, peer, care_of_address = BindingKind.DIRECT, None, request.care_of_address
        else:
            kind, (peer, care_of_address) = BindingKind.PROXIED, proxy
        current = self.cache.get(request.home_address)
        is_where_it_was = current is not None and (current.kind, current.peer) == (kind, peer)
        if proxy is not None and current is not None and current.care_of_address != care_of_address:
            is_where_it_was = False  # a satellite under another parent
        if current is not None and is_where_it_was:
            sequence = min(max(current.mobility_sequence, rival + 1 if rival else 0), HIGHEST_SEQUENCE)
        else:
            sequence = self._new_sequence(request.home_address, rival, now)
            if self.cache.last(request.home_address) is not None:
                self._note_move(request.home_address, now)
        binding = self._bind(request, granted, now, kind, care_of_address, peer, sequence)
        leaves = kind is BindingKind.PROXIED and current is not None and current.kind is BindingKind.DIRECT
        if leaves and current is not None and current.care_of_address == request.care_of_address:
            self.overlaps.begin(current, now.monotonic)
        return binding

    def move_proxied(self, current: Binding, care_of_address: Address, rival: int, now: Now) -> Binding:
        """The proxy of a live binding, a satellite, is reached under another address: a change of attachment
        that prolongs nothing."""
        if current.care_of_address == care_of_address:
            return current
        sequence = self._new_sequence(current.home_address, rival, now)
        moved = current._replace(care_of_address=care_of_address, mobility_sequence=sequence)
        self._put(current, moved, now)
        return moved

    def _new_sequence(self, home_address: Address, rival: int, now: Now) -> int:
        """Rises with every change of attachment, also past what was given before our memory was lost."""
        rival = max(rival, self.rival_sequence(home_address))
        last = self.cache.last(home_address)
        return min(max(next_sequence(last), rival + 1, int(now.wall)), HIGHEST_SEQUENCE)

    def bind_as_proxy(
        self,
        request: Request,
        primary: Address,
        granted: Granted,
        mobility_sequence: int,
        now: Now,
        *,
        is_vouched: bool = False,
    ) -> Binding:
        """A binding that the primary, by its HAHA address, has accepted for us; `is_vouched`: only the
        primary could tell that the Binding Update was authentic."""
        care_of_address = request.care_of_address
        return self._bind(
            request, granted, now, BindingKind.PROXY, care_of_address, primary, mobility_sequence, is_vouched
        )

    def bind_secondary(self, binding: Binding, now: Now) -> None:
        """A binding that a satellite of ours has told us of."""
        self._put(self.cache.get(binding.home_address), binding, now)

    def resequence(self, current: Binding, mobility_sequence: int, expires: float, now: Now) -> Binding:
        """The primary gives a live proxy binding another mobility sequence."""
        changed = current._replace(mobility_sequence=mobility_sequence, expires=expires)
        self._put(current, changed, now)
        return changed

    def renew(self, current: Binding, request: Request, lifetime: int, now: Now) -> None:
        """Refresh or move a binding whose attachment stays as it is."""
        moved = current.care_of_address != request.care_of_address
        self._put(
            current,
            current._replace(
                care_of_address=request.care_of_address,
                order=request.order,
                registered=now.wall if moved else current.registered,
                expires=now.monotonic + lifetime,
            ),
            now,
        )

    def shorten(self, current: Binding, expires: float, now: Now) -> None:
        """End a live binding earlier than was granted."""
        self._put(current, current._replace(expires=expires), now)

    def deregister(self, request: Request, now: Now) -> None:
        """The mobile router has gone; its order is kept, so that older updates stay refused."""
        left, in_order = self._left, self._left_in_order
        left[request.home_address] = now.monotonic
        in_order.append((now.monotonic, request.home_address))
        while in_order[0][0] + MAX_DELETE_BCE_TIMEOUT <= now.monotonic:
            moment, first = in_order.popleft()
            if left.get(first) == moment:
                del left[first]
        current = self.cache.get(request.home_address)
        if current is not None:
            self._node.note("%s has de-registered", request.home_address)
            # Whoever held it, it was told to us: others have to hear it from us.
            kind = BindingKind.PROXIED if current.kind is BindingKind.REPLICA else current.kind
            self.end(current._replace(order=request.order, kind=kind), Ending.DEREGISTERED)

    def end(self, binding: Binding, why: Ending) -> None:
        """Remove a live binding and everything derived from it; remember it as it is given."""
        live = self.cache.get(binding.home_address)
        if live is None:
            return
        self.endings[binding.home_address] = why
        self._rebind(live, None)
        self.cache.remove(binding.home_address)
        self.remember(binding._replace(expires=0.0))

    def remember(self, ended: Binding) -> None:
        """Keep the order of a binding that has ended, here or elsewhere."""
        self.cache.put(ended, 0.0)
        self._remember(ended)

    def replace(self, current: Binding | None, binding: Binding, now: Now) -> None:
        """Put a binding in place of the live one; nobody has asked for it here."""
        self._put(current, binding, now)

    def is_allowed(self, binding: Binding) -> bool:
        """Whether the policy of its mobile router, and our place in the Home, still are such that a binding
        could be made."""
        config = self._node.config
        policy = config.mobile_routers.get(binding.home_address)
        if policy is None:
            return binding.is_vouched and self._has_primary(binding)
        if not set(binding.prefixes) <= set(policy.prefixes):
            return False
        return self._has_place(binding, policy)

    def _has_place(self, binding: Binding, policy: MobileRouterPolicy) -> bool:
        config = self._node.config
        ours = config.is_primary_for(binding.home_address)
        if binding.peer is None:
            return ours
        peer = next((peer for peer in config.peers if peer.haha == binding.peer), None)
        if binding.kind is BindingKind.REPLICA:
            return ours and (peer is not None or binding.peer == config.haha)
        return peer is not None and _may_stand(binding, peer, policy, config)

    def _has_primary(self, binding: Binding) -> bool:
        config = self._node.config
        is_primary = [peer.haha for peer in config.primary_for(binding.home_address)]
        return binding.peer in is_primary and not config.is_primary_for(binding.home_address)

    def leak_learned(self, route: LearnedRoute) -> None:
        """Another Home Agent leaks a prefix. With a higher sequence than ours, leaked or not: the mobile
        router is there. Of equal ones the lowest HAHA address counts."""
        binding = self.holder(route.prefix)
        if binding is None or binding.kind not in LEAKED or route.prefix not in binding.leaked():
            return
        sequence = binding.mobility_sequence
        if (-route.sequence, route.next_hop) < (-sequence, self._node.config.haha):
            what = "%s is bound elsewhere: %s is leaked with sequence %d"
            self._node.note(what, binding.home_address, route.prefix, route.sequence)
            self.end(binding, Ending.MOVED)
        else:
            self.leaks.rivalled(binding)

    def _note_move(self, home_address: Address, now: Now) -> None:
        if self._node.config.is_asked_for(home_address):
            return  # it has to be leaked
        if self.damping.moved(home_address, now.monotonic):
            config = self._node.config
            self._node.counters["mobile_routers_damped"] += 1
            what = (
                "%s moves too often, more than %d times in %d s: it is not leaked until it stays for as long"
            )
            self._node.note(what, home_address, config.flap_moves, config.flap_window)

    def _bind(  # noqa: PLR0917  (private, and every caller is in this file)
        self,
        request: Request,
        granted: Granted,
        now: Now,
        kind: BindingKind,
        care_of_address: Address,
        peer: Address | None,
        mobility_sequence: int,
        is_vouched: bool = False,
    ) -> Binding:
        current = self.cache.get(request.home_address)
        home_address, prefixes, registered = request.home_address, granted.prefixes, now.wall
        if current is not None:
            # What is equal is kept as it is: it takes half of a binding's memory, and dictionaries hold on to
            # the key that they were given first.
            home_address = current.home_address
            if current.prefixes == prefixes:
                prefixes = current.prefixes
            if current.care_of_address == care_of_address:
                care_of_address, registered = current.care_of_address, current.registered
        expires = now.monotonic + granted.lifetime
        if current is not None and current.order == request.order and current.peer == peer:
            # Said again, granted again, in whole units of 4 s: what was acknowledged before holds still.
            expires = max(expires, current.expires)
        binding = Binding(
            home_address,
            care_of_address,
            prefixes,
            request.mobile_router,
            kind,
            request.order,
            mobility_sequence,
            peer,
            registered,
            expires,
            is_vouched,
        )
        self._put(current, binding, now)
        return binding

    def _put(self, current: Binding | None, binding: Binding, now: Now) -> None:
        self.cache.put(binding, now.monotonic)
        if current is None or not current.means_the_same(binding):
            self._rebind(current, binding)
        self._remember(binding)
        if current is None or current.care_of_address != binding.care_of_address:
            what = "%s is bound (%s) at %s"
            self._node.note(what, binding.home_address, binding.kind, binding.care_of_address)

    def _remember(self, binding: Binding) -> None:
        self._node.emit(Remember(binding))
        for listener in self.listeners:
            listener(binding)

    def _rebind(self, before: Binding | None, after: Binding | None) -> None:
        if before is not None and (after is None or before.prefixes != after.prefixes):
            for prefix in before.prefixes:
                self._holders.pop(prefix, None)
            self._note_end(before)
        if after is not None:
            for prefix in after.prefixes:
                self._holders[prefix] = after.home_address
                self._lengths.add(prefix.length)
        binding = after or before
        if binding is not None:
            self.overlaps.end(binding.home_address)
        self.nesting.rebind(before, after)
        self.leaks.rebind(before, after)
        self._wanted.rebind(before, after)
        for observer in self.observers:
            observer(before, after)
        if before is None or after is None or not _outdates_the_same(before, after):
            for one in (before, after):
                if one is not None:
                    self._changed(one)

    def _note_end(self, binding: Binding) -> None:
        if binding.kind not in LEAKED or self._node.config.is_primary_for(binding.home_address):
            for prefix in binding.routes():
                self._ended[prefix] = binding.home_address


def _outdates_the_same(before: Binding, after: Binding) -> bool:
    """Whether a leak that must not be followed beside the one must not be beside the other."""
    same_routes = before.prefixes == after.prefixes and before.kind is after.kind
    return same_routes and before.mobility_sequence == after.mobility_sequence


def _may_stand(binding: Binding, peer: Peer, policy: MobileRouterPolicy, config: HomeAgentConfig) -> bool:
    """Whether a binding could be made that another Home Agent has a part in."""
    ours, theirs = config.is_primary_for(binding.home_address), peer.is_primary_for(binding.home_address)
    if binding.kind is BindingKind.PROXY:
        return theirs and policy.admits(config.name, is_primary=ours)
    if not policy.admits(peer.name, is_primary=theirs):
        return False
    if binding.kind is BindingKind.SECONDARY:
        lent = [one.address for one in peer.lent if one.parent == config.site]
        return not ours and binding.care_of_address in lent
    return ours and binding.care_of_address in peer.addresses
