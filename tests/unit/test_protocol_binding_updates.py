"""Recorded Binding Updates and what becomes of them: tests/cases/binding_updates/<case>/case.yaml.

A case says what was accepted `before`, what comes `then`, and what is to be expected; what an update does
not name is as in `_DEFAULTS`. A case proves the status that it expects, and the requirements that it
`proves`. Nothing may change anywhere when an update is refused or dropped, but at the Home Agents that `ends`
names, which lose the binding.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from haha_exabgp.protocol.home import HomeAgentConfig, ReplayProtectionMode, SecurityAssociation
from haha_exabgp.protocol.home_subnets import HomeSubnet
from haha_exabgp.protocol.mobile_router import MobileRouter
from haha_exabgp.wire.address import Address, Prefix
from haha_exabgp.wire.authentication import sign
from haha_exabgp.wire.codes import BindingAcknowledgementFlag, BindingUpdateFlag
from haha_exabgp.wire.haha_options import AddressRole, HahaAddress
from haha_exabgp.wire.ipv6 import MobilityPacket, build_mobility, parse_packet
from haha_exabgp.wire.mobility import (
    BindingAcknowledgement,
    BindingUpdate,
    decode_mobility,
    decode_unchecked,
    encode_mobility,
    seal,
)
from haha_exabgp.wire.options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    MobileNetworkPrefix,
    NonceIndices,
    ReplayProtection,
    first_option,
)
from haha_exabgp.wire.timestamp import from_unix, to_unix
from tests.unit.conftest import HOA, MNP, WALL, World, peer

CASES = Path(__file__).parents[1] / "cases" / "binding_updates"
_FLAGS = {
    "A": BindingUpdateFlag.ACKNOWLEDGE,
    "H": BindingUpdateFlag.HOME_REGISTRATION,
    "R": BindingUpdateFlag.MOBILE_ROUTER,
}
_DEFAULTS: dict[str, Any] = {
    "to": "ha1",
    "from": "3fff:f01::aa",
    "home_address": str(HOA),
    "flags": "AHR",
    "lifetime": 600,
    "prefixes": [str(MNP)],
    "clock": 0.0,
    "key": "right",
    "spi": 4096,
    "after": 1.0,
    "nonce_indices": False,
}
_KEYS = {"right": bytes(range(16)), "wrong": bytes(16)}


class Case:
    """One recorded case being played."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        setting = case.get("setting", {})
        self.world = World(sites=3, adapt=lambda config: _adapt(config, setting))
        silent = {peer(int(name[2:])).haha for name in setting.get("silent", ())}
        self.world.drop = lambda packet: packet[24:40] in silent
        self.sequences = count(10)
        self.last: MobilityPacket

    def play(self, written: dict[str, Any]) -> BindingAcknowledgement | None:
        """Send one Binding Update; what is answered to it, if anything."""
        unknown = set(written) - set(_DEFAULTS) - {"sequence", "alternate", "again", "outer", "addressed"}
        assert not unknown, unknown
        update = _DEFAULTS | written
        self.world.pass_time(update["after"])
        at = int(update["to"][2:])
        received = self._capture(at) if update.get("again") else self._build(update, at)
        self.last = received
        seen = len(self.world.wire)
        self.world.agents[at].receive_mobility(received, self.world.now)
        self.world.settle()
        self.world.pass_time(4.0)
        for answer in self.world.wire[seen:]:
            if isinstance(answer, MobilityPacket) and answer.destination == received.source:
                message = decode_mobility(answer.header, answer.checksum_source, answer.checksum_destination)
                assert isinstance(message, BindingAcknowledgement)
                assert answer.source == received.destination
                # RFC 6275 s.9.5.4: a routing header unless the update came from home.
                assert answer.routing_home_address == received.home_address
                self._check_acknowledgement(message, received)
                return message
        return None

    def _capture(self, at: int) -> MobilityPacket:
        """What was sent last, to this Home Agent: nothing in the authenticator ties it to another."""
        destination, header = peer(at).outer, bytearray(self.last.header)
        header[4:6] = bytes(2)
        return self.last._replace(
            destination=destination, header=seal(header, self.last.checksum_source, destination)
        )

    def _build(self, update: dict[str, Any], at: int) -> MobilityPacket:
        source, home_address = Address.parse(update["from"]), Address.parse(update["home_address"])
        destination = Address.parse(update["outer"]) if "outer" in update else peer(at).outer
        care_of = Address.parse(update["alternate"]) if "alternate" in update else source
        options: list[Any] = []
        if "alternate" in update:
            options.append(AlternateCareOfAddress(care_of))
        if update["nonce_indices"]:
            options.append(NonceIndices(1, 1))
        if "addressed" in update:
            options.append(HahaAddress(AddressRole.HOME_AGENT, peer(int(update["addressed"][2:])).outer))
        options += [MobileNetworkPrefix(Prefix.parse(text)) for text in update["prefixes"]]
        if update["clock"] != "none":
            options.append(ReplayProtection(from_unix(self.world.now.wall + update["clock"])))
        flags = BindingUpdateFlag(sum(_FLAGS[letter] for letter in update["flags"]))
        sequence = update["sequence"] if "sequence" in update else next(self.sequences)
        message = BindingUpdate(sequence, flags, update["lifetime"], tuple(options))
        if update["key"] == "none":
            header = encode_mobility(message, home_address, destination)
        else:
            header = sign(
                message,
                home_address,
                destination,
                key=_KEYS[update["key"]],
                spi=update["spi"],
                care_of_address=care_of,
                home_address=home_address,
            )
        from_home = home_address if source != home_address else None
        received = parse_packet(build_mobility(source, destination, header, home_address=from_home))
        assert isinstance(received, MobilityPacket)
        return received

    def _check_acknowledgement(self, message: BindingAcknowledgement, update: MobilityPacket) -> None:
        """What holds for every answer: RFC 3963 s.6.2 about R, RFC 4285 s.6 about the timestamp."""
        sent = decode_unchecked(update.header)
        assert isinstance(sent, BindingUpdate)
        wants_router = BindingUpdateFlag.MOBILE_ROUTER in sent.flags
        assert (BindingAcknowledgementFlag.MOBILE_ROUTER in message.flags) == wants_router
        asked, told = (first_option(one.options, ReplayProtection) for one in (sent, message))
        if asked is not None and message.status != 144:
            assert told == asked
        if asked is None:
            assert (told is not None) == (message.status == 145)
        if asked is not None and message.status == 144:
            assert told is not None
            assert told.timestamp & 0xFFFFFFFF == asked.timestamp & 0xFFFFFFFF
            assert abs(to_unix(told.timestamp) - self.world.now.wall) < 6


