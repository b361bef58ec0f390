"""The Home that the benchmarks of the Home Agent use: one site, as many mobile routers as wanted, each with a
home address and a /64; and the Home Agent's own process.

    python -m tests.bench.bench_home RUN_DIR MOBILE_ROUTERS     in the Home Agent's namespace
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from haha_exabgp.agent.home_agent import HomeAgentDaemon
from haha_exabgp.protocol.home import HomeAgentConfig, MobileRouterPolicy, SecurityAssociation
from haha_exabgp.wire.address import Address, Prefix

HOME = Prefix.parse("2001:db8::/32")
OUTER = Address.parse("3fff:101::a")
ASSOCIATION = SecurityAssociation(4096, bytes(range(16)))
ACCESS = Prefix.parse("3fff:f00::/32")
LIFETIME = 600
_FIRST_HOME_ADDRESS = int.from_bytes(Address.parse("2001:db8:ff::"), "big")
_FIRST_PREFIX = int.from_bytes(Address.parse("2001:db8::"), "big")
_FIRST_CARE_OF = int.from_bytes(Address.parse("3fff:f00::"), "big")


def home_address(index: int) -> Address:
    """Of mobile router `index`, from 0."""
    return Address((_FIRST_HOME_ADDRESS + index + 1).to_bytes(16, "big"))


def number_of(home_address: bytes) -> int:
    """The reverse of `home_address`."""
    return int.from_bytes(home_address, "big") - _FIRST_HOME_ADDRESS - 1


def network(index: int) -> Prefix:
    """Of mobile router `index`."""
    return Prefix(Address((_FIRST_PREFIX + (index << 64)).to_bytes(16, "big")), 64)


def care_of_address(index: int, place: int) -> Address:
    """Of mobile router `index` at access network `place`."""
    return Address((_FIRST_CARE_OF + (place << 64) + index + 1).to_bytes(16, "big"))


def home_agent_config(mobile_routers: int) -> HomeAgentConfig:
    """The one Home Agent's."""
    return HomeAgentConfig(
        name="ha1",
        site="site1",
        outer=OUTER,
        haha=Address.parse("2001:db8:ffff::1"),
        home=HOME,
        partition=Prefix.parse("2001:db8::/40"),
        site_router=Address.parse("3fff:101::1"),
        asn=64500,
        peers=(),
        mesh=SecurityAssociation(256, bytes(16)),
        mobile_routers={
            home_address(index): MobileRouterPolicy(
                f"mr{index}", home_address(index), (network(index),), (ASSOCIATION,)
            )
            for index in range(mobile_routers)
        },
        max_binding_lifetime=3600,
        min_sites_reached=0,
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    run_dir, count = Path(sys.argv[1]), int(sys.argv[2])
    asyncio.run(HomeAgentDaemon(home_agent_config(count), 180.0, run_dir, os.getgid()).run())
