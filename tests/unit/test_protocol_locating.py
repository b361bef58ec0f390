"""Finding the owner of a binding between sites that share a partition without being predictive: they tell
each other (proactive) or ask (reactive), and whoever gets the newer Binding Update is primary."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import BindingKind
from haha_exabgp.protocol.home import LeakPolicy, Locate, MobileRouterPolicy
from haha_exabgp.protocol.messages import decode
from haha_exabgp.protocol.owner_search import MAX_SEARCHES, PATIENCE
from haha_exabgp.protocol.ownership import best
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import sign
from haha_exabgp.wire.codes import BindingUpdateFlag, HahaOperation, Status
from haha_exabgp.wire.ipv6 import MobilityPacket, build_mobility, parse_packet
from haha_exabgp.wire.messages import BindingUpdate, HahaMessage
from haha_exabgp.wire.options import AlternateCareOfAddress, ReplayProtection
from haha_exabgp.wire.timestamp import from_unix
from tests.unit.conftest import ASSOCIATION, HOA, MNP, peer
from tests.unit.mobility_messages import acknowledgements, message_of, update_to
from tests.unit.proxying import kinds
from tests.unit.satellite_world import SATELLITE, SatelliteWorld, lent_address
from tests.unit.shared_world import ACCESS, SHARING, SharedWorld, sharing

PROACTIVE, REACTIVE = Locate.PROACTIVE, Locate.REACTIVE
DIRECT, PROXIED, PROXY, REPLICA = (
    BindingKind.DIRECT,
    BindingKind.PROXIED,
    BindingKind.PROXY,
    BindingKind.REPLICA,
)
BOTH = pytest.mark.parametrize("method", [PROACTIVE, REACTIVE])
CHOSEN = next(index for index in SHARING if best((peer(1), peer(2)), HOA) == peer(index))
"""Of the sharing sites, the one that Home Agents of other sites register with."""
OTHER = 3 - CHOSEN


def count(world: SharedWorld, index: int, name: str) -> int:
    return world.agents[index].counters[name]


def operations(world: SharedWorld, operation: HahaOperation) -> list[HahaMessage]:
    """Messages of an operation that have arrived, in order."""
    found = []
    for packet in world.wire:
        message = decode(packet) if isinstance(packet, MobilityPacket) else None
        if isinstance(message, HahaMessage) and message.operation is operation:
            found.append(message)
    return found


def node_update(world: SharedWorld, site: int, home_address: Address, sequence: int) -> bytes:
    """A Binding Update of a plain mobile node."""
    care_of_address = ACCESS[site]
    message = BindingUpdate(
        sequence,
        BindingUpdateFlag.ACKNOWLEDGE | BindingUpdateFlag.HOME_REGISTRATION,
        600,
        (AlternateCareOfAddress(care_of_address), ReplayProtection(from_unix(world.now.wall))),
    )
    header = sign(
        message,
        home_address,
        peer(site).outer,
        key=ASSOCIATION.key,
        spi=ASSOCIATION.spi,
        care_of_address=care_of_address,
        home_address=home_address,
    )
    return build_mobility(care_of_address, peer(site).outer, header, home_address=home_address)


def is_operation(packet: bytes, *which: HahaOperation) -> bool:
    message = message_of(packet)
    return isinstance(message, HahaMessage) and message.operation in which


REQUEST = HahaOperation.BINDING_INFORMATION_REQUEST
UPDATE = HahaOperation.BINDING_INFORMATION_UPDATE


class Lost:
    """Loses messages of one operation, until told otherwise, besides what is cut."""

    def __init__(self, world: SharedWorld, *which: HahaOperation) -> None:
        self.packets: list[bytes] = []
        self.which = which
        self.is_cut = world.drop

    def __call__(self, packet: bytes) -> bool:
        if self.is_cut(packet):
            return True
        if is_operation(packet, *self.which):
            self.packets.append(packet)
            return True
        return False


@pytest.mark.requirement("Q-1", "Q-2", "Q-3")
@BOTH
def test_the_first_binding_anywhere_is_found_to_be_nobodys(method: Locate) -> None:
    world = SharedWorld(method)
    world.bind_at(2)
    assert kinds(world) == ({1: REPLICA, 2: DIRECT} if method is PROACTIVE else {2: DIRECT})
    # One question at most, answered: nobody has it.
    asked = [count(world, 2, name) for name in ("owner_asked", "owner_answer_unbound")]
    assert asked == ([0, 0] if method is PROACTIVE else [1, 1])
    for index, way in ((1, peer(2).outer), (2, ACCESS[2])):
        assert world.way(index) == way
    # A refresh asks nobody.
    world.pass_time(400)
    assert world.primaries() == [2] and count(world, 2, "owner_asked") == asked[0]


@pytest.mark.requirement("Q-2", "Q-3", "Q-5", "Q-6")
@BOTH
def test_a_move_between_the_sharing_sites_makes_the_other_primary_and_the_first_yields(
    method: Locate,
) -> None:
    world = SharedWorld(method)
    world.bind_at(1)
    sequence = world.binding(1).mobility_sequence
    world.bind_at(2)
    assert kinds(world) == {1: REPLICA, 2: DIRECT}
    assert world.binding(1).peer == peer(2).haha
    assert world.binding(2).mobility_sequence > sequence
    assert (world.way(1), world.way(2)) == (peer(2).outer, ACCESS[2])
    if method is REACTIVE:
        assert count(world, 2, "owner_answer_bound") == 1
    world.bind_at(1)
    assert kinds(world) == {1: DIRECT, 2: REPLICA}
    assert (world.way(1), world.way(2)) == (ACCESS[1], peer(1).outer)


def test_who_has_answered_is_told_without_any_news_by_bgp() -> None:
    world = SharedWorld(REACTIVE)
    world.deaf = set(SHARING)
    world.inject(update_to(world, 1, ACCESS[1], 5))
    world.pass_time(1)
    world.inject(update_to(world, 2, ACCESS[2], 6))
    world.pass_time(1)
    assert kinds(world) == {1: REPLICA, 2: DIRECT}


@BOTH
def test_it_stays_reached_from_everywhere_for_as_long_as_it_is_bound(method: Locate) -> None:
    world = SharedWorld(method)
    world.bind_at(1)
    world.bind_at(2)
    for _ in range(8):
        world.pass_time(200)
        assert world.primaries() == [2]
        assert (world.way(1), world.way(2)) == (peer(2).outer, ACCESS[2])
        # By the partition's route or by a leak, the third site sends to one that knows.
        assert world.way(3) in (peer(1).outer, peer(2).outer)


@pytest.mark.requirement("Q-2", "Q-3")
@BOTH
def test_relayed_by_a_third_site_whoever_it_chooses_becomes_primary(method: Locate) -> None:
    world = SharedWorld(method)
    world.bind_at(OTHER)
    assert world.primaries() == [OTHER]
    world.bind_at(3)
    assert world.primaries() == [CHOSEN] and kinds(world)[3] is PROXY
    for index in SHARING:
        assert world.way(index) == peer(3).outer
    # Nobody takes it for an orphan.
    world.pass_time(900)
    assert world.primaries() == [CHOSEN]
    for index in SHARING:
        assert world.way(index) == peer(3).outer
    world.bind_at(OTHER)
    assert kinds(world)[OTHER] is DIRECT and world.primaries() == [OTHER] and 3 not in kinds(world)
    assert world.way(CHOSEN) == peer(OTHER).outer


@BOTH
def test_a_plain_mobile_node_is_found_like_a_mobile_router(method: Locate) -> None:
    node = MobileRouterPolicy("mr1", HOA, (), (ASSOCIATION,))
    adapt = sharing(method, adapt=lambda config: replace(config, mobile_routers={HOA: node}))
    world = SharedWorld(method, adapt=adapt)
    for site, sequence in ((1, 1), (2, 2)):
        world.pass_time(1)
        world.inject(node_update(world, site, HOA, sequence))
        world.pass_time(2)
    assert kinds(world) == {1: REPLICA, 2: DIRECT}
    assert world.way(1, Prefix.host(HOA)) == peer(2).outer


@BOTH
def test_a_de_registration_at_the_other_site_ends_the_binding_at_both(method: Locate) -> None:
    world = SharedWorld(method)
    world.inject(update_to(world, 1, ACCESS[1], 5))
    world.pass_time(1)
    world.inject(update_to(world, 2, ACCESS[2], 6, lifetime=0))
    world.pass_time(2)
    assert acknowledgements(world, ACCESS[2])[-1].status == Status.ACCEPTED
    assert kinds(world) == {}
    for index in SHARING:
        assert world.way(index) is None


@BOTH
def test_a_de_registration_of_nothing_is_told_so(method: Locate) -> None:
    world = SharedWorld(method)
    world.inject(update_to(world, 2, ACCESS[2], 5, lifetime=0))
    world.pass_time(2)
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [Status.NOT_HOME_AGENT]


@pytest.mark.requirement("Q-1", "Q-5")
@BOTH
def test_a_binding_update_that_was_used_at_one_site_is_not_good_at_the_other(method: Locate) -> None:
    world = SharedWorld(method)
    captured = update_to(world, 2, ACCESS[1], 5)
    world.inject(update_to(world, 1, ACCESS[1], 5))
    world.pass_time(1)
    world.inject(update_to(world, 1, ACCESS[2], 6))
    world.pass_time(1)
    world.inject(captured)
    world.pass_time(2)
    assert world.primaries() == [1] and world.binding(1).care_of_address == ACCESS[2]
    assert world.way(2) == peer(1).outer
    refused = [one.status for one in acknowledgements(world, ACCESS[1])][-1]
    assert refused in (Status.SEQUENCE_OUT_OF_WINDOW, Status.IDENTIFICATION_MISMATCH)


@BOTH
def test_what_is_not_authentic_asks_nobody_and_tells_nobody(method: Locate) -> None:
    world = SharedWorld(method)
    before = world.snapshot()
    world.wire.clear()
    world.inject(update_to(world, 2, ACCESS[2], 5, key=bytes(16)))
    world.inject(update_to(world, 2, ACCESS[2], 5, home_address=Address.parse("2001:db8:1:1::77")))
    world.pass_time(2)
    assert world.snapshot() == before
    assert operations(world, REQUEST) == operations(world, UPDATE) == []


@pytest.mark.requirement("Q-2", "B-7")
def test_what_is_repeated_while_others_are_asked_asks_nobody_again_and_the_newest_is_answered() -> None:
    world = SharedWorld(REACTIVE)
    lost = world.drop = Lost(world, REQUEST)
    for sequence in (5, 6, 7):
        world.inject(update_to(world, 2, ACCESS[2], sequence))
        world.pass_time(0.1)
    # One that comes late does not take the newest one's place.
    world.inject(update_to(world, 2, ACCESS[2], 6, ago=0.2))
    assert kinds(world) == {} and acknowledgements(world, ACCESS[2]) == []
    assert len(lost.packets) == 1
    world.drop = lost.is_cut
    world.pass_time(PATIENCE)
    assert [one.sequence for one in acknowledgements(world, ACCESS[2])] == [7]
    assert world.binding(2).order.sequence == 7
    assert count(world, 2, "owner_asked") == 1 and count(world, 2, "owner_asked_already") == 3


@pytest.mark.requirement("Q-2")
def test_who_does_not_answer_is_not_waited_for_for_long_and_is_told_when_it_can_be() -> None:
    world = SharedWorld(REACTIVE)
    world.deaf = set(SHARING)  # no leak tells it
    world.inject(update_to(world, 1, ACCESS[1], 5))
    world.pass_time(1)
    assert world.primaries() == [1]
    lost = world.drop = Lost(world, REQUEST, UPDATE)
    world.inject(update_to(world, 2, ACCESS[2], 6))
    world.pass_time(PATIENCE - 0.1)
    assert kinds(world) == {1: DIRECT}
    world.pass_time(0.2)
    assert len([one for one in lost.packets if is_operation(one, REQUEST)]) == 2
    assert count(world, 2, "owner_answer_missing") == 1
    # Before a mobile router repeats itself.
    assert [one.status for one in acknowledgements(world, ACCESS[2])] == [Status.ACCEPTED]
    assert world.primaries() == [1, 2]
    world.drop = lost.is_cut
    world.pass_time(10)
    assert kinds(world) == {1: REPLICA, 2: DIRECT}


def test_a_question_that_is_lost_once_is_repeated_in_time() -> None:
    world = SharedWorld(REACTIVE)
    world.inject(update_to(world, 1, ACCESS[1], 5))
    world.pass_time(1)
    lost = world.drop = Lost(world, REQUEST)
    world.inject(update_to(world, 2, ACCESS[2], 6))
    world.pass_time(0.1)
    world.drop = lost.is_cut
    world.pass_time(0.5)
    assert kinds(world) == {1: REPLICA, 2: DIRECT}
    assert count(world, 2, "owner_answer_missing") == 0


def test_no_more_than_a_number_are_asked_for_at_once_and_the_rest_come_again() -> None:
    addresses = [Address.parse(f"2001:db8:1:2::{index:x}") for index in range(1, MAX_SEARCHES + 11)]
    policies = {one: MobileRouterPolicy(f"mr{i}", one, (), (ASSOCIATION,)) for i, one in enumerate(addresses)}
    adapt = sharing(REACTIVE, adapt=lambda config: replace(config, mobile_routers=policies))
    world = SharedWorld(REACTIVE, adapt=adapt)
    lost = world.drop = Lost(world, REQUEST)
    for one in addresses:
        world.agents[2].receive_mobility(parse_packet(node_update(world, 2, one, 1)), world.now)
    world.settle()
    assert count(world, 2, "owner_asked") == MAX_SEARCHES
    assert count(world, 2, "dropped_too_many_outstanding") == 10
    world.drop = lost.is_cut
    world.pass_time(2)
    assert len(world.agents[2].bindings) == MAX_SEARCHES
    for one in addresses[MAX_SEARCHES:]:
        world.agents[2].receive_mobility(parse_packet(node_update(world, 2, one, 1)), world.now)
    world.settle()
    world.pass_time(2)
    assert len(world.agents[2].bindings) == len(addresses)


@pytest.mark.requirement("Q-5")
@pytest.mark.parametrize("last", SHARING)
@BOTH
def test_two_that_did_not_hear_each_other_settle_on_the_newer_one(method: Locate, last: int) -> None:
    world = SharedWorld(method)
    first = 3 - last
    world.inject(update_to(world, first, ACCESS[first], 5))
    world.pass_time(1)
    world.separate(1, 2)
    world.pass_time(5)
    world.inject(update_to(world, last, ACCESS[last], 6))
    world.pass_time(2)
    assert world.primaries() == [1, 2]
    world.rejoin(1, 2)
    world.pass_time(10)
    assert kinds(world) == {first: REPLICA, last: DIRECT}
    assert (world.way(first), world.way(last)) == (peer(last).outer, ACCESS[last])
    assert world.way(3) in (peer(1).outer, peer(2).outer)


@pytest.mark.requirement("Q-5")
@pytest.mark.parametrize("restarted", [(1,), (2,), (1, 2)])
def test_who_has_to_be_told_is_known_after_a_restart_too(restarted: tuple[int, ...]) -> None:
    """The questions that were not answered are not on disk: what is leaked tells of them."""
    world = SharedWorld(REACTIVE)
    world.inject(update_to(world, 1, ACCESS[1], 5))
    world.pass_time(1)
    world.separate(1, 2)
    world.pass_time(5)
    world.inject(update_to(world, 2, ACCESS[2], 6))
    world.pass_time(2)
    assert world.primaries() == [1, 2]
    for index in restarted:
        world.restart(index)
        world.join(index, 3)
        world.join(3, index)
    world.pass_time(15)
    world.rejoin(1, 2)
    world.pass_time(10)
    assert kinds(world) == {1: REPLICA, 2: DIRECT}


@pytest.mark.requirement("Q-5")
@BOTH
def test_the_newer_binding_update_counts_whatever_mobility_sequence_was_given(method: Locate) -> None:
    world = SharedWorld(method)
    world.inject(update_to(world, 1, ACCESS[1], 5))
    world.pass_time(1)
    world.separate(1, 2)
    world.pass_time(5)
    world.inject(update_to(world, 2, ACCESS[2], 6))
    world.pass_time(2)
    # The clock of the first was ahead when it gave its own.
    high = world.binding(1).mobility_sequence + 1000
    bindings = world.agents[1]._bindings
    bindings.replace(world.binding(1), world.binding(1)._replace(mobility_sequence=high), world.now)
    world.settle()
    world.rejoin(1, 2)
    world.pass_time(10)
    assert kinds(world) == {1: REPLICA, 2: DIRECT}
    assert world.binding(2).mobility_sequence > high
    for index in (1, 3):
        assert world.way(index) == peer(2).outer or (index == 3 and method is PROACTIVE)


@pytest.mark.requirement("Q-3", "F-2")
def test_proactive_when_the_primary_dies_one_that_was_told_takes_over() -> None:
    world = SharedWorld(PROACTIVE)
    world.bind_at(1)
    world.kill(1)
    world.pass_time(6)
    assert world.primaries() == [2]
    registration = world.mobile_router.registration
    assert registration is not None and registration.home_agent == peer(2).outer


@pytest.mark.requirement("Q-3", "F-2")
def test_proactive_when_the_primary_of_one_that_is_elsewhere_dies_its_proxy_binding_goes_on() -> None:
    world = SharedWorld(PROACTIVE)
    world.bind_at(3)
    assert kinds(world) == {CHOSEN: PROXIED, OTHER: REPLICA, 3: PROXY}
    before = world.mobile_router.registration
    world.kill(CHOSEN)
    world.pass_time(5)
    assert kinds(world) == {OTHER: PROXIED, 3: PROXY}
    assert world.mobile_router.registration == before
    world.pass_time(700)
    assert kinds(world) == {OTHER: PROXIED, 3: PROXY}


def test_proactive_of_several_that_were_told_one_takes_over() -> None:
    world = SharedWorld(PROACTIVE, 4, sharing(PROACTIVE, between=(1, 2, 3)))
    world.bind_at(4)
    (primary,) = world.primaries()
    world.kill(primary)
    world.pass_time(5)
    assert len(world.primaries()) == 1
    assert sorted(kinds(world).values()) == [PROXIED, PROXY, REPLICA]


@pytest.mark.requirement("Q-2", "F-2")
@pytest.mark.parametrize("at", [1, 3])
def test_reactive_when_the_primary_dies_the_mobile_router_finds_the_other(at: int) -> None:
    world = SharedWorld(REACTIVE)
    world.bind_at(at)
    (primary,) = world.primaries()
    world.kill(primary)
    other = 3 - primary
    world.closest = 3 if at == 3 else other
    world.pass_time(700)
    assert world.primaries() == [other]
    assert world.way(other) == (peer(3).outer if at == 3 else ACCESS[1])
    assert count(world, other, "owner_answer_missing") == 0


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("killed", SHARING)
@BOTH
def test_killed_and_started_again_it_is_as_it_was(method: Locate, at: int, killed: int) -> None:
    world = SharedWorld(method)
    world.bind_at(at)
    before = kinds(world)
    world.restart(killed)
    world.reconnect(killed)
    world.pass_time(20)
    assert kinds(world) == before
    world.pass_time(900)
    assert len(world.primaries()) == 1
    (primary,) = world.primaries()
    for index in SHARING:
        expected = peer(at).outer if at != index else ACCESS[at]
        assert world.way(index) == expected
    assert kinds(world)[at] is (DIRECT if at == primary else PROXY)


def test_killed_while_it_asks_it_is_asked_again_by_the_mobile_router() -> None:
    world = SharedWorld(REACTIVE)
    world.bind_at(1)
    lost = world.drop = Lost(world, REQUEST)
    world.closest = 2
    world.mobile_router.attached(ACCESS[2], world.now)
    world.pass_time(0.2)
    world.restart(2)
    world.reconnect(2)
    world.drop = lost.is_cut
    world.pass_time(10)
    assert len(world.primaries()) == 1
    world.bind_at(2)
    assert kinds(world) == {1: REPLICA, 2: DIRECT}


@pytest.mark.parametrize("policy", [LeakPolicy.NEVER, LeakPolicy.ON_TRAFFIC])
def test_reactive_sites_learn_from_leaks_where_packets_go_whatever_the_leak_policy_is(
    policy: LeakPolicy,
) -> None:
    own = MobileRouterPolicy("mr1", HOA, (MNP,), (ASSOCIATION,), leak=policy)
    adapt = sharing(
        REACTIVE, adapt=lambda config: replace(config, mobile_routers={HOA: own}, max_leaks=0, leak=policy)
    )
    world = SharedWorld(REACTIVE, adapt=adapt)
    for place in (1, 3, 2):
        world.bind_at(place)
        world.pass_time(120)
        for index in (1, 2, 3):
            assert world.way(index) == (ACCESS[place] if index == place else peer(place).outer)


@pytest.mark.requirement("Q-4")
@BOTH
def test_home_agents_of_one_site_stay_predictive_to_each_other(method: Locate) -> None:
    """Site 1 has two, 1 and 3, and shares its partition with site 2."""

    def adapt(config):
        def of_site1(one):
            return replace(one, site="site1", locate=Locate.PREDICTIVE) if one.name == "ha3" else one

        changed = sharing(method, between=(1, 2, 3))(config)
        if config.name == "ha3":
            changed = replace(changed, site="site1")
        peers = tuple(of_site1(one) for one in changed.peers)
        if config.name != "ha2":
            peers = tuple(
                replace(one, locate=Locate.PREDICTIVE) if one.name in ("ha1", "ha3") else one for one in peers
            )
        else:
            peers = tuple(replace(one, locate=method) if one.name in ("ha1", "ha3") else one for one in peers)
        return replace(changed, peers=peers)

    world = SharedWorld(method, 4, adapt)
    owner = next(index for index in (1, 3) if best((peer(1), peer(3)), HOA) == peer(index))
    other = 4 - owner
    world.inject(update_to(world, other, ACCESS[other], 5))
    world.pass_time(3)
    expected = {owner: PROXIED, other: PROXY}
    assert {index: kind for index, kind in kinds(world).items() if index != 2} == expected
    world.inject(update_to(world, 2, ACCESS[2], 6))
    world.pass_time(5)
    assert world.primaries() == [2]
    for index in (1, 3):
        assert world.way(index) == peer(2).outer
    world.pass_time(100)
    world.inject(update_to(world, other, ACCESS[other], 7))
    world.pass_time(5)
    assert {index: kind for index, kind in kinds(world).items() if index != 2} == expected
    assert world.way(2) in (peer(owner).outer, peer(other).outer)
    # When the owner goes the other of its site has it, and not the site that shares the partition.
    world.kill(owner)
    world.pass_time(5)
    assert world.primaries() == [other]


@pytest.mark.requirement("Q-2", "Q-3", "I-6")
@pytest.mark.parametrize("parents", [(4,), (1, 2), (2, 1), (4, 1)])
@BOTH
def test_relayed_by_a_satellite_all_find_it(method: Locate, parents: tuple[int, ...]) -> None:
    world = SatelliteWorld(*parents, adapt=sharing(method))
    world.pass_time(15)
    world.bind_at_satellite()
    (primary,) = [index for index, kind in kinds(world).items() if kind is PROXIED]
    for index in SHARING:
        assert _reaches_satellite(world, index, parents[0])
    world.pass_time(900)
    for index in SHARING:
        assert _reaches_satellite(world, index, parents[0])
    if len(parents) == 1:
        return
    world.lose(parents[0])
    world.pass_time(20)
    # Who loses parent and primary at once has to wait for its mobile routers' refreshes.
    assert primary == parents[0] or _reaches_satellite(world, parents[1], parents[1])
    world.pass_time(900)
    left = [index for index in SHARING if index != parents[0]]
    for index in left:
        assert _reaches_satellite(world, index, parents[1])


def _reaches_satellite(world: SatelliteWorld, index: int, parent: int) -> bool:
    """Packets that come to a Home Agent for the mobile router get to the satellite by the tunnels."""
    for _ in range(4):
        routes = [one for one in world.agents[index].wanted.routes() if one.prefix.covers(MNP)]
        exit_ = min(routes, key=lambda route: (-route.prefix.length, route.metric)).tunnel_exit
        if exit_ == peer(SATELLITE).outer:
            return index == parent
        if exit_ == lent_address(parent):
            return True
        found = [i for i in world.agents if peer(i).outer == exit_]
        if not found:
            return False
        index = found[0]
    return False
