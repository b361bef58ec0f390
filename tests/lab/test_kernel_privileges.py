"""The kernel plane works for a user who has two capabilities and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyroute2
import pytest

import haha_exabgp
from tests.lab.kernel_world import Namespace

pytestmark = pytest.mark.lab

NOBODY = "65534"
CAPABILITIES = "-all,+net_admin,+net_raw"
PROGRAM = """
import asyncio, socket
from haha_exabgp.kernel.guard import HomeAgentGuard
from haha_exabgp.kernel.guard_config import HomeAgentGuardConfig
from haha_exabgp.kernel.link_monitor import CarrierUp, LinkMonitor
from haha_exabgp.kernel.netlink import NetlinkSocket
from haha_exabgp.kernel.seg6 import Seg6Datapath
from haha_exabgp.kernel.sockets import DhaadSocket, MobilitySocket, open_discovery_replies
from haha_exabgp.kernel.uplink import forget_attachment, prepare_uplink
from haha_exabgp.protocol.effects import Permit
from haha_exabgp.wire.address import Address, Prefix

home = Prefix.parse("2001:db8::/32")
outer, haha = Address.parse("3fff:101::a"), Address.parse("2001:db8:ffff::1")
datapath = Seg6Datapath(NetlinkSocket())
datapath.setup()
datapath.set_inner_addresses({haha})
datapath.set_tunnel_ends({outer}, outer)
MobilitySocket(), DhaadSocket(home), open_discovery_replies()
async def watch():
    async for event in LinkMonitor("lo").events():
        return event
assert asyncio.run(watch()) == CarrierUp()
asyncio.run(forget_attachment(socket.if_nametoindex("eth0")))
nobody = frozenset()
guard = HomeAgentGuard(HomeAgentGuardConfig(home, home, haha, frozenset({outer}), nobody, nobody))
guard.setup(nobody, nobody)
guard.apply([Permit(outer, Prefix.parse("2001:db8::/64"))], [])
guard.counters()
prepare_uplink("eth0")
guard.flush()
datapath.flush()
print("all done")
"""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace("tDp")
    made.ip("link add eth0 type veth peer name eth1")
    yield made
    made.delete()


def test_two_capabilities_are_enough(namespace: Namespace) -> None:
    unprivileged = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    sets = tuple(f"--{name}={CAPABILITIES}" for name in ("inh-caps", "ambient-caps", "bounding-set"))
    path = ":".join(str(Path(package.__file__).parents[1]) for package in (haha_exabgp, pyroute2))
    environment = ("env", f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1")
    for interpreter in (sys.executable, "/usr/bin/python3"):
        command = (*unprivileged, *sets, *environment, interpreter, "-c")
        imports = (*command, "import haha_exabgp, pyroute2")
        if subprocess.run(imports, capture_output=True, check=False).returncode == 0:
            assert namespace.run(*command, PROGRAM) == "all done\n"
            return
    pytest.skip("no Python that the user nobody may run can read this package")
