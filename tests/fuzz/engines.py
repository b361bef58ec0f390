"""What chooses the next input: chance alone, or which lines of our code the ones before have reached."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

Check = Callable[[bytes], None]
Failed = Callable[[bytes, Exception], None]


def run_by_chance(seconds: float, seed: int, check: Check, failed: Failed) -> int:
    """Inputs for so many seconds; how many. The same seed gives the same ones. `failed` is told of the
    first that fails, which is the last."""
    from tests.fuzz.mutation import Mutator, seeds
    from tests.fuzz.target import Target

    chance, mutator = Random(seed), Mutator(seeds(Target().machines.seen))
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutator.fresh(chance)
        count += 1
        try:
            check(data)
        except Exception as error:
            failed(data, error)
            break
    return count


def coverage_is_installed() -> bool:
    """Whether the library for coverage-guided fuzzing is there."""
    return importlib.util.find_spec("atheris") is not None


def instrument() -> contextlib.AbstractContextManager[None]:
    """What of ours is imported inside reports the lines it reaches."""
    include: Any = _atheris().instrument_imports(include=["haha_exabgp"], enable_loader_override=False)
    return include  # type: ignore[no-any-return]


def run_by_coverage(seconds: float, seed: int, check: Check, failed: Failed, corpus: Path | None) -> int:
    """As `run_by_chance`, but inputs that reach new lines are kept and changed further. 0 if all is well.

    `corpus` is a directory to keep them in from run to run. libFuzzer ends its process, and says on standard
    error how it went: so it gets one of its own.
    """
    with tempfile.TemporaryDirectory(prefix="haha-fuzz-") as scratch:
        child = os.fork()
        if child == 0:
            _fuzz(seconds, seed, check, failed, corpus or Path(scratch))
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _fuzz(seconds: float, seed: int, check: Check, failed: Failed, corpus: Path) -> None:
    from tests.fuzz.machines import WORLDS
    from tests.fuzz.mutation import LONGEST, Mutator, seeds
    from tests.fuzz.target import Target

    packets = seeds(Target().machines.seen)
    mutator = Mutator(packets)
    corpus.mkdir(parents=True, exist_ok=True)
    for number, packet in enumerate(packets):
        (corpus / f"seed-{number}").write_bytes(bytes((number % WORLDS,)) + packet)

    def test_one(data: bytes) -> None:
        try:
            check(data)
        except Exception as error:
            failed(data, error)
            sys.stdout.flush()
            os._exit(1)

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.3:
            data = bytes(_atheris().Mutate(data, max_size))
        return mutator.change(data, chance)[:max_size]

    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed % (1 << 31) or 1}",
        f"-max_len={LONGEST}",
        "-verbosity=0",
        "-print_final_stats=1",
        "-timeout=60",
        # An input that takes longer is kept there: libFuzzer ends the process before we could.
        f"-artifact_prefix={tempfile.gettempdir()}/haha-fuzz-",
        str(corpus),
    ]
    _atheris().Setup([sys.argv[0], *options], test_one, custom_mutator=change)
    _atheris().Fuzz()


def _atheris() -> ModuleType:
    return importlib.import_module("atheris")
