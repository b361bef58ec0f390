"""ExaBGP's configuration for one border Home Agent, and what it is started with. Measured with 5.0.15."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from ..config.schema import HomeConfig
from ..protocol.route_exchange import STALE_TIME
from .rendering import render

HOLD_TIME = 9
"""Seconds (keepalives every 3): how long the routes of a Home Agent that vanished without a word stay, for
there is no BFD inside the tunnels. Not less: ExaBGP does nothing else while it takes in a large table."""
RESTART_TIME = int(STALE_TIME)
"""Seconds peers keep our routes while ExaBGP restarts (RFC 4724 s.3): as long as we keep theirs."""

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./@:+-]*")
_PLAIN_PASSWORD = re.compile(r"[A-Za-z0-9_.+/=-]{1,80}")


@dataclass(frozen=True, slots=True)
class _Neighbor:
    name: str
    address: IPv6Address
    local_address: IPv6Address
    connects: bool
    """Whether we open the session; the other side only listens, so that two connections never collide."""


def render_exabgp(config: HomeConfig, home_agent: str, run_dir: Path, password: str, python: str) -> str:
    """exabgp.conf of one Home Agent: iBGP to the Home Agents adjacent to it, or where there are route
    reflectors to each of those in place of other primary sites, and to the site's router.

    Of two Home Agents the one with the lower HAHA address listens; reflectors and routers always do.
    `password` is the TCP MD5 key (RFC 2385), at most 80 characters; `run_dir` holds the agent's `hook.sock`;
    `python` runs `haha hook`, as nobody. Raises KeyError for an unknown Home Agent and ValueError for what
    cannot be written in this file.
    """
    for path in (python, str(run_dir)):
        if not _PLAIN_PATH.fullmatch(path):
            raise ValueError(f"{path!r} must be absolute, of letters, digits and _ . / @ : + - only")
    if not _PLAIN_PASSWORD.fullmatch(password):
        raise ValueError("the BGP key must have 1 to 80 characters, letters, digits and _ . + / = - only")
    neighbors = _neighbors(config, home_agent)
    return render(
        "exabgp.conf.j2",
        home_agent=home_agent,
        neighbors=neighbors,
        router_id=_router_id(config, home_agent),
        asn=config.home.asn,
        lease=config.home.lease,
        socket=run_dir / "hook.sock",
        python=python,
        password=password,
        hold_time=HOLD_TIME,
        restart_time=RESTART_TIME,
    )


def exabgp_environment(user: str = "nobody", log_level: str = "WARNING") -> dict[str, str]:
    """Variables to start ExaBGP with, beside the usual ones. It starts as root, which the port 179 and the
    TCP MD5 keys need, and drops to `user` before it runs the hook.

    `log_level` is a syslog name in full: ExaBGP 5 crashes on ERR, and wants ERROR.
    """
    return {
        "exabgp_daemon_user": user,
        "exabgp_daemon_drop": "true",
        "exabgp_daemon_daemonize": "false",
        "exabgp_daemon_pid": "",
        "exabgp_log_destination": "stderr",
        "exabgp_log_level": log_level,
        # Without named pipes for its own command line: nobody could use them, several instances collide.
        "exabgp_api_cli": "false",
        "exabgp_api_ack": "true",
        "exabgp_api_encoder": "json",
        "exabgp_api_respawn": "true",
        # A write to a hook that just died stops every session for good, unless ExaBGP ends then; what
        # started it starts it again, and graceful restart keeps the routes.
        "exabgp_api_terminate": "true",
        # Routes shown between two turns at the sessions; 1, the default, copies the table once a route.
        "exabgp_api_chunk": "100",
        # Every listening neighbor names its address and port itself.
        "exabgp_tcp_bind": "",
    }


def _neighbors(config: HomeConfig, home_agent: str) -> list[_Neighbor]:
    everyone = {name: (site_name, site, one) for site_name, site, name, one in config.home_agents()}
    own_site, site, own = everyone.pop(home_agent)
    reflectors = [] if site.is_satellite else list(config.reflectors())
    mesh = [_Neighbor(name, reflector.address, own.outer, connects=True) for _, name, reflector in reflectors]
    mesh += [
        _Neighbor(name, other.haha, own.haha, connects=own.haha > other.haha)
        for name, (other_site, there, other) in everyone.items()
        if config.are_adjacent(own_site, other_site) and (there.is_satellite or not reflectors)
    ]
    return [*mesh, _Neighbor("router of the site", site.router.address, own.outer, connects=True)]


def _router_id(config: HomeConfig, home_agent: str) -> IPv4Address:
    """The BGP identifier: unique within the AS (RFC 6286), and the same whatever is added to the Home."""
    identifiers = {name: zlib.crc32(one.haha.packed) or 1 for _, _, name, one in config.home_agents()}
    own = identifiers.pop(home_agent)
    if own in identifiers.values():
        raise ValueError(f"{home_agent} gets the BGP identifier of another: give it another HAHA address")
    return IPv4Address(own)
