"""An operator asks a Home Agent about a mobile router: where, since when, through whom, why refused."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import socket
from pathlib import Path

import pytest

from haha_exabgp.agent.control import SOCKET_NAME, ControlError, ask, serve_control
from haha_exabgp.agent.known_mobile_routers import mobile_router_rows
from haha_exabgp.protocol.home import LeakPolicy
from haha_exabgp.wire.address import Prefix
from tests.unit.conftest import ACCESS, HOA, World, peer
from tests.unit.mobility_messages import update_to


def row(world: World, index: int, of: str | None = "mr1") -> dict[str, object]:
    agent = world.agents[index]
    (found,) = mobile_router_rows(agent, agent._config, of, world.now)
    return found


def raw(run_dir: Path, line: bytes) -> str:
    """What the daemon answers to a line that `ask` would not write."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(run_dir / SOCKET_NAME))
        connection.sendall(line + b"\n")
        return connection.makefile().readline()


def test_where_since_when_and_through_whom(world):
    world.attach(1)
    direct = row(world, 1)
    assert (direct["state"], direct["care_of_address"], direct["through"]) == ("bound", str(ACCESS[1]), "ha1")
    assert abs(direct["since"] - world.now.wall) < 1 and 590 < direct["expires_in"] <= 600
    world.attach(2)
    assert row(world, 1)["through"] == "proxy ha2"
    assert row(world, 2)["through"] == "ha2, primary is ha1"
    assert row(world, 2)["care_of_address"] == str(ACCESS[2])


@pytest.mark.requirement("K-6", "H-9-FLAP")
def test_whether_it_is_leaked_or_why_not():
    world = World(adapt=lambda config: dataclasses.replace(config, flap_moves=2, flap_window=100))
    world.attach(1)
    assert row(world, 1)["leak"] == ""
    world.attach(2)
    assert (row(world, 1)["leak"], row(world, 2)["leak"]) == ("", "leaked")
    world.attach(1)
    world.attach(2)
    world.pass_time(60)
    assert row(world, 1)["leak"] == row(world, 2)["leak"] == "held back: flapping, 40 s more"
    policies = world.configs[2].mobile_routers
    policies[HOA] = dataclasses.replace(policies[HOA], leak=LeakPolicy.NEVER)
    world.agents[2].policies_changed([HOA], world.now)
    assert row(world, 2)["leak"] == "held back: policy: never"


def test_by_home_address_as_well_and_what_is_unknown_is_said(world):
    assert row(world, 1, str(HOA))["mobile_router"] == "mr1"
    for unknown in ("mr9", "2001:db8:1:1::99"):
        with pytest.raises(ControlError, match=unknown):
            row(world, 1, unknown)


def test_without_a_name_those_that_are_bound_or_were_refused(world):
    agent = world.agents[1]
    assert mobile_router_rows(agent, agent._config, None, world.now) == []
    world.attach(1)
    assert row(world, 1, None)["mobile_router"] == "mr1"


def test_why_the_last_binding_update_was_refused(world):
    world.inject(update_to(world, 1, ACCESS[1], 1, prefix=Prefix.parse("2001:db8:1:200::/64")))
    world.pass_time(3)
    told = row(world, 1, None)
    assert told["state"] == "unbound"
    assert told["last_refusal"].startswith("status 142: a prefix is not one of this mobile router; from")
    assert str(ACCESS[1]) in told["last_refusal"] and told["last_refusal"].endswith("3 s ago")
    assert told["last_not_authentic"] == ""


def test_what_was_not_authentic_is_kept_apart(world):
    world.attach(1)
    world.inject(update_to(world, 1, ACCESS[2], 99, key=bytes(16)))
    told = row(world, 1)
    assert told["last_refusal"] == ""
    assert told["last_not_authentic"].startswith("status 146: its authenticator is wrong")
    assert told["care_of_address"] == str(ACCESS[1])


def test_who_has_gone_is_shown_where_it_was(world):
    world.attach(1)
    world.inject(
        update_to(world, 1, ACCESS[1], world.agents[1].bindings.get(HOA).order.sequence + 1, lifetime=0)
    )
    told = row(world, 1)
    assert (told["state"], told["was_at"], told["primary"]) == ("unbound", str(ACCESS[1]), ["ha1"])
    assert told["note"] == "not bound here, and this is its primary"
    assert "expires_in" not in told


