"""Of many leaks of one prefix the same one wins at every Home Agent, in whatever order they arrive."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haha_exabgp.protocol.route_exchange import STALE_TIME, RouteExchange
from haha_exabgp.protocol.routes import LearnedRoute, Metric, RouteKind
from haha_exabgp.protocol.wanted import WantedState
from haha_exabgp.wire.address import Address
from tests.unit.conftest import MNP, home_agent_config, peer

SITES = 6
PEERS = st.integers(2, SITES)
SEQUENCES = st.one_of(st.integers(1, 4), st.integers(1, (1 << 32) - 1))
LEAKS = st.dictionaries(PEERS, SEQUENCES, min_size=1)


def exchange() -> tuple[RouteExchange, WantedState]:
    wanted = WantedState(home_agent_config(1, SITES), lambda effect: None)
    routes = RouteExchange(home_agent_config(1, SITES), wanted, Counter(), lambda route: None)
    routes.start(0.0)
    return routes, wanted


def leak(by: int, sequence: int) -> LearnedRoute:
    return LearnedRoute(peer(by).haha, RouteKind.LEAK, MNP, peer(by).haha, sequence)


def winner(leaks: dict[int, int]) -> Address | None:
    if not leaks:
        return None
    return peer(min(leaks, key=lambda by: (-leaks[by], peer(by).haha))).outer


def chosen(wanted: WantedState) -> Address | None:
    route = wanted.route(MNP, Metric.LEAK)
    return route.tunnel_exit if route is not None else None


@given(leaks=LEAKS, data=st.data())
@pytest.mark.requirement("H-9")
def test_arrival_order_decides_nothing(leaks: dict[int, int], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(leaks)))
    routes, wanted = exchange()
    for by in order:
        assert routes.learn(leak(by, leaks[by])) is None
    assert chosen(wanted) == winner(leaks)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("learn"), PEERS, SEQUENCES),
        st.tuples(st.just("forget"), PEERS, st.just(0)),
        st.tuples(st.just("down"), PEERS, st.just(0)),
        st.tuples(st.just("up"), PEERS, st.just(0)),
        st.tuples(st.just("eor"), PEERS, st.just(0)),
        st.tuples(st.just("relearn"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.sampled_from([1, 50, 130])),
    ),
    max_size=40,
)


@given(events=EVENTS)
def test_the_choice_is_that_of_a_table_without_history(events: list[tuple[str, int, int]]) -> None:
    """A model that keeps (sequence, stale since) a peer and looks for the best one each time; what is stale
    and older than what is told now has no place in it."""
    routes, wanted = exchange()
    now = 0.0
    model: dict[int, tuple[int, float | None]] = {}
    up: set[int] = set()

    def age(peers: set[int]) -> None:
        for by in peers & set(model):
            sequence, since = model[by]
            model[by] = sequence, now if since is None else since

    for event, by, value in events:
        address = peer(by).haha if by else None
        if event == "learn":
            routes.learn(leak(by, value))
            model = {k: v for k, v in model.items() if v[1] is None or v[0] >= value}
            model[by] = value, None
        elif event == "forget":
            routes.forget(address, MNP)
            model.pop(by, None)
        elif event == "down":
            routes.session_changed(address, False, now)
            age({by} & up)
            up.discard(by)
        elif event == "up":
            routes.session_changed(address, True, now)
            up.add(by)
        elif event == "eor":
            routes.end_of_rib(address)
            if model.get(by, (0, None))[1] is not None:
                del model[by]
        elif event == "relearn":
            routes.relearn(now)
            age(set(model))
        else:
            now += value
            routes.handle_timer(now)
            model = {k: v for k, v in model.items() if v[1] is None or v[1] + STALE_TIME > now}
        assert chosen(wanted) == winner({by: sequence for by, (sequence, _) in model.items()})
        timer = routes.next_timer()
        stale = [since + STALE_TIME for _, since in model.values() if since is not None]
        assert not stale or (timer is not None and timer <= min(stale))
        assert event != "wait" or timer is None or timer > now
