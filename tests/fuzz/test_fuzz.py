"""The fuzzer finds what is broken, finds nothing now, and finds nothing again in what it once found."""

from __future__ import annotations

import hmac
from pathlib import Path
from random import Random

import pytest

from haha_exabgp.protocol.home_agent import HomeAgent
from haha_exabgp.wire.errors import MalformedPacket
from haha_exabgp.wire.ipv6 import IcmpPacket, MobilityPacket, parse_packet
from tests.fuzz.__main__ import main
from tests.fuzz.cases import CASES, read_case, save_case
from tests.fuzz.engines import run_by_chance
from tests.fuzz.machines import WORLDS
from tests.fuzz.mutation import Mutator, seeds
from tests.fuzz.target import Target

LONG_ENOUGH = "60"
"""Seconds after which a fuzzer that has found nothing is broken; it needs one or two."""


def read(data: bytes) -> MobilityPacket | IcmpPacket | None:
    try:
        return parse_packet(data[1:])
    except MalformedPacket:
        return None


def run(*arguments: str) -> int:
    return main(["--by", "chance", "--seed", "1", *arguments])


def test_inputs_that_failed_once_do_not_fail_again() -> None:
    for file in sorted(CASES.glob("*.hex")):
        Target().check(read_case(file))


@pytest.mark.requirement("S-2")
def test_a_few_seconds_find_nothing() -> None:
    target = Target()
    failures: list[tuple[str, Exception]] = []
    count = run_by_chance(3.0, 4285, target.check, lambda data, error: failures.append((data.hex(), error)))
    assert failures == []
    assert count > 100


def test_the_same_seed_makes_the_same_inputs_and_many_of_them_are_read() -> None:
    made = []
    for _ in range(2):
        chance, mutator = Random(5), Mutator(seeds(Target().machines.seen))
        made.append([mutator.fresh(chance) for _ in range(500)])
    assert made[0] == made[1]
    assert len(set(made[0])) > 400
    assert sum(isinstance(read(data), MobilityPacket) for data in made[0]) > 150


def test_a_crash_is_kept_and_can_be_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    receive = HomeAgent.receive_mobility

    def broken(agent: HomeAgent, packet: MobilityPacket, now: object) -> None:
        if packet.header[2] == 13:
            raise IndexError("planted")
        receive(agent, packet, now)  # type: ignore[arg-type]

    monkeypatch.setattr(HomeAgent, "receive_mobility", broken)
    assert run("--seconds", LONG_ENOUGH, "--cases", str(tmp_path)) == 1
    (file,) = tmp_path.iterdir()
    said = capsys.readouterr().out
    assert f"failed: {read_case(file).hex()[:40]}" in said
    assert f"again with: python -m tests.fuzz --replay {file}" in said
    assert run("--replay", str(file)) == 1
    assert "1 replayed, 1 failed" in capsys.readouterr().out
    monkeypatch.undo()
    assert run("--replay", str(file)) == 0


@pytest.mark.requirement("S-2")
def test_a_home_agent_that_believes_every_authenticator_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target()
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: True)
    chance, mutator = Random(1), Mutator(seeds(target.machines.seen))
    with pytest.raises(AssertionError, match=r"a stranger has changed the state|Effect|Route|Remember"):
        for _ in range(200_000):
            data = mutator.fresh(chance)
            packet = read(data)
            if packet is not None:
                target.machines.deliver(data[0] % WORLDS, packet)


def test_a_file_holds_what_was_put_into_it(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5
    file = save_case(data, tmp_path)
    assert read_case(file) == data
    assert max(map(len, file.read_text().splitlines())) == 64