def test_why_a_binding_has_ended(world):
    def ended(index: int) -> object:
        told = row(world, index)
        assert told["state"] == "unbound"
        return told["ended"]

    assert ended(1) == ""
    world.inject(update_to(world, 1, ACCESS[1], 1, lifetime=8))
    world.pass_time(10)
    assert ended(1) == "expired"
    world.inject(update_to(world, 1, ACCESS[1], 2))
    world.inject(update_to(world, 1, ACCESS[1], 3, lifetime=0))
    assert ended(1) == "de-registered"
    world.inject(update_to(world, 2, ACCESS[2], 4))
    world.inject(update_to(world, 1, ACCESS[1], 5))
    assert ended(2) == "moved"
    world.inject(update_to(world, 2, ACCESS[2], 6))
    policies = world.configs[1].mobile_routers
    policies[HOA] = dataclasses.replace(policies[HOA], proxies=frozenset())
    world.agents[1].policies_changed([HOA], world.now)
    world.settle()
    assert (ended(1), ended(2)) == ("policy", "policy")


@pytest.mark.parametrize("heard", [False, True])
def test_elsewhere_it_is_said_who_is_primary_or_where_it_is(heard):
    """Only what is bound away from its primary's site is told to all sites."""
    world = World(sites=3)
    world.attach(2 if heard else 1)
    told = row(world, 3)
    assert (told["state"], told["was_at"], told["primary"]) == ("unbound", "", ["ha1"])
    assert told["note"] == "not bound here" + (", but at ha2" if heard else "; its primary is ha1")


def test_what_a_former_place_still_leaks_is_not_where_it_is(world):
    world.attach(2)
    world.deaf.add(1)
    number = world.agents[2].bindings.get(HOA).order.sequence + 1
    world.inject(update_to(world, 2, ACCESS[2], number, lifetime=0))
    assert row(world, 1)["note"] == "not bound here, and this is its primary"


def test_the_control_socket_passes_the_question_on(world, tmp_path: Path):
    agent = world.agents[1]
    views = {
        "mobile-router": lambda of=None: mobile_router_rows(agent, agent._config, of, world.now),
        "sites": lambda: [{"site": peer(1).site}],
    }

    def order(names: list[str], really: bool) -> list[dict[str, object]]:
        return [{"names": names, "really": really}]

    async def story() -> None:
        server = await serve_control(tmp_path, views, {"order": order})
        answer = asyncio.to_thread(ask, tmp_path, "mobile-router", of="mr1")
        assert (await answer)[0]["home_address"] == str(HOA)
        with pytest.raises(ControlError, match="no mobile router has the name or home address mr7"):
            await asyncio.to_thread(ask, tmp_path, "mobile-router", of="mr7")
        with pytest.raises(ControlError, match="sites is of nobody in particular"):
            await asyncio.to_thread(ask, tmp_path, "sites", of="mr1")
        assert (await asyncio.to_thread(ask, tmp_path, "sites")) == [{"site": "site1"}]
        doing = functools.partial(asyncio.to_thread, ask, tmp_path, "order", "do")
        assert await doing(names=["a", "b"], really=True) == [{"names": ["a", "b"], "really": True}]
        for arguments, told in (
            ({"names": ["a"]}, "order: missing a required argument: 'really'"),
            ({"names": ["a"], "really": True, "colour": "red"}, "unexpected keyword argument 'colour'"),
            ({"names": "a", "really": True}, 'order: names cannot be "a"'),
            ({"names": [1], "really": True}, r"order: names cannot be \[1\]"),
            ({"names": [], "really": "yes"}, 'order: really cannot be "yes"'),
        ):
            with pytest.raises(ControlError, match=told):
                await doing(**arguments)
        with pytest.raises(ControlError, match="this daemon cannot do sites; what it can do: order"):
            await asyncio.to_thread(ask, tmp_path, "sites", "do")
        for line in (b"[]", b"5", b"{}", b'{"show": "sites", "do": "order"}', b"x"):
            assert "not a request" in await asyncio.to_thread(raw, tmp_path, line)
        server.close()

    asyncio.run(story())
