"""Whatever the tunnels between Home Agents, and whoever dies and returns: each knows of the others what it
hears itself, and what those that it hears do, three HELLOs later at most."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.protocol.home_agents_list import HomeAgentsList
from haha_exabgp.protocol.time import Now
from haha_exabgp.wire.codes import HahaFlag, HahaOperation
from haha_exabgp.wire.messages import HahaMessage
from tests.unit.conftest import WALL, home_agent_config, peer

COUNT = 5
NUMBERS = range(1, COUNT + 1)
PAIRS = [(one, other) for one in NUMBERS for other in range(one + 1, COUNT + 1)]


class Net:
    """Home Agents, tunnels between some of them; `absent`: (at whom, who) that a configuration lacks."""

    def __init__(self, tunnels: set[tuple[int, int]], absent: set[tuple[int, int]]) -> None:
        self.joined = {(a, b) for a, b in tunnels} | {(b, a) for a, b in tunnels}
        self.known = {(a, b) for a in NUMBERS for b in NUMBERS if a != b} - absent
        self.second = 0.0
        self.alive: set[int] = set()
        self.lists: dict[int, HomeAgentsList] = {}

    def change(self, alive: set[int]) -> None:
        """Who was dead and is not any more starts with nothing in mind."""
        for one in alive - self.alive:
            peers = [
                replace(peer(other), is_adjacent=(one, other) in self.joined)
                for other in NUMBERS
                if (one, other) in self.known
            ]
            config = replace(home_agent_config(one), peers=tuple(peers), hello_interval=1.0)
            self.lists[one] = HomeAgentsList(config, lambda peer: not peer.is_adjacent, lambda now: None)
            self.lists[one].start(self.now)
            self.lists[one].ready(self.now)
        self.alive = alive

    @property
    def now(self) -> Now:
        return Now(self.second, WALL + self.second)

    def run(self, seconds: int) -> None:
        for _ in range(seconds * 4):
            self.second += 0.25
            for one in sorted(self.alive):
                if self.lists[one].handle_timer(self.now):
                    hello = self.lists[one].hello()
                    message = HahaMessage(HahaOperation.HELLO, HahaFlag(0), 0, 3, hello)
                    for other in sorted(self.alive):
                        if self.hears(other, one):
                            self.lists[other].receive(message, peer(one), self.now)

    def hears(self, one: int, other: int) -> bool:
        """Both have the other in their configuration, and a tunnel."""
        both = {(one, other), (other, one)}
        return both <= self.known and (one, other) in self.joined and {one, other} <= self.alive


@given(
    st.sets(st.sampled_from(PAIRS)),
    st.sets(st.sampled_from(PAIRS), max_size=3).map(lambda some: {(b, a) for a, b in some}),
    st.lists(st.sets(st.sampled_from(NUMBERS), min_size=1), min_size=1, max_size=3),
)
def test_each_knows_what_it_hears_and_what_those_hear(tunnels, absent, steps):
    net = Net(tunnels, absent)
    for alive in steps:
        net.change(alive)
        net.run(6)
        for one in alive:
            heard = {other for other in NUMBERS if net.hears(one, other)}
            told = {other for by in heard for other in NUMBERS if net.hears(by, other)} - {one}
            mine = net.lists[one]
            listed = {int(other.name[-1]) for other in mine.listed(in_service=True)}
            known = {other for other in NUMBERS if (one, other) in net.known}
            far = {other for other in known if (one, other) not in net.joined}
            assert listed == (heard | told & far) & known
            unknown = {one.outer for one in mine.unknown()}
            assert unknown == {peer(other).outer for other in told - known}
