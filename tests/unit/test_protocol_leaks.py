"""Which bindings the other sites are told of: by policy, cap, traffic, damping."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from haha_exabgp.protocol.binding import Binding, BindingKind, Order
from haha_exabgp.protocol.effects import Announce, Effect, Unwatch, Watch, Withdraw
from haha_exabgp.protocol.home import LeakPolicy, MobileRouterPolicy
from haha_exabgp.protocol.leaks import RIVAL_PATIENCE, Hold, Leaks
from haha_exabgp.protocol.node import Node
from haha_exabgp.protocol.wanted import WantedState
from haha_exabgp.wire.address import Address, Prefix
from tests.unit.conftest import ACCESS, ASSOCIATION, home_agent_config, peer

IDLE = 60.0


def home_address(number: int) -> Address:
    return Address.parse(f"2001:db8:1:1::{number:x}")


def prefix(number: int, more: int = 0) -> Prefix:
    return Prefix.parse(f"2001:db8:1:{number:x}{more:02x}::/64")


def binding(number: int, count: int = 1, sequence: int = 10) -> Binding:
    return Binding(
        home_address(number),
        ACCESS[2],
        tuple(prefix(number, more) for more in range(count)),
        True,
        BindingKind.PROXY,
        Order(1, 1),
        sequence,
        peer(1).haha,
        0.0,
        600.0,
    )


class Alone:
    """The leaks of the second site's Home Agent. Every mobile router has the policy of the site."""

    def __init__(self, **settings: object) -> None:
        policies = {
            home_address(n): MobileRouterPolicy(f"mr{n}", home_address(n), (prefix(n),), (ASSOCIATION,))
            for n in range(1, 10)
        }
        config = replace(home_agent_config(2), mobile_routers=policies, **settings)  # type: ignore[arg-type]
        self.policies = policies
        self.elsewhere: dict[Prefix, int] = {}
        self.effects: list[Effect] = []
        self.node = Node(config)
        self.wanted = WantedState(config, self.effects.append)
        self.leaks = Leaks(self.node, self.wanted, self._leaked_elsewhere)
        self.bound: dict[Address, Binding] = {}
        self.now = 1000.0
        self.packets: dict[Prefix, int] = {}

    def _leaked_elsewhere(self, prefixes: Iterable[Prefix]) -> int:
        return max((self.elsewhere.get(one, 0) for one in prefixes), default=0)

    def bind(self, one: Binding) -> None:
        self.leaks.rebind(self.bound.get(one.home_address), one)
        self.bound[one.home_address] = one

    def end(self, number: int) -> None:
        self.leaks.rebind(self.bound.pop(home_address(number)), None)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.leaks.next_timer()) is not None and due <= end:
            self.now = max(due, self.now)
            self.leaks.handle_timer(self.now)
        self.now = end

    def traffic(self, seconds: int, **rates: int) -> None:
        """Packets a second from other sites, and counted each second."""
        for _ in range(seconds):
            self.pass_time(1.0)
            watched = self.wanted.snapshot().watched
            for name, rate in rates.items():
                one = prefix(int(name.removeprefix("mr")))
                self.packets[one] = self.packets.get(one, 0) + rate
            self.leaks.count({one: self.packets.get(one, 0) for one in watched}, self.now)

    def told(self) -> set[Prefix]:
        return {one.prefix for one in self.wanted.announcements()}

    def changes(self) -> int:
        return sum(isinstance(one, Announce | Withdraw) for one in self.effects)

    def state(self, number: int) -> Hold | None:
        return self.leaks.state(home_address(number))


@pytest.mark.requirement("K-6")
def test_by_default_all_are_leaked_at_once():
    alone = Alone()
    for number in range(1, 6):
        alone.bind(binding(number, count=2))
    assert alone.told() == {prefix(number, more) for number in range(1, 6) for more in (0, 1)}
    assert len(alone.leaks) == 10
    alone.end(3)
    assert prefix(3) not in alone.told() and len(alone.leaks) == 8
    assert alone.wanted.snapshot().watched == frozenset()


@pytest.mark.requirement("K-6")
def test_a_mobile_routers_own_policy_goes_before_that_of_the_site():
    alone = Alone(leak=LeakPolicy.NEVER)
    first = home_address(1)
    alone.policies[first] = replace(alone.policies[first], leak=LeakPolicy.ALWAYS)
    alone.bind(binding(1))
    alone.bind(binding(2))
    assert alone.told() == {prefix(1)} and alone.state(2) is Hold.POLICY
    alone.policies[first] = replace(alone.policies[first], leak=LeakPolicy.NEVER)
    alone.leaks.judge_again([first, home_address(7)])
    assert alone.told() == set() and alone.state(1) is Hold.POLICY
    alone.policies[first] = replace(alone.policies[first], leak=None)
    alone.policies[home_address(2)] = replace(alone.policies[home_address(2)], leak=LeakPolicy.ALWAYS)
    alone.leaks.judge_again([first, home_address(2)])
    assert alone.told() == {prefix(2)}


