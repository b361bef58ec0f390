#!/usr/bin/env bash
# Every test, the real ones in network namespaces among them. Sets everything up first.
#
#     sudo ./tests/run.sh                    all of it, and a minute of fuzzing
#     sudo ./tests/run.sh tests/unit -k dhaad    what pytest would take
#     ./tests/run.sh                         without root: the lab tests are reported as skipped
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../examples/setup.sh"

if [ "$(id -u)" = 0 ]; then
    setup_packages frr iperf3 iproute2 iputils-ping kmod nftables procps python3 python3-venv tcpdump tshark user-mode-linux util-linux
fi
setup_python "$root[dev]"
cd "$root"
if [ $# -eq 0 ]; then
    "$venv/bin/ruff" check .
    "$venv/bin/ruff" format --check .
    "$venv/bin/mypy"
    "$venv/bin/python" -m pytest
    exec "$venv/bin/python" -m tests.fuzz --seconds 60
fi
exec "$venv/bin/python" -m pytest "$@"
