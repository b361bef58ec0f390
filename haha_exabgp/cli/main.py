"""Parse the command line and hand over to the verb's file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..config.errors import ConfigError
from . import agent, check, drain, exabgp, keys, lab, mr, mr_db, reload, show, sim, switch

_VERBS = (check, keys, mr_db, lab, show, reload, switch, drain, agent, exabgp, mr, sim)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="haha",
        description="Global HAHA: one IPv6 Home at many sites, mobile networks bound to the closest.",
    )
    parser.add_argument("--version", action="version", version=f"haha_exabgp {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in _VERBS:
        verb.register(verbs)
    verbs.add_parser("hook", help="the process that ExaBGP runs (not started by hand)", add_help=False)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run one verb. Exit status 0, 1 for what failed, 2 for a bad command line or configuration."""
    parsed = _parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return status
