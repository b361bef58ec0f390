"""`haha agent`: the daemon of a border Home Agent; `haha flush`: take its kernel state away."""

from __future__ import annotations

import argparse
import asyncio
import grp
from pathlib import Path

from ..agent.home_agent import HomeAgentDaemon
from ..agent.policies import Policies
from ..agent.settings import home_agent_config
from ..agent.store import StoreError
from ..agent.withdrawal import withdraw_all
from ..config.keys import keys_of_home_agent
from ..config.loader import load
from ..kernel.choose_datapath import flush_datapaths
from ..kernel.guard import flush_guard
from ..kernel.netlink import NetlinkSocket
from ..mobile_routers.database import DatabaseError
from .daemon import alone, failed, log_to_stderr, unknown_name


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    agent = verbs.add_parser(
        "agent",
        help="run the daemon of one border Home Agent",
        description="Processes Binding Updates and drives kernel tunnels and routes. Stopping it leaves the"
        " kernel as it is, so that packets flow on; `haha flush` cleans up.",
    )
    agent.add_argument("--config", type=Path, required=True, metavar="FILE", help="the Home's configuration")
    agent.add_argument("--home-agent", required=True, metavar="NAME", help="which Home Agent this host is")
    agent.add_argument("--run-dir", type=Path, required=True, metavar="DIR", help="for sockets and the store")
    agent.add_argument(
        "--hook-group", required=True, metavar="GROUP", help="group of ExaBGP's user: it may open hook.sock"
    )
    agent.set_defaults(run=_run_agent)
    flush = verbs.add_parser(
        "flush", help="remove tunnels, routes, rules and the guard of a stopped daemon from this host"
    )
    flush.add_argument(
        "--run-dir",
        type=Path,
        metavar="DIR",
        help="that of the stopped agent: first have ExaBGP, which still runs, withdraw all that it announces,"
        " so that its peers keep nothing for a graceful restart",
    )
    flush.set_defaults(run=_run_flush)


def _run_agent(arguments: argparse.Namespace) -> int:
    loaded = load(arguments.config, keys_of_home_agent(arguments.home_agent))
    names = [name for _, _, name, _ in loaded.config.home_agents()]
    if arguments.home_agent not in names:
        return unknown_name("--home-agent", arguments.home_agent, names)
    try:
        group = grp.getgrnam(arguments.hook_group).gr_gid
    except KeyError:
        return failed(f"--hook-group: there is no group {arguments.hook_group}")
    log_to_stderr()
    try:
        policies = Policies(loaded, arguments.home_agent)
        config = home_agent_config(loaded, arguments.home_agent, policies.table)
        arguments.run_dir.mkdir(parents=True, exist_ok=True)
        with alone():
            home = loaded.config.home
            daemon = HomeAgentDaemon(
                config,
                home.lease,
                arguments.run_dir,
                group,
                home.datapath,
                policies=policies,
                signalling_rates=(home.signalling_each, home.signalling_total),
            )
            asyncio.run(daemon.run())
    except (OSError, StoreError, DatabaseError) as error:
        return failed(str(error))
    return 0


def _run_flush(arguments: argparse.Namespace) -> int:
    try:
        with alone():
            if arguments.run_dir is not None:
                print(f"{asyncio.run(withdraw_all(arguments.run_dir))} routes withdrawn")
            # The guard last: what still comes out of a tunnel must have passed it.
            flush_datapaths(NetlinkSocket())
            flush_guard()
    except TimeoutError:
        return failed("ExaBGP does not answer: nothing has been removed. Start it, or leave --run-dir out")
    except OSError as error:
        return failed(str(error))
    return 0
