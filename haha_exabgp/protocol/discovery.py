"""Dynamic Home Agent Address Discovery at layer 3 (RFC 6275 s.10.5, RFC 3963 s.7).

Every site answers for every home subnet inside the aggregate: anycast has already found the closest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from ..wire.anycast import is_home_agents_anycast
from ..wire.icmpv6 import (
    HomeAgentDiscoveryReply,
    HomeAgentDiscoveryRequest,
    decode_icmpv6,
    encode_icmpv6,
)
from ..wire.ipv6 import MINIMUM_MTU, IcmpPacket, build_icmpv6
from .drops import Drop
from .home import HomeAgentConfig, Peer
from .home_agents_list import Unknown

_MOST_ADDRESSES = (MINIMUM_MTU - 40 - 8) // 16


def answer_discovery(
    packet: IcmpPacket,
    config: HomeAgentConfig,
    reached: Sequence[Peer],
    random: Random,
    preference: Callable[[Peer], int] = lambda peer: 0,
    *,
    unknown: Iterable[Unknown] = (),
    is_leaving: bool = False,
) -> bytes | Drop:
    """The reply packet to a discovery request, or why there is none.

    `reached` are the other Home Agents that are up, `unknown` those that others hear and that our
    configuration does not have. Those of our site come first, we among them, then the others; by preference,
    equals in random order, made anew each time (RFC 6275 s.10.5.1), as many as fit into 1280 octets. All of
    them serve mobile routers, so that R is set whether it was asked for or not (RFC 3963 s.7.2). The reply
    comes from our outer address, so that all that follows is unicast. One that is being taken out of service
    (`is_leaving`) names the others only, if there are any.
    Raises MalformedPacket.
    """
    if not is_home_agents_anycast(packet.destination, config.home):
        return Drop.NOT_FOR_US
    if not packet.source.is_routable_unicast:
        return Drop.CARE_OF_ADDRESS_NOT_UNICAST
    request = decode_icmpv6(packet.message, packet.source, packet.destination)
    if not isinstance(request, HomeAgentDiscoveryRequest):
        return Drop.UNEXPECTED_MESSAGE
    listed = [(peer.site != config.site, -preference(peer), peer.outer) for peer in reached]
    listed += [(True, -one.preference, one.outer) for one in unknown]
    if not listed or not is_leaving:
        listed.append((False, -config.preference, config.outer))
    shuffled = random.sample(listed, len(listed))
    shuffled.sort(key=lambda entry: entry[:2])
    addresses = tuple([outer for _, _, outer in shuffled])[:_MOST_ADDRESSES]
    reply = HomeAgentDiscoveryReply(request.identifier, mobile_router=True, addresses=addresses)
    message = encode_icmpv6(reply, config.outer, packet.source)
    return build_icmpv6(config.outer, packet.source, message)
