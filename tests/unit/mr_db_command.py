"""`haha mr-db` in this process, on mr.db in the present directory."""

from __future__ import annotations

import argparse
from pathlib import Path

from haha_exabgp.cli import mr_db
from haha_exabgp.mobile_routers.database import MobileRouterDatabase
from haha_exabgp.protocol.home import MobileRouterPolicy

KEY = "00112233445566778899aabbccddeeff"
OTHER_KEY = "ff" * 32
COLUMNS = "name,home_address,prefixes,keys,replay,proxies\n"
ALL_COLUMNS = "name,home_address,prefixes,keys,replay,proxies,leak"
TWO = (
    f"a1,2001:db8:1:2::1,2001:db8:1:a::/64 2001:db8:1:b::/64,4096:hmac-sha1:{KEY},,\n"
    f"a2,2001:db8:2:2::1,,4097:hmac-sha256:{OTHER_KEY} 4096:hmac-sha1:{KEY},sequence,ha1 ha2\n"
)


def haha(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    mr_db.register(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["mr-db", *map(str, arguments)])
    status: int = parsed.run(parsed)
    return status


def written(name: str, text: str, mode: int = 0o600) -> str:
    Path(name).write_text(text)
    Path(name).chmod(mode)
    return name


def imported(text: str, name: str = "in.csv", *options: str) -> int:
    return haha("import", written(name, text), "--db", "mr.db", *options)


def stored() -> list[MobileRouterPolicy]:
    database = MobileRouterDatabase(Path("mr.db"))
    try:
        return list(database.every())
    finally:
        database.close()
