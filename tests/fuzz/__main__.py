"""Packets that nobody sends, against everything that reads packets.

    python -m tests.fuzz --seconds 60            by coverage if `atheris` is installed, else by chance
    python -m tests.fuzz --seconds 36000 --corpus /var/tmp/corpus
    python -m tests.fuzz --replay tests/cases/fuzz/<name>.hex

An input that fails is kept in tests/cases/fuzz/, where the tests replay it from then on; exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import engines
from tests.fuzz.cases import CASES, read_case, save_case

_SHOWN = 60
"""Octets of a failing input that are printed."""


def _report(data: bytes, error: Exception, folder: Path) -> None:
    file = save_case(data, folder)
    traceback.print_exception(error)
    more = f"… ({len(data)} octets)" if len(data) > _SHOWN else ""
    print(f"failed: {data[:_SHOWN].hex()}{more}")
    print(f"again with: python -m tests.fuzz --replay {file}")


def _replay(files: Sequence[Path]) -> int:
    from tests.fuzz.target import Target

    failures = 0
    for file in files:
        try:
            Target().check(read_case(file))
        except Exception as error:
            traceback.print_exception(error)
            print(f"failed: {file}")
            failures += 1
    print(f"{len(files)} replayed, {failures} failed")
    return 1 if failures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, help="for the same inputs again (default: a new one)")
    parser.add_argument("--by", choices=("coverage", "chance"), help="how the next input is chosen")
    parser.add_argument("--corpus", type=Path, help="keep what reaches new lines here (by coverage)")
    parser.add_argument("--cases", type=Path, default=CASES, help="where a failing input is kept")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="check these inputs only")
    options = parser.parse_args(arguments)
    if options.replay:
        return _replay(options.replay)
    seed = secrets.randbits(31) if options.seed is None else options.seed
    by = options.by or ("coverage" if engines.coverage_is_installed() else "chance")
    if by == "coverage" and not engines.coverage_is_installed():
        parser.error("--by coverage needs the library atheris: pip install atheris")
    print(f"seed {seed}, by {by}, {options.seconds:g} s", flush=True)
    with engines.instrument() if by == "coverage" else contextlib.nullcontext():
        from tests.fuzz.target import Target
    failures = 0

    def failed(data: bytes, error: Exception) -> None:
        nonlocal failures
        failures += 1
        _report(data, error, options.cases)

    if by == "coverage":
        return engines.run_by_coverage(options.seconds, seed, Target().check, failed, options.corpus)
    count = engines.run_by_chance(options.seconds, seed, Target().check, failed)
    print(f"{count} inputs, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