def _adapt(config: HomeAgentConfig, setting: dict[str, Any]) -> HomeAgentConfig:
    changes: dict[str, Any] = {}
    policy = config.mobile_routers[HOA]
    if "configured_prefixes" in setting:
        policy = replace(policy, prefixes=tuple(map(Prefix.parse, setting["configured_prefixes"])))
    if config.name in setting.get("other_key_at", ()):
        policy = replace(policy, associations=(SecurityAssociation(4096, bytes(16)),))
    if "home_address" in setting:
        policy = replace(policy, home_address=Address.parse(setting["home_address"]))
    if "replay" in setting:
        policy = replace(policy, replay=ReplayProtectionMode(setting["replay"]))
    if "proxies" in setting:
        policy = replace(policy, proxies=frozenset(setting["proxies"]))
    changes["mobile_routers"] = {policy.home_address: policy}
    for text, prefixes in setting.get("others", {}).items():
        home_address = Address.parse(text)
        changes["mobile_routers"][home_address] = replace(
            policy, name=text, home_address=home_address, prefixes=tuple(map(Prefix.parse, prefixes))
        )
    if "max_lifetime" in setting:
        changes["max_binding_lifetime"] = setting["max_lifetime"]
    if "subnet" in setting:
        ends = (WALL + seconds for seconds in setting["subnet"])
        changes["home_subnets"] = (HomeSubnet(Prefix.of(HOA, 64), *ends),)
    for name in ("max_bindings", "max_prefixes", "refresh_advice", "nests_tunnels"):
        if name in setting:
            changes[name] = setting[name]
    return replace(config, **changes)


def _bound(world: World) -> dict[str, str]:
    """Every live binding: `kind care-of-address prefix …` by Home Agent."""
    return {
        f"ha{index}": " ".join((str(one.kind), str(one.care_of_address), *map(str, one.prefixes)))
        for index, agent in world.agents.items()
        for one in agent.bindings
    }


def _recorded() -> list[Any]:
    cases = []
    for folder in sorted(CASES.iterdir()):
        case = yaml.safe_load((folder / "case.yaml").read_text())
        status = [f"M-CODE-{case['expect']['status']}"] if "status" in case["expect"] else []
        proves = pytest.mark.requirement(*status, *case.get("proves", ()))
        cases.append(pytest.param(folder.name, id=folder.name, marks=proves))
    return cases


@pytest.mark.parametrize("name", _recorded())
def test_recorded_binding_update(name: str) -> None:
    case = yaml.safe_load((CASES / name / "case.yaml").read_text())
    assert set(case) <= {"says", "proves", "setting", "before", "then", "expect"}
    expected = case["expect"]
    played = Case(case)
    for update in case.get("before", ()):
        answer = played.play(update)
        assert answer is not None and answer.status == 0
    agents = played.world.agents
    if case.get("setting", {}).get("told_to_switch"):
        agents[1].switch([HOA], [peer(2).outer])
    played.world.pass_time(float(case["then"].get("after", 1.0)))
    earlier, drops = played.world.snapshot(), {i: agent.counters.copy() for i, agent in agents.items()}
    answer = played.play({**case["then"], "after": 0.0})
    if "drop" in expected:
        assert answer is None
        at = int({**_DEFAULTS, **case["then"]}["to"][2:])
        counted = agents[at].counters - drops[at]
        assert counted == {f"dropped_{expected['drop']}": 1}
    else:
        assert answer is not None
        assert answer.status == expected["status"]
    for field in ("sequence", "lifetime"):
        if field in expected:
            assert getattr(answer, field) == expected[field]
    if expected.get("status") in (0, 1):
        advice = first_option(answer.options, BindingRefreshAdvice)
        assert (advice.interval if advice is not None else None) == expected.get("advice")
        assert _bound(played.world) == expected["bound"]
        return
    assert answer is None or answer.lifetime == 0
    for index in agents:
        if f"ha{index}" in expected.get("ends", ()):
            assert agents[index].bindings.get(HOA) is None
        else:
            assert played.world.snapshot_of(index) == earlier[index]


def test_the_codes_that_matter_have_a_case() -> None:
    expected = [yaml.safe_load(file.read_text())["expect"] for file in CASES.glob("*/case.yaml")]
    statuses = {one["status"] for one in expected if "status" in one}
    assert statuses >= {0, 1, 129, 130, 132, 133, 135, 139, 140, 141, 142, 143, 144, 145, 146, 174}


def test_the_mobile_router_of_these_cases_is_silent() -> None:
    world = World()
    assert isinstance(world.mobile_router, MobileRouter)
    assert world.mobile_router.next_timer() is None
