"""The `haha` command. `haha hook` is dispatched before anything outside the standard library is imported:
ExaBGP forks it, and it must start fast and never die of a missing dependency."""

from __future__ import annotations

import sys


def main() -> int:
    """Run one `haha` verb; the exit status is 0, 1 (failed), 2 (bad usage or bad
    configuration) or 130 (Ctrl-C)."""
    if sys.argv[1:2] == ["hook"]:
        from .bgp.hook import main as hook_main  # noqa: PLC0415

        return hook_main(sys.argv[2:])
    try:
        from .cli.main import main as cli_main  # noqa: PLC0415

        return cli_main(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