def test_never_is_never_whatever_others_leak():
    alone = Alone(leak=LeakPolicy.NEVER)
    alone.elsewhere[prefix(1)] = 9
    alone.bind(binding(1))
    alone.pass_time(10)
    assert alone.told() == set()


# The cap


@pytest.mark.requirement("K-6")
def test_above_the_cap_who_came_first_is_leaked_and_the_others_wait_in_line():
    alone = Alone(max_leaks=3)
    alone.bind(binding(1))
    alone.bind(binding(2, count=2))
    for number in (3, 4, 5):
        alone.bind(binding(number))
    assert alone.told() == {prefix(1), prefix(2), prefix(2, 1)} and len(alone.leaks) == 3
    assert [alone.state(n) for n in (1, 2, 3, 4, 5)] == [None, None, Hold.CAP, Hold.CAP, Hold.CAP]
    assert alone.node.counters["leak_held_back_cap"] == 3
    alone.end(4)
    alone.end(2)
    assert alone.told() == {prefix(1), prefix(3), prefix(5)}


@pytest.mark.requirement("K-6")
def test_nothing_flaps_around_the_cap():
    """Refreshes, moves under the same Home Agent and new ones in line change nothing of what is leaked."""
    alone = Alone(max_leaks=2)
    for number in (1, 2, 3, 4):
        alone.bind(binding(number))
    before = alone.changes()
    for _ in range(5):
        for number in (4, 3, 2, 1):
            moved = Address.parse(f"3fff:f02::{number}")
            alone.bind(alone.bound[home_address(number)]._replace(care_of_address=moved))
        alone.end(4)
        alone.bind(binding(4))
        alone.pass_time(10)
    assert alone.changes() == before and alone.told() == {prefix(1), prefix(2)}


def test_who_is_in_front_waits_for_room_for_all_its_prefixes_and_is_not_overtaken():
    alone = Alone(max_leaks=2)
    alone.bind(binding(1))
    alone.bind(binding(2, count=2))
    alone.bind(binding(3))
    assert alone.told() == {prefix(1)}
    alone.end(1)
    assert alone.told() == {prefix(2), prefix(2, 1)} and alone.state(3) is Hold.CAP


def test_a_leaked_mobile_router_that_gets_more_prefixes_keeps_to_the_cap():
    alone = Alone(max_leaks=2)
    alone.bind(binding(1))
    alone.bind(binding(1, count=2))
    assert len(alone.leaks) == 2
    alone.bind(binding(1, count=3))
    assert alone.told() == set() and len(alone.leaks) == 0 and alone.state(1) is Hold.CAP


# Traffic


@pytest.mark.requirement("K-6")
def test_on_traffic_a_leak_lasts_as_long_as_there_is_enough():
    alone = Alone(leak=LeakPolicy.ON_TRAFFIC, leak_traffic=10, leak_idle=int(IDLE))
    alone.bind(binding(1))
    alone.bind(binding(2))
    assert alone.wanted.snapshot().watched == {prefix(1), prefix(2)}
    alone.traffic(20, mr1=9, mr2=0)
    assert alone.told() == set() and alone.state(1) is Hold.NO_TRAFFIC
    alone.traffic(3, mr1=10)
    assert alone.told() == {prefix(1)} and alone.state(1) is None
    # Less than enough does not prolong it.
    alone.traffic(int(IDLE), mr1=9)
    assert alone.told() == {prefix(1)}
    alone.traffic(2, mr1=9)
    assert alone.told() == set() and alone.state(1) is Hold.NO_TRAFFIC
    assert alone.changes() == 2
    alone.end(1)
    assert alone.wanted.snapshot().watched == {prefix(2)}
    assert [type(one) for one in alone.effects if isinstance(one, Watch | Unwatch)] == [Watch, Watch, Unwatch]


def test_packets_that_were_counted_before_and_counters_that_begin_anew():
    alone = Alone(leak=LeakPolicy.ON_TRAFFIC)
    alone.packets[prefix(1)] = 1_000_000
    alone.bind(binding(1))
    alone.traffic(3, mr1=0)
    assert alone.told() == set()
    alone.packets.clear()
    alone.traffic(1, mr1=0)
    assert alone.told() == set()
    alone.traffic(1, mr1=11)
    assert alone.told() == {prefix(1)}


def test_a_prefix_is_counted_in_pieces_of_whole_octets():
    alone = Alone(leak=LeakPolicy.ON_TRAFFIC)
    wide = Prefix.parse("2001:db8:1:100::/57")
    alone.bind(binding(1)._replace(prefixes=(wide,)))
    pieces = [prefix(1), prefix(1, 1)]
    for number in (0, 6):
        alone.pass_time(1)
        alone.leaks.count({piece: number for piece in pieces} | {prefix(9): 10**6}, alone.now)
    assert alone.told() == {wide}


