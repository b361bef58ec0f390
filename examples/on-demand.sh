#!/usr/bin/env bash
# Routes on demand on this machine: three sites, a mobile router away from its primary site, no leaks. The path of a
# packet before and after the Home Agents have noticed traffic, and after the mobile router has moved.
#
#     sudo ./examples/on-demand.sh            then everything is removed again
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

need_root
setup_packages frr iproute2 iputils-ping kmod nftables python3 python3-venv tcpdump util-linux
setup_python "$root"
"$venv/bin/haha" keys "$root/configs/on-demand.yaml"
exec "$venv/bin/python" "$root/examples/on_demand.py" "$root/configs/on-demand.yaml"
