"""`haha mr`: the daemon of a mobile router."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from ..agent.mobile_router import MobileRouterDaemon
from ..agent.settings import mobile_networks, mobile_router_config
from ..config.keys import key_of_mobile_router
from ..config.loader import load
from .daemon import alone, failed, log_to_stderr, unknown_name


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    mr = verbs.add_parser(
        "mr",
        help="run the daemon of one mobile router",
        description="Finds the closest Home Agent, binds to it and keeps the tunnel. SIGTERM de-registers.",
    )
    mr.add_argument("--config", type=Path, required=True, metavar="FILE", help="the Home's configuration")
    mr.add_argument("--mobile-router", required=True, metavar="NAME", help="which mobile router this host is")
    mr.add_argument("--run-dir", type=Path, required=True, metavar="DIR", help="for the control socket")
    mr.add_argument(
        "--interface",
        required=True,
        action="append",
        metavar="DEVICE",
        help="an uplink, such as wan0; may be given several times, the most preferred first",
    )
    mr.add_argument("--lan", required=True, metavar="DEVICE", help="of the mobile network, such as lan0")
    mr.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    name = arguments.mobile_router
    loaded = load(arguments.config, keys=key_of_mobile_router(name))
    if name not in loaded.config.mobile_routers:
        return unknown_name("--mobile-router", name, list(loaded.config.mobile_routers))
    log_to_stderr()
    try:
        arguments.run_dir.mkdir(parents=True, exist_ok=True)
        with alone():
            daemon = MobileRouterDaemon(
                mobile_router_config(loaded, name),
                mobile_networks(loaded, name),
                arguments.run_dir,
                uplinks=list(dict.fromkeys(arguments.interface)),
                lan=arguments.lan,
                datapath=loaded.config.home.datapath,
            )
            asyncio.run(daemon.run())
    except OSError as error:
        return failed(str(error))
    return 0
