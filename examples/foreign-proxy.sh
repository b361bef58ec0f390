#!/usr/bin/env bash
# A mobile router far from its own site, on this machine: bound by way of a Home Agent there, a foreign proxy. The path
# of a packet before and after, and what a move between two such proxies loses.
#
#     sudo ./examples/foreign-proxy.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

need_root
setup_packages frr iproute2 iputils-ping kmod nftables python3 python3-venv tcpdump util-linux
setup_python "$root"
"$venv/bin/haha" keys "$root/configs/three-sites.yaml"
exec "$venv/bin/python" "$root/examples/foreign_proxy.py" "$root/configs/three-sites.yaml"
