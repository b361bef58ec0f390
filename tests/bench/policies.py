"""Many mobile routers: how long their database takes to fill and an agent to load it, what a policy costs to
look up and to hold, and how soon a change is in force.

    python -m tests.bench.policies [MOBILE-ROUTERS …]        (no root)

Each size in processes of its own. Half of the mobile routers have one prefix and one key, a quarter two
prefixes and two keys, a quarter are plain mobile nodes. Times are of the processor, but where it says wall.
Octets: what the process has grown by since before the load, with everything that the load leaves behind, and
what of it is the table itself (`tracemalloc`).
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from haha_exabgp.agent.policies import Policies
from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import load
from haha_exabgp.mobile_routers.database import MobileRouterDatabase
from haha_exabgp.wire.address import Address

CONFIG = Path(__file__).parents[2] / "configs" / "two-sites.yaml"
_SIZES = (1_000, 10_000, 100_000)
_PAGE = os.sysconf("SC_PAGE_SIZE")

ROWS = {
    "file_mb": "size of the database, MB",
    "import_wall": "haha mr-db import, wall, s",
    "import": "haha mr-db import, s",
    "import_again": "the same file again, s",
    "load": "agent loads all, s",
    "octets": "octets a mobile router, all",
    "table_octets": "octets a mobile router, table",
    "lookup": "lookup, unpacked, us",
    "lookup_kept": "lookup, kept, us",
    "by_name": "lookup by name, ms",
    "look": "look at an unchanged database, us",
    "change": "one change: read and applied, ms",
}


def write_csv(file: Path, count: int) -> None:
    """`count` mobile routers in the partition of site1."""
    rows = ["name,home_address,prefixes,keys,replay,proxies"]
    for n in range(count):
        place = f"{n >> 16:x}:{n & 0xFFFF:x}"
        prefixes = [f"2001:db8:1:{0x8000 | number:x}:{place}::/96" for number in (1, 2)]
        keys = [f"{4096 + number}:hmac-sha1:{os.urandom(16).hex()}" for number in (0, 1)]
        many = (1, 1, 2, 0)[n % 4]
        parts = (" ".join(prefixes[:many]), " ".join(keys[: max(many, 1)]))
        rows.append(f"b{n},2001:db8:1:ff00:{place}::1,{parts[0]},{parts[1]},,{'ha2' if n % 7 == 0 else ''}")
    file.touch(0o600)
    file.write_text("\n".join(rows) + "\n")


def timed(do: Callable[[], object], times: int = 1) -> float:
    """Seconds of the processor a call."""
    began = time.process_time()
    for _ in range(times):
        do()
    return (time.process_time() - began) / times


def resident() -> int:
    """Octets of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def measure_import(config: Path, csv: Path) -> dict[str, float]:
    """Through the command itself, start of Python and all."""
    command = [sys.executable, "-m", "haha_exabgp", "mr-db", "import", str(csv), "--config", str(config)]

    def run() -> tuple[float, float]:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return own, time.perf_counter() - began

    (first, wall), (again, _) = run(), run()
    size = (config.parent / "mr.db").stat().st_size / 1e6
    return {"import": first, "import_wall": wall, "import_again": again, "file_mb": size}


def measure_table(config: Path) -> dict[str, float]:
    """What an agent has of it; to be called in a process of its own."""
    loaded = load(config)
    gc.collect()
    before = resident()
    policies: list[Policies] = []
    seconds = timed(lambda: policies.append(Policies(loaded)))
    gc.collect()
    table = policies[0].table
    octets = (resident() - before) / len(table)
    # As the agent does.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    order = list(table)
    random.Random(1).shuffle(order)
    last = order[-1]
    each = iter(order)
    unpacked = timed(lambda: table[next(each)], len(order))
    kept = timed(lambda: table[last], 100_000)
    name = table[order[0]].name
    return {
        "load": seconds,
        "octets": octets,
        "lookup": unpacked * 1e6,
        "lookup_kept": kept * 1e6,
        "by_name": timed(lambda: table.named(name), 10) * 1e3,
        "look": timed(policies[0].stale, 1000) * 1e6,
        "change": measure_change(policies[0], config.parent / "mr.db", last) * 1e3,
    }


def measure_change(policies: Policies, file: Path, home_address: Address) -> float:
    """Seconds from the look that sees a change to its being in the table."""
    database = MobileRouterDatabase(file)
    stored = database.at(home_address)
    with database.editing() as edit:
        edit.remove(stored.name if stored is not None else "b0")
    database.close()

    def take() -> None:
        assert policies.stale()
        update = policies.read_changes()
        assert update is not None and len(policies.apply(update)) == 1

    return timed(take)


def measure_traced(config: Path) -> dict[str, float]:
    """Octets of the table alone; slow, because every allocation is followed."""
    loaded = load(config)
    gc.collect()
    tracemalloc.start()
    policies = Policies(loaded)
    gc.collect()
    return {"table_octets": tracemalloc.get_traced_memory()[0] / len(policies.table)}


def measure(count: int) -> dict[str, float]:
    """All figures of one size, each kind in a fresh process."""
    with tempfile.TemporaryDirectory(prefix="haha-bench-") as directory:
        config = Path(directory) / "home.yaml"
        text = CONFIG.read_text().replace(
            "  # mobile_router_db: mobile-routers.sqlite", "  mobile_router_db: mr.db"
        )
        config.write_text(text)
        home = load(config, no_key)
        list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
        write_csv(Path(directory) / "in.csv", count)
        figures = measure_import(config, Path(directory) / "in.csv")
        for part in ("traced", "table"):
            command = [sys.executable, "-m", "tests.bench.policies", part, str(config)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            figures |= json.loads(done.stdout)
    return figures


def main() -> None:
    """Measure and print, or be one of the processes."""
    parts = {"table": measure_table, "traced": measure_traced}
    if sys.argv[1:] and sys.argv[1] in parts:
        print(json.dumps(parts[sys.argv[1]](Path(sys.argv[2]))))
        return
    sizes = tuple(map(int, sys.argv[1:])) or _SIZES
    found = {size: measure(size) for size in sizes}
    print(f"{'mobile routers':36}" + "".join(f"{size:>12,}" for size in sizes))
    for row, told in ROWS.items():
        print(f"{told:36}" + "".join(f"{found[size][row]:12.2f}" for size in sizes))


if __name__ == "__main__":
    main()