@pytest.mark.requirement("K-6", "H-9")
def test_a_mobile_router_that_was_leaked_elsewhere_goes_on_being_leaked():
    """Make before break: it had traffic there."""
    alone = Alone(leak=LeakPolicy.ON_TRAFFIC)
    alone.elsewhere[prefix(1)] = 9
    alone.bind(binding(1, sequence=10))
    assert alone.told() == {prefix(1)}
    alone.elsewhere.clear()
    alone.traffic(int(IDLE), mr1=0)
    assert alone.told() == {prefix(1)}
    alone.traffic(3, mr1=0)
    assert alone.told() == set()


def test_a_policy_that_changes_to_on_traffic_and_back():
    alone = Alone()
    first = home_address(1)
    alone.bind(binding(1))
    alone.policies[first] = replace(alone.policies[first], leak=LeakPolicy.ON_TRAFFIC)
    alone.leaks.judge_again([first])
    assert alone.told() == set() and alone.leaks.counts_traffic
    alone.policies[first] = replace(alone.policies[first], leak=LeakPolicy.ALWAYS)
    alone.leaks.judge_again([first])
    assert alone.told() == {prefix(1)} and not alone.leaks.counts_traffic


def test_prefixes_that_change_are_counted_as_they_are():
    alone = Alone(leak=LeakPolicy.ON_TRAFFIC)
    alone.bind(binding(1, count=2))
    alone.bind(binding(1)._replace(prefixes=(prefix(1, 1), prefix(1, 2))))
    assert alone.wanted.snapshot().watched == {prefix(1, 1), prefix(1, 2)}
    alone.bind(binding(1)._replace(prefixes=()))
    assert alone.wanted.snapshot().watched == {Prefix.host(home_address(1))}


@pytest.mark.requirement("K-6")
def test_the_cap_counts_those_that_have_traffic():
    alone = Alone(leak=LeakPolicy.ON_TRAFFIC, max_leaks=1)
    for number in (1, 2):
        alone.bind(binding(number))
    alone.traffic(3, mr2=20)
    assert alone.told() == {prefix(2)}
    alone.traffic(3, mr1=20, mr2=20)
    assert alone.told() == {prefix(2)} and alone.state(1) is Hold.CAP
    alone.traffic(int(IDLE) + 2, mr1=20)
    assert alone.told() == {prefix(1)} and alone.state(2) is Hold.NO_TRAFFIC


# Damping


@pytest.mark.requirement("H-9-FLAP")
def test_a_damped_mobile_router_is_leaked_when_its_time_is_over():
    alone = Alone()
    alone.leaks.damp(home_address(1), 180, alone.now)
    alone.bind(binding(1))
    assert alone.told() == set() and alone.state(1) is Hold.FLAPPING
    assert alone.leaks.damped_until(home_address(1)) == alone.now + 180
    alone.pass_time(179.9)
    assert alone.told() == set()
    alone.pass_time(0.2)
    assert alone.told() == {prefix(1)} and alone.state(1) is None
    assert alone.node.counters["leak_held_back_flapping"] == 1


def test_what_is_leaked_is_not_taken_back_by_damping_but_the_next_attachment_is():
    alone = Alone()
    alone.bind(binding(1, sequence=10))
    alone.leaks.damp(home_address(1), 180, alone.now)
    alone.bind(binding(1, sequence=10)._replace(care_of_address=ACCESS[1]))
    assert alone.told() == {prefix(1)}
    alone.bind(binding(1, sequence=11))
    assert alone.told() == set()
    alone.leaks.damp(home_address(1), 0, alone.now)
    alone.bind(binding(1, sequence=12))
    assert alone.told() == {prefix(1)}


@pytest.mark.requirement("H-9-FLAP", "K-5", "F-6")
@pytest.mark.parametrize(("rival", "told"), [(9, True), (0, False), (11, False)])
def test_a_leak_of_an_earlier_attachment_that_stays_is_outranked_whatever_holds_ours_back(rival, told):
    for settings, damped in (({}, 180), ({"max_leaks": 0}, 0)):
        alone = Alone(**settings)
        alone.leaks.damp(home_address(1), damped, alone.now)
        alone.elsewhere[prefix(1)] = rival
        alone.bind(binding(1, sequence=10))
        alone.pass_time(RIVAL_PATIENCE - 0.1)
        assert alone.told() == set()
        alone.pass_time(0.2)
        assert (prefix(1) in alone.told()) is told


def test_an_earlier_attachment_that_is_leaked_later_on():
    """As when a session comes back, and with it what a dead Home Agent had told."""
    alone = Alone()
    alone.leaks.damp(home_address(1), 180, alone.now)
    alone.bind(binding(1, sequence=10))
    alone.pass_time(20)
    alone.elsewhere[prefix(1)] = 9
    alone.leaks.rivalled(alone.bound[home_address(1)])
    alone.pass_time(RIVAL_PATIENCE + 0.1)
    assert alone.told() == {prefix(1)}
    alone.elsewhere.clear()
    alone.leaks.damp(home_address(1), 180, alone.now)
    alone.bind(binding(1, sequence=12))
    assert alone.state(1) is Hold.FLAPPING
