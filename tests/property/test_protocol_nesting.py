"""Mobile routers move behind each other as they like: what a Home Agent grants never makes a circle or more
levels than may be, and it refuses nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy
from haha_exabgp.protocol.nesting import MOST_NESTED
from haha_exabgp.wire.address import Address, Prefix
from tests.unit.conftest import ASSOCIATION, World
from tests.unit.mobility_messages import acknowledgements, update_to

NUMBERS = range(1, 8)
HOME_ADDRESSES = {number: Address.parse(f"2001:db8:1:1::{number}0") for number in NUMBERS}
NETWORKS = {number: Prefix.parse(f"2001:db8:1:{number}00::/60") for number in NUMBERS}
AWAY = 0

Parents = dict[int, int]
"""Who is bound, and behind whom, who may not be; `AWAY` is behind nobody."""
MOVES = st.lists(
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from((*NUMBERS, AWAY)), st.integers(0, 15), st.booleans()),
    max_size=40,
)
"""Which one goes behind which, into which /64 of its network; where the last is false its binding ends."""


def policies(config: HomeAgentConfig) -> HomeAgentConfig:
    known = {
        home_address: MobileRouterPolicy(f"mr{n}", home_address, (NETWORKS[n],), (ASSOCIATION,))
        for n, home_address in HOME_ADDRESSES.items()
    }
    return replace(config, mobile_routers=known)


def care_of_address(number: int, parent: int, network: int) -> Address:
    if parent == AWAY:
        return Address.parse(f"3fff:f01::{number}")
    start = int.from_bytes(NETWORKS[parent].address, "big")
    return Address((start + (network << 64) + number).to_bytes(16, "big"))


def is_good(parents: Parents) -> bool:
    """Whether nobody is behind itself, and no more than may be are behind each other."""
    for number in parents:
        chain = [number]
        while chain[-1] in parents and len(chain) <= len(NUMBERS):
            chain.append(parents[chain[-1]])
        if number in chain[1:] or sum(one in parents for one in chain) > MOST_NESTED:
            return False
    return True


@pytest.mark.requirement("N-1", "N-3")
@given(MOVES)
def test_no_order_of_moves_makes_a_circle_or_too_many_levels(
    moves: list[tuple[int, int, int, bool]],
) -> None:
    world = World(sites=1, adapt=policies)
    parents: Parents = {}
    for sequence, (number, parent, network, moves_there) in enumerate(moves, 1):
        source = care_of_address(number, parent, network)
        packet = update_to(
            world,
            1,
            source,
            sequence,
            prefix=NETWORKS[number],
            home_address=HOME_ADDRESSES[number],
            lifetime=600 if moves_there else 0,
        )
        seen = len(acknowledgements(world, source))
        world.inject(packet)
        status = acknowledgements(world, source)[seen].status
        if not moves_there:
            parents.pop(number, None)
            continue
        wish = parents | {number: parent}
        assert status == (0 if is_good(wish) else 174)
        parents = wish if status == 0 else parents
