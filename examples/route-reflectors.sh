#!/usr/bin/env bash
# Three sites that have no BGP sessions with each other: two FRR route reflectors pass their routes on. A mobile
# router moves between sites, one reflector dies, another mobile router is leaked only while it has traffic.
#
#     sudo ./examples/route-reflectors.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

need_root
setup_packages frr iproute2 iputils-ping kmod nftables python3 python3-venv tcpdump util-linux
setup_python "$root"
"$venv/bin/haha" keys "$root/configs/route-reflectors.yaml"
exec "$venv/bin/python" "$root/examples/route_reflectors.py"
