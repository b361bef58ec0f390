"""Mobile Prefix Solicitation and Advertisement (RFC 6275 s.6.7, s.6.8, s.10.6): what a mobile router away
from home is told about the subnet of its home address.

    quiet     --bound, in a subnet with an end--> scheduled   600 s to one day later, at random
    quiet     --the subnet's times changed------> scheduled
    scheduled --its moment----------------------> sent        and again after 3, 6, 12 s
    sent      --solicitation--------------------> scheduled   it has heard; the solicitation is answered
    sent      --all repetitions-----------------> scheduled

The messages should travel in IPsec (s.5.4), and RFC 4285 has no authenticator for ICMPv6. So a mobile
router cannot be sure of an advertisement, nor we of a solicitation: it changes nothing but that, is answered
to the care-of address of a live binding only, and once a second at most (s.6.8).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from math import inf
from random import Random
from typing import NamedTuple

from ..wire.address import Address
from ..wire.codes import BindingErrorStatus
from ..wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    decode_icmpv6,
    encode_icmpv6,
)
from ..wire.ipv6 import IcmpPacket, build_icmpv6
from .binding import Binding
from .bindings import Bindings
from .deadlines import Deadlines
from .drops import Drop
from .home_subnets import HomeSubnet, HomeSubnets
from .messages import binding_error_packet
from .node import Node
from .rate_limit import RateLimit
from .time import Now

MAX_ADVERTISEMENT_INTERVAL = 86400.0
MIN_ADVERTISEMENT_INTERVAL = 600.0
"""MaxMobPfxAdvInterval, MinMobPfxAdvInterval (RFC 6275 s.13), seconds."""
ADVERTISEMENT_RETRIES = 3
ADVERTISEMENT_TIMEOUT = 3.0
"""PREFIX_ADV_RETRIES; PREFIX_ADV_TIMEOUT in seconds, doubled each time (RFC 6275 s.12)."""
LEAST_GAP = 1.0
"""Seconds between two advertisements to one mobile router (RFC 6275 s.6.8)."""
LEAST_DELAY = 60.0
"""Seconds until one that nobody has asked for."""
SOLICITATIONS_A_SECOND = 200.0
"""Answered, of all mobile routers."""
_FOR_EVER = 0xFFFFFFFF


class _Schedule(NamedTuple):
    attempt: int = 0
    """How often the advertisement that is scheduled has been sent."""
    identifier: int = 0


class PrefixDiscovery:
    """Answers solicitations, and advertises by itself what is about to change."""

    def __init__(self, node: Node, bindings: Bindings, random: Random) -> None:
        self._node = node
        self._bindings = bindings
        self._random = random
        self._schedules: dict[Address, _Schedule] = {}
        self._deadlines: Deadlines[Address] = Deadlines()
        self._sent: dict[Address, float] = {}
        """When somebody has been sent one, for a second; oldest first."""
        self._limit = RateLimit(SOLICITATIONS_A_SECOND, SOLICITATIONS_A_SECOND)
        node.listeners.append(self.watch)

    def watch(self, home_address: Address, now: Now) -> None:
        """A mobile router is bound here, newly or again."""
        if self._node.subnets and home_address not in self._schedules:
            _, valid_until, preferred_until = self._node.subnets.subnet(home_address)
            if min(valid_until, preferred_until) < inf:
                self._schedule(home_address, now)

    def change(self, subnets: Iterable[HomeSubnet], now: Now) -> None:
        """Home is renumbered: other times hold from now on. A binding ends no later than its subnet."""
        before, after = self._node.subnets, HomeSubnets(subnets)
        self._node.subnets = after
        for binding in list(self._bindings.cache):
            home_address = binding.home_address
            if before.subnet(home_address) == after.subnet(home_address):
                continue
            valid = after.lifetimes(home_address, now.wall).valid
            if binding.expires > now.monotonic + valid:
                self._bindings.shorten(binding, now.monotonic + valid, now)
            if not binding.kind.is_elsewhere:
                self._schedule(home_address, now)

    def receive(self, packet: IcmpPacket, now: Now) -> None:
        """A Mobile Prefix Solicitation to our outer address. Raises MalformedPacket."""
        node, home_address = self._node, packet.home_address
        message = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
        if not isinstance(message, MobilePrefixSolicitation) or home_address is None:
            node.drop(Drop.UNEXPECTED_MESSAGE)
            return
        if packet.destination != node.config.outer or not packet.source.is_routable_unicast:
            node.drop(Drop.NOT_FOR_US)
            return
        binding = self._bindings.cache.get(home_address)
        if binding is None or binding.care_of_address != packet.source:
            self._answer_unbound(packet.source, home_address, now)
        elif self._sent.get(home_address, -inf) + LEAST_GAP > now.monotonic or not self._limit.allows(
            now.monotonic
        ):
            node.drop(Drop.TOO_MANY_SOLICITATIONS)
        else:
            if home_address in self._schedules and self._schedules[home_address].attempt:
                self._schedule(home_address, now)
            node.counters["solicitation_answered"] += 1
            self._send(binding, message.identifier, now)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return self._deadlines.next()

    def handle_timer(self, now: Now) -> None:
        """Send what is due."""
        for home_address in self._deadlines.due(now.monotonic):
            schedule = self._schedules.pop(home_address)
            binding = self._bindings.cache.get(home_address)
            if binding is None or binding.kind.is_elsewhere:
                continue
            identifier = schedule.identifier if schedule.attempt else self._random.randrange(1, 65536)
            self._node.counters["prefixes_advertised"] += 1
            self._send(binding, identifier, now)
            if schedule.attempt < ADVERTISEMENT_RETRIES:
                self._schedules[home_address] = _Schedule(schedule.attempt + 1, identifier)
                again = now.monotonic + ADVERTISEMENT_TIMEOUT * 2**schedule.attempt
                self._deadlines.set(home_address, again)
            else:
                self._schedule(home_address, now)

    def _schedule(self, home_address: Address, now: Now) -> None:
        """RFC 6275 s.10.6.2; in any case before half of what is left of the subnet has passed."""
        left = self._node.subnets.lifetimes(home_address, now.wall)
        longest = min(MAX_ADVERTISEMENT_INTERVAL, left.preferred)
        spread = max(int(abs(longest - MIN_ADVERTISEMENT_INTERVAL)), 1)
        delay = MIN_ADVERTISEMENT_INTERVAL + self._random.randrange(spread)
        self._schedules[home_address] = _Schedule()
        # Not at the last moment for everybody: there may be 100,000 whom the same change concerns.
        latest = left.valid / 2 * (1 + self._random.random()) / 2
        self._deadlines.set(home_address, now.monotonic + max(min(delay, latest), LEAST_DELAY))

    def _send(self, binding: Binding, identifier: int, now: Now) -> None:
        home_address, source = binding.home_address, self._node.config.outer
        sent = self._sent
        sent.pop(home_address, None)
        # The oldest come first.
        for one in list(takewhile(lambda one: sent[one] + LEAST_GAP <= now.monotonic, sent)):
            del sent[one]
        sent[home_address] = now.monotonic
        subnet = self._node.subnets.subnet(home_address).prefix
        left = self._node.subnets.lifetimes(home_address, now.wall)
        # No link has the subnet, no address in it is ours, and home addresses are given out by hand: L, A and
        # R are clear, and there is no DHCPv6 for M and O (s.6.8).
        information = PrefixInformation(
            subnet.address, subnet.length, _in_seconds(left.valid), _in_seconds(left.preferred)
        )
        message = MobilePrefixAdvertisement(identifier, managed=False, other=False, prefixes=(information,))
        self._node.transmit(
            build_icmpv6(
                source,
                binding.care_of_address,
                encode_icmpv6(message, source, home_address),
                routing_home_address=home_address,
            )
        )

    def _answer_unbound(self, source: Address, home_address: Address, now: Now) -> None:
        """RFC 6275 s.9.3.1: a home address without a binding to the packet's source."""
        self._node.drop(Drop.NOT_FROM_ITS_CARE_OF_ADDRESS)
        if self._node.answers_stranger(now):
            outer, status = self._node.config.outer, BindingErrorStatus.UNKNOWN_BINDING
            self._node.transmit(binding_error_packet(outer, source, home_address, status))


def _in_seconds(lifetime: float) -> int:
    return _FOR_EVER if lifetime == inf else min(int(lifetime), _FOR_EVER - 1)
