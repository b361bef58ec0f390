"""A plain mobile node, a home address without networks behind it, takes every path of mobile routers."""

from __future__ import annotations

from dataclasses import replace

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.protocol.mobility import MobileRouterConfig, State
from haha_exabgp.protocol.routes import RouteKind
from haha_exabgp.wire.address import Prefix
from haha_exabgp.wire.codes import BindingUpdateFlag
from haha_exabgp.wire.icmpv6 import HomeAgentDiscoveryRequest, decode_icmpv6
from haha_exabgp.wire.ipv6 import IcmpPacket
from haha_exabgp.wire.messages import BindingUpdate
from haha_exabgp.wire.mobility import decode_mobility
from tests.unit.conftest import ASSOCIATION, HOA, World


def world() -> World:
    def without_networks(config: HomeAgentConfig) -> HomeAgentConfig:
        policy = MobileRouterPolicy("mn1", HOA, (), (ASSOCIATION,))
        return replace(config, mobile_routers={HOA: policy})

    made = World(adapt=without_networks)
    config = MobileRouterConfig("mn1", HOA, (), ASSOCIATION, lifetime=600, is_router=False)
    made.mobile_router = MobileRouter(config, first_sequence=1)
    return made


def test_it_is_bound_at_its_primary_by_its_home_address_alone():
    one = world()
    one.attach(1)
    (binding,) = one.agents[1].bindings
    assert one.mobile_router.state is State.BOUND
    assert (binding.kind, binding.prefixes, binding.mobile_router) == (BindingKind.DIRECT, (), False)
    assert binding.routes() == (Prefix.host(HOA),)


def test_elsewhere_its_home_address_is_what_is_leaked():
    one = world()
    one.attach(2)
    (proxied,), (proxy,) = one.agents[1].bindings, one.agents[2].bindings
    assert (proxied.kind, proxy.kind) == (BindingKind.PROXIED, BindingKind.PROXY)
    leaked = {told.prefix for told in one.agents[2].wanted.announcements() if told.kind is RouteKind.LEAK}
    assert leaked == {Prefix.host(HOA)}


def test_neither_its_binding_updates_nor_its_discovery_have_the_r_flag():
    one = world()
    one.attach(1)
    requests, updates = [], []
    for packet in one.wire:
        if isinstance(packet, IcmpPacket):
            message = decode_icmpv6(packet.message, packet.checksum_source, packet.checksum_destination)
            requests += [message] if isinstance(message, HomeAgentDiscoveryRequest) else []
        else:
            read = decode_mobility(packet.header, packet.checksum_source, packet.checksum_destination)
            updates += [read] if isinstance(read, BindingUpdate) else []
    assert requests and not any(request.mobile_router for request in requests)
    assert updates and not any(update.flags & BindingUpdateFlag.MOBILE_ROUTER for update in updates)
