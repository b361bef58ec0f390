"""What a Home Agent tells mobile routers unasked: refresh a binding (RFC 6275 s.9.5.5), switch to another
Home Agent (RFC 5142)."""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.address import Address
from ..wire.messages import BindingRefreshRequest, HomeAgentSwitch
from ..wire.options import BindingRefreshAdvice, MobilityOption, ReplayProtection
from .binding import Binding, BindingKind, Order
from .bindings import Bindings
from .deadlines import Deadlines
from .home import Peer
from .home_agent_switch import HomeAgentSwitches
from .messages import notice_packet
from .node import Node
from .rate_limit import RateLimit
from .refresh_requests import INTERVAL, REQUESTS, REQUESTS_A_SECOND, RefreshRequests
from .routes import KernelRoute, Metric
from .time import Now

MOST_ADDRESSES = 16
"""In one Home Agent Switch message: a mobile router tries one after the other."""
_LONGEST_ADVICE = 262_140


class Notices:
    """Sends both, to the mobile routers that are bound here themselves: one behind a proxy is the proxy's."""

    def __init__(self, node: Node, bindings: Bindings) -> None:
        self._node = node
        self._bindings = bindings
        self._refreshes = RefreshRequests(bindings.cache)
        self._switches = HomeAgentSwitches(node.leaving)
        self._prohibited: dict[Address, tuple[Binding, int]] = {}
        """Bindings that have ended for their policy, or are forgotten; how often a new one has been asked
        for."""
        self._ask_again: Deadlines[Address] = Deadlines()
        self._limit = RateLimit(REQUESTS_A_SECOND, REQUESTS_A_SECOND)
        node.listeners.append(self.watch)

    @property
    def interval(self) -> float:
        """Seconds between the first messages to two mobile routers that are to switch."""
        return self._switches.interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        self._switches.interval = seconds

    @property
    def turn_at(self) -> float:
        """When the next one may be told to, on the monotonic clock."""
        return self._switches.turn_at

    def messages(self, home_address: Address) -> int:
        """How often one that is to switch has been told."""
        return self._switches.messages(home_address)

    def watch(self, home_address: Address, now: Now) -> None:
        """A mobile router is bound here, newly or again."""
        # A refresh would have been refused: it had gone, and has come back.
        self._switches.stop(home_address)
        self._forget(home_address)

    def prohibited(self, binding: Binding, now: Now) -> None:
        """A binding has ended because its policy no longer allows it, or its primary has forgotten it. Its
        mobile router believes that it is bound; asked to refresh it gets a new binding, or hears why not."""
        if self._node.config.refresh_requests:
            self._prohibited[binding.home_address] = binding, 0
            self._ask(binding.home_address, now)

    def forgotten(self, present: Iterable[KernelRoute], now: Now) -> None:
        """Routes that the kernel has from before our start. Who is routed to, and of whose binding nothing is
        known, not even its end, is asked for another one: the store is lost, or older than the kernel."""
        config = self._node.config
        lost = [
            Binding(
                home_address=route.prefix.address,
                care_of_address=route.tunnel_exit,
                prefixes=(),
                mobile_router=True,
                kind=BindingKind.DIRECT,
                order=Order(0, 0),
                mobility_sequence=0,
                peer=None,
                registered=now.wall,
                expires=now.monotonic + config.max_binding_lifetime,
            )
            for route in present
            if route.metric == Metric.BINDING and route.prefix.length == 128 and route.tunnel_exit is not None
            if self._bindings.cache.last(route.prefix.address) is None
        ]
        if lost:
            self._node.note("the kernel has %d bindings that the store has not: asked for again", len(lost))
        for binding in lost:
            self.prohibited(binding, now)

    def about_to_end(self, binding: Binding, now: Now) -> None:
        """A binding that `BindingCache.due` has given, and whose lifetime has not passed."""
        ask = self._refreshes.about_to_end(binding, now.monotonic)
        if (
            not ask
            or not self._node.config.refresh_requests
            or self._bound_here(binding.home_address) is None
        ):
            return
        if binding.home_address not in self._node.leaving:
            self._node.counters["refresh_requested"] += 1
            self._send(binding, BindingRefreshRequest((ReplayProtection(self._node.stamp(now)),)))

    def switch(self, home_addresses: Iterable[Address], towards: Iterable[Address]) -> list[Address]:
        """Send mobile routers to other Home Agents, by their outer addresses; gives those that are bound
        here, the others are left alone."""
        bound = [one for one in home_addresses if self._bound_here(one) is not None]
        self._switches.start(bound, tuple(towards)[:MOST_ADDRESSES])
        return bound

    def invite(self, binding: Binding, attempt: int, now: Now) -> None:
        """Tell a mobile router, whose Home Agent is down, to switch to us."""
        self._node.counters["switch_sent"] += 1
        stamp = ReplayProtection(self._node.stamp(now))
        self._send(binding, HomeAgentSwitch((self._node.config.outer,), (stamp,)), attempt)

    def point_to(self, binding: Binding, peer: Peer, attempt: int, now: Now) -> None:
        """Tell a mobile router of a better Home Agent, and that it may stay."""
        self._node.counters["switch_sent"] += 1
        stamp = ReplayProtection(self._node.stamp(now))
        home_agents = (peer.outer, self._node.config.outer)
        self._send(binding, HomeAgentSwitch(home_agents, (stamp,)), attempt)

    def stay(self, home_addresses: Iterable[Address]) -> None:
        """Call that off; who has been told already may leave all the same."""
        for home_address in home_addresses:
            self._switches.stop(home_address)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = (self._switches.next_timer(), self._ask_again.next())
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: Now) -> None:
        """Send what is due."""
        for home_address in self._ask_again.due(now.monotonic):
            self._ask(home_address, now)
        self.send_switches(now)

    def send_switches(self, now: Now) -> None:
        """Tell those to switch whose turn it is."""
        for message in self._switches.due(now.monotonic):
            leaver = self._bound_here(message.home_address)
            if leaver is None:
                self._switches.stop(message.home_address)
                continue
            self._node.counters["switch_sent"] += 1
            if not message.attempt:
                self._node.note("%s is told to switch to another Home Agent", message.home_address)
            self._send(leaver, self._switch_message(leaver, message.towards, now), message.attempt)

    def _ask(self, home_address: Address, now: Now) -> None:
        binding, times = self._prohibited[home_address]
        if self._bindings.cache.get(home_address) not in (None, binding) or binding.expires <= now.monotonic:
            self._forget(home_address)
            return
        if self._limit.allows(now.monotonic):
            times += 1
            self._node.counters["refresh_requested"] += 1
            self._send(binding, BindingRefreshRequest((ReplayProtection(self._node.stamp(now)),)), times - 1)
        if times < REQUESTS:
            self._prohibited[home_address] = binding, times
            self._ask_again.set(home_address, now.monotonic + INTERVAL)
        else:
            self._forget(home_address)

    def _forget(self, home_address: Address) -> None:
        self._prohibited.pop(home_address, None)
        self._ask_again.cancel(home_address)

    def _switch_message(self, binding: Binding, towards: tuple[Address, ...], now: Now) -> HomeAgentSwitch:
        options: list[MobilityOption] = []
        left = min(int(binding.expires - now.monotonic) // 4 * 4, _LONGEST_ADVICE)
        if left > 0:
            # RFC 5142 s.5.1: until then it is served here.
            options.append(BindingRefreshAdvice(left))
        options.append(ReplayProtection(self._node.stamp(now)))
        return HomeAgentSwitch(towards, tuple(options))

    def _bound_here(self, home_address: Address) -> Binding | None:
        binding = self._bindings.cache.get(home_address)
        if binding is None or binding.kind.is_elsewhere or binding.is_vouched:
            return None  # of somebody else's, or with a key that is
        return binding

    def _send(
        self, binding: Binding, message: BindingRefreshRequest | HomeAgentSwitch, attempt: int = 0
    ) -> None:
        config = self._node.config
        policy = config.mobile_routers.get(binding.home_address)
        if policy is None or not policy.associations or binding.is_vouched:
            return  # only its primary could sign it
        # While a key is being changed nothing tells which of the two it has: a repetition takes the other.
        association = policy.associations[attempt % len(policy.associations)]
        self._node.transmit(
            notice_packet(config.outer, binding.care_of_address, binding.home_address, message, association)
        )
