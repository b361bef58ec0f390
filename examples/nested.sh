#!/usr/bin/env bash
# A mobile router behind a mobile router, on this machine: a car on a train. While both are bound to the same Home
# Agent, that one takes both tunnels off at once; the train goes to another site, and the car follows it there.
#
#     sudo ./examples/nested.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

need_root
setup_packages frr iproute2 iputils-ping kmod nftables python3 python3-venv tcpdump util-linux
setup_python "$root"
exec "$venv/bin/python" "$root/examples/nested.py" "$root/configs/nested.yaml"
